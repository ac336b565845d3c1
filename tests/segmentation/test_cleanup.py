"""Cleaning of the mask of one object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.cleanup import CleanUp, without_specks
from napari_mobilesam.types import Frame, Mask, Prompts

SHAPE = (60, 70)


def mask_of(picture):
    rows, columns = np.nonzero(picture)
    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    data = picture[box[0] : box[2], box[1] : box[3]]
    return Mask(data, tuple(int(edge) for edge in box), 0.9, 0.8)


def picture_of(mask):
    picture = np.zeros(SHAPE, bool)
    row0, column0, row1, column1 = mask.box
    picture[row0:row1, column0:column1] = mask.data
    return picture


def disk(row=30, column=35, radius=12):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - row, columns - column) <= radius


def test_by_default_nothing_happens():
    mask = mask_of(disk())
    assert CleanUp()(mask, SHAPE) is mask


def test_small_holes_and_islands_go_and_large_ones_stay():
    picture = disk()
    picture[30:32, 34:36] = False
    picture[22:26, 30:40] = False
    picture[2:4, 2:4] = True
    cleaned = picture_of(CleanUp(min_area=10)(mask_of(picture), SHAPE))
    expected = disk()
    expected[22:26, 30:40] = False
    assert np.array_equal(cleaned, expected)


def test_smoothing_takes_hairs_off_and_keeps_the_body():
    picture = disk()
    picture[30, 45:60] = True
    cleaned = CleanUp(smooth=True)(mask_of(picture), SHAPE)
    assert cleaned.box[3] <= 51
    assert (picture_of(cleaned) ^ disk()).sum() < 0.03 * disk().sum()
    assert (cleaned.score, cleaned.stability) == (0.9, 0.8)


def test_smoothing_does_not_round_off_the_border_of_the_image():
    picture = np.zeros(SHAPE, bool)
    picture[:20, :] = True
    cleaned = CleanUp(smooth=True)(mask_of(picture), SHAPE)
    assert np.array_equal(picture_of(cleaned), picture)


@given(
    st.integers(0, 59),
    st.integers(0, 69),
    st.integers(0, 8),
    st.integers(0, 50),
    st.booleans(),
)
def test_a_cleaned_mask_is_never_empty_and_its_box_tight(
    row, column, radius, area, smooth
):
    mask = mask_of(disk(row, column, radius))
    cleaned = CleanUp(area, smooth)(mask, SHAPE)
    assert cleaned.data.any()
    again = mask_of(picture_of(cleaned))
    assert again.box == cleaned.box
    assert np.array_equal(again.data, cleaned.data)


def with_island():
    picture = disk()
    picture[2:6, 2:8] = True
    return picture


def test_islands_go_unless_they_are_wanted():
    mask = mask_of(with_island())
    assert np.array_equal(picture_of(CleanUp()(mask, SHAPE)), disk())
    assert CleanUp(keep_islands=True)(mask, SHAPE) is mask


def test_part_with_a_positive_point_stays():
    mask = mask_of(with_island())
    on_island = Prompts(np.array([[3.0, 4.0]]), np.array([1]))
    cleaned = picture_of(CleanUp()(mask, SHAPE, on_island))
    assert np.array_equal(cleaned, with_island() & ~disk())
    negative = Prompts(np.array([[3.0, 4.0]]), np.array([0]))
    cleaned = picture_of(CleanUp()(mask, SHAPE, negative))
    assert np.array_equal(cleaned, disk())


def test_parts_of_the_region_stay():
    mask = mask_of(with_island())
    assert CleanUp()(mask, SHAPE, Prompts(region=mask)) is mask


# A low-res logit is 4 x 4 pixels of the image, or half a pixel wide.
PLAIN = Frame(SHAPE, (0, 0, *SHAPE), SHAPE, 70)
ENLARGED = Frame(SHAPE, (0, 0, *SHAPE), (480, 560), 560)


@pytest.mark.parametrize(
    ('radius', 'island', 'frame', 'stays'),
    [
        # 4 pixels are 16 logits, and 4.3 or 0.6 % of the disk
        (5, 4, ENLARGED, True),
        (14, 4, ENLARGED, False),
        # 60 and 68 pixels are 3.8 and 4.3 logits, and more than 9 %
        (14, 60, PLAIN, False),
        (14, 68, PLAIN, True),
    ],
)
def test_islands_too_small_for_parts_of_an_object_go(
    radius, island, frame, stays
):
    alone = mask_of(disk(radius=radius))
    picture = disk(radius=radius)
    picture[2:4, 2 : 2 + island // 2] = True
    mask = mask_of(picture)
    cleaned = without_specks(mask, frame)
    if stays:
        assert cleaned is mask
    else:
        assert cleaned.box == alone.box
        assert np.array_equal(cleaned.data, alone.data)


def test_the_largest_part_stays_however_small():
    picture = np.zeros(SHAPE, bool)
    picture[4, 4] = picture[9, 9] = picture[9, 10] = True
    cleaned = without_specks(mask_of(picture), PLAIN)
    assert cleaned.box == (9, 9, 10, 11)
