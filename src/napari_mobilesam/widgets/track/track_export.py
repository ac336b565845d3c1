"""Files to which tracks are saved."""

from __future__ import annotations

from napari.layers import Labels

from napari_mobilesam.text import file_name
from napari_mobilesam.widgets.viewer.layers import file_of

# Dialog filter → suffix added to names without one.
KINDS = {
    'Cell Tracking Challenge, a folder (*)': '',
    'TrackMate in Fiji (*.xml)': '.xml',
    'Graph exchange file format (*.geff)': '.geff',
    'Table (*.csv)': '.csv',
    'Table (*.parquet)': '.parquet',
    'Labels, one per track (*.tif)': '.tif',
}


def proposed_path(labels: Labels) -> str:
    """Return a name like that of the labels, next to their file."""
    # text after a dot would determine the format
    name = file_name(str(labels.name)).replace('.', '_') + '_tracks'
    file = file_of(labels)
    return name if file is None else str(file.with_name(name))
