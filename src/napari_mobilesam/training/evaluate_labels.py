"""Evaluation of label images from any program.

The measures are those of *segment everything*, so that other programs can be
compared on the same images (Segment Anything, sections 7.3 and 7.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.readers.label_names import ENDINGS, IMAGE_ENDINGS
from napari_mobilesam.readers.pictures import LOSSY_SUFFIXES
from napari_mobilesam.text import first_few
from napari_mobilesam.training.dataset import (
    file_of,
    files_by_stem,
)
from napari_mobilesam.training.evaluate import Evaluation, label_scores
from napari_mobilesam.training.label_pairs import (
    lossy_text,
    read_label_array,
    refuse_mask,
)
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
)
from napari_mobilesam.training.training_parameters import EvaluationOptions
from napari_mobilesam.types import Progress


def evaluate_labels(
    folder: Path,
    images: Sequence[LabelledImage],
    progress: Progress | None = None,
) -> Evaluation:
    """Measure label images against the labels of a folder.

    Parameters
    ----------
    folder : Path
        Label images ``<id>``, ``<id>_labels`` or ``<id>_image_labels``, or
        with another ending such as ``_cp_masks``, in one subfolder per data
        set or in a single folder.
    images : sequence of LabelledImage
        Ground truth from `read_folder`.
    progress : callable, optional
        ``progress(done, total, name)`` per image.

    Returns
    -------
    Evaluation
        Columns: ap50, ap50_95, recall, f1, best_iou.

    Raises
    ------
    TrainingDataError
        If images have no label image, two with the same name, or one that has
        another shape, is lossily compressed, is a binary mask, or cannot be
        read.
    """
    if not folder.is_dir():
        raise TrainingDataError(f'There is no folder {folder}.')
    files = {
        dataset: files_by_stem(folder / dataset)
        for dataset in {'', *(image.dataset for image in images)}
        if (folder / dataset).is_dir()
    }
    paths = [_label_file(files, image) for image in images]
    missing = [
        image.name
        for image, path in zip(images, paths, strict=True)
        if path is None
    ]
    if missing:
        raise TrainingDataError(
            f'{folder} has no label image for {len(missing)} of '
            f'{len(images)} images: {first_few(missing)}; a label image is '
            'named as its image.'
        )
    rows = []
    for number, (image, path) in enumerate(zip(images, paths, strict=True)):
        assert path is not None
        if progress is not None:
            progress(number, len(images), f'evaluating {image.name}')
        found = _plane(path, image)
        rows.append(
            {
                'name': image.name,
                'dataset': image.dataset,
                'modality': image.modality,
                'objects': len(image.objects),
            }
            | label_scores(image.labels[0], found)
        )
    options = EvaluationOptions(objects=0, clicks=0)
    return Evaluation(rows, str(folder), options)


def _label_file(
    files: Mapping[str, Mapping[str, list[Path]]], image: LabelledImage
) -> Path | None:
    """Return the label file of an image, None if there is none.

    ``files[dataset][stem]`` holds the files per data set; ``''`` stands for
    all.
    """
    for stem in _stems(image):
        for dataset in (image.dataset, ''):
            there = files.get(dataset, {}).get(stem, [])
            # ignore a preview next to the labels
            exact = [p for p in there if not _is_lossy(p)]
            if len(exact) > 1:
                raise TrainingDataError(
                    f'{exact[0]} and {exact[1].name} have the same name: '
                    'remove one, or rename it.'
                )
            if there:
                return (exact or there)[0]
    return None


def _is_lossy(path: Path) -> bool:
    return path.suffix.lower() in LOSSY_SUFFIXES


def _stems(image: LabelledImage) -> Iterator[str]:
    identifier = file_of(image).rpartition('/')[2]
    # ``<id>_image`` without any of them is the image
    for ending in (*ENDINGS, ''):
        yield identifier + ending
        if ending:
            yield from (identifier + end + ending for end in IMAGE_ENDINGS)


def _plane(path: Path, image: LabelledImage) -> NDArray[np.integer]:
    """Return the labels of the plane of an image."""
    if _is_lossy(path):
        raise TrainingDataError(lossy_text(path))
    stack = read_label_array(path)[0]
    try:
        labels = np.squeeze(stack[image.plane])
    except IndexError:
        # fewer planes than the image
        labels = stack
    if labels.shape != image.labels.shape[1:]:
        known = 'a plane of a stack' if image.plane else 'an image'
        raise TrainingDataError(
            f'{path} has the shape {stack.shape}, and {image.name} is {known} '
            f'of shape {image.labels.shape[1:]}; they must be the same'
        )
    with np.errstate(invalid='ignore'):
        numbers = labels.astype(np.int64)
    # some programs save labels as float32
    if labels.dtype.kind not in 'uibf' or not np.array_equal(numbers, labels):
        raise TrainingDataError(
            f'{path} has fractions, NaN or too large numbers, of type '
            f'{labels.dtype}; labels are whole numbers from 1'
        )
    if numbers.min(initial=0) < 0:
        raise TrainingDataError(f'{path} has negative labels.')
    refuse_mask(path, numbers)
    return numbers
