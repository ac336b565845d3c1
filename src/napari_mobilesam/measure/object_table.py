"""Table of measurements, with one row per object.

Shapes and intensities are those of `skimage.measure.regionprops_table`. Labels
of any size are measured in parts. An object is measured within its whole box,
with the part in which the box begins, so that the table does not depend on the
parts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    are_numbers,
    check_callable,
    check_extent,
    check_flag,
    check_numbers,
    quoted,
)
from napari_mobilesam.table_keys import label_column, whole_numbers
from napari_mobilesam.text import counted
from napari_mobilesam.types import (
    Progress,
    SegmentationError,
    part_of_progress,
)

if TYPE_CHECKING:
    import pandas as pd

Slices = tuple[slice, ...]

# Shape of a part that is read at once, for planes and volumes.
PART = {2: (2048, 2048), 3: (32, 512, 512)}
# Maximum parts of one measurement: about an hour.
MOST_PARTS = 1 << 20
# Objects with larger bounding boxes, in pixels, are refused, as they would
# need too much memory.
MOST_BOX_PIXELS = 1 << 28
# also measured with the size of a pixel, under another name
LENGTHS = (
    'axis_major_length',
    'axis_minor_length',
    'equivalent_diameter_area',
)
SPACED = 'spaced '
# For volumes scikit-image has no eccentricity and perimeter, and its solidity
# needs the convex hull of every object.
SHAPES_3D = ('label', 'area', 'centroid', 'bbox', *LENGTHS)
SHAPES_2D = (*SHAPES_3D, 'eccentricity', 'solidity', 'perimeter')
INTENSITIES = ('intensity_mean', 'intensity_min', 'intensity_max')
AXES = {2: ('row', 'column'), 3: ('z', 'row', 'column')}


class MeasurementError(SegmentationError):
    """Objects cannot be measured; the message says why."""


def measure_objects(
    labels: Any,
    image: Any = None,
    *,
    scale: Sequence[float] | None = None,
    units: str | None = None,
    channels: Sequence[str] | None = None,
    table: pd.DataFrame | None = None,
    volumes: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : array
        (H, W) or (planes, H, W) integers, 0 is background. NumPy, zarr and
        dask arrays are read in parts.
    image : array, optional
        Intensities, with the shape of the labels, optionally with channels
        last.
    scale : sequence of float, optional
        Pixel size along each axis of the labels.
    units : str, optional
        Unit of the scale, such as ``'µm'``, for column names.
    channels : sequence of str, optional
        Names of the channels; by default ``'channel 0'`` and so on.
    table : DataFrame, optional
        Known rows with a column ``label`` (and ``plane``), whose ``class``,
        ``score`` and ``stability`` are kept. If an object has several rows,
        the lowest score, its stability and any class are kept.
    volumes : bool
        Measure the objects of a stack in 3-D. By default each plane is
        measured separately, with its number in a column ``plane``.
    progress : callable, optional
        Called with the parts done, their total and a message; an exception
        that it raises ends the measurement.

    Returns
    -------
    DataFrame
        One row per object (and plane): label, area (pixels), row and column
        (centroid), row0, column0, row1, column1 (box, half open),
        axis_major_length, axis_minor_length, equivalent_diameter_area (of a
        disk or ball of the same area), eccentricity, solidity, perimeter
        (pixels); mean, min, max and standard deviation of the intensity of
        each channel; with a scale the area, centroid, axes, diameter and, if
        pixels are square, perimeter in units too. For volumes the area is in
        voxels, z, z0 and z1 are added, and eccentricity, solidity and
        perimeter are missing.

    Raises
    ------
    MeasurementError
        If image, scale or channels do not match the labels.
    """
    _check(labels, image, scale, units, channels)
    label_column(table, MeasurementError)  # fail before measuring
    check_flag('volumes', volumes)
    check_callable('progress', progress)
    size = None
    if scale is not None:
        size = tuple(map(float, scale))[-(3 if volumes else 2) :]
    spacing = None if size is None or _is_isotropic(size) else size
    if volumes or len(labels.shape) == 2:
        found = _measure(
            _Window(labels),
            None if image is None else _Window(image),
            channels,
            progress,
            spacing,
        )
    else:
        found = _measure_planes(labels, image, channels, progress, spacing)
    _warn_of_missing_pixels(found)
    if size is not None:
        _add_units(found, size, units or 'units')
    return _with_known(found, table)


def _warn_of_missing_pixels(found: pd.DataFrame) -> None:
    names = [name for name in found if str(name).startswith('intensity_')]
    values = found[names].to_numpy(float)
    count = int((~np.isfinite(values)).any(axis=1).sum())
    if count:
        warnings.warn(
            f'The image has pixels that are NaN or infinite in '
            f'{counted(count, "object")}: intensities of them are empty or '
            'infinite.',
            UserWarning,
            stacklevel=3,
        )


