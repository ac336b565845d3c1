"""Deletion of objects from labels on disk, and its undo."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

zarr = pytest.importorskip('zarr')

from napari_mobilesam.export.ome_zarr_labels import (  # noqa: E402
    read_ome_zarr,
)
from napari_mobilesam.large import erase  # noqa: E402
from napari_mobilesam.large.erase import (  # noqa: E402
    erase_objects,
    finish_interrupted,
    undo_erase,
)
from napari_mobilesam.large.io.object_columns import read_objects  # noqa: E402
from napari_mobilesam.large.io.ome_zarr import (  # noqa: E402
    LabelWriter,
    open_labels,
)
from napari_mobilesam.large.journal import MANIFEST  # noqa: E402
from napari_mobilesam.large.run_folder import records_folder  # noqa: E402
from napari_mobilesam.run_lock import OutputInUseError, run_lock  # noqa: E402
from napari_mobilesam.types import (  # noqa: E402
    ImageError,
    SegmentationError,
    slices_of,
    window_at,
)

CHUNK = 32
SHAPE = (98, 70)


def quiet(done, total, text):
    """Take progress, and do nothing."""


def picture():
    """Two planes of squares of 9 pixels; label 1 is on both."""
    labels = np.zeros((2, *SHAPE), np.uint32)
    for number, (row, column) in enumerate(
        ((r, c) for r in range(2, 86, 15) for c in range(2, 60, 15)), start=1
    ):
        labels[0, row : row + 9, column : column + 9] = number
    labels[1, 60:70, 40:60] = 1
    return labels


def rows_of(labels):
    rows = []
    for plane, pixels in enumerate(labels):
        for label in np.unique(pixels[pixels > 0]):
            row, column = np.nonzero(pixels == label)
            box = row.min(), column.min(), row.max() + 1, column.max() + 1
            rows.append((label, plane, 0.5 + label / 1000, *box))
    names = ['label', 'plane', 'score', 'row0', 'column0', 'row1', 'column1']
    return pd.DataFrame(rows, columns=names)


def write(path, labels, **options):
    shape = labels.shape[1:]
    writer = LabelWriter.create(
        path, len(labels), shape, (CHUNK, CHUNK), **options
    )
    for plane, pixels in enumerate(labels):
        for row in range(0, shape[0], CHUNK):
            for column in range(0, shape[1], CHUNK):
                window = window_at(row, column, (CHUNK, CHUNK), shape)
                part = pixels[slices_of(window)]
                writer.write_chunk(plane, window, part)
    writer.finish(table=rows_of(labels))
    return path


# zarr's second format, and its third
@pytest.fixture(params=[pytest.param('0.4', marks=pytest.mark.slow), '0.5'])
def output(request, tmp_path):
    path = tmp_path / 'out.ome.zarr'
    return write(path, picture(), version=request.param)


def assert_holds(path: Path, labels) -> None:
    """All levels, and the table, are those of labels."""
    levels = open_labels(path)
    assert len(levels) > 1
    for number, level in enumerate(levels):
        step = 2**number
        expected = labels[:, ::step, ::step].reshape(level.shape)
        np.testing.assert_array_equal(level[:], expected)
    pd.testing.assert_frame_equal(
        read_objects(path), rows_of(labels), check_dtype=False
    )


def without(labels, gone):
    return np.where(np.isin(labels, gone), 0, labels)


@pytest.mark.parametrize('output', ['0.4', '0.5'], indirect=True)
def test_objects_are_deleted_on_all_planes_and_levels(output):
    labels, told = picture(), []
    rows = erase_objects(output, [1, 7, 24], lambda *t: told.append(t))
    assert rows['label'].tolist() == [1, 7, 24]
    assert_holds(output, without(labels, [1, 7, 24]))
    # no block that has no part of them is read
    assert told[-1][:2] == (len(told) - 1, len(told))
    assert len(told) < open_labels(output)[0].nchunks
    assert not records_folder(output).exists()


def test_deletions_are_undone_in_turn(output):
    labels = picture()
    erase_objects(output, [1, 2], quiet)
    erase_objects(output, [3], quiet)
    assert undo_erase(output, quiet)['label'].tolist() == [3]
    assert_holds(output, without(labels, [1, 2]))
    assert undo_erase(output, quiet)['label'].tolist() == [1, 2]
    assert_holds(output, labels)
    assert undo_erase(output, quiet) is None


def test_all_objects_may_be_deleted(output):
    labels = picture()
    erase_objects(output, np.unique(labels[labels > 0]).tolist(), quiet)
    assert len(read_objects(output)) == 0
    assert not any(level[:].any() for level in open_labels(output))
    undo_erase(output, quiet)
    assert_holds(output, labels)


def test_the_oldest_deletions_become_permanent(output, monkeypatch):
    monkeypatch.setattr(erase, 'MOST_STEPS', 2)
    for label in (1, 2, 3):
        erase_objects(output, [label], quiet)
    undo_erase(output, quiet)
    undo_erase(output, quiet)
    assert undo_erase(output, quiet) is None
    assert_holds(output, without(picture(), [1]))


def test_a_cancelled_deletion_deletes_nothing(output):
    def cancel(done, total, text):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase_objects(output, range(1, 40), cancel)
    assert_holds(output, picture())
    assert undo_erase(output, quiet) is None


class Power:
    """Ends the process, in effect, at one of its writes."""

    def __init__(self, monkeypatch, last):
        self.left = last
        for name in ('_index', '_window', '_remove', 'write_objects'):
            self._watch(monkeypatch, erase, name)
        self._watch(monkeypatch, os, 'replace')

    def _watch(self, monkeypatch, place, name):
        function = getattr(place, name)

        def call(*args, **kwargs):
            # once it is off, nothing works
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, 'no space')
            return function(*args, **kwargs)

        monkeypatch.setattr(place, name, call)


@pytest.mark.slow
@pytest.mark.parametrize('undone', [False, True])
def test_an_interrupted_step_is_finished_when_opened(
    tmp_path, monkeypatch, undone
):
    # two blocks
    labels, gone = picture()[:1, :50, :32], [1, 9]
    output = write(tmp_path / 'out.ome.zarr', labels)
    after = without(labels, gone)
    last, whole = 0, False
    while not whole:
        if undone:
            erase_objects(output, gone, quiet)
        with monkeypatch.context() as patch:
            power = Power(patch, last)
            try:
                if undone:
                    undo_erase(output, quiet)
                else:
                    erase_objects(output, gone, quiet)
            except OSError:
                pass
            whole = power.left >= 0
        finish_interrupted(output)
        # either done or not
        done = len(read_objects(output)) < len(rows_of(labels))
        assert_holds(output, after if done else labels)
        if done:
            undo_erase(output, quiet)
        assert_holds(output, labels)
        last += 3
    assert last > 10


def test_an_interrupted_undo_leaves_no_part_of_a_table(output, monkeypatch):
    erase_objects(output, [1], quiet)
    with monkeypatch.context() as patch:

        def rmtree(folder):
            raise OSError(errno.EIO, 'killed')

        patch.setattr(erase, 'shutil', SimpleNamespace(rmtree=rmtree))
        with pytest.raises(OSError, match='killed'):
            undo_erase(output, quiet)
    finish_interrupted(output)
    # other programs would list it
    assert not list(output.glob('.*.part'))
    assert_holds(output, picture())


def test_labels_of_an_interrupted_deletion_are_read_only(output, monkeypatch):
    (output / erase.STEPS / f'1{erase.UNFINISHED}').mkdir(parents=True)

    def refuse(folder):
        raise OSError(errno.EROFS, 'read-only')

    monkeypatch.setattr(erase, 'run_lock', refuse)
    with pytest.warns(UserWarning, match='may lack pixels.*read-only'):
        read = read_ome_zarr(output)
    assert len(read.table) == len(rows_of(picture()))


def test_a_run_and_a_deletion_exclude_each_other(output):
    records = records_folder(output)
    with run_lock(records), pytest.raises(OutputInUseError):
        erase_objects(output, [1], quiet)
    records.mkdir()
    (records / MANIFEST).write_text('{}')
    with pytest.raises(SegmentationError, match='unfinished'):
        erase_objects(output, [1], quiet)
    assert_holds(output, picture())


def test_what_cannot_be_deleted(output, tmp_path):
    with pytest.raises(SegmentationError, match='none of the objects'):
        erase_objects(output, [999], quiet)
    with pytest.raises(ImageError, match='no finished labels'):
        erase_objects(tmp_path / 'other.zarr', [1], quiet)
    assert not records_folder(output).exists()
