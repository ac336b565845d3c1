"""The open object: prompts, candidates, accept, reject, reopen."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session, point, square

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.objects.writing import (
    covered_objects,
    write_object,
)
from napari_mobilesam.types import Mask, PromptError, Prompts


@pytest.fixture
def session():
    session = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    yield session
    session.close()
    assert session.wait(20)


def collect(signal):
    values = []
    signal.connect(lambda *args: values.append(args))
    return values


def labels(session, z=0):
    return session.scene.target.data[z]


def view_of(plane, mask):
    return ObjectView(plane, Prompts(), ObjectCandidates((mask,)))


def ask(session, *places, z=0):
    plane = session.scene.plane_at(z)
    for place in places:
        session.editor.add(plane, np.array([place], float))
    assert session.finish(20)
    return plane


@pytest.mark.slow
def test_one_click_offers_three_masks_the_best_chosen(session):
    plane = ask(session, FIRST)
    view = session.editor.view(plane)
    assert len(view.candidates.masks) == 3
    assert view.mask.score == max(m.score for m in view.candidates.masks)
    session.editor.cycle(plane)
    chosen = session.editor.view(plane).candidates.chosen
    session.editor.cycle(plane, -1)
    assert session.editor.view(plane).candidates.chosen != chosen
    session.editor.choose(plane, -1)
    assert session.editor.view(plane).candidates.chosen == 2


@pytest.mark.slow
def test_a_second_prompt_gets_one_mask_refined_from_the_chosen(session):
    plane = ask(session, FIRST)
    session.editor.choose(plane, 2)
    first = session.editor.view(plane).candidates
    ask(session, (20, 24))
    view = session.editor.view(plane)
    assert len(view.candidates.masks) == 1
    assert view.previous.masks == (first.masks[2],)
    assert np.array_equal(view.previous.logits[0], first.logits[2])


def test_moved_points_start_anew_and_the_same_ones_as_before(session):
    plane = ask(session, FIRST, (20, 24))
    editor = session.editor
    previous = editor.view(plane).previous
    editor.ask(plane, editor.view(plane).prompts)
    session.finish(20)
    assert editor.view(plane).previous is previous
    moved = Prompts(np.array([[29.0, 32.0], [20, 24]]), np.ones(2, np.int64))
    editor.ask(plane, moved)
    session.finish(20)
    assert editor.view(plane).previous is None


@pytest.mark.slow
def test_no_feeding_back_if_that_is_not_wanted(session):
    session.editor.options = replace(session.editor.options, refine=False)
    plane = ask(session, FIRST, (20, 24))
    assert session.editor.view(plane).previous is None


@pytest.mark.slow
def test_accept_writes_and_opens_the_next(session):
    accepted = collect(session.editor.accepted)
    ask(session, FIRST)
    record = session.editor.accept()
    assert accepted == [(record,)]
    assert session.editor.record.empty
    assert (labels(session) == 1).sum() > 400
    ask(session, SECOND)
    assert session.editor.accept().label == 2


@pytest.mark.slow
def test_accept_waits_for_an_answer_on_its_way(session):
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    session.editor.add(session.scene.plane(), np.array([FIRST], float))
    assert session.editor.accept() is None
    gate.set()
    session.finish(20)
    assert session.editor.record.empty
    assert labels(session).max() == 1


def test_accept_of_nothing_found_says_so_when_the_answer_is_there(session):
    failed = collect(session.failed)
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    session.editor.add(session.scene.plane(), np.array([[2.0, 2.0]]))
    session.editor.accept()
    gate.set()
    session.finish(20)
    assert failed[0][1] == 'prompts'
    assert 'found nothing here' in failed[0][0]
    # its prompts are not lost
    assert len(session.editor.record.views) == 1


def test_invalid_prompts_leave_the_answer_on_its_way(session):
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    plane = session.scene.plane()
    session.editor.add(plane, np.array([FIRST], float))
    with pytest.raises(PromptError, match='outside the image'):
        session.editor.add(plane, np.array([[500.0, 500]]))
    with pytest.raises(PromptError, match='outside the image'):
        session.predict(plane, [point(500, 500)])
    gate.set()
    session.finish(20)
    assert session.editor.view(plane).mask is not None


def test_another_request_only_delays_the_answer_to_the_open_object(session):
    plane = session.scene.plane_at(0)
    session.editor.add(plane, np.array([FIRST], float))
    session.predict(plane, [point(*SECOND)])
    assert session.finish(20)
    assert not session.editor.pending
    assert session.editor.record.masks


def test_nothing_to_accept_or_choose(session):
    with pytest.raises(PromptError, match='no mask to accept'):
        session.editor.accept()
    with pytest.raises(PromptError, match='no mask on z 0'):
        session.editor.choose(session.scene.plane(), 1)
    with pytest.raises(PromptError, match='not in the labels yet'):
        session.editor.delete()


@pytest.mark.slow
def test_unusable_prompts_change_nothing(session):
    plane = ask(session, FIRST)
    before = session.editor.record
    with pytest.raises(PromptError, match='outside the image'):
        session.editor.add(plane, np.array([[-9.0, 3.0]]))
    assert session.editor.record is before
    assert not session.editor.pending


def test_no_prompt_left_takes_the_object_off_the_plane(session):
    plane = ask(session, FIRST)
    session.editor.ask(plane, Prompts())
    assert session.editor.record.empty
    assert not session.editor.pending


@pytest.mark.slow
def test_answers_on_two_planes_both_arrive(session):
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    for z in (0, 1):
        plane = session.scene.plane_at(z)
        session.editor.add(plane, np.array([FIRST], float))
    gate.set()
    session.finish(20)
    assert len(session.editor.record.masks) == 2
    record = session.editor.accept()
    assert labels(session, 0).max() == labels(session, 1).max() == 1
    assert record.prompts == 2


@pytest.mark.slow
def test_reject_forgets_the_prompts(session):
    ask(session, FIRST)
    session.editor.reject()
    assert session.editor.record.empty
    assert session.scene.target is None


@pytest.mark.slow
def test_selected_object_comes_back_with_prompts_and_candidates(session):
    plane = ask(session, FIRST)
    session.editor.choose(plane, 1)
    record = session.editor.accept()
    opened = collect(session.editor.opened)
    assert session.navigation.open_at(plane, *FIRST) is record
    assert opened == [(record,)]
    view = session.editor.view(plane)
    assert view.prompts.points.tolist() == [list(FIRST)]
    assert len(view.candidates.masks) == 3
    assert view.candidates.chosen == 1
    assert session.navigation.open_at(plane, 2, 2) is None


@pytest.mark.slow
def test_correction_replaces_the_object_in_one_step(session):
    plane = ask(session, FIRST)
    record = session.editor.accept()
    before = labels(session).copy()
    session.navigation.open(record.number)
    session.editor.add(
        plane, np.array([[36.0, 40.0]]), np.array([0]), (16, 20, 30, 44)
    )
    session.finish(20)
    corrected = session.editor.accept()
    assert (corrected.number, corrected.label) == (1, 1)
    assert 0 < (labels(session) == 1).sum() < (before == 1).sum()
    assert session.navigation.undo() == 'change of object 1'
    assert np.array_equal(labels(session), before)
    assert session.scene.objects(False)[1] is record


@pytest.mark.slow
def test_object_looked_at_and_kept_writes_nothing(session):
    ask(session, FIRST)
    session.editor.accept()
    labels(session)[20, 24] = 9
    session.navigation.open(1)
    session.editor.accept()
    assert labels(session)[20, 24] == 9
    assert len(session.scene.objects(False).history) == 1


def test_walking_on_keeps_what_was_changed(session):
    for place in (FIRST, SECOND):
        ask(session, place)
        session.editor.accept()
    assert session.navigation.next().number == 1
    plane = session.scene.plane()
    session.editor.add(plane, box=(16, 20, 30, 44))
    session.finish(20)
    area = session.editor.record.masks[0].area
    written = labels(session).copy()
    assert session.navigation.next().number == 2
    # kept aside, and neither written nor lost
    assert np.array_equal(labels(session), written)
    session.editor.reject()
    assert session.editor.record.number == 1
    session.editor.accept()
    assert (labels(session) == 1).sum() == area
    assert session.navigation.next().number == 2
    session.editor.reject()
    assert session.navigation.next_uncertain() is None


def test_an_answer_that_was_on_its_way_comes_when_it_is_open_again(session):
    for place in (FIRST, SECOND):
        ask(session, place)
        session.editor.accept()
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    before = session.navigation.open(1).masks[0]
    plane = session.scene.plane()
    session.editor.add(plane, np.array([(20.0, 24.0)]))
    session.navigation.open(2)
    session.navigation.open(1)
    assert session.editor.pending
    gate.set()
    assert session.finish(20)
    assert len(session.editor.view(plane).prompts.points) == 2
    assert session.editor.record.masks[0] is not before


@pytest.mark.slow
def test_delete_erases_and_undo_brings_back(session):
    ask(session, FIRST)
    session.editor.accept()
    session.navigation.open(1)
    assert session.editor.delete() == 1
    assert not labels(session).any()
    assert session.navigation.undo() == 'deleting object 1'
    assert labels(session).any()
    assert session.navigation.redo() == 'deleting object 1'
    assert not labels(session).any()


def test_an_object_that_cannot_be_deleted_stays_open(session):
    ask(session, FIRST)
    session.editor.accept()
    session.navigation.open(1)
    session.editor.set_class('cell')
    session.scene.target.editable = False
    with pytest.raises(LabelsError, match='read-only'):
        session.editor.delete()
    assert session.editor.record.class_name == 'cell'
    assert session.editor.modified


@pytest.mark.slow
def test_undo_of_the_open_object_closes_it(session):
    ask(session, FIRST)
    session.editor.accept()
    session.navigation.open(1)
    session.navigation.undo()
    assert session.editor.record.empty


def test_undo_closes_an_object_that_labelled_pixels_have_become(session):
    plane = session.scene.plane()
    session.scene.objects(True)
    labels(session)[18:38, 22:42] = 5
    session.navigation.open_at(plane, *FIRST)
    ask(session, (17, 21))
    session.editor.accept()
    session.navigation.open(5)
    session.navigation.undo()
    assert session.editor.record.empty
    assert (labels(session) == 5).sum() == 400


@pytest.mark.slow
def test_pixels_painted_by_hand_become_an_object(session):
    plane = session.scene.plane()
    session.scene.objects(True)
    labels(session)[18:38, 22:42] = 5
    record = session.navigation.open_at(plane, *FIRST)
    assert (record.label, record.origin) == (5, 'labels')
    assert session.editor.view(plane).prompts.region.box == (18, 22, 38, 42)
    ask(session, (17, 21))
    kept = session.editor.accept()
    assert kept.label == 5
    assert (labels(session) == 5).sum() > 400
    assert session.scene.objects(False)[5] is kept


def test_labelled_pixels_keep_what_is_known_of_them(session):
    """Such as those that a series has saved, whose prompts are gone."""
    plane, objects = session.scene.plane(), session.scene.objects(True)
    labels(session)[18:38, 22:42] = 5
    known = {'score': 0.9, 'stability': 0.8, 'area': 400, 'perimeter': 76.0}
    objects.target.set_features(pd.DataFrame([{'index': 5, **known}]))
    session.navigation.open_at(plane, *FIRST)
    # unchanged: nothing is written
    assert session.editor.accept().label == 5
    assert session.editor.record.empty
    assert not len(objects.history)
    session.navigation.open_at(plane, *FIRST)
    session.editor.set_class('cell')
    session.editor.accept()
    (row,) = objects.target.features().to_dict('records')
    assert {name: row[name] for name in known} == known
    assert row['class'] == 'cell'


def test_painted_pixels_can_be_deleted_as_an_object(session):
    plane = session.scene.plane()
    session.scene.objects(True)
    labels(session)[18:38, 22:42] = 5
    session.navigation.open_at(plane, *FIRST)
    session.editor.delete()
    assert not labels(session).any()
    session.navigation.undo()
    assert (labels(session) == 5).sum() == 400


def test_another_clean_up_asks_again(session):
    plane = ask(session, FIRST)
    image = session.scene.images
    before = session.editor.view(plane).mask.area
    session.prompting.clean_up = CleanUp(smooth=True)
    assert session.editor.pending
    session.finish(20)
    assert session.editor.view(plane).mask.area < before
    assert image is session.scene.images


@pytest.mark.parametrize('waiting', [False, True])
def test_the_chosen_mask_stays_so_with_another_clean_up(session, waiting):
    plane = ask(session, FIRST)
    best = session.editor.view(plane).candidates.chosen
    session.editor.cycle(plane)
    chosen = session.editor.view(plane).candidates.chosen
    gate = threading.Event()
    session._worker.submit('gate', lambda: gate.wait(20) and None)
    session.prompting.clean_up = CleanUp(min_area=5)
    if waiting:
        session.editor.accept()
    gate.set()
    assert session.finish(20)
    if not waiting:
        session.editor.accept()
    view = session.scene.objects(False)[1].view(plane)
    assert view.candidates.chosen == chosen != best


@pytest.mark.parametrize('late', [False, True])
def test_objects_that_wait_for_their_masks_are_cleaned_up(session, late):
    gate = threading.Event()
    session._worker.submit('gate', gate.wait)
    chosen = CleanUp(smooth=True)
    if not late:
        session.prompting.clean_up = chosen
    session.editor.add(session.scene.plane(), np.array([FIRST], float))
    assert session.editor.accept() is None
    session.prompting.clean_up = chosen
    gate.set()
    assert session.finish(20)
    ask(session, FIRST, z=1)
    session.editor.accept()
    assert np.array_equal(
        np.roll(labels(session) == 1, 4, axis=1), labels(session, 1) == 2
    )


@pytest.mark.slow
def test_class_of_new_and_old_objects(session):
    session.editor.set_class('nucleus')
    ask(session, FIRST)
    assert session.editor.accept().class_name == 'nucleus'
    session.navigation.open(1)
    session.editor.set_class('debris')
    assert session.editor.accept().class_name == 'debris'
    table = session.scene.target.table
    assert table['class'].tolist() == ['debris']


def test_changes_to_an_object_are_kept_when_its_class_changes(session):
    session.assign_class('nucleus')
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    # the first one is kept aside while its class is renamed
    session.open(1)
    session.click(20, 24)
    session.open(2)
    session.rename_class('nucleus', 'cell')
    session.undo()
    session.redo()
    session.reject()
    assert session.editor.record.number == 1
    # and gets another one while it is open
    session.assign_class('debris', 1)
    assert session.accept().class_name == 'debris'
    assert session.scene.objects(False)[1].prompts == 2
    # what was undone is closed
    session.open(1)
    session.assign_class('dirt', 1)
    session.undo()
    assert not session.editor.record.empty
    session.undo()
    assert session.editor.record.empty


def test_sessions_without_labels_say_so(session):
    session.scene.objects = lambda create: None
    ask(session, FIRST)
    with pytest.raises(LabelsError, match='no labels to write'):
        session.editor.accept()
    with pytest.raises(LabelsError, match='no objects yet'):
        session.navigation.open(1)
    assert session.navigation.open_at(session.scene.plane(), *FIRST) is None
    assert session.navigation.next() is None
    assert session.navigation.undo() is None


def test_failing_model_leaves_the_editor_usable():
    calls = []

    def load(name):
        calls.append(name)
        if len(calls) == 1:
            raise MemoryError
        from viewer.oracle import OracleSam

        return OracleSam()

    session = oracle_session([blobs()])
    session._engine._load_model = load
    failed = collect(session.failed)
    plane = ask(session, FIRST)
    assert 'Not enough memory' in failed[0][0]
    assert not session.editor.pending
    session.editor.ask(plane, point(*FIRST))
    session.finish(20)
    assert session.editor.record.masks
    session.close()


def test_a_painted_label_that_is_opened_is_written_where_it_is(session):
    session.scene.objects(True)
    labels(session)[20:36, 20:44] = 5
    assert session.open(at=(28, 32)) is not None
    session.click(28, 40)
    find = session.editor._find_objects

    def only_known(create):
        # other labels have been chosen meanwhile
        assert not create
        return find(create)

    session.editor._find_objects = only_known
    session.accept()
    assert len(session.scene.objects(False)) == 1


def test_an_object_of_labelled_pixels_has_no_number_until_it_is_written(
    session,
):
    """Another one may get its label as its number meanwhile."""
    session.scene.objects(True)
    data = session.scene.target.data
    data[0, 16:40, 20:44] = data[1, 16:40, 24:48] = 5
    objects = session.scene.objects(False)
    session.open(at=FIRST)
    session.click(20, 24)
    assert session.accept().number == 5
    session.scene.shown = 1
    session.open(at=FIRST)
    session.click(20, 28)
    session.batch([Prompts(box=np.array([55.0, 75, 81, 109]))])
    assert [record.number for record in objects] == [5, 6]
    written = data[1] == 6
    record = session.accept()
    assert (record.number, record.label) == (7, 5)
    assert np.array_equal(data[1] == 6, written)
    assert objects[6].label == 6


def test_parts_of_a_label_are_told_apart(session):
    session.scene.objects(True)
    labels(session)[16:40, 20:44] = labels(session)[56:80, 72:104] = 1
    session.open(at=FIRST)
    session.click(20, 24)
    changed = session.editor.record
    assert session.open(at=SECOND).masks[0].box == (56, 72, 80, 104)
    # the first one was kept aside
    assert session.open(at=FIRST).views == changed.views
    session.delete()
    assert (labels(session) == 1).sum() == 24 * 32


def test_labelled_pixels_that_have_become_an_object_meanwhile(session):
    session.scene.objects(True)
    labels(session)[20:36, 20:44] = 5
    session.start_refinement()
    session.open(at=FIRST)
    session.click(20, 24)
    objects = session.scene.objects(False)
    assert [record.number for record in objects] == [5]
    session.accept()
    assert [record.number for record in objects] == [5]


def test_thin_rims_of_objects_beneath_go_with_the_step(session):
    """What a mask that is a little smaller leaves is not an object."""
    objects, plane = session.scene.objects(True), session.scene.plane()
    for number, side in ((1, 30), (2, 12)):
        mask = square(40 * number - 30, 10, side)
        views = {plane.place: view_of(plane, mask)}
        write_object(
            objects, ObjectRecord(number, number, views), None, 'overwrite'
        )
    before = labels(session).copy()
    # a rim of one pixel is left of the first, half of the second
    for number, box in ((3, (11, 11, 39, 39)), (4, (50, 10, 56, 22))):
        data = np.ones((box[2] - box[0], box[3] - box[1]), bool)
        views = {plane.place: view_of(plane, Mask(data, box, 0.9, 0.9))}
        record = ObjectRecord(number, number, views)
        write_object(objects, record, None, 'overwrite')
        assert covered_objects(objects) == ([1] if number == 3 else [])
    assert set(np.unique(labels(session))) == {0, 2, 3, 4}
    assert (labels(session) == 2).sum() == 72
    assert [record.number for record in objects] == [2, 3, 4]
    objects.undo()
    objects.undo()
    assert np.array_equal(labels(session), before)
    assert [record.number for record in objects] == [1, 2]


def test_labels_of_classes_follow_the_class_of_an_edited_object(session):
    session.editor.options = WriteOptions(label=4, class_name='alpha')
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    first, second = (r.number for r in session.scene.objects(False))
    session.open(first)
    session.assign_class('beta')
    session.editor.options = WriteOptions(label=5, class_name='beta')
    session.accept()
    data = labels(session)
    assert (data[FIRST], data[SECOND]) == (5, 4)
    table = session.scene.target.table.set_index('index')
    assert table['class'].to_dict() == {4: 'alpha', 5: 'beta'}
    session.undo()
    assert data[FIRST] == 4
    assert session.scene.objects(False)[second].class_name == 'alpha'


@pytest.mark.parametrize('preserved', [False, True])
def test_an_object_that_others_cover_is_refused(session, preserved):
    """Also one that is edited: it stays as it was."""
    session.click(*FIRST)
    session.accept()
    session.click(*SECOND)
    session.accept()
    before = labels(session).copy()
    if preserved:
        session.scene.target.preserved = True
    else:
        session.editor.options = WriteOptions('keep')
    for number in (0, 2):
        session.click(*FIRST) if not number else session.open(number)
        if number:
            session.prompt(point(*FIRST))
        with pytest.raises(LabelsError, match='Nothing was written'):
            session.accept()
        assert np.array_equal(labels(session), before)
        assert not session.editor.record.empty
        session.reject()
    assert len(session.scene.objects(False)) == 2


def test_rims_stay_where_existing_labels_are_kept(session):
    objects, plane = session.scene.objects(True), session.scene.plane()
    for number, side, policy in ((1, 20, 'overwrite'), (2, 24, 'keep')):
        views = {plane.place: view_of(plane, square(10, 10, side))}
        write_object(
            objects, ObjectRecord(number, number, views), None, policy
        )
    assert (labels(session) == 1).sum() == 400
    assert (labels(session) == 2).sum() == 24**2 - 400
