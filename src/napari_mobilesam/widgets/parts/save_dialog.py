"""Dialog that asks where to save a file."""

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
    """Ask for a path, and save there unless cancelled.

    The dialog asks before it replaces a file whose full name was typed; it
    does not know about suffixes added here.

    Parameters
    ----------
    parent : QWidget
        Parent of the dialog.
    title : str
        Title of the dialog.
    proposed : str
        Proposed path.
    kinds : mapping of str to str
        File filters, and the suffix each adds to names that have none of the
        suffixes.
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
    # a name with a dot, such as a date, may lack a suffix
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
