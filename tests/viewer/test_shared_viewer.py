"""The check that keeps tests with one viewer apart."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QWidget

# other tests would fail as well
pytestmark = pytest.mark.slow


def listener(event=None):
    """Do nothing."""


def listen(viewer):
    viewer.layers.events.inserted.connect(listener)
    return lambda: viewer.layers.events.inserted.disconnect(listener)


def bind(viewer):
    viewer.bind_key('F9', listener)
    return lambda: viewer.bind_key('F9', None)


def watch_the_mouse(viewer):
    viewer.mouse_drag_callbacks.append(listener)
    return lambda: viewer.mouse_drag_callbacks.remove(listener)


def dock(viewer):
    widget = QWidget()
    viewer.window.add_dock_widget(widget, name='left')
    return lambda: viewer.window.remove_dock_widget(widget)


def turn(viewer):
    viewer.camera.angles = (0, 0, 90)
    return viewer.camera.reset


def add(viewer):
    layer = viewer.add_points()
    return lambda: viewer.layers.remove(layer)


@pytest.mark.parametrize(
    ('leave', 'name'),
    [
        (listen, 'listener layers.events.inserted'),
        (bind, 'key F9'),
        (watch_the_mouse, 'listener mouse_drag'),
        (dock, 'dock'),
        (turn, 'camera'),
        (add, 'layers'),
    ],
)
def test_what_is_left_is_named(leave, name, take_viewer, shared_viewers):
    viewer = take_viewer()
    shared = shared_viewers[False][0]
    assert shared.left_over() == []
    clean = leave(viewer)
    assert any(line.startswith(name) for line in shared.left_over())
    clean()


def test_a_second_viewer_is_another(take_viewer):
    first, second = take_viewer(), take_viewer()
    assert first is not second
    first.add_points()
    assert len(second.layers) == 0


def test_a_closed_viewer_is_replaced(take_viewer, shared_viewers):
    take_viewer().close()
    assert shared_viewers[False][0].closed
