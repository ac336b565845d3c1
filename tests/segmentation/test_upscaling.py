from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation import upscaling
from napari_mobilesam.segmentation.upscaling import (
    UpscaledMask,
    upscale_mask,
    upscale_plane,
    upscaler,
)
from napari_mobilesam.types import Frame, Mask

from .helpers import paste


def twice_interpolated(logits: np.ndarray, frame: Frame) -> np.ndarray:
    """The reference's way: to the input, crop the padding, to the window."""
    low = torch.from_numpy(logits)[None, None]
    full = torch.nn.functional.interpolate(
        low, (frame.input_size,) * 2, mode='bilinear', align_corners=False
    )
    rows, columns = frame.input_shape
    window = torch.nn.functional.interpolate(
        full[..., :rows, :columns],
        frame.window_shape,
        mode='bilinear',
        align_corners=False,
    )
    return window[0, 0].numpy()


def smooth_logits(seed: int, size: int = 32) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(-1, 4, (size // 4, size // 4))
    return np.kron(noise, np.ones((4, 4))).astype(np.float32)


frames = st.builds(
    lambda height, width, row, column: Frame.of(
        (height + row + 3, width + column),
        (row, column, row + height, column + width),
        128,
    ),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 40),
    st.integers(0, 40),
)


@pytest.mark.slow
@given(frames, st.integers(0, 1000))
def test_masks_equal_interpolating_twice(frame, seed):
    logits = smooth_logits(seed)
    full = twice_interpolated(logits, frame)
    mask = upscale_mask(logits, frame, 0.0, 1.0)
    row0, column0, row1, column1 = frame.window
    plane = paste_of(mask, frame.image_shape)
    window = plane[row0:row1, column0:column1]
    sure = np.abs(full) > 1e-4
    assert np.array_equal(window[sure], (full > 0)[sure])
    assert plane.sum() == window.sum()
    assert np.array_equal(upscale_plane(logits, frame), plane)


def paste_of(mask: UpscaledMask, shape: tuple[int, int]) -> np.ndarray:
    return paste(Mask(mask.data, mask.box, 1.0), shape)


@pytest.mark.slow
@given(frames, st.integers(0, 1000), st.floats(0.1, 3))
def test_stability_is_iou_of_two_thresholds(frame, seed, offset):
    logits = smooth_logits(seed)
    full = twice_interpolated(logits, frame)
    high, low = (full > offset).sum(), (full > -offset).sum()
    stability = upscale_mask(logits, frame, 0.0, offset).stability
    if not low:
        assert np.isnan(stability)
        return
    near = (np.abs(np.abs(full) - offset) < 1e-4).sum()
    assert abs(stability * low - high) <= 2 * near + 1e-6 * low


@pytest.mark.parametrize('rows', [1, 7, 1000])
def test_strips_join_without_a_seam(monkeypatch, rows):
    frame = Frame.of((250, 200), (0, 0, 250, 200), 128)
    logits = smooth_logits(3)
    whole = upscale_mask(logits, frame)
    monkeypatch.setattr(upscaling, 'STRIP_ROWS', rows)
    upscaler.cache_clear()
    strips = upscale_mask(logits, frame)
    upscaler.cache_clear()
    assert np.array_equal(whole.data, strips.data)
    assert whole[1:] == strips[1:]


def test_nothing_above_the_threshold_is_an_empty_mask():
    frame = Frame.of((50, 60), (0, 0, 50, 60), 128)
    mask = upscale_mask(np.full((32, 32), -9, np.float32), frame)
    assert mask.box == (0, 0, 0, 0)
    assert mask.data.shape == (0, 0)
    assert np.isnan(mask.stability)
    unsure = upscale_mask(np.full((32, 32), -0.5, np.float32), frame)
    assert unsure.data.size == 0
    assert unsure.stability == 0


@pytest.mark.parametrize('shape', [(50, 60), (60, 50)])
def test_what_is_in_the_padding_is_not_in_the_mask(shape):
    logits = np.full((32, 32), -9, np.float32)
    logits[-1, -1] = 9
    mask = upscale_mask(logits, Frame.of(shape, (0, 0, *shape), 128))
    assert mask.data.size == 0 and np.isnan(mask.stability)


@given(st.integers(0, 31))
def test_reach_holds_all_outputs_of_an_input(column):
    axis = upscaler(32, 128, 100, 333)
    low = np.zeros(32, bool)
    low[column] = True
    start, stop = axis.reach(low)
    touched = np.flatnonzero(axis.weights[:, column])
    if touched.size:
        assert (start, stop) == (touched[0], touched[-1] + 1)


def test_weights_are_means():
    axis = upscaler(32, 128, 77, 50)
    assert axis.weights.sum(axis=1) == pytest.approx(np.ones(50), abs=1e-5)
