"""Layers whose labels are on disk follow deletions, and their undo."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel

from napari_mobilesam.large.erase import erase_objects
from napari_mobilesam.large.io.object_columns import read_objects
from napari_mobilesam.large.io.ome_zarr import LabelWriter, open_labels
from napari_mobilesam.session.everything.erase_jobs import EraseJobs
from napari_mobilesam.session.objects.history import History
from napari_mobilesam.widgets.table.disk_objects import Deletion, output_of

SECONDS = 40.0
NAMES = ['label', 'plane', 'row0', 'column0', 'row1', 'column1']


@pytest.fixture
def jobs():
    made = EraseJobs(lambda function: function())
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    """Labels 1 and 2 of 8 x 8 pixels."""
    pixels = np.zeros((32, 32), np.uint32)
    pixels[:8, :8], pixels[16:24, :8] = 1, 2
    rows = [(1, 0, 0, 0, 8, 8), (2, 0, 16, 0, 24, 8)]
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 1, (32, 32), (32, 32))
    writer.write_chunk(0, (0, 0, 32, 32), pixels)
    writer.finish(table=pd.DataFrame(rows, columns=NAMES))
    return path


def shown(viewer, path):
    features = read_objects(path).rename(columns={'label': 'index'})
    return viewer.add_labels(open_labels(path)[0], features=features)


def deletion(viewer, layer, path, label, jobs):
    """Delete an object, as the table does."""
    erase_objects(path, [label], lambda *told: None)
    return Deletion(layer, path, (label,), viewer, jobs, History())


def undo(made, jobs):
    made.undo()
    assert jobs.wait(SECONDS)


def indices(layer):
    return sorted(layer.features['index'])


def test_all_layers_of_the_labels_follow(path, jobs):
    viewer = ViewerModel()
    first, second = shown(viewer, path), shown(viewer, path)
    made = deletion(viewer, first, path, 1, jobs)
    assert indices(first) == indices(second) == [2]
    undo(made, jobs)
    assert indices(first) == indices(second) == [1, 2]


def test_undo_of_a_deletion_of_another_window_keeps_the_own_step(path, jobs):
    viewer = ViewerModel()
    layer = shown(viewer, path)
    layer.features = layer.features.assign(mine=[5.0, 6.0])
    made = deletion(viewer, layer, path, 1, jobs)
    # by another window: the layer has the row still
    erase_objects(path, [2], lambda *told: None)
    undo(made, jobs)
    assert made.history.undoable
    assert layer.features['mine'].tolist() == [6.0]
    undo(made, jobs)
    assert not made.history.undoable
    assert layer.features.set_index('index')['mine'].to_dict() == {1: 5, 2: 6}
    assert set(np.unique(open_labels(path)[0][:])) == {0, 1, 2}


def test_exported_labels_have_no_table_on_disk(tmp_path):
    writer = LabelWriter.create(tmp_path / 'out.zarr', 1, (32, 32), (32, 32))
    writer.finish()
    labels = open_labels(tmp_path / 'out.zarr')[0]
    assert output_of(ViewerModel().add_labels(labels)) is None
