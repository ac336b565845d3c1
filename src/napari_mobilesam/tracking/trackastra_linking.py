"""Linking of objects by trackastra, if it is installed.

trackastra is a transformer that compares objects of neighbouring frames by
position, shape and intensity (Gallusser & Weigert 2024, ECCV,
arXiv:2405.15700). Package and weights are BSD-3; trackastra downloads the
weights on first use.
"""

from __future__ import annotations

import logging
import operator
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.extra import need
from napari_mobilesam.tracking.objects_in_time import ObjectsInTime
from napari_mobilesam.tracking.tracks import Tracks
from napari_mobilesam.types import CheckpointError, ImageError, Progress

PACKAGE = 'trackastra'


def link_by_trackastra(
    objects: ObjectsInTime,
    labels: Any,
    images: Any,
    model: str = 'general_2d',
    divisions: bool = True,
    progress: Progress | None = None,
) -> Tracks:
    """Link objects into tracks with trackastra.

    Parameters
    ----------
    objects : ObjectsInTime
        The objects of the labels.
    labels, images : array
        (T, [Z,] H, W) labels and the image that was segmented; both are read
        into memory.
    model : str
        Name of a pretrained model of trackastra, or folder of a model.
    divisions : bool
        Allow objects to divide.
    progress : callable, optional
        ``progress(done, total, message)``; an exception that it raises ends
        the linking.

    Raises
    ------
    ImageError
        If there is no image, or its shape is not that of the labels.
    CheckpointError
        If the model cannot be loaded.
    ImportError
        If trackastra is not installed; the message says how to install it.
    """
    if images is None:
        raise ImageError(
            'trackastra compares objects in the image: give the image that '
            'was segmented.'
        )
    shape = tuple(getattr(images, 'shape', ()))
    if shape != tuple(labels.shape):
        raise ImageError(
            f'The image has the shape {shape}, but the labels have '
            f'{tuple(labels.shape)}: trackastra needs one gray value per '
            'label pixel.'
        )
    tracker = _load(model)
    graph, _ = tracker.track(
        _in_memory(images),
        _in_memory(labels),
        mode='greedy' if divisions else 'greedy_nodiv',
        progbar_class=_bars(progress),
    )
    index = {
        place: number
        for number, place in enumerate(
            zip(objects.frames.tolist(), objects.labels.tolist(), strict=True)
        )
    }
    place_of = {
        node: (int(data['time']), int(data['label']))
        for node, data in graph.nodes(data=True)
    }
    previous = np.full(len(objects), -1)
    for source, target in graph.edges:
        previous[index[place_of[target]]] = index[place_of[source]]
    return Tracks.of(
        objects.frames, objects.labels, objects.positions, previous
    )


def _load(model: str) -> Any:
    """Load a model of trackastra, by name or from a folder."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    tracker = need(f'{PACKAGE}.model', PACKAGE).Trackastra
    # importing it changes the root logger
    root.setLevel(before[0])
    root.handlers = before[1]
    logging.getLogger(PACKAGE).setLevel(logging.WARNING)
    folder = Path(model).expanduser()
    try:
        if folder.is_dir():
            return tracker.from_folder(folder, device='automatic')
        return tracker.from_pretrained(model, device='automatic')
    except Exception as error:
        # messages about downloads are long
        reason = textwrap.shorten(str(error), 120, placeholder=' …')
        raise CheckpointError(
            f'trackastra cannot load the model “{model}” ({reason}). Give the '
            'name of one of its models, which it downloads from GitHub, or '
            'the folder of a model.'
        ) from error


def _in_memory(series: Any) -> NDArray[Any]:
    """Read all frames of a possibly lazy array."""
    return np.stack([np.asarray(series[t]) for t in range(series.shape[0])])


def _bars(progress: Progress | None) -> Any:
    """Return a stand-in for tqdm that reports progress."""

    def bar(
        items: Iterable[Any], desc: str = '', total: int = 0, **_: Any
    ) -> Iterator[Any]:
        count = total or operator.length_hint(items)
        for number, item in enumerate(items):
            if progress is not None:
                progress(number, max(count, number + 1), desc or PACKAGE)
            yield item

    return bar
