"""Reading of the image of ``segment``: its plane and channels."""

from __future__ import annotations

import argparse

import numpy as np

from napari_mobilesam.cli.contrast_options import chosen_limits
from napari_mobilesam.cli.exit_codes import InputError
from napari_mobilesam.cli.image_files import (
    FilePlane,
    PlaneChoiceError,
    read_image,
)
from napari_mobilesam.cli.large_options import in_memory_options
from napari_mobilesam.readers.axes import MOST_CHANNELS


def read_chosen(options: argparse.Namespace) -> FilePlane:
    """Read the plane and the channels that the options of ``segment`` name.

    Several channels are shown as red, green and blue, each with contrast
    limits of its own, and are 8-bit RGB from then on.

    Raises
    ------
    ImageError, InputError
        If the image cannot be read, has no such plane or channel, or has
        several and none was chosen; the message names the options for that.
    """
    chosen = options.channels
    chosen = options.channel if chosen is None else chosen
    several = chosen if isinstance(chosen, tuple) else (chosen,)
    try:
        read = [_read(options, channel) for channel in several]
    except PlaneChoiceError as error:
        raise InputError(f'{error.what}: {_choice(options, error)}') from error
    if len(read) == 1:
        return read[0]
    return _as_rgb(options, read)


def _read(options: argparse.Namespace, channel: int | None) -> FilePlane:
    image = read_image(
        options.image,
        options.plane,
        series=options.series,
        channel=channel,
        axes=options.axes,
    )
    if channel and image.channel is None:
        raise InputError(
            f'{options.image} has no channel {channel}: it has one, so leave '
            f'out --channel{"" if options.channels is None else "s"}'
        )
    return image


def _as_rgb(options: argparse.Namespace, read: list[FilePlane]) -> FilePlane:
    from napari_mobilesam.segmentation.image import as_rgb_plane

    limits = [
        pair
        for one in read
        for pair in chosen_limits(options.contrast_limits, one)
    ]
    pixels = as_rgb_plane(
        np.stack([one.pixels for one in read], axis=-1),
        channels=range(len(read)),
        contrast_limits=limits,
    )
    return read[0]._replace(pixels=pixels, channel=None, nodata=None)


def _choice(options: argparse.Namespace, error: PlaneChoiceError) -> str:
    """Return the options that choose a plane or channel."""
    if set(error.sizes) == {'c'}:
        return (
            'choose one with --channel 0 (counted from 0), or up to three, '
            'shown as red, green and blue, with --channels 0,1'
        )
    text = error.instead
    if 'c' in error.sizes:
        zeros = ','.join('0' * (len(error.sizes) - 1))
        return f'choose one with --channel 0 --plane {zeros} (counted from 0)'
    if len(error.sizes) > 1:
        return text
    (count,) = error.sizes.values()
    if not error.named and count <= MOST_CHANNELS:
        text += '; if they are channels, give --axes cyx, and --channel 0'
    if not in_memory_options(options):
        text += '; to segment all, write to a name that ends in .ome.zarr'
    return text
