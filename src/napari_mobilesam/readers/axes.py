"""Meaning of the axes of an array: planes, rows, columns, channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_mobilesam.text import counted
from napari_mobilesam.types import ImageError

Channels = int | Sequence[int]

PLANE_AXES = 'tz'
# A longer axis holds planes, whatever the shape.
MOST_CHANNELS = 16
CHANNEL_AXES = 'cs'  # s: the samples of RGB pixels, as TIFF names them
KNOWN_AXES = PLANE_AXES + CHANNEL_AXES + 'yx'


@dataclass(frozen=True)
class Axes:
    """Plane-by-plane access to an n-dimensional array.

    Attributes
    ----------
    names : str
        One of ``'tzcsyx'`` for each axis of the array.
    fixed : tuple of (int, int)
        Axes of which only one index is read, and that index.
    channels : tuple of int or None
        Channels to read; None if there is no channel axis.
    rgb : bool
        Whether the channels are RGB colours.
    """

    names: str
    fixed: tuple[tuple[int, int], ...] = ()
    channels: tuple[int, ...] | None = None
    rgb: bool = False

    @property
    def channel_axis(self) -> int | None:
        """Channel axis, None if there is none."""
        letters = enumerate(self.names)
        return next((i for i, name in letters if name in CHANNEL_AXES), None)

    @property
    def plane_axes(self) -> tuple[int, ...]:
        """Axes before rows and columns that are not channels."""
        return tuple(i for i, a in enumerate(self.names) if a in PLANE_AXES)

    def planes_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of `plane_axes`, 1 where an index is fixed."""
        fixed = dict(self.fixed)
        return tuple(
            1 if axis in fixed else int(shape[axis])
            for axis in self.plane_axes
        )

    def planes(self, shape: Sequence[int]) -> int:
        """Return the number of planes in an array of this shape."""
        return math.prod(self.planes_shape(shape))

    def plane_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return (H, W) of the planes of an array of this shape."""
        rows, columns = self.names.index('y'), self.names.index('x')
        return int(shape[rows]), int(shape[columns])


def read_axes(
    shape: Sequence[int],
    names: str | None = None,
    channels: Channels | None = None,
    select: Mapping[str, int] | None = None,
) -> Axes:
    """Determine the planes, rows, columns and channels of an array.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    names : str, optional
        One letter per axis: t(ime), z, c(hannel) or s(ample), y, x. By
        default (H, W), (H, W, 3 or 4), (planes, H, W) or
        (planes, H, W, 3 or 4); see `guessed_axes` for the axis of
        ``channels``.
    channels : int or sequence of int, optional
        One to three channels, shown as gray (one) or red, green, blue.
    select : mapping, optional
        Index to read along a time or z axis: ``{'t': 0}``.

    Returns
    -------
    Axes
        How to read planes.

    Raises
    ------
    ImageError
        If the array is empty, or the axes do not define planes.
    """
    shape = tuple(int(size) for size in shape)
    if 0 in shape:
        raise ImageError(
            f'The image is empty: its shape is {shape}. Give an image with '
            'at least one pixel.'
        )
    names = guessed_axes(shape, channels) if names is None else names.lower()
    check_names(names, shape)
    axes = Axes(names, _fixed(names, shape, select or {}))
    axis = axes.channel_axis
    if axis is None:
        if channels is not None:
            raise ImageError(
                f'channels is {channels}, but an image with axes {names} and '
                f'shape {shape} has no channels. Leave channels out.'
            )
        return axes
    shown = _channels(shape[axis], names[axis], channels)
    rgb = channels is None and len(shown) == 3
    return replace(axes, channels=shown, rgb=rgb)


def guessed_axes(
    shape: Sequence[int], channels: Channels | None = None
) -> str:
    """Guess the letters of unnamed axes from the shape alone.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    channels : int or sequence of int, optional
        Requested channels. If given, the axis before the rows or the last
        axis, if shorter, is taken for the channels.

    Raises
    ------
    ImageError
        If the shape is ambiguous.
    """
    colours = len(shape) > 2 and shape[-1] in (3, 4)
    if colours and channels is None:
        plane = 'yxs'
    elif len(shape) > 2 and channels is not None:
        last = colours or shape[-1] < shape[-3]
        plane = 'yxc' if last else 'cyx'
    else:
        plane = 'yx'
    unclear = plane == 'yx' and looks_like_channels_last(shape[-3:])
    if unclear and len(shape) == 3:
        raise ImageError(
            f'The image has the shape {tuple(shape)}, in which the last axis '
            f'of {shape[-1]} is ambiguous: give axes="yxc" (--axes yxc) if it '
            'holds channels, or axes="zyx" (--axes zyx) if there are '
            f'{shape[0]} planes of {shape[1]} × {shape[2]}.'
        )
    leading = len(shape) - len(plane)
    long = [axis for axis in range(leading) if shape[axis] > 1]
    single = 'tc' if plane == 'yx' else 't'
    few = 1 < leading <= 1 + len(single) and len(long) < 2
    if few and not unclear:
        # nothing depends on the letter of an axis of length one
        at = long[0] if long else leading - 1
        others = single[: leading - 1]
        return f'{others[:at]}z{others[at:]}{plane}'
    if leading < 0 or leading > 1:
        raise ImageError(
            f'The image has {counted(len(shape), "axis", "axes")}: its shape '
            f'is {shape}. Give '
            '(rows, columns) or (planes, rows, columns), either with 3 or 4 '
            'colours last, or name the axes, for example axes="tzcyx" '
            '(--axes tzcyx).'
        )
    return 'z' * leading + plane


def looks_like_channels_last(shape: Sequence[int]) -> bool:
    """Return whether three axes are probably (rows, columns, channels).

    Planes with so few columns are rare, images with so many channels are not.
    """
    if len(shape) != 3:
        return False
    return 2 <= shape[-1] <= MOST_CHANNELS and 4 * shape[-1] <= min(shape[:2])


def check_names(names: str, shape: Sequence[int]) -> None:
    """Refuse letters that are not the axes of an array of this shape.

    Raises
    ------
    ImageError
        If they are not.
    """
    shape = tuple(shape)
    unknown = sorted(set(names) - set(KNOWN_AXES))
    doubled = len(set(names)) < len(names) or {'c', 's'} <= set(names)
    problem = ''
    if len(names) != len(shape):
        problem = f'it has {counted(len(shape), "axis", "axes")}'
    elif unknown:
        problem = f'{", ".join(unknown)} is not one of t, z, c, y, x'
    elif doubled:
        problem = 'each may occur once, and only one of c and s'
    elif not {'y', 'x'} <= set(names):
        problem = 'rows (y) and columns (x) are needed'
    if problem:
        raise ImageError(
            f'The axes {names!r} do not fit an image of shape {shape}: '
            f'{problem}. Give a letter for each axis, for example '
            f'{"tzcyx"[-len(shape) :]!r}.'
        )


def _fixed(
    names: str, shape: tuple[int, ...], select: Mapping[str, int]
) -> tuple[tuple[int, int], ...]:
    fixed = {}
    for name, index in select.items():
        if name not in PLANE_AXES or name not in names:
            there = ', '.join(a for a in names if a in PLANE_AXES) or 'none'
            raise ImageError(
                f'{name}={index} was chosen, but planes can only be chosen '
                f'along these axes: {there}.'
            )
        axis = names.index(name)
        if not 0 <= index < shape[axis]:
            raise ImageError(
                f'{name}={index} was chosen, but {name} goes from 0 to '
                f'{shape[axis] - 1}.'
            )
        fixed[axis] = int(index)
    long = [
        name
        for axis, name in enumerate(names)
        if name in PLANE_AXES and shape[axis] > 1 and axis not in fixed
    ]
    if len(long) > 1:
        raise ImageError(
            f'The image has {long[0]} and {long[1]} (axes {names}, shape '
            f'{shape}). Choose an index along one of them, for example '
            f'{long[0]}=0 (--select {long[0]}=0).'
        )
    return tuple(sorted(fixed.items()))


def _channels(
    count: int, name: str, channels: Channels | None
) -> tuple[int, ...]:
    if channels is None:
        if count == 1 or (name == 's' and count == 2):  # gray and alpha
            return (0,)
        if name == 's' and count in (3, 4):
            return (0, 1, 2)
        raise ImageError(
            f'The image has {count} channels: choose one of 0 to {count - 1} '
            '(gray) with channels=0 (--channels 0), or up to three (red, '
            'green, blue) with channels=(0, 1) (--channels 0,1).'
        )
    chosen = (channels,) if isinstance(channels, int) else tuple(channels)
    if not 1 <= len(chosen) <= 3:
        raise ImageError(
            f'{len(chosen)} channels were chosen; choose one (gray), two or '
            'three (red, green, blue).'
        )
    for channel in chosen:
        if not 0 <= channel < count:
            raise ImageError(
                f'Channel {channel} was chosen, but the image has {count}: 0 '
                f'to {count - 1}.'
            )
    return chosen


def plane_slices(
    axes: Axes,
    shape: Sequence[int],
    plane: int,
    window: tuple[int, int, int, int],
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Return the index of a window of a plane, and its axis order.

    Returns
    -------
    index : tuple
        Ints and slices that index the array.
    order : tuple of int
        Transposition of the result to (row, column[, channel]).
    """
    row0, column0, row1, column1 = window
    where = np.unravel_index(plane, axes.planes_shape(shape) or (1,))
    index: list[Any] = [0] * len(axes.names)
    for axis, number in zip(axes.plane_axes, where, strict=False):
        index[axis] = int(number)
    for axis, chosen in axes.fixed:
        index[axis] = chosen
    rows, columns = axes.names.index('y'), axes.names.index('x')
    index[rows], index[columns] = slice(row0, row1), slice(column0, column1)
    kept = [rows, columns]
    if axes.channel_axis is not None and axes.channels is not None:
        low, high = min(axes.channels), max(axes.channels)
        index[axes.channel_axis] = slice(low, high + 1)
        kept.append(axes.channel_axis)
    order = tuple(sorted(kept).index(axis) for axis in kept)
    return tuple(index), order
