"""Points of several regions are asked together as each would be alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region import DecoderBlock, Region
from napari_mobilesam.segmentation.region_worker import (
    RegionWorker,
    divide_together,
)
from napari_mobilesam.types import EverythingParameters

from .helpers import disc, iou, paste

SHAPE = 200, 240
PITCH = 10


def regions_of(model, centers):
    """Workers at three places of an image of discs, the last one cut."""
    bright = np.any([disc(SHAPE, center, 18) for center in centers], axis=0)
    shown = (50 + 150 * bright).astype(np.uint8)
    rgb = np.repeat(shown[..., None], 3, axis=2)
    image = ImageEmbedding.of_rgb(model, rgb)
    for place in [(60, 60), (130, 170), (90, 120)]:
        frame = image.decoder_block(place, PITCH).frame
        region = Region(
            frame.window,
            np.zeros((0, 2)),
            decoder_block=DecoderBlock(place, PITCH),
        )
        floor = Thresholds(0.3, 0.3)
        yield RegionWorker(image, EverythingParameters(), floor, region)


@pytest.mark.slow
def test_points_of_several_regions_are_answered_as_each_alone(bundled):
    centers = np.array([[50, 60], [140, 170], [60, 130], [100, 20]], float)
    workers = list(regions_of(bundled, centers))
    asked = [(0, 0), (0, 2), (1, 1), (2, 2)]
    together = divide_together(
        [workers[number] for number, _ in asked],
        centers[[point for _, point in asked]],
    )
    alone = [
        workers[number].divide(centers[point : point + 1])
        for number, point in asked
    ]
    whole = [mask for each in alone for mask in each.whole]
    cut = [mask for each in alone for mask in each.cut]
    for found, expected in ((together.whole, whole), (together.cut, cut)):
        assert len(found) == len(expected)
        for mask, other in zip(found, expected, strict=True):
            assert mask.point == other.point
            assert mask.crop_box == other.crop_box
            assert abs(mask.score - other.score) < 1e-3
            planes = [paste(each, SHAPE) for each in (mask, other)]
            assert iou(*planes) > 0.99
    assert len(together.whole) >= 4
