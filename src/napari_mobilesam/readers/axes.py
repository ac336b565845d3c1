"""Meaning of the axes of an array: planes, rows, columns, channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mobilesam.text import counted
from napari_mobilesam.types import ImageError

Channels = int | Sequence[int]

PLANE_AXES = 'tz'
# More than this are planes, whatever the shape.
MOST_CHANNELS = 16
CHANNEL_AXES = 'cs'  # s: the samples of RGB pixels, as TIFF names them
KNOWN_AXES = PLANE_AXES + CHANNEL_AXES + 'yx'


@dataclass(frozen=True)
class Axes:
    """Plane-by-plane access to an array of n axes.

    Attributes
    ----------
    names : str
        One of ``'tzcsyx'`` for each axis of the array.
    fixed : tuple of (int, int)
        Axes of which only one index is read, and that index.
    channels : tuple of int or None
        Channels that are read; None if there is no channel axis.
    rgb : bool
        The channels are the colours of one photograph.
    """

    names: str
    fixed: tuple[tuple[int, int], ...] = ()
    channels: tuple[int, ...] | None = None
    rgb: bool = False

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels, None if there is none."""
        found = [i for i, name in enumerate(self.names) if name in 'cs']
        return found[0] if found else None

    @property
    def plane_axes(self) -> tuple[int, ...]:
        """Axes before rows and columns that are not channels."""
        return tuple(i for i, a in enumerate(self.names) if a in PLANE_AXES)

    def planes_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Sizes of `plane_axes`, 1 where one index was chosen."""
        fixed = dict(self.fixed)
        return tuple(
            1 if axis in fixed else int(shape[axis])
            for axis in self.plane_axes
        )

    def planes(self, shape: Sequence[int]) -> int:
        """Number of planes of an array of this shape."""
        return math.prod(self.planes_shape(shape))

    def plane_shape(self, shape: Sequence[int]) -> tuple[int, int]:
        """(H, W) of a plane of an array of this shape."""
        rows, columns = self.names.index('y'), self.names.index('x')
        return int(shape[rows]), int(shape[columns])


def read_axes(
    shape: Sequence[int],
    names: str | None = None,
    channels: Channels | None = None,
    select: Mapping[str, int] | None = None,
) -> Axes:
    """Find planes, rows, columns and channels of an array.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    names : str, optional
        A letter for each axis: t(ime), z, c(hannel) or s(ample), y, x. By
        default (H, W), (H, W, 3 or 4), (planes, H, W) or
        (planes, H, W, 3 or 4); with ``channels`` the axis before the rows
        holds channels.
    channels : int or sequence of int, optional
        One to three channels, shown gray (one) or as red, green, blue.
    select : mapping, optional
        Index of axes of which one is read: ``{'t': 0}``.

    Returns
    -------
    Axes
        How planes are read.

    Raises
    ------
    ImageError
        If the array is empty, or its axes do not give planes.
    """
    shape = tuple(int(size) for size in shape)
    if 0 in shape:
        raise ImageError(
            f'The image is empty: its shape is {shape}. Give one with at '
            'least one pixel.'
        )
    names = guessed_axes(shape, channels) if names is None else names.lower()
    check_names(names, shape)
    fixed = _fixed(names, shape, select or {})
    axis = next((i for i, a in enumerate(names) if a in CHANNEL_AXES), None)
    if axis is None:
        if channels is not None:
            raise ImageError(
                f'channels={channels} asked of an image of axes {names} and '
                f'shape {shape}, which has no channels. Leave channels out.'
            )
        return Axes(names, fixed)
    shown = _channels(shape[axis], names[axis], channels)
    rgb = names[axis] == 's' and channels is None and len(shown) == 3
    return Axes(names, fixed, shown, rgb)


def guessed_axes(
    shape: Sequence[int], channels: Channels | None = None
) -> str:
    """Guess the letters of unnamed axes from the shape alone.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    channels : int or sequence of int, optional
        Channels asked for: the axis before the rows or the last one is theirs.

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
    if channels is None and looks_like_channels_last(shape):
        raise ImageError(
            f'The image has the shape {tuple(shape)}, and nothing says what '
            f'its last axis of {shape[-1]} is: give axes="yxc" (--axes yxc) '
            'if it holds channels, axes="zyx" (--axes zyx) if these are '
            f'{shape[0]} planes of {shape[1]} × {shape[2]}.'
        )
    leading = len(shape) - len(plane)
    if leading < 0 or leading > 1:
        raise ImageError(
            f'The image has {counted(len(shape), "axis", "axes")}, its shape '
            f'is {shape}. Give '
            '(rows, columns), (planes, rows, columns), either with 3 or 4 '
            'colours last, or say what the axes are, for example '
            'axes="tzcyx".'
        )
    return 'z' * leading + plane


def looks_like_channels_last(shape: Sequence[int]) -> bool:
    """Return whether three axes are probably (rows, columns, channels).

    Planes with so few columns are rare, images with so many channels are not.
    """
    if len(shape) != 3 or shape[-1] in (3, 4):
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
        problem = 'each may be there once, and one of them hold channels'
    elif not {'y', 'x'} <= set(names):
        problem = 'rows (y) and columns (x) are needed'
    if problem:
        raise ImageError(
            f'The axes {names!r} do not suit an image of shape {shape}: '
            f'{problem}. Say what they are, for example axes="zyx".'
        )


def _fixed(
    names: str, shape: tuple[int, ...], select: Mapping[str, int]
) -> tuple[tuple[int, int], ...]:
    fixed = {}
    for name, index in select.items():
        if name not in PLANE_AXES or name not in names:
            there = ', '.join(a for a in names if a in PLANE_AXES) or 'none'
            raise ImageError(
                f'{name}={index} was chosen, but the axes to choose a plane '
                f'of are: {there}.'
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
            f'{shape}). Choose one index of one of them, for example '
            f'{long[0]}=0.'
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
            f'{len(chosen)} channels chosen; choose one (gray), two or '
            'three (red, green, blue).'
        )
    for channel in chosen:
        if not 0 <= channel < count:
            raise ImageError(
                f'Channel {channel} chosen, but the image has {count}: 0 to '
                f'{count - 1}.'
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
        Of ints and slices, for the array.
    order : tuple of int
        Transposition to (row, column) or (row, column, channel).
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
