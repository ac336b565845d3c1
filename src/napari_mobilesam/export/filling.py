"""Rasterize polygons to labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Edge crossings computed at once, which bounds memory.
CROSSINGS = 1 << 24


def fill_polygons(
    polygons: Sequence[Sequence[Any]],
    values: Sequence[int],
    out: NDArray[Any],
) -> None:
    """Fill the polygons of a plane; later ones paint over earlier ones.

    A polygon covers the pixels whose centres it encloses (even-odd rule). This
    is exact for the contours of `napari_mobilesam.export.contours`.

    Parameters
    ----------
    polygons : sequence of sequence of array_like
        Rings of each polygon (shell and holes), each (N, 2) (row, column),
        where the pixel at row 0, column 0 covers 0 to 1.
    values : sequence of int
        Label of each polygon.
    out : ndarray
        (H, W) labels; modified in place. Parts outside are clipped.
    """
    if not len(polygons):
        return
    rings = [np.asarray(r, float) for polygon in polygons for r in polygon]
    owner = np.repeat(np.arange(len(polygons)), [len(p) for p in polygons])
    sizes = np.array([len(ring) for ring in rings])
    points = np.concatenate(rings)
    following = np.arange(1, len(points) + 1)
    ends = np.cumsum(sizes)
    following[ends - 1] = ends - sizes
    _fill_edges(
        points,
        points[following],
        np.repeat(owner, sizes),
        np.asarray(values),
        out,
    )


def _fill_edges(
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
    owners: NDArray[np.int64],
    values: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Fill between edges, in batches of polygons to bound memory."""
    height = out.shape[0]
    # rows whose centres an edge crosses: first … last - 1
    rows = np.sort(np.stack([starts[:, 0], stops[:, 0]]), axis=0)
    first, last = np.clip(np.ceil(rows - 0.5), 0, height).astype(np.int64)
    counts = last - first
    done = np.cumsum(counts)
    begin = 0
    while begin < len(owners):
        base = done[begin - 1] if begin else 0
        end = int(np.searchsorted(done, base + CROSSINGS, side='right'))
        # never split a polygon
        last_owner = owners[max(begin, end - 1)]
        end = int(np.searchsorted(owners, last_owner, side='right'))
        part = slice(begin, end)
        repeat = counts[part]
        edge = np.repeat(np.arange(begin, end), repeat)
        row = np.arange(len(edge)) - np.repeat(
            np.cumsum(repeat) - repeat, repeat
        )
        row += first[edge]
        low, high = starts[edge], stops[edge]
        share = (row + 0.5 - low[:, 0]) / (high[:, 0] - low[:, 0])
        column = low[:, 1] + share * (high[:, 1] - low[:, 1])
        _fill_rows(owners[edge], row, column, values, out)
        begin = end


def _fill_rows(
    owners: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.float64],
    values: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Fill between pairs of crossings of the same polygon and row."""
    height, width = out.shape
    edges = np.clip(np.ceil(columns - 0.5), 0, width).astype(np.int64)
    # sorting one key is far faster than sorting three columns
    keys = np.sort((owners * height + rows) * (width + 1) + edges)
    lines, edges = np.divmod(keys, width + 1)
    owners, rows = np.divmod(lines[::2], height)
    lengths = edges[1::2] - edges[::2]
    pixels = np.arange(lengths.sum())
    pixels += np.repeat(
        rows * width + edges[::2] - (np.cumsum(lengths) - lengths), lengths
    )
    out.reshape(-1)[pixels] = np.repeat(values[owners], lengths)
