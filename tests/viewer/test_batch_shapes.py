"""Batches of shapes and points drawn by mouse; what failed, and where."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_mobilesam.widgets.viewer.layer_plane import camera_of

SHIFT = Qt.KeyboardModifier.ShiftModifier
FIRST, SECOND, THIRD, FOURTH = (28, 32), (28, 92), (68, 32), (68, 92)


def run_batch(d):
    d.mouse.key(Qt.Key.Key_M, SHIFT)
    d.settle()


def click_problem(d, number):
    """Click an entry of the list of failed prompts."""
    box = d.widget.panel.problem_list.list
    place = box.visualItemRect(box.item(number))
    QTest.mouseClick(
        box.viewport(),
        Qt.MouseButton.LeftButton,
        pos=place.topLeft() + QPoint(8, 4),
    )
    d.settle()


@pytest.mark.slow
def test_path_among_boxes_changes_nothing_and_is_named(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.settle()
    for row, column in ((16, 20), (16, 80), (56, 20)):
        d.mouse.drag(d.image, (row - 2, column - 2), (row + 25, column + 25))
        d.settle()
    shapes = d.viewer.layers['shapes']
    shapes.add_paths(np.array([[60.0, 84.0], [76.0, 100.0]]))
    d.settle()
    run_batch(d)
    labels = d.viewer.layers['objects'].data
    assert sorted(labels[p] for p in (FIRST, SECOND, THIRD)) == [1, 2, 3]
    assert labels[FOURTH] == 0
    assert '3 of 3 prompts' in d.widget.status.text
    assert '1 path skipped: it encloses no area' in d.widget.status.text
    (problem,) = d.widget.panel.problem_list.problems
    assert problem.text.startswith('Path at row 68, column 92')
    # the boxes are done, and the path is there to be used otherwise
    assert list(shapes.shape_type) == ['path']


def test_every_closed_shape_of_a_mixture_is_an_object(desk, blobs):
    d = desk(blobs)
    d.widget.panel.buttons['use_boxes_tool'].click()
    d.settle()
    d.mouse.drag(d.image, (12, 16), (44, 48))
    d.settle()
    shapes = d.viewer.layers['shapes']
    shapes.mode = 'add_ellipse'
    d.mouse.drag(d.image, (8, 72), (48, 112))
    d.settle()
    triangle = [(48, 24), (90, 14), (90, 54)]
    shapes.add_polygons(np.array(triangle, float))
    d.settle()
    run_batch(d)
    labels = d.viewer.layers['objects'].data
    assert sorted(labels[p] for p in (FIRST, SECOND, THIRD)) == [1, 2, 3]
    assert len(shapes.data) == 0
    assert not d.widget.panel.problem_list.isVisible()
    # the next object is described although the result was to stay
    status = d.widget.status
    assert status.kept
    d.widget.trigger('use_points_tool')
    d.mouse.click(d.image, FOURTH)
    d.settle()
    assert status.text.startswith('576 pixels')
    assert not status.busy


@pytest.mark.slow
def test_failed_prompt_of_a_batch_stays_readable(desk, blobs):
    d = desk(blobs)
    own = d.viewer.add_points([FIRST, (200, 200)], name='own')
    d.viewer.layers.selection.active = own
    run_batch(d)
    text = d.widget.status.text
    assert '1 of 2 prompts' in text
    assert 'Prompt 2' in text
    # background news does not replace it
    d.session.ready.emit(d.session.scene.plane())
    assert d.widget.status.text == text


def test_undo_is_not_offered_for_a_batch_without_an_object(desk, blobs):
    d = desk(blobs)
    d.viewer.add_points(np.array([(2, 2)]), name='beside')
    run_batch(d)
    assert '0 of 1 prompts' in d.widget.status.text
    assert 'takes it back' not in d.widget.status.text
    # what failed is listed as long as its image is there
    other = d.viewer.add_image(blobs, name='other')
    d.session.scene.image = other
    assert d.widget.panel.problem_list.problems
    d.viewer.layers.remove(d.image)
    assert not d.widget.panel.problem_list.problems


@pytest.mark.slow
@pytest.mark.window
def test_failed_prompt_is_listed_and_a_click_goes_to_it(desk, blobs):
    stack = np.stack([blobs, blobs[:, ::-1], blobs])
    d = desk(stack)
    background = (2, 4, 64)
    points = [(0, *FIRST), background, (1, *SECOND)]
    d.viewer.add_points(points, name='own')
    run_batch(d)
    assert '2 of 3 prompts' in d.widget.status.text
    box = d.widget.panel.problem_list
    assert box.isVisible()
    (problem,) = box.problems
    assert problem.text.startswith('Point at row 4, column 64 of image, plane')
    click_problem(d, 0)
    assert d.viewer.dims.current_step[0] == 2
    assert camera_of(d.viewer).center[-2:] == pytest.approx((4, 64))
    assert d.widget.status.text == problem.text
    # the list goes with a click on its button, and with the next batch
    QTest.mouseClick(box.close_button, Qt.MouseButton.LeftButton)
    assert not box.isVisible()


def test_failed_prompts_of_our_layer_stay_to_be_corrected(desk, blobs):
    d = desk(blobs)
    d.mouse.click(d.image, FIRST)
    d.mouse.click(d.image, (4, 64))
    d.mouse.click(d.image, SECOND)
    d.settle()
    run_batch(d)
    labels = d.viewer.layers['objects'].data
    assert labels[FIRST] and labels[SECOND]
    points = d.viewer.layers['prompts'].data
    assert points == pytest.approx(np.array([(4, 64)]), abs=0.5)


@pytest.mark.slow
def test_points_beyond_the_last_plane_are_counted_and_named(desk, blobs):
    d = desk(np.stack([blobs, blobs[:, ::-1]]))
    points = [(0, *FIRST), (5, *FIRST), (-3, *SECOND), (1, *SECOND)]
    d.viewer.add_points(points, name='own')
    run_batch(d)
    text = d.widget.status.text
    assert '2 of 2 prompts' in text
    assert '2 prompts outside the planes of the image' in text
    texts = [p.text for p in d.widget.panel.problem_list.problems]
    assert 'plane 5 (of 2)' in texts[0]
    assert 'plane -3 (of 2)' in texts[1]
    click_problem(d, 0)
    assert 'cannot be shown' in d.widget.status.text
    # nothing is left to go to
    d.viewer.layers.remove(d.image)
    d.settle()
    assert not d.widget.panel.problem_list.problems


def test_planes_are_named_by_axes_of_several_planes(desk, blobs):
    d = desk(np.stack([blobs, blobs[:, ::-1]])[:, None])
    d.viewer.add_points([(1, 0, *FIRST), (5, 0, *FIRST)], name='own')
    run_batch(d)
    (problem,) = d.widget.panel.problem_list.problems
    assert problem.text.startswith('Prompt at plane 5 (of 2), row')
    assert d.session.scene.plane().name == 'image, plane 0'
