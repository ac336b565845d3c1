"""Folders of images with label images, as planes to train and evaluate on.

A folder holds pairs ``<id>_image.*`` and ``<id>_labels.*``, or two
subfolders ``images/`` and ``labels/`` with files of the same name but for the
suffix. TIFF, PNG, .npy, zarr and OME-Zarr are read, of images JPEG, too; a
stack gives one entry per plane. A ``MANIFEST.csv`` with the columns dataset,
id, split and modality is used where there is one.
"""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels, checked_array
from napari_mobilesam.readers.open_image import (
    IMAGE_SUFFIXES,
    open_pyramid,
    read_array,
)
from napari_mobilesam.readers.pictures import LOSSY_SUFFIXES
from napari_mobilesam.segmentation.contrast import (
    robust_limits,
    without_extremes,
)
from napari_mobilesam.text import counted
from napari_mobilesam.types import ImageError, SegmentationError

# Before the suffix proper, as in ``cells.ome.tif``.
OME = '.ome'
# Unmatched files that a warning names.
MOST_NAMED = 5
# Labels above are not told from each other as float64.
LARGEST = 2**53


class TrainingDataError(SegmentationError):
    """Images and labels that cannot be trained on; the message says why."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image plane with its instances.

    Attributes
    ----------
    name : str
        For messages and records.
    image : ndarray
        (H, W) or (H, W, 3|4), any real dtype.
    labels : ndarray
        (L, H, W) int32 instance ids, 0 is background. Layers beyond the first
        hold parts of, or objects over, those of the layer before.
    dataset, modality : str
        Groups for sampling and for tables.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]
    dataset: str = ''
    modality: str = ''

    @property
    def group(self) -> str:
        """Group of images with which it is sampled and reported."""
        return ' '.join(part for part in (self.dataset, self.modality) if part)

    @cached_property
    def objects(self) -> NDArray[np.int64]:
        """(N, 6) layer, id, row0, column0, row1, column1 of the instances."""
        rows = []
        for index, layer in enumerate(self.labels):
            rows += [(index, *entry) for entry in _boxes_of(layer)]
        return np.array(rows, dtype=np.int64).reshape(-1, 6)

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
            'product': robust_limits(sample),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of pixels and labels, for training records."""
        state = hashlib.sha256()
        for array in (self.image, self.labels):
            array = np.ascontiguousarray(array)
            state.update(f'{array.shape}{array.dtype}'.encode())
            state.update(array.tobytes())
        return state.hexdigest()


def _boxes_of(layer: NDArray[np.int32]) -> list[tuple[int, ...]]:
    from scipy.ndimage import find_objects

    return [
        (label, rows.start, columns.start, rows.stop, columns.stop)
        for label, found in enumerate(find_objects(layer), start=1)
        if found is not None
        for rows, columns in [found]
    ]


