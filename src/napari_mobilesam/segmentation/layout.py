"""Interpretation of the axes of an array: rows, columns, channels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from napari_mobilesam.argument_checks import (
    are_numbers,
    checked_array,
    quoted,
)
from napari_mobilesam.text import counted
from napari_mobilesam.types import ImageError

Channels = int | Sequence[int]


class Layout(NamedTuple):
    """Interpretation of the axes of an array.

    Attributes
    ----------
    shape : tuple of int
        (H, W) of the plane.
    channel_axis : int or None
        Axis of the channels; None for a gray plane.
    channels : tuple of int or None
        Channels shown as red, green and blue, or one shown as gray; None for a
        gray plane.
    rgb : bool
        True if the channels are the colours of one photograph, which share
        their limits.
    """

    shape: tuple[int, int]
    channel_axis: int | None
    channels: tuple[int, ...] | None
    rgb: bool


def plane_layout(image: Any, channels: Channels | None = None) -> Layout:
    """Find rows, columns and channels of an array without reading it.

    Parameters
    ----------
    image : array
        (H, W), (H, W, 3 or 4), or with ``channels`` (C, H, W) or (H, W, C).
        The channel axis is the shorter of the first and the last axis.
    channels : int or sequence of int, optional
        One to three channels, shown gray (one) or as red, green, blue.

    Returns
    -------
    Layout
        Plane shape and channels.

    Raises
    ------
    ImageError
        If the array is empty, has the wrong number of axes, is not bool,
        integer or real, or lacks a channel.
    """
    image = checked_array(image)
    shape = tuple(int(n) for n in np.shape(image))
    _check_type(image)
    if 0 in shape:
        raise ImageError(
            f'The image is empty: its shape is {shape}. Give one with at '
            'least one pixel.'
        )
    if len(shape) == 2:
        if channels is not None:
            raise ImageError(
                f'channels={channels} asked of an image of shape {shape}, '
                'which has no channel axis. Leave channels out.'
            )
        return Layout((shape[0], shape[1]), None, None, rgb=False)
    if len(shape) != 3:
        raise ImageError(
            f'The image has {counted(len(shape), "axis", "axes")}, its shape '
            f'is {shape}. Give '
            'one plane: (rows, columns), (rows, columns, 3 or 4), or three '
            'axes with channels chosen; of a stack or a series pick a plane, '
            'for example image[0].'
        )
    return _three_axes(shape, channels)


def _three_axes(shape: tuple[int, ...], channels: Channels | None) -> Layout:
    # RGB with colours last is the usual case; otherwise the shorter end.
    last = shape[2] in (3, 4) or shape[2] < shape[0]
    axis = 2 if last else 0
    plane = (shape[0], shape[1]) if last else (shape[1], shape[2])
    count = shape[axis]
    if channels is None:
        if last and count in (3, 4):
            return Layout(plane, axis, (0, 1, 2), rgb=True)
        if count == 1:
            return Layout(plane, axis, (0,), rgb=False)
        raise ImageError(
            f'An image of shape {shape} is neither gray nor RGB. If axis '
            f'{axis} holds channels, choose one to three of its {count} with '
            'channels=; if it is a stack, pick a plane, for example image[0].'
        )
    chosen = _numbers_of(channels)
    if not 1 <= len(chosen) <= 3:
        raise ImageError(
            f'{len(chosen)} channels chosen; choose one (gray), two or '
            'three (red, green, blue).'
        )
    for channel in chosen:
        if not -count <= channel < count:
            raise ImageError(
                f'Channel {channel} chosen, but the image of shape {shape} '
                f'has {count} on axis {axis}: 0 to {count - 1}.'
            )
    return Layout(plane, axis, tuple(c % count for c in chosen), rgb=False)


def _numbers_of(channels: Any) -> tuple[int, ...]:
    """Return the selected channels as integers."""
    chosen = (channels,) if isinstance(channels, Integral) else channels
    if not are_numbers(chosen) or not all(
        isinstance(channel, Integral) and not isinstance(channel, bool)
        for channel in chosen
    ):
        raise ImageError(
            f'channels is {quoted(channels)}; give the number of a channel, '
            'or up to three.'
        )
    return tuple(int(channel) for channel in chosen)


def _check_type(image: Any) -> None:
    dtype = np.dtype(image.dtype)
    if dtype.kind not in 'buif':
        raise ImageError(
            f'The image has the type {dtype}; give bool, integer or real '
            'numbers (of a complex image its magnitude, abs(image)).'
        )


def plane_shape(
    image: Any, channels: Channels | None = None
) -> tuple[int, int]:
    """Return the (H, W) of an image; raise as `plane_layout` does."""
    return plane_layout(image, channels).shape
