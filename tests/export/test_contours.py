"""Contours enclose exactly the pixels of their objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_mobilesam.export import contours, filling
from napari_mobilesam.export.contours import label_contours
from napari_mobilesam.export.filling import fill_polygons

shapely = pytest.importorskip('shapely')


def check(labels: NDArray[np.integer]) -> None:
    found = label_contours(labels)
    out = np.zeros(labels.shape, np.int64)
    for label, polygons in found:
        shape = shapely.MultiPolygon(
            [shapely.Polygon(p[0], p[1:]) for p in polygons]
        )
        assert shape.is_valid, shapely.is_valid_reason(shape)
        assert shape.area == (labels == label).sum()
        rows, columns = np.nonzero(labels == label)
        assert shape.bounds == (
            rows.min(),
            columns.min(),
            rows.max() + 1,
            columns.max() + 1,
        )
        fill_polygons(polygons, [label] * len(polygons), out)
    assert set(found.labels) == set(np.unique(labels)) - {0}
    np.testing.assert_array_equal(out, labels)


def test_hard_labels(labels: NDArray[np.uint16]) -> None:
    check(labels)
    parts = dict(label_contours(labels))
    assert [len(rings) for rings in parts[2]] == [2, 2]
    assert [len(rings) for rings in parts[4]] == [1, 1]
    np.testing.assert_array_equal(
        parts[5], [[[[2, 30], [2, 31], [3, 31], [3, 30]]]]
    )


@pytest.mark.parametrize('turns', range(4))
def test_a_hole_is_of_the_part_around_it(turns: int) -> None:
    labels = np.zeros((14, 14), np.uint8)
    labels[4:10, 4:10] = 1
    labels[5:9, 5:9] = 0
    # the box of a smaller part is around the hole, too
    labels[2:13, 2] = labels[12, 2:13] = 1
    check(np.rot90(labels, turns))
    check(np.rot90(labels, turns).T)


def test_a_part_that_meets_itself_at_corners_is_split() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[1:8, 1:8] = 2
    labels[3, 3] = labels[4, 4] = labels[5, 3] = 0
    labels[7, 0] = labels[1, 5] = 1
    check(labels)


def test_small_labels() -> None:
    random = np.random.default_rng(0)
    for shape in random.integers(1, 8, (60, 2)):
        check(random.integers(0, 3, shape))


def test_a_hole_beside_the_top_row_of_its_part() -> None:
    rows = ['11000', '10111', '11110', '00001', '10011', '01101']
    check(np.array([list(map(int, row)) for row in rows]))


@pytest.mark.slow
@given(
    hnp.arrays(
        np.int32,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.integers(0, 3),
    )
)
def test_any_labels(labels: NDArray[np.int32]) -> None:
    check(labels)


def test_strips_make_no_difference(
    labels: NDArray[np.uint16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contours, 'STRIP_PIXELS', 3 * labels.shape[1])
    check(labels)


@pytest.mark.parametrize('crossings', [1, 20, 60])
def test_batches_of_edges_make_no_difference(
    crossings: int,
    labels: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, 'CROSSINGS', crossings)
    check(labels)


def test_nothing() -> None:
    assert len(label_contours(np.zeros((5, 6), int))) == 0
    assert list(label_contours(np.zeros((5, 6), int))) == []


def test_fills_pixels_whose_centres_are_inside() -> None:
    out = np.zeros((10, 10), int)
    # beyond the image on two sides
    triangle = np.array([[-4.0, -4.0], [-4.0, 12.0], [12.0, -4.0]])
    fill_polygons([[triangle]], [3], out)
    rows, columns = np.mgrid[:10, :10] + 0.5
    np.testing.assert_array_equal(out == 3, rows + columns < 8)


def test_later_polygons_paint_over_earlier_ones() -> None:
    out = np.zeros((6, 6), int)
    square = np.array([[0, 0], [0, 4], [4, 4], [4, 0]])
    fill_polygons([[square], [square + 2]], [1, 2], out)
    assert out[0, 0] == 1
    assert out[3, 3] == out[5, 5] == 2


@pytest.mark.slow
def test_a_hundred_thousand_objects() -> None:
    tile = np.zeros((20, 20), bool)
    tile[2:18, 2:18] = True
    tile[8:11, 8:11] = False
    labels = np.zeros((6320, 6320), np.int32)
    numbers = np.arange(1, 316**2 + 1).reshape(316, 316)
    labels[:] = np.kron(numbers, tile)
    found = label_contours(labels)
    assert len(found) == 316**2
    polygons = [parts[0] for _, parts in found]
    out = np.zeros_like(labels)
    fill_polygons(polygons, found.labels.tolist(), out)
    np.testing.assert_array_equal(out, labels)
