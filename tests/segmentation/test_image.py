from __future__ import annotations

import warnings

import dask.array
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.image import (
    as_rgb_plane,
    contrast_limits_of,
    resize,
)
from napari_mobilesam.segmentation.layout import plane_layout, plane_shape
from napari_mobilesam.segmentation.sampling import (
    SAMPLE_PIXELS,
    sample_channel,
)
from napari_mobilesam.types import Frame, ImageError


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (30, 40, 3), dtype=np.uint8
    )


@pytest.fixture
def gray() -> np.ndarray:
    values = np.random.default_rng(1).normal(500, 60, (50, 70))
    return values.astype(np.uint16)


def test_rgb_of_eight_bits_is_kept_as_it_is(rgb):
    assert np.array_equal(as_rgb_plane(rgb), rgb)


def test_alpha_is_dropped(rgb):
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)])
    assert np.array_equal(as_rgb_plane(rgba), rgb)


def test_real_rgb_within_0_and_1_is_not_stretched(rgb):
    shown = as_rgb_plane(rgb / 255)
    assert np.abs(shown.astype(int) - rgb).max() <= 1


def test_rgb_of_sixteen_bits_keeps_its_hues():
    image = np.zeros((20, 20, 3), np.uint16)
    image[..., 0] = 1000
    image[:10] = 4000
    shown = as_rgb_plane(image)
    assert tuple(shown[0, 0]) == (255, 255, 255)
    assert tuple(shown[-1, 0]) == (64, 0, 0)


@pytest.mark.parametrize(
    'dtype', ['uint8', 'int16', 'uint16', 'int32', 'float32', 'float64']
)
def test_gray_is_stretched_between_percentiles(gray, dtype):
    scaled = (gray / 4 if dtype == 'uint8' else gray).astype(dtype)
    shown = as_rgb_plane(scaled)
    assert shown.shape == (50, 70, 3)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    assert (shown[..., 0] == shown[..., 2]).all()
    order = np.argsort(scaled, axis=None, kind='stable')
    assert (np.diff(shown[..., 0].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ('dtype', 'offset'),
    [(np.uint64, 2**63), (np.int64, 2**62), (np.int64, -(2**63))],
)
def test_large_offsets_do_not_matter(gray, dtype, offset):
    shifted = (gray.astype(object) + offset).astype(dtype)
    assert shifted.dtype == dtype
    expected = as_rgb_plane(gray.astype(np.uint16))
    np.testing.assert_array_equal(as_rgb_plane(shifted), expected)


def test_a_hot_pixel_does_not_darken_the_image(gray):
    image = gray.copy()
    image[3, 4] = 65535
    # One of 3,500 pixels is less than the share that may saturate.
    assert np.median(as_rgb_plane(image)) > 100


def test_bool_is_black_and_white():
    image = np.eye(8, dtype=bool)
    assert np.array_equal(as_rgb_plane(image)[..., 1], image * 255)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'bool'])
@pytest.mark.parametrize('shape', [(1, 1), (9, 7), (1, 1, 3)])
def test_constant_and_one_pixel_images_are_shown(dtype, shape):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        shown = as_rgb_plane(np.full(shape, 1, dtype))
    assert shown.shape == (*shape[:2], 3)
    assert len(np.unique(shown)) == 1