def labelled_image(
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    name: str = 'image',
    dataset: str = '',
    modality: str = '',
) -> LabelledImage:
    """Check an image plane against its labels and pair them.

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
        With labels renumbered 1 … N per layer.

    Raises
    ------
    TrainingDataError
        If the shapes differ, ids are not whole numbers, no pixel is finite,
        or no object is in it.
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
    if not np.issubdtype(labels.dtype, np.integer):
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
        labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise TrainingDataError(f'{name}: labels must not be negative.')
    if not labels.any():
        raise TrainingDataError(
            f'{name}: no object is labelled; label some objects first.'
        )
    return LabelledImage(name, image, _renumber(labels), dataset, modality)


def _sides(shape: Sequence[int]) -> str:
    return ' x '.join(map(str, shape))


def _renumber(labels: NDArray[Any]) -> NDArray[np.int32]:
    result = np.zeros(labels.shape, dtype=np.int32)
    for index, layer in enumerate(labels):
        ids, inverse = np.unique(layer, return_inverse=True)
        inverse = inverse.reshape(layer.shape)
        result[index] = inverse + (0 if ids[0] == 0 else 1)
    return result


def read_pair(
    image_path: Path, labels_path: Path
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read an image and its label image.

    Returns
    -------
    image : ndarray
        (..., H, W) or (..., H, W, 3 or 4).
    labels : ndarray
        (..., H, W) numbers of objects.

    Raises
    ------
    TrainingDataError
        If one of them cannot be read, has channels of which none is chosen,
        or if the labels are colours or a mask.
    """
    image, axes = _read(image_path, indices=False)
    labels, label_axes = _read(labels_path, indices=True)
    # channels with labels of their own are planes
    if 'c' in (axes or '') and image.shape != labels.shape:
        image = _one_channel(image_path, image, str(axes))
    if 's' in (axes or ''):
        if _are_planes(image_path, image, labels):
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
    """True if colours stored plane by plane are the planes of a stack.

    tifffile writes three or four planes of integers so.
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
    """(..., H, W) of gray samples, (..., H, W, 3 or 4) of colours."""
    count = image.shape[-1]
    if count > 4:
        raise TrainingDataError(
            f'{path} has {count} channels: save the one to train on as gray, '
            'or three as RGB.'
        )
    return image if count > 2 else image[..., 0]


def _gray_labels(path: Path, labels: NDArray[Any]) -> NDArray[Any]:
    """Numbers of a label image that was saved as a gray RGB picture."""
    first = labels[..., 0]
    colours = labels[..., : min(3, labels.shape[-1])]
    if labels.shape[-1] > 2 and (colours != first[..., np.newaxis]).any():
        raise TrainingDataError(
            f'{path} is a colour picture: a label image has one number per '
            'object. Save the labels themselves, not how they are shown.'
        )
    return first


def lossy_text(path: Path) -> str:
    """Return what is wrong with a label image that is a JPEG."""
    return (
        f'{path} is compressed with loss, which changes the numbers of '
        'objects: save label images as PNG or TIFF.'
    )


def refuse_mask(path: Path, labels: NDArray[Any]) -> None:
    """Refuse a mask, in which all objects have the same number."""
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
    # an object may lie in two pieces, the white of a mask is not a number
    if pieces > (1 if white else 2):
        raise TrainingDataError(
            f'{path} is a mask of 0 and {number}, not a label image: its '
            f'{pieces} objects need a number each, for example those of '
            'skimage.measure.label(mask).'
        )


def _planes(
    image: NDArray[Any], labels: NDArray[Any]
) -> Iterable[tuple[str, NDArray[Any], NDArray[Any]]]:
    if labels.ndim <= 2:
        yield '', image, labels
        return
    if image.shape[: labels.ndim - 2] != labels.shape[:-2]:
        yield '', image, labels
        return
    for index in np.ndindex(*labels.shape[:-2]):
        suffix = '[' + ','.join(map(str, index)) + ']'
        yield suffix, image[index], labels[index]


def _pairs(folder: Path, warn: bool = True) -> list[tuple[str, Path, Path]]:
    """Identifiers, images and label images of a folder.

    Warns
    -----
    UserWarning
        If images lack labels, or labels an image: they are left out.
    """
    if (folder / 'images').is_dir() and (folder / 'labels').is_dir():
        images = _files(folder / 'images')
        labels = _files(folder / 'labels')
    else:
        found = _files(folder)
        images, labels = (
            {
                stem.removesuffix(kind): path
                for stem, path in found.items()
                if stem.endswith(kind)
            }
            for kind in ('_image', '_labels')
        )
    both = [stem for stem in images if stem in labels]
    for stem in both:
        for same in (images[stem], labels[stem]):
            if len(same) > 1:
                raise TrainingDataError(
                    f'{same[0]} and {same[1].name} have the same name: '
                    'remove one, or rename it.'
                )
    paths = {*images, *labels} - {*both}
    alone = [p for stem in sorted(paths) for p in images.get(stem, ())]
    alone += [p for stem in sorted(paths) for p in labels.get(stem, ())]
    if both and alone and warn:
        named = ', '.join(path.name for path in alone[:MOST_NAMED])
        more = ' …' if len(alone) > MOST_NAMED else ''
        warnings.warn(
            f'{folder}: {len(alone)} files have no partner of the same name '
            f'and are left out: {named}{more}',
            UserWarning,
            stacklevel=2,
        )
    return [(stem, images[stem][0], labels[stem][0]) for stem in both]


def _files(folder: Path) -> dict[str, list[Path]]:
    """Image files of a folder by their name without suffixes."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        # macOS writes ._name beside a file
        if path.name.startswith('.'):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            stem = path.stem
            if stem.lower().endswith(OME):
                stem = stem[: -len(OME)]
            files.setdefault(stem, []).append(path)
    return files


