"""Caches of values that depend on weights and are recomputed on changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

T = TypeVar('T')


def version_of(*sources: nn.Module | Tensor) -> Hashable:
    """Return a value that changes when tensors are changed or replaced.

    It uses torch's count of in-place changes of each tensor, for example by
    optimisers and ``load_state_dict``. Changes of ``tensor.data`` are missed.
    """
    tensors = [tensor for source in sources for tensor in _tensors(source)]
    try:
        return tuple([(t.data_ptr(), t._version) for t in tensors])
    except RuntimeError:
        # tensors made in inference mode have no count
        return tuple(
            (t.data_ptr(), 0 if t.is_inference() else t._version)
            for t in tensors
        )


def _tensors(source: nn.Module | Tensor) -> list[Tensor]:
    """Return all tensors, in half the time of ``modules()``."""
    if isinstance(source, Tensor):
        return [source]
    found: list[Tensor | None] = []
    modules: list[nn.Module | None] = [source]
    while modules:
        module = modules.pop()
        if module is not None:
            found += module._parameters.values()
            found += module._buffers.values()
            modules += module._modules.values()
    return [tensor for tensor in found if tensor is not None]


class LatestOnly(Generic[T]):
    """Cache of the values of the latest versions.

    Threads may share it: in the worst case a value is computed twice.

    Parameters
    ----------
    count : int
        Maximum number of cached values.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count
        self._kept: tuple[tuple[Hashable, T], ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        # versions contain addresses, which are only valid in one process
        return self.__dict__ | {'_kept': ()}

    @property
    def newest(self) -> T | None:
        """Value computed last, if it is cached."""
        return self._kept[0][1] if self._kept else None

    def get(
        self,
        version: Hashable,
        make: Callable[[], T],
        keep: Callable[[T], bool] = lambda value: True,
    ) -> T:
        """Return the value of a version, computed unless it is cached.

        ``keep(value)`` decides whether to cache a computed value.
        """
        for known, value in self._kept:
            if known == version:
                return value
        value = make()
        if keep(value):
            self._kept = ((version, value), *self._kept)[: self._count]
        return value
