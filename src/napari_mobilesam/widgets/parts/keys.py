"""Keyboard shortcuts that work wherever the focus is.

Each key is bound twice: as a shortcut of the window, which works while a
button, a slider or the layer list has the focus, and in the viewer's keymap,
which also works in a window that is not active. Text fields are not affected;
number fields leave letters to the shortcuts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (  # type: ignore[attr-defined]
    QAbstractSpinBox,
    QShortcut,
    QWidget,
)

from napari_mobilesam.widgets.parts.controls import ViewerWidget

SHORTCUT_NAME = 'napari-mobilesam'


@dataclass
class Keys:
    """Bound keys, for `unbind_keys`.

    Attributes
    ----------
    callbacks : list of callable
        In the viewer's keymap.
    shortcuts : list of QShortcut
        In the window.
    """

    callbacks: list[Callable[[Any], None]] = field(default_factory=list)
    shortcuts: list[QShortcut] = field(default_factory=list)


def bind_keys(
    widget: ViewerWidget, actions: Mapping[str, Callable[[], None]]
) -> Keys:
    """Bind keys to bound methods.

    Parameters
    ----------
    widget : ViewerWidget
        Docked in the window that is to have the shortcuts.
    actions : mapping of str to callable
        Key such as ``'W'`` or ``'Shift+W'`` to a bound method, whose object
        is not kept alive.
    """
    keys = Keys()
    window = _window(widget)
    if window is not None:
        _disable_others(window, actions)
    for number in widget.findChildren(QAbstractSpinBox):
        if number.findChild(_Letters) is None:
            number.installEventFilter(_Letters(number))
    for key, action in actions.items():
        callback = _weakly(action)
        widget.viewer.bind_key(key, callback, overwrite=True)
        keys.callbacks.append(callback)
        if window is not None:
            keys.shortcuts.append(_shortcut(window, key, callback))
    return keys


class _Letters(QObject):
    """Leaves letters to the shortcuts, which a number field would swallow."""

    def eventFilter(  # noqa: N802
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Keep the field from claiming a letter."""
        if event is None or event.type() != QEvent.Type.ShortcutOverride:
            return False
        assert isinstance(event, QKeyEvent)
        if not event.text().isalpha():
            return False
        event.ignore()
        return True


def unbind_keys(viewer: Any, keys: Keys) -> None:
    """Unbind keys, unless a second dock has bound them since."""
    for bound, function in list(viewer.keymap.items()):
        if function in keys.callbacks:
            viewer.bind_key(bound, None, overwrite=True)
    for shortcut in keys.shortcuts:
        shortcut.setEnabled(False)
        shortcut.setParent(None)
        shortcut.deleteLater()
    keys.callbacks.clear()
    keys.shortcuts.clear()


def command_of_napari(key: str) -> str:
    """Return the command that napari binds to a key; empty if none.

    Parameters
    ----------
    key : str
        Such as ``'W'`` or ``'Shift+W'``.
    """
    command = _keys_of_napari().get(key, '')
    return command.removeprefix('napari:').replace('_', ' ')


@cache
def _keys_of_napari() -> dict[str, str]:
    """Command of each key of napari."""
    return {
        str(key): command
        for command, keys in reversed(default_shortcuts.items())
        for key in keys
    }


def _disable_others(window: QWidget, keys: Collection[str]) -> None:
    """Disable our shortcuts of these keys, of another dock.

    Of two shortcuts with the same key Qt would call neither.
    """
    taken = {QKeySequence(key).toString() for key in keys}
    # one look through the window, which takes 5 ms
    for other in window.findChildren(
        QShortcut,
        SHORTCUT_NAME,
        Qt.FindChildOption.FindDirectChildrenOnly,
    ):
        if other.key().toString() in taken:
            other.setEnabled(False)


def _shortcut(
    window: QWidget, key: str, callback: Callable[[Any], None]
) -> QShortcut:
    shortcut = QShortcut(QKeySequence(key), window)
    shortcut.setObjectName(SHORTCUT_NAME)
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


def _weakly(action: Callable[[], None]) -> Callable[[Any], None]:
    reference = weakref.WeakMethod(action)

    def call(viewer: Any) -> None:
        method = reference()
        if method is not None:
            method()

    return call
