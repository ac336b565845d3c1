"""Keyboard shortcuts that work wherever the focus is.

Each key is bound twice: as a shortcut of the window, which works while a
button, a slider or the layer list has the focus, and in the viewer's keymap,
which also works in an inactive window. Text fields are unaffected; number
fields leave letters to the shortcuts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
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

from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget

SHORTCUT_NAME = 'napari-mobilesam'


@dataclass
class Keys:
    """Bound keys, for `unbind_keys`.

    Attributes
    ----------
    callbacks : list of callable
        Callbacks in the viewer's keymap, unless others use the key.
    shortcuts : list of _Shortcut
        Shortcuts of the window.
    """

    callbacks: list[Callable[[Any], None]] = field(default_factory=list)
    shortcuts: list[_Shortcut] = field(default_factory=list)


def bind_keys(
    widget: ViewerWidget,
    actions: Mapping[str, Callable[[], None]],
    yields: bool = False,
) -> Keys:
    """Bind keys to bound methods.

    If two docks share a key, the later one gets it, unless only the other one
    is visible: docks can be tabs, one behind the other.

    Parameters
    ----------
    widget : ViewerWidget
        Widget docked in the window that gets the shortcuts.
    actions : mapping of str to callable
        Maps a key such as ``'W'`` or ``'Shift+W'`` to a bound method, whose
        object is not kept alive.
    yields : bool
        Leave keys that are already bound to their owners, as long as those are
        visible.
    """
    keys = Keys()
    window = widget.main_window
    others = {} if window is None else _shortcuts_by_name(window)
    bound = {str(key) for key in widget.viewer.keymap}
    for number in widget.findChildren(QAbstractSpinBox):
        if number.findChild(_Letters) is None:
            number.installEventFilter(_Letters(number))
    for key, action in actions.items():
        rivals = others.get(QKeySequence(key).toString(), [])
        if yields and key in bound and not rivals:
            # used by the user or another plugin
            continue
        callback = _weakly(action)
        if window is not None:
            shortcut = _Shortcut(window, key, callback, widget)
            shortcut.join(rivals, yields and bool(rivals))
            keys.shortcuts.append(shortcut)
            callback = shortcut.press
        keys.callbacks.append(callback)
        if not (yields and rivals):
            widget.viewer.bind_key(key, callback, overwrite=True)
    return keys


def bind_free_keys(
    widget: ViewerWidget, actions: Mapping[str, Callable[[], None]]
) -> Keys:
    """Bind keys that the selected layer, text fields and napari keep.

    Parameters
    ----------
    widget : ViewerWidget
        Widget of the viewer whose keymap gets the keys that are free there.
    actions : mapping of str to callable
        Maps a key to a bound method, as in `bind_keys`.
    """
    keys, viewer = Keys(), widget.viewer
    # napari binds the keys of its preferences to classes
    kept = [getattr(each, 'class_keymap', ()) for each in type(viewer).mro()]
    bound = {str(key) for each in (viewer.keymap, *kept) for key in each}
    for key, action in actions.items():
        if key not in bound:
            callback = _weakly(action)
            viewer.bind_key(key, callback)
            keys.callbacks.append(callback)
    return keys


class _Letters(QObject):
    """Leave letters to the shortcuts, which a number field would swallow."""

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
    """Unbind keys, unless another dock has bound them since.

    A dock that had bound them before gets them back.
    """
    bound = {
        key
        for key, function in viewer.keymap.items()
        if function in keys.callbacks
    }
    for key in bound:
        viewer.bind_key(key, None, overwrite=True)
    names = {QKeySequence(str(key)).toString() for key in bound}
    windows = {
        parent
        for shortcut in keys.shortcuts
        if (parent := shortcut.parent()) is not None
    }
    for shortcut in keys.shortcuts:
        shortcut.leave()
        shortcut.setEnabled(False)
        shortcut.setParent(None)
        shortcut.deleteLater()
    keys.callbacks.clear()
    keys.shortcuts.clear()
    for window in windows:
        # the later of two docks stays
        latest = {other.name: other for other in _shortcuts_in(window)}
        for name in names & set(latest):
            latest[name].setEnabled(True)
            viewer.bind_key(name, latest[name].press, overwrite=True)


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
    """Return the napari command of each key."""
    return {
        str(key): command
        for command, keys in reversed(default_shortcuts.items())
        for key in keys
    }


class _Shortcut(QShortcut):
    """Shortcut of a window.

    Parameters
    ----------
    window : QWidget
        Window, which becomes the parent.
    key : str
        Such as ``'W'`` or ``'Shift+W'``.
    callback : callable
        Called with None.
    widget : ViewerWidget
        Form that owns the key; not kept alive.

    Attributes
    ----------
    name : str
        Key as written by Qt.
    """

    def __init__(
        self,
        window: QWidget,
        key: str,
        callback: Callable[[Any], None],
        widget: ViewerWidget,
    ) -> None:
        super().__init__(QKeySequence(key), window)
        self._callback = callback
        self._widget = weakref.ref(widget)
        # shortcuts of other docks with the same key
        self._rivals: list[_Shortcut] = []
        self.name = self.key().toString()
        self.setObjectName(SHORTCUT_NAME)
        self.setContext(Qt.ShortcutContext.WindowShortcut)
        self.setAutoRepeat(False)
        self.activated.connect(self.press)

    def join(self, rivals: list[_Shortcut], yields: bool) -> None:
        """Share the key with other docks.

        Of two shortcuts with the same key, Qt would call neither: only this
        one is enabled, or the others if it yields.
        """
        self._rivals = list(rivals)
        for rival in rivals:
            rival._rivals.append(self)
            rival.setEnabled(yields and rival.isEnabled())
        self.setEnabled(not yields)

    def leave(self) -> None:
        """Stop sharing the key."""
        for rival in self._rivals:
            rival._rivals.remove(self)
        self._rivals = []

    @property
    def _is_seen(self) -> bool:
        widget = self._widget()
        return widget is not None and not widget.visibleRegion().isEmpty()

    def press(self, viewer: Any = None) -> None:
        """Call the function of the key, or that of a dock in front."""
        chosen = self
        if self._rivals and not self._is_seen:
            seen = [rival for rival in self._rivals if rival._is_seen]
            chosen = seen[-1] if seen else self
        chosen._callback(None)


def _shortcuts_in(window: QObject) -> list[_Shortcut]:
    """Return our shortcuts of a window, oldest first; takes 5 ms."""
    found = window.findChildren(
        QShortcut,
        SHORTCUT_NAME,
        Qt.FindChildOption.FindDirectChildrenOnly,
    )
    return [each for each in found if isinstance(each, _Shortcut)]


def _shortcuts_by_name(window: QObject) -> dict[str, list[_Shortcut]]:
    """Return our shortcuts of a window by their key."""
    found: dict[str, list[_Shortcut]] = {}
    for shortcut in _shortcuts_in(window):
        found.setdefault(shortcut.name, []).append(shortcut)
    return found


def focus_canvas(widget: ViewerWidget) -> None:
    """Give the keyboard focus to the canvas, like a click there.

    Parameters
    ----------
    widget : ViewerWidget
        Widget docked in the window of the canvas.
    """
    canvas = getattr(widget.main_window, '_qt_viewer', None)
    if canvas is not None:
        canvas.setFocus()


def _weakly(action: Callable[[], None]) -> Callable[[Any], None]:
    reference = weakref.WeakMethod(action)

    def call(viewer: Any) -> None:
        method = reference()
        if method is not None:
            method()

    return call