def test_contrast_limits_and_gamma_are_those_of_napari():
    image = np.array([[0, 100, 200, 300, 400]], np.uint16)
    linear = as_rgb_plane(image, contrast_limits=(100, 300))
    assert linear[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    bent = as_rgb_plane(image, contrast_limits=(100, 300), gamma=2)
    assert bent[0, :, 0].tolist() == [0, 0, 64, 255, 255]


def test_equal_contrast_limits_are_a_threshold():
    image = np.array([[1, 2, 3]], np.uint8)
    shown = as_rgb_plane(image, contrast_limits=(2, 2))
    assert shown[0, :, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize('first', [True, False])
def test_channels_are_chosen_on_the_shorter_end(first):
    channels = np.random.default_rng(2).integers(0, 999, (5, 20, 30))
    image = channels if first else np.moveaxis(channels, 0, -1)
    assert plane_shape(image, 0) == (20, 30)
    one = as_rgb_plane(image, channels=np.int64(2))
    assert np.array_equal(one, as_rgb_plane(channels[2]))
    two = as_rgb_plane(image, channels=[4, -4])
    assert np.array_equal(two[..., 0], as_rgb_plane(channels[4])[..., 0])
    assert np.array_equal(two[..., 1], as_rgb_plane(channels[1])[..., 0])
    assert not two[..., 2].any()
    three = as_rgb_plane(image, channels=(0, 1, 2))
    assert np.array_equal(three[..., 2], one[..., 0])


def test_each_channel_can_have_its_limits():
    image = np.stack([np.full((6, 9), 10), np.full((6, 9), 100)])
    shown = as_rgb_plane(
        image, channels=(0, 1), contrast_limits=[(0, 20), (0, 1000)]
    )
    assert tuple(shown[0, 0]) == (128, 26, 0)


@pytest.mark.parametrize('shape', [(1, 20, 30), (20, 30, 1)])
def test_a_single_channel_needs_no_choice(shape, gray):
    image = gray[:20, :30].reshape(shape)
    assert np.array_equal(as_rgb_plane(image), as_rgb_plane(gray[:20, :30]))


def test_lazy_arrays_give_the_same_and_are_not_read_whole(gray):
    expected = as_rgb_plane(gray)
    lazy = dask.array.from_array(gray, chunks=(10, 10))
    stored = zarr.array(gray, chunks=(10, 10))
    assert np.array_equal(as_rgb_plane(lazy), expected)
    assert np.array_equal(as_rgb_plane(stored), expected)
    assert np.array_equal(as_rgb_plane(gray.tolist()), expected)


class Recorder:
    """An array that remembers what was read of it."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.uint16), 2
        self.pixels = 0

    def __getitem__(self, index):
        ramp = np.arange(self.shape[1], dtype=np.uint16)
        part = np.broadcast_to(ramp, self.shape)[index]
        self.pixels += part.size
        return part


def test_only_a_sample_and_the_window_of_a_large_image_are_read():
    image = Recorder((40_000, 50_000))
    as_rgb_plane(image, window=(100, 200, 356, 456))
    assert image.pixels <= 17 * 256 * 256
    image.pixels = 0
    as_rgb_plane(image, window=(100, 200, 356, 456), contrast_limits=(0, 1))
    assert image.pixels == 256 * 256


def test_windows_share_the_contrast_of_the_whole(gray):
    window = (5, 10, 25, 60)
    part = as_rgb_plane(gray, window=window)
    assert np.array_equal(part, as_rgb_plane(gray)[5:25, 10:60])


def test_limits_of_a_large_image_come_from_a_sample():
    image = np.tile(np.arange(256, dtype=np.uint8), (3000, 12))
    low, high = contrast_limits_of(image)[0]
    assert low <= 2
    assert high >= 253
    assert sample_channel(image, None, None).size <= SAMPLE_PIXELS


def test_every_pixel_is_read_where_no_pixel_of_the_sample_is_finite():
    image = np.full((2, SAMPLE_PIXELS), np.nan, np.float32)
    image[1, 1] = 7
    assert sample_channel(image, None, None).tolist() == [7]


def test_not_finite_pixels_are_counted_and_the_first_is_named(gray):
    image = gray.astype(np.float32)
    image[7, 3] = np.nan
    image[9, 0] = np.inf
    image[9, 1] = -np.inf
    with pytest.warns(UserWarning, match=r'3 pixels.*\(7, 3\)'):
        shown = as_rgb_plane(image)
    assert shown[7, 3, 0] == 0
    assert shown[9, 0, 0] == 255
    assert shown[9, 1, 0] == 0
    finite = np.isfinite(image)
    low, high = contrast_limits_of(gray.astype(np.float32))[0]
    clean = as_rgb_plane(gray, contrast_limits=(low, high))
    difference = np.abs(shown.astype(int) - clean)[finite]
    assert difference.max() <= 2


def test_the_first_bad_pixel_of_a_window_is_named_in_the_whole_image(gray):
    image = gray.astype(np.float32)
    image[30, 40] = np.nan
    with pytest.warns(UserWarning, match=r'1 pixel .*\(30, 40\)'):
        as_rgb_plane(image, window=(20, 30, 40, 60))


def test_a_window_without_finite_pixels_is_black(gray):
    image = gray.astype(np.float64)
    image[:10] = np.nan
    with pytest.warns(UserWarning, match='700 pixels'):
        shown = as_rgb_plane(image, window=(0, 0, 10, 70))
    assert not shown.any()


@pytest.mark.parametrize('limits', [None, (0, 1)])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_an_image_without_finite_pixels_is_refused(value, limits):
    image = np.full((4, 5), value)
    with pytest.raises(ImageError, match='no finite pixel'):
        as_rgb_plane(image, contrast_limits=limits)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((0, 5)), r'empty.*\(0, 5\)'),
        (np.zeros((5, 0, 3), np.uint8), r'empty.*\(5, 0, 3\)'),
        ([], r'empty.*\(0,\)'),
        (np.float32(3), r'0 axes'),
        (np.zeros(5), r'1 axis.*\(5,\)'),
        (np.zeros((2, 3, 4, 5)), r'4 axes.*pick a plane'),
        (np.zeros((7, 30, 40)), r'neither gray nor RGB.*channels='),
        (np.zeros((5, 5), complex), r'complex.*abs'),
        (np.array([['a', 'b']]), r'type <U1'),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ImageError, match=message):
        as_rgb_plane(image)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'channels': 9}, r'Channel 9.*0 to 3'),
        ({'channels': ()}, '0 channels'),
        ({'channels': 1.0}, 'channels is 1.0; give the number'),
        ({'channels': 'a'}, "channels is 'a'; give the number"),
        ({'channels': [0, None]}, 'give the number of a channel'),
        ({'channels': (0, 1, 2, 3)}, '4 channels'),
        ({'channels': 0, 'contrast_limits': (5, 1)}, 'low has to be below'),
        ({'channels': 0, 'contrast_limits': (0, np.nan)}, 'contrast_limits'),
        ({'channels': 0, 'contrast_limits': (1, 2, 3)}, 'contrast_limits'),
        (
            {'channels': 0, 'contrast_limits': [(0, 1), (0, 1)]},
            '2 pairs of contrast limits given for 1',
        ),
        ({'channels': 0, 'gamma': 0}, 'gamma is 0'),
        ({'channels': 0, 'gamma': np.nan}, 'gamma is nan'),
        ({'channels': 0, 'window': (0, 0, 99, 5)}, 'window'),
        ({'channels': 0, 'window': (3, 0, 3, 5)}, 'window'),
    ],
)
def test_choices_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ImageError, match=message):
        as_rgb_plane(np.ones((4, 20, 30)), **arguments)


def test_channels_of_a_gray_image_are_refused(gray):
    with pytest.raises(ImageError, match='no channel axis'):
        plane_layout(gray, 0)


@pytest.mark.slow
@given(
    hnp.arrays(
        st.sampled_from(['uint8', 'int32', 'float32', 'float64', 'bool']),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    )
)
@pytest.mark.filterwarnings('ignore:.*pixels? (is|are) NaN:UserWarning')
def test_any_plane_is_shown_or_refused_clearly(image):
    try:
        shown = as_rgb_plane(image)
    except ImageError as error:
        assert not np.isfinite(image).any()  # noqa: PT017
        assert 'finite' in str(error)
    else:
        assert shown.shape == (*image.shape, 3)
        assert shown.dtype == np.uint8


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((600, 800), (96, 128)),
        ((128, 50), (128, 50)),
        ((1, 1), (128, 128)),
        ((1, 999), (1, 128)),
        ((7, 3), (128, 55)),
    ],
)
def test_resize_fits_the_longer_side(shape, expected):
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    frame = Frame.of(shape, (0, 0, *shape), 128)
    resized = resize(image, frame.input_shape)
    assert resized.shape == (*expected, 3)
    assert resized.dtype == np.uint8


@pytest.mark.parametrize('background', [0, np.nan])
def test_limits_of_a_sparse_image_that_is_not_in_memory(background):
    image = np.full((2100, 2100), background, np.float32)
    image[400:600, 400:600] = np.linspace(10, 20, 200)
    lazy = dask.array.from_array(image)
    ((low, high),) = contrast_limits_of(lazy)
    assert low <= 10
    assert high > 19
