"""Functions of tensors that are recorded to run without the GIL.

Each torch operation releases the GIL and has to acquire it again. While a
viewer paints, this takes up to 5 ms, hundreds of times per click: an answer
with 10 ms of computation took 220 ms, and seconds if another thread never
paused. A recorded function acquires the GIL only once.
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

# Recordings kept per function; those of an encoder take 15 to 60 MB per shape.
MOST = 8

# Warning filters are global to the process: a filter set while recording may
# be undone by another thread that leaves its own context, and napari would
# show the warning. This filter is permanent.
if hasattr(jit, 'TracerWarning'):
    warnings.filterwarnings(
        'ignore', category=jit.TracerWarning, module=r'napari_mobilesam\.'
    )
_RECORDING = threading.Lock()


class Recorded:
    """Function of CPU tensors, recorded per input shape.

    Results are bitwise identical. The `MOST` shapes used last stay recorded.
    With gradients, with weights that require them, and on other devices, the
    function itself is called.

    Parameters
    ----------
    function : callable
        Takes tensors, which it does not modify, and returns a tuple of
        tensors. It may depend on shapes in Python, but on values only through
        torch operations; it keeps the weights of the first call.
    *modules : nn.Module
        Modules with these weights.
    lengths_vary : bool
        Whether one recording serves all shapes with the same first axis. The
        function must then not depend on other lengths in Python.
    calls_before : int
        Number of calls with a shape before it is recorded, which takes
        several times as long as a call. Use 1 if many shapes occur only once.
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
            # torch would fail, and crash at the next recording
            return self._function(*tensors)
        if known is None:
            self._calls[key] += 1
            if self._calls[key] <= self._calls_before:
                return self._function(*tensors)
            # do not wait for another thread that is recording
            if not _RECORDING.acquire(blocking=False):
                return self._function(*tensors)
            try:
                return self._record(key, tensors)
            finally:
                _RECORDING.release()
        with contextlib.suppress(KeyError):  # dropped by another thread
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
        # copies have other weights and make their own recordings
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
            # ignore that shapes become constants: they are the key
            warnings.simplefilter('ignore', jit.TracerWarning)
            warnings.filterwarnings('ignore', r'.*torch\.jit\.trace')
            try:
                self._known[key] = _trace(function, tensors)
            except (AttributeError, RuntimeError):
                # torch no longer supports recording, or memory ran out
                self._known[key] = self._function
        # popped, as the recording keeps the function and its results
        return results.pop() if results else self._function(*tensors)


def _trace(
    function: Callable[..., Tensors], tensors: Tensors
) -> Callable[..., Tensors]:
    """Record a function like `torch.jit.trace`, but so that it can be freed.

    ``torch.jit.trace`` keeps everything it records in memory until the
    process ends, including the weights of the models of closed viewers.
    """
    graph, _ = internals._create_graph_by_tracing(
        function, tensors, lambda tensor: '', strict=True, force_outplace=False
    )
    run: Callable[..., Tensors]
    run = internals._create_function_from_graph('recorded', graph)
    return run
