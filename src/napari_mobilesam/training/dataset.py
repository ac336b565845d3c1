"""Folders of images and label images, as planes for training and evaluation.

A folder holds pairs ``<id>.*``, ``<id>_image.*`` or ``<id>_img.*``, and
``<id>_labels.*``; the labels may be in a subfolder ``labels/``, as a series
saves them. Or it has two subfolders ``images/`` and ``labels/``, or StarDist's
``masks/``, whose files have the same names except for the suffix, or the end
``_labels``. Labels may end as those of other programs do, such as Cellpose's
``<id>_cp_masks.png``, see `label_names`; the first of several is read. TIFF,
PNG, .npy, zarr and OME-Zarr are read, and JPEG for images only; a stack gives
one entry per plane.
A ``MANIFEST.csv`` with the columns dataset, id, split and modality is used if
present.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.readers.label_names import (
    OME,
    image_of,
    stem_of,
    without_image,
)
from napari_mobilesam.readers.open_image import IMAGE_SUFFIXES
from napari_mobilesam.text import counted, first_few
from napari_mobilesam.training.label_pairs import TrainingPair, read_pair
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
    by_group,
    labelled_image,
)

# End of the names of label images.
LABELS = '_labels'


def _planes(
    image: NDArray[Any], labels: NDArray[Any]
) -> Iterable[tuple[tuple[int, ...], NDArray[Any], NDArray[Any]]]:
    if labels.ndim <= 2:
        yield (), image, labels
        return
    if image.shape[: labels.ndim - 2] != labels.shape[:-2]:
        yield (), image, labels
        return
    indices = list(np.ndindex(*labels.shape[:-2]))
    for index in indices:
        # a stack of one plane is an image: its result may lack this axis
        plane = index if len(indices) > 1 else ()
        yield plane, image[index], labels[index]


def _suffix(plane: tuple[int, ...]) -> str:
    """Return the end of the name of a plane of a stack."""
    return '[' + ','.join(map(str, plane)) + ']' if plane else ''


def _pairs(folder: Path, warn: bool = True) -> list[tuple[str, Path, Path]]:
    """Return identifiers, images and label images of a folder.

    Warns
    -----
    UserWarning
        If images lack labels, or labels an image; these are left out.
    """
    images, labels = _images_and_labels(folder)
    both = [stem for stem in images if stem in labels]
    for stem in both:
        for same in (images[stem], labels[stem]):
            if len(same) > 1:
                raise TrainingDataError(
                    f'{same[0]} and {same[1]} are both of “{stem}”: remove '
                    'one, or rename it.'
                )
    paths = {*images, *labels} - {*both}
    alone = [p for stem in sorted(paths) for p in images.get(stem, ())]
    alone += [p for stem in sorted(paths) for p in labels.get(stem, ())]
    if both and alone and warn:
        warnings.warn(
            f'{folder}: {counted(len(alone), "file")} without a partner of '
            f'the same name left out: {first_few([p.name for p in alone])}',
            UserWarning,
            stacklevel=2,
        )
    return [(stem, images[stem][0], labels[stem][0]) for stem in both]


def _images_and_labels(
    folder: Path,
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the images and label images of a folder by identifier."""
    inside, below = folder / 'images', folder / 'labels'
    if inside.is_dir() and not below.is_dir():
        below = folder / 'masks'
    drawn = files_by_stem(below) if below.is_dir() else {}
    if inside.is_dir() and below.is_dir():
        images = files_by_stem(inside)
        return images, _by_image(_named(drawn, images))
    found = files_by_stem(folder)
    named_labels = [*_named(drawn, found)]
    # what has labels is an image
    known = {each.image for each in named_labels}
    known |= {s.removesuffix(LABELS) for s in found if s.endswith(LABELS)}
    named_labels += _named_beside(found, known)
    labels = _by_image(named_labels)
    # an image need not be named as one if there are labels of it
    images = {
        stem: files
        for stem, files in found.items()
        if stem in labels or without_image(stem) != stem
    }
    count = Counter(map(without_image, images))
    shown = {
        stem: without_image(stem)
        for stem in images
        if count[without_image(stem)] == 1
    }
    return (
        {shown.get(stem, stem): files for stem, files in images.items()},
        {shown.get(stem, stem): files for stem, files in labels.items()},
    )


