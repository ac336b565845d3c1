"""Names and files of the user's own models."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mobilesam.model.registry import (
    SUFFIXES,
    registry,
    user_models_folder,
)
from napari_mobilesam.types import SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

# Maximum bytes; file systems allow 255, of which temporary files need some.
LONGEST_NAME = 200


def free_name(base: str) -> str:
    """Return an unused name for a model made from another.

    Parameters
    ----------
    base : str
        Name or path of the original model.

    Returns
    -------
    str
        ``<base>_tuned<number>``.
    """
    path = Path(base)
    own = path.stem if path.suffix.lower() in SUFFIXES else path.name
    # such as “vit_t (1).pt”, the second download of a file
    stem = re.sub(r'^\W|[^\w .\-]', '_', re.sub(r'_tuned\d*$', '', own))
    taken = _taken()
    number = 1
    while f'{stem}_tuned{number}'.lower() in taken:
        number += 1
    return f'{stem}_tuned{number}'


def new_model_path(name: str) -> Path:
    """Return the file of a new model, which does not exist yet.

    Raises
    ------
    SegmentationError
        If a new model cannot have this name.
    """
    check_name(name)
    return user_model_path(name)


def user_model_path(name: str) -> Path:
    """Return the file of a user's model, which may not exist yet."""
    return user_models_folder() / f'{name}.safetensors'


def check_name(name: str) -> None:
    """Raise `SegmentationError` if a new model cannot have this name."""
    if not re.fullmatch(r'\w[\w .\-]*', name):
        raise SegmentationError(
            f'“{name}” is not a valid model name: use letters, digits, '
            'spaces, ., _ and -, and begin with a letter, a digit or _.'
            if name
            else 'The new model has no name: enter one.'
        )
    if len(name.encode()) > LONGEST_NAME:
        raise SegmentationError(
            f'The model name has {len(name)} characters, too many for a file '
            'name: give a shorter one.'
        )
    if name.lower().endswith(SUFFIXES):
        raise SegmentationError(
            f'“{name}” is a file name: give a model name without a suffix.'
        )
    if name.lower() in _taken():
        raise SegmentationError(
            f'A model named {name} already exists: choose another name. '
            'Models are never overwritten.'
        )


def check_folder() -> None:
    """Raise `SegmentationError` if no model can be written."""
    folder = user_models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SegmentationError(
            f'The new model cannot be written to {folder} '
            f'({error.strerror or error}): make the folder writable or free '
            'disk space. Nothing was trained.'
        ) from error


def check_space(model: Sam) -> None:
    """Raise `SegmentationError` if the disk is too full for a model."""
    needed = 2 * sum(value.numel() for value in model.state_dict().values())
    folder = user_models_folder()
    free = shutil.disk_usage(folder).free
    if free < needed + 2**20:
        raise SegmentationError(
            f'The new model needs {needed / 2**20:.0f} MB in {folder}, but '
            f'only {free / 2**20:.0f} MB are available: free disk space. '
            'Nothing was trained.'
        )


def _taken() -> set[str]:
    """Return names in use, in lower case: some file systems ignore case."""
    names = {name.lower() for name in registry()}
    files = user_models_folder().glob('*.safetensors')
    return names | {path.stem.lower() for path in files}
