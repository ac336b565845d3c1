"""Maximum image size for a run, checked before torch is imported."""

from __future__ import annotations

from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.types import ImageError

# Side of tiles that are read at once; larger ones are read coarser.
LONGEST_SIDE = 4096
# Maximum number of tiles of a run: weeks of computation. More indicate a
# damaged file or a mistake.
LARGEST_RUN = 10_000_000


def check_size(source: Source) -> None:
    """Refuse an image with more pixels than a run can process.

    Nothing is read, and no model is needed.

    Raises
    ------
    ImageError
        If there are more pixels than in `LARGEST_RUN` tiles of the maximum
        side.
    """
    planes, (rows, columns) = source.planes, source.shape
    if planes * rows * columns > LARGEST_RUN * LONGEST_SIDE**2:
        raise ImageError(
            f'The image has {planes} × {rows} × {columns} pixels (planes, '
            'rows, columns), too many for one run: give a part of it.'
        )
