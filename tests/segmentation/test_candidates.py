"""Repeated selection of the masks of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.candidates import Candidates, Selection
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.segmentation.mask_generator import (
    generate_candidates,
    generate_masks,
)
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    ModelRecord,
    SegmentationError,
)

from .helpers import as_mask, disc, paste
from .oracle import Oracle

SHAPE = (40, 50)
WINDOWS = ((0, 0, 40, 30), (0, 20, 40, 50))
RECORD = ModelRecord('any', predicted_iou=0.5, stability=0.4)
# An untrained model is sure of nothing.
LOOSE = {
    'points_per_side': 4,
    'whole_image': True,
    'adaptive': False,
    'stability_offset': 0.01,
}
FLOOR = (0.0, 0.0)


@st.composite
def masks(draw) -> list[Mask]:
    """Rectangles and what is left of them, found in two windows."""
    drawn = []
    levels = st.integers(1, 64).map(lambda n: n / 64)
    for _ in range(draw(st.integers(0, 12))):
        row, column = draw(st.integers(0, 30)), draw(st.integers(0, 40))
        height, width = draw(st.integers(1, 10)), draw(st.integers(1, 10))
        data = np.ones((height, width), bool)
        if min(height, width) > 2:
            data[1, 1] = draw(st.booleans())
        drawn.append(
            Mask(
                data,
                (row, column, row + height, column + width),
                draw(levels),
                draw(levels),
                (float(row), float(column)),
                draw(st.sampled_from(WINDOWS)),
            )
        )
    return drawn


selections = st.builds(
    Selection,
    predicted_iou=st.none() | st.floats(0, 1),
    stability=st.none() | st.floats(0, 1),
    box_nms=st.floats(0, 1),
    crop_nms=st.floats(0, 1),
    max_area_fraction=st.floats(0.001, 1),
    min_area=st.integers(0, 5),
    filters=st.builds(
        ObjectFilters,
        area=st.none() | st.just((2, 40)),
        border=st.booleans(),
    ),
)


def candidates_of(found, **changes) -> Candidates:
    return Candidates(tuple(found), SHAPE, RECORD, True, len(found), **changes)


def test_a_line_of_a_console() -> None:
    found = candidates_of([])
    height, width = SHAPE
    assert repr(found) == (
        f'<Candidates: 0 masks of {height} × {width} pixels by '
        f'{RECORD.name}, 0 prompts>'
    )


def described(selected: list[Mask]) -> list[tuple]:
    return [(m.box, m.score, m.stability, m.data.tobytes()) for m in selected]


@pytest.mark.slow
@given(masks(), selections, st.randoms(use_true_random=False))
def test_order_of_the_candidates_does_not_matter(found, selection, random):
    # Equal in all that is looked at, they could be told apart by nothing.
    unique = {(m.box, m.score, m.stability, m.crop_box): m for m in found}
    found = list({key[:2]: m for key, m in unique.items()}.values())
    shuffled = random.sample(found, len(found))
    one, other = candidates_of(found), candidates_of(shuffled)
    assert described(one.select(selection)) == described(
        other.select(selection)
    )


@pytest.mark.slow
@given(masks(), selections, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_predicted_iou_only_takes_away(found, selection, a, b):
    selection = replace(selection, min_area=0)
    low, high = (
        {
            id(mask)
            for mask in candidates_of(found).select(
                replace(selection, predicted_iou=value)
            )
        }
        for value in sorted((a, b))
    )
    assert high <= low


@pytest.mark.slow
@given(masks(), selections, st.integers(0, 40), st.integers(0, 40))
def test_narrower_filters_only_take_away(found, selection, a, b):
    wide, narrow = (
        replace(selection, filters=ObjectFilters(area=(least, 60)))
        for least in sorted((a, b))
    )
    candidates = candidates_of(found)
    kept = {id(mask) for mask in candidates.select(narrow)}
    assert kept <= {id(mask) for mask in candidates.select(wide)}


@pytest.mark.slow
@given(masks(), selections)
def test_every_object_passes_what_was_asked(found, selection):
    for mask in candidates_of(found).select(selection):
        assert mask.score >= (selection.predicted_iou or 0)
        assert mask.stability >= (selection.stability or 0)
        least, most = selection.filters.area or (0, np.inf)
        assert least <= mask.area <= most


@pytest.mark.slow
@given(masks(), selections, selections)
def test_asking_again_gives_the_same(found, one, other):
    candidates = candidates_of(found)
    first = described(candidates.select(one))
    candidates.select(other)
    assert described(candidates.select(one)) == first
    assert described(candidates_of(found).select(one)) == first


@given(masks(), st.integers(0, 39))
def test_skipped_pixels_are_never_filled(found, row):
    skip = np.zeros(SHAPE, bool)
    skip[row] = True
    scope = Scope(skip=skip)
    trimmed = [scope.trim(mask) for mask in found]
    candidates = candidates_of(
        [mask for mask in trimmed if mask is not None], scope=scope
    )
    selection = Selection(0, 0, box_nms=1, crop_nms=1, min_area=4)
    for mask in candidates.select(selection):
        assert not (paste(mask, SHAPE) & skip).any()


@pytest.mark.slow
@pytest.mark.parametrize('changes', [{}, {'crop_layers': 1}, {'min_area': 30}])
def test_the_runs_own_selection_is_what_generate_masks_returns(
    tiny_model, changes
):
    noise = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)
    thresholds = {'predicted_iou': 0.3, 'stability': 0.3}
    options = {**LOOSE, **changes}
    masks_ = generate_masks(noise, tiny_model, **options, **thresholds)
    candidates = generate_candidates(
        noise, tiny_model, **options, **thresholds, floor=FLOOR
    )
    assert len(masks_) < len(candidates.masks)
    assert described(candidates.select()) == described(masks_)


@pytest.mark.slow
def test_thresholds_can_be_lowered_to_the_floor(tiny_model):
    noise = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)
    strict = generate_candidates(
        noise, tiny_model, **LOOSE, predicted_iou=0.9, floor=FLOOR
    )
    lowered = replace(Selection.of(strict.parameters), predicted_iou=0.1)
    loose = generate_masks(noise, tiny_model, **LOOSE, predicted_iou=0.1)
    assert described(strict.select(lowered)) == described(loose)


def test_a_lower_overlap_is_asked_after_a_higher_one():
    found = [
        replace(as_mask(disc(SHAPE, (20, column), 9), score), stability=1)
        for column, score in ((10, 0.9), (22, 0.8))
    ]
    candidates = candidates_of(found)
    for box_nms, count in ((0.7, 2), (0.1, 1), (0.7, 2)):
        selected = candidates.select(Selection(0, 0, box_nms=box_nms))
        assert [m.score for m in selected] == [0.9, 0.8][:count]


@pytest.mark.parametrize(('layers', 'score'), [(0, 0.9), (1, 0.7)])
def test_of_duplicates_in_crops_that_of_the_smaller_one_stays(layers, score):
    """Of crops of one size that of the first column."""
    boxes, plane = ((0, 0, *SHAPE), *WINDOWS), disc(SHAPE, (20, 25), 4)
    found = [
        replace(as_mask(plane, value), stability=1, crop_box=box)
        for value, box in zip((0.9, 0.7, 0.8), boxes, strict=True)
    ]
    parameters = EverythingParameters(crop_layers=layers)
    candidates = candidates_of(found, parameters=parameters)
    assert [m.score for m in candidates.select()] == [score]


class TestFilters:
    @pytest.fixture
    def candidates(self) -> Candidates:
        """A disc, a bar, a ring of two parts, and a disc at the border."""
        bar = np.zeros(SHAPE, bool)
        bar[30:33, 5:35] = True
        notched = disc(SHAPE, (10, 30), 6)
        notched[7:14, 28:] = False
        planes = [
            disc(SHAPE, (10, 10), 6),
            bar,
            notched,
            disc(SHAPE, (20, 48), 4),
        ]
        image = np.zeros(SHAPE)
        image[:, :20] = 100
        return candidates_of(
            [
                replace(as_mask(plane, 0.9 - i / 100), stability=0.9)
                for i, plane in enumerate(planes)
            ],
            image=image,
        )

    @pytest.mark.parametrize(
        ('filters', 'kept'),
        [
            (ObjectFilters(), [0, 1, 2, 3]),
            (ObjectFilters(area=(0, 95)), [1, 2, 3]),
            (ObjectFilters(eccentricity=(0.9, 1)), [1]),
            (ObjectFilters(solidity=(0, 0.8)), [2]),
            (ObjectFilters(intensity_mean=(99, 101)), [0]),
            (ObjectFilters(intensity_mean=(0, 0)), [2, 3]),
            (ObjectFilters(border=False), [0, 1, 2]),
            (ObjectFilters(area=(30, 95), border=False), [1, 2]),
        ],
    )
    def test_keep_what_lies_in_all_ranges(self, candidates, filters, kept):
        selected = candidates.select(Selection(0, 0, filters=filters))
        expected = [candidates.masks[i].box for i in kept]
        assert [mask.box for mask in selected] == expected

    def test_masks_of_most_of_the_image_are_dropped(self, candidates):
        selected = candidates.select(Selection(0, 0, max_area_fraction=0.05))
        assert selected == list(candidates.masks[1:])

    def test_pixels_without_a_value_do_not_hide_their_object(self, candidates):
        candidates.image[10, 10] = np.nan
        filters = ObjectFilters(intensity_mean=(100, 100))
        (kept,) = candidates.select(Selection(0, 0, filters=filters))
        assert kept is candidates.masks[0]

    def test_intensity_is_the_mean_of_the_channels_shown(self):
        image = np.zeros((3, *SHAPE))
        image[0], image[2] = 4, 8
        candidates = candidates_of([], image=image, channels=(0, 2))
        assert (candidates.intensity == 6).all()

    def test_intensity_needs_the_image(self):
        with pytest.raises(ValueError, match='no image'):
            _ = candidates_of([]).intensity


class TestScope:
    @pytest.mark.slow
    @given(
        st.tuples(
            st.integers(0, 60),
            st.integers(0, 60),
            st.integers(5, 60),
            st.integers(5, 60),
        ),
        st.booleans(),
    )
    def test_prompts_lie_in_the_region(self, box, adaptive):
        row0, column0, height, width = box
        region = (row0, column0, row0 + height, column0 + width)
        image = np.where(disc((120, 120), (60, 60), 50), 255, 0)
        asked = []
        generate_candidates(
            image.astype(np.uint8),
            Oracle(),
            diameter=100,
            region=region,
            adaptive=adaptive,
            points_per_side=12,
            on_masks=lambda found: asked.extend(m.point for m in found),
        )
        for row, column in asked:
            assert region[0] <= row < region[2]
            assert region[1] <= column < region[3]

    @pytest.mark.slow
    def test_a_region_may_have_any_form(self):
        planes = [
            disc((120, 120), (30, 30), 15),
            disc((120, 120), (90, 80), 15),
        ]
        image = np.where(planes[0] | planes[1], 255, 0).astype(np.uint8)
        region = disc((120, 120), (90, 80), 10)
        candidates = generate_candidates(
            image, Oracle(), region=region, points_per_side=24
        )
        (mask,) = candidates.select()
        # The mask reaches beyond the region.
        assert paste(mask, image.shape)[77, 80]

    @pytest.mark.slow
    def test_half_covered_objects_are_left_to_what_covers_them(self):
        plane = disc((120, 120), (60, 60), 20)
        image = np.where(plane, 255, 0).astype(np.uint8)
        skip = np.zeros(plane.shape, bool)
        skip[:, :60] = True
        half = generate_candidates(image, Oracle(), skip=skip)
        assert half.masks == ()
        skip[:, 45:] = False
        (mask,) = generate_candidates(image, Oracle(), skip=skip).select()
        assert not (paste(mask, plane.shape) & skip).any()

    @pytest.mark.slow
    def test_labels_serve_as_skip(self):
        plane = disc((120, 120), (60, 60), 20)
        image = np.where(plane, 255, 0).astype(np.uint8)
        labels = plane.astype(np.int32) * 7
        assert generate_candidates(image, Oracle(), skip=labels).masks == ()

    def test_a_region_is_cut_to_the_image(self):
        plane = disc((120, 120), (60, 60), 20)
        image = np.where(plane, 255, 0).astype(np.uint8)
        beyond = r'region \(0, 0, 120, 500\) reaches beyond the image of 120'
        with pytest.warns(UserWarning, match=beyond):
            found = generate_candidates(
                image, Oracle(), region=(0, 0, 120, 500)
            )
        assert len(found.masks)

    @pytest.mark.parametrize(
        ('given_', 'message'),
        [
            ({'region': (1, 2, 3)}, r'give \(row0'),
            ({'region': (5, 5, 5, 9)}, 'no area: row1 has to be larger'),
            ({'region': (50, 0, 10, 20)}, 'no area: row1 has to be larger'),
            ({'region': (200, 0, 300, 9)}, 'no pixel'),
            ({'region': (0, 0, np.nan, 9)}, r'give \(row0'),
            ({'region': np.zeros((40, 40), bool)}, 'region has no pixel'),
            ({'region': np.zeros((4, 4), bool)}, r'shape \(4, 4\)'),
            ({'skip': np.zeros((4, 4), bool)}, r'skip has the shape \(4, 4\)'),
        ],
    )
    def test_bad_scopes(self, given_, message):
        with pytest.raises(SegmentationError, match=message):
            generate_candidates(
                np.zeros((40, 40), np.uint8), Oracle(), **given_
            )


class TestCancel:
    """Cancelling is looked at between small pieces of work."""

    @pytest.mark.slow
    @pytest.mark.parametrize('adaptive', [False, True])
    def test_at_most_one_piece_follows(self, adaptive):
        pieces: list[str] = []

        class Counting(Oracle):
            def encode(self, x):
                pieces.append('embedding')
                return super().encode(x)

            def image_decoder(self, features):
                pieces.append('batch')
                return super().image_decoder(features)

        image = np.zeros((200, 230), np.uint8)
        image[::20, ::20] = 255
        most = []

        def run(after: int) -> None:
            del pieces[:]
            generate_candidates(
                image,
                Counting(best=48),
                diameter=14,
                batch_size=4,
                adaptive=adaptive,
                cancelled=lambda: len(pieces) >= after,
            )
            most.append(len(pieces) - after)

        for after in (0, 1, 2, 5, 9, 20):
            run(after)
        assert max(most) <= 0
        assert 'batch' in pieces

    def test_between_embedding_and_prompts(self):
        model = Oracle()
        candidates = generate_candidates(
            np.zeros((64, 64), np.uint8),
            model,
            whole_image=True,
            cancelled=lambda: model.encoded > 0,
        )
        assert model.encoded == 1
        assert candidates.prompts == 0
        assert not candidates.complete


@pytest.mark.slow
def test_masks_are_shown_batch_by_batch():
    planes = [disc((120, 160), (30, 30), 15), disc((120, 160), (90, 110), 15)]
    image = np.where(planes[0] | planes[1], 255, 0).astype(np.uint8)
    shown: list[list[Mask]] = []
    candidates = generate_candidates(
        image,
        Oracle(),
        whole_image=True,
        adaptive=False,
        points_per_side=16,
        batch_size=4,
        on_masks=shown.append,
    )
    assert len(shown) > 2
    assert sum(map(len, shown)) == len(candidates.masks)
