"""The adaptive mode: fewer prompts, the same objects."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.model.threads import ThreadTeam
from napari_mobilesam.segmentation import everything_plan as plan
from napari_mobilesam.segmentation.adaptive import ROUNDS
from napari_mobilesam.segmentation.everything_plan import plan_for_shape
from napari_mobilesam.segmentation.lattice import Lattice
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.segmentation.masks import center_of
from napari_mobilesam.segmentation.point_classifier import (
    LEAST_KNOWN,
    PointClassifier,
    describe,
)
from napari_mobilesam.types import EverythingParameters, Mask

from .helpers import as_mask, disc, iou, paste
from .oracle import Oracle


def found(image, model=None, **options):
    return generate_candidates(
        image, model or Oracle(best=48), diameter=14, **options
    )


def test_rounds_ask_every_point_of_the_grid_once():
    offsets = [offset for round_, _ in ROUNDS for offset in round_]
    assert sorted(offsets) == [(i, j) for i in range(4) for j in range(4)]


@pytest.mark.slow
def test_the_same_objects_with_a_third_of_the_prompts(image, planes):
    full = found(image, adaptive=False)
    few = found(image)
    assert few.prompts < full.prompts / 3
    labels, _ = few.paint()
    assert labels.max() == len(planes)
    for plane in planes:
        (number,) = np.unique(labels[plane & (labels > 0)])
        assert iou(labels == number, plane) > 0.85


@pytest.mark.slow
def test_progress_says_done_at_the_end_and_not_before(image, monkeypatch):
    monkeypatch.setitem(plan.SHARES, 'adaptive', 1 / 20)
    seen = []
    found(image, progress=lambda *report: seen.append(report[:2]))
    last_done, last_total = seen.pop()
    assert last_done == last_total == seen[-1][0]
    expected = seen[0][1]
    beyond = [(done, total) for done, total in seen if done > expected]
    assert beyond
    assert all(done < total for done, total in beyond)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_full_grid_is_not_adaptive(image):
    parameters = EverythingParameters(diameter=14, adaptive=False)
    planned = plan_for_shape(image.shape, Oracle(best=48).record, parameters)
    assert planned.source == 'grid'


def test_crop_layers_are_the_full_grid(image):
    parameters = EverythingParameters(crop_layers=1, adaptive=True)
    planned = plan_for_shape(image.shape, Oracle().record, parameters)
    assert planned.source == 'grid'


@pytest.mark.slow
@pytest.mark.parametrize('batch_size', [1, 5])
def test_what_is_asked_does_not_depend_on_workers(image, batch_size):
    class Two(Oracle):
        def workers(self):
            return ThreadTeam(2, Oracle.threads)

    one = found(image, batch_size=16)
    two = found(image, Two(best=48), batch_size=batch_size)
    assert one.prompts == two.prompts
    assert [m.point for m in one.masks] == [m.point for m in two.masks]
    assert all(
        np.array_equal(a.data, b.data)
        for a, b in zip(one.masks, two.masks, strict=True)
    )


def test_cancelling_keeps_what_was_found(image, planes):
    shown = []
    candidates = found(
        image,
        batch_size=4,
        on_masks=shown.extend,
        cancelled=lambda: len(shown) >= 10,
    )
    assert not candidates.complete
    labels, _ = candidates.paint()
    assert 0 < labels.max() < len(planes)


@pytest.mark.slow
def test_points_of_skipped_pixels_are_not_asked(image, planes):
    skip = np.any(planes[:20], axis=0)
    all_of_it, rest = found(image), found(image, skip=skip)
    assert rest.prompts < all_of_it.prompts
    labels, _ = rest.paint()
    assert labels.max() == len(planes) - 20
    assert not labels[skip].any()


@pytest.mark.slow
@pytest.mark.parametrize('shape', [(1, 1), (1, 40), (64, 64)])
def test_nothing_to_see(shape):
    candidates = generate_candidates(np.zeros(shape, np.uint8), Oracle())
    assert candidates.complete
    assert candidates.select() == []


def test_the_centre_is_far_from_the_border():
    plane = disc((40, 50), (20, 30), 8)
    assert center_of(as_mask(plane)) == pytest.approx((20.5, 30.5), abs=1)
    ring = plane & ~disc((40, 50), (20, 30), 3)
    row, column = center_of(as_mask(ring))
    assert ring[int(row), int(column)]


def test_a_centre_is_within_a_mask_of_one_pixel():
    mask = Mask(np.ones((1, 1), bool), (4, 7, 5, 8), 0.9)
    assert paste(mask, (9, 9))[tuple(int(x) for x in center_of(mask))]


class TestPointClassifier:
    @pytest.fixture
    def appearance(self):
        """A lattice of 20 x 20 points, the left half dark."""
        image = np.zeros((100, 100, 3), np.uint8)
        image[:, 50:] = 200
        places = np.arange(20) * 5 + 2.5
        return PointClassifier(describe(image, places, places, diameter=10))

    def index(self, columns):
        return np.stack(
            np.meshgrid(np.arange(20), columns, indexing='ij'), -1
        ).reshape(-1, 2)

    def test_concludes_nothing_from_little(self, appearance):
        few = self.index([2])[: LEAST_KNOWN - 1]
        appearance.learn(few, np.zeros(len(few), bool))
        assert (appearance.likelihood(self.index([17])) == 1).all()

    def test_takes_like_for_like(self, appearance):
        for columns, hit in (([1, 3], False), ([16, 18], True)):
            asked = self.index(columns)
            appearance.learn(asked, np.full(len(asked), hit))
        assert (appearance.likelihood(self.index([2])) < 0.1).all()
        assert (appearance.likelihood(self.index([17])) > 0.9).all()

    def test_asks_about_no_point(self, appearance):
        none = np.zeros((0, 2), np.intp)
        assert appearance.likelihood(none).shape == (0,)


def test_lattice_finds_its_points(image):
    planned = plan_for_shape(
        image.shape, Oracle(best=48).record, EverythingParameters(diameter=14)
    )
    lattice = Lattice.of(planned.regions)
    for region in planned.regions:
        index = lattice.index(region.points)
        assert np.array_equal(lattice.rows[index[:, 0]], region.points[:, 0])
        assert np.array_equal(
            lattice.columns[index[:, 1]], region.points[:, 1]
        )
    assert lattice.spacing <= 14 / 2.5
