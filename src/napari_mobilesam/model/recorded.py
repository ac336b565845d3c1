"""Functions of tensors that run without Python's lock, once recorded.

Each operation of torch gives the interpreter's lock back and has to get it
again. While a viewer paints, that takes up to five milliseconds, hundreds of
times for one click: an answer of 10 ms of computing took 220, and seconds
where another thread never paused. What is recorded takes the lock once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# not typed by torch
jit: Any = torch.jit

Tensors = tuple[Tensor, ...]
Key = tuple[tuple[torch.Size, torch.dtype], ...]

# Python's warning filters are the whole process's.
_RECORDING = threading.Lock()


class Recorded:
    """A function of tensors on a CPU, recorded when first called.

    The result is the same to the last bit. With gradients, or weights that
    want any, and on other devices the function itself is called.

    Parameters
    ----------
    function : callable
        Takes tensors, which it leaves as they are, and returns a tuple of
        tensors. What it does may depend on shapes, and on values only by
        operations of torch; the weights it uses are those of the first call.
    *modules : nn.Module
        Modules with these weights.
    lengths_vary : bool
        One recording does for all shapes with the same first axes: the
        function does nothing in Python by the others that vary.
    """

    def __init__(
        self,
        function: Callable[..., Tensors],
        *modules: nn.Module,
        lengths_vary: bool = False,
    ) -> None:
        self._function = function
        self._modules = modules
        self._lengths_vary = lengths_vary
        self._known: dict[Key, Callable[..., Tensors]] = {}

    def __call__(self, *tensors: Tensor) -> Tensors:
        """Call the function, without gradients."""
        on_cpu = tensors[0].device.type == 'cpu'
        if not on_cpu or torch.is_grad_enabled() or jit.is_tracing():
            return self._function(*tensors)
        axes = 1 if self._lengths_vary else None
        key = tuple([(t.shape[:axes], t.dtype) for t in tensors])
        known = self._known.get(key)
        if known is None and self._wants_gradients():
            # torch would fail, and crash when it records the next time
            return self._function(*tensors)
        if known is None:
            return self._record(key, tensors)
        with jit.optimized_execution(False):
            return known(*tensors)

    def _wants_gradients(self) -> bool:
        return any(
            weight.requires_grad
            for module in self._modules
            for weight in module.parameters()
        )

    def __getstate__(self) -> dict[str, Any]:
        # copies record for themselves: theirs are other weights
        return self.__dict__ | {'_known': {}}

    def _record(self, key: Key, tensors: Tensors) -> Tensors:
        results: list[Tensors] = []

        def function(*given: Tensor) -> Tensors:
            results.append(self._function(*given))
            return results[-1]

        with _RECORDING, warnings.catch_warnings():
            # that shapes are taken as they are: they are the key
            warnings.simplefilter('ignore', jit.TracerWarning)
            warnings.filterwarnings('ignore', r'.*torch\.jit\.trace')
            try:
                self._known[key] = jit.trace(
                    function, tensors, check_trace=False
                )
            except RuntimeError:
                # a torch that does not record any more, or no memory for it
                self._known[key] = self._function
        # not kept by the recording, which keeps the function
        return results.pop() if results else self._function(*tensors)
