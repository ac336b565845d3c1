"""Settings of the user, saved whenever they change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_mobilesam.session.runtime.settings import (
    load_settings,
    save_settings,
)
from napari_mobilesam.widgets.parts.controls import StatusLine


class SettingsStore:
    """Current settings, shared by the parts of the form.

    Attributes
    ----------
    current : Settings
        Loaded from the file of settings.
    """

    def __init__(self) -> None:
        self.current = load_settings()

    def save(self, status: StatusLine, **changed: Any) -> None:
        """Change fields of the settings, and write the file.

        Parameters
        ----------
        status : StatusLine
            Shows an error if the file cannot be written.
        **changed
            Fields of `Settings`.
        """
        before, self.current = self.current, replace(self.current, **changed)
        if self.current == before:
            return
        try:
            save_settings(self.current)
        except OSError as error:
            status.fail(f'The settings could not be saved: {error}.')
