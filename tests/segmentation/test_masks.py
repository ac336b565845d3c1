from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.masks import (
    VISIBLE_FRACTION,
    boxes_of,
    by_score,
    clean,
    label_table,
    mask_iou,
    non_maximum_suppression,
    paint_labels,
    paint_objects,
    remove_small_regions,
    suppress,
)
from napari_mobilesam.segmentation.overlaps import BoxOverlaps, box_iou
from napari_mobilesam.segmentation.upscaling import crop_to_mask

from .helpers import as_mask, disc, iou, paste

SHAPE = (40, 50)
planes = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@st.composite
def boxes_and_scores(draw):
    count = draw(st.integers(0, 12))
    corner = hnp.arrays(np.int64, (count, 2), elements=st.integers(0, 20))
    side = hnp.arrays(np.int64, (count, 2), elements=st.integers(1, 15))
    low = draw(corner)
    score = st.sampled_from([0.5, 0.7, 0.7001, 0.9])
    scores = draw(hnp.arrays(float, count, elements=score))
    return np.hstack([low, low + draw(side)]), scores


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


@given(planes)
def test_cropping_and_pasting_gives_the_mask_back(plane):
    mask = as_mask(plane)
    assert np.array_equal(paste(mask, plane.shape), plane)
    if mask.area:
        assert mask.data[[0, -1]].any(axis=1).all()
        assert mask.data[:, [0, -1]].any(axis=0).all()


def test_crop_keeps_the_origin():
    data, box = crop_to_mask(np.eye(3, dtype=bool)[1:], (10, 20))
    assert box == (10, 21, 12, 23)
    assert data.shape == (2, 2)


def test_box_iou_is_measured_between_pixel_centres():
    box = np.array([0, 0, 11, 11])
    others = np.array([[0, 0, 11, 11], [0, 5, 11, 16], [0, 20, 5, 25]])
    # Ten by ten between the centres; half of it shared makes one third.
    assert box_iou(box, others) == pytest.approx([1, 1 / 3, 0])


def test_boxes_of_one_row_have_no_overlap():
    row = np.array([[3, 3, 4, 9]])
    assert box_iou(row[0], row) == pytest.approx([0])


def test_suppression_keeps_the_better_of_two():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]])
    kept = non_maximum_suppression(boxes, [np.array([0.8, 0.9, 0.1])], 0.7)
    assert kept.tolist() == [1, 2]


def test_earlier_keys_decide_first():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11]])
    keys = [np.array([2, 1]), np.array([0.1, 0.9])]
    assert non_maximum_suppression(boxes, keys, 0.7).tolist() == [0]


@pytest.mark.slow
@given(boxes_and_scores(), st.floats(0, 1), st.randoms())
def test_suppression_does_not_depend_on_the_order(data, threshold, random):
    boxes, scores = data
    order = list(range(len(boxes)))
    random.shuffle(order)
    kept = boxes[non_maximum_suppression(boxes, [scores], threshold)]
    shuffled = boxes[order]
    again = non_maximum_suppression(shuffled, [scores[order]], threshold)
    assert np.array_equal(kept, shuffled[again])


@pytest.mark.parametrize('threshold', [0.1, 0.7])
def test_suppression_of_boxes_of_all_sizes_is_greedy(threshold):
    generator = np.random.default_rng(0)
    low = generator.integers(0, 60, (200, 2))
    sides = 2 ** generator.integers(1, 7, (200, 1))
    sides = sides + generator.integers(0, 4, (200, 2))
    boxes, scores = np.hstack([low, low + sides]), generator.random(200)
    expected = []
    for index in np.argsort(-scores).tolist():
        others = boxes[np.array(expected, int)]
        if (box_iou(boxes[index], others) <= threshold).all():
            expected.append(index)
    overlaps = BoxOverlaps(boxes, 0.05)
    kept = overlaps.suppress(np.arange(200), [scores], threshold)
    assert kept.tolist() == expected


def test_no_masks_are_no_trouble():
    assert suppress([], 0.7) == []
    assert boxes_of([]).shape == (0, 4)
    assert clean([], 10, SHAPE, 0.7) == []
    labels, painted = paint_labels([], SHAPE)
    assert painted == []
    assert labels.dtype == np.uint16
    table = label_table(labels, painted)
    assert len(table) == 0
    assert table.label.dtype == np.int64


