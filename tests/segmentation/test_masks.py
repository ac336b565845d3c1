"""Box-cropped masks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.segmentation.upscaling import crop_to_mask

from .helpers import as_mask, disc, iou, paste

SHAPE = (40, 50)
planes = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(planes)
def test_cropping_and_pasting_gives_the_mask_back(plane):
    mask = as_mask(plane)
    assert np.array_equal(paste(mask, plane.shape), plane)
    if mask.area:
        assert mask.data[[0, -1]].any(axis=1).all()
        assert mask.data[:, [0, -1]].any(axis=0).all()


def test_crop_keeps_the_origin():
    data, box = crop_to_mask(np.eye(3, dtype=bool)[1:], (10, 20))
    assert box == (10, 21, 12, 23)
    assert data.shape == (2, 2)


def test_masks_that_do_not_meet_share_nothing():
    mask = as_mask(disc(SHAPE, (10, 10), 5))
    for center in ((10, 23), (30, 12), (25, 25)):
        assert mask_iou(mask, as_mask(disc(SHAPE, center, 4))) == 0


def test_iou_of_helpers():
    assert iou(np.zeros(3, bool), np.zeros(3, bool)) == 1
    assert iou(np.array([True, True]), np.array([True, False])) == 0.5
