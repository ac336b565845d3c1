from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.segmentation.linking import link_labels
from napari_mobilesam.types import ImageError, SegmentationError

from .helpers import disc

STACKS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 5), st.just(5), st.just(6)),
    elements=st.integers(0, 4),
)


def planes(*boxes: dict[int, tuple[int, int, int, int]]) -> np.ndarray:
    """One plane per argument: label → (row0, column0, row1, column1)."""
    stack = np.zeros((len(boxes), 40, 40), np.uint16)
    for plane, named in zip(stack, boxes, strict=True):
        for label, (row0, column0, row1, column1) in named.items():
            plane[row0:row1, column0:column1] = label
    return stack


def test_drifting_objects_keep_their_label():
    stack = np.zeros((6, 60, 90), np.int32)
    for z in range(6):
        stack[z][disc((60, 90), (15 + z, 15 + 2 * z), 9)] = 7 - z
        stack[z][disc((60, 90), (40, 70 - 3 * z), 12)] = 20 + z
    linked = link_labels(stack)
    assert linked.dtype == np.uint16
    assert [set(np.unique(plane)) for plane in linked] == [{0, 1, 2}] * 6
    for z in range(6):
        assert len(np.unique(linked[z][stack[z] == 20 + z])) == 1
        assert linked[z][40, 70 - 3 * z] == linked[0][40, 70]


@pytest.mark.parametrize(('gap', 'same'), [(0, False), (1, True), (2, True)])
def test_an_object_may_be_missing_in_between(gap, same):
    stack = planes({3: (5, 5, 15, 15)}, {}, {9: (6, 5, 16, 15)})
    linked = link_labels(stack, gap=gap)
    assert (linked[0].max() == linked[2].max()) == same


def test_two_parts_of_an_object_do_not_share_its_label():
    stack = planes(
        {1: (0, 0, 20, 20)}, {1: (0, 0, 11, 20), 2: (11, 0, 20, 20)}
    )
    linked = link_labels(stack)
    assert linked[1, 0, 0] == linked[0, 0, 0]
    assert linked[1, 15, 0] not in (0, linked[0, 0, 0])


def test_only_mutual_best_are_linked():
    # The later object is the best of both; the smaller one keeps its own.
    stack = planes(
        {1: (0, 0, 20, 11), 2: (0, 11, 20, 20)}, {5: (0, 0, 20, 20)}
    )
    linked = link_labels(stack)
    assert linked[1, 0, 0] == linked[0, 0, 0]
    assert linked[0, 0, 15] != linked[0, 0, 0]


def test_little_overlap_is_no_link():
    stack = planes({1: (0, 0, 10, 10)}, {1: (0, 6, 10, 16)})
    assert len(np.unique(link_labels(stack))) == 3
    assert len(np.unique(link_labels(stack, min_iou=0.25))) == 2


def test_a_taken_label_is_not_given_again_after_a_gap():
    stack = planes(
        {1: (0, 0, 20, 20)},
        {1: (0, 0, 20, 12)},
        {1: (0, 0, 20, 12), 2: (0, 12, 20, 20)},
    )
    linked = link_labels(stack, gap=2)
    assert linked[2, 0, 0] == linked[0, 0, 0]
    assert linked[2, 0, 15] == 2


@given(STACKS, st.integers(0, 2), st.sampled_from([0.1, 0.3, 1.0]))
def test_objects_stay_what_they_are(stack, gap, min_iou):
    linked = link_labels(stack, gap=gap, min_iou=min_iou)
    assert linked.shape == stack.shape
    for before, after in zip(stack, linked, strict=True):
        pairs = {tuple(p) for p in np.c_[before.ravel(), after.ravel()]}
        # Within a plane old and new labels correspond one to one.
        assert len(pairs) == len({old for old, _ in pairs})
        assert len(pairs) == len({new for _, new in pairs})
        assert ((before == 0) == (after == 0)).all()
    labels = np.unique(linked[linked > 0])
    assert labels.tolist() == list(range(1, len(labels) + 1))


@pytest.mark.slow
@given(STACKS)
def test_the_names_of_labels_do_not_matter(stack):
    renamed = np.array([0, 11, 23, 35, 400])[stack]
    np.testing.assert_array_equal(link_labels(stack), link_labels(renamed))


def test_many_labels_need_more_than_sixteen_bits():
    stack = np.zeros((2, 200, 400), np.int32)
    stack[0, :100] = np.arange(1, 40_001).reshape(100, 400)
    stack[1, 100:] = stack[0, :100]
    linked = link_labels(stack)
    assert linked.dtype == np.int32
    assert np.array_equal(linked[1, 100:], stack[0, :100] + 40_000)


def test_cancelling_keeps_all_objects_and_the_links_made():
    stack = np.repeat(planes({1: (0, 0, 9, 9), 2: (20, 20, 30, 30)}), 4, 0)
    seen = []
    linked = link_labels(
        stack,
        progress=lambda *report: seen.append(report),
        cancelled=lambda: len(seen) == 2,
    )
    assert [report[0] for report in seen] == [1, 2]
    np.testing.assert_array_equal(linked[0], linked[1])
    assert sorted(np.unique(linked)) == list(range(7))
    assert ((linked > 0) == (stack > 0)).all()


def test_a_lazy_stack_is_read_plane_by_plane():
    stack = np.repeat(planes({1: (0, 0, 9, 9)}), 3, 0)

    class Lazy:
        shape, dtype = stack.shape, stack.dtype

        def __getitem__(self, z: int) -> np.ndarray:
            assert isinstance(z, int)
            return stack[z]

    np.testing.assert_array_equal(link_labels(Lazy()), link_labels(stack))


@pytest.mark.parametrize(
    ('stack', 'options', 'error'),
    [
        (np.zeros((4, 4), int), {}, ImageError),
        (np.zeros((2, 4, 4)), {}, ImageError),
        (np.zeros((2, 4, 4), int), {'min_iou': 0}, SegmentationError),
        (np.zeros((2, 4, 4), int), {'gap': -1}, SegmentationError),
    ],
)
def test_what_cannot_be_linked(stack, options, error):
    with pytest.raises(error):
        link_labels(stack, **options)


def test_negative_labels_are_refused():
    stack = np.zeros((2, 8, 8), np.int16)
    stack[:, 2:4, 2:4] = -1
    with pytest.raises(ImageError, match='negative values'):
        link_labels(stack)
