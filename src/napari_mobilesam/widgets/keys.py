"""Keys of a viewer that call methods of a widget."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from napari_mobilesam.widgets.controls import ViewerWidget

Keys = list[Callable[[Any], None]]


def bind_keys(widget: ViewerWidget, actions: Mapping[str, str]) -> Keys:
    """Let keys on the canvas call methods of a widget.

    Parameters
    ----------
    widget : ViewerWidget
        Not kept alive by its keys.
    actions : mapping of str to str
        Key to name of the method.

    Returns
    -------
    list of callable
        For `unbind_keys`.
    """
    callbacks = []
    for key, action in actions.items():
        callback = _weakly(widget, action)
        widget.viewer.bind_key(key, callback, overwrite=True)
        callbacks.append(callback)
    return callbacks


def unbind_keys(viewer: Any, callbacks: Keys) -> None:
    """Return keys, unless a second dock has taken them since."""
    for bound, function in list(viewer.keymap.items()):
        if function in callbacks:
            viewer.bind_key(bound, None, overwrite=True)
    callbacks.clear()


def _weakly(widget: ViewerWidget, action: str) -> Callable[[Any], None]:
    reference = weakref.ref(widget)

    def call(viewer: Any) -> None:
        target = reference()
        if target is not None:
            getattr(target, action)()

    return call
