"""Menus, samples, models, and the bundled model on a real image."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_mobilesam import get_session, sample_data
from napari_mobilesam.model import registry
from napari_mobilesam.widgets import open_form

PLUGIN = 'napari-mobilesam'
SAMPLES = {
    'nuclei': (520, 696),
    'tissue': (256, 320, 3),
    'phase_contrast': (440, 440),
    'coins': (303, 384),
    'nuclei_stack': (24, 256, 256),
    'nuclei_series': (16, 256, 256),
}

CHANNELS = 'cells_in_channels'


@pytest.mark.parametrize('key', SAMPLES)
def test_samples(key):
    ((data, attributes, kind),) = getattr(sample_data, key)()
    assert data.shape == SAMPLES[key]
    assert data.dtype == np.uint8
    assert data.std() > 5
    assert kind == 'image'
    assert attributes['name']


@pytest.mark.slow
@pytest.mark.parametrize('key', ['nuclei_stack', 'nuclei_series'])
def test_drawn_samples_are_always_the_same(key):
    draw = getattr(sample_data, key)
    ((first, place, _),), ((second, _, _),) = draw(), draw()
    assert np.array_equal(first, second)
    assert len(place['axis_labels']) == first.ndim


def test_dock_forms_and_samples_are_in_the_manifest():
    manifest = PluginManifest.from_distribution(PLUGIN)
    commands = {c.id: c for c in manifest.contributions.commands}
    names = [w.display_name for w in manifest.contributions.widgets]
    assert 'Segmentation' in names
    assert {s.key for s in manifest.contributions.sample_data} == {
        *SAMPLES,
        CHANNELS,
    }
    items = manifest.contributions.menus['napari/layers/segment']
    for item in items:
        assert item.command in commands
    titles = {commands[item.command].title for item in items}
    assert titles >= {
        'Segment by prompts',
        'Segment everything',
        'Fine-tune on labels',
    }


@pytest.mark.slow
def test_sample_opens(make_napari_viewer):
    viewer = make_napari_viewer(show=False)
    (layer,) = viewer.open_sample(PLUGIN, 'tissue')
    assert layer.rgb


def test_sample_in_channels_is_segmented_in_both(desk, blobs):
    d = desk(blobs)
    bodies, nuclei = d.viewer.open_sample(PLUGIN, CHANNELS)
    assert bodies.data.shape == nuclei.data.shape == (256, 256)
    assert bodies.data.dtype == np.uint8
    # each nucleus lies in a cell
    assert (bodies.data[nuclei.data > 80] > 50).mean() > 0.95
    again = sample_data.cells_in_channels()
    assert np.array_equal(again[0][0], bodies.data)
    header = d.widget.header
    header.image_combo.layer = bodies
    d.settle()
    choice = header.channel_combo.findText('with cell nuclei')
    header.channel_combo.setCurrentIndex(choice)
    header.channel_combo.activated.emit(choice)
    d.settle()
    assert header.plane.layer is bodies
    assert list(header.channel_combo.composed) == [nuclei]


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    return tmp_path


def choose_model(d, name):
    combo = d.widget.header.model_box.combo
    combo.setCurrentIndex(combo.findData(name))
    combo.activated.emit(combo.currentIndex())
    return d.widget.header.model_box


@pytest.mark.slow
def test_bundled_model_is_named_and_the_official_one_offered(
    desk, blobs, empty_cache
):
    d = desk(blobs)
    box = d.widget.header.model_box
    assert box.combo.currentText() == registry.BUNDLED
    assert box.button.isHidden()
    entry = box.combo.findData(registry.OFFICIAL)
    assert box.combo.itemText(entry) == f'{registry.OFFICIAL} (39 MB)'
    choose_model(d, registry.OFFICIAL)
    assert box.button.text() == 'Download mobile_sam (39 MB)'


def test_download_from_the_widget(
    desk, blobs, empty_cache, monkeypatch, qtbot
):
    go = threading.Event()

    def download(name, progress=None):
        progress(10, 40, 'x')
        go.wait(20)
        path = registry._download_path(registry.registry()[name])
        path.parent.mkdir(parents=True)
        path.touch()
        return path

    monkeypatch.setattr(registry, 'download_model', download)
    d = desk(blobs)
    box = choose_model(d, registry.OFFICIAL)
    steps = []
    d.session.progress.connect(lambda *step: steps.append(step))
    _, refine = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Refine labels'
    )
    other = refine.model_box.button
    box.button.click()
    assert 'Stop' in box.button.text()
    qtbot.waitUntil(lambda: 'Stop' in other.text())
    # a dock opened in the meantime
    refine.detach()
    other.setText('')
    refine.attach()
    assert 'Stop' in other.text()
    # and a closed one, which is told nothing
    box._dock.detach()
    go.set()
    d.session.wait(20)
    d.settle()
    box._dock.attach()
    d.session.wait(20)
    d.settle()
    assert steps == [('model', 10, 40)]
    assert d.session.model_name == registry.OFFICIAL
    assert box.combo.currentData() == registry.OFFICIAL
    assert box.button.isHidden()


@pytest.mark.slow
def test_failed_download_is_told(desk, blobs, empty_cache, monkeypatch):
    def download(name, progress=None):
        raise OSError('no route to host')

    monkeypatch.setattr(registry, 'download_model', download)
    d = desk(blobs)
    choose_model(d, registry.OFFICIAL).button.click()
    d.session.wait(20)
    d.settle()
    assert 'no route to host' in d.widget.status.text
    assert d.session.model_name == registry.BUNDLED
    assert 'Download' in d.widget.header.model_box.button.text()


@pytest.mark.slow
def test_model_that_is_not_here_is_not_used(desk, blobs, empty_cache):
    d = desk(blobs)
    choose_model(d, 'vit_b')
    assert d.session.model_name == registry.BUNDLED
    assert 'stays in use' in d.widget.header.model_box.note.text()
    assert 'Download vit_b (358 MB)' in d.widget.header.model_box.button.text()


def test_file_of_the_user_s_own(desk, blobs, empty_cache, monkeypatch):
    from napari_mobilesam.widgets.parts import model_box

    monkeypatch.setattr(
        model_box.QFileDialog,
        'getOpenFileName',
        lambda *args: ('/somewhere/mine.pt', ''),
    )
    d = desk(blobs)
    combo = d.widget.header.model_box.combo
    combo.setCurrentIndex(combo.findText(model_box.OPEN_FILE))
    combo.activated.emit(combo.currentIndex())
    d.settle()
    assert d.session.model_name == '/somewhere/mine.pt'
    assert combo.currentText() == 'mine.pt'


@pytest.mark.slow
def test_other_model_answers_the_open_object_anew(desk, blobs, empty_cache):
    d = desk(blobs)
    d.viewer.layers['prompts'].add((28, 32))
    d.settle()
    answers = []
    d.session.preview.connect(answers.append)
    d.session.use_model('/somewhere/mine.pt')
    d.settle()
    assert [a.request.model_name for a in answers] == ['/somewhere/mine.pt']


@pytest.mark.slow
def test_bundled_model_on_a_real_image(make_napari_viewer, settle, qtbot):
    if not registry.bundled_path().is_file():
        pytest.skip('this build has no bundled weights')
    viewer = make_napari_viewer(show=True)
    (image,) = viewer.open_sample(PLUGIN, 'nuclei')
    widget = open_form(viewer, 'prompts')
    session = get_session(viewer)
    settle(session, widget)
    from .conftest import Mouse

    nucleus, background = (310, 165), (300, 300)
    Mouse(viewer).click(image, nucleus)
    settle(session, widget)
    widget.trigger('accept')
    QApplication.processEvents()
    labels = viewer.layers['objects'].data
    assert labels[nucleus] == 1
    assert labels[background] == 0
    # a nucleus here has about 3000 pixels
    assert 500 < np.count_nonzero(labels) < 6000
