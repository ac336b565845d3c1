"""Folder of the records of a run on a large image."""

from __future__ import annotations

import tempfile
from pathlib import Path


def records_folder(output: str | Path) -> Path:
    """Folder of the records of a run that is not complete."""
    path = Path(output).absolute()
    # Nothing foreign inside an OME-Zarr that the labels are part of.
    if path.parent.name == 'labels':
        image = path.parent.parent
        return image.with_name(f'{image.name}.{path.name}.records')
    return path.with_name(f'{path.name}.records')


def check_place(output: Path) -> None:
    """Raise `OSError`, with the output, if nothing can be written there."""
    folders = records_folder(output).parents
    # those that are missing are made when the run begins
    folder = next((each for each in folders if each.exists()), folders[0])
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from error
