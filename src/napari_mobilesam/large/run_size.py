"""Largest image of a run, checked before torch is imported."""

from __future__ import annotations

from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.types import ImageError

# Sides of tiles that are read at once; larger ones are read coarser.
LONGEST_SIDE = 4096
# Tiles of one run: weeks of computation. More are a damaged file or a mistake.
LARGEST_RUN = 10_000_000


def check_size(source: Source) -> None:
    """Refuse an image of more pixels than a run can read.

    Nothing is read, and no model is needed.

    Raises
    ------
    ImageError
        If there are more than in `LARGEST_RUN` tiles of the largest side.
    """
    planes, (rows, columns) = source.planes, source.shape
    if planes * rows * columns > LARGEST_RUN * LONGEST_SIDE**2:
        raise ImageError(
            f'The image has {planes} × {rows} × {columns} pixels (planes, '
            'rows, columns), too many for one run: give a part of it.'
        )
