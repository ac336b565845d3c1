from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.crops import crop_regions, point_grid
from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.everything_plan import block_regions
from napari_mobilesam.segmentation.lattice import lattice_points
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.windows import window_side
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    ModelRecord,
    ObjectDiameter,
)

RECORD = ModelRecord(
    'test', input_size=256, object_diameter=ObjectDiameter(24, 48, 160)
)
shapes = st.tuples(st.integers(1, 400), st.integers(1, 400))
diameters = st.floats(2, 400)


@pytest.mark.slow
@given(shapes, diameters, st.integers(1, 12))
def test_every_point_is_owned_once(shape, diameter, per_side):
    parameters = EverythingParameters(points_per_side=per_side)
    grid = EmbeddingGrid(shape, RECORD)
    regions = block_regions(grid, diameter, parameters)
    for region in regions:
        window = np.array(region.window)
        assert (region.points >= window[:2]).all()
        assert (region.points < window[2:]).all()
    asked = np.concatenate([region.points for region in regions])
    assert len(np.unique(asked, axis=0)) == len(asked)
    spacing = max(1, min(max(shape) / per_side, diameter / 2.5))
    expected = lattice_points(shape, spacing, (0, 0, *shape))
    assert np.array_equal(np.unique(asked, axis=0), expected)
    assert (asked >= 0).all()
    assert (asked < shape).all()


@given(shapes, diameters)
def test_objects_suit_the_model_in_its_windows(shape, diameter):
    side = window_side(shape, diameter, RECORD)
    assert 1 <= side <= max(shape)
    shown = diameter * RECORD.input_size / side
    if side == max(shape):
        assert (
            shown >= 24 or max(shape) <= 32 or shown == pytest.approx(48, 0.05)
        )
    elif side > RECORD.input_size // 8:
        assert shown == pytest.approx(48, rel=0.05)


def test_an_image_that_suits_the_model_is_one_window():
    assert window_side((256, 300), 40, RECORD) == 300
    assert window_side((256, 300), None, RECORD) == 300


def test_objects_too_large_for_the_model_are_not_cut_up():
    assert window_side((500, 500), 480, RECORD) == 500


def test_small_objects_are_enlarged():
    assert window_side((512, 512), 12, RECORD) == 64


def test_enlarging_has_a_limit():
    assert window_side((100, 100), 1, RECORD) == 32


@given(shapes, st.floats(1, 50))
def test_lattice_points_are_evenly_spread(shape, spacing):
    points = lattice_points(shape, spacing, (0, 0, *shape))
    for axis, length in enumerate(shape):
        values = np.unique(points[:, axis])
        assert values[0] == pytest.approx(length - values[-1])
        if len(values) > 1:
            assert np.diff(values).max() <= spacing * 1.001


def test_crops_of_the_paper():
    parameters = EverythingParameters(
        points_per_side=32, crop_layers=2, crop_points_downscale=2
    )
    regions = crop_regions((600, 800), parameters)
    assert len(regions) == 1 + 4 + 16
    assert regions[0].window == (0, 0, 600, 800)
    assert [len(r.points) for r in regions[:6]] == [1024, *[256] * 4, 64]
    # Overlap of the first layer: 512/1500 of the shorter side.
    assert regions[1].window == (0, 0, 402, 502)
    assert regions[2].window == (198, 0, 600, 502)
    assert regions[4].window == (198, 298, 600, 800)
    covered = np.zeros((600, 800), bool)
    for region in regions[5:]:
        row0, column0, row1, column1 = region.window
        covered[row0:row1, column0:column1] = True
    assert covered.all()
    few = EverythingParameters(points_per_side=1, crop_layers=2)
    assert all(len(r.points) == 1 for r in crop_regions((600, 800), few))


@pytest.mark.parametrize(
    ('box', 'cut'),
    [
        ((71, 71, 80, 80), False),
        ((70, 71, 80, 80), True),
        ((71, 71, 80, 81), True),
        # at the edges of the image
        ((71, 71, 181, 80), True),
        ((71, 0, 80, 30), False),
    ],
)
def test_masks_near_inner_edges_of_a_crop_are_cut(box, cut):
    region = Region((50, 0, 200, 100), np.zeros((0, 2)), edge=20)
    assert region.cuts(Mask(np.zeros((0, 0), bool), box, 1.0), (300, 300)) == (
        cut
    )


@given(shapes, st.integers(0, 3))
def test_crops_lie_within_the_image(shape, layers):
    parameters = EverythingParameters(points_per_side=4, crop_layers=layers)
    for region in crop_regions(shape, parameters):
        row0, column0, row1, column1 = region.window
        assert 0 <= row0 < row1 <= shape[0]
        assert 0 <= column0 < column1 <= shape[1]
        assert len(region.points) >= 1
        assert (region.points >= (row0, column0)).all()
        assert (region.points <= (row1, column1)).all()


def test_the_grid_of_points_is_centred():
    grid = point_grid((10, 20, 30, 60), 2)
    assert grid.tolist() == [[15, 30], [15, 50], [25, 30], [25, 50]]