class _NamedLabels(NamedTuple):
    """Label images, the identifier of their image, and rank of their name."""

    image: str
    rank: int
    files: list[Path]


def _named(
    drawn: Mapping[str, list[Path]], images: Collection[str]
) -> Iterator[_NamedLabels]:
    """Yield the label images of a folder of their own."""
    for stem, files in drawn.items():
        exact = stem in images and not stem.endswith(LABELS)
        name, rank = (stem, 0) if exact else _image_of(stem, images)
        yield _NamedLabels(name, rank, files)


def _named_beside(
    found: Mapping[str, list[Path]], known: Collection[str]
) -> Iterator[_NamedLabels]:
    """Yield the label images among images, but not images with labels."""
    for stem, files in found.items():
        name, rank = _image_of(stem, found)
        if name != stem and not (rank and stem in known):
            yield _NamedLabels(name, rank, files)


def _image_of(stem: str, images: Collection[str]) -> tuple[str, int]:
    """Return the image of a label image by its name, and rank of the name."""
    named = image_of(stem, images)
    return named or (stem.removesuffix(LABELS).removesuffix(OME), 0)


def _by_image(found: Iterable[_NamedLabels]) -> dict[str, list[Path]]:
    """Return label images by the identifier of their image.

    Those of the first rank are used.
    """
    labels: dict[str, list[Path]] = {}
    ranks: dict[str, int] = {}
    for name, rank, files in sorted(found, key=lambda each: each.rank):
        if ranks.setdefault(name, rank) == rank:
            labels[name] = labels.get(name, []) + files
    return labels


def files_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of a folder by name without suffixes."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        # macOS writes ._name next to a file
        if path.name.startswith('.'):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            files.setdefault(stem_of(path), []).append(path)
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
    # spreadsheets write semicolons in many countries
    named = csv.DictReader(
        lines, delimiter=max(',;\t', key=heading.count), restval=''
    )
    rows = [
        {str(key).strip().lower(): str(row[key]).strip() for key in row}
        for row in named
    ]
    if not rows or 'id' not in rows[0]:
        raise TrainingDataError(
            f'{path} has no row with an “id”, the name of an image without '
            f'its suffix; its first line is {heading!r}. Correct it, or '
            'remove it: it is not needed.'
        )
    return {(row.get('dataset', ''), row['id']): row for row in rows}


def manifest_splits(folder: Path) -> set[str]:
    """Return the splits named in the manifest of a folder."""
    return {row.get('split', '') for row in _manifest(folder).values()}


def file_of(image: LabelledImage) -> str:
    """Return the name of an image without the plane indices of a stack."""
    return image.name.removesuffix(_suffix(image.plane))


