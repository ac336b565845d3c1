"""Jobs that tell how far they are."""

from __future__ import annotations

import pytest

from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.time_left import TimeLeft


def test_the_time_left_is_told(monkeypatch):
    monkeypatch.setattr(TimeLeft, 'text', lambda *steps: f', {steps[1:]}')
    told = []
    jobs = WatchedJobs(lambda function: function(), LatestWorker(), 'test')
    jobs.progress.connect(lambda *args: told.append(args))
    jobs.do(lambda progress: progress(1, 3, 'Measuring'))
    assert jobs.wait(10)
    jobs.close()
    assert told == [(1, 3, 'Measuring, (1, 3)')]


@pytest.mark.parametrize('cancelled', [False, True])
@pytest.mark.parametrize('error', [SystemExit(3), ValueError('x')])
def test_a_job_that_fails_is_answered(error, cancelled):
    told = []
    jobs = WatchedJobs(lambda function: function(), LatestWorker(), 'test')
    jobs.finished.connect(told.append)
    jobs.stopped.connect(lambda: told.append('stopped'))
    jobs.failed.connect(told.append)

    def fail(progress):
        if cancelled:
            jobs.cancel()
        raise error

    jobs.do(fail)
    assert jobs.wait(10)
    assert not jobs.running
    jobs.close()
    text = f'Unexpected {type(error).__name__}: {error}'
    assert told == ['stopped' if cancelled else text]
