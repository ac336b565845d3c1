"""Find similar, with an oracle in place of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from viewer.oracle import OracleSam

import napari_mobilesam as nm
from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.label_masks import masks_of_labels
from napari_mobilesam.segmentation.similar import (
    Examples,
    parameters_for_examples,
    similar_candidates,
)
from napari_mobilesam.types import (
    EverythingParameters,
    PromptError,
    SegmentationError,
)

SMALL = [(10, 10), (10, 60), (40, 100), (70, 20)]
LARGE = (44, 36)


@pytest.fixture(scope='module')
def image():
    """Four squares of 12 pixels, and one of 44."""
    image = np.full((96, 128), 10, np.uint8)
    for row, column in SMALL:
        image[row : row + 12, column : column + 12] = 200
    image[44:88, 44:88] = 200
    return image


@pytest.fixture(scope='module')
def labels(image):
    labels = np.zeros(image.shape, np.uint16)
    labels[10:22, 10:22] = 5
    return labels


@pytest.fixture
def model():
    return OracleSam()


def centers(labels):
    return {
        (int(rows.mean()), int(columns.mean()))
        for rows, columns in (
            np.nonzero(labels == n) for n in np.unique(labels)[1:]
        )
    }


@pytest.mark.slow
def test_objects_of_the_size_of_the_example_are_found(image, labels, model):
    found, table = nm.find_similar(image, model, labels)
    assert centers(found) == {(r + 5, c + 5) for r, c in SMALL}
    assert len(table) == 4
    assert (table['similarity'] > 0.5).all()
    assert table['similarity'].max() == pytest.approx(1, abs=0.05)


def test_labelled_pixels_can_be_left_out(image, labels, model):
    found, _ = nm.find_similar(image, model, labels, skip=labels)
    assert centers(found) == {(r + 5, c + 5) for r, c in SMALL[1:]}
    part, _ = nm.find_similar(image, model, labels, region=(0, 50, 50, 128))
    assert centers(part) == {(r + 5, c + 5) for r, c in SMALL[1:3]}


def test_similarity_can_be_lowered_afterwards(image, labels, model):
    seen = []
    masks = list(masks_of_labels(labels, image.shape).values())
    parameters = parameters_for_examples(
        EverythingParameters(), masks, model.record
    )
    rgb = as_rgb_plane(image)
    embedding = ImageEmbedding.of_rgb(model, rgb)
    candidates = similar_candidates(
        image,
        model,
        examples=Examples.of(embedding, rgb, masks),
        parameters=parameters,
        embedding=embedding,
        on_masks=seen.extend,
    )
    assert parameters.diameter == pytest.approx(13.5, abs=0.1)
    assert seen
    assert all(mask.similarity >= -0.2 for mask in seen)
    chosen = replace(Selection.of(parameters), similarity=0.1)
    areas = [[m.area for m in candidates.select(chosen)]]
    areas.append(
        [m.area for m in candidates.select(replace(chosen, similarity=-0.2))]
    )
    assert max(areas[0]) < 200
    assert len(areas[1]) > len(areas[0])
    none = candidates.select(replace(chosen, similarity=1.0))
    assert none == []


def test_prompts_are_asked_near_what_looks_alike(image, labels, model):
    rgb = as_rgb_plane(image)
    embedding = ImageEmbedding.of_rgb(model, rgb)
    masks = list(masks_of_labels(labels, image.shape).values())
    examples = Examples.of(embedding, rgb, masks)
    likely = examples.likely_pixels(embedding, 0.2)
    assert likely.shape == image.shape
    assert likely[image > 100].all()
    assert likely.mean() < 0.8
    assert not examples.likely_pixels(embedding, 0.2, lambda: True).any()


def test_thresholds_that_are_given_stay(image, labels, model):
    masks = list(masks_of_labels(labels, image.shape).values())
    given = EverythingParameters(predicted_iou=0.9, crop_layers=1)
    chosen = parameters_for_examples(given, masks, model.record)
    assert chosen.predicted_iou == 0.9
    assert chosen.stability < model.record.stability
    assert chosen.crop_layers == 0


def test_cancelling_keeps_nothing_wrong(image, labels, model):
    found, table = nm.find_similar(
        image, model, labels, cancelled=lambda: True
    )
    assert not found.any()
    assert len(table) == 0


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'numbers': []}, PromptError, 'no example'),
        ({'numbers': [9]}, SegmentationError, 'no object 9'),
        ({'similarity': 2}, SegmentationError, 'similarity'),
        ({'similarity': 'much'}, SegmentationError, 'similarity'),
        ({'point_side': 3}, TypeError, 'unknown parameter'),
    ],
)
def test_bad_input_is_refused(image, labels, model, options, error, message):
    with pytest.raises(error, match=message):
        nm.find_similar(image, model, labels, **options)
    empty = np.zeros_like(labels)
    with pytest.raises(PromptError, match='no example'):
        nm.find_similar(image, model, empty)


@pytest.mark.slow
def test_objects_of_another_intensity_are_not_similar(image, labels, model):
    dim = image.copy()
    dim[40:52, 100:112] = 110
    found, _ = nm.find_similar(dim, model, labels)
    assert found[15, 15]
    assert not found[45, 105]
    found, table = nm.find_similar(dim, model, labels, similarity=-1)
    assert found[45, 105]
    row = table.set_index('label').loc[found[45, 105]]
    assert row['similarity'] < 0.1
