"""Label images and tables of masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mobilesam.segmentation.painting import (
    VISIBLE_FRACTION,
    by_score,
    label_table,
    paint_labels,
    paint_objects,
)

from .helpers import as_mask, disc, paste

SHAPE = (40, 50)


@st.composite
def masks_of_a_plane(draw):
    count = draw(st.integers(0, 6))
    masks = []
    for _ in range(count):
        center = draw(st.tuples(st.integers(0, 39), st.integers(0, 49)))
        radius = draw(st.integers(0, 14))
        score = draw(st.sampled_from([0.3, 0.5, 0.8, 0.95]))
        masks.append(as_mask(disc(SHAPE, center, radius), score))
    return masks


def test_better_masks_are_painted_over_worse_ones():
    good = as_mask(disc(SHAPE, (20, 20), 8), 0.9)
    bad = as_mask(disc(SHAPE, (20, 33), 8), 0.5)
    labels, painted = paint_labels([bad, good], SHAPE)
    assert painted == [good, bad]
    assert np.array_equal(labels == 1, paste(good, SHAPE))
    rest = paste(bad, SHAPE) & ~paste(good, SHAPE)
    assert np.array_equal(labels == 2, rest)


def test_a_mask_that_is_mostly_covered_gets_no_label():
    good = as_mask(disc(SHAPE, (20, 20), 8), 0.9)
    part = as_mask(disc(SHAPE, (20, 22), 7), 0.5)
    labels, painted = paint_labels([good, part], SHAPE)
    assert painted == [good]
    assert labels.max() == 1


@given(masks_of_a_plane(), st.randoms())
def test_painting_is_deterministic_and_idempotent(masks, random):
    labels, painted = paint_labels(masks, SHAPE)
    shuffled = list(masks)
    random.shuffle(shuffled)
    assert np.array_equal(paint_labels(shuffled, SHAPE)[0], labels)
    assert np.array_equal(paint_labels(painted, SHAPE)[0], labels)
    assert set(np.unique(labels)) - {0} == set(range(1, len(painted) + 1))
    for number, mask in enumerate(painted, start=1):
        visible = labels == number
        assert not (visible & ~paste(mask, SHAPE)).any()
        assert visible.sum() >= VISIBLE_FRACTION * mask.area


@settings(max_examples=10)
@given(masks_of_a_plane())
def test_the_table_describes_the_labels(masks):
    labels, painted = paint_labels(masks, SHAPE)
    table = label_table(labels, painted)
    assert table.label.tolist() == list(range(1, len(painted) + 1))
    for row in table.itertuples():
        visible = labels == row.label
        assert row.area == visible.sum()
        box = (row.row0, row.column0, row.row1, row.column1)
        assert box == as_mask(visible).box
        rows, columns = np.nonzero(visible)
        assert (row.row, row.column) == pytest.approx(
            (rows.mean(), columns.mean())
        )
    assert table.score.is_monotonic_decreasing


@pytest.mark.slow
def test_many_labels_need_more_than_sixteen_bits():
    data = np.ones((1, 1), bool)
    plane = np.zeros((300, 300), bool)
    plane[0, 0] = True
    mask = as_mask(plane)
    masks = [
        type(mask)(data, (r, c, r + 1, c + 1), 0.5)
        for r in range(256)
        for c in range(257)
    ]
    labels, painted = paint_labels(masks, plane.shape)
    assert labels.dtype == np.int32
    assert labels.max() == len(painted) == 256 * 257


def test_best_first_breaks_ties_by_position():
    left = as_mask(disc(SHAPE, (20, 10), 5), 0.5)
    right = as_mask(disc(SHAPE, (20, 30), 5), 0.5)
    assert by_score([right, left]) == [left, right]


def test_likeness_to_examples_is_worth_less_than_predicted_iou():
    plane = disc(SHAPE, (20, 20), 5)
    masks = [
        replace(as_mask(plane, score), similarity=similarity)
        for score, similarity in ((0.9, 0.1), (0.7, 0.5), (0.8, 0.0))
    ]
    assert by_score(masks[::-1]) == masks


def test_objects_without_a_pixel_are_told_in_one_line():
    drawn = as_mask(disc(SHAPE, (20, 20), 5))
    empty = as_mask(np.zeros(SHAPE, bool))
    with pytest.warns(UserWarning, match='4 objects without') as told:
        _, table = paint_objects([empty, drawn, empty, empty, empty], SHAPE)
    assert table['label'].tolist() == [2]
    assert [str(one.message) for one in told] == [
        '4 objects without a pixel: 1, 3, 4 …'
    ]


def test_no_masks_no_labels():
    labels, painted = paint_labels([], SHAPE)
    assert painted == []
    assert labels.dtype == np.uint16
    table = label_table(labels, painted)
    assert len(table) == 0
    assert table.label.dtype == np.int64
