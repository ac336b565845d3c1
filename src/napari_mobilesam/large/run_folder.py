"""Folder of the records of a run on a large image."""

from __future__ import annotations

from pathlib import Path


def records_folder(output: str | Path) -> Path:
    """Folder of the records of a run that is not complete."""
    path = Path(output).absolute()
    # Nothing foreign inside an OME-Zarr that the labels are part of.
    if path.parent.name == 'labels':
        image = path.parent.parent
        return image.with_name(f'{image.name}.{path.name}.records')
    return path.with_name(f'{path.name}.records')
