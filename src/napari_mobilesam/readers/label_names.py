"""Names of label images beside their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# What this and other programs append to the name of an image.
ENDINGS = ('_labels', '_cp_masks', '_masks', '_mask', '_seg')
# What Cellpose writes beside its masks.
OTHER_RESULTS = ('_flows', '_cp_output')


def results_of(
    files: Sequence[Path], endings: Sequence[str] = ENDINGS + OTHER_RESULTS
) -> list[Path]:
    """Return the files that are named as results of another of the files.

    Parameters
    ----------
    files : sequence of Path
        Files of one folder.
    endings : sequence of str
        What is appended to the name of the other file.

    Returns
    -------
    list of Path
        Such as ``a_cp_masks.png`` if there is an ``a.tif``.
    """
    stems = {file.stem for file in files}
    return [
        file
        for file in files
        if any(
            file.stem.endswith(end) and file.stem.removesuffix(end) in stems
            for end in endings
        )
    ]
