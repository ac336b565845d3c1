"""Copies of objects that are not saved, restored after a crash."""

from __future__ import annotations

import os
import time

import pytest
from fakes import FIRST, SECOND, blobs, oracle_session

from napari_mobilesam.session.files import recovery
from napari_mobilesam.session.files.recovery import (
    KEPT_DAYS,
    continued_file,
    copy_folder,
    is_copy,
    restorable,
)
from napari_mobilesam.session.files.saving import read


@pytest.fixture
def first(tmp_path, monkeypatch):
    """First session file of an image."""
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path / 'user'))
    return tmp_path / 'a.tif.session'


@pytest.fixture
def sessions():
    """Factory of sessions on the same image; closes them."""
    made = []

    def make():
        made.append(oracle_session([blobs()]))
        return made[-1]

    yield make
    for session in made:
        session.close()


def segment(session, where):
    session.click(*where)
    session.accept()


def copying(session, first, where=FIRST):
    """Make an object of which a copy is kept."""
    segment(session, where)
    objects = session.scene.objects(False)
    session.files.keep_copy(objects, first)
    session.files.rest()
    return objects


def count(path):
    return len(read(path)['objects'])


def test_copies_follow_the_objects(sessions, first):
    session = sessions()
    objects = copying(session, first)
    (copy,) = restorable(first)
    assert copy == session.files.copy_of(objects)
    assert is_copy(copy)
    assert not first.exists()
    segment(session, SECOND)
    session.files.rest()
    assert restorable(first) == [copy]
    assert count(copy) == 2
    # without objects there is nothing to restore
    session.undo()
    session.undo()
    session.files.rest()
    assert restorable(first) == []


def test_a_copy_waits_for_more_changes(sessions, first, monkeypatch):
    session = sessions()
    copying(session, first)
    written = []
    monkeypatch.setattr(
        recovery, 'save', lambda path, snapshot, encoder: written.append(path)
    )
    segment(session, SECOND)
    session.undo()
    session.redo()
    assert not written
    session.files.rest()
    assert len(written) == 1


def test_the_last_session_with_copies_counts(sessions, first):
    copying(sessions(), first)
    (old,) = restorable(first)
    os.utime(old, (1e9, 1e9))
    copying(sessions(), first, SECOND)
    (new,) = restorable(first)
    assert new.parent != old.parent
    assert old.exists()


def test_a_file_saved_later_replaces_the_copies(sessions, first):
    session = sessions()
    objects = copying(session, first)
    (copy,) = restorable(first)
    session.files.save_along(objects, first)
    session.files.rest()
    later = copy.stat().st_mtime + 1
    os.utime(first, (later, later))
    assert restorable(first) == [first]
    # saved objects are copied only once they change
    session.autosave(None)
    session.files.keep_copy(objects, first)
    session.files.rest()
    assert restorable(first) == [first]
    segment(session, SECOND)
    session.files.rest()
    os.utime(copy, (later + 1, later + 1))
    assert restorable(first) == [copy]
    assert (count(first), count(copy)) == (1, 2)


def test_files_of_other_objects_are_restored_as_well(sessions, first):
    session = sessions()
    segment(session, FIRST)
    session.save(first)
    os.utime(first, (1e9, 1e9))
    copying(sessions(), first, SECOND)
    other, copy = restorable(first)
    assert (other, is_copy(copy)) == (first, True)
    assert continued_file(copy, first) is None


def test_a_restored_copy_goes_on_in_the_file_of_its_objects(sessions, first):
    session = sessions()
    segment(session, FIRST)
    session.save(first)
    again = sessions()
    again.load(first)
    objects = again.scene.objects(False)
    again.files.keep_copy(objects, first)
    segment(again, SECOND)
    again.files.rest()
    os.utime(first, (1e9, 1e9))
    (copy,) = restorable(first)
    assert continued_file(copy, first) == first
    # and is copied to the folder of the session that restored it
    third = sessions()
    third.load(copy)
    third.files.keep_copy(third.scene.objects(False), first)
    third.files.rest()
    (newer,) = restorable(first)
    assert newer.parent != copy.parent
    assert continued_file(newer, first) == first


def test_closing_the_image_keeps_the_copy(sessions, first):
    session = sessions()
    objects = copying(session, first)
    segment(session, SECOND)
    objects.forget_planes(lambda plane: True)
    assert session.files.copy_of(objects) is None
    session.files.rest()
    (copy,) = restorable(first)
    assert all(each['views'] for each in read(copy)['objects'])
    assert count(copy) == 2


def test_old_copies_are_removed(sessions, first, tmp_path):
    copying(sessions(), first)
    (old,) = restorable(first)
    past = time.time() - (KEPT_DAYS + 1) * 24 * 3600
    for path in (old, old.parent):
        os.utime(path, (past, past))
    other = tmp_path / 'b.tif.session'
    copying(sessions(), other)
    assert not copy_folder(first).exists()
    assert len(restorable(other)) == 1


def test_a_copy_that_cannot_be_written_is_only_logged(
    sessions, first, tmp_path, caplog
):
    (tmp_path / 'user').write_text('a file instead of a folder', 'utf-8')
    copying(sessions(), first)
    assert restorable(first) == []
    assert 'cannot be written' in caplog.text