def _check(
    labels: Any,
    image: Any,
    scale: Sequence[float] | None,
    units: str | None,
    channels: Sequence[str] | None,
) -> None:
    check_numbers(labels, 'labels')
    shape = tuple(labels.shape)
    kind = np.dtype(labels.dtype).kind
    if kind not in 'iub' or len(shape) not in (2, 3) or 0 in shape:
        raise MeasurementError(
            f'Labels of type {labels.dtype} and shape {shape} cannot be '
            'measured: give integers, (rows, columns) or (planes, rows, '
            'columns).'
        )
    check_extent(shape)
    _check_parts(shape)
    if scale is not None:
        _check_scale(scale, shape)
    if units is not None and not isinstance(units, str):
        raise MeasurementError(
            f'units is {quoted(units)}; it has to be a name, such as µm.'
        )
    count = 0 if image is None else _channels_of(image, shape)
    if channels is not None:
        _check_names(channels, count)


def _channels_of(image: Any, shape: tuple[int, ...]) -> int:
    """Check the image and return its number of channels."""
    check_numbers(image)
    if np.dtype(image.dtype).kind not in 'biuf':
        raise MeasurementError(
            f'The image has the type {image.dtype}; give bool, integer '
            'or real numbers (for a complex image the magnitude, '
            'abs(image)).'
        )
    given = tuple(image.shape)
    several = given[len(shape) :]
    if given[: len(shape)] != shape or len(several) > 1 or 0 in several:
        raise MeasurementError(
            f'The image has the shape {given}, but the labels have '
            f'{shape}: give an image of the same shape, with channels '
            'last if there are any.'
        )
    return given[-1] if len(given) > len(shape) else 1


def _check_names(channels: Any, count: int) -> None:
    if (
        isinstance(channels, str)
        or not isinstance(channels, Sequence)
        or not all(isinstance(name, str) for name in channels)
    ):
        raise MeasurementError(
            f'channels is {quoted(channels)}; it has to be a list of names.'
        )
    if len(channels) != count:
        raise MeasurementError(
            f'channels has {counted(len(channels), "name")}, but the image '
            f'has {counted(count, "channel")}.'
        )


