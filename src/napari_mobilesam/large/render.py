"""From records to label images, one output chunk at a time.

Every chunk is painted by one task, from all masks that overlap it, better
masks first; no chunk is read back or written twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.large.io.interfaces import LabelSink
from napari_mobilesam.large.journal import Journal, MaskRecordReader
from napari_mobilesam.large.mask_table import MaskTable
from napari_mobilesam.large.resize import enlarge_mask, fine_box
from napari_mobilesam.types import Window, window_at


class ChunkTask(NamedTuple):
    """A chunk and the masks that overlap it.

    Attributes
    ----------
    plane : int
        Plane of the output.
    window : tuple of int
        (row0, column0, row1, column1) at level 0.
    labels : ndarray
        (N,) uint32 label of each mask, better masks first.
    keys : tuple of str
        Records that contain the masks.
    record, position : ndarray
        (N,) index into ``keys``, and position in that record.
    """

    plane: int
    window: Window
    labels: NDArray[np.uint32]
    keys: tuple[str, ...]
    record: NDArray[np.int64]
    position: NDArray[np.int64]


class Painted(NamedTuple):
    """Visible part of each label in a chunk.

    Attributes
    ----------
    plane : int
        Plane of the output.
    labels : ndarray
        (N,) uint32.
    areas : ndarray
        (N,) int64 pixels.
    sums : ndarray
        (N, 2) float64 sums of rows and columns.
    boxes : ndarray
        (N, 4) int64 at level 0, half open.
    """

    plane: int
    labels: NDArray[np.uint32]
    areas: NDArray[np.int64]
    sums: NDArray[np.float64]
    boxes: NDArray[np.int64]


def chunk_tasks(
    plane: int,
    found: MaskTable,
    labels: NDArray[np.uint32],
    factor: tuple[float, float],
    shape: tuple[int, int],
    chunk: tuple[int, int],
) -> Iterator[ChunkTask]:
    """Yield the tasks for the chunks of a plane that contain masks.

    Parameters
    ----------
    plane : int
        Plane of the output.
    found : MaskTable
        Masks that get a label, better masks first.
    labels : ndarray
        (N,) their labels.
    factor : tuple of float
        Pixels of level 0 per pixel of the working plane.
    shape, chunk : tuple of int
        (H, W) of level 0, and of its chunks.
    """
    boxes = np.array(
        [fine_box(tuple(box), factor) for box in found.boxes.tolist()],
        np.int64,
    ).reshape(-1, 4)
    boxes[:, 2:] = np.minimum(boxes[:, 2:], shape)
    size = np.array(chunk)
    low, high = boxes[:, :2] // size, (boxes[:, 2:] - 1) // size
    columns = -(-shape[1] // chunk[1])
    for row in range(-(-shape[0] // chunk[0])):
        here = np.flatnonzero((low[:, 0] <= row) & (high[:, 0] >= row))
        if not len(here):
            continue
        for column in range(columns):
            met = here[(low[here, 1] <= column) & (high[here, 1] >= column)]
            if not len(met):
                continue
            used, record = np.unique(found.record[met], return_inverse=True)
            yield ChunkTask(
                plane,
                window_at(row * chunk[0], column * chunk[1], chunk, shape),
                labels[met],
                tuple(found.keys[i] for i in used.tolist()),
                record.reshape(-1),
                found.index[met],
            )


@dataclass(frozen=True, eq=False)
class Renderer:
    """Painter and writer of chunks.

    Attributes
    ----------
    folder : Path
        Folder of the records.
    factor : tuple of float
        Pixels of level 0 per pixel of the working plane.
    sink : LabelSink
        Writer of the chunks.
    """

    folder: Path
    factor: tuple[float, float]
    sink: LabelSink

    def __call__(self, task: ChunkTask) -> Painted:
        """Paint and write a chunk; return the visible part of each label."""
        reader = MaskRecordReader(Journal(self.folder))
        row0, column0, row1, column1 = task.window
        chunk = np.zeros((row1 - row0, column1 - column0), np.uint32)
        seen = []
        for label, record, index in zip(
            task.labels.tolist(),
            task.record.tolist(),
            task.position.tolist(),
            strict=True,
        ):
            held = reader.record(task.keys[record])
            data, box = enlarge_mask(
                held.pixels(index),
                tuple(held.boxes[index].tolist()),
                self.factor,
                task.window,
            )
            if not data.size:
                continue
            place = chunk[
                box[0] - row0 : box[2] - row0,
                box[1] - column0 : box[3] - column0,
            ]
            free = data & (place == 0)
            place[free] = label
            rows, columns = np.nonzero(free)
            if len(rows):
                seen.append(_measured(label, rows + box[0], columns + box[1]))
        if seen:
            self.sink.write_chunk(task.plane, task.window, chunk)
        return _joined(task.plane, seen)


Measured = tuple[int, int, tuple[int, int], tuple[int, int, int, int]]


def _measured(
    label: int, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Measured:
    return (
        label,
        len(rows),
        (int(rows.sum()), int(columns.sum())),
        (
            int(rows.min()),
            int(columns.min()),
            int(rows.max()) + 1,
            int(columns.max()) + 1,
        ),
    )


def _joined(plane: int, seen: list[Measured]) -> Painted:
    return Painted(
        plane,
        np.array([entry[0] for entry in seen], np.uint32),
        np.array([entry[1] for entry in seen], np.int64),
        np.array([entry[2] for entry in seen], float).reshape(-1, 2),
        np.array([entry[3] for entry in seen], np.int64).reshape(-1, 4),
    )
