from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.large.tiling import is_cut, plan_grid
from napari_mobilesam.segmentation.lattice import lattice_points
from napari_mobilesam.segmentation.region import cut_edge
from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    ObjectDiameter,
)

RECORDS = st.sampled_from(
    [
        ModelRecord('small', 'vit_t', 128, ObjectDiameter(20, 32, 100)),
        ModelRecord('cells', 'vit_t', 256, ObjectDiameter(40, 64, 200)),
    ]
)
SHAPES = st.tuples(st.integers(1, 1500), st.integers(1, 1500))
DIAMETERS = st.one_of(st.none(), st.floats(2, 200))


@pytest.mark.slow
@given(SHAPES, DIAMETERS, RECORDS)
def test_every_point_is_owned_once(shape, diameter, record):
    grid = plan_grid(shape, diameter, record, EverythingParameters())
    rows, columns = grid.tiles
    owned = [
        grid.points(row, column)
        for row in range(rows)
        for column in range(columns)
    ]
    points = np.concatenate(owned)
    lattice = lattice_points(shape, grid.spacing, (0, 0, *shape))
    assert len(points) == len(lattice)
    assert {tuple(p) for p in points} == {tuple(p) for p in lattice}


@given(SHAPES, DIAMETERS, RECORDS)
def test_tiles_cover_the_plane_and_hold_their_cores(shape, diameter, record):
    grid = plan_grid(shape, diameter, record, EverythingParameters())
    covered = np.zeros(shape, int)
    for row in range(grid.tiles[0]):
        for column in range(grid.tiles[1]):
            window, core = grid.window(row, column), grid.core(row, column)
            for axis in (0, 1):
                length = window[axis + 2] - window[axis]
                assert 0 < length <= grid.side
                assert window[axis] % grid.grain == 0
                # Context around a core, but where the plane ends.
                if window[axis] > 0:
                    assert core[axis] - window[axis] >= grid.halo
                if window[axis + 2] < shape[axis]:
                    assert window[axis + 2] - core[axis + 2] >= grid.halo
            covered[core[0] : core[2], core[1] : core[3]] += 1
    assert (covered == 1).all()


@given(SHAPES, st.floats(2, 200), RECORDS)
def test_objects_of_the_size_suit_the_model(shape, diameter, record):
    grid = plan_grid(shape, diameter, record, EverythingParameters())
    seen = diameter * record.input_size / grid.side
    if grid.tiles == (1, 1):
        # Small enough as it is, or too large for anything else.
        return
    best = record.object_diameter.best
    assert min(best, 8 * diameter) / 1.6 <= seen <= 1.6 * best


@pytest.mark.parametrize(
    ('diameter', 'spacing'), [(None, 8), (5, 2), (100, 12.5), (1, 1)]
)
def test_points_are_close_enough_for_size_and_image(diameter, spacing):
    record = ModelRecord('small', 'vit_t', 128, ObjectDiameter(20, 32, 100))
    parameters = EverythingParameters(points_per_side=16)
    grid = plan_grid((90, 200), diameter, record, parameters)
    assert grid.spacing == spacing


@given(st.floats(2, 100), RECORDS)
def test_context_takes_half_of_a_tile_at_most(diameter, record):
    shape = (5000, 5000)
    grid = plan_grid(shape, diameter, record, EverythingParameters())
    assert 2 * grid.stride >= grid.side


def test_a_slide_is_planned_at_once():
    record = ModelRecord('cells', 'vit_t', 256, ObjectDiameter(40, 64, 200))
    grid = plan_grid((100_000, 100_000), 30, record, EverythingParameters())
    assert np.prod(grid.tiles) > 100_000
    last = grid.tiles[0] - 1
    assert grid.window(last, last)[2:] == (100_000, 100_000)
    assert 4 <= len(grid.points(7, last - 3)) <= 100


def test_only_inner_edges_cut():
    boxes = np.array(
        [
            (0, 10, 20, 20),
            (50, 50, 64, 60),
            (30, 30, 40, 40),
            (30, 90, 40, 100),
        ]
    )
    edge = cut_edge(16)
    assert edge == 5
    windows = np.array([(0, 0, 64, 100)] * 4)
    cut = is_cut(boxes, windows, (64, 200), edge)
    assert cut.tolist() == [False, False, False, True]
