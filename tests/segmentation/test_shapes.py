"""Drawn shapes as boxes, regions, points and mask inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon

from napari_mobilesam.segmentation.shapes import (
    CERTAIN,
    box_of,
    ellipse_outline,
    low_res_logits,
    points_along,
    region_of,
)
from napari_mobilesam.segmentation.upscaling import upscale_plane
from napari_mobilesam.types import Frame, Mask

SHAPE = (60, 80)


def on_plane(mask, shape=SHAPE):
    plane = np.zeros(shape, bool)
    row0, column0, row1, column1 = mask.box
    plane[row0:row1, column0:column1] = mask.data
    return plane


def test_ellipse_fills_pi_quarters_of_its_box_and_stays_inside():
    corners = np.array([[10, 10], [10, 50], [40, 50], [40, 10]], float)
    outline = ellipse_outline(corners)
    assert outline.min(axis=0) == pytest.approx((10, 10), abs=0.1)
    assert outline.max(axis=0) == pytest.approx((40, 50), abs=0.1)
    area = region_of(outline, SHAPE).area
    assert area == pytest.approx(np.pi / 4 * 30 * 40, rel=0.03)


def test_box_reaches_half_a_pixel_around_and_ends_at_the_image():
    outline = np.array([[-5, 3], [20, 3], [20, 100]], float)
    assert box_of(outline, SHAPE).tolist() == [0, 3.5, 20.5, 80]


def test_region_is_cut_at_the_image_and_tight():
    outline = np.array([[-5, 70], [9.4, 70], [9.4, 95], [-5, 95]], float)
    region = region_of(outline, SHAPE)
    assert region.box == (0, 70, 10, 80)
    assert region.data.all()


def test_no_region_outside_the_image_or_between_pixels():
    away = np.array([[100, 100], [120, 100], [120, 120]], float)
    assert region_of(away, SHAPE) is None
    between = np.array([[1.2, 1.2], [1.2, 1.4], [1.4, 1.3]])
    assert region_of(between, SHAPE) is None


@pytest.mark.parametrize('vertices', [3, 4, 30])
def test_region_has_the_pixels_with_centres_in_the_outline(vertices):
    rng = np.random.default_rng(vertices)
    outline = rng.uniform(-20, 90, (vertices, 2))
    expected = np.zeros(SHAPE, bool)
    expected[polygon(*outline.T, shape=SHAPE)] = True
    assert (on_plane(region_of(outline, SHAPE)) == expected).all()


def test_points_along_keep_their_distance_and_stay_off_the_ends():
    path = np.array([[0, 0], [0, 30], [30, 30]], float)
    points = points_along(path, 6)
    assert len(points) == 6
    assert points[0] == pytest.approx((0, 5))
    assert points[-1] == pytest.approx((25, 30))


def test_a_click_like_scribble_is_one_point():
    assert points_along(np.array([[5, 5], [5, 5]], float)).tolist() == [[5, 5]]


@pytest.mark.slow
@given(
    st.tuples(*[st.integers(40, 200)] * 2),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(8, 60),
)
def test_mask_input_comes_back_as_the_mask(shape, row, column, side):
    frame = Frame.of(shape, (0, 0, *shape), 256)
    data = np.ones((min(side, shape[0] - row), min(side, shape[1] - column)))
    box = (row, column, row + data.shape[0], column + data.shape[1])
    mask = Mask(data.astype(bool), box, 1.0)
    logits = low_res_logits(mask, frame)
    assert logits.shape == (64, 64)
    found = np.argwhere(upscale_plane(logits, frame))
    edges = *found.min(axis=0), *found.max(axis=0) + 1
    # they move by less than a low-res cell
    assert np.abs(np.subtract(edges, box)).max() < max(shape) / 64


def test_mask_input_is_empty_in_the_padding_and_outside_the_window():
    frame = Frame.of((100, 100), (0, 0, 50, 100), 128)
    everywhere = Mask(np.ones((100, 100), bool), (0, 0, 100, 100), 1.0)
    logits = low_res_logits(everywhere, frame)
    assert (logits[:16] == CERTAIN).all()
    assert (logits[16:] == -CERTAIN).all()
    elsewhere = Mask(np.ones((9, 9), bool), (60, 60, 69, 69), 1.0)
    assert (low_res_logits(elsewhere, frame) == -CERTAIN).all()
