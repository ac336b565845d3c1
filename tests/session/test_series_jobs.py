"""Jobs on the images of a series, without a window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from viewer.oracle import OracleSam

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import SeriesError
from napari_mobilesam.session import Session
from napari_mobilesam.session.series.series_jobs import SaveRequest
from napari_mobilesam.types import EverythingParameters


def full(self, *given):
    raise SeriesError('There is no space left.')


@pytest.fixture
def session(tmp_path):
    pixels = np.zeros((60, 80), np.uint8)
    pixels[10:30, 10:30] = 200
    for name in 'ab':
        tifffile.imwrite(tmp_path / f'{name}.tif', pixels)
    session = Session(load_model=lambda name: OracleSam(), model_name='one')
    session.series.open(Series.open(tmp_path))
    yield session
    session.close()


def test_a_run_leaves_labels_that_wait_to_be_saved(
    session, tmp_path, monkeypatch
):
    jobs = session.series
    image = jobs.required.read_image(0)
    mine = np.zeros(image.label_shape, np.uint16)
    mine[40:50, 40:50] = 7
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        jobs.save(SaveRequest(0, mine, None, image))
        session.finish()
        assert jobs.unsaved.keys() == {0}
        jobs.segment_all(
            EverythingParameters(points_per_side=8, whole_image=True), 'one'
        )
        session.finish()
        assert jobs.unsaved[0].labels.max() == 7
    session.close()
    assert tifffile.imread(tmp_path / 'labels' / 'a_labels.tif').max() == 7


def test_prompts_that_could_not_be_saved_wait_with_their_labels(
    session, monkeypatch
):
    jobs, read, written = session.series, [], []
    jobs.read.connect(read.append)
    image = jobs.required.read_image(0)
    mine = np.ones(image.label_shape, np.uint16)
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        jobs.save(SaveRequest(0, mine, None, image, written.append))
        jobs.ask(0)
        session.finish()
        # the labels are back, without their prompts
        (found,) = read
        assert found.labels.labels is mine
        assert not found.complete
    jobs.save(SaveRequest(0, 2 * mine, None, image))
    session.finish()
    assert not jobs.unsaved
    assert written == [jobs.required[0].session]
