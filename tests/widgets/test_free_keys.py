"""Keys that are bound only where nobody else uses them."""

from __future__ import annotations

from types import SimpleNamespace

from napari.components import ViewerModel
from napari.utils.key_bindings import bind_key

from napari_mobilesam.widgets.parts.keys import bind_free_keys, unbind_keys


class Actions:
    """Object of the actions."""

    def undo(self):
        """Do nothing."""


def test_keys_of_napari_and_of_the_user_are_kept(monkeypatch):
    undo, viewer = Actions().undo, ViewerModel()
    # as from the preferences of napari
    keymap = ViewerModel.class_keymap.copy()
    bind_key(keymap, 'Ctrl+Z', print)
    monkeypatch.setattr(ViewerModel, 'class_keymap', keymap)
    viewer.bind_key('Ctrl+Y', print)
    widget = SimpleNamespace(viewer=viewer)
    names = ('Ctrl+Y', 'Ctrl+Z', 'Ctrl+Shift+Z')
    keys = bind_free_keys(widget, dict.fromkeys(names, undo))
    assert [str(key) for key in viewer.keymap] == ['Ctrl+Y', 'Ctrl+Shift+Z']
    unbind_keys(viewer, keys)
    assert [str(key) for key in viewer.keymap] == ['Ctrl+Y']
