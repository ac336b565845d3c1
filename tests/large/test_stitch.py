from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.large.journal import Journal, MaskRecordReader, Record
from napari_mobilesam.large.mask_table import (
    MaskTable,
    gather,
    join,
    joined_boxes,
)
from napari_mobilesam.large.render import Renderer, chunk_tasks
from napari_mobilesam.large.resize import enlarge_mask
from napari_mobilesam.large.stitch import (
    mask_overlaps,
    unexplained,
    visible,
    without_duplicates,
)
from napari_mobilesam.segmentation.nms import boxes_of, non_maximum_suppression
from napari_mobilesam.segmentation.painting import by_score, paint_labels
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask

SHAPE = (40, 60)
SCORES = st.sampled_from([0.5, 0.6, 0.7, 0.8])


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    side = st.integers(1, 14)
    data = draw(
        hnp.arrays(bool, st.tuples(side, side), fill=st.just(True)).filter(
            np.any
        )
    )
    origin = draw(st.tuples(st.integers(0, 25), st.integers(0, 45)))
    data, box = crop_to_mask(data, origin)
    return Mask(data, box, draw(SCORES), draw(SCORES))


LOTS = st.lists(masks(), max_size=12, unique_by=lambda m: (m.box, m.score))


class Records:
    """Masks spread over the records of some tiles."""

    def __init__(self, folder: str, lots: list[list[Mask]]) -> None:
        self.journal = Journal(Path(folder))
        self.reader = MaskRecordReader(self.journal)
        self.keys = [f'p0/{number}' for number in range(len(lots))]
        for key, lot in zip(self.keys, lots, strict=True):
            none_cut = np.zeros(len(lot), bool)
            record = Record.of(lot, none_cut)
            self.journal.write(key, record)

    def found(self) -> MaskTable:
        return gather(self.journal, self.keys)


def boxes_and_scores(found: MaskTable) -> list[tuple]:
    return [
        (*box, score)
        for box, score in zip(
            found.boxes.tolist(), found.scores.tolist(), strict=True
        )
    ]


@pytest.mark.slow
@given(LOTS, st.randoms(use_true_random=False), st.floats(0.1, 0.9))
def test_duplicates_do_not_depend_on_who_found_them(found, random, threshold):
    shuffled = found.copy()
    random.shuffle(shuffled)
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        ordered = Records(one, [found[:5], found[5:]]).found()
        mixed = Records(other, [shuffled[:2], [], shuffled[2:]]).found()
        kept = without_duplicates(ordered, threshold)
        assert boxes_and_scores(kept) == boxes_and_scores(
            without_duplicates(mixed, threshold)
        )
    # The same as for an image in memory.
    scores = np.array([mask.score for mask in found])
    direct = non_maximum_suppression(boxes_of(found), [scores], threshold)
    assert {found[i].box for i in direct} == {
        tuple(box) for box in kept.boxes.tolist()
    }


# each in half of the next: whether the third has a label depends on the second
CHAIN = [
    Mask(np.ones((10, 10), bool), (0, column, 10, column + 10), score)
    for column, score in ((0, 0.9), (5, 0.8), (10, 0.7))
]


@pytest.mark.slow
@given(LOTS, st.sampled_from([0.3, 0.7, 1.0]))
@example(CHAIN, 0.3)
@example(CHAIN, 0.7)
def test_pixels_are_shared_out_as_in_one_image(found, least):
    with TemporaryDirectory() as folder:
        records = Records(folder, [found[::2], found[1::2]])
        candidates = records.found()
        candidates = candidates.take(candidates.best_first())
        seen = visible(candidates, records.reader, least)
        labels, painted = paint_labels(found, SHAPE, least)
        assert [m.box for m in painted] == [
            tuple(box) for box in seen.boxes.tolist()
        ]
        rendered = np.zeros(SHAPE, np.uint32)
        numbers = np.arange(1, len(seen) + 1, dtype=np.uint32)
        renderer = Renderer(records.journal.folder, (1, 1), Plane(rendered))
        areas = np.zeros(len(seen) + 1, int)
        for task in chunk_tasks(0, seen, numbers, (1, 1), SHAPE, (16, 16)):
            shown = renderer(task)
            areas[shown.labels] += shown.areas
            row0, column0, row1, column1 = task.window
            for label, box in zip(shown.labels, shown.boxes, strict=True):
                chunk = np.zeros(SHAPE, bool)
                chunk[row0:row1, column0:column1] = True
                ends = np.argwhere(chunk & (rendered == label))
                assert box[:2].tolist() == ends.min(axis=0).tolist()
                assert box[2:].tolist() == (ends.max(axis=0) + 1).tolist()
        np.testing.assert_array_equal(rendered, labels)
        np.testing.assert_array_equal(
            areas[1:], np.bincount(labels.ravel(), minlength=len(areas))[1:]
        )


