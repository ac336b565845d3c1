"""Propagation of an object through a stack."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FIRST, blobs, oracle_session, plane_at, point, square

from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.prompts.propagation import (
    PropagatedPlane,
    PropagationEnd,
    PropagationOptions,
    SkippedPlane,
    asked,
    innermost_point,
    propagate,
)
from napari_mobilesam.types import BlankImageError, Mask, SegmentationError

PLANES = [plane_at(z) for z in range(10)]


class Model:
    """Model that answers with the square of a plane, if that is prompted."""

    def __init__(self, squares):
        self.squares = squares
        self.asked = []

    def __call__(self, plane, prompts, previous):
        self.asked.append(plane.geometry)
        mask = self.squares.get(plane.geometry)
        if mask is None:
            return None
        row, column = prompts.points[0]
        row0, column0, row1, column1 = mask.box
        inside = row0 <= row < row1 and column0 <= column < column1
        return ObjectCandidates((mask,)) if inside else None


def key(z, mask):
    return ObjectView(
        PLANES[z], point(*innermost_point(mask)), ObjectCandidates((mask,))
    )


def run(squares, keys, **options):
    model = Model(squares)
    found = list(
        propagate(
            model,
            PLANES,
            {z: key(z, squares[z]) for z in keys},
            PropagationOptions(**options),
        )
    )
    reached = sorted(s.number for s in found if isinstance(s, PropagatedPlane))
    ended = {
        s.number: s.reason for s in found if isinstance(s, PropagationEnd)
    }
    return reached, ended, model


def drifting(planes, step=1, **options):
    return {z: square(10 + step * z, 10, 8, **options) for z in planes}


def test_both_directions_until_the_object_is_gone():
    reached, ended, _ = run(drifting(range(2, 8)), [4])
    assert reached == [2, 3, 5, 6, 7]
    assert ended == {8: 'no mask', 1: 'no mask'}


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [('forward', [5, 6, 7, 8, 9]), ('backward', [0, 1, 2, 3])],
)
def test_one_direction(direction, expected):
    reached, ended, _ = run(drifting(range(10)), [4], direction=direction)
    assert reached == expected
    assert ended == {}
    assert asked([4], 10, PropagationOptions(direction)) == expected


@pytest.mark.parametrize('most', ['1', 2.5, -1])
def test_numbers_of_planes_are_whole(most):
    with pytest.raises(SegmentationError, match='most is'):
        PropagationOptions(most=most)


def test_planes_at_most():
    reached, _, model = run(drifting(range(10)), [4], most=2)
    assert reached == [2, 3, 5, 6]
    assert sorted(set(model.asked)) == asked(
        [4], 10, PropagationOptions(most=2)
    )


def test_it_ends_where_the_score_drops():
    squares = drifting(range(10))
    squares[6] = square(16, 10, 8, score=0.2)
    reached, ended, _ = run(squares, [4], direction='forward')
    assert reached == [5]
    assert ended == {6: 'score 0.20, below 0.5'}


def test_it_ends_where_the_area_jumps():
    squares = drifting(range(10))
    squares[6] = square(10, 4, 20)
    reached, ended, _ = run(squares, [4], direction='forward', min_overlap=0.0)
    assert reached == [5]
    assert ended == {6: 'area × 6.2, above × 2.5'}


def test_it_ends_where_the_area_shrinks():
    squares = drifting(range(10))
    squares[6] = square(18, 12, 4)
    reached, ended, _ = run(squares, [4], direction='forward', min_overlap=0.0)
    assert reached == [5]
    assert ended == {6: 'area × 0.25, below × 0.4'}


def test_it_ends_at_another_object():
    squares = drifting(range(10))
    squares[6] = square(18, 13, 8)
    reached, ended, _ = run(squares, [4], direction='forward')
    assert reached == [5]
    assert ended == {6: 'overlap 0.24, below 0.3'}


def test_gap_is_filled_from_both_ends():
    # the object moves too far in the middle for one end alone
    squares = {z: square(0, 0, 8) for z in range(5)}
    squares |= {z: square(20, 20, 8) for z in range(5, 10)}
    reached, ended, model = run(squares, [1, 8], direction='forward')
    assert reached == [2, 3, 4, 5, 6, 7, 9]
    assert ended == {}
    assert model.asked.count(4) == 1


def test_one_end_goes_on_where_the_other_is_lost():
    squares = drifting(range(10), step=0)
    squares[7] = square(30, 30, 8)
    squares[8] = square(10, 10, 8)
    reached, _, _ = run(squares, [1, 8], direction='forward')
    assert reached == [2, 3, 4, 5, 6, 9]


def test_keys_beside_each_other_need_nothing():
    _, _, model = run(drifting(range(3, 6)), [3, 4, 5], most=0)
    assert model.asked == []


def test_nothing_to_start_from_says_so():
    with pytest.raises(SegmentationError, match='no mask to propagate'):
        list(
            propagate(
                Model({}), PLANES, {2: ObjectView(PLANES[2], point(1, 1))}
            )
        )


def test_innermost_point_is_in_the_mask_even_of_a_ring():
    rows, columns = np.mgrid[-10:11, -10:11]
    ring = (np.hypot(rows, columns) < 10) & (np.hypot(rows, columns) > 5)
    row, column = innermost_point(Mask(ring, (5, 7, 26, 28), 1.0))
    assert ring[int(row) - 5, int(column) - 7]


def test_iou_of_cropped_masks():
    assert mask_iou(square(0, 0, 4), square(0, 0, 4)) == 1
    assert mask_iou(square(0, 0, 4), square(2, 2, 4)) == 4 / 28
    assert mask_iou(square(0, 0, 4), square(9, 9, 4)) == 0


# in a session


def moving_stack():
    stack = np.full((8, 96, 128), 10, np.uint8)
    for z in range(1, 7):
        stack[z] = np.roll(blobs(), 3 * z, axis=1)
    return stack


@pytest.fixture
def session():
    session = oracle_session(moving_stack())
    session.scene.shown = 3
    yield session
    session.close()


@pytest.fixture
def patient():
    """A session whose jobs deliver nothing until it is asked to finish."""
    session = oracle_session(moving_stack(), deliver=lambda function: None)
    session.scene.shown = 3
    yield session
    session.close()


def filled(session, label=1):
    data = session.scene.target.data
    return [z for z in range(len(data)) if (data[z] == label).any()]


@pytest.mark.slow
def test_click_propagate_undo_redo(session):
    session.click(FIRST[0], FIRST[1] + 9)
    result = session.propagate()
    assert result.reached == (1, 2, 4, 5, 6)
    assert filled(session) == [1, 2, 3, 4, 5, 6]
    assert 'to 5 planes, 1 to 2, 4 to 6. Propagation' in result.text
    assert session.undo() == 'propagating object 1'
    assert filled(session) == [3]
    assert session.undo() == 'object 1'
    assert filled(session) == []
    session.redo()
    session.redo()
    assert filled(session) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_object_stays_open_to_be_corrected_and_is_repaired_from_there(session):
    session.click(FIRST[0], FIRST[1] + 9)
    session.propagate(direction='forward')
    plane = session.scene.plane_at(5)
    assert session.editor.view(plane).automatic
    # half of it is too much
    session.editor.ask(
        plane, point(*innermost_point(session.editor.view(plane).mask))
    )
    session.finish(20)
    view = session.editor.view(plane)
    assert not view.automatic
    assert view.previous is not None
    session.box(16, 35, 28, 59, plane)
    result = session.propagate(direction='forward')
    # the plane between is filled again, and what comes after follows
    assert result.reached == (4, 6)
    record = session.editor.record
    assert [view.automatic for view in record.views.values()].count(False) == 2
    assert session.scene.target.data[5].any()


def test_object_stays_closed_beside_another_image(session, monkeypatch):
    session.click(FIRST[0], FIRST[1] + 9)
    monkeypatch.setattr(session.scene, 'is_of_image', lambda plane: False)
    assert session.propagate().reached
    assert session.editor.record.empty


@pytest.mark.slow
def test_a_script_leaves_out_what_was_painted_by_hand(session):
    session.scene.shown = 3
    data = session.scene.objects(True).target.data
    # the object of the plane
    data[3][session.scene.images[3] > 100] = 5
    place = np.argwhere(data[3])[0]
    assert session.open(at=tuple(place)) is not None
    result = session.propagate()
    assert result.reached
    script = session.script()
    assert 'session.propagate' not in script
    assert 'cannot be repeated by this script' in script


def test_planes_it_does_not_reach_any_more_are_given_up(session):
    session.click(FIRST[0], FIRST[1] + 9)
    session.propagate()
    session.scene.images[6] = 10
    session.clear_cache()
    session.propagate()
    assert filled(session) == [1, 2, 3, 4, 5]
    session.undo()
    assert filled(session) == [1, 2, 3, 4, 5, 6]


def test_objects_that_it_covers_go(session):
    session.scene.shown = 5
    session.click(FIRST[0], FIRST[1] + 15)
    session.accept()
    session.scene.shown = 3
    session.click(FIRST[0], FIRST[1] + 9)
    result = session.propagate()
    assert result.covered == (1,)
    assert result.text.endswith('It covers all of object 1.')
    assert [record.number for record in session.scene.objects(False)] == [2]
    session.undo()
    assert 1 in session.scene.objects(False)


def test_objects_of_which_most_is_covered_are_named(session):
    session.click(FIRST[0], FIRST[1] + 9)
    session.propagate()
    session.accept()
    session.click(FIRST[0], FIRST[1] + 9)
    result = session.propagate(most=2)
    assert filled(session) == [6]
    assert result.covered == ()
    assert result.shrunken == (1,)
    assert 'It covers most of object 1' in result.text


def test_planes_on_which_nothing_is_written_are_named(session):
    session.editor.options = WriteOptions(policy='keep')
    session.click(FIRST[0], FIRST[1] + 9)
    session.accept()
    session.scene.target.data[4:6] = 9
    session.open(1)
    result = session.propagate(direction='forward')
    assert result.reached == (6,)
    assert 'nothing was written on plane 4, 5: other labels' in result.text
    planes = {session.scene.plane_at(z).place for z in (3, 6)}
    assert result.record.views.keys() == planes


def test_an_object_of_other_labels_is_propagated_in_those(session):
    scene = session.scene
    session.click(FIRST[0], FIRST[1] + 9)
    session.accept()
    first, scene._objects = scene._objects, None
    session.click(68, 97)
    session.accept()
    second = scene._objects
    scene.undoables = lambda: [first, second]
    # both have an object 1
    before = second[1]
    scene._objects = first
    session.open(1)
    scene._objects = second
    result = session.propagate()
    assert second[1] is before
    assert len(first[1].views) == 1 + len(result.reached) > 1
    assert result.objects is first
    assert session.editor.objects is first


@pytest.mark.slow
def test_cancel_keeps_what_was_done_as_one_step(session):
    session.click(FIRST[0], FIRST[1] + 9)
    session.background.progress.connect(
        lambda *args: session.background.cancel()
    )
    result = session.propagate()
    assert not result.complete
    assert result.text.startswith('Stopped.')
    assert 1 <= len(result.reached) < 5
    session.undo()
    assert filled(session) == [3]


def test_session_that_is_closed_keeps_what_was_done(session):
    session.click(FIRST[0], FIRST[1] + 9)
    record = session.accept()
    finished = []
    session.propagation.finished.connect(finished.append)
    session.open(record.number)
    session.start_propagation()
    session.close()
    session.finish(20)
    assert len(finished) == 1
    assert not finished[0].complete


def test_clicks_are_answered_meanwhile(session):
    session.click(FIRST[0], FIRST[1] + 9)
    answered = []
    session.prompting.answered.connect(answered.append)
    plane = session.scene.plane_at(2)

    def click(*args):
        if not answered and session.editor.record.empty:
            session.editor.ask(plane, point(68, 94))

    session.background.progress.connect(click)
    session.propagate()
    assert answered
    # somebody works on another object: it is not closed
    assert session.editor.record.number == 0
    assert session.editor.record.masks


@pytest.mark.slow
@pytest.mark.parametrize('aside', [False, True])
def test_planes_reached_while_it_was_open_stay(patient, aside):
    session = patient
    session.click(68, 97)
    session.accept()
    session.click(FIRST[0], FIRST[1] + 9)
    session.accept()
    session.open(2)
    session.start_propagation()
    session.open(2)
    session.editor.add(session.scene.plane(), np.array([[20.0, 33.0]]))
    if aside:
        session.open(1)
    session.finish(20)
    if aside:
        session.reject()
    assert session.editor.record.number == 2
    record = session.accept()
    assert filled(session, 2) == [1, 2, 3, 4, 5, 6]
    assert len(record.views) == 6
    assert len(record.view(session.scene.plane()).prompts.points) == 2


@pytest.fixture
def propagating(patient):
    """A session in which object 1 is being propagated, and is open."""
    patient.click(FIRST[0], FIRST[1] + 9)
    patient.accept()
    patient.assign_class('nucleus', 1)
    patient.open(1)
    patient.start_propagation()
    assert patient.wait(20)
    # the answers are there, but not delivered
    patient.open(1)
    return patient


def test_an_object_is_not_written_while_it_is_propagated(propagating):
    session, editor = propagating, propagating.editor
    objects = session.scene.objects(False)
    before = session.scene.target.data.copy()
    session.assign_class('cell')
    opened = editor.record
    for write in (
        editor.accept,
        editor.delete,
        lambda: session.assign_class('cell', 1),
        lambda: session.rename_class('nucleus', 'cell'),
        lambda: session.remove_class('nucleus'),
        lambda: objects.delete(1),
    ):
        with pytest.raises(LabelsError, match='Object 1 is being propagated'):
            write()
        assert editor.record is opened
        assert np.array_equal(session.scene.target.data, before)
    session.finish(20)
    assert filled(session) == [1, 2, 3, 4, 5, 6]
    # it is as it was before, step by step
    editor.accept()
    assert objects[1].class_name == 'cell'
    session.undo()
    assert session.undo() == 'propagating object 1'
    assert np.array_equal(session.scene.target.data, before)
    assert len(objects[1].views) == 1


def test_labelled_pixels_are_not_deleted_while_they_are_propagated(patient):
    session = patient
    session.scene.objects(True)
    session.scene.target.data[3, 60:76, 88:106] = 5
    session.navigation.open_at(session.scene.plane(), 68, 97)
    session.start_propagation()
    session.navigation.open_at(session.scene.plane(), 68, 97)
    with pytest.raises(LabelsError, match='Object 5 is being propagated'):
        session.editor.delete()
    session.reject()
    session.finish(20)


def test_others_are_accepted_while_an_object_is_propagated(propagating):
    session = propagating
    plane, objects = session.scene.plane(), session.scene.objects(False)
    session.reject()
    # even one that covers it on this plane
    session.editor.record = ObjectRecord().with_view(objects[1].view(plane))
    assert session.editor.accept().number == 2
    session.finish(20)
    assert [each.number for each in objects] == [1, 2]
    assert filled(session) == [1, 2, 4, 5, 6]


def test_an_object_that_others_overwrite_meanwhile_is_removed(propagating):
    session = propagating
    plane, objects = session.scene.plane(), session.scene.objects(False)
    base, results = objects[1], []
    before = session.scene.target.data.copy()
    session.propagation.finished.connect(results.append)
    session.reject()
    session.editor.record = ObjectRecord().with_view(base.view(plane))
    session.editor.accept()
    # before any plane is written
    session.background.abandon()
    assert results[0].removed
    assert 'Others have overwritten all of it' in results[0].text
    assert [each.number for each in objects] == [2]
    assert session.scene.target.table['index'].tolist() == [2]
    while session.undo() != 'object 2':
        pass
    assert objects[1] is base
    assert np.array_equal(session.scene.target.data, before)
    while session.redo() is not None:
        pass
    assert [each.number for each in objects] == [2]
    assert filled(session, 2) == [3]


def test_propagation_ends_with_its_image(propagating):
    session, results = propagating, []
    session.propagation.finished.connect(results.append)
    session.forget_planes(lambda plane: False)
    assert not results
    session.forget_planes(lambda plane: True)
    assert not results[0].complete
    session.finish(20)
    assert filled(session) == [3]


def test_what_cannot_be_propagated_says_why(session):
    with pytest.raises(SegmentationError, match='No object is open'):
        session.propagate()
    session.editor.ask(session.scene.plane(), point(2, 2))
    with pytest.raises(SegmentationError, match='no mask to accept'):
        session.propagate()


class ModelWithBlanks(Model):
    """Model for planes of which some have no finite pixel."""

    blank = (3, 6)

    def __call__(self, plane, prompts, previous):
        if plane.geometry in self.blank:
            raise BlankImageError('The image has no finite pixel.')
        return super().__call__(plane, prompts, previous)


@pytest.mark.parametrize('keys', [[4], [0, 9], [2, 4, 7]])
def test_blank_planes_are_skipped(keys):
    squares = drifting(range(10), step=0)
    model = ModelWithBlanks(squares)
    found = list(
        propagate(model, PLANES, {z: key(z, squares[z]) for z in keys})
    )
    numbers = {
        kind: sorted(s.number for s in found if isinstance(s, kind))
        for kind in (PropagatedPlane, SkippedPlane, PropagationEnd)
    }
    assert numbers[SkippedPlane] == [3, 6]
    assert numbers[PropagatedPlane] == sorted(
        set(range(10)) - {3, 6} - set(keys)
    )
    assert not numbers[PropagationEnd]


def test_an_unknown_direction_is_refused():
    with pytest.raises(SegmentationError, match='choose one of both'):
        PropagationOptions(direction='sideways')
