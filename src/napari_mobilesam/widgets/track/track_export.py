"""Save dialog for tracks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

if TYPE_CHECKING:
    from napari.layers import Labels

# Filter of the dialog → suffix that is added to names without one.
KINDS = {
    'Cell Tracking Challenge, a folder (*)': '',
    'TrackMate in Fiji (*.xml)': '.xml',
    'Graph exchange file format (*.geff)': '.geff',
    'Table (*.csv)': '.csv',
    'Labels, one per track (*.tif)': '.tif',
}


def ask_path(parent: QWidget, labels: Labels) -> Path | None:
    """Ask where tracks are to be saved; None if it was cancelled.

    Parameters
    ----------
    parent : QWidget
        Parent of the dialog.
    labels : napari.layers.Labels
        Labels that were tracked, for the name and the folder.
    """
    path, kind = QFileDialog.getSaveFileName(
        parent, 'Save the tracks', _proposed(labels), ';;'.join(KINDS)
    )
    if not path:
        return None
    suffix = KINDS.get(kind, '')
    return Path(path if Path(path).suffix else path + suffix)


def _proposed(labels: Labels) -> str:
    """Return a name like that of the labels, beside their file."""
    # names of layers may hold what no file name does
    name = re.sub(r'[\\/:*?"<>|.]+', '_', str(labels.name)) + '_tracks'
    source = labels.source.path
    if isinstance(source, str | Path) and Path(source).exists():
        return str(Path(source).with_name(name))
    return name
