"""Session files and scripts restore all objects."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import os
import threading
import zlib

import numpy as np
import pandas as pd
import pytest
from fakes import FIRST, SECOND, FakeTarget, blobs, oracle_session
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.segmentation.scale_choice import pitch_of
from napari_mobilesam.session.files import painted as painted_files
from napari_mobilesam.session.files import (
    record_decoder,
    saving,
    saving_jobs,
    script_check,
    session_paths,
)
from napari_mobilesam.session.files.record_json import (
    RecordEncoder,
    SessionFileError,
)
from napari_mobilesam.session.files.saving import Snapshot, read, save
from napari_mobilesam.session.files.session_paths import free, home_of, saved
from napari_mobilesam.session.objects import mask_text as mask_texts
from napari_mobilesam.session.objects.mask_text import (
    array_from,
    array_text,
    mask_from,
    mask_text,
)
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.types import Mask, Prompts, SegmentationError

IMAGES = [np.roll(blobs(), 3 * z, axis=1) for z in range(4)]


@pytest.fixture
def sessions():
    """Factory of sessions on the same images; closes them."""
    made = []

    def make(images=None):
        made.append(oracle_session(IMAGES if images is None else images))
        return made[-1]

    yield make
    for session in made:
        session.close()


def work(session):
    """Make objects of all kinds."""
    session.click(*FIRST)
    session.choose(2)
    session.click(20, 24)
    session.click(60, 10, positive=False)
    session.propagate(direction='forward')
    session.box(16, 26, 30, 50, session.scene.plane_at(2))
    session.accept()
    session.click(*SECOND)
    session.accept()
    session.undo()
    session.editor.options = WriteOptions('keep', class_name='cell')
    session.batch(
        [
            Prompts(box=np.array([56, 72, 80, 104.0])),
            Prompts(box=np.array([50, 60, 80, 90.0])),
            Prompts(box=np.array([0, 0, 5, 5.0])),
        ]
    )
    session.editor.options = WriteOptions(class_name='cell')
    session.outline([(14, 18), (14, 46), (42, 46), (42, 18)])
    session.accept(label=9)
    session.open(2)
    session.delete()
    session.assign_class('nucleus', 1)
    session.prompting.clean_up = CleanUp(30, True)
    session.scene.shown = 3
    session.scribble([(60, 85), (70, 95)])
    session.accept()


def test_script_makes_the_same_labels(sessions):
    session = sessions()
    work(session)
    script = session.script()
    names = {'new_session': sessions}
    exec(compile(script, 'script.py', 'exec'), names)  # noqa: S102
    again = names['session']
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    table, expected = again.scene.target.table, session.scene.target.table
    assert table.to_dict() == expected.to_dict()
    assert again.script() == script


def test_script_leaves_out_what_was_undone_and_says_what_is_missing(sessions):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.click(*SECOND)
    session.accept()
    session.undo()
    objects = session.scene.objects(False)
    with objects.step('37 objects') as step:
        step.describe({5}, objects.rows((5,)))
    script = session.script()
    assert script.count('session.accept') == 1
    assert '# 37 objects: cannot be repeated by this script' in script


def test_script_keeps_the_scale_of_a_click(sessions):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    (view,) = session.scene.objects(False)[1].views.values()
    pitch = pitch_of(view.candidates.frame)
    assert f'scene.find(index=(0,), pitch={pitch})' in session.script()
    # and asks there, whatever the answers at other scales are
    plane = session.scene.find((0,), pitch=2 * pitch)
    session.click(*SECOND, plane=plane)
    found = session.editor.view(plane).candidates
    assert pitch_of(found.frame) == 2 * pitch
    assert session.scene.describe(plane)['pitch'] == 2 * pitch


def test_script_keeps_the_scale_of_each_of_several_clicks(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    pitch = pitch_of(
        session.editor.view(session.scene.plane()).candidates.frame
    )
    plane = session.scene.find((0,), pitch=2 * pitch)
    session.click(FIRST[0] + 4, FIRST[1] + 4, plane=plane)
    session.accept()
    session.save(tmp_path / 'one')
    again = sessions()
    again.load(tmp_path / 'one')
    for script in (session.script(), again.script()):
        first = script.index(f'scene.find(index=(0,), pitch={pitch})')
        assert first < script.index(f'pitch={2 * pitch})')


def test_script_of_an_object_of_which_nothing_was_found_on_a_plane(sessions):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.open(1)
    session.click(2, 120, plane=session.scene.plane_at(1))
    assert session.editor.view(session.scene.plane_at(1)).mask is None
    session.accept()
    names = {'new_session': sessions}
    exec(session.script(), names)  # noqa: S102
    again = names['session'].scene.target.data
    assert np.array_equal(again, session.scene.target.data)


def test_script_has_the_colours_of_the_classes_that_are_used(sessions):
    session = sessions()
    session.set_class_color('unused', 'red')
    session.click(*FIRST)
    session.accept()
    session.assign_class('nucleus', 1)
    session.set_class_color('nucleus', '#123456')
    script = session.script()
    assert 'unused' not in script
    names = {'new_session': sessions}
    exec(script, names)  # noqa: S102
    assert names['session'].classes.colors == {'nucleus': '#123456'}


def test_script_of_nothing_is_a_script(sessions):
    exec(sessions().script(), {'new_session': sessions})  # noqa: S102


@pytest.mark.slow
def test_file_brings_back_objects_prompts_and_candidates(sessions, tmp_path):
    session = sessions()
    work(session)
    session.save(tmp_path / 'cells.session')
    again = sessions()
    again.load(tmp_path / 'cells.session')
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    before = list(session.scene.objects(False))
    after = list(again.scene.objects(False))
    assert [r.number for r in after] == [r.number for r in before]
    assert again.editor.options == session.editor.options
    assert again.prompting.clean_up == CleanUp(30, True)
    for old, new in zip(before, after, strict=True):
        assert (old.label, old.class_name, old.prompts) == (
            new.label,
            new.class_name,
            new.prompts,
        )
        assert old.score == pytest.approx(new.score, nan_ok=True)
        assert list(old.views) == list(new.views)
        for place, view in old.views.items():
            assert np.array_equal(
                view.prompts.points, new.views[place].prompts.points
            )
            assert len(view.candidates.masks) == len(
                new.views[place].candidates.masks
            )


def saved_with_features(session, path):
    """Save two objects with further columns of all plain types."""
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    target = session.scene.target
    table = target.table.copy()
    table['prompts'] = [1.0, np.nan]
    table['similarity'] = [np.nan, 0.75]
    table['area'] = [576, 768]
    table['refined'] = [True, False]
    table['note'] = ['ä', '']
    table['overlap'] = [np.inf, 0.0]
    table['index'] = table['index'].astype(float)
    target.table = table
    session.save(path)
    return table


def test_features_of_objects_come_back(sessions, tmp_path):
    path = tmp_path / 'cells.session'
    table = saved_with_features(sessions(), path)
    again = sessions()
    again.load(path)
    pd.testing.assert_frame_equal(
        again.scene.target.table, table, check_dtype=False
    )
    # and again
    again.save(path)
    third = sessions()
    third.load(path)
    pd.testing.assert_frame_equal(
        third.scene.target.table, table, check_dtype=False
    )


@pytest.mark.slow
def test_features_that_the_labels_have_are_kept(sessions, tmp_path):
    path = tmp_path / 'cells.session'
    first = sessions()
    saved_with_features(first, path)
    again = sessions()
    again.scene.objects(True)
    target = again.scene.target
    target.data[:] = first.scene.target.data
    target.table = pd.DataFrame({'index': [1, 2], 'area': [5, 6]})
    again.load(path)
    assert target.table['area'].tolist() == [5, 6]
    assert target.table['refined'].tolist() == [True, False]


def test_files_without_features_are_loaded(sessions, tmp_path):
    path = tmp_path / 'cells.session'
    saved_with_features(sessions(), path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    del content['features']
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    again = sessions()
    again.load(path)
    assert again.scene.target.table['prompts'].tolist() == [1, 1]
    assert list(again.scene.target.table) == [
        'index',
        'score',
        'stability',
        'prompts',
        'class',
    ]


@pytest.mark.parametrize(
    'features',
    [
        {'index': [1, 1]},
        {'index': [1.5]},
        {'index': [1], 'area': []},
        {'area': [1]},
        {'index': [1], 'area': [[1]]},
    ],
)
def test_damaged_features_bring_nothing(sessions, tmp_path, features):
    path = tmp_path / 'cells.session'
    saved_with_features(sessions(), path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    content['features'] = features
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    again = sessions()
    with pytest.raises(SessionFileError, match='features'):
        again.load(path)
    assert not len(again.scene.objects(True))


def test_labels_that_do_not_fit_a_file_are_left_alone(sessions, tmp_path):
    session, path = sessions(), tmp_path / 'cells.session'
    work(session)
    session.save(path)
    saved = session.scene.target.data.copy()
    others = sessions()
    others.scene.objects(True)
    data = others.scene.target.data
    data[saved > 0] = 77
    with pytest.raises(SessionFileError, match='has other labels where'):
        others.load(path)
    assert set(np.unique(data)) == {0, 77}
    small = sessions()
    small.scene.objects(True)
    small.scene.target.data = small.scene.target.data[:, :20].copy()
    with pytest.raises(SessionFileError, match='does not cover object'):
        small.load(path)
    assert not small.scene.target.data.any()
    assert not len(small.scene.objects(True))
    # labels that have the objects already are as good as empty ones
    same = sessions()
    same.scene.objects(True)
    same.scene.target.data[:] = saved
    same.load(path)
    assert np.array_equal(same.scene.target.data, saved)


@pytest.mark.slow
def test_undo_does_not_empty_a_file_that_was_loaded(sessions, tmp_path):
    session = sessions()
    work(session)
    session.save(tmp_path / 'cells.session')
    count = len(session.scene.objects(False))
    again = sessions()
    again.load(tmp_path / 'cells.session')
    again.autosave(tmp_path / 'cells.session')
    labels = again.scene.target.data.copy()
    again.click(*FIRST)
    number = again.accept().number
    assert again.undo() is not None
    assert again.undo() is None
    assert np.array_equal(again.scene.target.data, labels)
    assert number not in again.scene.objects(False)
    again.autosave(None)
    third = sessions()
    third.load(tmp_path / 'cells.session')
    assert len(third.scene.objects(False)) == count


@pytest.mark.slow
def test_work_goes_on_as_if_nothing_had_been(sessions, tmp_path):
    """Restored objects are refined as before, and scripted completely."""
    session = sessions()
    session.click(*FIRST)
    session.choose(1)
    session.accept()
    session.save(tmp_path / 'one')
    again = sessions()
    again.load(tmp_path / 'one')
    for each in (session, again):
        each.open(1)
        each.click(20, 24)
        view = each.editor.view(each.scene.plane())
        assert view.previous is not None
        each.accept()
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    names = {'new_session': sessions}
    exec(again.script(), names)  # noqa: S102
    assert np.array_equal(
        names['session'].scene.target.data, session.scene.target.data
    )


def test_pixels_that_somebody_else_has_are_not_taken(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.scene.target.data[0, 20:25, 24:30] = 77
    session.save(tmp_path / 'one')
    again = sessions()
    again.load(tmp_path / 'one')
    assert (again.scene.target.data[0, 20:25, 24:30] == 77).all()


def test_autosave_follows_every_change(sessions, tmp_path):
    path = tmp_path / 'auto.session'
    session = sessions()
    session.autosave(path)
    session.click(*FIRST)
    session.accept()
    session.click(*SECOND)
    session.accept()
    session.close()
    again = sessions()
    again.load(path)
    assert len(again.scene.objects(False)) == 2
    # it goes on after the last dock was closed, until it is told to stop
    session.undo()
    session.autosave(None)
    session.redo()
    session.close()
    once_more = sessions()
    once_more.load(path)
    assert len(once_more.scene.objects(False)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ['auto.session']


@pytest.mark.slow
def test_next_saves_write_down_only_what_is_new(sessions, tmp_path):
    session = sessions()
    for place in (FIRST, SECOND):
        session.click(*place)
        session.accept()
    objects = session.scene.objects(False)
    writer = RecordEncoder(session.scene)

    def save_again(name):
        snapshot = Snapshot.of(objects, session.files.parameters())
        save(tmp_path / name, snapshot, writer)
        return (tmp_path / name).read_bytes()

    first = save_again('one')
    kept = dict(writer._views)
    assert len(kept) == 2
    # pixels that were lost and classes that were given are not remembered
    session.scene.target.data[0, 20:25, 24:30] = 0
    session.assign_class('cell', 2)
    second = save_again('two')
    assert dict(writer._views) == kept
    assert second != first
    again = sessions()
    again.load(tmp_path / 'two')
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    assert again.scene.objects(False)[2].class_name == 'cell'
    objects.delete(1)
    save_again('three')
    assert [r['number'] for r in read(tmp_path / 'three')['objects']] == [2]


def test_many_objects_are_read_line_by_line(sessions, tmp_path):
    session = sessions()
    # over each other, with one label, so that none is written over
    session.editor.options = WriteOptions(policy='keep', label=5)
    for _ in range(12):
        session.click(*FIRST)
        session.accept()
    session.save(tmp_path / 'many')
    content = read(tmp_path / 'many')
    text = gzip.decompress((tmp_path / 'many').read_bytes()).decode()
    assert text.count('\n') == 13
    assert content == json.loads(text)
    again = sessions()
    again.load(tmp_path / 'many')
    assert len(again.scene.objects(False)) == 12


def test_autosave_that_fails_says_so(sessions, tmp_path):
    session = sessions()
    failed = []
    session.failed.connect(lambda *args: failed.append(args))
    session.autosave(tmp_path / 'no such folder' / 'x')
    # a command that waits meanwhile does not fail with it
    session.files.rest()
    session.click(*FIRST)
    session.finish(20)
    session._deliver.empty()
    assert 'instead' in failed[0][0]
    session.autosave(None)


def refuse(monkeypatch, *folders):
    """Let no session file be written into folders."""

    def save_elsewhere(path, *args):
        if path.parent in folders:
            raise OSError(errno.EROFS, 'Read-only file system', str(path))
        save(path, *args)

    monkeypatch.setattr(saving_jobs, 'save', save_elsewhere)


def test_what_cannot_be_saved_is_rescued(sessions, tmp_path, monkeypatch):
    images, user = tmp_path / 'images', tmp_path / 'user'
    images.mkdir()
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(user))
    first = images / 'a.tif.session'
    session = sessions()
    told = []
    session.failed.connect(lambda text, topic: told.append(text))
    session.autosave(first)
    session.click(*FIRST)
    session.accept()
    session.files.rest()
    refuse(monkeypatch, images)
    session.click(*SECOND)
    session.accept()
    session.files.rest()
    # the older file is not restored as well, nor is its name used again
    (found,) = saved(first)
    assert found.parent == user
    assert not session.files.unsaved()
    assert len(told) == 1
    assert str(found) in told[0]
    assert free(first) == images / 'a.tif.2.session'
    again = sessions()
    again.load(found)
    assert len(again.scene.objects(False)) == 2
    # unless the file beside the image is written after it
    known, later = first.stat(), found.stat().st_mtime_ns + 10**9
    os.utime(first, ns=(later, later))
    assert saved(first) == [first]
    os.utime(first, ns=(known.st_mtime_ns, known.st_mtime_ns))
    # once there is room again, it is the only one
    assert home_of(found, first) == first
    monkeypatch.setattr(saving_jobs, 'save', save)
    session.undo()
    session.files.rest()
    assert saved(first) == [first]
    assert not found.exists()
    assert len(read(first)['objects']) == 1
    assert session.files.file_of(session.scene.objects(False)) == first


def test_rescued_objects_return_when_they_are_saved_after_a_restart(
    sessions, tmp_path, monkeypatch
):
    images = tmp_path / 'images'
    images.mkdir()
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path / 'user'))
    first = images / 'a.tif.session'
    session = sessions()
    session.autosave(first)
    with monkeypatch.context() as patch:
        refuse(patch, images)
        session.click(*FIRST)
        session.accept()
        session.files.rest()
    (found,) = saved(first)
    again = sessions()
    again.load(found)
    objects, theirs = again.scene.objects(False), found.read_bytes()
    with monkeypatch.context() as patch:
        refuse(patch, images)
        again.files.save_along(objects, found, None, home_of(found, first))
        again.files.rest()
    # another window has written the file: both are kept
    first.write_bytes(theirs)
    os.utime(first, ns=(1, 1))
    again.click(*SECOND)
    again.accept()
    again.files.rest()
    assert len(read(found)['objects']) == 2
    assert len(read(first)['objects']) == 1
    again.files.save_along(objects, found, None, home_of(found, first))
    again.files.rest()
    assert saved(first) == [found]
    first.unlink()
    again.files.save_along(objects, found, None, home_of(found, first))
    again.undo()
    again.files.rest()
    assert saved(first) == [first]
    assert not found.exists()
    assert home_of(first, first) is None


def test_a_rescued_file_of_another_window_is_kept(
    sessions, tmp_path, monkeypatch
):
    refuse(monkeypatch, tmp_path)
    first, second = sessions(), sessions()
    for session, place in ((first, FIRST), (second, SECOND)):
        session.files.autosave(
            tmp_path / 'b.session', lambda: free(tmp_path / 'b.session')
        )
        session.click(*place)
        session.accept()
        session.files.rest()
    assert len(saved(tmp_path / 'b.session')) == 2


def test_objects_that_are_saved_nowhere_are_told_of(
    sessions, tmp_path, monkeypatch
):
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path))
    refuse(monkeypatch, tmp_path)
    session = sessions()
    told = []
    session.failed.connect(lambda text, topic: told.append(text))
    path = tmp_path / 'c.session'
    session.autosave(path)
    session.click(*FIRST)
    session.accept()
    assert session.files.unsaved() == [path]
    assert len(told) == 1
    assert told[0].count(str(path)) == 1
    # once there is room, closing needs no change
    monkeypatch.undo()
    assert not session.files.unsaved()
    assert len(read(path)['objects']) == 1


def test_files_that_are_none_say_so(sessions, tmp_path):
    session = sessions()
    with pytest.raises(SessionFileError, match='There is no file'):
        session.load(tmp_path / 'missing')
    (tmp_path / 'text').write_text('hello', 'utf-8')
    with pytest.raises(SessionFileError, match='not a session file'):
        session.load(tmp_path / 'text')
    with gzip.open(tmp_path / 'other', 'wt', encoding='utf-8') as file:
        json.dump({'format': 'something else'}, file)
    with pytest.raises(SessionFileError, match='of this version'):
        session.load(tmp_path / 'other')
    with pytest.raises(SegmentationError, match='no labels with objects'):
        sessions().save(tmp_path / 'nothing')


def test_damaged_files_bring_nothing(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.save(tmp_path / 'good')
    content = (tmp_path / 'good').read_bytes()
    (tmp_path / 'cut').write_bytes(content[: len(content) // 2])
    entry = json.loads(gzip.decompress(content))
    entry['options']['class_name'] = '\ud800'
    (tmp_path / 'name').write_bytes(gzip.compress(json.dumps(entry).encode()))
    del entry['objects'][0]['label']
    (tmp_path / 'torn').write_bytes(gzip.compress(json.dumps(entry).encode()))
    again = sessions()
    for name in ('cut', 'torn', 'name'):
        with pytest.raises(SegmentationError, match='damaged|text that'):
            again.load(tmp_path / name)
    assert not again.scene.target.data.any()
    assert len(again.scene.objects(False)) == 0


def test_logits_beyond_a_limit_are_left_out(sessions, tmp_path, monkeypatch):
    session = sessions()
    for point in (FIRST, SECOND):
        session.click(*point)
        session.accept()
    session.save(tmp_path / 'one')
    monkeypatch.setattr(record_decoder, 'MOST_LOGITS', 1)
    again = sessions()
    again.load(tmp_path / 'one')
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    first, second = again.scene.objects(False)
    (logits,) = (view.candidates for view in first.views.values())
    assert logits.chosen_logits is not None
    (logits,) = (view.candidates for view in second.views.values())
    assert logits.chosen_logits is None
    again.open(2)
    again.click(SECOND[0] + 2, SECOND[1])
    assert again.accept().number == 2
    monkeypatch.setattr(record_decoder, 'memory', lambda: 100)
    with pytest.raises(SessionFileError, match='memory of this computer'):
        sessions().load(tmp_path / 'one')


def test_a_mask_of_many_pixels_survives_as_text(monkeypatch):
    monkeypatch.setattr(mask_texts, 'MOST_BYTES', 100)
    mask = Mask(np.eye(25, dtype=bool), (0, 0, 25, 25), 1.0)
    assert np.array_equal(mask_from(mask_text(mask)).data, mask.data)
    larger = Mask(np.eye(50, dtype=bool), (0, 0, 50, 50), 1.0)
    with pytest.raises(ValueError, match='too large'):
        mask_from(mask_text(larger))


@pytest.mark.slow
@pytest.mark.parametrize(
    'line',
    [
        'import os',
        'session.save("/tmp/x")',
        '# comment\rimport os',
        'session.click(__import__("os").getpid(), 1)',
        'session.click(*[1, 2]); print()',
        'session.__class__ = 1',
        'session.accept() if print() else 1',
        'plane = scene.find(lambda: 1)',
        'session.prompt(f"{print()}")',
        'session.batch([',
        '\0',
    ],
)
def test_foreign_code_in_a_file_is_left_out_of_the_script(
    sessions, tmp_path, line
):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.save(tmp_path / 'good')
    content = json.loads(gzip.decompress((tmp_path / 'good').read_bytes()))
    content['script'].append(line)
    path = tmp_path / 'a\nprint(1)'
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    again = sessions()
    again.load(path)
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    script = again.script()
    assert '# loading a print(1): cannot be repeated by this script' in script
    assert script.rstrip().endswith('script')


BATCH = 'session.batch(['


@pytest.mark.parametrize(
    ('lines', 'allowed'),
    [
        ([BATCH, *9 * ['  BatchItem(plane, Prompts()),'], '])'], True),
        (
            ['session.refine(plane, {', *9 * ['  1: mask_from("a"),'], '})'],
            True,
        ),
        ([BATCH, '  print(),', '])'], False),
        ([BATCH, '  1], [2,', '])'], False),
        ([BATCH, '  1]) + print([', '])'], False),
        ([BATCH, '  """,', '  print(), """', '])'], False),
        ([BATCH, '  plane #,', '  (1),', '])'], False),
        ([BATCH, '  1,', ']); print('], False),
        (['session.refine(plane, {', '  1}, {2: 3,', '})'], False),
    ],
)
def test_entries_of_a_statement_are_checked_one_by_one(
    monkeypatch, lines, allowed
):
    # of which all together may be long
    monkeypatch.setattr(script_check, 'LONGEST', 100)
    assert script_check.is_replay_script(lines) == allowed


def painted(session):
    """Paint and erase as with a brush."""
    data = session.scene.target.data
    data[0, 20:24, 22:26] = 0
    data[0, 40:44, 20:44] = 1
    data[0, 2:9, 2:9] = 7
    data[3, 50:60, 3:90] = 9
    session.scene.target.edited.emit(dict.fromkeys({1, 7, 9}, 0))


def test_painted_pixels_are_part_of_their_object(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    data = session.scene.target.data
    data[0, 60:70, 20:30] = 1
    session.scene.target.edited.emit(dict.fromkeys({1}, 0))
    arm = data.copy()
    arm[:, :60] = 0
    # what covers its mask leaves the arm
    session.box(16, 20, 40, 44)
    session.accept()
    assert [record.number for record in session.scene.objects(False)] == [1, 2]
    session.undo()
    # one that is edited keeps it
    session.open(1)
    session.click(FIRST[0] + 4, FIRST[1] + 4)
    session.accept()
    assert np.array_equal(np.where(data[0, 60:] == 1, 1, 0), arm[0, 60:])
    session.save(tmp_path / 'one')
    again = sessions()
    again.load(tmp_path / 'one')
    for each in (session, again):
        each.open(1)
        each.delete()
        assert not each.scene.target.data.any()
        each.undo()
        assert np.array_equal(each.scene.target.data, data)


@pytest.mark.parametrize('at_once', [1 << 22, 100])
def test_painted_pixels_come_back(sessions, tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(painted_files, 'AT_ONCE', at_once)
    session = sessions()
    session.click(*FIRST)
    session.accept()
    painted(session)
    session.save(tmp_path / 'one')
    again = sessions()
    again.scene.objects(True)
    again.scene.target.data[3, 50, 3:9] = 4
    again.load(tmp_path / 'one')
    expected = session.scene.target.data.copy()
    # what is in the labels stays
    expected[3, 50, 3:9] = 4
    assert np.array_equal(again.scene.target.data, expected)
    # into labels of another shape come the objects alone
    other = sessions()
    other.scene.objects(True)
    other.scene.target.data = np.zeros((4, 97, 128), np.uint16)
    other.load(tmp_path / 'one')
    assert set(np.unique(other.scene.target.data)) == {0, 1}


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(-1, 2)), max_size=9))
def test_runs_do_not_depend_on_the_parts(runs):
    values = np.repeat([label for _, label in runs], [n for n, _ in runs])
    target = FakeTarget()
    found = []
    for at_once in (1, 4, 1 << 22):
        target.data = values.astype(np.int32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(painted_files, 'AT_ONCE', at_once)
            painted = painted_files.painted_pixels(target, [])
        found.append(None if painted is None else painted.runs.tolist())
    assert found[0] == found[1] == found[2]


def test_rows_of_painted_labels_come_back(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    painted(session)
    target = session.scene.target
    of_labels = {
        'index': [7, 9],
        'class': ['mitosis', 'cell'],
        'area': [49, 1],
    }
    others = pd.DataFrame({**of_labels, 'note': 'by hand'})
    target.table = pd.concat([target.table, others], ignore_index=True)
    session.save(tmp_path / 'one')
    again = sessions()
    again.scene.objects(True)
    again.scene.target.data[3, 0, 0] = 9
    again.scene.target.table = pd.DataFrame({'index': [9], 'class': ['old']})
    again.load(tmp_path / 'one')
    rows = again.scene.target.table.set_index('index')
    assert rows['class'][[7, 9]].tolist() == ['mitosis', 'old']
    assert rows['note'][7] == 'by hand'
    assert rows['prompts'][1] == 1


@pytest.mark.parametrize(
    ('dtype', 'other'), [(np.int32, -1), (np.uint64, 2**63 + 1)]
)
def test_pixels_that_are_no_labels_are_not_kept(
    sessions, tmp_path, dtype, other
):
    session = sessions()
    session.scene.objects(True)
    session.scene.target.data = np.zeros((4, 96, 128), dtype)
    session.click(*FIRST)
    session.accept()
    painted(session)
    session.scene.target.data[1, :3, :3] = other
    session.save(tmp_path / 'one')
    again = sessions()
    again.load(tmp_path / 'one')
    expected = session.scene.target.data.copy()
    expected[1] = 0
    assert np.array_equal(again.scene.target.data, expected)


def test_labels_that_do_not_hold_painted_pixels_are_refused(
    sessions, tmp_path
):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.scene.target.data[1, 3, 3] = 300
    session.save(tmp_path / 'one')
    again = sessions()
    again.scene.objects(True)
    again.scene.target.data = np.zeros((4, 96, 128), np.uint8)
    with pytest.raises(SessionFileError, match='has the label 300'):
        again.load(tmp_path / 'one')


@pytest.mark.parametrize(
    'runs',
    [
        [[5, 3], [4, 1], [1, 1]],
        [[-1], [4], [1]],
        [[5], [10**9], [1]],
        [[5], [0], [1]],
        [[5], [3], [0]],
        [[5, 6], [3, 2], [1, 1]],
    ],
)
def test_painted_pixels_that_do_not_fit_are_refused(sessions, tmp_path, runs):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    painted(session)
    session.save(tmp_path / 'good')
    content = json.loads(gzip.decompress((tmp_path / 'good').read_bytes()))
    content['painted']['runs'] = [array_text(np.array(runs, np.int64))]
    path = tmp_path / 'bad'
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(SessionFileError, match='painted|runs'):
        sessions().load(path)


def test_autosave_follows_the_brush(sessions, tmp_path):
    path = tmp_path / 'auto.session'
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.autosave(path)
    painted(session)
    session.autosave(None)
    again = sessions()
    again.load(path)
    assert np.array_equal(again.scene.target.data, session.scene.target.data)


def test_values_of_the_feature_table_are_not_parsed_while_saving(
    sessions, tmp_path, monkeypatch
):
    """It would hold up the viewer: a program may have measured thousands."""
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.scene.target.table['note'] = 'by hand'
    parsed = []

    def check(content):
        parsed.append(content)
        return content

    monkeypatch.setattr(saving, 'check_session', check)
    session.save(tmp_path / 'one')
    (content,) = parsed
    assert content['features']['note'] == []
    monkeypatch.undo()
    assert read(tmp_path / 'one')['features']['note'] == ['by hand']


def test_what_could_not_be_loaded_does_not_replace_a_file(sessions, tmp_path):
    path = tmp_path / 'a.session'
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.save(path)
    kept = path.read_bytes()
    session.scene.target.name = 1001 * 'a'
    with pytest.raises(SessionFileError, match='cannot hold that session.lab'):
        session.save(path)
    assert path.read_bytes() == kept


def test_planes_of_any_contrast_are_loaded(sessions, tmp_path):
    session = sessions()
    limits = (-1.7976931348623157e308, 1e40)
    session.scene.describe = lambda plane: {
        'index': (plane.geometry,),
        'contrast_limits': limits,
    }
    session.click(*FIRST)
    session.accept()
    session.save(tmp_path / 'one')
    content = read(tmp_path / 'one')
    assert content['planes'][0]['found']['contrast_limits'] == list(limits)


def test_a_file_that_is_being_written_is_let_go(
    sessions, tmp_path, monkeypatch
):
    """The image is closed meanwhile: its objects have no prompts left."""
    began, forgotten = threading.Event(), threading.Event()

    def write(*args):
        began.set()
        # closing an image does not wait for the file
        assert forgotten.wait(10)
        save(*args)

    monkeypatch.setattr(saving_jobs, 'save', write)
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.autosave(tmp_path / 'a.session')
    assert began.wait(10)
    objects = session.scene.objects(False)
    session.click(*SECOND)
    session.accept()
    objects.forget_planes(lambda plane: True)
    forgotten.set()
    session.files.rest()
    assert session.files.file_of(objects) is None
    # with what was yet to be saved, in the same file
    assert len(read(tmp_path / 'a.session')['objects']) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['a.session']


@pytest.mark.parametrize('background', [True, False])
def test_a_file_is_read_after_what_waits_is_written(
    sessions, tmp_path, monkeypatch, background
):
    """An image is closed and opened again at once."""
    began, reading = threading.Event(), threading.Event()
    path = tmp_path / 'a.session'
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.autosave(path)
    session.files.rest()

    def write(*args):
        began.set()
        # time for who does not wait to have read
        reading.wait(0.1)
        save(*args)

    def read_early(file):
        reading.set()
        return read(file)

    monkeypatch.setattr(saving_jobs, 'save', write)
    for module in (saving, saving_jobs):
        monkeypatch.setattr(module, 'read', read_early)
    session.click(*SECOND)
    session.accept()
    assert began.wait(10)
    session.scene.objects(False).forget_planes(lambda plane: True)
    session.scene.forget_labels()
    if background:
        found = []
        session.files.loaded.connect(found.append)
        session.files.start_loading(path)
        session.finish()
        assert len(found[0].records) == 2
    else:
        session.load(path)
        assert len(session.scene.objects(False)) == 2


def test_what_changes_while_a_file_is_read_is_saved(
    sessions, tmp_path, monkeypatch
):
    waited, changed, began, seen, go = (threading.Event() for _ in range(5))
    path = tmp_path / 'a.session'
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.autosave(path)
    session.files.rest()
    wait, writes = saving_jobs.LatestWorker.wait, []

    def wait_for_changes(worker, timeout=None):
        done = wait(worker, timeout)
        if 'loading' in threading.current_thread().name:
            waited.set()
            changed.wait(10)
        return done

    def write(*args):
        began.set()
        go.wait(10)
        writes.append(args)

    def read_late(file):
        seen.set()
        return read(file)

    monkeypatch.setattr(saving_jobs.LatestWorker, 'wait', wait_for_changes)
    monkeypatch.setattr(saving_jobs, 'save', write)
    monkeypatch.setattr(saving_jobs, 'read', read_late)
    session.files.start_loading(path)
    assert waited.wait(10)
    session.scene.objects(False).changed.emit()
    assert began.wait(10)
    session.scene.objects(False).changed.emit()
    changed.set()
    assert seen.wait(10)
    go.set()
    session.files.rest()
    assert len(writes) == 2


def test_files_after_one_that_was_removed_are_found(tmp_path):
    first = tmp_path / 'a.tif.session'
    others = [tmp_path / f'a.tif.{number}.session' for number in (3, 12)]
    for path in others:
        path.touch()
    assert session_paths.saved(first) == others
    assert session_paths.free(first) == first


def test_what_is_no_session_file_is_not_replaced(sessions, tmp_path):
    path = tmp_path / 'image.tif'
    path.write_bytes(b'II*\0')
    session = sessions()
    session.click(*FIRST)
    session.accept()
    for write in (session.save, session.autosave):
        with pytest.raises(SegmentationError, match='not a session file'):
            write(path)
        with pytest.raises(SegmentationError, match='is a folder'):
            write('.')
    assert path.read_bytes() == b'II*\0'


@pytest.mark.slow
def test_a_file_that_only_seems_to_be_another_is_written(sessions, tmp_path):
    """Some network drives change the time or the number of a file."""
    path = tmp_path / 'a.session'
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.files.autosave(path, lambda: tmp_path / 'other')
    session.files.rest()
    os.utime(path, (1, 1))
    session.click(*SECOND)
    session.accept()
    session.autosave(None)
    assert not (tmp_path / 'other').exists()
    again = sessions()
    again.load(path)
    assert len(again.scene.objects(False)) == 2
    # and so is one of yesterday
    again.files.autosave(path, lambda: tmp_path / 'other')
    os.utime(path, (2, 2))
    again.open(1)
    again.delete()
    again.autosave(None)
    assert not (tmp_path / 'other').exists()


def test_a_file_that_another_window_has_written_is_kept(sessions, tmp_path):
    path, other = tmp_path / 'a.session', tmp_path / 'a.2.session'
    first, second = sessions(), sessions()
    told = []
    second.failed.connect(lambda text, topic: told.append(text))
    for session in (first, second):
        session.click(*FIRST)
        session.accept()
    first.save(path)
    third = sessions()
    third.load(path)
    third.files.autosave(path, lambda: other)
    third.files.rest()
    assert not other.exists()
    first.click(*SECOND)
    first.accept()
    first.save(path)
    kept = path.read_bytes()
    third.click(*SECOND)
    third.accept()
    third.autosave(None)
    assert path.read_bytes() == kept
    again = sessions()
    again.load(other)
    assert np.array_equal(again.scene.target.data, third.scene.target.data)
    # without another file it says so
    with pytest.raises(SegmentationError, match='load them first'):
        second.autosave(path)
    assert path.read_bytes() == kept
    second.save(path)
    second.autosave(path)
    second.files.rest()
    first.save(path)
    kept = path.read_bytes()
    second.click(*SECOND)
    second.accept()
    second.autosave(None)
    assert path.read_bytes() == kept
    assert any('Another window or layer has written' in text for text in told)


def test_an_image_without_the_plane_is_another_one(sessions, tmp_path):
    path = tmp_path / 'cells.session'
    session = sessions()
    session.click(*FIRST, plane=session.scene.plane_at(3))
    session.accept()
    session.save(path)
    with pytest.raises(SessionFileError, match='no plane 3'):
        sessions(IMAGES[:2]).load(path)


def test_objects_of_pixels_that_were_replaced_are_saved_as_pixels(
    sessions, tmp_path
):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    writer = RecordEncoder(session.scene)

    def write():
        objects = session.scene.objects(False)
        snapshot = Snapshot.of(objects, session.files.parameters())
        save(tmp_path / 'one', snapshot, writer)

    write()
    other = np.array(IMAGES)
    other[:, 50, 64] ^= 1
    session.scene.images = other
    session.click(*SECOND)
    session.accept()
    write()
    again = sessions(other)
    again.load(tmp_path / 'one')
    assert [record.number for record in again.scene.objects(False)] == [2]
    assert np.array_equal(again.scene.target.data, session.scene.target.data)
    with pytest.raises(SessionFileError, match='its pixels differ'):
        sessions().load(tmp_path / 'one')


def test_another_image_and_full_labels_are_refused(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.save(tmp_path / 'one')
    with pytest.raises(SessionFileError, match='already'):
        session.load(tmp_path / 'one')
    other = [image.copy() for image in IMAGES]
    other[0][50, 64] ^= 1
    with pytest.raises(SessionFileError, match='its pixels differ'):
        sessions(other).load(tmp_path / 'one')


@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
)
def test_masks_and_arrays_survive_as_text(height, width, row, seed):
    rng = np.random.default_rng(seed)
    data = rng.random((height, width)) > 0.5
    mask = Mask(data, (row, 5, row + height, 5 + width), 1.0)
    again = mask_from(mask_text(mask))
    assert again.box == mask.box
    assert np.array_equal(again.data, data)
    # as files and scripts of the first kind have it
    old = f'|b1 2,1 {base64.b85encode(zlib.compress(bytes([1, 0]))).decode()}'
    assert array_from(old).tolist() == [[True], [False]]
    for array in (data, rng.normal(size=(height, 2)).astype(np.float16)):
        back = array_from(array_text(array))
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


def test_numbers_of_numpy_are_saved(sessions, tmp_path):
    session = sessions()
    session.editor.options = WriteOptions(label=np.int64(3))
    session.click(*FIRST)
    session.choose(np.int64(1))
    session.accept()
    session.editor.options = WriteOptions()
    session.click(*SECOND)
    session.accept(label=np.uint16(7))
    session.prompting.clean_up = CleanUp(np.int64(5))
    session.save(tmp_path / 'a.session')
    again = sessions()
    again.load(tmp_path / 'a.session')
    assert np.unique(again.scene.target.data).tolist() == [0, 3, 7]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('act', 'message'),
    [
        (lambda s: s.assign_class(None, 1), 'class_name is None; give a str'),
        (lambda s: s.assign_class(5), 'class_name is 5; give a str'),
        (lambda s: s.assign_class(1001 * 'a'), 'has 1,001 characters'),
        (lambda s: s.rename_class('cell', 5), 'new is 5; give a str'),
        (lambda s: WriteOptions(class_name=5), 'class_name is 5'),
        (lambda s: WriteOptions('zz'), "policy is 'zz'"),
        (lambda s: WriteOptions(label='a'), "label is 'a'"),
        (lambda s: CleanUp(-1), 'min_area is -1'),
        (lambda s: CleanUp(2.5), 'min_area is 2.5'),
    ],
)
def test_what_a_session_file_cannot_hold_is_refused(sessions, act, message):
    session = sessions()
    session.click(*FIRST)
    session.accept()
    session.assign_class('cell', 1)
    with pytest.raises(SegmentationError, match=message):
        act(session)
