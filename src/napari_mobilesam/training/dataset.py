"""Folders of images with label images, as planes to train and evaluate on.

A folder holds pairs ``<id>_image.*`` and ``<id>_labels.*``, or two
subfolders ``images/`` and ``labels/`` with files of the same stem. TIFF, PNG
and zarr are read; a stack gives one entry per plane. A ``MANIFEST.csv`` with
the columns dataset, id, split and modality is used where there is one.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import SegmentationError

SUFFIXES = ('.tif', '.tiff', '.png', '.zarr')
COLOUR_CHANNELS = (3, 4)


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
        sample = values[::step, ::step].astype(np.float32)
        sample = sample[np.isfinite(sample)]
        cuts = [float(v) for v in np.percentile(sample, (0.1, 1, 99, 99.9))]
        full = (float(sample.min()), float(sample.max()))
        product = (cuts[0], cuts[3]) if cuts[3] > cuts[0] else full
        return {'full': full, 'robust': (cuts[1], cuts[2])} | {
            'product': product
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
        If the shapes differ, ids are not whole numbers, or no object is in it.
    """
    image, labels = np.asarray(image), np.asarray(labels)
    if labels.ndim == 2:
        labels = labels[np.newaxis]
    if image.ndim not in (2, 3) or labels.ndim != 3:
        raise TrainingDataError(
            f'{name}: expected an image (H, W) or (H, W, 3) and labels '
            f'(H, W), got {image.shape} and {labels.shape}.'
        )
    if image.shape[:2] != labels.shape[1:]:
        raise TrainingDataError(
            f'{name}: the image is {image.shape[0]} x {image.shape[1]} but '
            f'its labels are {labels.shape[1]} x {labels.shape[2]}; choose '
            'the labels that were drawn on this image.'
        )
    if not np.issubdtype(labels.dtype, np.integer):
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


def _renumber(labels: NDArray[Any]) -> NDArray[np.int32]:
    result = np.zeros(labels.shape, dtype=np.int32)
    for index, layer in enumerate(labels):
        ids, inverse = np.unique(layer, return_inverse=True)
        inverse = inverse.reshape(layer.shape)
        result[index] = inverse + (0 if ids[0] == 0 else 1)
    return result


def read_array(path: Path) -> NDArray[Any]:
    """Read a TIFF, PNG or zarr array as it is stored."""
    try:
        if path.suffix == '.zarr':
            import zarr

            return np.asarray(zarr.open_array(str(path), mode='r')[...])
        if path.suffix in ('.tif', '.tiff'):
            import tifffile

            return np.asarray(tifffile.imread(path))
        from skimage.io import imread

        return np.asarray(imread(path))
    except (OSError, ValueError, SyntaxError, KeyError) as error:
        raise TrainingDataError(
            f'{path} cannot be read as an image: {error}'
        ) from error


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


def _pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    if (folder / 'images').is_dir() and (folder / 'labels').is_dir():
        labels = {path.stem: path for path in _files(folder / 'labels')}
        return [
            (path.stem, path, labels[path.stem])
            for path in _files(folder / 'images')
            if path.stem in labels
        ]
    found = {path.stem: path for path in _files(folder)}
    return [
        (stem.removesuffix('_image'), path, found[other])
        for stem, path in found.items()
        if stem.endswith('_image')
        and (other := stem.removesuffix('_image') + '_labels') in found
    ]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def _manifest(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    path = folder / 'MANIFEST.csv'
    if not path.exists():
        return {}
    with path.open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
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

    Raises
    ------
    TrainingDataError
        If there is nothing to read or a pair does not match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TrainingDataError(f'{folder} is not a folder.')
    manifest = _manifest(folder)
    sources = [(folder, '')] if _pairs(folder) else []
    sources += [
        (sub, sub.name) for sub in sorted(folder.iterdir()) if sub.is_dir()
    ]
    images: list[LabelledImage] = []
    for source, dataset in sources:
        if datasets is not None and dataset not in datasets:
            continue
        images += _read_source(source, dataset, manifest, split, limit)
    if not images:
        raise TrainingDataError(
            f'{folder} holds no labelled images'
            + (f' of the split {split!r}' if split else '')
            + ': expected <id>_image.* beside <id>_labels.*, or images/ and '
            'labels/ with equal file names (TIFF, PNG or zarr).'
        )
    return images


def _read_source(
    source: Path,
    dataset: str,
    manifest: dict[tuple[str, str], dict[str, str]],
    split: str | None,
    limit: int | None,
) -> list[LabelledImage]:
    images: list[LabelledImage] = []
    taken: dict[str, int] = {}
    for name, image_path, labels_path in _pairs(source):
        row = manifest.get((dataset, name), {})
        if split is not None and manifest and row.get('split') != split:
            continue
        modality = row.get('modality', '')
        if limit is not None and taken.get(modality, 0) >= limit:
            continue
        pair = read_array(image_path), read_array(labels_path)
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
