"""Opening a series from a slow disk, without a window."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tifffile
from viewer.oracle import OracleSam

from napari_mobilesam.series.series_files import SeriesImage
from napari_mobilesam.session import Session
from napari_mobilesam.session.runtime.inbox import Inbox
from napari_mobilesam.session.series.last_series import LastSeries
from napari_mobilesam.session.series.series_opening import SeriesOpening


@pytest.fixture
def folders(tmp_path):
    for folder in ('first', 'second'):
        (tmp_path / folder).mkdir()
        for name in 'abc':
            path = tmp_path / folder / f'{name}.tif'
            tifffile.imwrite(path, np.zeros((8, 8), np.uint8))
    return tmp_path / 'first', tmp_path / 'second'


@pytest.fixture
def slow(monkeypatch, folders):
    """Hold the records of the first folder back, and note what is read."""
    known = SeriesImage.known
    go, started, read = threading.Event(), threading.Event(), []

    def wait(self):
        read.append(self.image)
        if self.image.parent == folders[0]:
            started.set()
            assert go.wait(20)
        return known(self)

    monkeypatch.setattr(SeriesImage, 'known', wait)
    yield go, started, read
    go.set()


@pytest.fixture
def opening():
    opening = SeriesOpening(Inbox(lambda run: run()))
    yield opening
    opening.close()


def source(*paths):
    return LastSeries(tuple(map(str, paths)), '', '{name}_labels')


def test_another_folder_does_not_wait_for_a_disk(opening, folders, slow):
    go, started, read = slow
    found, steps = [], []
    opening.progress.connect(lambda *step: steps.append(step))
    opening.start(source(folders[0]), found.append)
    assert started.wait(20)
    assert opening.running
    assert not found
    assert steps == [(0, 3, 'Opening')]
    first = opening._worker
    opening.start(source(folders[1]), found.append)
    assert opening.wait(20)
    assert not opening.running
    (one,) = found
    assert one.series.folder == folders[1] / 'labels'
    assert one.source == source(folders[1])
    # the first one ends at its next image, and is never shown
    go.set()
    assert first.wait(20)
    assert found == [one]
    assert len([path for path in read if path.parent == folders[0]]) == 1


def test_closing_drops_a_series_that_is_being_opened(folders, slow):
    go, started, read = slow
    found, failed = [], []
    session = Session(load_model=lambda name: OracleSam(), model_name='one')
    opening = session.series.opening
    opening.failed.connect(failed.append)
    opening.start(source(folders[0]), found.append)
    assert started.wait(20)
    session.close()
    assert not opening.running
    go.set()
    assert opening.wait(20)
    assert not found
    assert not failed
    assert len(read) == 1


def test_what_cannot_be_opened_is_told(opening, tmp_path):
    found, failed = [], []
    opening.failed.connect(failed.append)
    opening.start(source(tmp_path / 'gone'), found.append)
    assert opening.wait(20)
    assert failed == [f'There is no file or folder {tmp_path / "gone"}.']
    opening.start(source(tmp_path / 'gone'), found.append, resume=True)
    assert opening.wait(20)
    assert len(failed) == 2
    assert not found


def test_resuming_leaves_out_what_is_missing(opening, folders):
    here, gone = folders[1] / 'a.tif', folders[1] / 'gone.tif'
    found = []
    opening.start(source(gone, here), found.append, resume=True)
    assert opening.wait(20)
    (one,) = found
    assert one.source.images == (str(here),)
    assert one.missing == (str(gone),)
    assert one.note.endswith(f'not found: {gone} is missing.')
