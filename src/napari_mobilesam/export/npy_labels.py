"""Labels in NumPy files: plain arrays, and Cellpose's ``_seg.npy``.

Cellpose pickles a dictionary with the array ``masks``. As pickles can run
arbitrary code, only arrays and plain values are unpickled.
"""

from __future__ import annotations

import pickle
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from napari_mobilesam.export.exported import ExportError, LabelsWithTable
from napari_mobilesam.export.label_images import as_labels, check_unnamed
from napari_mobilesam.readers.open_image import reason

MASKS = 'masks'
SEG = '_seg'
# Globals needed to unpickle arrays and their elements, in NumPy 1 and 2.
HARMLESS = {
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy.core.multiarray', 'scalar'),
    ('numpy._core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', 'scalar'),
    ('numpy.core.numeric', '_frombuffer'),
    ('numpy._core.numeric', '_frombuffer'),
    ('_codecs', 'encode'),
    ('collections', 'OrderedDict'),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of arrays and plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        # the name of the image, on any system
        if module.startswith('pathlib') and name.endswith('Path'):
            return PurePath
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f'it holds {module}.{name}')
        return super().find_class(module, name)


def read_npy_labels(path: Path) -> LabelsWithTable:
    """Read labels from a NumPy file.

    Parameters
    ----------
    path : Path
        File with an array of integers, or Cellpose's ``_seg.npy``.

    Raises
    ------
    ExportError
        If it holds no labels, or cannot be read.
    """
    try:
        with path.open('rb') as file:
            content = _read(file)
    # on damaged files, the reader raises all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ExportError(
            f'{path} cannot be read: {reason(error)}.'
        ) from error
    if isinstance(content, dict):
        if MASKS not in content:
            raise ExportError(
                f'{path} has no masks, so it is not a Cellpose _seg.npy file.'
            )
        content = content[MASKS]
    labels = np.asarray(content)
    while labels.ndim > 2 and labels.shape[0] == 1:
        labels = labels[0]
    check_unnamed(labels.shape, path)
    name = path.stem.removesuffix(SEG)
    return LabelsWithTable(as_labels(labels, path), name=name)


def _read(file: BinaryIO) -> Any:
    version = npy.read_magic(file)
    header = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    if version not in header:
        raise ValueError(f'version {version} of the file is unknown')
    shape, _, dtype = header[version](file)
    if not dtype.hasobject:
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)
    content = _ArrayUnpickler(file).load()
    return content.item() if shape == () else content
