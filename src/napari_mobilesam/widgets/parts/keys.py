"""Keys that call methods of a widget, wherever the focus is.

Each key is taken twice: as a shortcut of the window, which works while a
button, a slider or the layer list has the focus, and in the viewer's keymap,
which also works where a window is not active. Text fields keep what is typed
into them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget  # type: ignore[attr-defined]

from napari_mobilesam.widgets.parts.controls import ViewerWidget

NAME = 'napari-mobilesam'


@dataclass
class Keys:
    """Keys that a widget has taken; for `unbind_keys`.

    Attributes
    ----------
    callbacks : list of callable
        In the viewer's keymap.
    shortcuts : list of QShortcut
        In the window.
    """

    callbacks: list[Callable[[Any], None]] = field(default_factory=list)
    shortcuts: list[QShortcut] = field(default_factory=list)


def bind_keys(widget: ViewerWidget, actions: Mapping[str, str]) -> Keys:
    """Let keys call methods of a widget.

    Parameters
    ----------
    widget : ViewerWidget
        Not kept alive by its keys.
    actions : mapping of str to str
        Key such as ``'W'`` or ``'Shift+W'`` to name of the method.
    """
    keys = Keys()
    window = _window(widget)
    for key, action in actions.items():
        callback = _weakly(widget, action)
        widget.viewer.bind_key(key, callback, overwrite=True)
        keys.callbacks.append(callback)
        if window is not None:
            keys.shortcuts.append(_shortcut(window, key, callback))
    return keys


def unbind_keys(viewer: Any, keys: Keys) -> None:
    """Return keys, unless a second dock has taken them since."""
    for bound, function in list(viewer.keymap.items()):
        if function in keys.callbacks:
            viewer.bind_key(bound, None, overwrite=True)
    for shortcut in keys.shortcuts:
        shortcut.setEnabled(False)
        shortcut.setParent(None)
        shortcut.deleteLater()
    keys.callbacks.clear()
    keys.shortcuts.clear()


def napari_s_use(key: str) -> str:
    """Return what napari itself does with a key; empty if nothing.

    Parameters
    ----------
    key : str
        Such as ``'W'`` or ``'Shift+W'``.
    """
    for command, taken in default_shortcuts.items():
        if key in map(str, taken):
            return command.removeprefix('napari:').replace('_', ' ')
    return ''


def _shortcut(
    window: QWidget, key: str, callback: Callable[[Any], None]
) -> QShortcut:
    for other in window.findChildren(QShortcut, NAME):
        if other.key() == QKeySequence(key):
            # Qt calls neither of two shortcuts with the same key
            other.setEnabled(False)
    shortcut = QShortcut(QKeySequence(key), window)
    shortcut.setObjectName(NAME)
    shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
    shortcut.setAutoRepeat(False)
    shortcut.activated.connect(lambda: callback(None))
    return shortcut


def _window(widget: ViewerWidget) -> QWidget | None:
    """The main window of a viewer; napari has no public name for it."""
    window: QWidget | None = getattr(
        getattr(widget.viewer, 'window', None), '_qt_window', None
    )
    return window


def _weakly(widget: ViewerWidget, action: str) -> Callable[[Any], None]:
    reference = weakref.ref(widget)

    def call(viewer: Any) -> None:
        target = reference()
        if target is not None:
            getattr(target, action)()

    return call