def read_folder(
    folder: str | Path,
    *,
    split: str | None = None,
    datasets: Sequence[str] | None = None,
    limit: int | None = None,
    channel: int | None = None,
) -> list[LabelledImage]:
    """Read the labelled planes of a folder, or of a folder of such folders.

    Parameters
    ----------
    folder : path
        See the module docstring; subfolders are data sets.
    split : str, optional
        Read only images of this split in the manifest.
    datasets : sequence of str, optional
        Read only these subfolders.
    limit : int, optional
        Maximum number of images per data set and modality.
    channel : int, optional
        Channel of images with several, from 0 (default: 0); gray and colour
        images are read as they are.

    Returns
    -------
    list of LabelledImage
        Planes without objects are left out.

    Warns
    -----
    UserWarning
        If a label image has no object at all, or images have several
        channels and none was chosen.

    Raises
    ------
    TrainingDataError
        If there is nothing to read, or a pair does not match.
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
    several: list[str] = []
    for source, dataset in sources:
        if datasets is not None and dataset not in datasets:
            continue
        pairs = _wanted_pairs(source, dataset, manifest, split, limit)
        for name, modality, image, labels in pairs:
            pair = read_pair(image, labels, channel or 0)
            if pair.channels > 1:
                several.append(image.name)
            if not pair.labels.any():
                empty.append(labels.name)
            images += _labelled_planes(pair, source, dataset, name, modality)
    if empty:
        _tell_empty(folder, empty, bool(images))
    if several and channel is None:
        warnings.warn(
            f'Channel 0 of {counted(len(several), "image")} with several '
            f'channels is used: {first_few(several)}; another one can be '
            'chosen (channel=, or --channel).',
            UserWarning,
            stacklevel=2,
        )
    if not images and datasets is not None:
        names = ', '.join(name for _, name in sources if name)
        there = (
            f'its data sets are {names}' if names else 'it has no data sets'
        )
        raise TrainingDataError(
            f'{folder} has no labelled images of {", ".join(datasets)}: '
            f'{there}.'
        )
    if not images:
        raise TrainingDataError(
            f'{folder} holds no labelled images'
            + (f' of the split {split!r}' if split else '')
            + ': expected <id>.* or <id>_img.* beside <id>_labels.* '
            '(or <id>_masks.*, <id>_seg.npy …), which may be in a folder '
            'labels/, or images/ and labels/ (or masks/) with equal file '
            'names (TIFF, PNG, .npy or zarr).'
        )
    return images


def _tell_empty(folder: Path, empty: Sequence[str], others: bool) -> None:
    """Warn about label images without objects; raise if all are empty."""
    named = first_few(empty)
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


def _wanted_pairs(
    source: Path,
    dataset: str,
    manifest: dict[tuple[str, str], dict[str, str]],
    split: str | None,
    limit: int | None,
) -> Iterator[tuple[str, str, Path, Path]]:
    """Yield name, modality, image and label image of a split."""
    taken: dict[str, int] = {}
    for name, image_path, labels_path in _pairs(source):
        row = manifest.get((dataset, name), {})
        if split is not None and manifest and row.get('split') != split:
            continue
        modality = row.get('modality', '')
        if limit is not None and taken.get(modality, 0) >= limit:
            continue
        yield name, modality, image_path, labels_path
        taken[modality] = taken.get(modality, 0) + 1


def _labelled_planes(
    pair: TrainingPair, source: Path, dataset: str, name: str, modality: str
) -> Iterator[LabelledImage]:
    """Yield the planes of an image that have objects."""
    for plane, image, labels in _planes(pair.image, pair.labels):
        if labels.any():
            checked = labelled_image(
                image,
                labels,
                name=f'{dataset or source.name}/{name}{_suffix(plane)}',
                dataset=dataset,
                modality=modality,
            )
            yield replace(checked, plane=plane)


@dataclass(frozen=True, eq=False)
class BalancedSampler:
    """Sampler that favours small data sets.

    A group is drawn with a probability proportional to (number of instances)
    ** ``exponent``, then an image uniformly within its group.
    """

    images: Sequence[LabelledImage]
    exponent: float = 0.4

    @cached_property
    def groups(self) -> list[list[LabelledImage]]:
        """Images of each group."""
        return list(by_group(self.images).values())

    @cached_property
    def odds(self) -> NDArray[np.float64]:
        """Probability of each group."""
        counts = [sum(len(i.objects) for i in group) for group in self.groups]
        odds = np.asarray(counts, dtype=float) ** self.exponent
        return np.asarray(odds / odds.sum())

    def draw(self, rng: np.random.Generator) -> LabelledImage:
        """Draw one image."""
        group = self.groups[int(rng.choice(len(self.odds), p=self.odds))]
        return group[int(rng.integers(len(group)))]