def test_small_islands_and_holes_go():
    plane = disc(SHAPE, (20, 20), 12)
    expected = plane.copy()
    plane[20, 20:22] = False
    plane[2:4, 45:47] = True
    cleaned, changed = remove_small_regions(as_mask(plane), 5, SHAPE)
    assert changed
    assert np.array_equal(paste(cleaned, SHAPE), expected)
    # Tight again: the island had stretched the box.
    assert cleaned.box == as_mask(expected).box


def test_what_is_large_enough_stays():
    plane = disc(SHAPE, (20, 20), 12)
    plane[20, 20:22] = False
    plane[2:4, 45:47] = True
    mask = as_mask(plane)
    cleaned, changed = remove_small_regions(mask, 2, SHAPE)
    assert not changed
    assert cleaned is mask


def test_the_largest_island_stays_if_all_are_small():
    plane = np.zeros(SHAPE, bool)
    plane[3, 3] = True
    plane[10, 10:12] = True
    cleaned, _ = remove_small_regions(as_mask(plane), 50, SHAPE)
    assert cleaned.box == (10, 10, 11, 12)


def test_diagonal_neighbours_are_one_region():
    plane = np.zeros(SHAPE, bool)
    plane[range(5, 11), range(5, 11)] = True
    _, changed = remove_small_regions(as_mask(plane), 6, SHAPE)
    assert not changed


def test_background_beyond_the_box_is_no_hole():
    # Background in the corners of the box is small there, large outside.
    plane = disc(SHAPE, (20, 20), 6)
    _, changed = remove_small_regions(as_mask(plane), 100, SHAPE)
    assert not changed


@pytest.mark.parametrize('turns', range(4))
def test_a_bay_of_a_mask_from_border_to_border_is_no_hole(turns):
    plane = np.zeros((20, 20), bool)
    plane[5:15] = True
    plane[5:7, 9] = False
    plane = np.rot90(plane, turns)
    _, changed = remove_small_regions(as_mask(plane), 50, plane.shape)
    assert not changed


def test_background_closed_in_by_the_border_is_a_hole():
    plane = disc(SHAPE, (0, 20), 6)
    plane[0, 20] = False
    cleaned, changed = remove_small_regions(as_mask(plane), 5, SHAPE)
    assert changed
    assert cleaned.data.all(axis=1)[0]


def test_of_duplicates_after_cleaning_the_untouched_one_stays():
    whole = disc(SHAPE, (20, 20), 10)
    holed = whole.copy()
    holed[20, 20] = False
    masks = [as_mask(holed, 0.9), as_mask(whole, 0.8)]
    kept = clean(masks, 5, SHAPE, 0.7)
    assert [mask.score for mask in kept] == [0.8]


@given(planes, st.integers(1, 20))
def test_cleaning_twice_changes_nothing_more(plane, min_area):
    if not plane.any():
        return
    cleaned, _ = remove_small_regions(as_mask(plane), min_area, plane.shape)
    again, changed = remove_small_regions(cleaned, min_area, plane.shape)
    if cleaned.area >= min_area:
        assert not changed
    assert np.array_equal(again.data, cleaned.data)


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


def test_masks_that_do_not_meet_share_nothing():
    mask = as_mask(disc(SHAPE, (10, 10), 5))
    for center in ((10, 23), (30, 12), (25, 25)):
        assert mask_iou(mask, as_mask(disc(SHAPE, center, 4))) == 0


def test_iou_of_helpers():
    assert iou(np.zeros(3, bool), np.zeros(3, bool)) == 1
    assert iou(np.array([True, True]), np.array([True, False])) == 0.5


def test_objects_without_a_pixel_are_told_in_one_line():
    drawn = as_mask(disc(SHAPE, (20, 20), 5))
    empty = as_mask(np.zeros(SHAPE, bool))
    with pytest.warns(UserWarning, match='4 objects without') as told:
        _, table = paint_objects([empty, drawn, empty, empty, empty], SHAPE)
    assert table['label'].tolist() == [2]
    assert [str(one.message) for one in told] == [
        '4 objects without a pixel: 1, 3, 4 …'
    ]
