"""Write tracks as GEFF, the graph exchange file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_mobilesam.extra import need
from napari_mobilesam.tracking.pixel_size import NO_SIZE, PixelSize
from napari_mobilesam.tracking.tracks import Tracks

AXES = {2: ('t', 'y', 'x'), 3: ('t', 'z', 'y', 'x')}


def write_geff(
    tracks: Tracks,
    path: Path,
    *,
    size: PixelSize = NO_SIZE,
) -> None:
    """Write objects and links as a GEFF folder.

    Nodes have ``t`` and the centroid in pixels, ``label`` and ``track``.

    Parameters
    ----------
    tracks : Tracks
        The tracks.
    path : Path
        Folder to create, ``.geff``.
    size : PixelSize
        Pixel size and time between frames, if known.

    Raises
    ------
    ImportError
        If geff is not installed; the message says how to install it.
    OSError
        If the folder exists or cannot be written.
    """
    geff = need('geff', 'track')
    graph = need('networkx', 'track').DiGraph()
    names = AXES[tracks.positions.shape[1]]
    for index in range(len(tracks)):
        node: dict[str, Any] = {
            't': int(tracks.frames[index]),
            'label': int(tracks.labels[index]),
            'track': int(tracks.ids[index]),
        }
        node |= dict(
            zip(names[1:], tracks.positions[index].tolist(), strict=True)
        )
        graph.add_node(index, **node)
    linked = np.flatnonzero(tracks.previous >= 0)
    graph.add_edges_from(
        zip(tracks.previous[linked].tolist(), linked.tolist(), strict=True)
    )
    spatial = len(names) - 1
    sizes, units = size.along(spatial)
    geff.write(
        graph,
        path,
        axis_names=list(names),
        axis_types=['time', *['space'] * spatial],
        axis_units=None if size.known else [None] * len(names),
        axis_scales=list(sizes) if size.known else None,
        scaled_units=list(units) if size.known else None,
    )
