"""Deletion of objects of a labels layer by label."""

from __future__ import annotations

from collections.abc import Collection

from napari.layers import Labels

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.viewer.measured_box import pixels_of
from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene


def delete_labels(
    layer: Labels, labels: Collection[int], scene: ViewerScene
) -> None:
    """Delete objects on all planes, as one undoable step.

    Parameters
    ----------
    layer : napari.layers.Labels
        The layer, see `pixels_of`.
    labels : collection of int
        Labels of the objects.
    scene : ViewerScene
        Knows the objects and the channels.

    Raises
    ------
    SegmentationError
        The labels are not in memory, and the position of an object is unknown.
    """
    objects, pixels = scene.objects_of(layer), pixels_of(layer, labels, scene)
    gone = {int(label) for label in labels}
    title = f'deleting {counted(len(gone), "object")}'
    with objects.step(title) as step:
        step.replay_code = _replay_code(objects, gone)
        step.put_at(pixels, 0)
        for record in [r for r in objects if r.label in gone]:
            step.remove(record)
        step.describe(gone, layer.features.iloc[:0])


def _replay_code(objects: Objects, labels: set[int]) -> ReplayCode | None:
    """Return code that deletes objects; None if a script lacks some."""
    numbers = [record.number for record in objects if record.label in labels]
    if {record.label for record in objects if record.label in labels} < labels:
        return None
    return ReplayCode(
        tuple(
            line
            for number in numbers
            for line in (f'session.open({number})', 'session.delete()')
        )
    )
