"""Stacks with planes without pixels, and axes of length 1."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.widgets.prompts.open_object import WAIT
from napari_mobilesam.widgets.prompts.prompt_panel import HINTS

FIRST = (28, 32)
SHIFT = Qt.KeyboardModifier.ShiftModifier


def with_blank(blobs, *blank, planes=5):
    stack = np.stack([blobs] * planes).astype(np.float32)
    stack[list(blank)] = np.nan
    return stack


@pytest.mark.slow
@pytest.mark.window
def test_propagation_goes_on_behind_a_blank_plane(desk, blobs):
    d = desk(with_blank(blobs, 1, 3))
    d.viewer.dims.set_current_step(0, 2)
    d.settle()
    d.mouse.click(d.image, (2, *FIRST))
    d.settle()
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [int(plane[FIRST]) for plane in labels] == [1, 0, 1, 0, 1]
    assert 'empty planes were skipped (1, 3)' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_U)
    assert not labels[0].any()


@pytest.mark.slow
def test_object_removed_from_one_plane_stays_on_others(desk, blobs):
    d = desk(np.stack([blobs] * 3))
    for plane in (0, 1):
        d.viewer.dims.set_current_step(0, plane)
        d.settle()
        d.mouse.click(d.image, (plane, *FIRST))
        d.settle()
    prompts = d.viewer.layers['prompts']
    prompts.selected_data = {1}
    prompts.remove_selected()
    d.settle()
    assert 'is no longer on image, plane 1, but on 1 other plane: Accept' in (
        d.widget.status.text
    )
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [int(plane[FIRST]) for plane in labels] == [1, 0, 0]


def test_everything_takes_a_blank_plane_for_an_empty_one(
    everything_desk, blobs
):
    d = everything_desk(with_blank(blobs, 1, planes=3))
    combo = d.widget.panel.where.planes_combo
    combo.setCurrentIndex(combo.count() - 1)
    d.settle()
    d.widget.panel.run_button.click()
    d.settle()
    labels = d.viewer.layers['image objects'].data
    assert labels[0][FIRST] and labels[2][FIRST]
    assert not labels[1].any()
    assert not d.widget.status.failed


@pytest.mark.slow
def test_single_planes_are_no_stack(desk, blobs):
    stack = np.stack([blobs, blobs])[:, None]
    d = desk(stack)
    d.mouse.click(d.image, (0, 0, *FIRST))
    d.settle()
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels[1, 0][FIRST] == 1


@pytest.mark.slow
def test_single_plane_with_more_axes_offers_no_propagation(desk, blobs):
    d = desk(blobs[None, None])
    assert not d.widget.panel.planes_box.isVisible()


@pytest.mark.slow
def test_stack_opened_after_a_click_on_an_image(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, (28, 32))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    stack = d.viewer.add_image(np.stack([blobs] * 4), name='stack')
    d.settle()
    d.viewer.reset_view()
    d.viewer.dims.set_current_step(0, 2)
    d.settle()
    d.mouse.click(stack, (2, 68, 92))
    d.settle()
    preview = d.widget.preview.layer
    assert preview.ndim == 3
    assert preview.extent.world[:, 0] == pytest.approx(2, abs=0.5)
    assert preview.get_value((2, 68, 92), world=True)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    labels = d.viewer.layers['stack objects'].data
    assert labels[2, 68, 92] == 1
    assert not labels[[0, 1, 3]].any()


@pytest.mark.slow
def test_boxes_on_a_stack_are_on_their_plane_after_those_on_an_image(
    desk, blobs
):
    d = desk(blobs)
    d.widget.trigger('use_boxes_tool')
    stack = d.viewer.add_image(np.stack([blobs] * 3), name='stack')
    d.settle()
    d.viewer.reset_view()
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    d.widget.trigger('use_boxes_tool')
    d.mouse.drag(stack, (1, 12, 16), (1, 44, 48))
    d.settle()
    d.viewer.dims.set_current_step(0, 2)
    d.settle()
    d.widget.trigger('accept')
    d.settle()
    labels = d.viewer.layers['stack objects'].data
    assert labels.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.slow
def test_labels_of_a_stack_opened_after_a_click_on_an_image(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.settle()
    labels = d.viewer.add_labels(np.zeros((3, *blobs.shape), np.uint8))
    d.settle()
    d.widget.panel.labels_combo.layer = labels
    d.widget.trigger('accept')
    d.settle()
    shown = d.viewer.dims.current_step[0]
    assert labels.data[shown][FIRST] == 1
    assert labels.data.any(axis=(1, 2)).sum() == 1


@pytest.mark.slow
def test_objects_are_found_again_when_axes_come_and_go(desk, blobs):
    d = desk(np.stack([blobs] * 8))

    def accept(plane):
        d.viewer.dims.set_point(d.viewer.dims.ndim - 3, plane)
        d.widget.trigger('use_points_tool')
        d.settle()
        d.mouse.click(d.image, (plane, *FIRST))
        d.settle()
        d.mouse.key(Qt.Key.Key_W)
        d.settle()

    def go_back():
        d.widget.trigger('previous_object')
        d.settle()
        return d.viewer.dims.current_step[-3]

    accept(2)
    longer = d.viewer.add_image(np.zeros((9, 9, *blobs.shape), np.uint8))
    d.settle()
    d.widget.header.image_combo.layer = d.image
    d.viewer.dims.set_point([0, 1], [6, 5])
    d.settle()
    assert go_back() == 2
    assert d.viewer.dims.current_step[0] == 6
    d.widget.trigger('reject')
    accept(4)
    d.viewer.layers.remove(longer)
    d.viewer.dims.set_point(0, 7)
    d.settle()
    assert go_back() == 4


@pytest.mark.slow
@pytest.mark.window
def test_looking_at_the_volume_is_no_mistake(desk, blobs):
    d = desk(np.stack([blobs] * 3))
    d.settle()
    d.mouse.key(Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    d.settle()
    assert d.viewer.dims.ndisplay == 3
    assert 'shows a volume' in d.widget.status.text
    assert not d.widget.status.failed
    d.mouse.key(Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    d.settle()
    assert d.widget.status.text.endswith(d.widget.panel.hint())
    # prompts cannot be answered there
    d.mouse.click(d.image, (1, *FIRST))
    d.settle()
    d.viewer.dims.ndisplay = 3
    d.settle()
    assert d.widget.status.failed


@pytest.mark.slow
@pytest.mark.window
def test_clicks_in_the_volume_add_no_point(desk, blobs):
    d = desk(np.stack([blobs] * 3))
    d.settle()
    d.viewer.dims.ndisplay = 3
    d.settle()
    d.widget.trigger('use_points_tool')
    canvas = d.mouse.canvas.native
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton)
    d.settle()
    assert 'shows a volume' in d.widget.status.text
    assert len(d.viewer.layers['prompts'].data) == 0
    d.viewer.dims.ndisplay = 2
    d.settle()
    d.mouse.click(d.image, (1, *FIRST))
    d.settle()
    assert len(d.viewer.layers['prompts'].data) == 1
    assert d.widget.preview.visible


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(
    'planes', [0, pytest.param(3, marks=pytest.mark.slow)]
)
def test_the_volume_says_to_switch_to_2d(desk, blobs, planes):
    d = desk(np.stack([blobs] * planes) if planes else blobs)
    d.widget.trigger('use_boxes_tool')
    d.settle()
    d.viewer.dims.ndisplay = 3
    d.settle()
    assert 'switch to 2D display' in d.widget.status.text
    d.widget.status.say('')
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.settle()
    assert 'switch to 2D display' in d.widget.status.text
    d.viewer.dims.ndisplay = 2
    d.settle()
    assert d.widget.panel.buttons['use_boxes_tool'].isChecked()
    assert d.widget.status.text.endswith(HINTS['use_boxes_tool'])


@pytest.mark.slow
@pytest.mark.window
def test_a_propagation_waits_for_the_mask(desk, blobs, oracle, qtbot):
    d = desk(np.stack([blobs] * 3))
    d.mouse.click(d.image, (1, *FIRST))
    d.settle()
    d.widget.trigger('reject')
    d.settle()
    oracle.go.clear()
    d.mouse.click(d.image, (1, 68, 32))
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    assert d.widget.status.text.startswith('The object will be propagated')
    # given up with its object
    d.mouse.key(Qt.Key.Key_Q)
    d.mouse.click(d.image, (1, *FIRST))
    oracle.go.set()
    d.settle()
    assert 'objects' not in d.viewer.layers
    assert len(d.viewer.layers['prompts'].data) == 1
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    oracle.go.clear()
    d.mouse.click(d.image, (1, 68, 32))
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    oracle.go.set()
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert [int(plane[68, 32]) for plane in labels] == [1, 1, 1]
    assert 'was propagated to 2 planes' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_Q)
    d.mouse.click(d.image, (1, *FIRST))
    d.settle()
    oracle.go.clear()
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    d.mouse.key(Qt.Key.Key_W)
    assert d.widget.status.text == WAIT
    oracle.go.set()
    d.settle()
    assert 'was propagated to 2 planes' in d.widget.status.text


@pytest.mark.slow
def test_the_axis_to_propagate_along(desk, blobs):
    """By default not that of few planes, which may be of channels."""
    d = desk(np.stack([np.stack([blobs, blobs])] * 5))
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    combo = d.widget.panel.axis_combo
    assert [combo.itemText(n) for n in range(combo.count())] == [
        'along axis 0 (slider -4), 5 planes',
        'along axis 1 (slider -3), 2 planes',
    ]
    assert combo.isVisibleTo(d.widget.panel)
    assert combo.currentIndex() == 0
    d.mouse.click(d.image, (0, 0, *FIRST))
    d.settle()
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    # for the next one
    combo.setCurrentIndex(1)
    d.settle()
    labels = d.viewer.layers['objects'].data
    assert labels[:, :, *FIRST].tolist() == [[1, 0]] * 5
    assert 'This was along axis 0 (slider -4).' in d.widget.status.text
    d.widget.trigger('undo')
    d.settle()
    d.widget.trigger('reject')
    d.mouse.click(d.image, (0, 0, 68, 92))
    d.settle()
    d.mouse.key(Qt.Key.Key_G, SHIFT)
    d.settle()
    assert labels[:, :, 68, 92].tolist() == [[2, 2]] + [[0, 0]] * 4
    assert 'propagated to plane 1. This was along axis 1 (slider -3).' in (
        d.widget.status.text
    )


def test_the_axis_follows_channels_and_names(desk, blobs):
    stack = np.stack([np.stack([blobs] * 8)] * 6)
    d = desk(stack, axis_labels=('z', 'c', 'y', 'x'))
    panel = d.widget.panel
    assert panel.axis == 0
    channels = d.widget.header.channel_combo
    channels.setCurrentIndex(2)
    channels.activated.emit(2)
    d.settle()
    assert d.session.scene.channel_axis == 1
    assert not panel.axis_combo.isVisibleTo(panel)
    assert panel.axis is None


@pytest.mark.slow
def test_one_axis_is_no_choice(desk, blobs):
    d = desk(np.stack([blobs] * 3))
    assert not d.widget.panel.axis_combo.isVisibleTo(d.widget.panel)
    assert d.widget.panel.axis is None
