"""Image files in, label images and tables out.

Outputs are written beside their destination under a temporary name and then
renamed: a file of the final name is always whole.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.cli.exit_codes import InputError, OutputError, UsageError
from napari_mobilesam.files import atomic_path

TIFF_SUFFIXES = ('.tif', '.tiff')


def read_image(path: Path, plane: Sequence[int] | None = None) -> NDArray[Any]:
    """Read one plane of an image file.

    Parameters
    ----------
    path : Path
        TIFF (also OME-TIFF and ImageJ), PNG, JPEG, or what else imageio
        reads.
    plane : sequence of int, optional
        Index along each axis before row and column (time, z, channel, … in
        the file's order); needed if there is more than one plane.

    Returns
    -------
    ndarray
        (H, W) or (H, W, 3 | 4), any dtype.

    Raises
    ------
    InputError
        The file is missing, unreadable, or has no such plane.
    """
    if path.is_dir():
        raise InputError(f'{path} is a folder; give an image file')
    if not path.exists():
        raise InputError(f'there is no file {path}')
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            return _read_tiff(path, plane)
        return _read_picture(path, plane)
    except InputError:
        raise
    # Decoders fail with whatever comes to hand on a damaged file.
    except Exception as error:  # noqa: BLE001
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'cannot read {path}: {reason}') from error


def _read_picture(path: Path, plane: Sequence[int] | None) -> NDArray[Any]:
    """Read PNG, JPEG and the like: (H, W) or (H, W, 3 | 4)."""
    from skimage.io import imread

    image: NDArray[Any] = np.asarray(imread(path))
    axes = 'YXS' if image.ndim == 3 and image.shape[-1] <= 4 else ''
    if image.ndim > 2 and not axes:  # an animated GIF, say
        axes = 'Q' * (image.ndim - 2) + 'YX'
    return _choose_plane(image, axes or 'YX', plane, path)


def _read_tiff(path: Path, plane: Sequence[int] | None) -> NDArray[Any]:
    """Read the first series of a TIFF, by its axes."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise InputError(f'{path} has no image in it')
        series = file.series[0]
        axes = series.axes
        leading = _leading_shape(series.shape, axes)
        pages = len(series.pages)
        if plane is not None and pages > 1 and pages == np.prod(leading):
            # One plane per page: read that page, not the whole stack.
            _check_plane(plane, leading, axes, path)
            page = int(np.ravel_multi_index(tuple(plane), leading))
            return np.asarray(series.asarray(key=page))
        return _choose_plane(series.asarray(), axes, plane, path)


def _leading_shape(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return the sizes of the axes before row and column (and samples)."""
    return tuple(shape[: len(axes) - (3 if axes.endswith('S') else 2)])


def _choose_plane(
    image: NDArray[Any], axes: str, plane: Sequence[int] | None, path: Path
) -> NDArray[Any]:
    """Return one (H, W[, S]) plane of an array with leading axes."""
    if axes.startswith('S') and len(axes) == 3:  # planar RGB
        image, axes = np.moveaxis(image, 0, -1), axes[1:] + 'S'
    leading = _leading_shape(image.shape, axes)
    if plane is None:
        if any(size != 1 for size in leading):
            names = axes[: len(leading)]
            sizes = ' x '.join(map(str, leading))
            raise InputError(
                f'{path} has {sizes} planes (axes {names}): choose one with '
                f'--plane {",".join("0" * len(leading))} (counted from 0)'
            )
        plane = (0,) * len(leading)
    _check_plane(plane, leading, axes, path)
    return np.asarray(image[tuple(plane)])


def _check_plane(
    plane: Sequence[int], leading: Sequence[int], axes: str, path: Path
) -> None:
    """Refuse a plane index that the file does not have."""
    asked = ','.join(map(str, plane))
    if len(plane) != len(leading):
        names = axes[: len(leading)] or 'none'
        raise InputError(
            f'--plane {asked} has {len(plane)} indices, but {path} has '
            f'{len(leading)} axes before row and column ({names})'
        )
    for index, size in zip(plane, leading, strict=True):
        if not 0 <= index < size:
            raise InputError(
                f'--plane {asked} is outside {path}: index {index} of an '
                f'axis of size {size} (counted from 0)'
            )


@contextlib.contextmanager
def output_file(
    path: Path, overwrite: bool, inputs: Sequence[Path] = ()
) -> Iterator[Callable[[Callable[[Path], None]], None]]:
    """Reserve a path now and write it later; leave nothing on failure.

    Entering proves that the folder can be written to, before any long
    computation. The context gives a function ``commit(write)``: it calls
    ``write(temporary_path)`` and then renames the temporary file.

    Raises
    ------
    OutputError
        The folder is missing or read-only, the file exists and
        ``overwrite`` is False, or writing fails (a full disk).
    UsageError
        The output is one of ``inputs``.
    """
    if any(path.resolve() == other.resolve() for other in inputs):
        raise UsageError(f'{path} is an input: give another output')
    _refuse_existing(path, overwrite)
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OutputError(
            f'cannot write {path}: {error.strerror or error}'
        ) from error

    def commit(write: Callable[[Path], None]) -> None:
        try:
            with atomic_path(path, keep_suffix=True) as temporary:
                write(temporary)
                _refuse_existing(path, overwrite)  # hours may have passed
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f'cannot write {path}: {error.strerror or error}'
            ) from error

    yield commit


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f'cannot write {path}: it is a folder')
    if path.exists() and not overwrite:
        raise OutputError(f'{path} exists; --overwrite replaces it')


def check_labels_path(path: Path) -> None:
    """Refuse a suffix that label images cannot be written as."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise UsageError(
            f'cannot write labels as {path.suffix or "a file of no suffix"!r}'
            f': {path} must end in .tif or .tiff'
        )


def write_labels(path: Path, labels: NDArray[Any]) -> None:
    """Write a (H, W) label image as compressed TIFF, uint16 if that holds."""
    import tifffile

    if labels.max(initial=0) <= np.iinfo(np.uint16).max:
        labels = labels.astype(np.uint16)
    tifffile.imwrite(path, labels, compression='zlib', metadata={'axes': 'YX'})
