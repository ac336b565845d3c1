"""Lazy views of arrays, read on indexing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Reordered:
    """Lazy view of an array with reordered axes.

    Parameters
    ----------
    array : array
        Array that is indexed like a NumPy array.
    order : sequence of int
        Axes of the array, in order.
    at : mapping of int to int, optional
        Index along each of the other axes; 0 by default.
    """

    def __init__(
        self,
        array: Any,
        order: Sequence[int],
        at: Mapping[int, int] | None = None,
    ) -> None:
        self._array = array
        self._at = at or {}
        self._order = list(order)
        self.dtype = array.dtype
        self.shape = tuple(int(array.shape[axis]) for axis in order)
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        # dask reads multiples of chunks
        chunks = getattr(array, 'chunks', None)
        self.chunks = chunks and tuple(chunks[axis] for axis in order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self[...], dtype)

    def __getitem__(self, index: Any) -> Any:
        index = index if isinstance(index, tuple) else (index,)
        if not any(part is Ellipsis for part in index):
            index = (*index, Ellipsis)
        at = next(n for n, part in enumerate(index) if part is Ellipsis)
        whole = (slice(None),) * (self.ndim + 1 - len(index))
        index = (*index[:at], *whole, *index[at + 1 :])
        full: list[Any] = [
            self._at.get(axis, 0) for axis in range(len(self._array.shape))
        ]
        for axis, part in zip(self._order, index, strict=True):
            full[axis] = part
        block = self._array[tuple(full)]
        left = [
            axis
            for axis, part in zip(self._order, index, strict=True)
            if isinstance(part, slice)
        ]
        return block.transpose([sorted(left).index(axis) for axis in left])


def without_alpha(array: Any) -> Any:
    """Return a lazy view of colours, channels last, without an alpha."""
    if array.shape[-1] != 4:
        return array
    if isinstance(array, np.ndarray):
        return array[..., :3]
    last = len(array.shape) - 1
    return Stacked(
        [Reordered(array, range(last), {last: n}) for n in range(3)]
    )


class Stacked:
    """Lazy view of arrays of equal shape, stacked as a last channel axis.

    Parameters
    ----------
    arrays : sequence of array
        Arrays that are indexed like NumPy arrays.
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self.dtype = np.result_type(*(array.dtype for array in arrays))
        self.shape = (*map(int, arrays[0].shape), len(arrays))

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read all channels; ``index`` has no entry for the channel axis."""
        return np.stack([np.asarray(a[index]) for a in self._arrays], -1)
