"""“Segment everything” in a real window."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_mobilesam.time_left import TimeLeft
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets import open_form

EVERYTHING = 'Segment everything'
CENTRES = [(28, 32), (28, 92), (68, 32), (68, 92)]


def open_desk(desk, *images, **kwargs):
    d = desk(*images, widget=EVERYTHING, **kwargs)
    d.widget.panel.form.controls['points_per_side'].value = 10
    d.widget.panel.form.controls['whole_image'].value = True
    d.widget.panel.form.controls['min_area'].value = 0
    return d


def run(d):
    d.widget.panel.run_button.click()
    d.settle()
    return d.viewer.layers[-1]


def test_every_blob_gets_a_label_with_its_scores(desk, blobs):
    d = open_desk(desk, blobs, scale=(2, 3), rotate=15)
    labels = run(d)
    ids = [labels.data[centre] for centre in CENTRES]
    assert sorted(ids) == [1, 2, 3, 4]
    assert labels.data.max() == 4
    np.testing.assert_allclose(
        labels.data_to_world((5, 7)), d.image.data_to_world((5, 7))
    )
    features = labels.features.set_index('index')
    for number in ids:
        assert features.loc[number, 'score'] == pytest.approx(0.97)
        area = np.count_nonzero(labels.data == number)
        assert features.loc[number, 'area'] == area
    assert '4 objects' in d.widget.status.text
    assert d.widget.status.bar.isHidden()


@pytest.mark.slow
def test_plane_of_a_stack(desk, blobs):
    d = open_desk(desk, np.stack([blobs * 0, blobs]))
    d.viewer.dims.set_current_step(0, 1)
    labels = run(d)
    assert labels.data.shape == (2, *blobs.shape)
    assert not labels.data[0].any()
    assert labels.data[1].max() == 4


@pytest.mark.slow
def test_existing_layer_is_added_to_in_one_undoable_step(desk, blobs):
    d = open_desk(desk, blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[0, :5] = 9
    own = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = own
    run(d)
    assert sorted(own.data[c] for c in CENTRES) == [10, 11, 12, 13]
    assert own.data[0, 0] == 9
    assert set(own.features['index']) >= {10, 11, 12, 13}
    d.session.undo()
    assert set(np.unique(own.data)) == {0, 9}


def own_labels(d, highest):
    data = np.zeros(d.image.data.shape, np.uint8)
    data[0, 0] = highest
    own = d.viewer.add_labels(data, name='own')
    d.widget.panel.labels_combo.layer = own
    return own


def test_objects_that_a_layer_cannot_hold_go_into_a_new_one(desk, blobs):
    d = open_desk(desk, blobs)
    own = own_labels(d, 253)
    told = []
    d.session.progress.connect(lambda *_: told.append(d.widget.status.text))
    run(d)
    assert any('has room for 2 more objects' in text for text in told)
    assert np.count_nonzero(own.data) == 1
    new = d.viewer.layers['image objects']
    assert sorted(new.data[c] for c in CENTRES) == [1, 2, 3, 4]
    assert '4 objects' in d.widget.status.text
    assert 'a new layer: “own” is full' in d.widget.status.text
    # the new layer is filtered and undone like any other
    d.session.undo()
    assert not new.data.any()


@pytest.mark.slow
def test_layer_without_a_free_label_is_refused_before_the_run(desk, blobs):
    d = open_desk(desk, blobs)
    own = own_labels(d, 255)
    d.widget.panel.run_button.click()
    assert 'is full' in d.widget.status.text
    assert d.widget.panel.run_button.isEnabled()
    d.settle()
    assert np.count_nonzero(own.data) == 1
    assert 'image objects' not in d.viewer.layers


@pytest.mark.slow
def test_prompts_are_answered_during_a_run(desk, blobs, oracle, qtbot):
    d = open_desk(desk, blobs)
    prompts = open_form(d.viewer, 'prompts')
    d.settle()
    d.widget.panel.form.controls['batch_size'].value = 1
    order = []
    d.session.preview.connect(lambda result: order.append('preview'))
    d.session.everything.connect(lambda result: order.append('everything'))
    oracle.go.clear()
    d.widget.panel.run_button.click()
    d.viewer.layers['prompts'].add(CENTRES[0])
    prompts.object.update()
    oracle.go.set()
    d.settle()
    assert order == ['preview', 'everything']


@pytest.mark.slow
def test_image_removed_during_a_run(desk, blobs, oracle):
    d = open_desk(desk, blobs)
    oracle.go.clear()
    d.widget.panel.run_button.click()
    d.viewer.layers.remove(d.image)
    oracle.go.set()
    d.settle()
    assert 'was removed' in d.widget.status.text
    assert len(d.viewer.layers) == 0
    assert d.widget.panel.run_button.isEnabled()


def test_nothing_found_says_what_to_change(desk, blobs):
    d = open_desk(desk, np.zeros_like(blobs))
    d.widget.panel.run_button.click()
    d.settle()
    assert len(d.viewer.layers) == 1
    assert 'Nothing was found' in d.widget.status.text


def test_no_image(desk):
    d = desk(widget=EVERYTHING)
    d.widget.panel.run_button.click()
    assert 'No image' in d.widget.status.text


@pytest.mark.slow
def test_contradicting_parameters(desk, blobs):
    d = open_desk(desk, blobs)
    d.widget.panel.form.controls['diameter'].check.value = False
    d.widget.panel.form.controls['crop_layers'].value = 1
    d.widget.panel.run_button.click()
    d.settle()
    assert 'diameter' in d.widget.status.text
    assert len(d.viewer.layers) == 1
    assert d.widget.panel.run_button.isEnabled()


@pytest.mark.slow
def test_form_shows_the_defaults_and_returns_what_it_shows(desk, blobs):
    form = desk(blobs, widget=EVERYTHING).widget.panel.form
    assert form.value == EverythingParameters()
    heard = []
    form.changed.connect(heard.append)
    other = EverythingParameters(
        points_per_side=7,
        diameter=33.0,
        predicted_iou=0.5,
        stability=0.75,
        whole_image=True,
        crop_overlap=0.25,
        batch_size=3,
    )
    form.value = other
    assert form.value == other
    assert heard == [other]
    assert form.controls['diameter'].number.native.text() == '33'


def test_form_is_filled_in_by_keyboard_and_mouse(desk, blobs):
    form = desk(blobs, widget=EVERYTHING).widget.panel.form
    heard = []
    form.changed.connect(heard.append)
    points = form.controls['points_per_side'].native
    points.setFocus()
    points.selectAll()
    QTest.keyClicks(points, '24')
    QTest.keyClick(points, Qt.Key.Key_Return)
    assert form.value.points_per_side == 24
    assert heard[-1] == EverythingParameters(points_per_side=24)
    diameter = form.controls['diameter']
    number, check = diameter.number.native, diameter.check.native
    assert not number.isEnabled()
    QTest.mouseClick(check, Qt.MouseButton.LeftButton, pos=inside(check))
    assert number.isEnabled()
    # it begins with the diameter that was found
    found = diameter.number.value
    QTest.keyClick(number, Qt.Key.Key_Up)
    assert form.value.diameter == found + 1
    adaptive = form.controls['adaptive'].native
    QTest.mouseClick(adaptive, Qt.MouseButton.LeftButton, pos=inside(adaptive))
    assert not form.value.adaptive
    QTest.mouseClick(check, Qt.MouseButton.LeftButton, pos=inside(check))
    assert form.value.diameter is None
    assert not number.isEnabled()
    # a number can be typed at once, without a look for the box
    QTest.mouseClick(
        number, Qt.MouseButton.LeftButton, pos=inside(number) + QPoint(30, 0)
    )
    assert not check.isChecked()
    QTest.keyClicks(number, '33')
    QTest.keyClick(number, Qt.Key.Key_Return)
    assert form.value.diameter == 33


def inside(box):
    return QPoint(8, box.height() // 2)


@pytest.mark.slow
def test_no_diameter_is_shown_until_it_is_known_for_the_image(
    everything_desk, blobs
):
    d = everything_desk(blobs, 255 - blobs)
    first, second = d.viewer.layers
    controls = d.widget.panel.form.controls
    controls['whole_image'].value = False
    diameter = controls['diameter']
    d.widget.header.image_combo.layer = first
    d.settle()
    assert float(diameter.number.native.text()) > 5
    d.widget.header.image_combo.layer = second
    assert diameter.number.native.text() == '…'
    diameter.check.native.click()
    assert float(diameter.number.native.text()) > 5
    assert d.widget.panel.form.value.diameter > 5
    diameter.check.native.click()
    d.settle()
    assert float(diameter.number.native.text()) > 5


@pytest.mark.slow
def test_the_time_left_is_that_of_the_run(everything_desk, blobs, oracle):
    """Earlier estimates do not matter."""
    d = everything_desk(blobs)
    oracle.go.clear()
    d.widget.panel.run_button.click()
    now = [0.0]
    d.widget.runs.time_left = TimeLeft(lambda: now[0])
    tell = d.session.runs.progress.emit
    tell(100, 1000, 'Embedded window 1')
    assert d.widget.status.text == 'Embedded window 1 …'
    now[0] = 10.0
    tell(200, 1000, 'Segmenting')
    assert d.widget.status.text == 'Segmenting, about 80 s left'
    for step in range(1, 31):
        # from now on it is twice as fast
        now[0] = 10.0 + step
        tell(200 + 20 * step, 1000, 'Segmenting')
    assert d.widget.status.text == 'Segmenting, about 10 s left'
    oracle.go.set()
    d.settle()
    assert '4 objects in' in d.widget.status.text


@pytest.mark.slow
def test_undone_run_says_that_its_layer_is_empty(desk, blobs):
    d = open_desk(desk, blobs)
    run(d)
    d.mouse.key(Qt.Key.Key_U)
    d.settle()
    assert d.widget.status.text == (
        'Undone: 4 objects. “image objects” has no objects now; it is kept '
        'for redo.'
    )


@pytest.mark.slow
def test_time_of_a_run_is_what_the_user_waited(desk, blobs, monkeypatch):
    d = open_desk(desk, blobs)
    clock = SimpleNamespace(perf_counter=iter((10.0, 99.0)).__next__)
    monkeypatch.setattr(
        'napari_mobilesam.widgets.everything.run_control.time', clock
    )
    run(d)
    assert '4 objects in 89.0 s' in d.widget.status.text


@pytest.mark.slow
def test_nothing_replaces_stopping(desk, blobs, oracle):
    d = open_desk(desk, blobs)
    oracle.go.clear()
    d.widget.panel.run_button.click()
    d.session.status.emit('Embedding', 'everything')
    assert d.widget.status.text == 'Embedding'
    d.widget.cancel()
    d.session.status.emit('Embedding', 'everything')
    d.session.large.progress.emit(1, 3, 'Tile 1')
    d.session.classifying.progress.emit(1, 3, 'Comparing')
    assert d.widget.status.text.startswith('Stopping; the objects found')
    oracle.go.set()
    d.settle()
