from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation import box_pairs
from napari_mobilesam.segmentation.box_pairs import meeting_pairs

BOX = st.tuples(
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(1, 150),
    st.integers(1, 150),
)


def found(boxes: np.ndarray) -> list[frozenset[int]]:
    return [
        frozenset(pair)
        for first, second in meeting_pairs(boxes)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]


@given(st.lists(BOX, max_size=30))
def test_pairs_are_those_that_share_pixels_each_once(places):
    boxes = np.array(
        [(r, c, r + height, c + width) for r, c, height, width in places],
        dtype=np.int64,
    ).reshape(-1, 4)
    expected = {
        frozenset((i, j))
        for i, a in enumerate(boxes)
        for j, b in enumerate(boxes[:i])
        if max(a[0], b[0]) < min(a[2], b[2])
        and max(a[1], b[1]) < min(a[3], b[3])
    }
    pairs = found(boxes)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected


def test_parts_of_a_search_do_not_change_it(monkeypatch):
    generator = np.random.default_rng(0)
    low = generator.integers(0, 300, (200, 2))
    boxes = np.hstack([low, low + generator.integers(1, 60, (200, 2))])
    whole = set(found(boxes))
    monkeypatch.setattr(box_pairs, 'QUERIES_AT_ONCE', 7)
    assert set(found(boxes)) == whole


def test_far_apart_boxes_are_not_compared():
    # With each compared with each this would take terabytes.
    count = 200_000
    low = np.arange(count, dtype=np.int64)[:, None] * (30, 0)
    boxes = np.hstack([low, low + 31])
    pairs = sum(len(first) for first, _ in meeting_pairs(boxes))
    assert pairs == count - 1