def _check_scale(scale: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(scale, Sequence | np.ndarray) or not are_numbers(scale):
        raise MeasurementError(
            f'scale is {quoted(scale)}; give the pixel size for each axis.'
        )
    if len(scale) != len(shape) or not all(0 < s < math.inf for s in scale):
        raise MeasurementError(
            f'The scale {tuple(scale)} does not fit labels of shape {shape}: '
            'give a positive pixel size for each axis.'
        )


def _check_parts(shape: tuple[int, ...]) -> None:
    """Refuse labels of a shape that would be read in too many parts."""
    sides = (1,) * (len(shape) - 2) + PART[2]
    count = math.prod(
        -(-length // side) for length, side in zip(shape, sides, strict=True)
    )
    if count > MOST_PARTS:
        raise MeasurementError(
            f'Labels of shape {shape} would be read in {count:,} parts, more '
            f'than {MOST_PARTS:,}: give a part of them.'
        )


def _measure_planes(
    labels: Any,
    image: Any,
    channels: Sequence[str] | None,
    progress: Progress | None,
    spacing: tuple[float, ...] | None,
) -> pd.DataFrame:
    """Measure each plane of a stack separately."""
    import pandas as pd

    count = labels.shape[0]
    parts = []
    for plane in range(count):
        measured = _measure(
            _Window(labels, plane),
            None if image is None else _Window(image, plane),
            channels,
            part_of_progress(progress, plane, count),
            spacing,
        )
        measured.insert(1, 'plane', plane)
        parts.append(measured)
    rows = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(rows, ignore_index=True)


@dataclass(frozen=True, eq=False)
class _Window:
    """An array, or a plane of it, that is read in windows."""

    array: Any
    plane: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(int(size) for size in self.array.shape)
        return shape if self.plane is None else shape[1:]

    def read(self, box: Slices) -> NDArray[Any]:
        """Read the pixels of a window."""
        index = box if self.plane is None else (self.plane, *box)
        block = self.array[index]
        if hasattr(block, 'compute'):
            block = block.compute(scheduler='synchronous')
        return np.asarray(block)


def _measure(
    labels: _Window,
    image: _Window | None,
    channels: Sequence[str] | None,
    progress: Progress | None,
    spacing: tuple[float, ...] | None,
) -> pd.DataFrame:
    """Measure all objects of one plane or volume.

    With a spacing, lengths are also measured in its unit.
    """
    import pandas as pd

    windows = list(_windows(labels.shape))
    boxes = _boxes(labels, windows, progress)
    pending: dict[int, list[int]] = {}
    for label, (low, _) in boxes.items():
        pending.setdefault(_part_of(low, labels.shape), []).append(label)
    parts = []
    for number in range(len(windows)):
        wanted = pending.get(number, [])
        if progress is not None:
            steps = 2 * len(windows)
            progress(len(windows) + number, steps, 'Measuring objects')
        parts += [
            _measure_group(labels, image, group, boxes, spacing)
            for group in _groups(wanted, boxes)
        ]
    table = pd.concat(parts) if parts else _empty(labels, image, spacing)
    table = table.sort_values('label', ignore_index=True)
    return _renamed(table, labels, image, channels)


def _windows(shape: tuple[int, ...]) -> Iterator[Slices]:
    part = PART[len(shape)]
    counts = [math.ceil(n / p) for n, p in zip(shape, part, strict=True)]
    for index in np.ndindex(*counts):
        yield tuple(
            slice(i * p, min((i + 1) * p, n))
            for i, p, n in zip(index, part, shape, strict=True)
        )


def _part_of(low: Sequence[int], shape: tuple[int, ...]) -> int:
    """Return the number of the window that contains a pixel."""
    part = PART[len(shape)]
    counts = [math.ceil(n / p) for n, p in zip(shape, part, strict=True)]
    index = [at // p for at, p in zip(low, part, strict=True)]
    return int(np.ravel_multi_index(index, counts))


def _boxes(
    labels: _Window, windows: list[Slices], progress: Progress | None
) -> dict[int, tuple[list[int], list[int]]]:
    """Return the first and last + 1 pixel of every object along each axis."""
    from napari_mobilesam.export.exported import objects_of

    found: dict[int, tuple[list[int], list[int]]] = {}
    for number, window in enumerate(windows):
        if progress is not None:
            progress(number, 2 * len(windows), 'Looking for objects')
        block = labels.read(window)
        if block.dtype.kind == 'b':
            block = block.astype(np.uint8)
        if not block.any():
            continue
        names, _, boxes = objects_of(block)
        for label, box in zip(names.tolist(), boxes, strict=True):
            low = [s.start + w.start for s, w in zip(box, window, strict=True)]
            high = [s.stop + w.start for s, w in zip(box, window, strict=True)]
            if label in found:
                before = found[label]
                low = list(map(min, low, before[0]))
                high = list(map(max, high, before[1]))
            found[label] = (low, high)
    return found


def _groups(
    labels: list[int], boxes: dict[int, tuple[list[int], list[int]]]
) -> Iterator[list[int]]:
    """Group small objects to be read together; large ones stay alone."""
    together = []
    for label in labels:
        low, high = boxes[label]
        sizes = [b - a for a, b in zip(low, high, strict=True)]
        if math.prod(sizes) > MOST_BOX_PIXELS:
            raise MeasurementError(
                f'Object {label} extends over {" × ".join(map(str, sizes))} '
                'pixels, too many to measure as one object. If each class '
                'has only one label, label its objects separately.'
            )
        part = PART[len(low)]
        if any(size > p for size, p in zip(sizes, part, strict=True)):
            yield [label]
        else:
            together.append(label)
    if together:
        yield together


def _measure_group(
    labels: _Window,
    image: _Window | None,
    group: list[int],
    boxes: dict[int, tuple[list[int], list[int]]],
    spacing: tuple[float, ...] | None,
) -> pd.DataFrame:
    """Measure a group of objects in the window around all of them."""
    import pandas as pd

    low = np.min([boxes[label][0] for label in group], axis=0)
    high = np.max([boxes[label][1] for label in group], axis=0)
    window = tuple(map(slice, low.tolist(), high.tolist()))
    block = labels.read(window)
    if block.dtype.kind == 'b':
        block = block.astype(np.uint8)
    # number without gaps, as regionprops indexes a list with labels
    names = np.sort(np.array(group, block.dtype))
    where = np.searchsorted(names, block)
    where[where == len(names)] = 0
    compact = np.where(names[where] == block, where + 1, 0).astype(np.int32)
    pixels = None if image is None else image.read(window)
    rows = _properties(compact, pixels, spacing)
    rows['label'] = names[rows['label'] - 1].astype(np.int64)
    for axis in range(block.ndim):
        rows[f'centroid-{axis}'] = rows[f'centroid-{axis}'] + low[axis]
        for place in (axis, axis + block.ndim):
            rows[f'bbox-{place}'] = rows[f'bbox-{place}'] + low[axis]
    return pd.DataFrame(rows)


def _properties(
    labels: NDArray[np.int32],
    pixels: NDArray[Any] | None,
    spacing: tuple[float, ...] | None,
) -> dict[str, NDArray[Any]]:
    """Measure objects, with lengths also in the unit of a spacing."""
    from skimage.measure import regionprops_table

    names = SHAPES_2D if labels.ndim == 2 else SHAPES_3D
    if pixels is None:
        rows = regionprops_table(labels, properties=names)
    else:
        # of pixels that are not finite `_warn_of_missing_pixels` tells
        with np.errstate(invalid='ignore'):
            rows = regionprops_table(
                labels,
                # sums of these numbers neither overflow nor round
                pixels.astype(np.float64, copy=False),
                properties=(*names, *INTENSITIES),
                extra_properties=(intensity_sd,),
            )
    if spacing is not None:
        lengths = regionprops_table(
            labels, properties=LENGTHS, spacing=spacing
        )
        rows |= {f'{SPACED}{name}': lengths[name] for name in lengths}
    return rows


def intensity_sd(
    mask: NDArray[np.bool_], intensity: NDArray[Any]
) -> NDArray[np.float64] | float:
    """Return the standard deviation of the intensity of each channel."""
    values = np.asarray(intensity, float)[mask]
    return np.std(values, axis=0)


def _empty(
    labels: _Window,
    image: _Window | None,
    spacing: tuple[float, ...] | None,
) -> pd.DataFrame:
    """Return a table without rows: that of one object, less the object."""
    import pandas as pd

    ndim = len(labels.shape)
    mask = np.zeros((3,) * ndim, np.int32)
    mask[(slice(0, 2),) * ndim] = 1
    pixels = None
    if image is not None:
        pixels = np.zeros(mask.shape + image.shape[ndim:])
    return pd.DataFrame(_properties(mask, pixels, spacing)).iloc[:0]


def _renamed(
    table: pd.DataFrame,
    labels: _Window,
    image: _Window | None,
    channels: Sequence[str] | None,
) -> pd.DataFrame:
    """Rename columns as in the other tables of this package."""
    axes = AXES[len(labels.shape)]
    names = {f'centroid-{n}': axis for n, axis in enumerate(axes)}
    names |= {f'bbox-{n}': f'{axis}0' for n, axis in enumerate(axes)}
    names |= {
        f'bbox-{n + len(axes)}': f'{axis}1' for n, axis in enumerate(axes)
    }
    if image is not None and len(image.shape) > len(labels.shape):
        count = image.shape[-1]
        called = channels or [f'channel {n}' for n in range(count)]
        for kind in (*INTENSITIES, 'intensity_sd'):
            names |= {
                f'{kind}-{n}': f'{kind} {called[n]}' for n in range(count)
            }
    table = table.rename(columns=names)
    table['area'] = table['area'].round().astype(np.int64)
    return table


def _add_units(
    table: pd.DataFrame, scale: tuple[float, ...], unit: str
) -> None:
    """Add columns in units, the perimeter only for isotropic pixels."""
    power = {2: '²', 3: '³'}[len(scale)]
    table[f'area {unit}{power}'] = table['area'] * math.prod(scale)
    for axis, size in zip(AXES[len(scale)], scale, strict=True):
        table[f'{axis} {unit}'] = table[axis] * size
    for name in (*LENGTHS, 'perimeter'):
        if f'{SPACED}{name}' in table:
            table[f'{name} {unit}'] = table.pop(f'{SPACED}{name}')
        elif name in table and _is_isotropic(scale):
            table[f'{name} {unit}'] = table[name] * scale[0]


def _is_isotropic(scale: Sequence[float]) -> bool:
    return bool(np.allclose(scale, scale[0], rtol=1e-6, atol=0))


def _with_known(
    measured: pd.DataFrame, known: pd.DataFrame | None
) -> pd.DataFrame:
    """Add class, score and stability from the known rows."""
    import pandas as pd

    column = label_column(known, MeasurementError)
    if known is None or column is None:
        return measured
    told = [n for n in ('class', 'score', 'stability') if n in known]
    keys = ['label']
    if 'plane' in known and 'plane' in measured:
        keys.append('plane')
    known = known.rename(columns={column: 'label'})[[*keys, *told]]
    for key in keys:
        known[key] = whole_numbers(known, key, MeasurementError)
    known = known.dropna(subset=keys)
    known = known.astype(dict.fromkeys(keys, np.int64))
    if 'class' in known:
        known['class'] = known['class'].where(known['class'] != '')
        classes = known.groupby(keys)['class']
        counts = classes.nunique()
        if (counts > 1).any():
            raise MeasurementError(
                f'The table gives {" and ".join(keys)} '
                f'{counts.idxmax()} several classes: keep only one of them.'
            )
        known['class'] = classes.transform('first')
    if 'score' in known:
        # keep the lowest of several planes, like the features of the layer
        known = known.sort_values(
            'score',
            ascending=False,
            kind='stable',
            na_position='first',
            key=lambda scores: pd.to_numeric(scores, errors='coerce'),
        )
    known = known.drop_duplicates(keys, keep='last')
    return measured.merge(known, how='left', on=keys)
