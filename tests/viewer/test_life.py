"""Docks that close and open again, several viewers, what is left behind."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QApplication

from napari_mobilesam import get_session
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.parts import viewer_widget
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall

INSIDE = (28, 32)


def workers():
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith('napari-mobilesam')
    ]


def close_dock(d):
    d.viewer.window.remove_dock_widget(d.dock)
    for _ in range(5):
        QApplication.processEvents()


@pytest.mark.slow
def test_session_is_one_per_viewer(desk, blobs):
    first, second = desk(blobs), desk(blobs)
    assert first.session is get_session(first.viewer)
    assert first.session is first.widget.session
    assert first.session is not second.session


@pytest.mark.own_viewer
def test_two_viewers_are_independent(desk, blobs):
    # two shown canvases in one process upset vispy, not the clicks
    first, second = desk(blobs, show=False), desk(blobs, show=False)
    first.mouse.click(first.image, INSIDE)
    second.mouse.click(second.image, (68, 92))
    first.settle()
    second.settle()
    first.widget.trigger('accept')
    second.widget.trigger('accept')
    one = first.viewer.layers['objects'].data
    two = second.viewer.layers['objects'].data
    assert (one[INSIDE], one[68, 92]) == (1, 0)
    assert (two[INSIDE], two[68, 92]) == (0, 1)
    first.viewer.close()
    second.mouse.click(second.image, INSIDE)
    second.settle()
    second.widget.trigger('accept')
    assert two[INSIDE] == 2


def test_closing_the_dock_leaves_nothing_behind(desk, blobs, monkeypatch):
    lost = []
    monkeypatch.setattr(viewer_widget, '_lose', lambda *a: lost.append(a))
    d = desk(blobs, show=False)
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    points = d.viewer.layers['prompts']
    callbacks = len(points.mouse_drag_callbacks)
    close_dock(d)
    assert 'preview' not in d.viewer.layers
    assert len(points.mouse_drag_callbacks) == callbacks - 1
    for key in 'WQNU':
        assert not [k for k in d.viewer.keymap if str(k) == key]
    d.session.wait(5)
    points.add((68, 92))
    d.viewer.layers.remove(points)
    d.viewer.add_image(blobs)
    d.settle()
    assert 'preview' not in d.viewer.layers
    reference = weakref.ref(d.widget)
    d.widget = d.dock = None
    gc.collect()
    for _ in range(5):
        QApplication.processEvents()
    gc.collect()
    assert reference() is None
    # PyQt crashes if Python has collected the callback, too
    assert not lost


@pytest.mark.slow
def test_threads_end_with_the_dock(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert workers()
    close_dock(d)
    for thread in workers():
        thread.join(10)
    assert not workers()


@pytest.mark.slow
def test_reopened_dock_goes_on_with_its_layers(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.widget.trigger('accept')
    d.mouse.click(d.image, (68, 92))
    d.settle()
    close_dock(d)
    widget = open_form(d.viewer, 'prompts')
    d.settle()
    names = [layer.name for layer in d.viewer.layers]
    assert names.count('prompts') == 1
    # the open object is still there
    assert widget.preview.visible
    d.mouse.key(Qt.Key.Key_W)
    labels = d.viewer.layers['objects'].data
    assert (labels[INSIDE], labels[68, 92]) == (1, 2)


@pytest.mark.slow
def test_dock_closed_while_embedding(desk, blobs, oracle):
    d = desk(blobs)
    d.session.clear_cache()
    oracle.go.clear()
    d.mouse.click(d.image, INSIDE)
    close_dock(d)
    oracle.go.set()
    d.settle()
    assert 'preview' not in d.viewer.layers


@pytest.mark.slow
@pytest.mark.own_viewer
def test_viewer_closed_while_embedding(desk, blobs, oracle):
    d = desk(blobs)
    d.session.clear_cache()
    oracle.go.clear()
    d.mouse.click(d.image, INSIDE)
    d.viewer.close()
    oracle.go.set()
    assert d.session.wait(10)


@pytest.mark.slow
def test_a_closed_image_is_released(desk, blobs):
    d = desk(blobs, np.stack([blobs // 2] * 4))
    stay, gone = d.viewer.layers[:2]
    d.image = stay
    d.mouse.click(gone, (1, *INSIDE))
    d.settle()
    d.widget.trigger('accept')
    left = weakref.ref(gone), weakref.ref(gone.data)
    d.viewer.layers.remove(gone)
    del gone
    d.settle()
    d.mouse.click(stay, INSIDE)
    d.settle()
    gc.collect()
    assert [reference() for reference in left] == [None, None]


@pytest.mark.slow
def test_layers_renamed_and_reordered_while_working(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.image.name = 'renamed'
    d.viewer.layers['prompts'].name = 'my clicks'
    d.viewer.layers.move(0, 2)
    d.settle()
    d.widget.trigger('accept')
    assert d.viewer.layers['objects'].data[INSIDE] == 1
    assert d.widget.header.image_combo.currentText() == 'renamed'


@pytest.mark.slow
def test_image_combo_follows_the_active_image(desk, blobs):
    d = desk(blobs, blobs[::-1])
    first, second = d.viewer.layers[0], d.viewer.layers[1]
    d.viewer.layers.selection.active = first
    d.settle()
    assert d.widget.header.image_combo.layer is first
    d.widget.panel.buttons['use_points_tool'].click()
    d.viewer.layers['prompts'].add(INSIDE)
    d.settle()
    # an open object keeps its image
    d.viewer.layers.selection.active = second
    assert d.widget.header.image_combo.layer is first
    d.widget.trigger('reject')
    d.viewer.layers.selection.active = first
    d.viewer.layers.selection.active = second
    assert d.widget.header.image_combo.layer is second


@pytest.mark.slow
def test_labels_of_each_image_are_kept_apart(desk, blobs):
    d = desk(blobs, np.pad(blobs, 20))
    first, second = d.viewer.layers[0], d.viewer.layers[1]
    for image, position in ((first, INSIDE), (second, (48, 52))):
        d.widget.header.image_combo.layer = image
        d.settle()
        d.viewer.layers['prompts'].add(position)
        d.settle()
        d.widget.trigger('accept')
    assert d.viewer.layers[f'{first.name} objects'].data.shape == blobs.shape
    assert d.viewer.layers[f'{second.name} objects'].data[48, 52] == 1
    d.widget.header.image_combo.layer = first
    d.settle()
    assert (
        d.widget.panel.labels_combo.layer
        is d.viewer.layers[f'{first.name} objects']
    )


@pytest.mark.parametrize('key', list('WQNU'))
def test_keys_are_not_napari_s(key):
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(k) for keys in default_shortcuts.values() for k in keys}
    assert key not in taken


def test_a_call_is_dropped_with_the_dock_that_wanted_it(qapp):
    parent, calls = QObject(), []
    later = DelayedCall(lambda: calls.append(1), 0, parent)
    later.restart()
    parent.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    # a thread that reports to a dock that is closed
    later.restart()
    later.start()
    later.cancel()
    QApplication.processEvents()
    assert not later.pending
    assert calls == []