def _manifest(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    path = folder / 'MANIFEST.csv'
    if not path.exists():
        return {}
    try:
        lines = path.read_text('utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise TrainingDataError(
            f'{path} is not text in UTF-8: save it as CSV in UTF-8.'
        ) from error
    heading = lines[0] if lines else ''
    # spreadsheets of many countries write semicolons
    names = csv.DictReader(lines, delimiter=max(',;\t', key=heading.count))
    rows = [
        {str(key).strip().lower(): str(row[key]).strip() for key in row}
        for row in names
    ]
    if not rows or 'id' not in rows[0]:
        raise TrainingDataError(
            f'{path} has no row with an “id”, the name of an image without '
            f'its suffix; its first line is {heading!r}. Correct it, or '
            'remove it: it is not needed.'
        )
    return {(row.get('dataset', ''), row['id']): row for row in rows}


def read_folder(
    folder: str | Path,
    *,
    split: str | None = None,
    datasets: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[LabelledImage]:
    """Read labelled planes of a folder, or of a folder of such folders.

    Parameters
    ----------
    folder : path
        See the module's docstring; subfolders are data sets.
    split : str, optional
        Only images of this split of the manifest.
    datasets : sequence of str, optional
        Only these subfolders.
    limit : int, optional
        At most this many images per data set and modality.

    Returns
    -------
    list of LabelledImage
        Planes without any object are left out.

    Warns
    -----
    UserWarning
        If a label image has no object at all.

    Raises
    ------
    TrainingDataError
        If there is nothing to read or a pair does not match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TrainingDataError(f'{folder} is not a folder.')
    manifest = _manifest(folder)
    sources = [(folder, '')] if _pairs(folder, warn=False) else []
    sources += [
        (sub, sub.name) for sub in sorted(folder.iterdir()) if sub.is_dir()
    ]
    images: list[LabelledImage] = []
    empty: list[str] = []
    for source, dataset in sources:
        if datasets is not None and dataset not in datasets:
            continue
        images += _read_source(source, dataset, manifest, split, limit, empty)
    if empty:
        _tell_empty(folder, empty, bool(images))
    if not images and datasets is not None:
        raise TrainingDataError(
            f'{folder} holds no labelled images of {", ".join(datasets)}: its '
            f'data sets are {", ".join(name for _, name in sources if name)}.'
        )
    if not images:
        raise TrainingDataError(
            f'{folder} holds no labelled images'
            + (f' of the split {split!r}' if split else '')
            + ': expected <id>_image.* beside <id>_labels.*, or images/ and '
            'labels/ with equal file names (TIFF, PNG, .npy or zarr).'
        )
    return images


def _tell_empty(folder: Path, empty: Sequence[str], others: bool) -> None:
    """Warn of label images without objects; raise if all are."""
    named = ', '.join(empty[:MOST_NAMED]) + (
        ' …' if len(empty) > MOST_NAMED else ''
    )
    if not others:
        raise TrainingDataError(
            f'No label image of {folder} has an object: {named}.'
        )
    warnings.warn(
        f'{counted(len(empty), "label image")} of {folder} without objects '
        f'left out: {named}.',
        UserWarning,
        stacklevel=3,
    )


def _read_source(
    source: Path,
    dataset: str,
    manifest: dict[tuple[str, str], dict[str, str]],
    split: str | None,
    limit: int | None,
    empty: list[str],
) -> list[LabelledImage]:
    """Read the images of a folder; note label images without objects."""
    images: list[LabelledImage] = []
    taken: dict[str, int] = {}
    for name, image_path, labels_path in _pairs(source):
        row = manifest.get((dataset, name), {})
        if split is not None and manifest and row.get('split') != split:
            continue
        modality = row.get('modality', '')
        if limit is not None and taken.get(modality, 0) >= limit:
            continue
        pair = read_pair(image_path, labels_path)
        for suffix, image, labels in _planes(*pair):
            if labels.any():
                images.append(
                    labelled_image(
                        image,
                        labels,
                        name=f'{dataset or source.name}/{name}{suffix}',
                        dataset=dataset,
                        modality=modality,
                    )
                )
        if not pair[1].any():
            empty.append(labels_path.name)
        taken[modality] = taken.get(modality, 0) + 1
    return images


@dataclass(frozen=True, eq=False)
class BalancedSampler:
    """Sampler that draws from small data sets more often than their share.

    A group is drawn with odds (number of instances) ** ``exponent``; an image
    uniformly within its group.
    """

    images: Sequence[LabelledImage]
    exponent: float = 0.4
    groups: dict[str, list[int]] = field(init=False)
    odds: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        groups: dict[str, list[int]] = {}
        for index, image in enumerate(self.images):
            groups.setdefault(image.group, []).append(index)
        counts = [
            sum(len(self.images[i].objects) for i in members)
            for members in groups.values()
        ]
        odds = np.asarray(counts, dtype=float) ** self.exponent
        object.__setattr__(self, 'groups', groups)
        object.__setattr__(self, 'odds', odds / odds.sum())

    def draw(self, rng: np.random.Generator) -> LabelledImage:
        """Draw one image."""
        members = list(self.groups.values())[
            int(rng.choice(len(self.odds), p=self.odds))
        ]
        return self.images[members[int(rng.integers(len(members)))]]
