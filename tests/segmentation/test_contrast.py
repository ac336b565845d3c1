"""Contrast limits that extreme pixels do not move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_mobilesam.segmentation.contrast import (
    robust_limits,
    without_extremes,
)
from napari_mobilesam.segmentation.image import contrast_limits_of


def cells() -> np.ndarray:
    """(200, 200) float32: blurred cells of 100 on a background of 10."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((200, 200))
    seeds[tuple(rng.integers(5, 195, (2, 40)))] = 1
    image = gaussian_filter(seeds, 4)
    return (
        10 + 90 * image / image.max() + rng.normal(0, 1, image.shape)
    ).astype(np.float32)


CELLS = cells()
PLAIN = robust_limits(CELLS)
ROWS, COLUMNS = np.mgrid[:200, :200]
DISC = (ROWS - 80) ** 2 + (COLUMNS - 60) ** 2 <= 14**2

EXTREMES = {
    'scale bar': (np.s_[185:190, 100:190], 65535),
    'bright column': (np.s_[:, 60], 65535),
    'debris': (DISC, 30000),
    'dead rows': (np.s_[:4], -5000),
    'no data': (np.s_[:30], -9999),
    'no data nearly everywhere': (np.s_[:150], -9999),
    'no data of float32': (np.s_[:30], -3.4e38),
    'fill value of netCDF': (np.s_[:30], 9.96921e36),
}


@pytest.mark.parametrize(('where', 'value'), EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize('bar', [False, True])
def test_extreme_pixels_do_not_move_the_limits(
    where: object, value: float, bar: bool
) -> None:
    image = CELLS.copy()
    image[where] = value
    if bar:
        image[190:195, 100:190] = 65535
    low, high = contrast_limits_of(image)[0]
    assert abs(low - PLAIN[0]) < 3
    assert abs(high - PLAIN[1]) < 20


def test_a_tag_names_what_was_not_recorded() -> None:
    image = CELLS.astype(np.uint16) + 1000
    image[:60] = 0
    assert contrast_limits_of(image)[0][0] == 0
    assert contrast_limits_of(image, nodata=0)[0][0] > 1000
    # a tag that the type cannot hold is no pixel's value
    assert contrast_limits_of(image, nodata=-9999)[0][0] == 0


def test_limits_of_a_constant_with_and_without_a_few_others() -> None:
    constant = np.full(10_000, 7)
    assert robust_limits(constant) == (7, 7)
    assert robust_limits(constant, nodata=7) == (7, 7)
    constant[:5] = 2
    assert robust_limits(constant) == (2, 7)


NO_EXTREMES = {
    'cells': CELLS,
    'a disc on nothing': np.where(DISC, 200, 0),
    'a disc on noise': np.where(
        DISC, 200, np.random.default_rng(1).integers(0, 4, DISC.shape)
    ),
    'a constant': np.full((50, 50), 3),
    'bright cells, few': np.where(COLUMNS < 40, CELLS * 5, 10),
    'a mask cut out': np.where(COLUMNS < 150, CELLS + 500, 0),
}


@pytest.mark.parametrize('image', NO_EXTREMES.values(), ids=NO_EXTREMES)
def test_objects_are_not_extreme(image: np.ndarray) -> None:
    assert np.array_equal(without_extremes(image), image.ravel())


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e3, 1e3),
    share=st.floats(0.002, 0.045),
    far=st.floats(12, 1e6),
    below=st.booleans(),
)
def test_any_share_of_a_few_percent_at_either_end(
    scale: float, offset: float, share: float, far: float, below: bool
) -> None:
    image = CELLS.astype(np.float64) * scale + offset
    span = np.ptp(image)
    rows = max(1, round(share * 200))
    junk = image.min() - far * span if below else image.max() + far * span
    expected = robust_limits(image[rows:])
    image[:rows] = junk
    assert robust_limits(image) == pytest.approx(
        expected, abs=1e-6 * (span + abs(offset))
    )
