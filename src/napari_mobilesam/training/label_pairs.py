"""Files of an image and its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.readers.open_image import open_pyramid, read_array
from napari_mobilesam.readers.pictures import LOSSY_SUFFIXES
from napari_mobilesam.training.labelled_images import TrainingDataError
from napari_mobilesam.types import ImageError


def read_pair(
    image_path: Path, labels_path: Path
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read an image and its label image.

    Returns
    -------
    image : ndarray
        (..., H, W) or (..., H, W, 3 or 4).
    labels : ndarray
        (..., H, W) object numbers.

    Raises
    ------
    TrainingDataError
        If a file cannot be read, has channels of which none is selected, or if
        the labels are colours or a binary mask.
    """
    image, axes = _read(image_path, indices=False)
    labels, label_axes = _read(labels_path, indices=True)
    # channels with their own labels are planes
    if 'c' in (axes or '') and image.shape != labels.shape:
        image = _one_channel(image_path, image, str(axes))
    if 's' in (axes or ''):
        if _are_planes(image_path, image, labels):
            refuse_mask(labels_path, labels)
            return np.moveaxis(image, -1, 0), labels
        image = _without_alpha(image_path, image)
    if labels_path.suffix.lower() in LOSSY_SUFFIXES:
        raise TrainingDataError(lossy_text(labels_path))
    if 's' in (label_axes or ''):
        labels = _gray_labels(labels_path, labels)
    if 'c' in (label_axes or '') and image.shape != labels.shape:
        labels = _one_channel(labels_path, labels, str(label_axes))
    refuse_mask(labels_path, labels)
    return image, labels


def _read(path: Path, indices: bool) -> tuple[NDArray[Any], str | None]:
    try:
        return read_array(path, indices=indices)
    except (ImageError, ImportError) as error:
        raise TrainingDataError(str(error)) from error


def _are_planes(path: Path, image: NDArray[Any], labels: NDArray[Any]) -> bool:
    """Return True if colours stored plane by plane are planes of a stack.

    This is how tifffile writes three or four planes of integers.
    """
    return (
        labels.ndim == 3
        and labels.shape[0] == image.shape[-1]
        and open_pyramid(path, lazy=False).axes == 'syx'
    )


def _one_channel(path: Path, image: NDArray[Any], axes: str) -> NDArray[Any]:
    axis = axes.index('c')
    if image.shape[axis] > 1:
        raise TrainingDataError(
            f'{path} has {image.shape[axis]} channels: save the one to train '
            'on as gray, or three as RGB.'
        )
    return image.squeeze(axis)


def _without_alpha(path: Path, image: NDArray[Any]) -> NDArray[Any]:
    """Return (..., H, W) gray samples or (..., H, W, 3 or 4) colours."""
    count = image.shape[-1]
    if count > 4:
        raise TrainingDataError(
            f'{path} has {count} channels: save the one to train on as gray, '
            'or three as RGB.'
        )
    return image if count > 2 else image[..., 0]


def _gray_labels(path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the numbers of a label image saved as a gray RGB picture."""
    first = labels[..., 0]
    colours = labels[..., : min(3, labels.shape[-1])]
    if labels.shape[-1] > 2 and (colours != first[..., np.newaxis]).any():
        raise TrainingDataError(
            f'{path} is a colour picture: a label image has one number per '
            'object. Save the labels themselves, not how they are shown.'
        )
    return first


def lossy_text(path: Path) -> str:
    """Return what is wrong with a JPEG label image."""
    return (
        f'{path} is compressed with loss, which changes the numbers of '
        'objects: save label images as PNG or TIFF.'
    )


def refuse_mask(path: Path, labels: NDArray[Any]) -> None:
    """Refuse a mask in which all objects have the same number."""
    from scipy.ndimage import label

    if labels.dtype.kind not in 'bui' or not labels.any():
        return
    number = int(labels.max())
    if labels.dtype.kind != 'b' and (
        (labels.min() < 0) or ((labels != 0) & (labels != number)).any()
    ):
        return
    white = labels.dtype.kind == 'b' or number in (255, 65535)
    pieces = max(
        label(labels[index])[1] for index in np.ndindex(labels.shape[:-2])
    )
    # an object may consist of two pieces; the white of a mask is not a number
    if pieces > (1 if white else 2):
        raise TrainingDataError(
            f'{path} is a mask of 0 and {number}, not a label image: its '
            f'{pieces} objects need a number each, for example those of '
            'skimage.measure.label(mask).'
        )
