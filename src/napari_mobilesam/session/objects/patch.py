"""Pixels of an array before and after a write, as runs of equal pixels.

A disk of a hundred rows costs a hundred runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
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

    @property
    def stop(self) -> int:
        """Flat index after its last pixel."""
        return int(self.starts[-1] + self.lengths[-1])

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
            return self.part(np.concatenate(parts))
        indices = np.unravel_index(self.flat(), target.shape)
        untouched = target.read(indices) == _all(swap, 'before')
        values = _all(swap, 'after')
        target.write(
            tuple(index[untouched] for index in indices), values[untouched]
        )
        return self.part(untouched)

    def part(self, chosen: NDArray[np.bool_]) -> Patch:
        """Return the patch of some of its pixels, given as (N,) bool."""
        if chosen.all():
            return self
        return Patch._of_flat(
            self.flat()[chosen],
            _all(self, 'before')[chosen],
            _all(self, 'after')[chosen],
            self.copies,
        )

    def runs(self, chosen: NDArray[np.bool_]) -> Patch:
        """Return the patch of some of its runs, given as (R,) bool."""
        return Patch(
            self.starts[chosen],
            self.lengths[chosen],
            self.before[chosen],
            self.after[chosen],
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


# a step, and what it wrote
Write = tuple[object, Patch]


class OpenWrites:
    """Patches of the steps that are still open, in order of writing.

    Steps are undone in the order in which they ended. When one ends, its
    pixels must therefore be as if it had been written before all steps that
    are still open; where it was written over later, these stay on top.

    Parameters
    ----------
    writes : iterable of (object, Patch)
        Steps and patches to begin with.
    """

    def __init__(self, writes: Iterable[Write] = ()) -> None:
        self._writes = list(writes)

    def __iter__(self) -> Iterator[Write]:
        """Iterate over (step, patch) in order of writing."""
        return iter(self._writes)

    def add(self, step: object, patch: Patch) -> None:
        """Add the newest patch, of a step."""
        self._writes.append((step, patch))

    def of(self, step: object) -> list[Patch]:
        """Return the patches of a step, in order of writing."""
        return [patch for owner, patch in self._writes if owner is step]

    def forget(self, step: object) -> None:
        """Drop the patches of a step."""
        self._writes = [each for each in self._writes if each[0] is not step]

    def erase_beneath(self, step: object, labels: Collection[int]) -> None:
        """Erase labels also where other steps have written over them.

        Undoing these would bring back pixels of which there is no object.
        """
        if not labels:
            return
        erased: list[Write] = []
        others: list[Write] = []
        for owner, patch in self._writes:
            gone = np.isin(patch.before, list(labels))
            if owner is not step and gone.any():
                zero = np.zeros_like(patch.before)
                below = replace(patch, after=zero).runs(gone)
                erased.append((step, below))
                before = np.where(gone, zero, patch.before)
                patch = replace(patch, before=before)
                patch = patch.runs(patch.before != patch.after)
            if len(patch):
                others.append((owner, patch))
        self._writes = [*erased, *others]

    def put_first(self, step: object) -> None:
        """Merge the patches of a step, as if written before all others.

        Other steps lose the pixels that this one has written over.
        """
        own = self.of(step)
        if not own:
            return
        others: list[Write] = []
        if len(own) == len(self._writes):
            merged = Patch.of_all(own)
        else:
            merged, others = self._moved_first(step, own)
        first = [(step, merged)] if len(merged) else []
        self._writes = [*first, *others]

    def _moved_first(
        self, step: object, own: Sequence[Patch]
    ) -> tuple[Patch, list[Write]]:
        """Return the merged patch of a step, and what is left of others."""
        flat = np.unique(np.concatenate([patch.flat() for patch in own]))
        before = np.zeros(len(flat), own[0].before.dtype)
        after = before.copy()
        written = np.zeros(len(flat), np.bool_)
        others: list[Write] = []
        for owner, patch in reversed(self._writes):
            if patch.starts[0] > flat[-1] or patch.stop <= flat[0]:
                others.append((owner, patch))
                continue
            places = patch.flat()
            at = np.searchsorted(flat, places).clip(max=len(flat) - 1)
            common = flat[at] == places
            at = at[common]
            old, new = (
                _all(patch, which)[common] for which in ('before', 'after')
            )
            if owner is step:
                last = at[~written[at]]
                before[last] = after[last] = new[~written[at]]
                written[at] = True
            else:
                common[common] = written[at]
                if not common.all():
                    others.append((owner, patch.part(~common)))
            # unless others have painted in between
            linked = written[at] & (before[at] == new)
            before[at[linked]] = old[linked]
        copies = max(patch.copies for patch in own)
        merged = Patch._of_flat(flat, before, after, copies)
        return merged, others[::-1]

    def put_last(self, step: object) -> None:
        """Order the patches as if a step had been written after all others.

        It loses the pixels that others have written over.
        """
        for other in dict.fromkeys(owner for owner, _ in self._writes):
            if other is not step:
                self.put_first(other)


def _all(patch: Patch, which: str) -> NDArray[Any]:
    return np.repeat(getattr(patch, which), patch.lengths)


def _pairs(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(ends[:-1], ends[1:], strict=True)
