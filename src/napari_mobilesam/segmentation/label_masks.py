"""Masks of labelled objects, of this program or any other, and their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.ndimage import label as connected_components

from napari_mobilesam.argument_checks import (
    check_pixels,
    checked_array,
    quoted,
    small_array,
)
from napari_mobilesam.types import ImageError, Mask, SegmentationError

# Labels above this are renumbered before their boxes are found.
LARGEST = 1 << 20
# Objects are processed in tiles of this many pixels, so that an embedding is
# used while it is in memory.
NEAR = 512


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


@dataclass(frozen=True)
class ObjectMasks:
    """Objects of a label image from any program.

    Attributes
    ----------
    labels : ndarray
        (H, W) integers, 0 is background.
    masks : dict of int to Mask
        Mask of each label, ordered for embedding part by part.
    """

    labels: NDArray[Any]
    masks: Mapping[int, Mask] = field(repr=False)

    @classmethod
    def of(
        cls,
        labels: Any,
        scores: Mapping[int, float] | None = None,
        split: bool = True,
    ) -> ObjectMasks:
        """Find the objects of a label image.

        Parameters
        ----------
        labels : array
            (H, W) integers, whole floats or bool, with any leading axes of
            length 1.
        scores : mapping of int to float, optional
            Predicted IoU of objects, where known.
        split : bool
            If all labelled pixels have the same value, as after thresholding,
            treat each connected component as an object, numbered from 1.

        Raises
        ------
        ImageError
            If the array is not a label image; the message says why.
        """
        plane = label_plane(labels, split)
        masks = masks_of_labels(plane, plane.shape)
        for label, score in (scores or {}).items():
            if label in masks:
                masks[label] = replace(masks[label], score=score)
        order = sorted(masks, key=lambda label: _place(masks[label]))
        return cls(plane, {label: masks[label] for label in order})


def _place(mask: Mask) -> tuple[int, ...]:
    row, column = mask.box[0] // NEAR, mask.box[1] // NEAR
    # back and forth
    return row, -column if row % 2 else column, *mask.box[:2]


def label_plane(labels: Any, split: bool = True) -> NDArray[Any]:
    """Return labels from any program as one integer plane.

    Parameters and errors are those of `ObjectMasks.of`.

    Returns
    -------
    ndarray
        (H, W) non-negative integers.
    """
    array = checked_array(labels, 'labels')
    check_pixels(array.shape, 'The label image')
    array = np.asarray(array)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or 0 in array.shape:
        raise ImageError(
            f'Labels of shape {np.shape(labels)} are not one plane: give '
            '(rows, columns), one plane or channel at a time.'
        )
    if array.dtype.kind == 'f':
        whole = np.nan_to_num(array, nan=-1, posinf=-1, neginf=-1)
        with np.errstate(invalid='ignore'):
            whole = whole.astype(np.int64)
        if not np.array_equal(whole, array):
            raise ImageError(
                f'The labels have fractions or NaN (type {array.dtype}): '
                'this is an image, not labels.'
            )
        array = whole
    if array.dtype.kind not in 'iub':
        raise ImageError(
            f'Labels of type {array.dtype} are not labels: give integers, '
            'one number for each object.'
        )
    if array.dtype.kind == 'i' and array.min() < 0:
        raise ImageError(
            f'The labels have negative values ({array.min()}): labels are '
            'numbers from 1, and 0 is background.'
        )
    if array.dtype.kind != 'b':
        largest = array.max()
        if largest > np.iinfo(np.int32).max:
            raise ImageError(
                f'Label {largest} is too large: number the objects from 1.'
            )
        if not split or not _one_value(array, largest):
            return array.astype(np.int32, copy=False)
    parts, count = connected_components(array > 0, np.ones((3, 3)))
    if count == 1:
        return array.astype(np.int32, copy=False)
    return np.asarray(parts, np.int32)


def _one_value(array: NDArray[Any], largest: Any) -> bool:
    """Return whether all objects share one value, as after thresholding."""
    return bool(largest > 0 and np.all((array == 0) | (array == largest)))
