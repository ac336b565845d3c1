"""Dialog that asks where a file is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mobilesam.widgets.parts.controls import confirm


def ask_where_to_save(
    parent: QWidget,
    title: str,
    proposed: str,
    kinds: Mapping[str, str],
    save: Callable[[Path], None],
) -> None:
    """Ask for a path, and save there unless that is cancelled.

    The dialog asks before a file is replaced whose whole name was typed; of
    a name that gets its suffix here, it knows nothing.

    Parameters
    ----------
    parent : QWidget
        Parent of the dialog.
    title : str
        Title of the dialog.
    proposed : str
        Path that is offered.
    kinds : mapping of str to str
        Filters of the dialog, and the suffix that each gives to names that
        end in none of them.
    save : callable
        Called with the path.
    """
    text, kind = QFileDialog.getSaveFileName(
        parent, title, proposed, ';;'.join(kinds)
    )
    if not text:
        return
    path = Path(text)
    suffix = path.suffix.lower()
    # a name with a dot, such as a date, may have no suffix
    if (suffix and suffix in kinds.values()) or not kinds.get(kind):
        save(path)
        return
    path = path.with_name(path.name + kinds[kind])
    if path.exists():
        confirm(
            parent,
            f'{path.name} exists. Do you want to replace it?',
            'Replace',
            lambda: save(path),
        )
    else:
        save(path)
