"""Pixels of an array before and after a write, as runs of equal pixels.

A disk of a hundred rows costs a hundred runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.objects.targets import Indices, LabelTarget

# Runs of a patch are written together, at most this many pixels at a time, if
# few other pixels lie between them: at most this many per changed pixel, not
# counting gaps of at least this length.
SPAN_PIXELS = 1 << 20
MOST_BETWEEN = 32
LONGEST_GAP = 1 << 16


class Span(NamedTuple):
    """Part of an array in which a patch changes pixels.

    Attributes
    ----------
    place : slice
        Position in the flat array.
    changed : ndarray
        (N,) bool mask of the changed pixels.
    before, after : ndarray
        (N,) values of the changed pixels.
    """

    place: slice
    changed: NDArray[np.bool_]
    before: NDArray[Any]
    after: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels of an array before and after a write.

    Attributes
    ----------
    starts : ndarray
        (R,) int64 index of the first pixel of each run in the flat array.
    lengths : ndarray
        (R,) int64 pixels of each run.
    before, after : ndarray
        (R,) value of the whole run.
    copies : int
        In how many channels of the image the pixels are the same.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    before: NDArray[Any]
    after: NDArray[Any]
    copies: int = 1

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        indices: Indices,
        before: NDArray[Any],
        after: NDArray[Any],
        copies: int = 1,
    ) -> Patch:
        """Describe a write.

        Parameters
        ----------
        shape : tuple of int
            Shape of the array.
        indices : tuple of ndarray
            One (N,) intp array per axis; no duplicate pixels.
        before, after : ndarray
            (N,) values.
        copies : int
            In how many channels of the image the pixels are the same.
        """
        flat = np.ravel_multi_index(indices, shape)
        return cls._of_flat(np.asarray(flat, np.int64), before, after, copies)

    @classmethod
    def _of_flat(
        cls,
        flat: NDArray[np.int64],
        before: NDArray[Any],
        after: NDArray[Any],
        copies: int,
    ) -> Patch:
        differs = before != after
        if not differs.all():
            flat, before, after = (a[differs] for a in (flat, before, after))
        # pixels are mostly in order; sorting millions takes a while
        if (flat[1:] < flat[:-1]).any():
            order = np.argsort(flat, kind='stable')
            flat, before, after = (a[order] for a in (flat, before, after))
        new_run = np.ones(len(flat), dtype=bool)
        new_run[1:] = (
            (np.diff(flat) != 1)
            | (before[1:] != before[:-1])
            | (after[1:] != after[:-1])
        )
        first = np.flatnonzero(new_run)
        lengths = np.diff(np.append(first, len(flat))).astype(np.int64)
        return cls(flat[first], lengths, before[first], after[first], copies)

    def __len__(self) -> int:
        """Return the number of pixels."""
        return int(self.lengths.sum())

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(
            array.nbytes
            for array in (self.starts, self.lengths, self.before, self.after)
        )

    def flat(self) -> NDArray[np.int64]:
        """Return the (N,) int64 flat indices of its pixels, ascending."""
        ends = np.cumsum(self.lengths)
        offsets = np.repeat(self.starts - (ends - self.lengths), self.lengths)
        return offsets + np.arange(len(offsets))

    def undo(self, target: LabelTarget) -> Patch:
        """Restore the values before, except where others have painted.

        Returns
        -------
        Patch
            The restored pixels. Redoing the others would overwrite painted
            pixels or bring back erased ones.
        """
        return self._swap(target, self.after, self.before)

    def redo(self, target: LabelTarget) -> Patch:
        """Write again, except where others have painted; see `undo`."""
        return self._swap(target, self.before, self.after)

    def _swap(
        self, target: LabelTarget, old: NDArray[Any], new: NDArray[Any]
    ) -> Patch:
        if not len(self.starts):
            return self
        swap = replace(self, before=old, after=new)
        row = target.row(len(self)) if self.dense else None
        if row is not None:
            parts = []
            for span in swap.spans():
                here = row[span.place]
                untouched = span.changed & (here == span.before)
                np.copyto(here, span.after, where=untouched)
                parts.append(untouched[span.changed])
            target.refresh(int(new.max()))
            return self._part(np.concatenate(parts))
        indices = np.unravel_index(self.flat(), target.shape)
        untouched = target.read(indices) == _all(swap, 'before')
        values = _all(swap, 'after')
        target.write(
            tuple(index[untouched] for index in indices), values[untouched]
        )
        return self._part(untouched)

    def _part(self, chosen: NDArray[np.bool_]) -> Patch:
        """Return the patch of some of its pixels, given as (N,) bool."""
        if chosen.all():
            return self
        return Patch._of_flat(
            self.flat()[chosen],
            _all(self, 'before')[chosen],
            _all(self, 'after')[chosen],
            self.copies,
        )

    @property
    def dense(self) -> bool:
        """True if few pixels lie between the runs, so `spans` pays off."""
        ends = self.starts + self.lengths
        gaps = self.starts[1:] - ends[:-1]
        between = int(gaps[gaps < LONGEST_GAP].sum())
        return between <= MOST_BETWEEN * len(self)

    def spans(self) -> Iterator[Span]:
        """Yield the runs as spans, part by part.

        Copying contiguous parts is far faster than indexing pixels.
        """
        ends = self.starts + self.lengths
        far = np.flatnonzero(self.starts[1:] - ends[:-1] >= LONGEST_GAP) + 1
        for first, last in _pairs([0, *far.tolist(), len(ends)]):
            # parts with about as many pixels as fit in a cache
            whole = int(ends[last - 1] - self.starts[first])
            at = self.starts[first] + np.arange(0, whole, SPAN_PIXELS)
            cuts = np.searchsorted(self.starts[first:last], at) + first
            for low, high in _pairs([*np.unique(cuts).tolist(), last]):
                yield self._span(low, high)

    def _span(self, low: int, high: int) -> Span:
        starts, lengths = self.starts[low:high], self.lengths[low:high]
        start, stop = int(starts[0]), int(starts[-1] + lengths[-1])
        # runs alternate with the gaps between them
        pieces = np.zeros(2 * len(starts), dtype=np.int64)
        pieces[1::2] = lengths
        pieces[2::2] = starts[1:] - starts[:-1] - lengths[:-1]

        def spread(values: NDArray[Any]) -> NDArray[Any]:
            turns = np.zeros(len(pieces), dtype=values.dtype)
            turns[1::2] = values
            return np.repeat(turns, pieces)

        return Span(
            slice(start, stop),
            spread(np.ones(len(starts), dtype=bool)),
            spread(self.before[low:high]),
            spread(self.after[low:high]),
        )

    @classmethod
    def of_all(cls, patches: Sequence[Patch]) -> Patch:
        """Merge patches, applied in order, into one."""
        if len(patches) == 1:
            return patches[0]
        flat = np.concatenate([patch.flat() for patch in patches])
        before = np.concatenate([_all(patch, 'before') for patch in patches])
        after = np.concatenate([_all(patch, 'after') for patch in patches])
        # the first change of a pixel has the value before, the last change the
        # value after
        order = np.argsort(flat, kind='stable')
        flat = flat[order]
        new = np.ones(len(flat), dtype=bool)
        new[1:] = flat[1:] != flat[:-1]
        last = np.append(new[1:], True)[: len(flat)]
        copies = max(patch.copies for patch in patches)
        return cls._of_flat(
            flat[new], before[order[new]], after[order[last]], copies
        )


class InterruptedWrites:
    """Pixels of a step as if it had been written after those that ended first.

    Steps are undone in the order in which they ended. Of one that was ended
    while another one was open, the values before are to be those without the
    other one; of the other one, they are those that were left.

    Parameters
    ----------
    patches : sequence of Patch
        All patches of the step that was interrupted, in order.
    """

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._flat = np.unique(np.concatenate([p.flat() for p in patches]))
        self._copies = max(patch.copies for patch in patches)
        # values without the step, and with it, as soon as they are known
        self._without = np.zeros(len(self._flat), patches[0].before.dtype)
        self._now = self._without.copy()
        self._known = np.zeros(len(self._flat), np.bool_)

    def write(self, patch: Patch) -> None:
        """Go on with a patch of the step."""
        at = np.searchsorted(self._flat, patch.flat())
        new = ~self._known[at]
        self._without[at[new]] = _all(patch, 'before')[new]
        self._now[at] = _all(patch, 'after')
        self._known[at] = True

    def interrupt(self, patch: Patch) -> Patch:
        """Go on with another step; return its patch without this one."""
        flat = patch.flat()
        before, after = _all(patch, 'before'), _all(patch, 'after')
        common = np.isin(flat, self._flat, assume_unique=True)
        at = np.searchsorted(self._flat, flat[common])
        mine = self._known[at] & (self._now[at] == before[common])
        before[np.flatnonzero(common)[mine]] = self._without[at[mine]]
        # where others have painted in between, both stay as they are
        plain = mine | ~self._known[at]
        at, after_both = at[plain], after[common][plain]
        self._without[at] = self._now[at] = after_both
        self._known[at] = True
        return Patch._of_flat(flat, before, after, patch.copies)

    def whole(self) -> Patch:
        """Return the patch of the step."""
        return Patch._of_flat(
            self._flat, self._without, self._now, self._copies
        )


def _all(patch: Patch, which: str) -> NDArray[Any]:
    return np.repeat(getattr(patch, which), patch.lengths)


def _pairs(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(ends[:-1], ends[1:], strict=True)
