"""Planes of any image are read in windows, never as a whole."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from dask import delayed
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.sampling import in_memory
from napari_mobilesam.session.images.plane_reader import PlaneReader
from napari_mobilesam.session.images.planes import (
    ImagePlane,
    PlaneLevel,
    PlaneView,
    strided_levels,
    view_plane,
)
from napari_mobilesam.types import ImageError


@pytest.fixture
def stack():
    return np.arange(3 * 4 * 50 * 60, dtype=np.uint16).reshape(3, 4, 50, 60)


def as_memmap(array, tmp_path):
    mapped = np.memmap(tmp_path / 'a.raw', array.dtype, 'w+', 0, array.shape)
    mapped[:] = array
    return mapped


def as_zarr(array, tmp_path):
    chunks = (1,) * (array.ndim - 2) + (16, 16)
    return zarr.array(array, chunks=chunks)


def as_dask(array, tmp_path):
    return da.from_array(array, chunks=16)


@pytest.mark.parametrize('convert', [as_memmap, as_zarr, as_dask])
@pytest.mark.parametrize(
    'axes', [(2, 3), (3, 2), (0, 3), (2, 3, 1), (3, 2, 0)]
)
def test_views_give_what_numpy_gives(stack, convert, axes, tmp_path):
    index = (1, 2, 7, 9)
    fixed = tuple(
        slice(None) if axis in axes else index[axis] for axis in range(4)
    )
    left = sorted(axes)
    expected = stack[fixed].transpose([left.index(axis) for axis in axes])
    view = view_plane(convert(stack, tmp_path), index, axes)
    assert isinstance(view, PlaneView)
    assert view.shape == expected.shape
    assert np.array_equal(np.asarray(view), expected)
    rows, columns = slice(1, 9), slice(2, 30)
    assert np.array_equal(view[rows, columns], expected[rows, columns])
    if len(axes) == 3:
        assert np.array_equal(
            view[rows, columns, 1], expected[rows, columns, 1]
        )
        assert np.array_equal(
            view[rows, columns, :2], expected[rows, columns, :2]
        )


@pytest.mark.parametrize('shape', [(40, 60), (50, 60, 3)])
def test_stacks_of_files_of_other_sizes_say_so(shape):
    """As napari opens a folder: all files are taken to be as the first."""
    planes = [np.zeros((50, 60), np.uint8), np.zeros(shape, np.uint8)]
    stack = da.stack(
        [
            da.from_delayed(delayed(plane), planes[0].shape, np.uint8)
            for plane in planes
        ]
    )
    assert view_plane(stack, (0, 0, 0), (1, 2))[:].shape == (50, 60)
    with pytest.raises(ImageError, match='Open their folder under “Series”'):
        view_plane(stack, (1, 0, 0), (1, 2))[:]


def test_arrays_in_memory_are_not_copied(stack):
    view = view_plane(stack, (1, 2, 0, 0), (3, 2))
    assert np.shares_memory(view, stack)
    assert np.array_equal(view, stack[1, 2].T)


def test_a_memory_map_is_not_in_memory(stack, tmp_path):
    assert in_memory(stack)
    assert not in_memory(as_memmap(stack, tmp_path))


def test_large_arrays_have_coarser_levels_that_cost_nothing():
    image = np.zeros((9000, 5000), np.uint8)
    levels = strided_levels(image)
    assert [level.shape for level in levels] == [
        (4500, 2500),
        (2250, 1250),
        (1125, 625),
    ]
    assert all(np.shares_memory(level.read(), image) for level in levels)
    assert strided_levels(image[:2048, :2048]) == ()


def test_strided_levels_are_read_finer_to_be_smooth():
    image = np.zeros((4000, 2500), np.uint8)
    plane = ImagePlane(
        'a', lambda: image, image.shape, coarser=strided_levels(image)
    )
    whole = (0, 0, 4000, 2500)
    assert plane.level_for(whole, 500) == 1
    assert plane.level_for(whole, 512) == 0
    assert plane.level_for(whole, 512, smooth=False) == 1


def pyramid(image, steps, **kwargs):
    def level(step):
        coarse = image[::step, ::step]
        return PlaneLevel(coarse.shape[:2], lambda: coarse)

    return ImagePlane(
        'key',
        lambda: image,
        image.shape[:2],
        coarser=tuple(level(step) for step in steps),
        **kwargs,
    )


def test_the_coarsest_level_that_is_fine_enough_is_chosen():
    plane = pyramid(np.zeros((800, 1000), np.uint8), (2, 4, 8))
    assert plane.levels == 4
    assert plane.level_shape(1) == (400, 500)
    assert plane.factors(2) == (4.0, 4.0)
    assert plane.level_for((0, 0, 800, 1000), 250) == 2
    assert plane.level_for((0, 0, 800, 1000), 251) == 1
    assert plane.level_for((100, 100, 300, 300), 200) == 0
    assert plane.level_for((100, 100, 110, 110), 200) == 0


def test_no_more_is_read_than_fits_whatever_the_levels_are():
    plane = pyramid(np.broadcast_to(np.uint8(0), (32_000, 32_000)), (16,))
    assert plane.level_for((0, 0, 4000, 4000), 1024) == 0
    assert plane.level_for((0, 0, 8000, 8000), 1024) == 1
    assert plane.level_for((0, 0, 32_000, 32_000), 1024) == 1
    assert plane.longest_window == 4096 * 16


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 7),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_windows_of_a_level_cover_those_of_the_plane(
    height, width, step, places
):
    plane = pyramid(np.zeros((height, width), np.uint8), (step,))
    row0, row1 = sorted(int(p * height) for p in places[:2])
    column0, column1 = sorted(int(p * width) for p in places[2:])
    window = (row0, column0, min(row1 + 1, height), min(column1 + 1, width))
    read = plane.level_window(1, window)
    rows, columns = plane.factors(1)
    assert 0 <= read[0] * rows <= window[0] + 1e-9
    assert 0 <= read[1] * columns <= window[1] + 1e-9
    assert read[2] * rows >= window[2] - 1e-9
    assert read[3] * columns >= window[3] - 1e-9
    assert read[2] <= plane.level_shape(1)[0]
    assert read[3] <= plane.level_shape(1)[1]


def test_windows_are_read_as_stored(stack):
    plane = ImagePlane('a', lambda: stack[0, 0], (50, 60))
    window = plane.read_window(0, (3, 5, 10, 20))
    assert np.array_equal(window, stack[0, 0, 3:10, 5:20])


def test_gamma_and_limits_are_applied():
    image = np.array([[0, 50], [100, 200]], np.float32)
    plane = ImagePlane('a', lambda: image, (2, 2), (0, 100), gamma=2.0)
    assert plane.rgb()[..., 0].tolist() == [[0, 64], [255, 255]]


def ramp(color):
    return np.outer(np.arange(256), color).astype(np.uint8)


def test_layers_are_added_in_their_colours():
    ones = np.full((4, 5), 255, np.uint8)
    other = ImagePlane(
        'b', lambda: ones, (4, 5), (0, 510), colors=ramp((1, 1, 0))
    )
    plane = ImagePlane(
        'a',
        lambda: ones,
        (4, 5),
        (0, 255),
        colors=ramp((1, 0, 0)),
        added=(other,),
    )
    assert plane.rgb()[0, 0].tolist() == [255, 128, 0]
    assert plane.rgb((1, 1, 3, 2)).shape == (2, 1, 3)


@pytest.mark.parametrize(
    'dtype', ['bool', 'uint8', 'int16', 'uint32', 'float32', 'float64']
)
def test_any_type_is_shown(dtype):
    image = (np.arange(100).reshape(10, 10) > 50).astype(dtype)
    plane = ImagePlane('a', lambda: image, (10, 10), (0, 1))
    shown = plane.rgb()
    assert shown.dtype == np.uint8
    assert set(np.unique(shown)) == {0, 255}


def test_not_finite_pixels_are_shown_without_a_word(recwarn):
    image = np.ones((10, 10))
    image[2, 3] = np.nan
    plane = ImagePlane('a', lambda: image, (10, 10), (0, 1))
    assert plane.rgb()[2, 3].tolist() == [0, 0, 0]
    assert not recwarn.list


def test_a_plane_without_finite_pixels_is_refused():
    image = np.full((4, 4), np.nan)
    with pytest.raises(ImageError, match='no finite pixel'):
        ImagePlane('a', lambda: image, (4, 4), (0, 1)).rgb()


@pytest.mark.parametrize('automatic', [True, False])
def test_extreme_pixels_widen_nobodys_choice_only(automatic):
    """Limits that napari chose are narrowed, those of a person are kept."""
    rows, columns = np.mgrid[:100, :120]
    image = (1000 + 500 * np.sin(rows / 9) * np.sin(columns / 9)).astype('u2')
    clean = ImagePlane('clean', lambda: image, (100, 120), (500, 1500))
    spoilt = image.copy()
    spoilt[90:93, 20:110] = 65535
    plane = ImagePlane(
        'spoilt',
        lambda: spoilt,
        (100, 120),
        (500, 65535),
        automatic=automatic,
    )
    reader = PlaneReader(2)
    shown = reader.rgb(plane)[:90].astype(int)
    difference = shown - reader.rgb(clean)[:90]
    assert bool(np.abs(difference).max() < 3) is automatic
    ordinary = ImagePlane(
        'wide', lambda: image, (100, 120), (0, 4000), automatic=True
    )
    assert reader.rgb(ordinary).max() < 100
