"""Imports on a background thread that do not block the GUI thread."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# retries of imports that met modules half imported by another thread
MOST_TRIES, PAUSE = 20, 0.1
# in this order: the first holds symbols shared by all others
TORCH_LIBRARIES = ('libtorch_global_deps.so', 'libtorch_python.so')

_collection_lock = threading.RLock()
# While one thread loads a library, another that imports compiled code waits
# for the system's loader without releasing the GIL.
_import_lock = threading.Lock()


def import_gently(names: Iterable[str]) -> None:
    """Import modules without blocking other threads.

    Python releases the GIL every 5 ms while modules are executed, but not
    during garbage collection or while a shared library is loaded. Therefore,
    collection is disabled, and torch's libraries are loaded without the GIL.

    Parameters
    ----------
    names : iterable of str
        Dotted names of modules.
    """
    missing = [name for name in names if name not in sys.modules]
    if not missing:
        return
    if 'torch' in missing:
        with _import_lock:
            _load_torch_libraries()
    with _no_collection(), _torch_with_tensors():
        for name in missing:
            with _import_lock:
                _import_again(name)


@contextlib.contextmanager
def _torch_with_tensors() -> Iterator[None]:
    finder = _TorchFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _TorchFinder(MetaPathFinder):
    """Finds torch, and gives it a class for tensors from the beginning.

    scipy asks whether arrays are instances of ``torch.Tensor`` as soon as
    there is a module torch, and fails while another thread still imports it.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != 'torch':
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(module)['Tensor'] = type('Tensor', (), {})
            execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def import_beside(name: str) -> ModuleType:
    """Import a module while other threads may import its dependencies.

    If two threads wait for modules that the other is importing, such as those
    of scipy.spatial, Python avoids the deadlock by handing out half-imported
    modules. The import is then repeated after that of `import_gently`.
    """
    try:
        return import_module(name)
    except (ImportError, AttributeError) as error:
        if not _is_half_imported(error):
            raise
    with _import_lock:
        return _import_again(name)


def _import_again(name: str) -> ModuleType:
    """Import a module; retry while another thread is importing it."""
    for _ in range(MOST_TRIES - 1):
        try:
            return import_module(name)
        except (ImportError, AttributeError) as error:
            if not _is_half_imported(error):
                raise
        time.sleep(PAUSE)
    return import_module(name)


def _is_half_imported(error: Exception) -> bool:
    return 'partially initialized module' in str(error)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection, also for the objects created meanwhile.

    A full collection in a viewer takes 150 ms, and an import triggers several.
    """
    with _collection_lock:
        if not gc.isenabled():
            yield
            return
        gc.disable()
        try:
            yield
        finally:
            if not gc.get_freeze_count():
                # moves all objects to the oldest generation, at no cost
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _load_torch_libraries() -> None:
    """Load the shared libraries of torch without holding the GIL."""
    if not sys.platform.startswith('linux'):
        return
    spec = find_spec('torch')
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(spec.submodule_search_locations[0], 'lib')
    # unlike `ctypes.CDLL`, a foreign function call releases the GIL
    load = ctypes.CDLL(None).dlopen
    load.restype = ctypes.c_void_p
    load.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for name in TORCH_LIBRARIES:
        if (folder / name).exists():
            # like torch, load only the first one globally
            shared = os.RTLD_GLOBAL if name == TORCH_LIBRARIES[0] else 0
            load(os.fsencode(folder / name), os.RTLD_LAZY | shared)
