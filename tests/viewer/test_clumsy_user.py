"""Steps of a hasty user: volumes, hidden layers, keys while drawing."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mobilesam.widgets.prompts.prompt_panel import HINTS
from napari_mobilesam.widgets.prompts.prompt_tools import DRAG, OUTSIDE

INSIDE, SECOND = (28, 32), (28, 92)
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.mark.slow
@pytest.mark.window
def test_points_tool_is_back_after_a_look_at_the_volume(desk, blobs):
    d = desk(blobs)
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_Y, CONTROL)
        d.settle()
    assert d.viewer.dims.ndisplay == 2
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert d.widget.preview.visible


@pytest.mark.slow
@pytest.mark.window
def test_mode_chosen_by_hand_is_back_after_a_look_at_the_volume(desk, blobs):
    d = desk(blobs)
    points = d.viewer.layers['prompts']
    points.mode = 'pan_zoom'
    for _ in range(2):
        d.mouse.key(Qt.Key.Key_Y, CONTROL)
        d.settle()
    assert points.mode == 'pan_zoom'


@pytest.mark.slow
@pytest.mark.window
def test_click_with_the_pan_tool_says_what_to_press(desk, blobs):
    d = desk(blobs)
    d.viewer.layers['prompts'].mode = 'pan_zoom'
    assert d.widget.panel.tool is None
    d.mouse.click(d.image, INSIDE)
    assert d.widget.status.text == (
        '“prompts” is selected. Press Points (Shift+D), then click an object.'
    )
    d.widget.trigger('use_points_tool')
    assert d.widget.status.text == HINTS['use_points_tool']
    d.widget.trigger('use_boxes_tool')
    assert d.widget.status.text == HINTS['use_boxes_tool']


@pytest.mark.slow
@pytest.mark.window
def test_points_tool_shows_hidden_prompts(desk, blobs):
    d = desk(blobs)
    d.mouse.key(Qt.Key.Key_V)
    points = d.viewer.layers['prompts']
    assert not points.visible
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'Press Points (Shift+D)' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert points.visible
    assert d.widget.preview.visible


def test_status_says_that_labels_and_preview_are_hidden(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert 'hidden' not in d.widget.status.text
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert 'hidden' not in d.widget.status.text
    d.viewer.layers['preview'].visible = False
    d.viewer.layers['objects'].visible = False
    d.mouse.click(d.image, SECOND)
    d.settle()
    assert 'The layer “preview” is hidden.' in d.widget.status.text
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert 'written to “objects”, which is hidden.' in d.widget.status.text


@pytest.mark.slow
def test_nothing_to_undo_is_no_error(desk, blobs):
    d = desk(blobs)
    d.mouse.key(Qt.Key.Key_U)
    assert d.widget.status.text == 'Nothing to undo.'
    assert not d.widget.status.failed
    d.mouse.key(Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert d.widget.status.text == 'Nothing to redo.'
    assert not d.widget.status.failed


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(
    'tool',
    [
        'use_outline_tool',
        pytest.param('use_boxes_tool', marks=pytest.mark.slow),
        pytest.param('use_scribble_tool', marks=pytest.mark.slow),
    ],
)
def test_clicks_with_a_drawing_tool_between_keys(desk, blobs, tool):
    d = desk(blobs)
    d.widget.trigger(tool)
    keys = Qt.Key.Key_W, Qt.Key.Key_Q, Qt.Key.Key_U
    for position, key in zip((INSIDE, SECOND, INSIDE), keys, strict=True):
        d.mouse.click(d.image, position)
        d.settle()
        d.mouse.key(key)
        d.settle()
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    # and the next drag draws
    d.widget.trigger('use_boxes_tool')
    d.mouse.drag(d.image, (14, 18), (42, 46))
    d.settle()
    assert d.widget.preview.visible


@pytest.mark.slow
@pytest.mark.window
def test_key_while_a_box_is_dragged(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, SECOND)
    d.settle()
    d.widget.trigger('use_boxes_tool')
    native = d.mouse.canvas.native
    start, stop = (d.mouse.at(d.image, p) for p in ((14, 78), (42, 106)))
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=start)
    d.mouse.move((start + stop) / 2, Qt.MouseButton.LeftButton)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.mouse.move(stop, Qt.MouseButton.LeftButton)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=stop)
    d.settle()
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    d.mouse.drag(d.image, (14, 78), (42, 106))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[SECOND] == 1


@pytest.mark.slow
@pytest.mark.window
def test_click_with_the_box_tool_draws_no_box(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('use_boxes_tool')
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    assert d.widget.status.text == DRAG
    assert not d.widget.preview.visible
    assert d.session.editor.record.empty


def test_box_ends_where_the_button_is_released(desk, blobs):
    d = desk(blobs)
    d.widget.trigger('use_boxes_tool')
    native = d.mouse.canvas.native
    places = [d.mouse.at(d.image, p) for p in ((14, 18), (42, 46))]
    # vispy drops all moves of a drag that the window handles in one go
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=places[0])
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=places[1])
    (box,) = d.viewer.layers['shapes'].data
    ends = np.array([box.min(0), box.max(0)])
    assert ends == pytest.approx(np.array([(14, 18), (42, 46)]), abs=0.5)
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    labels = d.viewer.layers['objects'].data
    assert (labels == 1).sum() == labels[16:40, 20:44].sum() > 500


@pytest.mark.slow
@pytest.mark.window
def test_accept_writes_no_mask_that_is_not_of_the_prompts(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.viewer.camera.zoom /= 2
    d.settle()
    d.widget.trigger('use_boxes_tool')
    d.viewer.layers['shapes'].add_rectangles([[-30, 10], [-10, 30]])
    d.settle()
    assert d.widget.status.failed
    problem = d.widget.status.text
    assert not d.widget.preview.visible
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.widget.status.text == problem
    assert 'objects' not in d.viewer.layers
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    assert not d.widget.status.failed
    d.mouse.drag(d.image, (14, 18), (42, 46))
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1


def test_click_beside_the_image_adds_no_point(desk, blobs):
    d = desk(blobs)
    d.viewer.camera.zoom /= 2
    d.settle()
    points = d.viewer.layers['prompts']
    for click in (d.mouse.click, d.mouse.right_click):
        click(d.image, (-20, 10))
        d.settle()
        assert len(points.data) == 0
        assert d.widget.status.text == OUTSIDE.format('')
        assert not d.widget.status.failed
    # the next click is positive, and is answered
    d.mouse.click(d.image, INSIDE)
    d.settle()
    assert d.widget.preview.visible
    d.mouse.click(d.image, (110, 10))
    d.settle()
    assert len(points.data) == 1
    assert d.widget.preview.visible
    # a drag outside only pans
    d.mouse.drag(d.image, (-20, 10), (-20, 30))
    d.settle()
    assert len(points.data) == 1


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(
    'tool',
    [
        'use_outline_tool',
        pytest.param('use_boxes_tool', marks=pytest.mark.slow),
        pytest.param('use_scribble_tool', marks=pytest.mark.slow),
    ],
)
def test_shape_beside_the_image_is_not_kept(desk, blobs, tool):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.viewer.camera.zoom /= 2
    d.settle()
    d.widget.trigger(tool)
    path = [(-30, 10), (-30, 50), (-10, 50), (-10, 10)]
    d.mouse.stroke(d.image, path if 'box' not in tool else path[::2])
    d.settle()
    assert len(d.viewer.layers['shapes'].data) == 0
    assert d.widget.status.text == OUTSIDE.format('')
    assert not d.widget.status.failed
    # the open object is as it was
    assert d.widget.preview.visible
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    assert d.viewer.layers['objects'].data[INSIDE] == 1


@pytest.mark.slow
@pytest.mark.window
def test_scribble_that_leaves_the_image(desk, blobs):
    d = desk(blobs)
    d.viewer.camera.zoom /= 2
    d.settle()
    d.widget.trigger('use_scribble_tool')
    d.mouse.stroke(d.image, [INSIDE, (28, 24), (28, -30)])
    d.settle()
    assert not d.widget.status.failed
    (view,) = d.session.editor.record.views.values()
    assert len(view.prompts.points)
    assert (view.prompts.points >= -0.5).all()


def test_status_counts_the_pixels_that_smaller_labels_miss(desk, blobs):
    d = desk(blobs)
    small = d.viewer.add_labels(np.zeros((30, 128), np.uint8), name='small')
    d.widget.panel.labels_combo.layer = small
    d.widget.trigger('use_points_tool')
    d.mouse.click(d.image, INSIDE)
    d.settle()
    area = d.session.editor.record.masks[0].area
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    written = int((small.data == 1).sum())
    assert 0 < written < area
    assert (
        f'written to “small”; {area - written} of its {area} pixels lie '
        'outside that layer.'
    ) in d.widget.status.text


@pytest.mark.slow
def test_with_several_images_messages_name_the_image(desk, blobs):
    d = desk(blobs, blobs)
    name = d.widget.image.layer.name
    d.viewer.camera.zoom /= 2
    d.settle()
    d.mouse.click(d.image, (-20, 10))
    d.settle()
    assert d.widget.status.text == OUTSIDE.format(f' “{name}”')
    d.widget.trigger('edit_object')
    assert d.widget.status.text == f'No object of “{name}” under the cursor.'


@pytest.mark.slow
def test_with_several_labels_messages_name_the_labels(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, INSIDE)
    d.settle()
    d.mouse.key(Qt.Key.Key_W)
    d.settle()
    d.session.scene.add_labels('others')
    d.settle()
    d.mouse.move(d.mouse.at(d.image, INSIDE))
    d.widget.trigger('edit_object')
    assert d.widget.status.text == (
        'The object under the cursor is in “objects”: choose these labels '
        'under Output ▸ Labels first.'
    )
    d.mouse.move(d.mouse.at(d.image, (2, 2)))
    d.widget.trigger('edit_object')
    assert d.widget.status.text == 'No object of “others” under the cursor.'
