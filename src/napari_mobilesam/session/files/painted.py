"""Pixels painted by hand, in session files.

Objects keep the pixels of their masks. Whatever a brush or another program has
added to the labels is stored separately, as runs of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.schema import SchemaError
from napari_mobilesam.session.files.record_json import Json
from napari_mobilesam.session.objects.mask_text import array_from, array_text
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.step import Step
from napari_mobilesam.session.objects.targets import LabelTarget

# Labels with more pixels are not searched for painted ones.
MOST_PIXELS = 1 << 28
# Number of pixels processed at once.
AT_ONCE = 1 << 22
# Number of runs in one text, see `mask_text.MOST_BYTES`.
TOGETHER = 1 << 20


@dataclass(frozen=True, eq=False)
class PaintedPixels:
    """Labelled pixels that belong to no object.

    Attributes
    ----------
    shape : tuple of int
        Shape of the labels.
    runs : ndarray
        (3, N) int64: first pixel of each run in the flat labels, length, and
        label.
    """

    shape: tuple[int, ...]
    runs: NDArray[np.int64]

    @property
    def labels(self) -> set[int]:
        """Labels of the pixels."""
        return set(np.unique(self.runs[2]).tolist())

    @property
    def highest(self) -> int:
        """Highest label."""
        return int(self.runs[2].max(initial=0))

    def put(self, step: Step, target: LabelTarget) -> None:
        """Write the pixels onto background of labels of the same shape."""
        starts, lengths, labels = self.runs
        ends = np.cumsum(lengths)
        total = int(lengths.sum())
        # in parts: an index takes many times the memory of a label
        for low in range(0, total, AT_ONCE):
            number = np.arange(low, min(low + AT_ONCE, total))
            run = np.searchsorted(ends, number, side='right')
            flat = starts[run] + number - (ends - lengths)[run]
            indices = np.unravel_index(flat, self.shape)
            empty = target.read(indices) == 0
            step.put_at(
                tuple(index[empty] for index in indices), labels[run][empty]
            )


def painted_pixels(
    target: LabelTarget, records: Iterable[ObjectRecord]
) -> PaintedPixels | None:
    """Return the pixels that belong to no object.

    None if there are none, or if the labels are not a single in-memory array
    of at most `MOST_PIXELS`.
    """
    values = target.array()
    if values is None or values.size > MOST_PIXELS or not values.any():
        return None
    own = np.zeros(values.shape, dtype=bool)
    for record in records:
        for view in record.views.values():
            if view.mask is not None:
                picture = view.mask.data.astype(np.uint8)
                at, _ = target.locate(view.plane, picture, view.mask.box[:2])
                own[at] |= values[at] == record.label
    runs = _joined(_runs(values.reshape(-1), own.reshape(-1)))
    return PaintedPixels(tuple(values.shape), runs) if runs.size else None


def _runs(
    values: NDArray[Any], own: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """Yield (3, N) runs of flat labels that are set, but not to an object's.

    Of one part after the other: each step makes copies.
    """
    for start in range(0, len(values), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        flat = np.flatnonzero((values[part] > 0) & ~own[part])
        labels = values[part][flat].astype(np.int64)
        # other programs use -1 for “ignore”; what int64 cannot hold becomes
        # negative
        flat, labels = flat[labels > 0], labels[labels > 0]
        if len(flat):
            new = (np.diff(flat) != 1) | (np.diff(labels) != 0)
            first = np.append(0, np.flatnonzero(new) + 1)
            lengths = np.diff(np.append(first, len(flat)))
            yield np.stack([start + flat[first], lengths, labels[first]])


def _joined(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the runs of all parts; a run may go on in the next part."""
    runs = np.hstack([np.zeros((3, 0), dtype=np.int64), *parts])
    if not runs.size:
        return runs
    starts, lengths, labels = runs
    new = (np.diff(starts) != lengths[:-1]) | (np.diff(labels) != 0)
    first = np.append(0, np.flatnonzero(new) + 1)
    total = np.add.reduceat(lengths, first)
    return np.stack([starts[first], total, labels[first]])


def painted_json(painted: PaintedPixels) -> Json:
    """Return painted pixels as plain values."""
    parts = range(0, painted.runs.shape[1], TOGETHER)
    return {
        'shape': painted.shape,
        'runs': [
            array_text(painted.runs[:, start : start + TOGETHER])
            for start in parts
        ],
    }


def painted_from(content: Any) -> PaintedPixels:
    """Return the painted pixels from `painted_json`.

    Raises
    ------
    ValueError
        The runs do not fit the shape, or are damaged.
    """
    shape = tuple(content['shape'])
    size = math.prod(shape)
    if size > MOST_PIXELS:
        raise SchemaError(f'painted pixels of labels of the shape {shape}')
    parts = [array_from(text) for text in content['runs']]
    if any(part.dtype != np.int64 or part.ndim != 2 for part in parts):
        raise SchemaError('painted pixels are not runs')
    runs = np.concatenate([np.zeros((3, 0), np.int64), *parts], axis=1)
    starts, lengths, labels = runs
    ends = starts + lengths
    if (
        (starts < 0).any()
        or (lengths < 1).any()
        or (ends > size).any()
        or (starts[1:] < ends[:-1]).any()
        or (labels < 1).any()
    ):
        raise SchemaError('painted pixels do not fit their labels')
    return PaintedPixels(shape, runs)
