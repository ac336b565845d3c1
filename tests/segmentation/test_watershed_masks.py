"""Segment everything by the maps of an instance head alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.estimate import estimate_run
from napari_mobilesam.segmentation.head_maps import InstanceMaps
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.watershed_masks import mask_of
from napari_mobilesam.types import EverythingParameters, SegmentationError

from .helpers import SHAPE, iou
from .oracle import Oracle, SeeingOracle


def found(image, model=None, **options):
    return generate_candidates(
        image,
        model or SeeingOracle(best=48),
        diameter=14,
        watershed=True,
        **options,
    )


@pytest.mark.slow
def test_every_object_is_found_without_a_prompt(image, planes):
    shown = []
    candidates = found(image, on_masks=shown.extend)
    assert candidates.prompts == 0 and candidates.complete
    labels, _ = candidates.paint()
    assert labels.max() == len(planes) == len(shown)
    for plane in planes:
        (number,) = np.unique(labels[plane & (labels > 0)])
        assert iou(labels == number, plane) > 0.75
    assert all(m.score > 0.5 and m.stability > 0.5 for m in shown)


@pytest.mark.slow
def test_a_region_is_kept(image, planes):
    region = np.zeros(SHAPE, bool)
    region[:, :115] = True
    masks = found(image, region=region).masks
    assert 0 < len(masks) < len(found(image).masks)
    assert all(mask.point[1] < 115 for mask in masks)


def test_cancelled_it_keeps_what_it_has(image):
    candidates = found(image, cancelled=lambda: True)
    assert not candidates.complete and not candidates.masks


def test_neighbours_share_a_border_and_no_pixel():
    values = np.zeros((3, 20, 30), np.float32)
    values[0, 4:16, 3:27] = 0.9
    labels = np.zeros((20, 30), np.int32)
    labels[4:16, 3:15], labels[4:16, 15:27] = 1, 2
    maps = InstanceMaps(values, pitch=8, image_shape=(40, 60))
    seen = np.zeros((40, 60), int)
    for number, columns in ((1, slice(3, 15)), (2, slice(15, 27))):
        mask = mask_of(
            maps, labels, number, (slice(4, 16), columns), np.zeros(2)
        )
        assert mask is not None and mask.score == pytest.approx(0.9)
        row0, column0, row1, column1 = mask.box
        seen[row0:row1, column0:column1] += mask.data
    assert seen.max() == 1
    assert np.array_equal(seen > 0, np.kron(labels, np.ones((2, 2))) > 0)


def test_a_model_without_head_is_refused(image):
    with pytest.raises(SegmentationError, match='has no instance head'):
        found(image, Oracle(best=48))


@pytest.mark.parametrize('other', [{'crop_layers': 1}, {'whole_image': True}])
def test_what_does_not_go_with_it_is_refused(image, other):
    with pytest.raises(SegmentationError, match='cannot be combined with'):
        generate_candidates(
            image, SeeingOracle(best=48), watershed=True, **other
        )


def test_the_estimate_counts_the_embedding_alone():
    speed = Speed(0.1, 0.01, 0.001)
    record = SeeingOracle(best=48).record
    watershed, head = (
        estimate_run(
            SHAPE,
            record,
            EverythingParameters(diameter=14, watershed=chosen),
            speed,
        )
        for chosen in (True, False)
    )
    assert watershed.windows == head.windows
    assert watershed.prompts <= 1 < head.prompts
