"""Sections of forms that stay folded, or open, until the next time."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QWidget

from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.settings_store import SettingsStore
from napari_mobilesam.widgets.parts.status_line import StatusLine


class FoldMemory:
    """Restores and saves which sections of forms are open.

    Parameters
    ----------
    settings : SettingsStore
        Keeps the sections that are open.
    """

    def __init__(self, settings: SettingsStore) -> None:
        self._settings = settings

    def keep(self, form: QWidget, name: str, status: StatusLine) -> None:
        """Restore the sections of a form, and save their changes.

        Parameters
        ----------
        form : QWidget
            Holds the sections.
        name : str
            Name of the form.
        status : StatusLine
            Shows an error if the settings cannot be saved.
        """
        for section in form.findChildren(CollapsibleSection):
            key = f'{name}: {section.title}'
            is_open = self._settings.current.sections.get(key)
            if is_open is not None:
                section.fold(not is_open)
            section.toggled.connect(partial(self._save, status, key))

    def _save(self, status: StatusLine, key: str, is_open: bool) -> None:
        sections = {**self._settings.current.sections, key: is_open}
        self._settings.save(status, sections=sections)
