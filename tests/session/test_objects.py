"""Objects of labels: writing, lookup, feature table, navigation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import FakeTarget, plane_at, record_of, square, write

from napari_mobilesam.session.objects import object_store, records
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    WriteOptions,
    mask_of_label,
)
from napari_mobilesam.session.objects.writing import (
    assign_class,
    finished,
    reassign_class,
    shrunken_labels,
)


@pytest.fixture
def objects():
    return Objects(FakeTarget())


def pixels(objects, label, z=0):
    return int((objects.target.data[z] == label).sum())


def test_instances_get_the_next_free_label(objects):
    objects.target.data[3, 0, 0] = 6
    first = write(objects, record_of(square(0, 0)))
    second = write(objects, record_of(square(10, 10)))
    assert (first.label, second.label) == (7, 8)
    assert (first.number, second.number) == (7, 8)


def test_semantic_objects_share_a_label_and_are_told_apart(objects):
    first = write(objects, record_of(square(0, 0)), label=3)
    second = write(objects, record_of(square(10, 10)), label=3)
    assert first.label == second.label == 3
    assert first.number != second.number
    plane = plane_at(0)
    assert objects.at(plane, 1, 1) is objects[first.number]
    assert objects.at(plane, 11, 11) is objects[second.number]
    objects.delete(second.number)
    assert pixels(objects, 3) == 16


def test_pixels_that_objects_of_one_label_share_stay_with_the_other(objects):
    first = write(objects, record_of(square(0, 0)), label=3)
    second = write(objects, record_of(square(2, 0)), label=3)
    corrected = replace(record_of(square(0, 4)), number=first.number, label=3)
    write(objects, corrected, first)
    assert (objects.target.data[0, :6, :8] == 3).sum(axis=1).tolist() == [
        *(4, 4, 8, 8, 4, 4)
    ]
    objects.delete(first.number)
    assert pixels(objects, 3) == 16
    objects.delete(second.number)
    assert pixels(objects, 3) == 0


def test_labels_that_are_numbers_of_classes(objects):
    """Each is of one class, and each object has one."""
    cell = {'label': 3, 'class_name': 'cell', 'by_class': True}
    first = write(objects, record_of(square(0, 0)), **cell)
    write(objects, record_of(square(10, 10)), **cell)
    with pytest.raises(LabelsError, match='already stands for class “cell”'):
        write(
            objects,
            record_of(square(0, 10)),
            **{**cell, 'class_name': 'debris'},
        )
    with pytest.raises(LabelsError, match='Choose a class'):
        write(objects, record_of(square(0, 10)), by_class=True)
    write(objects, record_of(square(0, 10)), label=4)
    with pytest.raises(LabelsError, match='an object without a class'):
        write(objects, record_of(square(10, 0)), **{**cell, 'label': 4})
    options = WriteOptions(label=4, class_name='debris', by_class=True)
    named = replace(first, class_name='debris')
    with pytest.raises(LabelsError, match='an object without a class'):
        finished(named, first, objects, options)
    alone = objects.at(plane_at(0), 1, 11)
    named = replace(alone, class_name='debris')
    assert finished(named, alone, objects, options).label == 4
    options = WriteOptions(by_class=True)
    with pytest.raises(LabelsError, match='Choose a class'):
        finished(replace(first, class_name=''), first, objects, options)


def test_rows_of_others_are_not_taken_for_a_class(objects):
    objects.target.data[0, :4, :4] = 2
    objects.target.set_features(pd.DataFrame({'index': [2], 'class': [None]}))
    cell = {'label': 2, 'class_name': 'cell', 'by_class': True}
    with pytest.raises(LabelsError, match='an object without a class'):
        write(objects, record_of(square(10, 10)), **cell)
    objects.target.data[:] = 0
    write(objects, record_of(square(10, 10)), **cell)


def test_policies(objects):
    write(objects, record_of(square(0, 0)))
    write(objects, record_of(square(2, 2)), policy='keep')
    assert (pixels(objects, 1), pixels(objects, 2)) == (16, 12)
    objects.undo()
    write(objects, record_of(square(2, 2)), policy='overwrite')
    assert (pixels(objects, 1), pixels(objects, 2)) == (12, 16)


def test_preserved_labels_are_kept_whatever_the_policy(objects):
    write(objects, record_of(square(0, 0)))
    objects.target.preserved = True
    write(objects, record_of(square(2, 2)), policy='overwrite')
    assert (pixels(objects, 1), pixels(objects, 2)) == (16, 12)


def test_corrected_object_gives_up_its_pixels_and_no_others(objects):
    base = write(objects, record_of(square(0, 0, 6), square(0, 0, 3)))
    other = write(objects, record_of(square(0, 0, 2)))
    corrected = replace(record_of(square(1, 1, 4)), number=1, label=1)
    write(objects, corrected, base)
    assert pixels(objects, other.label) == 4 - 1
    assert (pixels(objects, 1, 0), pixels(objects, 1, 1)) == (16, 0)
    objects.undo()
    assert (pixels(objects, 1, 0), pixels(objects, 1, 1)) == (32, 9)


def test_object_off_the_labels_writes_nothing():
    objects = Objects(FakeTarget(offset=(100, 0)))
    with pytest.raises(LabelsError, match='does not cover the object'):
        write(objects, record_of(square(0, 0)))
    assert len(objects) == 0
    assert objects.undo() is None


def test_full_and_read_only_labels_say_so(objects):
    objects.target.data[0, 0, 0] = 255
    with pytest.raises(LabelsError, match='full: it holds labels up to 255'):
        write(objects, record_of(square(0, 0)))
    with pytest.raises(LabelsError, match='choose one from 1 to 255'):
        write(objects, record_of(square(0, 0)), label=300)
    objects.target.editable = False
    with pytest.raises(LabelsError, match='read-only'):
        write(objects, record_of(square(0, 0)))


def test_rows_follow_objects_through_undo_and_redo(objects):
    write(objects, record_of(square(0, 0, score=0.9), square(0, 0, score=0.6)))
    assign_class(objects, 1, 'nucleus')
    row = objects.target.table.iloc[0]
    assert (row['index'], row['prompts'], row['class']) == (1, 2, 'nucleus')
    assert row['score'] == pytest.approx(0.6)
    assert row['stability'] == pytest.approx(0.95)
    objects.undo()
    assert objects.target.table['class'].tolist() == ['']
    objects.undo()
    assert len(objects.target.table) == 0
    objects.redo()
    objects.redo()
    assert objects.target.table['class'].tolist() == ['nucleus']


def test_rows_of_other_tables_come_back_with_undo(objects):
    table = objects.rows(()).assign(area=[])
    table.loc[0] = [5, 0.4, 0.8, 1, '', 16]
    with objects.step('everything') as step:
        step.paint(plane_at(0), square(0, 0), 5)
        step.describe({5}, table)
    record = replace(record_of(square(0, 0)), number=5, label=5)
    objects.delete(record)
    assert len(objects.target.table) == 0
    objects.undo()
    assert objects.target.table['area'].tolist() == [16]


def test_measurements_that_hold_no_more_are_empty(objects):
    first = write(objects, record_of(square(0, 0)))
    second = write(objects, record_of(square(0, 10)))
    objects.target.data[0, 20:24, :4] = 9
    measured = pd.DataFrame(
        {
            'index': [1, 2, 9],
            'note': ['a', 'b', 'c'],
            'area': 16,
            'area µm²': 4.0,
            'row0': [0, 0, 20],
        }
    )
    objects.target.set_features(measured)

    def rows():
        table = objects.target.features().set_index('index').sort_index()
        columns = ['note', 'area', 'area µm²', 'row0']
        return table[columns].fillna('').to_numpy().tolist()

    before = rows()
    # an object itself, and one of which another one covers a part
    write(objects, record_of(square(0, 0, 6), number=1, label=1), first)
    assert rows() == [['a', 36, '', ''], *before[1:]]
    objects.undo()
    write(objects, record_of(square(0, 12)))
    assert rows()[:3] == [before[0], ['b', 8, '', ''], before[2]]
    objects.undo()
    # labels of others, too
    write(objects, record_of(square(22, 0)))
    assert rows()[:3] == [*before[:2], ['c', 8, '', '']]
    objects.undo()
    assert rows() == before
    # the same pixels again
    write(objects, replace(second, class_name='x'), second)
    assert rows() == before


def test_areas_are_those_of_labels_not_of_masks(objects):
    first = write(objects, record_of(square(0, 0)))
    table = objects.target.features()
    objects.target.set_features(table.assign(area=16))
    # an object of the same label, and pixels of the brush
    write(objects, record_of(square(20, 20)), label=first.label)
    assert objects.target.features()['area'].tolist() == [32]
    objects.target.data[0, 10:14, :10] = first.label
    objects.target.edited.emit({first.label: 40})
    other = write(objects, record_of(square(0, 1)))
    rows = objects.target.features().set_index('index')
    assert rows['area'].to_dict() == {first.label: 60, other.label: 16}
    assert shrunken_labels(objects) == []


def test_redo_counts_what_was_erased_from_the_only_object(objects):
    target = objects.target
    with objects.step('1 object') as step:
        record = record_of(square(0, 0), number=1, label=1)
        step.put(record)
        step.paint(plane_at(0), square(0, 0), 1)
        step.describe({1}, pd.DataFrame({'index': [1], 'area': [16]}))
    before = pixels(objects, 1)
    target.data[0, 0, 0] = 0
    target.edited.emit({1: -1})
    objects.undo()
    assert not len(target.features())
    objects.redo()
    assert target.features()['area'].tolist() == [before - 1]
    assert pixels(objects, 1) == before - 1


def test_tables_of_others_may_have_a_label_twice(objects):
    objects.target.data[0, :4, :4] = 9
    twice = pd.DataFrame({'index': [9, 9], 'area': [16, 16]})
    objects.target.set_features(twice)
    write(objects, record_of(square(0, 1)))
    assert shrunken_labels(objects) == [9]


def test_an_object_that_is_written_smaller_is_not_written_over(objects):
    base = write(objects, record_of(square(0, 0)))
    objects.target.set_features(pd.DataFrame({'index': [1], 'area': [16]}))
    write(
        objects, replace(record_of(square(0, 0, 2)), number=1, label=1), base
    )
    assert objects.target.features()['area'].tolist() == [4]
    assert shrunken_labels(objects) == []


def test_undone_objects_are_gone_and_redone_ones_are_the_same(objects):
    record = write(objects, record_of(square(0, 0)))
    objects.undo()
    assert objects.get(record.number) is None
    with pytest.raises(LabelsError, match='There is no object 1'):
        objects[1]
    objects.redo()
    assert objects[1] is record


def test_rows_of_labels_that_were_overwritten_as_a_whole_are_dropped(objects):
    target = objects.target
    target.data[0, 2:4, 2:4] = 8
    target.data[0, 0:9, 9] = 9
    target.table = pd.DataFrame({'index': [8, 9], 'area': [4, 9]})
    write(objects, record_of(square(0, 0, 10)))
    assert target.table['index'].tolist() == [10]
    objects.undo()
    table = target.table.set_index('index')['area']
    assert table.to_dict() == {8: 4, 9: 9}
    objects.redo()
    assert target.table['index'].tolist() == [10]


def test_least_certain_first_reviewed_ones_never(objects):
    for number, score in enumerate([0.9, 0.5, np.nan, 0.7], start=1):
        mask = square(0, 10 * number - 10, score=score)
        record = replace(record_of(mask), number=number, label=number)
        with objects.step('everything') as step:
            step.put(record)
    order = [objects.least_certain().number]
    for _ in range(4):
        order.append(objects.least_certain(order[-1]).number)
    assert order == [2, 4, 1, 3, 2]
    objects.review(2)
    assert objects.least_certain().number == 4
    assert objects.history.undoable == 'keeping object 2'
    # again: there is nothing to undo
    objects.review(2)
    assert objects.undo() == 'keeping object 2'
    assert objects.history.undoable == 'everything'
    assert objects.least_certain().number == 2


@pytest.mark.parametrize(
    'change',
    [
        lambda objects: assign_class(objects, 1, 'cell'),
        lambda objects: reassign_class(objects, 'nucleus', 'cell'),
        lambda objects: objects.review(1),
    ],
)
def test_a_painted_object_of_another_class_is_painted(objects, change):
    record = record_of(square(0, 0), label=1, number=1, class_name='nucleus')
    with objects.step('everything') as step:
        step.paint(plane_at(0), square(0, 0), 1)
        step.put(record)
    objects.target.data[0, 20:25, 20:25] = 1
    objects.note_painted({1})
    change(objects)
    assert objects[1] is not record
    objects.delete(1)
    assert not objects.target.data.any()


def test_what_was_painted_belongs_to_the_object_of_its_label(objects):
    record = write(objects, record_of(square(0, 0)))
    objects.target.data[0, 0:4, 4:8] = 1
    # of another program, until it is said to be painted
    assert objects.at(plane_at(0), 2, 6) is None
    objects.note_painted({1})
    assert objects.at(plane_at(0), 2, 6) is record
    assert objects.at(plane_at(1), 2, 6) is None
    # of two objects of this label it is not known whose it is
    write(objects, record_of(square(20, 20)), label=1)
    assert objects.at(plane_at(0), 2, 6) is None


def test_area_of_a_redone_object_includes_what_was_painted(
    objects, monkeypatch
):
    # counted in several parts
    monkeypatch.setattr(object_store, 'PART', 500)
    objects.target.table = pd.DataFrame({'index': [9], 'area': [5]})
    write(objects, record_of(square(0, 0)), label=2)
    areas = objects.target.table.set_index('index')['area']
    assert areas[2] == 16
    with objects.step('more') as step:
        for label in (3, 4):
            mask = square(20, 5 * label)
            step.paint(plane_at(0), mask, label)
            step.put(record_of(mask, number=label, label=label))
    objects.undo()
    objects.undo()
    objects.target.data[1, :3, :3] = 2
    objects.target.data[2, :2, -2:] = 4
    objects.target.edited.emit({2: 9, 4: 4})
    objects.redo()
    objects.redo()
    areas = objects.target.table.set_index('index')['area']
    assert areas.to_dict() == {9: 5, 2: 16 + 9, 3: 16, 4: 16 + 4}


def test_planes_of_a_closed_image_are_let_go(objects):
    write(objects, record_of(square(0, 0)))
    both = write(objects, record_of(square(10, 10), square(10, 10)))
    objects.delete(1)
    objects.forget_planes(lambda plane: plane.geometry == 0)
    assert list(objects[both.number].views) == [plane_at(1).place]
    objects.undo()
    # the pixels are back, but nobody knows what was asked
    assert pixels(objects, 1) == 16
    assert objects.get(1) is None


def test_painted_objects_are_so_when_another_image_is_closed(objects):
    write(objects, record_of(square(0, 0)))
    write(objects, record_of(square(10, 10), square(10, 10)))
    objects.target.data[1, 20:25, 20:25] = 1
    objects.target.data[1, 30:35, 30:35] = 2
    objects.note_painted({1, 2})
    # of object 2 a part is left, of object 1 all
    for gone in (2, 0):
        objects.forget_planes(lambda plane, z=gone: plane.geometry == z)
        assert all(map(objects.is_painted, objects))
    objects.delete(2)
    assert pixels(objects, 2, 1) == 0


def test_mask_of_a_label_is_its_connected_part_however_large():
    target = FakeTarget((1, 600, 500), np.uint16)
    target.data[0, 100:500, 50:450] = 3
    target.data[0, 520:530, 0:10] = 3
    plane = plane_at(0, (600, 500))
    mask = mask_of_label(target, plane, 300, 300)
    assert mask.box == (100, 50, 500, 450)
    assert mask.data.all()
    assert mask_of_label(target, plane, 0, 0) is None
    assert mask_of_label(target, plane, -5, 9000) is None
    target.data[0] = 7
    assert mask_of_label(target, plane, 0, 0).box == (0, 0, 600, 500)


def test_only_objects_that_lose_pixels_are_compared(objects, monkeypatch):
    write(objects, record_of(square(0, 0)))
    write(objects, record_of(square(0, 10)))
    compared = []

    def shared_area(one, other):
        compared.append(other.box)
        return 0

    monkeypatch.setattr(records, 'shared_area', shared_area)
    write(objects, record_of(square(0, 12)))
    assert compared == [(0, 10, 4, 14)]


def test_label_of_an_object_without_pixels_is_not_given_again(objects):
    write(objects, record_of(square(0, 0)))
    second = write(objects, record_of(square(0, 10)))
    objects.target.data[objects.target.data == second.label] = 0
    third = write(objects, record_of(square(0, 20)))
    assert [record.label for record in objects] == [1, 2, 3]
    assert third.number == 3
    staged = objects.stage()
    assert staged.free_label() == 4


def test_labels_that_a_job_reserved_are_not_given_to_others(objects):
    first = objects.reserve_labels(3)
    step = objects.begin('3 prompts')
    other = write(objects, record_of(square(0, 0)))
    assert (first, other.label) == (1, 4)
    assert objects.stage().free_label() == 5
    # nor that of an object whose pixels were erased
    objects.target.data[objects.target.data == other.label] = 0
    with pytest.raises(LabelsError, match='Labels 3 to 5 are not free'):
        objects.reserve_labels(3, first=3)
    step.finish()
    objects.undo()
    # the job is over, and left no label
    assert objects.free_label() == 1


def test_steps_in_an_array_that_was_replaced_stay(objects):
    record = write(objects, record_of(square(30, 30)))
    write(objects, record_of(square(10, 10)))
    objects.target.data = objects.target.data[:1, :20, :20].copy()
    assert objects.undo() is None
    assert pixels(objects, record.label + 1) == 16
    write(objects, record_of(square(0, 0)))
    assert objects.undo() is not None
    assert objects.undo() is None
    assert objects.redo() is not None
    assert pixels(objects, record.label + 2) == 16


def test_a_step_of_many_writes_is_undone_in_one(objects, monkeypatch):
    before = objects.target.data.copy()
    record = record_of(*(square(3 * z, 3 * z) for z in range(4)))
    write(objects, record)
    written = objects.target.data.copy()
    changes = []

    def note(indices, values):
        changes.append(len(values))
        objects.target.data[indices] = values

    objects.target.few = 10**6
    monkeypatch.setattr(objects.target, 'write', note)
    objects.undo()
    assert np.array_equal(objects.target.data, before)
    objects.redo()
    assert np.array_equal(objects.target.data, written)
    assert changes == [64, 64]


def test_mean_areas_over_times_are_empty_when_pixels_change(objects):
    target = objects.target
    first = write(objects, record_of(square(0, 0), square(0, 0)))
    target.data[0, 20:24, :4] = target.data[1, 20:24, :4] = 9
    measured = {'index': [1, 9], 'area': 16.0, 'times': 2, 't0': 0, 't1': 2}
    target.set_features(pd.DataFrame(measured))

    def rows():
        table = target.features().set_index('index').sort_index()
        return table[['area', 'times']].fillna('').to_numpy().tolist()

    before = rows()
    write(objects, record_of(square(20, 2)))
    assert rows()[:2] == [before[0], ['', '']]
    objects.undo()
    assert rows() == before
    larger = record_of(square(0, 0, 6), square(0, 0), number=1, label=1)
    write(objects, larger, first)
    assert rows() == [['', ''], before[1]]
    objects.undo()
    assert rows() == before
    target.data[0, 20, 0] = 0
    target.edited.emit({9: -1})
    assert rows() == [before[0], ['', '']]
