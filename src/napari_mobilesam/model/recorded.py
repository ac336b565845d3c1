"""Functions of tensors that run without Python's lock, once recorded.

Each operation of torch gives the interpreter's lock back and has to get it
again. While a viewer paints, that takes up to five milliseconds, hundreds of
times for one click: an answer of 10 ms of computing took 220, and seconds
where another thread never paused. What is recorded takes the lock once.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# not typed by torch
jit: Any = torch.jit
internals: Any = torch._C

Tensors = tuple[Tensor, ...]
Key = tuple[tuple[torch.Size, torch.dtype], ...]

# Recordings kept of a function: those of an encoder take 15 to 60 MB a shape.
MOST = 8

# Python's warning filters are the whole process's: those of a recording may be
# taken back meanwhile by another thread that leaves a context of its own, and
# napari shows warnings. This one is there before.
if hasattr(jit, 'TracerWarning'):
    warnings.filterwarnings(
        'ignore', category=jit.TracerWarning, module=r'napari_mobilesam\.'
    )
_RECORDING = threading.Lock()


class Recorded:
    """Function of tensors on a CPU, recorded for inputs of a shape.

    The result is the same to the last bit. Of many shapes, the `MOST` that
    were met last stay recorded. With gradients, or weights that
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
    calls_before : int
        Calls with a shape before it is recorded, which takes several times
        as long as a call: 1 where many shapes are met only once.
    """

    def __init__(
        self,
        function: Callable[..., Tensors],
        *modules: nn.Module,
        lengths_vary: bool = False,
        calls_before: int = 0,
    ) -> None:
        self._function = function
        self._modules = modules
        self._lengths_vary = lengths_vary
        self._calls_before = calls_before
        self._calls: Counter[Key] = Counter()
        self._known: OrderedDict[Key, Callable[..., Tensors]] = OrderedDict()

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
            self._calls[key] += 1
            if self._calls[key] <= self._calls_before:
                return self._function(*tensors)
            # another thread may be about it: what it does is not awaited
            if not _RECORDING.acquire(blocking=False):
                return self._function(*tensors)
            try:
                return self._record(key, tensors)
            finally:
                _RECORDING.release()
        with contextlib.suppress(KeyError):  # another thread has dropped it
            self._known.move_to_end(key)
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
        return self.__dict__ | {'_known': OrderedDict(), '_calls': Counter()}

    def _record(self, key: Key, tensors: Tensors) -> Tensors:
        results: list[Tensors] = []
        if len(self._known) >= MOST:
            oldest, _ = self._known.popitem(last=False)
            del self._calls[oldest]

        def function(*given: Tensor) -> Tensors:
            results.append(self._function(*given))
            return results[-1]

        with warnings.catch_warnings():
            # that shapes are taken as they are: they are the key
            warnings.simplefilter('ignore', jit.TracerWarning)
            warnings.filterwarnings('ignore', r'.*torch\.jit\.trace')
            try:
                self._known[key] = _trace(function, tensors)
            except (AttributeError, RuntimeError):
                # a torch that does not record any more, or no memory for it
                self._known[key] = self._function
        # not kept by the recording, which keeps the function
        return results.pop() if results else self._function(*tensors)


def _trace(
    function: Callable[..., Tensors], tensors: Tensors
) -> Callable[..., Tensors]:
    """Record a function as `torch.jit.trace` does, without keeping it.

    All that ``torch.jit.trace`` recorded, weights included, stays in memory
    until the process ends: the models of all viewers that were ever open.
    """
    graph, _ = internals._create_graph_by_tracing(
        function, tensors, lambda tensor: '', strict=True, force_outplace=False
    )
    run: Callable[..., Tensors]
    run = internals._create_function_from_graph('recorded', graph)
    return run
