"""Memory of which sections of forms are folded."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import QWidget

from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.settings_store import SettingsStore
from napari_mobilesam.widgets.parts.status_line import StatusLine


def keep_folds(
    form: QWidget, name: str, settings: SettingsStore, status: StatusLine
) -> None:
    """Restore which sections of a form are open, and save their changes.

    Parameters
    ----------
    form : QWidget
        Holds the sections.
    name : str
        Name of the form.
    settings : SettingsStore
        Keeps the sections that are open.
    status : StatusLine
        Shows an error if the settings cannot be saved.
    """

    def save(key: str, is_open: bool) -> None:
        sections = {**settings.current.sections, key: is_open}
        settings.save(status, sections=sections)

    for section in form.findChildren(CollapsibleSection):
        key = f'{name}: {section.title}'
        is_open = settings.current.sections.get(key)
        if is_open is not None:
            section.fold(not is_open)
        section.toggled.connect(partial(save, key))