class Plane:
    """Takes chunks, each once."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def write_chunk(self, plane, window, labels):
        row0, column0, row1, column1 = window
        assert labels.any()
        assert not self.labels[row0:row1, column0:column1].any()
        self.labels[row0:row1, column0:column1] = labels


@pytest.mark.slow
@given(LOTS)
def test_order_is_that_of_one_image(found):
    with TemporaryDirectory() as folder:
        candidates = Records(folder, [found]).found()
        order = candidates.best_first()
    assert [m.box for m in by_score(found)] == [
        tuple(box) for box in candidates.boxes[order].tolist()
    ]


def square(row, column, side, score=0.9):
    data = np.ones((side, side), bool)
    return Mask(data, (row, column, row + side, column + side), score)


def part(rows, columns, box, score=0.9):
    data = np.ones((rows, columns), bool)
    return Mask(data, box, score, crop_box=(0, 0, 20, 20))


def test_a_cut_mask_that_is_seen_whole_elsewhere_is_explained(tmp_path):
    journal = Journal(tmp_path)
    # Cut at column 20: one seen whole by a neighbour, one by nobody.
    parts = [
        part(8, 5, (2, 15, 10, 20)),
        part(6, 6, (12, 14, 18, 20)),
    ]
    journal.write('p0/a', Record.of(parts, np.ones(2, bool)))
    whole = Mask(np.ones((8, 12), bool), (2, 15, 10, 27), 0.5)
    journal.write('p0/b', Record.of([whole], np.zeros(1, bool)))
    found = gather(journal, ['p0/a', 'p0/b'])
    left = unexplained(
        found.cut_ones(), found.whole_ones(), MaskRecordReader(journal)
    )
    assert left.boxes.tolist() == [[12, 14, 18, 20]]


def test_a_cut_mask_is_not_explained_by_one_beside_it(tmp_path):
    journal = Journal(tmp_path)
    upper, box = np.triu(np.ones((8, 8), bool)), (2, 12, 10, 20)
    masks = [
        Mask(upper, box, 0.6, crop_box=(0, 0, 20, 20)),
        Mask(~upper, box, 0.9),
    ]
    journal.write('p0/a', Record.of(masks, np.array([True, False])))
    found = gather(journal, ['p0/a'])
    left = unexplained(
        found.cut_ones(), found.whole_ones(), MaskRecordReader(journal)
    )
    assert len(left) == 1


def test_better_masks_explain_what_they_hide(tmp_path):
    journal = Journal(tmp_path)
    cut_off = part(10, 10, (0, 10, 10, 20), 0.6)
    for score, left in ((0.9, 0), (0.5, 1)):
        rivals = [square(0, 10, 5, score), square(5, 15, 5, score)]
        cut = np.array([True, False, False])
        record = Record.of([cut_off, *rivals], cut)
        journal.write('p0/a', record)
        found = gather(journal, ['p0/a'])
        parts = unexplained(
            found.cut_ones(), found.whole_ones(), MaskRecordReader(journal)
        )
        assert len(parts) == left


def test_overlaps_of_planes_are_those_of_pixels(tmp_path):
    lots = [[square(20, 20, 3), square(0, 0, 10)], [square(5, 0, 10)]]
    records = Records(str(tmp_path), lots)
    one = gather(records.journal, records.keys[:1])
    other = gather(records.journal, records.keys[1:])
    overlaps = mask_overlaps(one, other, records.reader)
    assert (overlaps.earlier, overlaps.later) == ([1], [0])
    assert overlaps.iou.tolist() == [50 / 150]


def test_joining_keeps_the_way_to_the_records(tmp_path):
    lots = [[square(0, 0, 3)], [square(9, 9, 5), square(20, 20, 7)]]
    records = Records(str(tmp_path), lots)
    one = gather(records.journal, records.keys[:1])
    other = gather(records.journal, records.keys[1:])
    both = join(one, other)
    sides = [len(both.pixels(records.reader, i)) for i in range(3)]
    assert sides == [3, 5, 7]
    assert len(one.record) == 1


def test_parts_that_meet_are_one():
    boxes = np.array([(0, 0, 5, 5), (20, 20, 30, 30), (4, 4, 9, 9)])
    joined = joined_boxes(boxes)
    assert sorted(joined.tolist()) == [[0, 0, 9, 9], [20, 20, 30, 30]]
    assert len(joined_boxes(boxes[:0])) == 0


@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from([(1, 1), (2, 2), (4, 4), (2.5, 3.1)]),
    st.integers(1, 40),
)
def test_enlarging_part_by_part_is_enlarging(data, origin, factor, cut):
    box = (*origin, origin[0] + data.shape[0], origin[1] + data.shape[1])

    def enlarged(window):
        plane = np.zeros((90, 90), bool)
        part, place = enlarge_mask(data, box, factor, window)
        plane[place[0] : place[2], place[1] : place[3]] = part
        return plane

    whole = enlarged((0, 0, 90, 90))
    parts = enlarged((0, 0, cut, 90)) | enlarged((cut, 0, 90, 90))
    np.testing.assert_array_equal(whole, parts)
    if factor == (1, 1):
        assert whole.sum() == data.sum()
    if data.all():
        area = data.size * factor[0] * factor[1]
        assert abs(whole.sum() - area) <= 0.25 * area + 4


def test_a_chunk_of_which_a_box_touches_no_pixel_is_not_written():
    data = np.ones((7, 6), bool)
    data[-1, 0] = False
    found = [Mask(data, (10, 15, 17, 21), 0.5, 0.5)]
    with TemporaryDirectory() as folder:
        records = Records(folder, [found])
        candidates = records.found()
        seen = visible(candidates, records.reader, 0.3)
        rendered = np.zeros(SHAPE, np.uint32)
        renderer = Renderer(records.journal.folder, (1, 1), Plane(rendered))
        numbers = np.arange(1, 2, dtype=np.uint32)
        for task in chunk_tasks(0, seen, numbers, (1, 1), SHAPE, (16, 16)):
            renderer(task)
    assert np.count_nonzero(rendered) == data.sum()
