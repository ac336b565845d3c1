"""Layers that can be written to, and previews, which cannot."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_mobilesam.session.track.tracked_labels import paint_tracks
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.everything.live_view import LiveView
from napari_mobilesam.widgets.parts.preview import HOVER_NAME, Preview
from napari_mobilesam.widgets.viewer.layer_plane import plane_of
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    is_output,
)
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

MASK = Mask(np.ones((4, 4), bool), (2, 3, 6, 7), 0.9, 0.9)


@pytest.fixture
def viewer():
    model = ViewerModel()
    model.add_image(np.zeros((16, 16), np.uint8))
    return model


@pytest.mark.slow
@pytest.mark.parametrize('name', ['preview', HOVER_NAME])
def test_a_preview_is_no_output_whatever_its_name(viewer, name):
    preview = Preview(viewer, name)
    preview.show(plane_of(viewer, viewer.layers[0]), [MASK])
    assert not is_output(preview.layer)
    preview.layer.name = 'renamed'
    assert not is_output(preview.layer)


def test_labels_of_the_user_are_output_whatever_their_name(viewer):
    assert is_output(
        viewer.add_labels(np.zeros((16, 16), int), name=HOVER_NAME)
    )
    assert not is_output(viewer.layers[0])


@pytest.mark.slow
def test_masks_found_so_far_are_never_written_to(viewer, qtbot):
    """They are ours, and lie on the image, but go away after the run."""
    scene = ViewerScene(viewer)
    live = LiveView(viewer, [plane_of(viewer, viewer.layers[0])])
    live.add(0, [MASK])
    qtbot.waitUntil(lambda: live.layer is not None)
    assert not is_output(live.layer)
    assert scene.labels is None


def test_a_run_of_a_moment_shows_no_masks_on_the_way(viewer, qtbot):
    live = LiveView(viewer, [plane_of(viewer, viewer.layers[0])])
    live.add(0, [MASK])
    qtbot.wait(300)
    live.close()
    assert not live.pending
    assert live.layer is None
    assert len(viewer.layers) == 1


@pytest.mark.parametrize('selected', [True, False])
def test_a_layer_that_is_only_shown_is_not_selected(viewer, selected):
    image = viewer.layers[0]
    viewer.layers.selection.active = image if selected else None
    shown = Labels(np.zeros((16, 16), int), metadata={PREVIEW_MARK: True})
    insert_below_prompts(viewer, shown)
    assert viewer.layers.selection.active is (image if selected else None)


def test_labels_that_cannot_be_edited_are_no_automatic_output(viewer):
    image = viewer.layers[0]
    scene = ViewerScene(viewer)
    labels = viewer.add_labels(
        np.zeros((16, 16), int), **plane_of(viewer, image).transform()
    )
    assert scene.labels is labels
    labels.editable = False
    assert scene.labels is None
    # chosen by the user: a message says why they cannot be edited
    scene.labels = labels
    assert scene.labels is labels


def test_tracked_labels_are_hidden_until_they_are_edited():
    viewer = ViewerModel()
    data = np.ones((2, 16, 16), np.uint16)
    labels = viewer.add_labels(data)
    scene = ViewerScene(viewer)
    tracks = Tracks.of([0, 1], [1, 1], np.zeros((2, 2)), [-1, 0])
    scene.tracks.show(labels, data, paint_tracks(tracks, data))
    shown = scene.tracks.shown_of(labels)
    assert not (labels.visible or shown.edited)
    values = np.zeros(data.shape, int)
    values[1, 2:5, 2:5] = 2
    with scene.objects_of(labels).step('an object') as step:
        step.put_pixels(values)
    # its tracks do not show the object
    assert labels.visible
    assert shown.edited
    labels.visible = False
    with scene.objects_of(labels).step('another object') as step:
        step.put_pixels(2 * values)
    assert not labels.visible
