"""Files of an image and its labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.export.npy_labels import read_npy_labels
from napari_mobilesam.readers.open_image import open_pyramid, read_array
from napari_mobilesam.readers.pictures import LOSSY_SUFFIXES
from napari_mobilesam.training.labelled_images import TrainingDataError
from napari_mobilesam.types import ImageError, SegmentationError

# end of the names of Cellpose's files, which hold more than labels
SEG_NPY = '_seg.npy'
# red, green, blue and alpha
MOST_COLOURS = 4


class TrainingPair(NamedTuple):
    """An image and its labels.

    Attributes
    ----------
    image : ndarray
        (..., H, W) or (..., H, W, 3 or 4).
    labels : ndarray
        (..., H, W) object numbers.
    channels : int
        Number of channels of which the image is one; 1 for gray and colours.
    """

    image: NDArray[Any]
    labels: NDArray[Any]
    channels: int = 1


def read_pair(
    image_path: Path, labels_path: Path, channel: int = 0
) -> TrainingPair:
    """Read an image and its label image.

    Parameters
    ----------
    image_path, labels_path : Path
        Files of any kind that `read_array` reads.
    channel : int
        Channel of an image with several, from 0; gray and colour images are
        read as they are.

    Raises
    ------
    TrainingDataError
        If a file cannot be read, has no such channel, or if the labels have
        channels, are colours or a binary mask.
    """
    image, axes = _read(image_path, indices=False)
    labels, label_axes = read_label_array(labels_path)
    channels = 1
    # channels with their own labels are planes
    if 'c' in (axes or '') and image.shape != labels.shape:
        axis = str(axes).index('c')
        channels = image.shape[axis]
        image = _channel(image_path, image, axis, channel)
    if 's' in (axes or ''):
        if _are_planes(image_path, image, labels):
            refuse_mask(labels_path, labels)
            return TrainingPair(np.moveaxis(image, -1, 0), labels)
        if image.shape[-1] > MOST_COLOURS:
            channels = image.shape[-1]
            image = _channel(image_path, image, -1, channel)
        elif image.shape[-1] <= 2:
            image = image[..., 0]
    if labels_path.suffix.lower() in LOSSY_SUFFIXES:
        raise TrainingDataError(lossy_text(labels_path))
    if 's' in (label_axes or ''):
        labels = _gray_labels(labels_path, labels)
    if 'c' in (label_axes or '') and image.shape != labels.shape:
        labels = _only_channel(labels_path, labels, str(label_axes))
    refuse_mask(labels_path, labels)
    return TrainingPair(image, labels, channels)


def _read(path: Path, indices: bool) -> tuple[NDArray[Any], str | None]:
    try:
        return read_array(path, indices=indices)
    except (ImageError, ImportError) as error:
        raise TrainingDataError(str(error)) from error


def read_label_array(path: Path) -> tuple[NDArray[Any], str | None]:
    """Read all planes of a label image, or of Cellpose's ``_seg.npy``.

    Returns
    -------
    labels : ndarray
        (..., H, W) or (..., H, W, samples).
    axes : str or None
        As from `read_array`.

    Raises
    ------
    TrainingDataError
        If it cannot be read.
    """
    if not path.name.lower().endswith(SEG_NPY):
        return _read(path, indices=True)
    try:
        return read_npy_labels(path).labels, None
    except SegmentationError as error:
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


def _channel(
    path: Path, image: NDArray[Any], axis: int, channel: int
) -> NDArray[Any]:
    """Return a channel of an image; the only one, if it has one."""
    count = image.shape[axis]
    if count == 1:
        return image.squeeze(axis)
    if not 0 <= channel < count:
        raise TrainingDataError(
            f'{path} has no channel {channel}: it has {count}, counted from 0.'
        )
    return image.take(channel, axis)


def _only_channel(path: Path, labels: NDArray[Any], axes: str) -> NDArray[Any]:
    axis = axes.index('c')
    if labels.shape[axis] > 1:
        raise TrainingDataError(
            f'The labels {path} have {labels.shape[axis]} channels: save one '
            'label image, with a number for each object.'
        )
    return labels.squeeze(axis)


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
