"""Edges and outlines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.draw import polygon2mask

from napari_mobilesam.segmentation.edges import edge_map, thin_edges
from napari_mobilesam.segmentation.outlines import mask_outlines

from .helpers import disc, iou
from .oracle import Oracle

SHAPE = (120, 160)


@pytest.fixture
def planes() -> list[np.ndarray]:
    return [disc(SHAPE, (40, 40), 18), disc(SHAPE, (80, 110), 25)]


@pytest.fixture
def image(planes) -> np.ndarray:
    return np.where(planes[0] | planes[1], 255, 0).astype(np.uint8)


def border(plane: np.ndarray, width: int) -> np.ndarray:
    grown = binary_dilation(plane, iterations=width)
    return grown & ~binary_erosion(plane, iterations=width)


@pytest.mark.parametrize('options', [{'whole_image': True}, {'diameter': 18}])
def test_edges_lie_on_the_borders_of_objects(image, planes, options):
    model = Oracle(best=48)
    edges = edge_map(image, model, thin=False, **options)
    assert edges.shape == SHAPE
    assert edges.dtype == np.float32
    strong = edges > 0.2
    for plane in planes:
        if options == {'diameter': 18} and plane.sum() > 1500:
            continue  # longer than what a window shows
        narrow, wide = border(plane, 1), border(plane, 4)
        assert strong[wide].any()
        near = binary_dilation(strong, iterations=2)
        assert near[narrow].mean() > 0.9
    everywhere = border(planes[0], 4) | border(planes[1], 4)
    assert not edges[~everywhere].any()
    assert edges.max() <= 1


@pytest.mark.slow
def test_thin_edges_are_a_part_of_thick_ones(image):
    thick = edge_map(image, Oracle(), thin=False, whole_image=True)
    thin = edge_map(image, Oracle(), whole_image=True)
    assert np.array_equal(thin[thin > 0], thick[thin > 0])
    assert 0 < np.count_nonzero(thin) < 0.7 * np.count_nonzero(thick)


def test_a_ridge_is_thinned_to_its_crest():
    rows, columns = np.mgrid[:40, :40]
    across = (rows + columns - 40) / np.sqrt(2)
    ridge = np.exp(-(across**2) / 8).astype(np.float32)
    thin = thin_edges(ridge)
    inner = (slice(5, -5),) * 2
    assert (thin[inner][across[inner] == 0] > 0.99).all()
    assert not thin[inner][np.abs(across[inner]) > 1].any()


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (9, 9)])
def test_nothing_has_no_edges(shape):
    assert not edge_map(np.zeros(shape, np.uint8), Oracle()).any()
    assert not thin_edges(np.zeros(shape, np.float32)).any()


def test_edges_of_a_region_alone(image):
    edges = edge_map(image, Oracle(), whole_image=True, region=(0, 0, 70, 70))
    assert edges[:70, :70].any()
    assert not edges[50:, 80:].any()


@pytest.mark.slow
def test_cancelling_keeps_what_was_found(image):
    assert not edge_map(image, Oracle(), cancelled=lambda: True).any()


labels_of_two = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    elements=st.integers(0, 2),
)


@given(labels_of_two)
def test_there_is_an_outline_for_every_label(labels):
    outlines = mask_outlines(labels)
    assert len(outlines) == len(np.setdiff1d(labels, [0]))
    for outline in outlines:
        assert outline.ndim == 2
        assert outline.shape[1] == 2
        assert len(outline) >= 3
        assert (outline >= -0.5).all()
        assert (outline <= np.array(labels.shape) - 0.5).all()


@pytest.mark.slow
@given(
    st.floats(12, 28), st.floats(12, 28), st.floats(3, 11), st.integers(1, 9)
)
def test_an_outline_encloses_its_label(row, column, radius, number):
    plane = disc((40, 40), (row, column), radius)
    (outline,) = mask_outlines(plane * number)
    assert iou(polygon2mask(plane.shape, outline), plane) > 0.8
    (exact,) = mask_outlines(plane * number, tolerance=0)
    assert np.array_equal(polygon2mask(plane.shape, exact), plane)


def test_no_labels_no_outlines():
    assert mask_outlines(np.zeros((5, 5), np.uint16)) == []


def test_outlines_of_very_large_numbers():
    labels = np.zeros((20, 30), np.int64)
    labels[2:8, 2:8], labels[10:15, 20:25] = 2_000_000_000, 7
    lower, upper = mask_outlines(labels)
    # in the order of the numbers
    assert lower.min() > 9
    assert upper.max() < 9
