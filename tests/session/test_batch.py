"""Batches: one object per prompt, overlaps, one undoable step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import blobs, oracle_session, point, square

from napari_mobilesam.session.images.planes import Viewport
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.prompts.batch import BatchItem
from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import PromptError, Prompts


@pytest.fixture
def session():
    session = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    yield session
    session.close()


def box(*corners):
    return Prompts(box=np.array(corners, float))


def area(session, label, z=0):
    return int((session.scene.target.data[z] == label).sum())


def test_labels_in_order_and_one_undo(session):
    result = session.batch(
        [point(68, 88), box(16, 20, 40, 44), point(2, 2), point(-4, 0)]
    )
    assert [record.label for record in result.records] == [1, 2]
    assert result.first_label == 1
    assert result.missing[2] == 'the model found nothing.'
    assert 'outside the image' in result.missing[3]
    assert result.text.startswith('2 of 4 prompts gave an object. Prompt 3:')
    assert area(session, 1) > area(session, 2) > 400
    assert session.undo() == '2 objects'
    assert not session.scene.target.data.any()
    assert len(session.scene.target.table) == 0
    session.redo()
    assert session.scene.target.table['index'].tolist() == [1, 2]


@pytest.mark.slow
def test_numbers_go_on_above_those_there_are(session):
    session.click(28, 32)
    session.accept()
    result = session.batch([point(68, 88)])
    assert result.first_label == 2
    assert area(session, 2) > 400


def test_a_script_gives_objects_the_labels_that_they_had(session):
    # by hand, which a script does not repeat
    labels = session.scene.objects(True).target.data
    labels[0, 90:94, 2:6] = 1
    session.batch([point(68, 88), point(28, 32)])
    session.open(2)
    session.delete()
    again = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    exec(session.script(), {'new_session': lambda: again})  # noqa: S102
    assert again.scene.target.data[0, 28, 32] == labels[0, 28, 32] == 3
    assert again.scene.target.data[0, 68, 88] == labels[0, 68, 88] == 0
    with pytest.raises(LabelsError, match='Labels 3 to 3 are not free'):
        again.batch([point(68, 88)], first_label=3)
    # an object that was accepted while a batch ran stands before it
    assert again.batch([point(68, 88)], first_label=2).first_label == 2
    again.close()


@pytest.mark.parametrize(
    ('overlaps', 'winner'), [('first', 1), ('last', 2), ('best', 2)]
)
def test_overlaps_by_the_policy(session, overlaps, winner):
    session.editor.options = WriteOptions()
    prompts = [box(16, 20, 40, 44), box(16, 20, 30, 44)]
    scores = iter([0.6, 0.9])
    predict = session._engine.predict

    def scored(*args):
        answer = predict(*args)
        answer.scores[:] = next(scores)
        return answer

    session._engine.predict = scored
    session.batch(prompts, overlaps)
    top = session.scene.target.data[0, 20, 30]
    assert top == winner


def test_object_that_others_cover_is_none(session):
    result = session.batch([box(16, 20, 40, 44), point(28, 32)], 'first')
    assert len(result.records) == 1
    assert result.missing == {
        1: 'other objects cover it, or it lies outside the labels.'
    }


def test_areas_of_a_batch_are_those_of_its_pixels(session):
    target = session.scene.objects(True).target
    target.data[0, 90:94, 2:6] = 7
    target.table = pd.DataFrame({'index': [7], 'area': [16]})
    session.batch([box(16, 20, 40, 44), box(16, 20, 30, 30)], 'first')
    session.batch([box(30, 20, 40, 44)], 'last')
    areas = target.table.set_index('index')['area'].to_dict()
    labels = np.unique(target.data[target.data > 0]).tolist()
    assert areas == {n: area(session, n) for n in labels}
    session.undo()
    session.undo()
    assert target.table['area'].tolist() == [16]


def test_an_object_that_was_covered_during_the_batch_is_none(session):
    objects = session.scene.objects(True)

    def cover(number, *progress):
        """Write over the first object, before the second one."""
        if number == 1:
            with objects.step('of another') as step:
                step.paint(session.scene.plane(), square(0, 0, 60), 99)

    session.background.progress.connect(cover)
    result = session.batch([box(16, 20, 40, 44), point(68, 88)])
    assert list(result.missing) == [0]
    assert [each.label for each in session.scene.objects(False)] == [2]
    assert session.scene.target.table['index'].tolist() == [2]


def test_the_time_left_is_told(session, monkeypatch):
    monkeypatch.setattr(TimeLeft, 'text', lambda *steps: f', {steps[1:]}')
    told = []
    session.background.progress.connect(lambda *args: told.append(args[-1]))
    session.batch([box(16, 20, 40, 44), point(68, 88)])
    assert told == ['Object 1 of 2, (1, 2)', 'Object 2 of 2, (2, 2)']


def test_earlier_objects_that_are_covered_go(session):
    session.click(28, 32)
    session.accept()
    result = session.batch([box(16, 20, 40, 44), point(68, 88)])
    assert [record.number for record in session.scene.objects(False)] == [2, 3]
    assert result.covered == (1,)
    assert result.text.endswith('They cover all of object 1.')
    assert session.scene.target.table['index'].tolist() == [2, 3]
    session.undo()
    assert [record.number for record in session.scene.objects(False)] == [1]
    assert area(session, 1) == 24 * 24


@pytest.mark.parametrize('policy', ['keep', 'overwrite', 'preserved'])
def test_objects_of_the_batch_that_are_covered_go(session, policy):
    if policy == 'preserved':
        session.scene.objects(True).target.preserved = True
    else:
        session.editor.options = WriteOptions(policy)
    # the second is the same blob, and covers the first
    result = session.batch([box(16, 20, 30, 44), point(28, 32)], 'last')
    assert list(result.missing) == [0]
    assert [record.label for record in session.scene.objects(False)] == [2]
    assert session.scene.target.table['index'].tolist() == [2]


@pytest.mark.slow
@pytest.mark.parametrize('policy', ['keep', 'overwrite'])
def test_labels_from_before_are_for_the_write_policy(session, policy):
    session.scene.objects(True)
    session.scene.target.data[0, 20:30, 24:34] = 9
    session.editor.options = WriteOptions(policy)
    session.batch([point(36, 40)])
    assert area(session, 9) == (100 if policy == 'keep' else 0)


@pytest.mark.slow
def test_items_bring_their_own_plane_and_each_is_embedded_once(session):
    first, second = session.scene.plane_at(0), session.scene.plane_at(1)
    items = [
        BatchItem(second, point(28, 36)),
        BatchItem(first, point(28, 32)),
        BatchItem(second, point(68, 92)),
    ]
    session.batch(items)
    model = session._engine.model('oracle')
    once = model.encoded
    assert area(session, 2, 0) > 400
    assert area(session, 1, 1) > 400
    assert area(session, 3, 1) > 400
    session.batch(items)
    assert model.encoded == once


@pytest.mark.slow
def test_the_zoom_of_the_viewer_does_not_matter(session):
    plane = session.scene.plane()
    frames = []
    for pixel in (0.001, 1000.0):
        seen = replace(plane, viewport=Viewport((28, 32), pixel))
        result = session.batch([BatchItem(seen, point(28, 32))])
        (record,) = result.records
        frames.append(record.masks[0].crop_box)
    assert frames[0] == frames[1]


@pytest.mark.slow
def test_semantic_labels_and_classes(session):
    session.editor.options = WriteOptions(label=5, class_name='cell')
    result = session.batch([point(28, 32), point(68, 88)])
    assert [record.label for record in result.records] == [5, 5]
    assert len({record.number for record in result.records}) == 2
    assert {record.class_name for record in result.records} == {'cell'}


def test_labels_have_to_hold_the_label_of_a_batch(session):
    limit = session.scene.objects(True).target.limit
    session.editor.options = WriteOptions(label=limit + 1)
    with pytest.raises(LabelsError, match='choose one from 1 to'):
        session.batch([point(28, 32)])
    # where no label is free, one that is given can be written
    session.scene.target.data[0, 0, 0] = limit
    session.editor.options = WriteOptions(label=5)
    session.batch([point(28, 32), point(68, 88)])
    assert area(session, 5) > 1000


def test_a_batch_needs_a_class_for_numbers_of_classes(session):
    session.editor.options = WriteOptions(by_class=True)
    with pytest.raises(LabelsError, match='Choose a class'):
        session.batch([point(28, 32)])
    assert session.scene.objects(False) is None or not len(
        session.scene.objects(False)
    )


@pytest.mark.slow
def test_cancel_keeps_what_was_done(session):
    session.background.progress.connect(
        lambda *args: session.background.cancel()
    )
    result = session.batch([point(28, 32), point(68, 88), point(68, 89)])
    assert not result.complete
    assert len(result.records) < 3
    session.undo()
    assert not session.scene.target.data.any()


def test_nothing_to_do_says_so(session):
    with pytest.raises(PromptError, match='No boxes or points'):
        session.batch([])
