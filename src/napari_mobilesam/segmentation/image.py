"""Conversion of any array to the 8-bit RGB that the models were trained on.

No data is copied or read without need: shape and type are checked first,
contrast limits come from a sample, and only the requested window is loaded, so
that dask and zarr arrays stay lazy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mobilesam.argument_checks import (
    check_pixels,
    checked_array,
    quoted,
    small_array,
)
from napari_mobilesam.segmentation.contrast import (
    robust_limits,
    without_extremes,
)
from napari_mobilesam.segmentation.layout import (
    Channels,
    Layout,
    plane_layout,
)
from napari_mobilesam.segmentation.sampling import sample_channel
from napari_mobilesam.text import counted
from napari_mobilesam.types import BlankImageError, ImageError

Limits = tuple[float, float]
ContrastLimits = Limits | Sequence[Limits]
MOST_GAMMA = 1000
# float64 holds integers exactly up to this value.
EXACT = 2**53


def contrast_limits_of(
    image: Any,
    channels: Channels | None = None,
    *,
    nodata: float | None = None,
) -> tuple[Limits, ...]:
    """Return the contrast limits used to show an image to the model.

    8-bit RGB is used unchanged, and so is floating-point RGB within 0 … 1;
    bool is black and white. Anything else is stretched between the 0.1 and
    99.9 percentiles of its finite pixels, without those far from all others
    (`without_extremes`). Other RGB images share the limits of all colours,
    which preserves hues; selected channels are stretched separately. Large
    images are sampled deterministically.

    Parameters
    ----------
    image : array
        As in `as_rgb_plane`.
    channels : int or sequence of int, optional
        As in `as_rgb_plane`.
    nodata : float, optional
        Value of pixels that were not recorded.

    Returns
    -------
    tuple of (low, high)
        One pair for each channel shown; one pair for gray and RGB images.

    Raises
    ------
    ImageError
        If no pixel is finite, and as `plane_layout` does.
    """
    image = checked_array(image)
    layout = plane_layout(image, channels)
    dtype = np.dtype(image.dtype)
    if dtype.kind == 'b':
        return ((0.0, 1.0),)
    if layout.rgb and dtype == np.uint8:
        return ((0.0, 255.0),)
    samples = _samples(image, layout)
    if layout.rgb:
        values = np.concatenate(samples)
        if dtype.kind == 'f' and within_unit(values):
            return ((0.0, 1.0),)
        return (_limits_of(values, nodata),)
    return tuple(_limits_of(values, nodata) for values in samples)


def limits_without_extremes(
    image: Any, channels: Channels | None, limits: Limits
) -> Limits:
    """Return the given limits, unless extreme pixels widened them.

    Parameters
    ----------
    image, channels
        As in `as_rgb_plane`.
    limits : (low, high)
        Such as the smallest and the largest value of the image.

    Returns
    -------
    low, high : float
        `robust_limits` if some values lie far from all others
        (`without_extremes`), else the given limits.
    """
    image = checked_array(image)
    layout = plane_layout(image, channels)
    values = np.concatenate(_samples(image, layout))
    if values.size == 0 or without_extremes(values).size == values.size:
        return limits
    return robust_limits(values)


def _samples(image: Any, layout: Layout) -> list[NDArray[Any]]:
    """Return the finite values of each displayed channel."""
    return [
        sample_channel(image, layout.channel_axis, channel)
        for channel in layout.channels or (None,)
    ]


def within_unit(values: NDArray[Any]) -> bool:
    return values.size > 0 and bool(values.min() >= 0 and values.max() <= 1)


def _limits_of(values: NDArray[Any], nodata: float | None) -> Limits:
    if values.size == 0:
        raise BlankImageError(
            'The image has no finite pixel: all that were read are NaN or '
            'infinite. Check how it was read or computed.'
        )
    return robust_limits(values, nodata)


def as_rgb_plane(
    image: Any,
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    window: tuple[int, int, int, int] | None = None,
    warn: bool | Callable[[NDArray[np.bool_]], None] = True,
) -> NDArray[np.uint8]:
    """Convert an image, or a window of it, to 8-bit RGB.

    Parameters
    ----------
    image : array
        NumPy, dask, zarr or array-like of bool, integer or real numbers:
        (H, W), (H, W, 3 or 4; alpha is dropped), or with ``channels``
        (C, H, W) or (H, W, C).
    channels : int or sequence of int, optional
        One to three channels, shown gray (one) or as red, green, blue.
    contrast_limits : (low, high) or one such pair per channel, optional
        Values shown as black and white, as in napari; by default
        `contrast_limits_of` of the whole plane.
    gamma : float
        Exponent applied after the contrast limits, as in napari.
    window : tuple of int, optional
        (row0, column0, row1, column1), half open; only this part is read.
    warn : bool or callable
        Warn about pixels that are not finite. A callable receives their (h, w)
        bool mask instead of a warning being issued.

    Returns
    -------
    ndarray
        (h, w, 3) uint8. NaN is black, -inf black, +inf white.

    Warns
    -----
    UserWarning
        If pixels of the window are NaN or infinite; gives their number and the
        position of the first.

    Raises
    ------
    ImageError
        If the image is empty, has no finite pixel, or is not a plane; if
        contrast limits or gamma are invalid; if the window is not within the
        image.
    """
    image = checked_array(image)
    layout = plane_layout(image, channels)
    if window is None:
        window = (0, 0, *layout.shape)
    _check_window(window, layout.shape)
    row0, column0, row1, column1 = window
    check_pixels((row1 - row0, column1 - column0))
    _check_gamma(gamma)
    if contrast_limits is None:
        image = _without_offset(image)
        limits = contrast_limits_of(image, channels)
    else:
        limits = checked_limits(contrast_limits)
    planes = _read(image, layout, window)
    if planes[0].dtype.kind == 'f':
        _check_finite(planes, window, layout.shape, warn)
    if len(limits) not in (1, len(planes)):
        raise ImageError(
            f'{len(limits)} pairs of contrast limits given for '
            f'{counted(len(planes), "channel")}; give one pair, or one per '
            'channel.'
        )
    if len(limits) == 1:
        limits = limits * len(planes)
    shown = [
        _to_uint8(plane, pair, gamma)
        for plane, pair in zip(planes, limits, strict=True)
    ]
    return as_colors(shown)


def as_colors(channels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Combine one to three channels into an RGB image.

    Parameters
    ----------
    channels : sequence of ndarray
        (H, W) uint8 each: one is shown in gray, two in red and green.

    Returns
    -------
    ndarray
        (H, W, 3) uint8.
    """
    if len(channels) == 1:
        channels = [*channels] * 3
    elif len(channels) == 2:
        channels = [*channels, np.zeros_like(channels[0])]
    return np.stack(channels, axis=-1)


