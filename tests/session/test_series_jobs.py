"""Jobs on the images of a series, without a window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from viewer.oracle import OracleSam

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import SeriesError
from napari_mobilesam.session import Session
from napari_mobilesam.session.series.labels_saving import SaveRequest
from napari_mobilesam.session.series.rescued import rescue_folders
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
        assert jobs.saving.unsaved.keys() == {0}
        jobs.segment_all(
            EverythingParameters(points_per_side=8, whole_image=True)
        )
        session.finish()
        assert jobs.saving.unsaved[0].labels.max() == 7
    session.close()
    assert tifffile.imread(tmp_path / 'labels' / 'a_labels.tif').max() == 7


def test_labels_that_were_found_do_not_replace_others(session, tmp_path):
    jobs, changed = session.series, []
    jobs.changed.connect(changed.append)
    image = jobs.required.read_image(0)
    mine = np.full(image.label_shape, 7, np.uint16)
    for number in range(2):
        jobs.save_found(SaveRequest(number, mine, None, image))
        session.finish()
    assert changed == [0, 1]
    (tmp_path / 'labels' / 'a_labels.tif').unlink()
    jobs.open(Series.open(tmp_path))
    session.finish()
    with jobs.saving.lock:
        jobs.save_found(SaveRequest(0, mine + 1, None, image))
        # time to look for labels before there are some
        jobs.wait(0.2)
        jobs.required.save_labels(0, mine, None, image)
    session.finish()
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
    assert not jobs.saving.unsaved
    assert written == [jobs.required[0].session]


@pytest.fixture(params=[False, True])
def rescued(tmp_path, monkeypatch, request):
    """Folder of an image whose labels, all 7, could not be saved."""
    monkeypatch.setenv('NAPARI_MOBILESAM_SESSIONS', str(tmp_path / 'user'))
    pixels = np.zeros((60, 80), np.uint8)
    folder = tmp_path / 'images'
    folder.mkdir()
    tifffile.imwrite(folder / 'a.tif', pixels)
    Series.open(folder).save_labels(0, np.full(pixels.shape, 1, np.uint16))
    with monkeypatch.context() as patch:
        patch.setattr(Series, 'save_labels', full)
        session = open_session(folder)
        series = session.series.required
        series.read_labels(0, pixels.shape)
        mine = SaveRequest(
            0,
            np.full(pixels.shape, 7, np.uint16),
            None,
            series.read_image(0),
            lambda path: path.write_bytes(b'prompts'),
        )
        session.series.save(mine)
        session.close()
        # the folder is full still
        session = open_session(folder)
        if request.param:
            session.series.save(replace(mine, write_session=None))
        session.close()
    return folder


def open_session(folder):
    session = Session(load_model=lambda name: OracleSam(), model_name='one')
    session.series.open(Series.open(folder))
    session.finish()
    return session


def saved(folder):
    """Labels of the files in the folder, and prompts, by name."""
    labels = folder / 'labels'
    found = {f.name: tifffile.imread(f).max() for f in labels.glob('*.tif')}
    prompts = labels.glob('.napari-mobilesam/*.session')
    return found, [path.read_bytes() for path in prompts]


def test_labels_that_could_not_be_saved_come_back_with_prompts(rescued):
    open_session(rescued).close()
    assert saved(rescued) == ({'a_labels.tif': 7}, [b'prompts'])
    assert not list(rescue_folders()[0].iterdir())


def test_labels_that_come_back_do_not_replace_newer_ones(rescued):
    other = Series.open(rescued)
    other.save_labels(0, np.full((60, 80), 9, np.uint16))
    open_session(rescued).close()
    assert saved(rescued)[0] == {'a_labels.tif': 9, 'a_labels.2.tif': 7}
