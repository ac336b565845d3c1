"""Labels for export, with the properties of their objects."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_extent,
    check_numbers,
    check_pixels,
    quoted,
)
from napari_mobilesam.palette import default_color
from napari_mobilesam.table_keys import label_column
from napari_mobilesam.text import as_utf8, counted
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.units import unit_name

if TYPE_CHECKING:
    import pandas as pd

AXES = {2: 'yx', 3: 'zyx', 4: 'tzyx'}
# Name of the class of objects without one, in formats that require a class.
NO_CLASS = 'object'
NEGATIVE = (
    'There are negative labels ({}): labels must be numbers from 1, and 0 '
    'for the background.'
)
# Columns that are not measurements.
KEYS = ('label', 'index', 'plane', 'class')
# Axes that labels may have.
ORDERS = ('yx', 'zyx', 'tyx', 'tzyx')
# Labels are handled as signed integers.
MOST_LABEL = np.iinfo(np.int64).max


class ExportError(SegmentationError):
    """Labels cannot be exported or read back; the message says why."""


class Plane(NamedTuple):
    """A plane of a label image.

    Attributes
    ----------
    number : int
        Index in the sequence of all planes, from 0.
    t, z : int
        Indices in time and depth, from 0.
    labels : array
        (H, W) integers.
    """

    number: int
    t: int
    z: int
    labels: Any


class ObjectProperties(NamedTuple):
    """Properties of an object.

    Attributes
    ----------
    class_name : str
        Name of its class; empty if it has none.
    measurements : dict of str to float
        Finite numbers of its row, including the score.
    """

    class_name: str
    measurements: dict[str, float]


UNKNOWN = ObjectProperties('', {})


@dataclass(frozen=True, eq=False)
class LabelsWithTable:
    """A label image and the properties of its objects.

    Attributes
    ----------
    labels : array
        (H, W), (planes, H, W) or (T, Z, H, W) integers, 0 is background.
        Anything that is indexed like a NumPy array.
    table : DataFrame or None
        One row per object, with its label in a column ``label`` or
        ``index``, and optionally its ``class``, a name or number, and
        ``score``. Numbers in other columns are measurements. With a column
        ``plane``, a row applies to that plane only.
    class_colors : dict of str to str
        Class to colour, ``'#rrggbb'``; other classes take theirs from the
        palette.
    axes : str
        One letter per axis; by default yx, zyx or tzyx.
    scale : tuple of float
        Pixel size along each axis; empty if unknown.
    units : tuple of (str or None)
        Unit of each axis, such as ``'micrometer'`` or ``'µm'``; empty if
        unknown.
    name : str
        Name of the image, for formats that store it.
    translation : tuple of float
        Position of the first pixel along each axis, for OME-Zarr; empty if
        unknown.

    Raises
    ------
    ExportError
        If the labels are not integers or have an unsupported number of axes,
        the table has no labels, or the length of scale, units or translation
        is not the number of axes.
    """

    labels: Any
    table: pd.DataFrame | None = None
    class_colors: Mapping[str, str] = field(default_factory=dict)
    axes: str = ''
    scale: tuple[float, ...] = ()
    units: tuple[str | None, ...] = ()
    name: str = 'image'
    translation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self.labels, 'labels')
        shape = tuple(self.labels.shape)
        kind = np.dtype(self.labels.dtype).kind
        if kind not in 'iub':
            raise ExportError(
                f'The labels have type {self.labels.dtype}: give integers, '
                'one number for each object.'
            )
        if len(shape) not in AXES or 0 in shape:
            raise ExportError(
                f'Labels cannot have the shape {shape}: give (rows, columns), '
                '(planes, rows, columns) or (times, planes, rows, columns), '
                'none of them 0.'
            )
        check_extent(shape)
        axes = self.axes or AXES[len(shape)]
        if len(axes) != len(shape) or axes not in ORDERS:
            raise ExportError(
                f'Axes {axes!r} do not fit labels of shape {shape}: give yx, '
                'zyx, tyx or tzyx.'
            )
        object.__setattr__(self, 'axes', axes)
        for name in ('scale', 'units', 'translation'):
            values = getattr(self, name)
            if values and len(values) != len(shape):
                raise ExportError(
                    f'{name} is {quoted(values)}, for {len(values)} axes, but '
                    f'the labels have {len(shape)}: give a value for each.'
                )
        units = [unit and (unit_name(unit) or unit) for unit in self.units]
        object.__setattr__(self, 'units', tuple(units))
        object.__setattr__(self, 'name', as_utf8(self.name))
        label_column(self.table, ExportError)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the labels."""
        return tuple(int(size) for size in self.labels.shape)

    def planes(self) -> Iterator[Plane]:
        """Yield the planes one by one."""
        leading = self.shape[:-2]
        for number, index in enumerate(np.ndindex(*leading)):
            at = dict(zip(self.axes, index, strict=False))
            plane = self.labels[index] if index else self.labels
            if hasattr(plane, 'compute'):
                check_pixels(plane.shape, 'A plane of the labels')
                plane = plane.compute(scheduler='synchronous')
            yield Plane(
                number, at.get('t', 0), at.get('z', 0), _checked(plane)
            )

    def with_table(self, table: pd.DataFrame) -> LabelsWithTable:
        """Return the same labels with another table."""
        return replace(self, table=table)

    def properties(self) -> PropertiesLookup:
        """Return a lookup of the properties of the objects."""
        return PropertiesLookup(self.table)

    def colors(self) -> dict[str, str]:
        """Return the colour of every class, ``'#rrggbb'``."""
        names = list(self.class_colors)
        if self.table is not None and 'class' in self.table:
            names += map(class_name, self.table['class'].unique())
        unique = dict.fromkeys(filter(None, names))
        return {
            name: self.class_colors.get(name) or default_color(number)
            for number, name in enumerate(unique)
        }