def _without_offset(image: Any) -> Any:
    """Subtract the minimum of integers that float64 would merge."""
    if not isinstance(image, np.ndarray) or image.dtype.kind not in 'iu':
        return image
    if image.dtype.itemsize < 8 or not image.size:
        return image
    low, high = int(image.min()), int(image.max())
    if max(-low, high) <= EXACT:
        return image
    # differences of int64 may not fit into int64; those of uint64 wrap around
    whole = image.astype(np.uint64)
    return whole - np.uint64(low % 2**64)


def _check_window(
    window: tuple[int, int, int, int], shape: tuple[int, int]
) -> None:
    if not _are_whole(window, 4):
        raise ImageError(
            f'window is {quoted(window)}; give four whole numbers: row0, '
            'column0, row1, column1.'
        )
    row0, column0, row1, column1 = window
    inside = (
        0 <= row0 < row1 <= shape[0] and 0 <= column0 < column1 <= shape[1]
    )
    if not inside:
        raise ImageError(
            f'The window {tuple(window)} is empty or not within the image of '
            f'shape {shape}.'
        )


def _are_whole(values: Any, count: int) -> bool:
    try:
        values = tuple(values)
    except TypeError:
        return False
    return len(values) == count and all(
        isinstance(value, Integral) for value in values
    )


def _check_gamma(gamma: Any) -> None:
    usable = isinstance(gamma, Real) and not isinstance(gamma, bool)
    if not (usable and 0 < gamma <= MOST_GAMMA):
        raise ImageError(
            f'gamma is {quoted(gamma)}; it has to be a number above 0, at '
            f'most {MOST_GAMMA}.'
        )


