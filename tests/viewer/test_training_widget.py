"""“Fine-tune on labels” in a real window."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QApplication

from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.session import fine_tuning
from napari_mobilesam.training.training_parameters import (
    FineTuneConfig,
    TrainConfig,
)
from napari_mobilesam.types import ModelRecord, ObjectDiameter
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.training import training_panel
from napari_mobilesam.widgets.training.labelled_planes import labelled_planes
from napari_mobilesam.widgets.viewer.layer_plane import plane_of

TRAINING = 'Fine-tune on labels'
RECORD = ModelRecord(
    'tiny', input_size=64, object_diameter=ObjectDiameter(8, 16, 50)
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    path = tmp_path / 'models'
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(path))
    return path


@pytest.fixture
def trainer(monkeypatch):
    """A tiny model and few steps; `go` holds them, scores are given."""
    torch.manual_seed(3)
    model = build_sam(record=RECORD).eval()
    quick = FineTuneConfig(
        crops=2,
        config=TrainConfig(
            steps=2,
            minutes=1000,
            batch_size=1,
            warmup=1,
            half=False,
            validation_steps=1,
        ),
    )
    go = threading.Event()
    go.set()
    scores = [0.81, 0.85, 0.89]

    def score(sam, samples, on_sample):
        if len(scores) > 1:
            return [''], np.full((1, 5), scores.pop(0))
        go.wait(20)
        return [''], np.full((1, 5), scores[0])

    def load(name):
        go.wait(20)
        return model

    monkeypatch.setattr(training_panel, 'FineTuneConfig', lambda: quick)
    monkeypatch.setattr(fine_tuning, 'load_by_name', load)
    monkeypatch.setattr(
        'napari_mobilesam.training.held_back.object_scores', score
    )
    yield type('Trainer', (), {'go': go, 'scores': scores})
    go.set()


@pytest.fixture
def drawn(blobs):
    """Labels of the four blobs."""
    labels = np.zeros(blobs.shape, np.int32)
    for number, (row, column) in enumerate(
        [(16, 20), (16, 80), (56, 20), (56, 80)], start=1
    ):
        labels[row : row + 24, column : column + 24] = number
    return labels


def open_desk(desk, image, labels=None, show=False, **kwargs):
    d = desk(image, widget=TRAINING, show=show, **kwargs)
    if labels is not None:
        d.labels = d.viewer.add_labels(labels, name='cells', **kwargs)
    d.settle()
    return d


@pytest.mark.slow
def test_better_model_is_selected_everywhere(
    desk, blobs, drawn, trainer, folder
):
    d = open_desk(desk, blobs, drawn, show=True, scale=(2, 3))
    everything = open_form(d.viewer, 'everything')
    assert '4 objects, of which 1 will be' in d.widget.panel.count_label.text()
    d.widget.panel.name_edit.setText('mine')
    d.widget.panel.run_button.click()
    assert d.widget.panel.cancel_button.isEnabled()
    assert not d.widget.panel.run_button.isEnabled()
    d.settle()
    assert (
        'Clicks and boxes: IoU 0.81 → 0.89 on 1 object held back. Segment '
        'everything: F1 ' in d.widget.status.text
    )
    assert 'mine is selected now' in d.widget.status.text
    assert (folder / 'mine.safetensors').is_file()
    assert d.session.model_name == 'mine'
    assert everything.header is d.widget.header
    assert d.widget.header.model_box.combo.currentText() == 'mine'
    assert [value for _, value in d.widget.panel.plot.iou.points] == [
        0.81,
        0.85,
        0.89,
    ]
    assert d.widget.panel.plot.loss.points
    assert not d.widget.panel.plot.grab().toImage().isNull()
    assert d.widget.panel.run_button.isEnabled()
    # the next one gets a name of its own
    assert d.widget.panel.name_edit.text() == 'mine_tuned1'


@pytest.mark.slow
def test_model_that_is_not_better_leaves_the_base(desk, blobs, drawn, trainer):
    trainer.scores[:] = [0.8, 0.7, 0.6]
    d = open_desk(desk, blobs, drawn)
    before = d.session.model_name
    d.widget.training.start()
    d.settle()
    assert 'No improvement; keeping' in d.widget.status.text
    assert d.session.model_name == before


@pytest.mark.slow
def test_clicks_are_answered_while_training(
    desk, blobs, drawn, trainer, qtbot
):
    d = open_desk(desk, blobs, drawn)
    prompts = open_form(d.viewer, 'prompts')
    d.settle()
    answers = []
    d.session.preview.connect(answers.append)
    trainer.go.clear()
    d.widget.training.start()
    d.viewer.layers['prompts'].add((28, 32))
    prompts.object.update()
    qtbot.waitUntil(lambda: bool(answers), timeout=20000)
    assert d.widget.tuning.running
    trainer.go.set()
    d.settle()
    assert 'Clicks and boxes: IoU' in d.widget.status.text


@pytest.mark.slow
def test_cancel_at_once_changes_nothing(desk, blobs, drawn, trainer, qtbot):
    d = open_desk(desk, blobs, drawn)
    trainer.go.clear()
    d.widget.training.start()
    d.widget.panel.cancel_button.click()
    # no step is done yet
    assert d.widget.status.text == 'Stopping …'
    trainer.go.set()
    d.settle()
    assert d.widget.status.text.startswith('Stopped before the training')
    assert d.widget.panel.run_button.isEnabled()
    assert not d.widget.panel.cancel_button.isEnabled()


@pytest.mark.slow
def test_labels_removed_while_training(desk, blobs, drawn, trainer):
    d = open_desk(desk, blobs, drawn)
    trainer.go.clear()
    d.widget.training.start()
    d.viewer.layers.remove(d.labels)
    assert '“cells” was removed; training continues' in d.widget.status.text
    trainer.go.set()
    d.settle()
    assert '“cells” was removed' in d.widget.status.text
    assert '0.81 → 0.89' in d.widget.status.text
    assert 'no labels layer' in d.widget.panel.count_label.text()


@pytest.mark.slow
def test_closing_the_dock_gives_the_run_up(
    desk, blobs, drawn, trainer, folder
):
    d = open_desk(desk, blobs, drawn)
    trainer.go.clear()
    d.widget.training.start()
    d.viewer.window.remove_dock_widget(d.dock)
    trainer.go.set()
    d.widget.tuning.wait(20)
    assert not list(folder.glob('*.safetensors'))
    assert not d.widget.attached


@pytest.mark.slow
@pytest.mark.own_viewer
def test_closing_the_viewer_gives_the_run_up(
    desk, blobs, drawn, trainer, folder
):
    d = open_desk(desk, blobs, drawn)
    trainer.go.clear()
    d.widget.training.start()
    tuning = d.widget.tuning
    d.viewer.close()
    QApplication.processEvents()
    assert not tuning.running
    trainer.go.set()
    tuning.wait(20)
    assert not list(folder.glob('*.safetensors'))


@pytest.mark.slow
def test_count_follows_edits(desk, blobs, drawn, trainer):
    d = open_desk(desk, blobs, np.zeros_like(drawn))
    assert 'No object is labelled' in d.widget.panel.count_label.text()
    d.labels.data = drawn
    d.settle()
    assert '4 objects' in d.widget.panel.count_label.text()
    d.labels.data_setitem(np.nonzero(drawn == 4), 0)
    d.settle()
    assert '3 objects' in d.widget.panel.count_label.text()


@pytest.mark.slow
def test_planes_of_a_stack(desk, blobs, drawn, trainer):
    stack = np.stack([blobs, blobs // 2, blobs])
    labels = np.stack([drawn, drawn * 0, drawn])
    d = open_desk(desk, stack, labels, scale=(4, 2, 2))
    assert '8 objects on 2 planes' in d.widget.panel.count_label.text()
    found = list(labelled_planes(plane_of(d.viewer, d.image), d.labels)())
    for plane, index in zip(found, (0, 2), strict=True):
        np.testing.assert_array_equal(plane.image.read(), stack[index])
        np.testing.assert_array_equal(plane.labels, labels[index])


def test_objects_are_counted_when_the_slider_is_back(
    desk, blobs, drawn, trainer
):
    d = open_desk(desk, np.stack([blobs] * 2), np.stack([drawn] * 2))
    d.viewer.add_image(np.zeros((4, *blobs.shape)))
    d.viewer.layers.selection.active = d.image
    d.viewer.dims.set_current_step(0, 3)
    d.widget.objects.count()
    text = d.widget.panel.count_label.text
    assert 'no plane here' in text()
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    assert '8 objects on 2 planes' in text()


@pytest.mark.slow
def test_labels_of_part_of_a_stack_and_of_one_plane(
    desk, blobs, drawn, trainer
):
    stack = np.stack([blobs, blobs // 2, blobs // 3])
    d = open_desk(desk, stack)
    part = d.viewer.add_labels(drawn[None], translate=(2, 0, 0))
    (plane,) = labelled_planes(plane_of(d.viewer, d.image), part)()
    np.testing.assert_array_equal(plane.image.read(), stack[2])
    flat = d.viewer.add_labels(drawn)
    d.viewer.dims.set_current_step(0, 1)
    (plane,) = labelled_planes(plane_of(d.viewer, d.image), flat)()
    np.testing.assert_array_equal(plane.image.read(), stack[1])


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'data': np.ones((20, 20), int)}, '20 × 20 but “Image” is 96 × 128'),
        ({'data': np.ones((2, 96, 128), int)}, 'has 3 axes'),
        ({'scale': (2, 2)}, 'does not lie on'),
        pytest.param(
            {'translate': (0, 5)}, 'does not lie on', marks=pytest.mark.slow
        ),
    ],
)
def test_labels_that_do_not_match(desk, blobs, drawn, trainer, change, text):
    d = open_desk(desk, blobs)
    d.viewer.layers[0].name = 'Image'
    d.viewer.add_labels(**{'data': drawn, 'name': 'cells', **change})
    d.settle()
    assert text in d.widget.panel.count_label.text()
    d.widget.training.start()
    assert text in d.widget.status.text
    assert not d.widget.tuning.running


def test_what_is_missing_is_said(desk, blobs, trainer):
    d = desk(widget=TRAINING, show=False)
    assert 'No image' in d.widget.panel.count_label.text()
    d.widget.training.start()
    assert 'No image' in d.widget.status.text
    d.viewer.add_image(blobs)
    d.settle()
    d.widget.training.start()
    assert 'no labels layer' in d.widget.status.text
    labels = np.zeros(blobs.shape, int)
    labels[16:40, 20:44] = 1
    d.viewer.add_labels(labels)
    d.settle()
    assert '1 object: label at least two' in d.widget.panel.count_label.text()
    d.widget.training.start()
    d.settle()
    assert 'label two or more' in d.widget.status.text
    d.widget.panel.name_edit.setText('mobile_sam')
    d.widget.training.start()
    assert 'already' in d.widget.status.text


@pytest.mark.slow
def test_full_disk_offers_to_save_again(
    desk, blobs, drawn, trainer, folder, monkeypatch
):
    def full(*args):
        raise OSError(28, 'No space left on device')

    d = open_desk(desk, blobs, drawn)
    with monkeypatch.context() as patch:
        patch.setattr(
            'napari_mobilesam.training.train_job.save_checkpoint', full
        )
        d.widget.training.start()
        d.settle()
    assert 'No space left' in d.widget.status.text
    assert not d.widget.panel.save_button.isHidden()
    d.widget.panel.name_edit.setText('later')
    d.widget.panel.save_button.click()
    d.settle()
    assert (folder / 'later.safetensors').is_file()
    assert d.session.model_name == 'later'
    assert d.widget.panel.save_button.isHidden()


def test_labels_that_objects_are_written_to_are_chosen(
    desk, blobs, drawn, trainer
):
    d = desk(blobs)
    d.viewer.add_labels(drawn, name='others')
    d.viewer.add_labels(np.zeros_like(drawn), name='mine')
    d.widget.panel.labels_combo.layer = d.viewer.layers['mine']
    d.widget.trigger('use_points_tool')
    training = open_form(d.viewer, 'training')
    d.settle()
    assert training.panel.labels_combo.layer is d.viewer.layers['mine']
    d.widget.panel.labels_combo.layer = d.viewer.layers['others']
    d.settle()
    assert training.panel.labels_combo.layer is d.viewer.layers['others']


def test_labels_of_all_channels_are_those_of_one_plane(desk, blobs, drawn):
    channels = np.stack([blobs, blobs // 2])
    d = open_desk(desk, channels)
    labels = np.stack([drawn, np.zeros_like(drawn)])
    labels[1, -4:, -4:] = 9
    layer = d.viewer.add_labels(labels)
    (plane,) = labelled_planes(plane_of(d.viewer, d.image, 0), layer)()
    np.testing.assert_array_equal(plane.labels, labels.max(0))
