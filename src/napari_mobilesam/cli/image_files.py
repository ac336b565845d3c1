"""Image files in; label images and tables out.

Outputs are written next to their destination under a temporary name and then
renamed, so a file with the final name is always complete.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels
from napari_mobilesam.cli.exit_codes import (
    InputError,
    OutputError,
    UsageError,
    writing,
)
from napari_mobilesam.files import atomic_path
from napari_mobilesam.large.io.tables import check_table_path
from napari_mobilesam.readers.axes import check_names
from napari_mobilesam.readers.open_image import (
    axis_names,
    is_url,
    open_pyramid,
    unreadable,
)
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.text import counted

LABEL_SUFFIXES = ('.tif', '.tiff', '.png')
LABEL_TIFF_SUFFIXES = LABEL_SUFFIXES[:2]
# red, green, blue and alpha
MOST_COLORS = 4


class PlaneChoiceError(InputError):
    """A file has several planes or channels, and none was chosen.

    Parameters
    ----------
    what : str
        What the file has.
    instead : str
        What to do.
    sizes : mapping
        Size of the axes that leave a choice, by their letters.
    named : bool
        The letters are known, and not guessed from the shape.
    """

    def __init__(
        self,
        what: str,
        instead: str,
        sizes: Mapping[str, int],
        named: bool = True,
    ) -> None:
        super().__init__(f'{what}: {instead}')
        self.what = what
        self.instead = instead
        self.sizes = sizes
        self.named = named


class FilePlane(NamedTuple):
    """One plane of an image file.

    Attributes
    ----------
    pixels : ndarray
        (H, W) or (H, W, 3 | 4), any dtype.
    scale : dict
        Pixel size along ``'y'`` and ``'x'``, if stated in the file.
    units : dict
        OME-NGFF unit along ``'y'`` and ``'x'``, or None.
    nodata : float or None
        Value of pixels that were not recorded.
    channel : int or None
        Selected channel of a file with several, from 0.
    plane : dict of str to int
        Index along each axis except rows, columns, colours and channels, by
        the letter of the axis.
    sizes : dict of str to int
        Size of the file along each of its axes.
    """

    pixels: NDArray[Any]
    scale: dict[str, float]
    units: dict[str, str | None]
    nodata: float | None = None
    channel: int | None = None
    plane: Mapping[str, int] = MappingProxyType({})
    sizes: Mapping[str, int] = MappingProxyType({})

    @property
    def chosen(self) -> dict[str, int]:
        """`plane` along axes with more than one position."""
        return {
            name: at for name, at in self.plane.items() if self.sizes[name] > 1
        }


def read_image(
    path: Path,
    plane: Sequence[int] | None = None,
    *,
    series: int | None = None,
    channel: int | None = None,
    if_several: bool = False,
    axes: str | None = None,
) -> FilePlane:
    """Read one plane of an image file.

    Parameters
    ----------
    path : Path
        File of any kind that `open_pyramid` opens.
    plane : sequence of int, optional
        Index along each axis other than rows, columns and colours (time, z,
        channel, … in the file's order); required if there is more than one
        plane.
    series : int, optional
        Index of the image in a TIFF with several.
    channel : int, optional
        Channel of a file with several, or one of its colours, from 0;
        ``plane`` then has no index for it.
    if_several : bool
        Whether ``plane`` and ``channel`` are for one of many files, and left
        out where there is only one; colours, and gray with alpha, are then
        read unchanged.
    axes : str, optional
        A letter for each axis, in place of what the file says.

    Returns
    -------
    FilePlane
        Pixels, and their metadata.

    Raises
    ------
    ImageError
        The file is missing, unreadable, or does not define its axes.
    PlaneChoiceError
        The file has planes or channels that must be selected.
    InputError
        The file has no such plane.
    """
    pyramid = open_pyramid(path, lazy=False, series=series)
    if axes is not None:
        check_names(axes.lower(), pyramid.arrays[0].shape)
        pyramid = replace(pyramid, axes=axes.lower())
    sizes = _sizes(path, pyramid)
    taken = _channel(path, channel, sizes.get('c', 1))
    known = 'yxs' if taken is None else 'yxsc'
    others = {name: n for name, n in sizes.items() if name not in known}
    if if_several and all(size <= 1 for size in others.values()):
        plane = None
    if plane is None:
        _refuse_several(path, others, pyramid.axes is not None)
    at = chosen_plane(path, plane, others)
    sample = None
    samples = sizes.get('s', 1)
    if taken is not None:
        at['c'] = taken
    elif samples > MOST_COLORS or not if_several:
        # this few are colours, or gray with alpha
        sample = _channel(path, channel, samples)
    read = _read_plane(path, pyramid, sizes, at, sample)
    return read._replace(channel=sample if taken is None else taken)


def read_single_plane(path: Path, labels: bool = False) -> FilePlane:
    """Read an image file with one plane, for commands that choose none.

    Parameters
    ----------
    path : Path
        File of any kind that `open_pyramid` opens.
    labels : bool
        Whether the file is a label image, of which palette indices are read.

    Returns
    -------
    FilePlane
        Pixels, and their metadata.

    Raises
    ------
    ImageError
        The file is missing, unreadable, or does not define its axes.
    InputError
        The file has several planes or channels.
    """
    pyramid = open_pyramid(path, indices=labels, lazy=False)
    sizes = _sizes(path, pyramid)
    others = {name: n for name, n in sizes.items() if name not in 'yxs'}
    if any(size != 1 for size in others.values()):
        counts = ' x '.join(map(str, others.values()))
        raise InputError(f'{path} has {counts} planes: give a file with one')
    return _read_plane(path, pyramid, sizes, dict.fromkeys(others, 0))


def _sizes(path: Path, pyramid: Pyramid) -> dict[str, int]:
    """Return the size of an image along each axis, by axis letter."""
    names, shape = axis_names(pyramid), pyramid.arrays[0].shape
    fits = len(set(names)) == len(names) == len(shape)
    if not fits or not {'y', 'x'} <= set(names):
        raise InputError(
            f'{path} names the axes {names}, but its shape is {shape}: '
            'specify them with --axes'
        )
    return dict(zip(names, map(int, shape), strict=True))


def _read_plane(
    path: Path,
    pyramid: Pyramid,
    sizes: Mapping[str, int],
    at: Mapping[str, int],
    sample: int | None = None,
) -> FilePlane:
    """Read a plane, given its index along each axis, and maybe one colour."""
    kept = [name for name in sizes if name in 'yxs']
    check_pixels([sizes[name] for name in kept], str(path))
    index = tuple(at.get(name, slice(None)) for name in sizes)
    try:
        pixels = np.asarray(pyramid.arrays[0][index])
    # decoders raise all kinds of errors on a damaged file
    except Exception as error:  # noqa: BLE001
        raise InputError(unreadable(path, error)) from error
    pixels = pixels.transpose([kept.index(n) for n in 'yxs' if n in kept])
    if sample is not None:
        pixels = pixels[..., sample]
    elif pixels.ndim == 3:
        pixels = _colors_or_gray(path, pixels)
    return FilePlane(
        pixels,
        dict(zip(sizes, pyramid.scale, strict=False)),
        dict(zip(sizes, pyramid.units, strict=False)),
        pyramid.nodata,
        plane={name: number for name, number in at.items() if name != 'c'},
        sizes=sizes,
    )


def _channel(path: Path, channel: int | None, count: int) -> int | None:
    """Return the channel; None if none is requested, or there is only one."""
    if channel is None or count == 1:
        return None
    if channel >= count:
        raise InputError(
            f'{path} has no channel {channel}: it has {count}, counted from 0'
        )
    return channel


def _refuse_several(path: Path, sizes: Mapping[str, int], named: bool) -> None:
    """Refuse axes that leave a choice."""
    several = {name: count for name, count in sizes.items() if count > 1}
    if not several:
        return
    counts = ' x '.join(map(str, sizes.values()))
    what = f'{counts} planes (axes {"".join(sizes).upper()})'
    if list(sizes) == ['c']:
        what = f'{counts} channels'
    zeros = ','.join('0' * len(sizes))
    raise PlaneChoiceError(
        f'{path} has {what}',
        f'choose one with --plane {zeros} (counted from 0)',
        several,
        named,
    )


def chosen_plane(
    path: Path, plane: Sequence[int] | None, sizes: Mapping[str, int]
) -> dict[str, int]:
    """Return the index of one plane along axes of these sizes.

    Parameters
    ----------
    path : Path
        File, for messages.
    plane : sequence of int or None
        Index along each axis, or each with more than one position.
    sizes : mapping of str to int
        Size along each axis besides rows and columns, by its letter.

    Raises
    ------
    InputError
        If there is no such plane.
    """
    first = dict.fromkeys(sizes, 0)
    if plane is None:
        return first
    several = {name: size for name, size in sizes.items() if size > 1}
    axes = several if len(plane) == len(several) else sizes
    letters = ''.join(sizes).upper()
    _check_plane(plane, list(axes.values()), letters, path)
    return first | dict(zip(axes, plane, strict=True))


def read_labels_of(path: Path, image: FilePlane, option: str) -> NDArray[Any]:
    """Read the labels of an image.

    Parameters
    ----------
    path : Path
        Label image with one plane.
    image : FilePlane
        Image with the same rows and columns.
    option : str
        Option that named the labels, for messages.

    Returns
    -------
    ndarray
        (H, W) labels.

    Raises
    ------
    ImageError, InputError
        As `read_single_plane`; also if the labels have another shape.
    """
    labels = read_single_plane(path, labels=True).pixels
    shape = image.pixels.shape[:2]
    if labels.shape != shape:
        raise InputError(
            f'{option} {path} has the shape {labels.shape}, but the image '
            f'has {shape}: give labels of this image'
        )
    return labels


def _colors_or_gray(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return colours unchanged, and gray without its alpha channel."""
    count = pixels.shape[2]
    if count in (3, MOST_COLORS):
        return pixels
    if count > MOST_COLORS:
        raise PlaneChoiceError(
            f'{path} has {count} channels',
            'give a file with one, or RGB',
            {'c': count},
        )
    return pixels[..., 0]


def _check_plane(
    plane: Sequence[int], leading: Sequence[int], axes: str, path: Path
) -> None:
    """Refuse a plane index that does not exist in the file."""
    asked = ','.join(map(str, plane))
    if len(plane) != len(leading):
        raise InputError(
            f'--plane {asked} has {counted(len(plane), "index", "indices")}, '
            f'but {path} has {counted(len(leading), "axis", "axes")} besides '
            f'rows and columns ({axes or "none"})'
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
    """Check that a path can be written, to write it later atomically.

    Entering the context verifies that the folder is writable, before any long
    computation. It yields a function ``commit(write)``, which calls
    ``write(temporary_path)`` and then renames the temporary file.

    Raises
    ------
    OutputError
        If the folder is missing or read-only, the file exists and
        ``overwrite`` is False, or writing fails (a full disk).
    UsageError
        If the output is one of ``inputs``.
    """
    if any(path.resolve() == other.resolve() for other in inputs):
        raise UsageError(f'{path} is an input: give another output')
    refuse_existing(path, overwrite)
    check_folder(path)

    def commit(write: Callable[[Path], None]) -> None:
        with (
            writing(path),
            atomic_path(path, keep_suffix=True) as temporary,
        ):
            write(temporary)
            refuse_existing(path, overwrite)  # hours may have passed

    yield commit


def check_folder(path: Path) -> None:
    """Refuse an output whose folder does not exist or is not writable.

    Raises
    ------
    OutputError
        If the folder does not exist or is not writable.
    """
    if not path.parent.is_dir():
        url = ', and URLs cannot be written'
        raise OutputError(
            f'cannot write {path}: there is no folder {path.parent}'
            f'{url if is_url(str(path)) else ""}'
        )
    with writing(path):
        tempfile.TemporaryFile(dir=path.parent).close()


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse a folder, and a file that must not be replaced.

    Raises
    ------
    OutputError
        If it is a folder, or exists and ``overwrite`` is False.
    """
    with writing(path):
        if path.is_dir():
            raise OutputError(f'cannot write {path}: it is a folder')
        if path.exists() and not overwrite:
            raise OutputError(f'{path} exists; --overwrite replaces it')


def check_labels_path(
    path: Path, suffixes: Sequence[str] = LABEL_TIFF_SUFFIXES
) -> None:
    """Refuse a suffix that is not a label image format."""
    if path.suffix.lower() not in suffixes:
        known = f'{", ".join(suffixes[:-1])} or {suffixes[-1]}'
        raise UsageError(
            f'labels cannot be written to {path}: give a file that ends in '
            f'{known}'
        )


def check_table(table: Path | None, output: Path) -> None:
    """Refuse a table that is the other output, or not writable."""
    if table is None:
        return
    if table.resolve() == output.resolve():
        raise UsageError('--table and --output are the same file')
    check_table_path(table)


def write_labels(
    path: Path, labels: NDArray[Any], like: FilePlane | None = None
) -> None:
    """Write a label image, as uint16 if that holds the labels.

    Parameters
    ----------
    path : Path
        File that ends in .png, .tif or .tiff; .ome.tif makes it an OME-TIFF.
    labels : ndarray
        (H, W) labels, 0 is background.
    like : FilePlane, optional
        Image whose pixel sizes are written to a TIFF.

    Raises
    ------
    OutputError
        If a PNG cannot hold that many labels.
    """
    if labels.max(initial=0) <= np.iinfo(np.uint16).max:
        labels = labels.astype(np.uint16)
    elif path.suffix.lower() == '.png':
        raise OutputError(
            f'label {labels.max()} is too large for a PNG: write a .tif'
        )
    if path.suffix.lower() == '.png':
        from PIL import Image

        Image.fromarray(labels).save(path)
        return
    write_tiff(path, labels, like)


def write_tiff(
    path: Path, pixels: NDArray[Any], like: FilePlane | None = None
) -> None:
    """Write an (H, W) plane as compressed TIFF with pixel sizes."""
    import tifffile

    from napari_mobilesam.large.io.label_tiff import tiff_metadata

    scale, units = (like.scale, like.units) if like else ({}, {})
    tifffile.imwrite(
        path,
        pixels,
        compression='zlib',
        photometric='minisblack',
        **tiff_metadata(path, 'yx', pixels.shape, scale, units),
    )
