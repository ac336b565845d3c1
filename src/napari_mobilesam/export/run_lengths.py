"""Run-length encoding of masks, as defined by COCO and pycocotools.

Counts alternate between background and foreground pixels in column-major
order. Files hold them compressed: from the fourth on, the count two before is
subtracted; each value is written in groups of 5 bits, as characters from
``'0'`` on (``rleToString`` of the COCO API).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ASCII code for 0, bits per character, and its sign and continuation bits.
ZERO, GROUP, SIGN, MORE = 48, 5, 0x10, 0x20


def encode_objects(labels: NDArray[Any]) -> dict[int, str]:
    """Return the compressed counts of all objects of a label image.

    Parameters
    ----------
    labels : ndarray
        (H, W) integers, 0 is background.

    Returns
    -------
    dict of int to str
        Label to counts, with ascending labels.
    """
    flat = np.ascontiguousarray(labels.T).reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges]).astype(np.int64)
    stops = np.append(edges, len(flat))
    runs = flat[starts]
    order = np.flatnonzero(runs)
    order = order[np.argsort(runs[order], kind='stable')]
    starts, stops, runs = starts[order], stops[order], runs[order]
    found, first, amounts = np.unique(
        runs, return_index=True, return_counts=True
    )
    if not len(found):
        return {}
    # background before each run, the run, and the background at the end
    before = np.empty_like(starts)
    before[1:] = starts[1:] - stops[:-1]
    before[first] = starts[first]
    offsets = np.concatenate([[0], np.cumsum(2 * amounts + 1)])
    counts = np.empty(offsets[-1], np.int64)
    place = 2 * np.arange(len(starts)) + np.repeat(
        np.arange(len(found)), amounts
    )
    counts[place] = before
    counts[place + 1] = stops - starts
    last = np.append(first[1:], len(starts)) - 1
    rest = len(flat) - stops[last]
    counts[offsets[1:] - 1] = rest
    # pycocotools omits a final count of 0
    kept = np.ones(len(counts), bool)
    kept[offsets[1:] - 1] = rest > 0
    sizes = np.diff(offsets) - (rest == 0)
    texts = compress(counts[kept], np.concatenate([[0], np.cumsum(sizes)]))
    return dict(zip(found.tolist(), texts, strict=True))


def compress(
    counts: NDArray[np.int64], offsets: NDArray[np.int64]
) -> list[str]:
    """Compress the counts of many masks.

    Parameters
    ----------
    counts : ndarray
        (N,) int64 concatenated counts of all masks.
    offsets : ndarray
        (n + 1,) int64 index of the first count of each mask.

    Returns
    -------
    list of str
        Compressed counts of each mask.
    """
    values = counts.copy()
    index = np.arange(len(counts)) - np.repeat(offsets[:-1], np.diff(offsets))
    later = np.flatnonzero(index > 2)
    values[later] -= counts[later - 2]
    # characters per value, until only its sign is left
    size = np.ones(len(values), np.int64)
    rest = values.copy()
    while True:
        more = ~((rest >= -SIGN) & (rest < SIGN))
        if not more.any():
            break
        rest[more] >>= GROUP
        size += more
    ends = np.cumsum(size)
    text = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    for group in range(int(size.max(initial=0))):
        here = np.flatnonzero(size > group)
        part = (values[here] >> (GROUP * group)) & (MORE - 1)
        part += np.where(size[here] > group + 1, MORE, 0)
        text[ends[here] - size[here] + group] = part + ZERO
    joined = text.tobytes().decode('ascii')
    at = np.concatenate([[0], ends])[offsets].tolist()
    return [joined[a:b] for a, b in zip(at[:-1], at[1:], strict=True)]


def decompress(text: str) -> NDArray[np.int64]:
    """Return the counts of one mask.

    Raises
    ------
    ValueError
        If the text ends within a count or has invalid characters.
    """
    codes = np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int64)
    codes -= ZERO
    valid = (codes >= 0) & (codes < 2 * MORE)
    if not valid.all() or (codes[-1:] & MORE).any():
        raise ValueError(f'{text[:20]!r} is not a list of compressed counts')
    ends = np.flatnonzero(~codes & MORE) + 1
    starts = np.append(0, ends)[:-1]
    sizes = ends - starts
    shift = GROUP * (np.arange(len(codes)) - np.repeat(starts, sizes))
    values = np.add.reduceat((codes & (MORE - 1)) << shift, starts)
    negative = (codes[ends - 1] & SIGN) > 0
    values -= np.where(negative, np.int64(1) << (GROUP * sizes), 0)
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    return values


def runs_of(counts: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Return (n, 2) start and stop of foreground runs, column-major."""
    ends = np.cumsum(np.asarray(counts, np.int64))
    return ends[: len(ends) // 2 * 2].reshape(-1, 2)


def paint_runs(
    runs: NDArray[np.int64], value: int, columns: NDArray[Any]
) -> None:
    """Write a label into runs of a flat, column-major image."""
    for first, last in runs.tolist():
        columns[first:last] = value
