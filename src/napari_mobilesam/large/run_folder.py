"""Folder for the records of a run on a large image."""

from __future__ import annotations

import tempfile
from pathlib import Path


def records_folder(output: str | Path) -> Path:
    """Return the folder for the records of an incomplete run."""
    path = Path(output).absolute()
    # Put nothing foreign inside an OME-Zarr that contains the labels.
    if path.parent.name == 'labels':
        image = path.parent.parent
        return image.with_name(f'{image.name}.{path.name}.records')
    return path.with_name(f'{path.name}.records')


def check_place(output: Path) -> None:
    """Raise `OSError` naming the output if nothing can be written there."""
    folders = records_folder(output).parents
    # missing folders are created when the run starts
    folder = next((each for each in folders if each.exists()), folders[0])
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from error
