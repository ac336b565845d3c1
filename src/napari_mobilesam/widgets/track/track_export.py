"""Files that tracks are saved to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Labels

# Filter of the dialog → suffix that is added to names without one.
KINDS = {
    'Cell Tracking Challenge, a folder (*)': '',
    'TrackMate in Fiji (*.xml)': '.xml',
    'Graph exchange file format (*.geff)': '.geff',
    'Table (*.csv)': '.csv',
    'Table (*.parquet)': '.parquet',
    'Labels, one per track (*.tif)': '.tif',
}


def proposed_path(labels: Labels) -> str:
    """Return a name like that of the labels, beside their file."""
    # names of layers may hold what no file name does
    name = re.sub(r'[\\/:*?"<>|.]+', '_', str(labels.name)) + '_tracks'
    source = labels.source.path
    if isinstance(source, str | Path) and Path(source).exists():
        return str(Path(source).with_name(name))
    return name
