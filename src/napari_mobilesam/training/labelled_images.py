"""Image planes with their labels, validated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels, checked_array
from napari_mobilesam.segmentation.contrast import (
    robust_limits,
    without_extremes,
)
from napari_mobilesam.segmentation.image import within_unit
from napari_mobilesam.segmentation.label_masks import label_boxes
from napari_mobilesam.types import SegmentationError

# Labels above this are not distinct as float64.
LARGEST = 2**53


class TrainingDataError(SegmentationError):
    """Images and labels unsuitable for training; the message says why."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image plane with its instances.

    Attributes
    ----------
    name : str
        Name for messages and records.
    image : ndarray
        (H, W) or (H, W, 3|4), any real dtype.
    labels : ndarray
        (L, H, W) int32 instance ids, 0 is background. Layers beyond the first
        hold parts of, or objects on top of, those of the previous layer.
    dataset, modality : str
        Groups for sampling and for tables.
    plane : tuple of int
        Indices of the plane in the stack of its file; the name ends with them.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]
    dataset: str = ''
    modality: str = ''
    plane: tuple[int, ...] = ()

    @property
    def group(self) -> str:
        """Group used for sampling and reports."""
        return ' '.join(part for part in (self.dataset, self.modality) if part)

    @cached_property
    def objects(self) -> NDArray[np.int64]:
        """(N, 6) layer, id, row0, column0, row1, column1 of the instances."""
        found = [
            (index, label, rows.start, columns.start, rows.stop, columns.stop)
            for index, layer in enumerate(self.labels)
            for label, (rows, columns) in label_boxes(layer)
        ]
        return np.array(found, dtype=np.int64).reshape(-1, 6)

    @cached_property
    def diameters(self) -> NDArray[np.float64]:
        """(N,) equivalent diameters of ``objects``, in pixels."""
        counts = [np.bincount(layer.ravel()) for layer in self.labels]
        areas = [counts[layer][label] for layer, label in self.objects[:, :2]]
        return np.asarray(2 * np.sqrt(np.asarray(areas, float) / np.pi))

    @cached_property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Intensity ranges: full, robust, and that of the predictor."""
        values = np.asarray(self.image)
        values = values[..., :3] if values.ndim == 3 else values
        step = max(1, int(np.sqrt(values.size / 2**18)))
        pixels = values[::step, ::step].astype(np.float32)
        sample = without_extremes(pixels[np.isfinite(pixels)])
        low, high = np.percentile(sample, (1, 99))
        return {
            'full': (float(sample.min()), float(sample.max())),
            'robust': (float(low), float(high)),
            'product': self._shown_limits(sample),
        }

    def _shown_limits(self, sample: NDArray[Any]) -> tuple[float, float]:
        """Return the limits used by the predictor, as `contrast_limits_of`."""
        dtype = np.asarray(self.image).dtype
        if dtype.kind == 'b':
            return 0.0, 1.0
        if self.image.ndim == 3:
            if dtype == np.uint8:
                return 0.0, 255.0
            if dtype.kind == 'f' and within_unit(sample):
                return 0.0, 1.0
        return robust_limits(sample)

    @property
    def digest(self) -> str:
        """SHA-256 of pixels and labels, for training records."""
        state = hashlib.sha256()
        for array in (self.image, self.labels):
            array = np.ascontiguousarray(array)
            state.update(f'{array.shape}{array.dtype}'.encode())
            state.update(array.tobytes())
        return state.hexdigest()


def by_group(
    images: Iterable[LabelledImage],
) -> dict[str, list[LabelledImage]]:
    """Return the images of each group."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    return groups


def labelled_image(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    name: str = 'image',
    dataset: str = '',
    modality: str = '',
) -> LabelledImage:
    """Check an image plane against its labels, and pair them.

    Parameters
    ----------
    image : ndarray
        (H, W) or (H, W, 3|4).
    labels : ndarray
        (H, W), or (L, H, W) for nested instances; integer ids, 0 background.
    name, dataset, modality : str
        As in `LabelledImage`.

    Returns
    -------
    LabelledImage
        Image with labels renumbered 1 … N per layer.

    Raises
    ------
    TrainingDataError
        If the shapes differ, ids are not integers, no pixel is finite, or
        there is no object.
    """
    for given, kind in ((image, 'the image'), (labels, 'the labels')):
        check_pixels(checked_array(given, kind).shape, f'{name}: {kind}')
    image, labels = np.asarray(image), np.asarray(labels)
    if labels.ndim == 2:
        labels = labels[np.newaxis]
    if image.ndim not in (2, 3) or labels.ndim != 3:
        raise TrainingDataError(
            f'{name}: expected an image (H, W) or (H, W, 3) and labels '
            f'(H, W), got {image.shape} and {labels.shape}.'
        )
    for array, kind in ((image, 'the image'), (labels, 'the labels')):
        if array.dtype.kind not in 'biuf' or not array.size:
            raise TrainingDataError(
                f'{name}: {kind} of type {array.dtype} and shape '
                f'{array.shape} cannot be used; give numbers.'
            )
    if not np.isfinite(image).any():
        raise TrainingDataError(
            f'{name}: the image has no finite pixel: all are NaN or infinite. '
            'Leave it out, or save it anew.'
        )
    if image.shape[:2] != labels.shape[1:]:
        raise TrainingDataError(
            f'{name}: the image is {_sides(image.shape)} but its labels are '
            f'{_sides(labels.shape[labels.shape[0] == 1 :])}; choose the '
            'labels that were drawn on this image.'
        )
    labels = _whole_numbers(labels, name)
    if labels.min() < 0:
        raise TrainingDataError(f'{name}: labels must not be negative.')
    if not labels.any():
        raise TrainingDataError(
            f'{name}: no object is labelled; label some objects first.'
        )
    # a separate view: images are identified by their arrays
    return LabelledImage(
        name, image.view(), _renumber(labels), dataset, modality
    )


def _whole_numbers(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels as integers, or raise `TrainingDataError`."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels
    if not np.isfinite(labels).all() or np.abs(labels).max() > LARGEST:
        raise TrainingDataError(
            f'{name}: labels must be whole numbers, got {labels.dtype} '
            'with NaN, infinity, or numbers that are too large.'
        )
    if not np.array_equal(labels, np.round(labels)):
        raise TrainingDataError(
            f'{name}: labels must be whole numbers, got {labels.dtype} '
            'with fractions; a label image holds one id per object.'
        )
    return labels.astype(np.int64)


def _sides(shape: Sequence[int]) -> str:
    return ' x '.join(map(str, shape))


def _renumber(labels: NDArray[Any]) -> NDArray[np.int32]:
    result = np.zeros(labels.shape, dtype=np.int32)
    for index, layer in enumerate(labels):
        ids, inverse = np.unique(layer, return_inverse=True)
        inverse = inverse.reshape(layer.shape)
        result[index] = inverse + (0 if ids[0] == 0 else 1)
    return result
