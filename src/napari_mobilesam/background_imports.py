"""Imports on a thread that do not hold up the thread of the windows."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# imports that met half imported modules of another thread are repeated
MOST_TRIES, PAUSE = 20, 0.1
# in this order: the first holds symbols that all others share
TORCH_LIBRARIES = ('libtorch_global_deps.so', 'libtorch_python.so')

_collection_lock = threading.RLock()
# While one thread loads a library, another that imports compiled code waits
# for the loader of the system, and keeps Python's lock meanwhile.
_import_lock = threading.Lock()


def import_gently(names: Iterable[str]) -> None:
    """Import modules so that other threads go on meanwhile.

    Python's lock is passed on every 5 ms while modules are executed, but not
    during a garbage collection and not while a shared library is loaded.

    Parameters
    ----------
    names : iterable of str
        Dotted names of modules.
    """
    missing = [name for name in names if name not in sys.modules]
    if 'torch' in missing:
        with _import_lock:
            _load_torch_libraries()
    with _no_collection():
        for name in missing:
            with _import_lock:
                _import_again(name)


def import_beside(name: str) -> ModuleType:
    """Import a module while other threads may import what it needs.

    Two threads that wait for modules of each other, such as those of
    scipy.spatial, see them half imported: Python would wait for ever. Then
    the import is repeated after that of `import_gently`.
    """
    try:
        return import_module(name)
    except (ImportError, AttributeError) as error:
        if not _is_half_imported(error):
            raise
    with _import_lock:
        return _import_again(name)


def _import_again(name: str) -> ModuleType:
    """Import a module; repeat it while another thread imports the same."""
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
    """Collect no garbage, and spare the objects made meanwhile.

    A collection of everything that is alive in a viewer takes 150 ms, and an
    import sets off several.
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
    """Load the shared libraries of torch without Python's lock."""
    if not sys.platform.startswith('linux'):
        return
    spec = find_spec('torch')
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(spec.submodule_search_locations[0], 'lib')
    # called as a foreign function, unlike `ctypes.CDLL`, it releases the lock
    load = ctypes.CDLL(None).dlopen
    load.restype = ctypes.c_void_p
    load.argtypes = (ctypes.c_char_p, ctypes.c_int)
    for name in TORCH_LIBRARIES:
        if (folder / name).exists():
            # torch, too, loads the first one for all and the others not
            shared = os.RTLD_GLOBAL if name == TORCH_LIBRARIES[0] else 0
            load(os.fsencode(folder / name), os.RTLD_LAZY | shared)
