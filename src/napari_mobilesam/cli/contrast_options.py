"""``--contrast-limits``: values shown to the model as black and white."""

from __future__ import annotations

import argparse
import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from napari_mobilesam.cli.image_files import FilePlane
    from napari_mobilesam.large.io.interfaces import Source
    from napari_mobilesam.segmentation.image import Limits

# If the middle 90 % of the pixels span fewer gray levels than this, they are
# hardly distinguishable.
FEW_LEVELS = 3


class ContrastOption(NamedTuple):
    """Parsed ``--contrast-limits``: values, or percentiles of the pixels."""

    low: float
    high: float
    percent: bool


def add_contrast_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--contrast-limits``."""
    parser.add_argument(
        '--contrast-limits',
        type=contrast_option,
        metavar='LOW,HIGH',
        help='pixel values shown to the model as black and white, or '
        'percentiles such as 1%%,99.5%% (default: 0.1%%,99.9%% without '
        'extreme pixels; 8-bit RGB unchanged)',
    )


def contrast_option(text: str) -> ContrastOption:
    """Parse ``'100,4000'`` or ``'1%,99.5%'``."""
    parts = [part.strip() for part in text.split(',')]
    percent = all(part.endswith('%') for part in parts)
    try:
        low, high = (float(part.removesuffix('%')) for part in parts)
    except ValueError:
        low = high = math.nan
    mixed = not percent and '%' in text
    if mixed or not (math.isfinite(low) and math.isfinite(high)):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not LOW,HIGH such as 100,4000 or 1%,99.5%'
        )
    if low >= high or (percent and not 0 <= low < high <= 100):
        raise argparse.ArgumentTypeError(
            f'{text!r}: LOW has to be below HIGH'
            + (', and both within 0% to 100%' if percent else '')
        )
    return ContrastOption(low, high, percent)


def chosen_limits(
    option: ContrastOption | None, image: FilePlane
) -> tuple[Limits, ...]:
    """Return the contrast limits of an image, as given or found.

    Warns
    -----
    UserWarning
        If most pixels fall within a few gray levels between them.
    """
    from napari_mobilesam.segmentation.image import contrast_limits_of

    limits: tuple[Limits, ...]
    if option is None:
        limits = contrast_limits_of(image.pixels, nodata=image.nodata)
    elif option.percent:
        values = _recorded(image)
        low, high = np.percentile(values, (option.low, option.high))
        limits = ((float(low), float(high)),)
    else:
        limits = ((option.low, option.high),)
    _warn_of_few_levels(image, limits)
    return limits


def limits_of_source(
    option: ContrastOption, source: Source
) -> tuple[Limits, ...]:
    """Return the contrast limits of a large image; percentiles are sampled."""
    from napari_mobilesam.large.contrast_and_size import percentiles_of

    if option.percent:
        return percentiles_of(source, option.low, option.high)
    return ((option.low, option.high),)


def _recorded(image: FilePlane) -> Any:
    values = image.pixels[..., :3] if image.pixels.ndim == 3 else image.pixels
    values = values[np.isfinite(values)]
    if image.nodata is not None:
        kept = values[values != image.nodata]
        values = kept if kept.size else values
    return values if values.size else np.zeros(1)


def _warn_of_few_levels(image: FilePlane, limits: tuple[Limits, ...]) -> None:
    if len(limits) != 1 or image.pixels.dtype.kind == 'b':
        return
    low, high = limits[0]
    if high <= low:
        return
    values = np.clip(_recorded(image).astype(np.float64), low, high)
    first, last = np.percentile(values, (5, 95))
    if first == last and (values == first).all():
        return  # the image is uniform, whatever the limits
    levels = 255 * (last - first) / (high - low)
    if levels < FEW_LEVELS:
        warnings.warn(
            f'most pixels fall within {math.floor(levels) + 1} of 256 gray '
            f'levels between the contrast limits {low:g} and {high:g}: if '
            'objects are missed, give --contrast-limits LOW,HIGH',
            UserWarning,
            stacklevel=2,
        )
