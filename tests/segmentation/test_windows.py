from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.crops import crop_regions, point_grid
from napari_mobilesam.segmentation.embedding_grid import EmbeddingGrid
from napari_mobilesam.segmentation.everything_plan import block_regions
from napari_mobilesam.segmentation.lattice import lattice_points
from napari_mobilesam.segmentation.windows import (
    plan_windows,
    window_for_prompts,
    window_side,
)
from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    ObjectDiameter,
    Prompts,
)

RECORD = ModelRecord(
    'test', input_size=256, object_diameter=ObjectDiameter(24, 48, 160)
)
shapes = st.tuples(st.integers(1, 400), st.integers(1, 400))
diameters = st.floats(2, 400)


def area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


@given(shapes, diameters)
def test_cores_divide_the_image(shape, diameter):
    covered = np.zeros(shape, np.uint8)
    for window in plan_windows(shape, diameter, RECORD):
        row0, column0, row1, column1 = window.core
        covered[row0:row1, column0:column1] += 1
        assert area(window.core) > 0
        assert window.box[0] <= row0 < row1 <= window.box[2] <= shape[0]
        assert window.box[1] <= column0 < column1 <= window.box[3] <= shape[1]
    assert (covered == 1).all()


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
def test_points_have_context_on_inner_sides(shape, diameter):
    for window in plan_windows(shape, diameter, RECORD):
        side = max(
            window.box[2] - window.box[0], window.box[3] - window.box[1]
        )
        halo = min(1.5 * diameter, side // 4) - 1
        inner = [
            core - box
            for core, box, edge in zip(
                window.core, window.box, (0, 0, *shape), strict=True
            )
            if box != edge
        ]
        assert all(abs(distance) >= halo for distance in inner)


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
    windows = plan_windows((256, 300), 40, RECORD)
    assert [window.box for window in windows] == [(0, 0, 256, 300)]
    assert windows[0].core == (0, 0, 256, 300)
    assert len(plan_windows((256, 300), None, RECORD)) == 1


def test_objects_too_large_for_the_model_are_not_cut_up():
    assert len(plan_windows((500, 500), 480, RECORD)) == 1


def test_small_objects_are_enlarged():
    windows = plan_windows((512, 512), 12, RECORD)
    assert {w.box[2] - w.box[0] for w in windows} == {64}
    assert len(windows) > 64


def test_enlarging_has_a_limit():
    windows = plan_windows((100, 100), 1, RECORD)
    assert windows[0].box[2] - windows[0].box[0] == 32


@given(shapes, st.floats(1, 50))
def test_lattice_points_are_evenly_spread(shape, spacing):
    points = lattice_points(shape, spacing, (0, 0, *shape))
    for axis, length in enumerate(shape):
        values = np.unique(points[:, axis])
        assert values[0] == pytest.approx(length - values[-1])
        if len(values) > 1:
            assert np.diff(values).max() <= spacing * 1.001


def prompts_at(*points: tuple[float, float], box=None, labels=None) -> Prompts:
    return Prompts(
        np.array(points, dtype=float).reshape(-1, 2),
        np.ones(len(points), int) if labels is None else np.array(labels),
        None if box is None else np.array(box, dtype=float),
    )


@given(
    st.tuples(st.integers(30, 900), st.integers(30, 900)),
    diameters,
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4
    ),
)
def test_the_window_of_prompts_holds_them(shape, diameter, places):
    points = [(row * shape[0], column * shape[1]) for row, column in places]
    prompts = prompts_at(*points)
    row0, column0, row1, column1 = window_for_prompts(
        shape, prompts, diameter, RECORD
    )
    assert 0 <= row0 < row1 <= shape[0]
    assert 0 <= column0 < column1 <= shape[1]
    for row, column in points:
        assert row0 <= row <= row1
        assert column0 <= column <= column1


def test_a_click_takes_the_window_whose_core_it_is_in():
    shape = (700, 500)
    for window in plan_windows(shape, 14, RECORD):
        row0, column0, row1, column1 = window.core
        center = ((row0 + row1) / 2, (column0 + column1) / 2)
        box = window_for_prompts(shape, prompts_at(center), 14, RECORD)
        assert box == window.box


def test_more_prompts_on_an_object_leave_its_window():
    shape, first = (700, 500), (300.0, 200.0)
    window = window_for_prompts(shape, prompts_at(first), 14, RECORD)
    second = prompts_at(first, (308, 207), (296, 190), labels=[1, 1, 0])
    assert window_for_prompts(shape, second, 14, RECORD) == window


def test_prompts_far_apart_take_larger_windows():
    shape = (700, 500)
    small = window_for_prompts(shape, prompts_at((300, 200)), 14, RECORD)
    pair = prompts_at((300, 200), (300, 290))
    large = window_for_prompts(shape, pair, 14, RECORD)
    assert area(small) < area(large) < 700 * 500
    corners = prompts_at((1, 1), (699, 499))
    assert window_for_prompts(shape, corners, 14, RECORD) == (0, 0, 700, 500)


def test_a_box_decides_before_points():
    shape = (700, 500)
    box = [400, 300, 420, 320]
    boxed = prompts_at((405, 305), box=box)
    expected = window_for_prompts(shape, prompts_at((410, 310)), 14, RECORD)
    assert window_for_prompts(shape, boxed, 14, RECORD) == expected


def test_without_place_or_size_the_whole_image_is_taken():
    whole = (0, 0, 700, 500)
    assert window_for_prompts(whole[2:], Prompts(), 14, RECORD) == whole
    here = prompts_at((1, 2))
    assert window_for_prompts(whole[2:], here, None, RECORD) == whole


def test_clicks_on_the_last_border_have_a_window():
    prompts = prompts_at((700, 500))
    box = window_for_prompts((700, 500), prompts, 14, RECORD)
    assert box[2:] == (700, 500)
    negative = prompts_at((699.5, -0.5), labels=[0])
    box = window_for_prompts((700, 500), negative, 14, RECORD)
    assert (box[2], box[1]) == (700, 0)


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
