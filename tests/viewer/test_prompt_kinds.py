"""Every kind of prompt, drawn with the mouse, from stroke to label."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_mobilesam.widgets.prompts.collection import PromptReader

RIGHT = Qt.MouseButton.RightButton
FIRST, SECOND = (28, 32), (28, 92)


def prompts_of(d):
    """Prompts that the widget asks about now."""
    plane = d.session.scene.layer_plane()
    collected = PromptReader().collect(
        plane, d.widget.tools.points, d.widget.tools.shapes
    )
    return collected.objects


def use(d, tool):
    """Press the button of a tool; the canvas may change its size for it."""
    d.widget.panel.buttons[tool].click()
    d.settle()


def stroke(d, path, button=Qt.MouseButton.LeftButton):
    """Draw a line through positions of the image with a button down."""
    d.mouse.stroke(d.image, path, button)
    d.settle()


def accepted(d):
    d.widget.trigger('accept')
    d.settle()
    return d.viewer.layers['objects'].data


@pytest.mark.slow
@pytest.mark.window
def test_outline_is_box_and_region(desk, blobs):
    d = desk(blobs)
    use(d, 'use_outline_tool')
    stroke(d, [(10, 14), (10, 50), (46, 50), (46, 14), (12, 14)])
    (prompts,) = prompts_of(d)
    assert prompts.box == pytest.approx((10, 14, 46, 50), abs=2)
    assert prompts.region.area == pytest.approx(36 * 36, rel=0.1)
    labels = accepted(d)
    assert labels[FIRST] == 1
    assert labels[SECOND] == 0
    assert len(d.viewer.layers['shapes'].data) == 0


@pytest.mark.slow
def test_ellipse_of_napari_is_box_and_region(desk, blobs):
    d = desk(blobs)
    use(d, 'use_boxes_tool')
    d.viewer.layers['shapes'].mode = 'add_ellipse'
    d.mouse.drag(d.image, (8, 12), (48, 52))
    d.settle()
    (prompts,) = prompts_of(d)
    assert prompts.region.area == pytest.approx(np.pi * 20**2, rel=0.1)
    assert accepted(d)[FIRST] == 1


@pytest.mark.slow
def test_polygon_of_napari_is_box_and_region(desk, blobs):
    d = desk(blobs)
    use(d, 'use_boxes_tool')
    d.viewer.layers['shapes'].mode = 'add_polygon'
    for corner in [(8, 12), (8, 54), (50, 54), (8, 12)]:
        d.mouse.move(d.mouse.at(d.image, corner))
        d.mouse.click(d.image, corner)
        QApplication.processEvents()
    d.mouse.key(Qt.Key.Key_Escape)
    d.settle()
    (prompts,) = prompts_of(d)
    assert prompts.region.area == pytest.approx(42 * 42 / 2, rel=0.1)
    assert prompts.box == pytest.approx((8, 12, 50, 54), abs=2)


@pytest.mark.slow
def test_scribble_is_points_along_it(desk, blobs):
    d = desk(blobs)
    use(d, 'use_scribble_tool')
    stroke(d, [(20, 24), (36, 40)])
    (prompts,) = prompts_of(d)
    assert len(prompts.points) >= 3
    assert prompts.labels.all()
    inside = (prompts.points > (17, 21)).all() and (
        prompts.points < (39, 43)
    ).all()
    assert inside
    assert accepted(d)[FIRST] == 1


@pytest.mark.slow
def test_scribble_with_the_other_polarity_is_negative(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, (22, 26))
    d.settle()
    before = int((d.widget.preview.layer.data > 0).sum())
    d.widget.trigger('flip_polarity')
    use(d, 'use_scribble_tool')
    stroke(d, [(34, 28), (34, 40)])
    (prompts,) = prompts_of(d)
    assert prompts.labels[0] == 1
    assert not prompts.labels[1:].any()
    assert int((d.widget.preview.layer.data > 0).sum()) < before


@pytest.mark.slow
def test_scribble_with_the_right_button_is_negative(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, (22, 26))
    use(d, 'use_scribble_tool')
    stroke(d, [(34, 28), (34, 40)], RIGHT)
    (prompts,) = prompts_of(d)
    assert len(prompts.labels) > 1
    assert not prompts.labels[1:].any()
    stroke(d, [(20, 22), (20, 40)])
    (prompts,) = prompts_of(d)
    assert prompts.labels[-1] == 1


@pytest.mark.slow
def test_line_is_points_along_it(desk, blobs):
    d = desk(blobs)
    use(d, 'use_boxes_tool')
    d.viewer.layers['shapes'].mode = 'add_line'
    d.mouse.drag(d.image, (20, 24), (36, 40))
    d.settle()
    (prompts,) = prompts_of(d)
    assert len(prompts.points) >= 3
    assert prompts.box is None


def test_any_mixture_is_one_object(desk, blobs):
    d = desk(blobs)
    use(d, 'use_outline_tool')
    stroke(d, [(10, 14), (10, 50), (46, 50), (46, 14), (12, 14)])
    use(d, 'use_scribble_tool')
    stroke(d, [(20, 24), (36, 40)])
    use(d, 'use_points_tool')
    d.mouse.click(d.image, FIRST)
    d.mouse.right_click(d.image, (18, 42))
    d.settle()
    (prompts,) = prompts_of(d)
    assert prompts.region is not None
    assert prompts.labels[:2].tolist() == [1, 0]
    assert len(prompts.points) > 4
    labels = accepted(d)
    assert labels[FIRST] == 1
    assert len(np.unique(labels)) == 2


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
def test_shapes_on_a_transformed_image(desk, blobs, tool):
    d = desk(blobs, rotate=30, scale=(2, 1.5), translate=(40, -20))
    use(d, tool)
    if tool == 'use_boxes_tool':
        d.mouse.drag(d.image, (6, 10), (50, 54))
        d.settle()
    elif tool == 'use_outline_tool':
        stroke(d, [(10, 14), (10, 50), (46, 50), (46, 14), (12, 14)])
    else:
        stroke(d, [(20, 24), (36, 40)])
    labels = accepted(d)
    assert labels[FIRST] == 1
    assert labels[68, 92] == 0


@pytest.mark.slow
def test_shapes_belong_to_their_plane(desk, blobs):
    d = desk(np.stack([blobs, blobs[:, ::-1]]))
    d.viewer.dims.set_current_step(0, 1)
    d.settle()
    use(d, 'use_outline_tool')
    stroke(d, [(1, 10, 58), (1, 10, 94), (1, 46, 94), (1, 46, 58)])
    assert prompts_of(d)[0].region is not None
    d.viewer.dims.set_current_step(0, 0)
    d.settle()
    assert prompts_of(d) == ()
    labels = accepted(d)
    assert not labels[0].any()
    assert labels[1].any()


@pytest.mark.slow
def test_moving_a_box_updates_at_once(desk, blobs):
    d = desk(blobs)
    use(d, 'use_boxes_tool')
    d.mouse.drag(d.image, (10, 14), (46, 50))
    d.settle()
    shapes = d.viewer.layers['shapes']
    shapes.mode = 'select'
    shapes.selected_data = {0}
    d.mouse.drag(d.image, FIRST, SECOND)
    d.settle()
    labels = accepted(d)
    assert labels[FIRST] == 0
    assert labels[SECOND] == 1
