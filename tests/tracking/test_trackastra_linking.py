"""Linking by trackastra, with a stand-in that has its interface."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import networkx as nx
import numpy as np
import pytest
import tifffile

import napari_mobilesam as nm
from napari_mobilesam.cli import main
from napari_mobilesam.session import Session
from napari_mobilesam.types import (
    CheckpointError,
    ImageError,
    SegmentationError,
)

BY_TRACKASTRA = nm.LinkingParameters(linker='trackastra')


class FakeTracker:
    """Links the objects of each frame by brightness, as named in a graph."""

    asked: list

    @classmethod
    def from_pretrained(cls, name, device=None):
        if name != 'general_2d':
            raise ValueError('Pretrained model is not available')
        return cls()

    @classmethod
    def from_folder(cls, folder, device=None):
        found = cls()
        found.folder = folder
        return found

    def track(self, imgs, masks, mode, progbar_class):
        self.asked.append((imgs.dtype, masks.shape, mode))
        graph = nx.DiGraph()
        before = {}
        frames = progbar_class(
            zip(imgs, masks, strict=True), total=len(imgs), desc='Features'
        )
        for time, (image, mask) in enumerate(frames):
            here = {}
            for label in np.unique(mask[mask > 0]).tolist():
                node = graph.number_of_nodes() + 100
                graph.add_node(node, time=time, label=label, coords=(0, 0))
                gray = int(image[mask == label].max())
                here.setdefault(gray, []).append(node)
            for gray, nodes in here.items():
                for node in nodes[: 1 if mode == 'greedy_nodiv' else 2]:
                    for source in before.get(gray, ()):
                        graph.add_edge(source, node, weight=1.0)
            before = here
        # objects without links are not in its solution
        graph.remove_nodes_from(list(nx.isolates(graph)))
        return graph, masks


@pytest.fixture
def trackastra(monkeypatch):
    """The stand-in in place of the package."""
    FakeTracker.asked = []
    package, model = ModuleType('trackastra'), ModuleType('trackastra.model')
    model.Trackastra = FakeTracker
    monkeypatch.setitem(sys.modules, 'trackastra', package)
    monkeypatch.setitem(sys.modules, 'trackastra.model', model)
    return FakeTracker


@pytest.fixture
def series():
    """Two cells that swap their places; one divides, one comes late."""
    labels = np.zeros((4, 40, 60), np.uint16)
    image = np.zeros(labels.shape, np.uint8)

    def cell(frame, row, column, label, gray):
        part = frame, slice(row, row + 6), slice(column, column + 6)
        labels[part], image[part] = label, gray

    for frame in range(4):
        first, second = (5, 45) if frame % 2 else (45, 5)
        cell(frame, 5, first, frame + 1, 100)
        if frame < 2:
            cell(frame, 5, second, frame + 11, 200)
        else:
            cell(frame, 2, second, frame + 11, 200)
            cell(frame, 12, second, frame + 21, 200 if frame == 2 else 210)
    cell(3, 30, 30, 40, 50)
    return image, labels


def test_objects_are_linked_as_trackastra_says(trackastra, series):
    image, labels = series
    told = []
    tracks = nm.track_labels(
        labels, BY_TRACKASTRA, lambda *args: told.append(args), image
    )
    first = tracks.ids[tracks.index(0, 1)]
    assert tracks.labels[tracks.members(first)].tolist() == [1, 2, 3, 4]
    (divided,) = tracks.divisions
    assert (tracks.frames[divided], tracks.labels[divided]) == (1, 12)
    assert len(tracks) == 11
    assert tracks.previous[tracks.index(3, 40)] == -1
    assert (2, 4, 'Features') in told
    assert trackastra.asked == [(np.uint8, (4, 40, 60), 'greedy')]


def test_no_divisions(trackastra, series):
    image, labels = series
    tracks = nm.track_labels(
        labels,
        nm.LinkingParameters(linker='trackastra', divisions=False),
        images=image,
    )
    assert not tracks.divisions


def test_cancel_in_between(trackastra, series):
    image, labels = series

    def stop(done, total, text):
        if text == 'Features' and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nm.track_labels(labels, BY_TRACKASTRA, stop, image)


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        (None, 'give the image'),
        (np.zeros((4, 40, 61)), r'shape \(4, 40, 61\), but the labels'),
    ],
)
def test_what_is_no_image_of_the_labels(trackastra, series, images, message):
    with pytest.raises(ImageError, match=message):
        nm.track_labels(series[1], BY_TRACKASTRA, images=images)


def test_missing_package_and_model_are_said(
    trackastra, series, monkeypatch, tmp_path
):
    image, labels = series
    other = nm.LinkingParameters(linker='trackastra', trackastra_model='best')
    with pytest.raises(CheckpointError, match='cannot load the model “best”'):
        nm.track_labels(labels, other, images=image)
    # a folder is its own model
    folder = nm.LinkingParameters(
        linker='trackastra', trackastra_model=str(tmp_path)
    )
    assert len(nm.track_labels(labels, folder, images=image)) == 11
    monkeypatch.setitem(sys.modules, 'trackastra', None)
    monkeypatch.delitem(sys.modules, 'trackastra.model')
    with pytest.raises(ImportError, match='pip install trackastra'):
        nm.track_labels(labels, BY_TRACKASTRA, images=image)
    with pytest.raises(SegmentationError, match="linker is 'best'"):
        nm.track_labels(labels, nm.LinkingParameters(linker='best'))


def test_log_of_the_program_stays(trackastra, series):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    nm.track_labels(series[1], BY_TRACKASTRA, images=series[0])
    assert (root.level, root.handlers) == before


def test_command_line(trackastra, series, tmp_path, capsys):
    image, labels = tmp_path / 'image.tif', tmp_path / 'labels.tif'
    tifffile.imwrite(image, series[0])
    tifffile.imwrite(labels, series[1])
    given = ['track', str(labels), '-o', str(tmp_path / 'tracks.csv')]
    given += ['--linker', 'trackastra', '--quiet']
    assert main([*given, '--image', str(image)]) == 0
    assert '11 objects, 1 division' in capsys.readouterr().out
    assert main([*given, '--overwrite']) == 2
    assert 'give the image' in capsys.readouterr().err


def test_session_without_a_viewer_has_no_image(trackastra, series):
    session = Session()
    try:
        with pytest.raises(SegmentationError, match='give the image'):
            session.track(series[1], linker='trackastra')
    finally:
        session.close()
