"""Open image files of all formats.

The one place where files are read: training, the command line and large images
all start here, so that a file gives the same image in each of them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels
from napari_mobilesam.extra import need
from napari_mobilesam.readers.axes import KNOWN_AXES, guessed_axes
from napari_mobilesam.readers.pictures import PICTURE_SUFFIXES, open_picture
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.readers.tiff import TIFF_SUFFIXES, is_tiff, open_tiff
from napari_mobilesam.types import ImageError

Read = TypeVar('Read')

COLOURS = ('FF0000', '00FF00', '0000FF')
COLLECTION = 'bioformats2raw.layout'
ZARR_METADATA = ('zarr.json', '.zarray', '.zgroup', '.zattrs')
# Letters for the axis names of zarr arrays.
SPELLED_OUT = {
    'time': 't',
    'depth': 'z',
    'channel': 'c',
    'channels': 'c',
    'band': 'c',
    'sample': 's',
    'samples': 's',
    'rgb': 's',
    'row': 'y',
    'rows': 'y',
    'column': 'x',
    'columns': 'x',
}
# An OME-Zarr in one file.
ZIPPED_SUFFIXES = ('.ozx', '.zip')
IMAGE_SUFFIXES = (
    *TIFF_SUFFIXES,
    *PICTURE_SUFFIXES,
    '.npy',
    '.zarr',
    ZIPPED_SUFFIXES[0],
)


def open_pyramid(
    path: Path,
    *,
    indices: bool = False,
    lazy: bool = True,
    series: int | None = None,
) -> Pyramid:
    """Open an image file, lazily where possible.

    TIFF, .npy, zarr and OME-Zarr are read later, in pieces; PNG, JPEG and
    other pictures are read now.

    Parameters
    ----------
    path : Path
        File or folder, with a suffix in any case; or an array or group inside
        a zarr. A zarr may be a ZIP file.
    indices : bool
        Return palette indices instead of colours, for label images.
    lazy : bool
        Require zarr for compressed TIFF, see `open_tiff`.
    series : int, optional
        Index of the image in a TIFF with several.

    Returns
    -------
    Pyramid
        Arrays with their axes, pixel sizes and missing values.

    Raises
    ------
    ImageError
        If it is missing, damaged, or of an unsupported type.
    ImportError
        If a package needed to read it is not installed; the message names it.
    """
    if is_url(str(path)):
        raise ImageError(
            f'{str(path).replace(":/", "://", 1)} is a URL, but only files '
            'and folders can be read: download it first.'
        )
    if not path.exists():
        raise ImageError(f'There is no file or folder {path}.')
    if not (path.is_file() or path.is_dir()):
        # opening a pipe would wait for ever
        raise ImageError(
            f'{path} is a pipe or a device: save the image as a file first.'
        )
    tiff = is_tiff(path)
    if series is not None and not tiff:
        raise ImageError(
            f'{path} is not a TIFF, but only TIFFs can hold several images: '
            'leave series out.'
        )
    if tiff:
        return _guarded(
            path,
            lambda: open_tiff(path, indices=indices, lazy=lazy, series=series),
        )
    return _guarded(path, lambda: _open(path, indices))


def _open(path: Path, indices: bool) -> Pyramid:
    """Open a file other than TIFF."""
    if path.is_dir():
        if not any((path / name).exists() for name in ZARR_METADATA):
            raise ImageError(
                f'{path} is a folder but not a zarr: give an image file.'
            )
        return open_zarr(path)
    if is_zipped_zarr(path):
        return open_zarr(path)
    if path.suffix.lower() == '.npy':
        return open_npy(path)
    return open_picture(path, indices=indices)


def is_zipped_zarr(path: Path) -> bool:
    """Return whether a file is a ZIP of a zarr."""
    if path.suffix.lower() not in ZIPPED_SUFFIXES or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return not set(archive.namelist()).isdisjoint(ZARR_METADATA)
    # reading it tells what is wrong
    except (OSError, zipfile.BadZipFile):
        return False


def zarr_node(path: Path) -> Any:
    """Return the zarr array or group of a folder or ZIP."""
    zarr = need('zarr')
    file = path.is_file()
    store = zarr.storage.ZipStore(path, mode='r') if file else str(path)
    return zarr.open(store, mode='r')


def is_url(text: str) -> bool:
    """Return whether a path is a URL, even with slashes merged by `Path`."""
    scheme, colon, rest = text.partition(':/')
    return bool(colon and rest) and len(scheme) > 1 and scheme.isalnum()


def axis_names(pyramid: Pyramid) -> str:
    """Return the letters of the axes, guessed from the shape if unnamed.

    Raises
    ------
    ImageError
        If the shape alone is ambiguous.
    """
    if pyramid.axes is not None:
        return pyramid.axes
    return guessed_axes(pyramid.arrays[0].shape)


def read_array(
    path: Path, *, indices: bool = False
) -> tuple[NDArray[Any], str | None]:
    """Read all planes of an image file at full resolution.

    Leading axes of length one that hold no channels are dropped.

    Parameters
    ----------
    path, indices
        As for `open_pyramid`.

    Returns
    -------
    pixels : ndarray
        (..., H, W) or (..., H, W, samples).
    axes : str or None
        A letter of ``'tzcyxs'`` for each axis; None if unknown.

    Raises
    ------
    ImageError, ImportError
        See `open_pyramid`.
    """
    pyramid = open_pyramid(path, indices=indices, lazy=False)
    check_pixels(pyramid.arrays[0].shape, str(path))
    pixels = _guarded(path, lambda: np.asarray(pyramid.arrays[0][...]))
    axes = pyramid.axes
    if axes is not None:
        pixels, axes = with_plane_last(pixels, axes)
    plane = 3 if pixels.shape[-1:] in ((3,), (4,)) else 2
    while (
        pixels.ndim > plane and len(pixels) == 1 and (axes or 'z')[0] in 'tz'
    ):
        pixels, axes = pixels[0], axes and axes[1:]
    return pixels, axes


def with_plane_last(
    pixels: NDArray[Any], axes: str
) -> tuple[NDArray[Any], str]:
    """Move time to the front and rows, columns and samples to the end."""
    if len(axes) != pixels.ndim or not {'y', 'x'} <= set(axes):
        raise ImageError(
            f'The axes {axes!r} in the file do not fit its shape '
            f'{pixels.shape}.'
        )
    rank = {'t': -1, 'y': 1, 'x': 2, 's': 3}
    # several axes may have the same letter, for unknown
    order = sorted(range(len(axes)), key=lambda axis: rank.get(axes[axis], 0))
    return pixels.transpose(order), ''.join(axes[axis] for axis in order)


def _guarded(path: Path, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except (ImageError, ImportError):
        raise
    # on damaged files, readers raise all kinds of errors
    except Exception as error:  # noqa: BLE001
        raise ImageError(unreadable(path, error)) from error


def unreadable(path: Path, error: BaseException) -> str:
    """Return a message on an unreadable file, and what to do."""
    if path.is_file() and not path.stat().st_size:
        return f'{path} cannot be read: the file is empty. Copy it again.'
    # tifffile goes by the content
    if 'not a TIFF' in str(error):
        return (
            f'{path} is not a TIFF, whatever its name: if it is an image of '
            'another kind, such as PNG, rename it; otherwise it is damaged.'
        )
    # missing, forbidden or without a decoder: the file itself may be fine
    if (isinstance(error, OSError) and error.errno) or 'codecs' in str(error):
        return f'{path} cannot be read: {reason(error)}.'
    return (
        f'{path} cannot be read: it may be damaged or incomplete '
        f'({reason(error)}). Copy it again.'
    )


def reason(error: BaseException) -> str:
    """Return the message of an error on one line, or else its type."""
    text = ' '.join(str(error).split()).rstrip('.')
    return text or type(error).__name__


def open_npy(path: Path) -> Pyramid:
    """Map a .npy file into memory."""
    prefix = npy.MAGIC_PREFIX
    with path.open('rb') as file:
        start = file.read(len(prefix))
    # a truncated file is refused below
    if not prefix.startswith(start):
        raise ImageError(
            f'{path} is not a .npy file, whatever its name, but perhaps '
            'pickled or an .npz: save one array with numpy.save.'
        )
    try:
        array = npy.open_memmap(path, mode='r')
    except ValueError as error:
        if 'object' not in str(error).lower():
            raise
        raise ImageError(
            f'{path} holds Python objects, not pixels: save an array of '
            'numbers.'
        ) from error
    return Pyramid((array,))


def open_zarr(path: Path) -> Pyramid:
    """Open a zarr array, an OME-Zarr image, or a group with one array."""
    return _open_node(path, zarr_node(path))


def _open_node(path: Path, node: Any) -> Pyramid:
    zarr = need('zarr')
    if isinstance(node, zarr.Array):
        return Pyramid((node,), _dimension_names(node))
    attributes = dict(node.attrs)
    ome = dict(attributes.get('ome', attributes))
    if 'multiscales' in ome:
        return _open_multiscale(path, node, ome)
    # plates first, which bioformats2raw calls collections, too
    _refuse_containers(path, ome)
    if COLLECTION in ome:
        images = sorted({*node.group_keys()} - {'OME', 'labels'})
        if len(images) == 1:
            return _open_node(path / images[0], node[images[0]])
        raise ImageError(
            f'{path} is a collection of {len(images)} images. Give one of '
            f'them: {_some(path, images)}.'
        )
    arrays = list(node.array_keys())
    if len(arrays) == 1:
        array = node[arrays[0]]
        return Pyramid((array,), _dimension_names(array))
    inside = sorted([*arrays, *node.group_keys()])
    raise ImageError(
        f'{path} is a zarr group without an OME-Zarr image. Give one of '
        f'its arrays or groups: {_some(path, inside)}.'
    )


def _refuse_containers(path: Path, ome: dict[str, Any]) -> None:
    """Refuse a container of several images, and list them."""
    if 'plate' in ome:
        wells = [well['path'] for well in ome['plate'].get('wells', [])]
        raise ImageError(
            f'{path} is a plate with {len(wells)} wells. Segment its fields '
            f'one by one: {_some(path, [f"{well}/0" for well in wells])}.'
        )
    if 'well' in ome:
        fields = [image['path'] for image in ome['well'].get('images', [])]
        raise ImageError(
            f'{path} is a well with {len(fields)} fields. Segment them one by '
            f'one: {_some(path, fields)}.'
        )
    if 'labels' in ome:
        raise ImageError(
            f'{path} is the group of labels of an image. Give the image, '
            f'{path.parent}.'
        )


def _some(path: Path, names: Sequence[str]) -> str:
    shown = ', '.join(str(path / name) for name in names[:3])
    more = ' …' if len(names) > 3 else ''
    # only the root of a ZIP is opened
    return (shown or 'there is none') + more + ' (unzip it)' * path.is_file()


def _letter(name: Any) -> str:
    """Return the letter of an axis given as a letter or a word."""
    lower = str(name).lower()
    return SPELLED_OUT.get(lower, lower)


def _dimension_names(array: Any) -> str | None:
    """Return the axes named by a zarr array (zarr 3, or xarray for zarr 2)."""
    names = getattr(array.metadata, 'dimension_names', None)
    names = names or array.attrs.get('_ARRAY_DIMENSIONS') or ()
    letters = list(map(_letter, names))
    known = len(letters) == array.ndim and set(letters) <= set(KNOWN_AXES)
    return ''.join(letters) if known else None


def _open_multiscale(path: Path, group: Any, ome: dict[str, Any]) -> Pyramid:
    """Read OME-Zarr metadata 0.1 to 0.5."""
    try:
        return _multiscale(group, ome)
    # something is missing or has another type
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ImageError(
            f'The OME-Zarr metadata of {path} is damaged or incomplete '
            f'({_what_is_wrong(error)}): write it again, or give one of its '
            f'arrays, {path / "0"}.'
        ) from error


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f'{error.args[0]!r} is missing'
    if isinstance(error, IndexError):
        return 'a list is empty or too short'
    return f'a value is invalid: {reason(error)}'


def _multiscale(group: Any, ome: dict[str, Any]) -> Pyramid:
    image = ome['multiscales'][0]
    arrays = [group[level['path']] for level in image['datasets']]
    ndim = len(arrays[0].shape)
    axes = image.get('axes', 'tczyx'[-ndim:])
    letters = [
        _letter(axis if isinstance(axis, str) else axis['name'])
        for axis in axes
    ]
    units = [
        None if isinstance(axis, str) else axis.get('unit') for axis in axes
    ]
    scale, translation = _transform(
        [
            *image['datasets'][0].get('coordinateTransformations', ()),
            *image.get('coordinateTransformations', ()),
        ],
        ndim,
    )
    shown = ome.get('omero', {}).get('channels', [])
    colours = tuple(channel.get('color', '').upper() for channel in shown)
    return Pyramid(
        tuple(arrays),
        ''.join(letters),
        scale,
        translation,
        tuple(units),
        rgb=colours == COLOURS and arrays[0].dtype == np.uint8,
        channels=tuple(str(channel.get('label', '')) for channel in shown),
        version=str(ome.get('version', image.get('version', ''))),
    )


def _transform(
    steps: Sequence[dict[str, Any]], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Combine the scale and translation of successive transformations."""
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for step in steps:
        factor = np.array(step.get('scale', 1.0), dtype=float)
        scale, translation = scale * factor, translation * factor
        translation = translation + np.array(step.get('translation', 0.0))
    return tuple(map(float, scale)), tuple(map(float, translation))
