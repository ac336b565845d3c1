"""Check for optional dependencies, with instructions to install them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


class MissingExtraError(ImportError):
    """An optional dependency is missing; the message says what to install."""


def need(module: str, extra: str = 'large') -> Any:
    """Import a module of an optional dependency.

    Parameters
    ----------
    module : str
        Dotted name, such as ``'zarr'``.
    extra : str
        Extra of this package, or package, that provides it.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition('.')[0]
        raise MissingExtraError(
            how_to_install(name, extra), name=name
        ) from error


def installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    return find_spec(module) is not None


def how_to_install(module: str, extra: str) -> str:
    """Return a message that a module is missing and how to install it."""
    ours = extra in ('classify', 'export', 'large', 'onnx', 'text', 'track')
    what = f'"napari-mobilesam[{extra}]"' if ours else extra
    return f'{module} is not installed: `pip install {what}`.'
