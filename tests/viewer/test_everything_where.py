"""“Segment everything” in regions, views, stacks and beside other labels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mobilesam.session.everything.choices import load_choices
from napari_mobilesam.session.images.plane_reader import PlaneReader
from napari_mobilesam.widgets.everything.where_form import DRAWN, VIEW
from napari_mobilesam.widgets.viewer.layers import is_ours

UPPER, LOWER = [(28, 32), (28, 92)], [(68, 32), (68, 92)]


def run(d):
    d.widget.panel.run_button.click()
    d.settle()
    assert 'object' in d.widget.status.text
    return next(x for x in d.viewer.layers if x.name.endswith(' objects'))


def found(data, centres):
    return [bool(data[centre]) for centre in centres]


@pytest.mark.slow
def test_the_found_diameter_is_shown_until_another_is_set(
    everything_desk, blobs, monkeypatch
):
    monkeypatch.setattr(PlaneReader, 'diameter', lambda *_: 23.4)
    d = everything_desk(blobs)
    control = d.widget.panel.form.controls['diameter']
    assert control.check.value
    assert control.number.value == 23
    assert d.widget.panel.form.value.diameter is None
    control.check.value = False
    control.number.value = 12
    d.settle()
    assert d.widget.panel.form.value.diameter == 12
    assert control.number.value == 12


@pytest.mark.slow
def test_only_a_drawn_rectangle_is_done(everything_desk, blobs):
    d = everything_desk(blobs, scale=(2, 2), translate=(5, 3))
    whole = d.widget.panel.estimate_label.text()
    d.widget.panel.where.draw_button.click()
    # a click draws nothing
    d.mouse.click(d.image, (60, 100))
    d.mouse.drag(d.image, (4, 4), (50, 120))
    d.settle()
    regions = d.viewer.layers['regions']
    assert len(regions.data) == 1
    # a dock for prompts does not take them for boxes
    assert not is_ours(regions)
    assert d.widget.panel.where.region_combo.currentText() == DRAWN
    inside = d.widget.panel.estimate_label.text()
    assert int(inside.split()[0]) < int(whole.split()[0])
    labels = run(d)
    # the next click chooses an object instead of drawing a region
    assert d.viewer.layers.selection.active is d.image
    assert found(labels.data, UPPER) == [True, True]
    assert found(labels.data, LOWER) == [False, False]


def test_a_region_can_be_drawn_whatever_the_layer_is_like(
    everything_desk, blobs
):
    d = everything_desk(blobs, units='um', scale=(0.5, 0.5))
    other = d.viewer.add_image(blobs, units='nm', scale=(500, 500))
    d.settle()
    d.viewer.reset_view()
    d.widget.header.image_combo.layer = d.image
    draw = d.widget.panel.where.draw_button
    draw.click()
    regions = d.viewer.layers['regions']
    regions.visible = False
    draw.click()
    # the mouse moves in nm, which are the units of `other`
    # vispy drops all moves of a drag that the window handles in one go
    d.mouse.stroke(other, ((4, 4), (50, 120)), steps=0)
    d.settle()
    low, high = (
        other.world_to_data(regions.data_to_world(corner))
        for corner in (
            regions.data[0].min(axis=0),
            regions.data[0].max(axis=0),
        )
    )
    assert low == pytest.approx((4, 4), abs=0.5)
    assert high == pytest.approx((50, 120), abs=0.5)


@pytest.mark.slow
def test_polygons_and_ellipses_are_regions_too(everything_desk, blobs):
    d = everything_desk(blobs)
    shapes = d.viewer.add_shapes(name='mine')
    shapes.add_polygons(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]))
    shapes.add_ellipses(np.array([[50, 70], [50, 120], [90, 120], [90, 70]]))
    shapes.add_lines(np.array([[60, 20], [80, 40]]))
    d.widget.panel.where.use_drawn(shapes)
    labels = run(d)
    assert found(labels.data, UPPER) == [True, False]
    assert found(labels.data, LOWER) == [False, True]


@pytest.mark.slow
def test_a_region_has_to_be_drawn(everything_desk, blobs):
    d = everything_desk(blobs)
    d.widget.panel.where.region_combo.setCurrentText(DRAWN)
    d.settle()
    assert 'No region yet' in d.widget.panel.estimate_label.text()
    d.widget.panel.run_button.click()
    assert 'No region yet' in d.widget.status.text
    assert d.widget.panel.run_button.isEnabled()


@pytest.mark.window
def test_only_what_is_seen_is_done(everything_desk, blobs):
    d = everything_desk(blobs)
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    camera.zoom = 18
    camera.center = (0, 28, 32)
    d.settle()
    d.widget.panel.where.region_combo.setCurrentText(VIEW)
    labels = run(d)
    assert found(labels.data, UPPER + LOWER) == [True, False, False, False]


def stack(blobs):
    half = blobs.copy()
    half[50:] = 10
    return np.stack([blobs, half, blobs])


@pytest.mark.slow
def test_all_planes_linked_and_each_by_itself(everything_desk, blobs):
    d = everything_desk(stack(blobs))
    combo = d.widget.panel.where.planes_combo
    texts = [combo.itemText(i) for i in range(combo.count())]
    assert texts == [
        'the current one',
        'all 3 along axis 0 (slider -3), linked',
        'all 3 along axis 0 (slider -3), independently',
    ]
    one = int(d.widget.panel.estimate_label.text().split()[0])
    combo.setCurrentIndex(1)
    d.settle()
    assert int(d.widget.panel.estimate_label.text().split()[0]) == 3 * one
    linked = run(d).data
    for at in UPPER:
        assert len(set(linked[:, *at])) == 1
    assert linked[0, *LOWER[0]] == linked[2, *LOWER[0]] != 0
    assert linked[1, *LOWER[0]] == 0
    combo.setCurrentIndex(2)
    d.widget.panel.run_button.click()
    d.settle()
    (apart,) = (x for x in d.viewer.layers if x.name.endswith('objects [1]'))
    assert len(set(apart.data[:, *UPPER[0]])) == 3
    assert apart.data.max() == 4 + 2 + 4


@pytest.mark.slow
def test_planes_stay_chosen_while_none_is_shown(everything_desk, blobs):
    d = everything_desk(np.stack([blobs] * 3))
    combo, dims = d.widget.panel.where.planes_combo, d.viewer.dims
    combo.setCurrentIndex(1)
    chosen = combo.currentText()
    for ndisplay in (3, 2):
        dims.ndisplay = ndisplay
        d.settle()
    assert combo.currentText() == chosen


@pytest.mark.slow
def test_an_axis_of_channels_has_no_planes(everything_desk, blobs):
    d = everything_desk(np.stack([blobs] * 3))
    planes = d.widget.panel.where.planes_combo
    channels = d.widget.header.channel_combo
    planes.setCurrentIndex(1)
    for index, count in ((1, 1), (0, 3)):
        channels.setCurrentIndex(index)
        channels.activated.emit(index)
        d.settle()
        assert planes.count() == count
        assert d.widget.panel.where.planes.axis is None


@pytest.mark.slow
def test_time_points_are_offered_each_by_itself_first(everything_desk, blobs):
    d = everything_desk(stack(blobs), axis_labels=('time', 'y', 'x'))
    combo = d.widget.panel.where.planes_combo
    assert combo.itemText(1) == 'all 3 along time, independently'


@pytest.mark.slow
def test_labelled_pixels_are_left_alone(everything_desk, blobs):
    d = everything_desk(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[10:46] = 9
    own = d.viewer.add_labels(data, name='own')
    assert d.widget.panel.leave_box.isHidden()
    d.widget.panel.labels_combo.layer = own
    assert d.widget.panel.leave_box.isChecked()
    assert not d.widget.panel.leave_box.isHidden()
    d.widget.panel.run_button.click()
    d.settle()
    assert (own.data[10:46] == 9).all()
    assert sorted(own.data[at] for at in LOWER) == [10, 11]
    d.widget.panel.leave_box.setChecked(False)
    d.widget.panel.run_button.click()
    d.settle()
    assert sorted(own.data[at] for at in UPPER + LOWER) == [12, 13, 14, 15]


def test_diameter_belongs_to_the_image_that_it_was_set_for(
    everything_desk, blobs
):
    d = everything_desk(blobs, blobs[::-1].copy())
    first, second = d.viewer.layers[0], d.viewer.layers[1]
    form = d.widget.panel.form
    d.viewer.layers.selection.active = first
    d.settle()
    form.controls['diameter'].check.value = False
    form.controls['diameter'].number.value = 24
    form.controls['points_per_side'].value = 9
    d.viewer.layers.selection.active = second
    d.settle()
    assert form.value.diameter is None
    assert form.value.points_per_side == 9
    d.viewer.layers.selection.active = first
    d.settle()
    assert form.value.diameter == 24
    # nor is it used after a restart
    d.widget.panel.run_button.click()
    d.settle()
    assert load_choices().parameters.diameter is None
    assert load_choices().parameters.points_per_side == 9