def _checked(plane: Any) -> Any:
    """Check the labels of a plane; arrays on disk are returned unchecked.

    Raises
    ------
    ExportError
        If labels are negative or too large.
    """
    if not isinstance(plane, np.ndarray):
        return plane
    if plane.dtype.kind == 'b':
        return plane.astype(np.uint8)
    if plane.dtype == np.uint64 and int(plane.max(initial=0)) > MOST_LABEL:
        raise ExportError(
            f'Label {plane.max()} is too large: number the objects from 1.'
        )
    if plane.dtype.kind == 'i' and plane.min() < 0:
        raise ExportError(NEGATIVE.format(plane.min()))
    return plane


def _warn_of_infinite(table: pd.DataFrame) -> None:
    """Warn that infinite values are left out, as JSON has none."""
    counts = {
        str(name): int(np.isinf(values.to_numpy(np.float64, na_value=0)).sum())
        for name, values in table.items()
        if name not in KEYS and values.dtype.kind == 'f'
    }
    names = [name for name, count in counts.items() if count]
    if names:
        total = counted(sum(counts.values()), 'infinite value')
        warnings.warn(
            f'The file cannot hold {total} of the table, in '
            f'{", ".join(names)}: left out.',
            stacklevel=4,
        )


class PropertiesLookup:
    """Properties of objects by plane and label."""

    def __init__(self, table: pd.DataFrame | None) -> None:
        self._known: dict[tuple[int | None, int], ObjectProperties] = {}
        column = label_column(table, ExportError)
        if table is None or column is None:
            return
        _warn_of_infinite(table)
        records = table.to_dict('records')
        for row in records:
            if _number(row[column]) is None:
                continue
            plane = _number(row.get('plane'))
            key = (None if plane is None else int(plane), int(row[column]))
            properties = _properties(row)
            if self._known.setdefault(key, properties) != properties:
                where = '' if plane is None else f' of plane {key[0]}'
                raise ExportError(
                    f'The table has label {key[1]}{where} twice, with '
                    'different values: keep one row for each object.'
                )

    def __call__(self, plane: int, label: int) -> ObjectProperties:
        """Return the properties of an object; `UNKNOWN` without a row.

        Raises
        ------
        ExportError
            If the label is negative or too large.
        """
        if label < 0:
            # planes on disk are not checked before, but read as int64
            raise ExportError(
                f'There are negative labels ({label}) or too large ones '
                f'({label % 2**64}): number the objects from 1.'
            )
        known = self._known.get((None, label))
        return known or self._known.get((plane, label), UNKNOWN)


def _properties(row: Mapping[Any, Any]) -> ObjectProperties:
    numbers = {
        str(key): value
        for key, entry in row.items()
        if key not in KEYS
        for value in [_number(entry)]
        if value is not None
    }
    return ObjectProperties(class_name(row.get('class')), numbers)


def class_name(value: Any) -> str:
    """Return the name of a class, given as text or number; '' if none."""
    if isinstance(value, str):
        return value
    number = _number(value)
    if number is None:
        return ''
    # a column with gaps stores integers as floats
    return str(int(number) if number.is_integer() else number)


