"""Small islands and holes of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.small_regions import (
    clean,
    remove_small_regions,
)

from .helpers import as_mask, disc, paste

SHAPE = (40, 50)
planes = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


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


def test_no_masks_stay_none():
    assert clean([], 10, SHAPE, 0.7) == []
