"""The interpreter ends while a run is in the model, without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SCRIPT = """
import contextlib, sys, threading, time
sys.path[:0] = {paths}
from fakes import FIRST, blobs, oracle_session
from napari_mobilesam.model.threads import ThreadTeam
from napari_mobilesam.session import PlaneTask
from napari_mobilesam.types import EverythingParameters
from viewer.oracle import OracleSam

OracleSam.workers = lambda self: ThreadTeam({workers}, contextlib.nullcontext)
session = oracle_session([blobs()] * 2)
model = session._engine.model('oracle')
session.click(*FIRST)
model.go.clear()
{start}
time.sleep(0.3)
{close}

def release():
    # the main thread is at its end by now
    time.sleep(1)
    model.go.set()

threading.Thread(target=release, daemon=True).start()
"""
EVERYTHING = """
tasks = [PlaneTask(plane) for plane in session.scene.stack()]
session.runs.start(tasks, EverythingParameters(whole_image=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('close', 'workers'), [('session.close()', 2), ('', 1)]
)
def test_nothing_is_written_to_the_console(close, workers):
    script = SCRIPT.format(
        paths=[str(TESTS), str(TESTS / 'session')],
        workers=workers,
        start=EVERYTHING,
        close=close,
    )
    done = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.stderr == ''
    assert done.returncode == 0