def checked_limits(limits: ContrastLimits) -> tuple[Limits, ...]:
    """Return contrast limits as pairs, one in all or one per channel.

    Raises
    ------
    ImageError
        They are not pairs of numbers, or the low one is above the high one.
    """
    try:
        pairs = small_array(limits, 'contrast_limits').astype(np.float64)
    except ImageError:
        raise
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pairs = np.zeros(0)
    if pairs.ndim == 1:
        pairs = pairs[None]
    usable = pairs.ndim == 2 and pairs.shape[1] == 2
    if not (usable and np.isfinite(pairs).all()):
        raise ImageError(
            f'contrast_limits are {quoted(limits)}; give (low, high), or '
            'one such pair per channel.'
        )
    if (pairs[:, 0] > pairs[:, 1]).any():
        raise ImageError(
            f'contrast_limits are {quoted(limits)}; low has to be below high.'
        )
    return tuple((float(low), float(high)) for low, high in pairs)


def _read(
    image: Any, layout: Layout, window: tuple[int, int, int, int]
) -> list[NDArray[Any]]:
    """Load the (h, w) window of each displayed channel."""
    row0, column0, row1, column1 = window
    rows, columns = slice(row0, row1), slice(column0, column1)
    if layout.channels is None:
        return [np.asarray(image[rows, columns])]
    if layout.channel_axis == 2:
        # Read all channels at once: they share chunks and memory pages.
        last = max(layout.channels) + 1
        block = np.asarray(image[rows, columns, :last])
        return [block[..., channel] for channel in layout.channels]
    return [
        np.asarray(image[channel, rows, columns])
        for channel in layout.channels
    ]


def _check_finite(
    planes: list[NDArray[Any]],
    window: tuple[int, int, int, int],
    shape: tuple[int, int],
    warn: bool | Callable[[NDArray[np.bool_]], None],
) -> None:
    bad = ~np.isfinite(planes[0])
    for plane in planes[1:]:
        bad |= ~np.isfinite(plane)
    count = int(np.count_nonzero(bad))
    if count == shape[0] * shape[1]:
        raise BlankImageError(
            f'The image of shape {shape} has no finite pixel: all are NaN or '
            'infinite. Check how it was read or computed.'
        )
    if not count or not warn:
        return
    if callable(warn):
        warn(bad)
        return
    row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
    where = (int(row) + window[0], int(column) + window[1])
    pixels = 'pixel is' if count == 1 else 'pixels are'
    warnings.warn(
        f'{count} {pixels} NaN or infinite, the first at (row, column) '
        f'{where}; NaN and -inf are taken as black, +inf as white.',
        UserWarning,
        stacklevel=3,
    )


def _to_uint8(
    plane: NDArray[Any], limits: Limits, gamma: float
) -> NDArray[np.uint8]:
    low, high = limits
    if plane.dtype == np.uint8 and (low, high, gamma) == (0, 255, 1):
        return plane
    if high == low:
        # A constant image is black, and white above its value.
        return np.where(plane > low, np.uint8(255), np.uint8(0))
    # float64 where float32 would merge neighbouring values.
    enough = plane.dtype.itemsize <= 2 or plane.dtype == np.float32
    values: NDArray[Any] = plane.astype(np.float32 if enough else np.float64)
    with np.errstate(over='ignore', invalid='ignore'):
        values -= low
        values /= high - low
    np.nan_to_num(values, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(values, 0, 1, out=values)
    if gamma != 1:
        np.power(values, gamma, out=values)
    values *= 255
    values += 0.5
    return values.astype(np.uint8)


def resize(
    rgb: NDArray[np.uint8],
    shape: tuple[int, int],
    part: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Resize an image bilinearly with antialiasing.

    Parameters
    ----------
    rgb : ndarray
        (H, W, 3) uint8.
    shape : tuple of int
        (h, w) of the result.
    part : tuple of float, optional
        (row0, column0, row1, column1) to show, for a window whose edges lie
        between the pixels of a coarser level; everything if None.
    """
    height, width = rgb.shape[:2]
    row0, column0, row1, column1 = part or (0, 0, height, width)
    if (row0, column0, row1, column1) == (0, 0, *shape):
        return rgb[: shape[0], : shape[1]]
    resized = Image.fromarray(rgb).resize(
        (shape[1], shape[0]),
        Image.Resampling.BILINEAR,
        box=(column0, row0, column1, row1),
    )
    return np.asarray(resized)
