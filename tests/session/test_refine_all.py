"""*Refine all*: labels of any program, one undoable step, replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import FIRST, FakeTarget, blobs, oracle_session

import napari_mobilesam as nm
from napari_mobilesam.session.files.script_check import is_replay_script
from napari_mobilesam.session.objects.mask_text import mask_from
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.replay_code import body
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.types import SegmentationError


@pytest.fixture
def session():
    session = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    yield session
    session.close()


def draw(session, z=0):
    """Put labels 3 and 7 around the squares, three pixels too large."""
    session.scene.objects(True)
    data = session.scene.target.data
    data[z, 13:43, 17:47] = 3
    data[z, 53:83, 69:107] = 7
    return data


@pytest.mark.slow
def test_rough_labels_are_refined_as_one_step(session):
    data = draw(session)
    before = data.copy()
    result = session.refine()
    assert (result.refined, result.total, result.complete) == (2, 2, True)
    assert result.text == 'Refined 2 of 2 objects.'
    for label in (3, 7):
        true = (blobs() > 100) & (before[0] == label)
        found = data[0] == label
        assert true.sum() / (before[0] == label).sum() < 0.7
        assert (found & true).sum() / (found | true).sum() > 0.8
    after = data.copy()
    (change,) = result.changes
    row, column = change.corner
    height, width = change.before.shape
    part = (0, slice(row, row + height), slice(column, column + width))
    assert np.array_equal(change.before, before[part])
    assert np.array_equal(change.after, after[part])
    assert session.undo() == 'refining 2 objects'
    assert np.array_equal(data, before)
    session.redo()
    assert np.array_equal(data, after)


@pytest.mark.slow
def test_same_as_the_function(session):
    data = draw(session)
    labels, table = nm.refine_labels(
        blobs(),
        data[0],
        session._engine.model('oracle'),
        contrast_limits=(0, 255),
    )
    result = session.refine()
    assert np.array_equal(data[0], labels)
    assert [r.refined for r in result.refinements] == [*table['refined']]


@pytest.mark.slow
def test_objects_can_be_reviewed_and_taken_back(session):
    draw(session)
    session.refine()
    record = session.next_uncertain()
    assert record.label == 3
    assert record.score == pytest.approx(0.97)
    assert record.origin == 'labels'
    # the other mask is the one before
    session.choose(1)
    session.accept()
    assert (session.scene.target.data[0] == 3).sum() == 900


@pytest.mark.slow
def test_rows_keep_what_others_wrote(session):
    draw(session)
    session.scene.target.table = pd.DataFrame(
        {
            'index': [3, 7],
            'class': ['a', ''],
            'area': [900, 1140],
            'perimeter': [116, 132],
        }
    )
    session.refine()
    rows = session.scene.target.table.set_index('index')
    assert rows.loc[3, 'class'] == 'a'
    # what was measured before is true no more
    pixels = session.scene.target.data[0]
    assert rows['area'].tolist() == [(pixels == n).sum() for n in (3, 7)]
    assert rows['perimeter'].isna().all()
    assert rows['refined'].tolist() == [True, True]
    assert rows['score'].tolist() == pytest.approx([0.97, 0.97])
    assert (rows['overlap'] > 0.5).all()
    session.undo()
    rows = session.scene.target.table.set_index('index')
    assert rows['area'].tolist() == [900, 1140]
    assert 'refined' not in rows or rows['refined'].isna().all()


@pytest.mark.slow
def test_an_object_of_the_session_is_replaced_by_a_better_one_only(session):
    session.click(*FIRST)
    session.accept()
    before = session.scene.target.data.copy()
    result = session.refine()
    assert result.refined == 0
    assert 'the better predicted IoU, 0.97' in result.text
    assert np.array_equal(session.scene.target.data, before)
    assert session.open(1).prompts == 1


def test_labels_that_are_locked_meanwhile_end_the_job(session):
    draw(session)
    told = []
    session.failed.connect(lambda text, topic: told.append(text))
    session.refining.finished.connect(lambda result: told.append(result.text))

    def lock(*args):
        session.scene.target.editable = False

    session.background.progress.connect(lock)
    with pytest.raises(SegmentationError, match='read-only'):
        session.refine()
    assert told == [
        '“labels” is read-only: choose another one.',
        'Stopped. Refined 0 of 2 objects.',
    ]


def test_labels_that_are_removed_meanwhile_end_the_job(session):
    data = draw(session)
    before, objects = data.copy(), session.scene.objects(False)
    session.background.progress.connect(
        lambda *args: session.refining.release(objects)
    )
    with pytest.raises(SegmentationError, match='labels were removed'):
        session.refine()
    assert np.array_equal(data, before)


def test_objects_are_known_by_their_labels(session):
    # three objects of one label, whose numbers are other labels
    session.editor.options = WriteOptions('keep', label=5)
    for _ in range(3):
        session.click(*FIRST)
        session.accept()
    numbers = [record.number for record in session.scene.objects(False)]
    assert numbers == [5, 6, 7]
    data = session.scene.target.data
    data[0, 53:83, 69:88] = 6
    data[0, 53:83, 88:107] = 7
    session.refine()
    found = {r.number: r.label for r in session.scene.objects(False)}
    assert found == {5: 5, 6: 5, 7: 5, 8: 6, 9: 7}
    # these are known when they are refined again
    session.refine()
    assert len(session.scene.objects(False)) == 5


@pytest.mark.slow
def test_threshold_becomes_objects(session):
    session.scene.objects(True)
    data = session.scene.target.data
    data[0] = np.where(blobs() > 100, 255, 0)
    result = session.refine()
    assert result.total == 2
    assert sorted(np.unique(data[0])) == [0, 1, 2]
    # new numbers alone are no changes
    for change in result.changes:
        both = (change.before > 0) & (change.after > 0)
        assert np.array_equal(change.before[both], change.after[both])
    assert result.changes
    session.undo()
    assert sorted(np.unique(data[0])) == [0, 255]


@pytest.mark.slow
def test_pixels_painted_meanwhile_stay(session):
    data = draw(session)
    model = session._engine.model('oracle')
    model.go.clear()
    session.start_refinement()
    data[0, 13:43, 17:20] = 9
    model.go.set()
    session.finish()
    assert (data[0, 13:43, 17:20] == 9).all()
    assert 0 < (data[0] == 3).sum() < 700


def test_objects_deleted_meanwhile_do_not_come_back(session):
    data = draw(session)
    # the refined object is larger than this
    data[0, 13:43, 17:47] = 0
    data[0, 20:36, 24:40] = 3
    model = session._engine.model('oracle')
    model.go.clear()
    results = []
    session.refining.finished.connect(results.append)
    session.start_refinement()
    session.navigation.open_at(session.scene.plane(), *FIRST)
    session.editor.delete()
    model.go.set()
    session.finish()
    assert results[0].text == 'Refined 1 of 2 objects.'
    assert not (data == 3).any()
    assert [record.label for record in session.scene.objects(False)] == [7]


def test_cancelling_keeps_what_is_done(session):
    data = draw(session)
    results = []
    session.refining.finished.connect(results.append)
    session.background.progress.connect(session.background.cancel)
    session.start_refinement()
    session.finish()
    (result,) = results
    assert not result.complete
    assert result.text.startswith('Stopped. Refined 1 of 2 objects')
    assert (data[0] == 7).sum() == 1140
    session.undo()
    assert (data[0] == 3).sum() == 900


def test_a_model_that_fails_changes_nothing(session):
    data = draw(session)
    before = data.copy()

    def fail(*args, **kwargs):
        raise RuntimeError('no memory')

    session._engine.predict = fail
    with pytest.raises(SegmentationError, match='no memory'):
        session.refine()
    assert np.array_equal(data, before)
    assert session.undo() is None


def test_the_script_needs_no_labels_of_others(session):
    draw(session)
    session.refine(least_overlap=0.4)
    expected = session.scene.target.data.copy()
    lines = body(session.scene.objects(False).history.replay_codes)
    assert is_replay_script(lines)
    code = '\n'.join(line for line in lines if 'use_model' not in line)
    other = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    names = {
        'session': other,
        'scene': other.scene,
        'mask_from': mask_from,
        'WriteOptions': type(other.editor.options),
        'CleanUp': type(other.prompting.clean_up),
    }
    exec(code, names)
    assert np.array_equal(other.scene.target.data, expected)
    other.close()


def test_planes_are_refined_each_by_itself(session):
    draw(session)
    data = draw(session, 1)
    done = []
    session.refining.finished.connect(done.append)
    session.start_refinement(planes=session.scene.stack())
    session.finish()
    assert done[0].total == 4
    records = list(session.scene.objects(False))
    assert [(r.label, len(r.views)) for r in records] == [(3, 2), (7, 2)]
    assert (data[1] == 3).sum() < 800
    session.undo()
    assert (data[1] == 3).sum() == 900


def test_without_labels(session):
    with pytest.raises(SegmentationError, match='No labels to refine'):
        session.refine()
    session.scene.objects(True)
    with pytest.raises(SegmentationError, match='no object on these planes'):
        session.refine()
    draw(session)
    session.scene.target.editable = False
    with pytest.raises(LabelsError, match='read-only'):
        session.refine()


def test_too_many_parts_for_the_type(session):
    session.scene.objects(True)
    target = session.scene.target
    target.data = np.zeros((2, 96, 128), np.uint8)
    target.data[0, ::2, ::2] = 255
    with pytest.raises(LabelsError, match='3072 objects: convert it'):
        session.refine()


def test_an_open_object_is_closed_or_has_to_be(session):
    """Its mask is the one of before: deleting it left pixels."""
    session.click(*FIRST)
    session.accept()
    session.open(1)
    session.refine()
    assert session.editor.record.empty
    session.open(1)
    session.click(17, 21)
    with pytest.raises(SegmentationError, match='open and changed'):
        session.refine()
    session.accept()
    session.refine()


def test_an_object_of_other_labels_stays_open(session, monkeypatch):
    session.click(*FIRST)
    session.accept()
    session.open(1)
    session.click(17, 21)
    others = Objects(FakeTarget(session.scene.images.shape, np.uint16))
    others.target.data[0, 58:78, 74:102] = 1
    monkeypatch.setattr(session.scene, 'objects', lambda create: others)
    session.refine()
    assert session.editor.base.number == 1
    assert session.editor.modified


@pytest.mark.slow
def test_what_changed_while_it_was_open_is_deleted_with_it(session):
    session.click(*FIRST)
    session.accept()
    session.open(1)
    objects = session.scene.objects(False)
    record, plane = objects[1], session.scene.plane()
    view = record.view(plane)
    mask = replace(
        view.mask, data=np.ones((30, 30), bool), box=(14, 18, 44, 48)
    )
    candidates = replace(view.candidates, masks=(mask,), chosen=0)
    changed = record.with_view(replace(view, candidates=candidates))
    with objects.step('growing') as step:
        step.paint(plane, mask, 1)
        step.put(changed)
    session.delete()
    assert not session.scene.target.data.any()
