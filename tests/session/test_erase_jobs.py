"""Objects of labels on disk are deleted on a thread of its own."""

from __future__ import annotations

import errno
import threading

import pandas as pd
import pytest

from napari_mobilesam.large import erase
from napari_mobilesam.session.everything.erase_jobs import EraseJobs
from napari_mobilesam.types import SegmentationError

SECONDS = 40.0
ROWS = pd.DataFrame({'label': [3]})


class Told:
    """What the jobs told."""

    def __init__(self, jobs):
        self.results, self.failed, self.stopped = [], [], []
        jobs.failed.connect(self.failed.append)
        jobs.stopped.connect(lambda: self.stopped.append(True))


@pytest.fixture
def jobs():
    made = EraseJobs(lambda function: function())
    yield made
    made.close()


def test_a_deletion_is_cancelled_and_refuses_another(jobs, monkeypatch):
    told, begun, cancelled = Told(jobs), threading.Event(), threading.Event()

    def slow(path, labels, progress):
        begun.set()
        assert cancelled.wait(SECONDS)
        progress(0, 2, 'Deleting')
        raise AssertionError('it was not cancelled')

    monkeypatch.setattr(erase, 'erase_objects', slow)
    jobs.erase('out', [3], told.results.append)
    assert begun.wait(SECONDS)
    for start in (
        lambda: jobs.erase('out', [4], told.results.append),
        lambda: jobs.restore('out', told.results.append),
    ):
        with pytest.raises(SegmentationError, match='wait until'):
            start()
    jobs.cancel()
    cancelled.set()
    assert jobs.wait(SECONDS)
    assert told.stopped == [True]
    assert not told.results
    assert not told.failed


def test_what_was_deleted_is_restored_even_if_cancelled(jobs, monkeypatch):
    told, begun, cancelled = Told(jobs), threading.Event(), threading.Event()

    def slow(path, progress):
        begun.set()
        assert cancelled.wait(SECONDS)
        progress(0, 2, 'Restoring')
        return ROWS

    monkeypatch.setattr(erase, 'undo_erase', slow)
    jobs.restore('out', told.results.append)
    assert begun.wait(SECONDS)
    jobs.cancel()
    cancelled.set()
    assert jobs.wait(SECONDS)
    assert told.results == [ROWS]


@pytest.mark.parametrize(
    ('number', 'text'),
    [(errno.ENOSPC, 'no space left'), (errno.EROFS, 'out')],
)
def test_a_disk_that_cannot_be_written_is_told(
    jobs, monkeypatch, number, text
):
    told = Told(jobs)

    def fail(path, labels, progress):
        raise OSError(number, 'refused', 'out')

    monkeypatch.setattr(erase, 'erase_objects', fail)
    jobs.erase('out', [3], told.results.append)
    assert jobs.wait(SECONDS)
    (message,) = told.failed
    assert text in message
    assert not jobs.running
    assert not told.results
