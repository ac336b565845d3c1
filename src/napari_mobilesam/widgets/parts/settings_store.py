"""Settings of the user, saved on every change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_mobilesam.settings import Settings, load_settings, save_settings
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.viewer.napari_preferences import (
    find_preferences,
    read_settings,
    without_preferences,
    write_preferences,
)


class SettingsStore:
    """Current settings, shared by the parts of the form.

    Attributes
    ----------
    current : Settings
        Settings from the settings file and from napari.
    preferences : EventedModel or None
        Settings stored by napari; None if it is too old for that.
    """

    def __init__(self) -> None:
        self.current = read_settings()
        self.preferences = find_preferences()

    def save(self, status: StatusLine, **changed: Any) -> None:
        """Change fields of the settings, and write them to the file.

        Changes by other windows are kept.

        Parameters
        ----------
        status : StatusLine
            Status line for an error if the file cannot be written.
        **changed
            Fields of `Settings`.
        """
        before, self.current = self.current, replace(self.current, **changed)
        if self.current == before:
            return
        stored = _merged(load_settings(), before, changed)
        if self.preferences is not None:
            write_preferences(self.preferences, self.current)
            stored = without_preferences(stored)
        try:
            save_settings(stored)
        except OSError as error:
            status.fail(f'The settings could not be saved: {error}.')


def _merged(
    there: Settings, before: Settings, changed: dict[str, Any]
) -> Settings:
    """Return the settings of the file, with the changes of this window.

    Classes added by another window are kept, after those of this one.
    """
    classes = changed.get('classes')
    if classes is None:
        return replace(there, **changed)
    known = {*before.classes, *classes}
    others = [name for name in there.classes if name not in known]
    colors = {name: there.class_colors.get(name, '') for name in others}
    merged = {
        'classes': [*classes, *others],
        'class_colors': {
            **{name: color for name, color in colors.items() if color},
            **changed.get('class_colors', there.class_colors),
        },
    }
    return replace(there, **(changed | merged))