def _number(value: Any) -> float | None:
    if isinstance(value, str | bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def finite_numbers(values: Any) -> dict[str, float]:
    """Return the measurements of a file that are finite numbers."""
    return {
        str(name): float(value)
        for name, value in (values or {}).items()
        if isinstance(value, int | float)
        # integers in JSON may be too large for a float
        and abs(value) <= sys.float_info.max
    }


def hex_color(levels: Any) -> str | None:
    """Return ``'#rrggbb'`` of levels from 0 to 255; None if invalid."""
    if not isinstance(levels, list) or len(levels) not in (3, 4):
        return None
    if not all(isinstance(n, int | float) and 0 <= n <= 255 for n in levels):
        return None
    return '#{:02x}{:02x}{:02x}'.format(*map(int, levels[:3]))


def smallest_dtype(largest: int) -> np.dtype[Any]:
    """Return the dtype for a label image: uint16, or uint32 if needed.

    Raises
    ------
    ExportError
        If neither can hold the largest label.
    """
    if largest > np.iinfo(np.uint32).max:
        raise ExportError(
            f'Label {largest} is too large for a 32-bit label image: '
            'number the objects from 1.'
        )
    small = largest <= np.iinfo(np.uint16).max
    return np.dtype(np.uint16 if small else np.uint32)


def as_uint(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in the smallest dtype that holds them."""
    return labels.astype(smallest_dtype(int(labels.max(initial=0))))


def count_labels(labels: NDArray[Any]) -> int:
    """Return the number of labels in use, without background."""
    largest = int(labels.max(initial=0))
    if largest > 1 << 26:
        return int(np.count_nonzero(np.unique(labels)))
    there = np.zeros(largest + 1, np.bool_)
    there[labels.reshape(-1)] = True
    return int(np.count_nonzero(there[1:]))


def flaw(error: Exception) -> str:
    """Return what is wrong with the content of a JSON file."""
    if isinstance(error, KeyError):
        return f'“{error.args[0]}” is missing'
    if isinstance(error, ValueError):
        return str(error)
    return 'its content does not have the structure of the format'


def objects_of(
    labels: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[slice, ...]]]:
    """Return the labels in use, with their areas and boxes.

    Parameters
    ----------
    labels : ndarray
        Integers, 0 is background.

    Returns
    -------
    found : ndarray
        (n,) labels, ascending.
    areas : ndarray
        (n,) int64, pixels of each.
    boxes : list of tuple of slice
        Bounding box of each, one slice per axis.
    """
    from scipy.ndimage import find_objects

    largest = int(labels.max(initial=0))
    if largest > MOST_LABEL:
        raise SegmentationError(
            f'Label {largest} is too large: number the objects from 1.'
        )
    if labels.dtype.kind == 'i' and labels.min(initial=0) < 0:
        raise SegmentationError(NEGATIVE.format(labels.min()))
    names = None
    if largest > max(labels.size, 1 << 20):
        # find_objects makes a list as long as the largest label
        names, compact = np.unique(labels, return_inverse=True)
        labels = compact.reshape(labels.shape) + (names[0] != 0)
        names = names[names != 0]
    areas = np.bincount(labels.reshape(-1))[1:]
    there = np.flatnonzero(areas)
    every = find_objects(labels.astype(np.int32, copy=False))
    boxes = [box for box in every if box is not None]
    found = there + 1 if names is None else names
    return found.astype(np.int64), areas[there], boxes


def geometry_member(image: LabelsWithTable) -> dict[str, Any]:
    """Return shape, axes and pixel sizes of labels, for a JSON file."""
    member = {'shape': image.shape, 'axes': image.axes}
    if image.scale:
        member |= {'scale': image.scale, 'units': image.units}
    return member


def with_geometry(image: LabelsWithTable, member: Any) -> LabelsWithTable:
    """Add axes and pixel sizes from `geometry_member`, if they are valid."""
    known = member if isinstance(member, dict) else {}
    scale, units = known.get('scale'), known.get('units')
    count = len(image.shape)
    if known.get('axes') in ORDERS:
        axes = str(known['axes'])
        image = replace(image, axes=axes) if len(axes) == count else image
    if not isinstance(scale, list) or len(scale) != count:
        return image
    for size in scale:
        if not isinstance(size, int | float) or not 0 < size < math.inf:
            return image
    if not isinstance(units, list) or len(units) != count:
        units = []
    # a name may be empty or missing in the file
    named = [
        unit if isinstance(unit, str) and unit else None for unit in units
    ]
    told = tuple(named) if any(named) else ()
    return replace(image, scale=tuple(scale), units=told)
