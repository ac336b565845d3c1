"""Boxes that may hold objects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.segmentation.box_tables import BOX_COLUMNS
from napari_mobilesam.segmentation.proposals import object_proposals

from .helpers import disc
from .oracle import Oracle

SHAPE = (120, 160)


@pytest.fixture
def image() -> np.ndarray:
    planes = disc(SHAPE, (40, 40), 18) | disc(SHAPE, (80, 110), 25)
    return np.where(planes, 255, 0).astype(np.uint8)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)


@pytest.mark.slow
def test_proposals_are_boxes_of_objects(image):
    table = object_proposals(
        image, Oracle(), points_per_side=16, whole_image=True
    )
    assert len(table) == 2
    for (row, column), radius in (((40, 40), 18), ((80, 110), 25)):
        expected = [row - radius, column - radius]
        expected += [row + radius + 1, column + radius + 1]
        distance = np.abs(table[list(BOX_COLUMNS)] - expected).max(axis=1)
        assert distance.min() <= 2


@pytest.mark.slow
def test_proposals_are_ranked_and_cut_off(noise, tiny_model):
    options = {
        'predicted_iou': 0.0,
        'stability': 0.0,
        'stability_offset': 0.01,
        'points_per_side': 4,
    }
    table = object_proposals(noise, tiny_model, **options)
    assert table['score'].is_monotonic_decreasing
    assert np.allclose(
        table['score'], (table['predicted_iou'] + table['stability']) / 2
    )
    few = object_proposals(noise, tiny_model, most=3, **options)
    pd.testing.assert_frame_equal(few, table.head(3))
    fewer_duplicates = object_proposals(
        noise, tiny_model, box_nms=0.5, **options
    )
    assert len(fewer_duplicates) <= len(table)


def test_nothing_gives_a_table_without_rows():
    table = object_proposals(
        np.zeros((20, 20), np.uint8), Oracle(), points_per_side=2
    )
    assert len(table) == 0
    assert set(BOX_COLUMNS) < set(table.columns)
