"""The mask under the cursor: shown before the click, gone with it."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.settings import load_settings

FIRST, SECOND = (28, 32), (28, 92)
NAME = 'hover preview'


def hover(d, position, rest=False):
    d.mouse.move(d.mouse.at(d.image, position))
    d.settle()
    if rest:
        QTest.qWait(300)
        d.settle()


def shown(d):
    return d.widget.hover.preview.visible


@pytest.mark.slow
@pytest.mark.window
def test_mask_is_shown_before_the_click_and_follows(desk, blobs):
    d = desk(blobs)
    hover(d, FIRST)
    assert not shown(d)
    d.mouse.key(Qt.Key.Key_H)
    hover(d, FIRST)
    layer = d.viewer.layers[NAME]
    assert shown(d)
    assert layer.get_value(FIRST, world=True) == 1
    hover(d, SECOND)
    assert layer.get_value(SECOND, world=True) == 1
    assert not layer.get_value(FIRST, world=True)
    assert len(d.viewer.layers['prompts'].data) == 0
    assert load_settings().hover


def test_nothing_is_shown_beside_objects_and_outside(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('toggle_hover')
    hover(d, FIRST)
    assert shown(d)
    hover(d, (4, 4))
    assert not shown(d)
    hover(d, FIRST)
    hover(d, (-6, 30))
    assert not shown(d)


@pytest.mark.slow
def test_click_puts_an_end_to_it_until_the_object_is_done(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('toggle_hover')
    hover(d, FIRST)
    d.mouse.click(d.image, FIRST)
    d.settle()
    hover(d, SECOND)
    assert not shown(d)
    assert d.widget.preview.visible
    d.widget.trigger('accept')
    hover(d, SECOND)
    assert shown(d)


@pytest.mark.slow
def test_key_switches_it_off(desk, blobs):
    d = desk(blobs)
    d.mouse.key(Qt.Key.Key_H)
    hover(d, FIRST)
    assert shown(d)
    d.mouse.key(Qt.Key.Key_H)
    assert not shown(d)
    hover(d, SECOND)
    assert not shown(d)
    assert not load_settings().hover


@pytest.mark.slow
def test_hover_on_a_plane_of_a_transformed_stack(desk, blobs):
    d = desk(np.stack([blobs, blobs]), scale=(3, 2, 1.5), translate=(5, 9, 7))
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    d.widget.trigger('toggle_hover')
    hover(d, (1, *SECOND), rest=True)
    layer = d.viewer.layers[NAME]
    world = d.image.data_to_world((1, *SECOND))
    assert layer.get_value(world, world=True) == 1
    d.viewer.dims.set_current_step(0, 0)
    assert not shown(d)


@pytest.mark.slow
def test_closing_the_dock_leaves_the_mouse_alone(desk, blobs):
    d = desk(blobs, show=False)
    d.widget.trigger('toggle_hover')
    assert len(d.viewer.mouse_move_callbacks) == 1
    d.viewer.window.remove_dock_widget(d.dock)
    assert d.viewer.mouse_move_callbacks == []
    assert NAME not in d.viewer.layers
