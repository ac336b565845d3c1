"""Output of a run: written, selected again, edited by the user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import FakeTarget, plane_at, square

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session import EverythingRequest, EverythingResult
from napari_mobilesam.session.everything.everything_messages import (
    Extent,
    PlaneMask,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.rewrite import prompts_of
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError
from napari_mobilesam.types import EverythingParameters, Mask

MASKS = {
    1: square(2, 3, score=0.9),
    2: square(12, 13, score=0.8),
    3: square(22, 23, score=0.7),
}
INSIDE = {1: (0, 3, 4), 2: (0, 13, 14), 3: (0, 23, 24)}


def result(*labels, shape=(40, 50)):
    """Return the result of a run with the masks of these labels."""
    picture = np.zeros(shape, np.uint16)
    for label in labels:
        row0, column0, row1, column1 = MASKS[label].box
        picture[row0:row1, column0:column1] = label
    table = pd.DataFrame(
        {
            'label': list(labels),
            'score': [MASKS[label].score for label in labels],
            'area': 16,
            'plane': 0,
            'planes': 1,
        }
    ).astype({'label': int})
    return EverythingResult(
        EverythingRequest(1, (), EverythingParameters(), 'x'),
        (picture,),
        table,
        {label: (PlaneMask(0, MASKS[label]),) for label in labels},
        Selection(),
        Extent(),
        3,
        True,
        1.0,
    )


def other_result(*labels):
    """Return another selection of the run of `result`."""
    return replace(result(*labels), selection=Selection(0.1 * len(labels)))


def record_of(mask, number):
    """Return the record of an object that a click has made."""
    view = ObjectView(plane_at(), prompts_of(mask), ObjectCandidates((mask,)))
    return ObjectRecord(number, number, {view.plane.place: view})


@pytest.fixture
def target():
    return FakeTarget(dtype=np.uint16)


@pytest.fixture
def objects(target):
    return Objects(target)


@pytest.fixture
def output(objects):
    made = EverythingOutput(objects, [plane_at()])
    yield made
    made.close()


def shown(target):
    return {label: int(target.data[at]) for label, at in INSIDE.items()}


def test_objects_are_written_with_records_and_rows(output, objects, target):
    output.write(result(1, 2))
    assert shown(target) == {1: 1, 2: 2, 3: 0}
    assert [record.label for record in objects] == [1, 2]
    record = objects[1]
    assert record.origin == 'everything'
    assert record.masks == [MASKS[1]]
    assert not record.reviewed
    rows = target.table.set_index('index')
    assert rows.loc[2, 'score'] == pytest.approx(0.8)
    assert rows.loc[2, 'area'] == 16
    assert output.numbers == {1, 2}


@pytest.mark.parametrize('overwrite', [False, True])
def test_areas_are_those_of_the_pixels(objects, target, overwrite):
    """Of objects of the run, and of others, that cover each other."""
    with objects.step('of others') as step:
        step.paint(plane_at(), square(2, 5), 5)
        rows = {'index': [5], 'area': [16], 'perimeter': [12]}
        step.describe({5}, pd.DataFrame(rows))
    output = EverythingOutput(objects, [plane_at()], overwrite=overwrite)
    output.write(result(1, 2))
    rows = target.table.set_index('index')
    assert set(rows.index) == set(np.unique(target.data)) - {0}
    for label, area in rows['area'].items():
        assert area == np.count_nonzero(target.data == label)
    assert np.isnan(rows['perimeter'][5]) == overwrite
    output.close()


def test_labels_follow_those_that_are_there(output, target):
    target.data[3, 0, 0] = 7
    output.write(result(1, 2))
    assert shown(target) == {1: 8, 2: 9, 3: 0}


def test_another_selection_takes_the_place(output, objects, target):
    output.write(result(1, 2))
    output.write(result(2, 3))
    assert shown(target) == {1: 0, 2: 2, 3: 3}
    assert [record.number for record in objects] == [2, 3]
    assert sorted(target.table['index']) == [2, 3]
    output.write(result(1, 2, 3))
    assert shown(target) == {1: 1, 2: 2, 3: 3}


def test_each_selection_is_one_step(output, objects, target):
    output.write(result(1, 2))
    output.write(result(2, 3))
    assert objects.undo() == 'change of the filters'
    assert shown(target) == {1: 1, 2: 2, 3: 0}
    assert [record.number for record in objects] == [1, 2]
    output.write(result(1, 3))
    assert shown(target) == {1: 1, 2: 0, 3: 3}
    objects.undo()
    objects.undo()
    assert not target.data.any()
    assert len(target.table) == 0


def test_undone_selections_are_no_deletions(output, objects, target):
    output.write(result(1, 2))
    output.write(result(2))
    output.write(result(3))
    objects.undo()
    output.write(result(1, 2, 3))
    assert shown(target) == {1: 1, 2: 2, 3: 3}


def test_steps_with_the_same_key_become_one(output, objects, target):
    output.write(result(1, 2, 3))
    output.write(result(1, 2), 'slider')
    output.write(result(1), 'slider')
    objects.undo()
    assert shown(target) == {1: 1, 2: 2, 3: 3}


def test_each_slider_is_one_step_even_if_it_changes_no_label(
    output, objects, target
):
    def moved(key, iou, *labels):
        chosen = Selection(iou)
        output.write(replace(result(*labels), selection=chosen), key)

    restored = []
    output.selection_restored.connect(restored.append)
    output.write(result(1, 2, 3))
    # one slider; only its second position hides an object
    moved('iou', 0.1, 1, 2, 3)
    moved('iou', 0.2, 1, 2)
    moved('area', 0.3, 1, 2)
    moved('area', 0.3, 1, 2)
    assert len(objects.history) == 3
    for act in (objects.undo, objects.undo, objects.redo, objects.redo):
        assert act() == 'change of the filters'
    ious = [selection.predicted_iou for selection in restored]
    assert ious == [0.2, None, 0.2, 0.3]
    assert shown(target) == {1: 1, 2: 2, 3: 0}
    # a selection that is written again is none
    output.write(replace(result(1, 2), selection=Selection(0.3)))
    assert len(objects.history) == 3


def test_what_was_reviewed_stays(output, objects, target):
    output.write(result(1, 2))
    objects.review(1)
    output.write(result(3))
    assert shown(target) == {1: 1, 2: 0, 3: 3}
    assert objects[1].reviewed
    objects.undo()
    objects.undo()
    output.write(result(3))
    assert shown(target) == {1: 0, 2: 0, 3: 3}


def test_what_was_deleted_does_not_come_back(output, objects, target):
    output.write(result(1, 2))
    objects.delete(1)
    output.write(result(1, 2, 3))
    assert shown(target) == {1: 0, 2: 2, 3: 3}
    objects.undo()
    objects.undo()
    # the deletion was taken back, so it is like any other
    output.write(result(1, 2, 3))
    assert shown(target) == {1: 1, 2: 2, 3: 3}


def test_what_was_corrected_stays_corrected(output, objects, target):
    output.write(result(1, 2))
    plane, larger = plane_at(), square(2, 3, 8)
    with objects.step('correction') as step:
        record = objects[1]
        view = replace(
            record.view(plane), candidates=ObjectCandidates((larger,))
        )
        step.erase(record)
        step.paint(plane, larger, record.label)
        step.put(record.with_view(view))
    output.write(result(1, 3))
    assert np.count_nonzero(target.data[0] == 1) == 64
    output.write(result(3))
    assert np.count_nonzero(target.data[0] == 1) == 64


def test_what_was_painted_by_hand_stays(output, objects, target):
    output.write(result(1, 2, 3))
    for at, label in ((INSIDE[1], 0), ((0, 35, 35), 2)):
        touched = {int(target.data[at]), label} - {0}
        target.data[at] = label
        target.edited.emit(dict.fromkeys(touched, 0))
    painted = target.data.copy()
    output.write(result())
    assert set(np.unique(target.data)) == {0, 1, 2}
    output.write(result(1, 2, 3))
    assert np.array_equal(target.data, painted)
    # a later run knows nothing of it
    objects.undo()
    objects.undo()
    objects.undo()
    again = EverythingOutput(objects, [plane_at()])
    again.write(result(1, 2, 3))
    again.write(result(3))
    assert len(objects) == 1
    again.close()


@pytest.mark.parametrize(
    ('side', 'back', 'place'),
    [(4, False, None), (3, True, None), (4, False, 'another channel')],
)
def test_hidden_objects_stay_hidden_beneath_others(
    output, objects, target, side, back, place
):
    output.write(result(1, 2))
    output.write(result(2))
    other = square(2, 3, side)
    with objects.step('object 9') as step:
        step.paint(plane_at(), other, 9)
        record = record_of(other, 9)
        view = next(iter(record.views.values()))
        view = replace(view, plane=replace(view.plane, place=place))
        step.put(replace(record, views={view.plane.place: view}))
    output.write(result(1, 2))
    assert (1 in objects) is back
    assert (target.data == 1).any() == back
    objects.delete(9)
    output.write(result(2))
    output.write(result(1, 2))
    assert np.count_nonzero(target.data == 1) == 16


def test_labels_of_others_stay(output, target):
    target.data[0, 2:4, 3:5] = 99
    output.write(result(1, 2))
    assert np.count_nonzero(target.data == 99) == 4
    output.write(result(2))
    assert np.count_nonzero(target.data == 99) == 4
    assert np.count_nonzero(target.data) == 4 + 16


def test_labels_of_others_are_covered_if_that_is_wanted(objects, target):
    target.data[0, 2:4, 3:5] = 99
    output = EverythingOutput(objects, [plane_at()], overwrite=True)
    output.write(result(1))
    assert not (target.data == 99).any()
    objects.undo()
    assert np.count_nonzero(target.data == 99) == 4
    output.close()


@pytest.mark.slow
@pytest.mark.parametrize('staged', [False, True])
@pytest.mark.parametrize('place', [None, 'another channel'])
def test_objects_that_are_overwritten_go(
    output, objects, target, staged, place
):
    output.write(result(1, 2, 3))
    # a rim of one pixel at a side is not an object
    rim = Mask(np.ones((12, 13), bool), (10, 10, 22, 23), 0.9, 0.9)
    with objects.step('object 9') as step:
        step.paint(plane_at(), rim, 9)
        step.put(record_of(rim, 9))
    before, rows = target.data.copy(), target.table.copy()
    plane = replace(plane_at(), place=place)
    over = EverythingOutput(objects, [plane], overwrite=True)
    found = result(1)
    found.pictures[0][10:22, 10:22] = 1
    wide = Mask(np.ones((20, 20), bool), (2, 2, 22, 22), 0.9, 0.9)
    found = replace(found, masks={1: (PlaneMask(0, wide),)})
    if staged:
        prepared = over.prepare(found)
        prepared.work()
        assert over.finish(prepared)
    else:
        over.write(found)
    assert [record.number for record in objects] == [3, 10]
    assert target.table['index'].tolist() == [3, 10]
    assert set(np.unique(target.data)) == {0, 3, 10}
    objects.undo()
    assert np.array_equal(target.data, before)
    assert target.table.sort_values('index')['index'].tolist() == sorted(
        rows['index']
    )
    assert [record.number for record in objects] == [1, 2, 3, 9]
    over.close()


def test_labels_that_overwritten_objects_share_keep_their_row(objects, target):
    with objects.step('two objects of a class') as step:
        for number in (1, 3):
            record = replace(
                record_of(MASKS[number], number), label=4, class_name='alpha'
            )
            step.paint(plane_at(), MASKS[number], 4)
            step.put(record)
    over = EverythingOutput(objects, [plane_at()], overwrite=True)
    over.write(result(1))
    assert [record.label for record in objects] == [4, 5]
    classes = target.table.set_index('index')['class'].to_dict()
    assert classes.keys() == {4, 5}
    assert classes[4] == 'alpha'
    over.close()


def test_semantic_objects_share_a_label(objects, target):
    target.data[3, 0, 0] = 4
    output = EverythingOutput(objects, [plane_at()], semantic=True)
    output.write(result(1, 2))
    assert shown(target) == {1: 5, 2: 5, 3: 0}
    first, second = objects
    assert first.number != second.number
    objects.review(first.number)
    output.write(result(3))
    assert shown(target) == {1: 5, 2: 0, 3: 5}
    objects.delete(first.number)
    output.write(result(1, 2))
    assert shown(target) == {1: 0, 2: 5, 3: 0}
    output.close()


def test_full_labels_are_left_alone(objects, target):
    target.data = target.data.astype(np.uint8)
    target.data[3, 0, 0] = 254
    output = EverythingOutput(objects, [plane_at()])
    with pytest.raises(LabelsError, match='full'):
        output.write(result(1, 2))
    assert np.count_nonzero(target.data) == 1
    output.write(result(1))
    assert shown(target) == {1: 255, 2: 0, 3: 0}
    output.close()


def test_labels_beside_the_image(objects, target):
    target.offset = (100, 100)
    output = EverythingOutput(objects, [plane_at()])
    with pytest.raises(LabelsError, match='does not cover'):
        output.write(result(1, 2))
    assert len(objects) == 0
    output.close()


def test_objects_on_several_planes_and_linked_anew(objects, target):
    output = EverythingOutput(objects, [plane_at(0), plane_at(1)])
    pictures = [np.zeros((40, 50), np.uint16) for _ in range(2)]
    other = square(2, 3)
    pictures[0][2:6, 3:7] = pictures[1][2:6, 3:7] = 1
    both = replace(
        result(1),
        pictures=tuple(pictures),
        masks={1: (PlaneMask(0, MASKS[1]), PlaneMask(1, other))},
    )
    output.write(both)
    assert target.data[0, 3, 4] == target.data[1, 3, 4] == 1
    assert len(objects[1].views) == 2
    objects.delete(1)
    assert not target.data.any()
    objects.undo()
    alone = replace(
        both,
        pictures=(pictures[0], np.zeros_like(pictures[1])),
        masks={1: (PlaneMask(0, MASKS[1]),)},
    )
    output.write(alone)
    assert len(objects[1].views) == 1
    assert not target.data[1].any()
    objects.undo()
    output.write(alone)
    assert not target.data[1].any()
    output.close()


def test_prompts_of_a_mask():
    asked = prompts_of(replace(MASKS[1], point=(4.0, 5.0)))
    np.testing.assert_array_equal(asked.points, [[4, 5]])
    assert asked.labels.tolist() == [1]
    assert asked.box is None
    np.testing.assert_array_equal(prompts_of(MASKS[1]).box, MASKS[1].box)


def test_labels_of_hidden_objects_are_not_given_again(output, objects, target):
    output.write(result(1, 2))
    output.write(result(1))
    output.write(result(1, 3))
    assert objects.free_label() == 4
    output.write(result(1, 2, 3))
    assert shown(target) == {1: 1, 2: 2, 3: 3}
    assert sorted(record.label for record in objects) == [1, 2, 3]


def test_objects_beneath_pixels_of_a_brush_are_not_written(
    output, objects, target
):
    target.data[0, 10:20, 10:20] = 50
    output.write(result(1, 2, 3))
    assert objects.history.last.title == '2 objects'
    assert {target.data[INSIDE[n]] for n in (1, 3)} == {
        record.label for record in objects
    }
    assert set(target.table['index']) == {record.label for record in objects}
    # another selection finds the place free
    target.data[0, 10:20, 10:20] = 0
    output.write(other_result(1, 2))
    assert {target.data[INSIDE[n]] for n in (1, 2)} == {
        record.label for record in objects
    }
    assert len(objects) == 2


def test_hidden_objects_get_a_label_if_theirs_was_painted(
    output, objects, target
):
    output.write(result(1, 2))
    output.write(result(1))
    # a new label by hand, one above the highest
    target.data[0, 3:6, 40:44] = 2
    output.write(result(1, 3))
    assert (target.data[0, 3:6, 40:44] == 2).all()
    output.write(result(1, 2, 3))
    assert (target.data == 2).sum() == 12
    found = shown(target)
    assert sorted(found.values()) == [1, 3, 4]
    assert sorted(record.label for record in objects) == [1, 3, 4]
    assert sorted(target.table['index']) == [1, 3, 4]
    output.write(result(1))
    assert (target.data == 2).sum() == 12


def test_labels_of_hidden_objects_are_given_if_there_are_no_others(
    output, objects, target
):
    target.data = target.data.astype(np.uint8)
    target.data[3, 0, 0] = 252
    output.write(result(1, 2))
    output.write(result(1))
    assert objects.free_label() == 255
    assert objects.free_label(2) == 254
    output.close()
    assert objects.free_label() == 254


def test_a_run_stays_undone_whatever_follows(output, objects):
    assert not output.undone
    output.write(result(1, 2))
    assert not output.undone
    objects.undo()
    assert output.undone
    objects.redo()
    assert not output.undone
    objects.undo()
    with objects.step('another object') as step:
        step.paint(plane_at(), MASKS[3], 1)
        step.put(record_of(MASKS[3], 1))
    assert not objects.history.undone
    assert output.undone


def test_negative_labels_are_of_others(objects):
    objects.target.data = objects.target.data.astype(np.int32)
    objects.target.data[1:] = -2
    objects.target.data[0, 30:] = -1
    before = objects.target.data.copy()
    output = EverythingOutput(objects, [plane_at()])
    output.write(result(1, 2, 3))
    output.write(result())
    assert np.array_equal(objects.target.data, before)
    output.close()


def test_labels_of_a_run_that_was_undone_are_free(output, objects):
    output.write(result(1, 2))
    output.write(result(1))
    objects.undo()
    objects.undo()
    assert objects.free_label() == 1


def test_a_script_does_not_have_labels_that_follow_from_painting(
    objects, target
):
    output = EverythingOutput(objects, [plane_at()], plane_code=repr)
    output.write(result(1, 2))
    output.write(other_result(1))
    target.data[0, 3:6, 40:44] = 2
    output.write(other_result(1, 2))
    codes = [code for _, code in objects.history.replay_codes]
    assert [code is None for code in codes] == [False, False, True]
    objects.delete(3)
    assert objects.history.replay_codes[-1][1] is None
    output.close()


def test_a_script_does_not_have_a_run_above_labels_of_others(objects, target):
    target.data[3, 0, 0] = 7
    output = EverythingOutput(objects, [plane_at()], plane_code=repr)
    output.write(result(1, 2))
    assert sorted(record.label for record in objects) == [8, 9]
    # a filter of what the script does not have
    output.write(other_result(1, 2, 3))
    assert [code for _, code in objects.history.replay_codes] == [None, None]
    output.close()
