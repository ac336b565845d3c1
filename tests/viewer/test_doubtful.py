"""Masks that the model is not certain of, islands, and old pixels."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_mobilesam.widgets.parts.preview import COLOR, DOUBTFUL_COLOR

FIRST, SECOND = (28, 32), (28, 92)


def click(d, position):
    d.mouse.click(d.image, position)
    d.settle()


def accept(d):
    d.mouse.key(Qt.Key.Key_W)
    d.settle()


def choose(combo, value):
    combo.setCurrentIndex(combo.findData(value))
    combo.activated.emit(combo.currentIndex())


def color_of(layer):
    return np.round(255 * layer.get_color(1)[:3]).astype(int).tolist()


def rgb(text):
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


def objects(d):
    """Labels of the objects so far."""
    if 'objects' not in d.viewer.layers:
        return []
    return np.unique(d.viewer.layers['objects'].data)[1:].tolist()


@pytest.mark.slow
def test_doubtful_mask_is_shown_so_and_accepted_twice(desk, blobs, oracle):
    d = desk(blobs)
    oracle.score = 0.15
    d.session.clear_cache()
    click(d, FIRST)
    assert 'No confident mask here' in d.widget.status.text
    assert color_of(d.widget.preview.layer) == rgb(DOUBTFUL_COLOR)
    accept(d)
    assert objects(d) == []
    assert 'again to keep it' in d.widget.status.text
    accept(d)
    assert objects(d) == [1]
    # another one, of which it is certain
    oracle.score = 0.97
    click(d, SECOND)
    assert color_of(d.widget.preview.layer) == rgb(COLOR)
    accept(d)
    assert objects(d) == [1, 2]


def test_doubtful_mask_is_propagated_when_asked_twice(desk, blobs, oracle):
    d = desk(np.stack([blobs] * 3))
    oracle.score = 0.15
    d.session.clear_cache()
    click(d, FIRST)
    d.widget.trigger('propagate_both')
    d.settle()
    assert objects(d) == []
    assert 'again to keep it' in d.widget.status.text
    d.widget.trigger('propagate_both')
    d.settle()
    assert objects(d) == [1]


def test_a_correction_that_loses_most_of_the_object(desk, blobs, oracle):
    d = desk(blobs)
    click(d, FIRST)
    accept(d)
    labels = d.viewer.layers['objects']
    area = np.count_nonzero(labels.data)
    least = d.session.editor.least_score
    oracle.score = least + 0.05
    plane = d.session.scene.plane()
    for high, doubtful in ((40, False), (21, True)):
        d.session.editor.bring_back(
            d.session.scene.objects(False), d.session.scene.objects(False)[1]
        )
        d.session.editor.add(plane, box=(16, 20, high, 44))
        d.session.editor.add(plane, np.array([[18.0, 32.0]]))
        d.settle()
        left = d.session.editor.record.area / area
        assert (left < 0.25) == doubtful
        assert d.session.editor.doubtful == doubtful
        accept(d)
        assert np.count_nonzero(labels.data) > area / 2
    assert 'No confident mask here' in d.widget.status.text
    accept(d)
    assert np.count_nonzero(labels.data) < area / 4


@pytest.mark.slow
def test_second_press_counts_for_the_same_mask_only(desk, blobs, oracle):
    d = desk(blobs)
    oracle.score = 0.15
    click(d, FIRST)
    accept(d)
    click(d, (30, 34))
    accept(d)
    assert objects(d) == []


@pytest.mark.slow
@pytest.mark.parametrize(('choice', 'found'), [('never', []), ('accept', [1])])
def test_doubtful_masks_can_be_refused_or_taken(
    desk, blobs, oracle, choice, found
):
    d = desk(blobs)
    oracle.score = 0.15
    choose(d.widget.panel.settings_box.doubtful_combo, choice)
    click(d, FIRST)
    accept(d)
    if choice == 'never':
        accept(d)
    assert objects(d) == found


@pytest.mark.slow
def test_a_box_has_to_be_surer_than_a_click(desk, blobs, oracle):
    d = desk(blobs)
    least = d.session.editor.least_score
    assert 0 < least < 0.6
    oracle.score = least + 0.05
    d.session.clear_cache()
    click(d, FIRST)
    assert color_of(d.widget.preview.layer) == rgb(COLOR)
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    d.widget.trigger('use_boxes_tool')
    d.mouse.drag(d.image, (12, 16), (44, 48))
    d.settle()
    assert color_of(d.widget.preview.layer) == rgb(DOUBTFUL_COLOR)
    assert 'No confident mask here' in d.widget.status.text
    accept(d)
    assert objects(d) == []
    accept(d)
    assert objects(d) == [1]


def test_doubtful_mask_of_an_object_accepted_early_is_held_back(
    desk, blobs, oracle
):
    d = desk(blobs)
    d.session.clear_cache()
    oracle.score = 0.15
    oracle.go.clear()
    d.mouse.click(d.image, FIRST)
    d.mouse.key(Qt.Key.Key_W)
    assert 'written as soon as' in d.widget.status.text
    oracle.go.set()
    d.settle()
    assert objects(d) == []
    assert (
        'not written, because the model is not confident'
        in d.widget.status.text
    )
    # it is open again, and one more press keeps it now that it was seen
    assert d.widget.preview.visible
    accept(d)
    accept(d)
    assert objects(d) == [1]


@pytest.fixture
def clumsy(oracle, monkeypatch):
    """Model that finds everything bright in a neighbourhood."""
    from . import oracle as module

    monkeypatch.setattr(
        module,
        'label',
        lambda bright: (np.asarray(bright).astype(int), 1),
    )
    return oracle


@pytest.mark.slow
def test_islands_are_dropped_unless_a_point_is_on_them(desk, blobs, clumsy):
    image = np.full_like(blobs, 10)
    image[16:40, 20:44] = image[16:40, 60:70] = 220
    d = desk(image)
    click(d, FIRST)
    shown = d.session.editor.record.masks[0]
    assert shown.box[3] < 50
    click(d, (28, 65))
    shown = d.session.editor.record.masks[0]
    assert shown.box[3] > 64


@pytest.mark.slow
def test_islands_are_kept_if_wanted(desk, blobs, clumsy):
    image = np.full_like(blobs, 10)
    image[16:40, 20:44] = image[16:40, 60:70] = 220
    d = desk(image)
    d.widget.panel.settings_box.islands_box.click()
    click(d, FIRST)
    assert d.session.editor.record.masks[0].box[3] > 64


def pixel(d, position):
    """Colour on the screen at a position of the image."""
    QApplication.processEvents()
    place = d.mouse.at(d.image, position)
    picture = d.viewer.screenshot(canvas_only=True, flash=False)
    return picture[place.y(), place.x(), :3].astype(int)


@pytest.mark.slow
@pytest.mark.window
def test_old_pixels_are_not_shown_while_the_object_is_edited(desk, blobs):
    d = desk(blobs, name='image')
    d.viewer.layers['prompts'].opacity = 0
    for position in (FIRST, SECOND):
        click(d, position)
        accept(d)
    before = pixel(d, (20, 24))
    labels = d.viewer.layers['objects']
    kept = labels.data.copy()
    d.mouse.move(d.mouse.at(d.image, FIRST))
    d.mouse.key(Qt.Key.Key_G)
    d.settle()
    # a part of the object is taken away
    d.mouse.right_click(d.image, (20, 24))
    d.settle()
    gray = pixel(d, (20, 24))
    assert np.ptp(gray) == 0
    assert np.ptp(before) > 20
    # the other object, and the array, are as they were
    assert np.ptp(pixel(d, (20, 90))) > 20
    assert np.array_equal(labels.data, kept)
    d.mouse.key(Qt.Key.Key_Q)
    d.settle()
    assert pixel(d, (20, 24)) == pytest.approx(before, abs=3)
    assert '_raw_to_displayed' not in vars(labels)


@pytest.mark.slow
def test_preview_lies_above_the_labels(desk, blobs):
    d = desk(blobs)
    click(d, FIRST)
    accept(d)
    click(d, SECOND)
    layers = d.viewer.layers
    assert layers.index(d.widget.preview.layer) > layers.index('objects')
