"""Masks of labelled objects, and their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_mobilesam.argument_checks import quoted, small_array
from napari_mobilesam.types import Mask, SegmentationError

# Labels above this are renumbered before their boxes are found.
LARGEST = 1 << 20


def masks_of_labels(
    labels: Any,
    image_shape: tuple[int, int],
    numbers: Iterable[int] | None = None,
    name: str = 'labels',
) -> dict[int, Mask]:
    """Return the mask of each label.

    Parameters
    ----------
    labels : array
        (H, W) integers, 0 is background; bool is one object.
    image_shape : tuple of int
        (H, W) of the image.
    numbers : iterable of int, optional
        Labels wanted; all of them if None.
    name : str
        Name of the labels in error messages.

    Returns
    -------
    dict of int to Mask
        Masks by ascending label; their score is NaN.

    Raises
    ------
    SegmentationError
        The labels are not integers, have another shape, or lack one of the
        numbers.
    """
    array = _checked_labels(labels, image_shape, name)
    found = {}
    for label, box in label_boxes(array):
        rows, columns = box
        found[label] = Mask(
            array[box] == label,
            (rows.start, columns.start, rows.stop, columns.stop),
            float('nan'),
        )
    if numbers is None:
        return found
    wanted = _checked_numbers(numbers)
    missing = [number for number in wanted if number not in found]
    if missing:
        listed = ', '.join(map(str, missing[:5]))
        raise SegmentationError(
            f'{name} have no object {listed}: give numbers of objects that '
            'are there.'
        )
    return {number: found[number] for number in sorted(set(wanted))}


def _checked_numbers(numbers: Any) -> list[int]:
    try:
        wanted = list(numbers)
    except TypeError:
        wanted = [None]
    if not all(isinstance(number, Integral) for number in wanted):
        raise SegmentationError(
            f'numbers is {quoted(numbers)}; give a list of labels, such as '
            '[1, 2].'
        )
    return [int(number) for number in wanted]


def _checked_labels(
    labels: Any, image_shape: tuple[int, int], name: str
) -> NDArray[Any]:
    """Return labels as an integer array with the shape of the image."""
    try:
        array = small_array(labels, name)
    except SegmentationError:
        raise
    except (TypeError, ValueError, RuntimeError):
        array = np.zeros((), float)
    if array.dtype.kind not in 'bui':
        raise SegmentationError(
            f'{name} are {quoted(labels)}; give a label image of whole '
            'numbers.'
        )
    if array.shape != tuple(image_shape):
        raise SegmentationError(
            f'{name} have the shape {array.shape}, the image has '
            f'{tuple(image_shape)}: give labels of this image.'
        )
    return array


def label_boxes(
    array: NDArray[Any],
) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield each label of an (H, W) label image and its box, ascending."""
    if array.size == 0:
        return
    names: NDArray[Any] | None = None
    compact = array.astype(np.uint8) if array.dtype.kind == 'b' else array
    if compact.min() < 0 or compact.max() > LARGEST:
        # find_objects makes a list as long as the largest label
        names, compact = np.unique(array, return_inverse=True)
        compact = compact.reshape(array.shape) + 1
    elif compact.dtype.itemsize > 4 or compact.dtype.kind == 'u':
        compact = compact.astype(np.int32)
    for place, box in enumerate(find_objects(compact), start=1):
        label = place if names is None else int(names[place - 1])
        if box is not None and label != 0:
            yield label, box


def equivalent_diameter(mask: Mask) -> float:
    """Return the diameter of the circle of the same area, in data pixels."""
    return 2 * math.sqrt(mask.area / math.pi)


def typical_diameter(masks: Sequence[Mask]) -> float:
    """Return the geometric mean of the diameters of masks."""
    logs = [math.log(max(1.0, equivalent_diameter(mask))) for mask in masks]
    return math.exp(sum(logs) / len(logs))
