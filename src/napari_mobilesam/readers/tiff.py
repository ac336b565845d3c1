"""TIFF files as arrays that are read in pieces."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.extra import need
from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.types import ImageError
from napari_mobilesam.units import is_time, unit_name

TIFF_SUFFIXES = ('.tif', '.tiff', '.btf', '.tf8', '.svs', '.ndpi', '.scn')
# First bytes of TIFF and BigTIFF in both byte orders; NDPI has those of TIFF.
SIGNATURES = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# OME attributes of the pixel size along each axis
OME_SIZES = {
    'x': 'PhysicalSizeX',
    'y': 'PhysicalSizeY',
    'z': 'PhysicalSizeZ',
    't': 'TimeIncrement',
}
# A series is taken for a thumbnail, label or macro image if its planes have at
# most this share of the pixels of the largest series.
THUMBNAIL = 0.5
CHOOSE = 'choose one with series={0}, --series {0} on the command line.'
ORIENTATION, GDAL_NODATA = 'Orientation', 'GDAL_NODATA'


def open_tiff(
    path: Path,
    *,
    indices: bool = False,
    lazy: bool = True,
    series: int | None = None,
) -> Pyramid:
    """Open the image of a TIFF with its pyramid levels.

    Uncompressed pixels are mapped into memory; others are decoded tile by tile
    or strip by strip. CMYK, palettes and rotated images are read and converted
    as a whole.

    Parameters
    ----------
    path : Path
        TIFF, OME-TIFF, ImageJ TIFF or whole-slide image.
    indices : bool
        Return palette indices instead of colours.
    lazy : bool
        Require zarr to read compressed files in pieces; otherwise they are
        read as a whole if it is not installed.
    series : int, optional
        Index of the image in a file with several.

    Returns
    -------
    Pyramid
        The chosen image, by default the largest series of the file. Its axes
        are None if the file does not name them.

    Raises
    ------
    ImageError
        If pages are missing, or the file holds several images of similar
        size.
    """
    import tifffile

    with opened_series(path, series) as (file, chosen, number):
        page = chosen.keyframe
        axes = tiff_axes(chosen.axes, chosen.shape)
        if indices and axes == 'syx':
            # tifffile writes three planes of integers as planar RGB
            axes = None
        scale, units = pixel_sizes(path, file, page, number)
        convert = _conversion(path, page, indices)
        nodata = _nodata(page)
        files = _files(file, chosen)
        arrays: tuple[Any, ...] = ()
        if convert is not None:
            array, axes = convert(
                chosen.asarray(), axes or unnamed_axes(chosen.ndim)
            )
            arrays = (array,)
        elif chosen.dataoffset is not None and page.is_memmappable:
            arrays = (_mapped(path, file, chosen),)
        elif not lazy and not _has_zarr():
            arrays = (chosen.asarray(),)
    known = axes or unnamed_axes(chosen.ndim)
    # inks and palettes were converted
    colours = page.photometric not in (
        tifffile.PHOTOMETRIC.MINISBLACK,
        tifffile.PHOTOMETRIC.MINISWHITE,
    )
    return Pyramid(
        arrays or _decoded(path, number),
        axes,
        scale=tuple(scale.get(axis, 1.0) for axis in known),
        units=tuple(units.get(axis) for axis in known),
        rgb=colours and 's' in known,
        nodata=nodata,
        files=files,
        series=series,
    )


@contextlib.contextmanager
def opened_series(
    path: Path, wanted: int | None = None, advice: str = CHOOSE
) -> Iterator[tuple[Any, Any, int]]:
    """Open the image of a TIFF, or one of several.

    Parameters
    ----------
    path : Path
        TIFF of any kind.
    wanted : int, optional
        Index of the image in a file with several.
    advice : str
        Advice if the image is ambiguous; ``{}`` is a number.

    Yields
    ------
    file, series
        Objects of tifffile.
    number : int
        Index of the series.

    Raises
    ------
    ImageError
        If pages are missing, or the file holds several images of similar
        size.
    """
    import tifffile

    with _whole_pages(path), tifffile.TiffFile(path) as file:
        number = _series_number(path, file, wanted, advice)
        series = file.series[number]
        _refuse_missing(path, series)
        yield file, series, number


def is_tiff(path: Path) -> bool:
    """Return whether a file is a TIFF, by its suffix or its first bytes.

    Microscopes write TIFFs under many suffixes, such as .lsm and .stk.
    """
    if not path.is_file():
        return False
    if path.suffix.lower() in TIFF_SUFFIXES:
        return True
    # errors are reported when the file is read
    with contextlib.suppress(OSError), path.open('rb') as file:
        return file.read(4) in SIGNATURES
    return False


def holds_several(path: Path) -> bool:
    """Return whether a file is a TIFF with several images, of any size."""
    import tifffile

    if not is_tiff(path):
        return False
    try:
        with _whole_pages(path), tifffile.TiffFile(path) as file:
            return len(file.series) > 1
    # errors are reported when the file is read
    except Exception:  # noqa: BLE001
        return False


def _series_number(
    path: Path, file: Any, wanted: int | None, advice: str
) -> int:
    """Return the series wanted, or one much larger than all others."""
    if not file.series:
        raise ImageError(f'{path} contains no image.')
    if wanted is not None:
        if not 0 <= wanted < len(file.series):
            raise ImageError(
                f'{path} has no image {wanted}: it holds {len(file.series)}, '
                'counted from 0.'
            )
        return wanted
    sizes = [plane_pixels(series) for series in file.series]
    largest = int(np.argmax(sizes))
    rivals = [
        i for i, size in enumerate(sizes) if size > THUMBNAIL * max(sizes)
    ]
    if len(rivals) > 1:
        shapes = ', '.join(
            ' × '.join(map(str, file.series[i].shape)) for i in rivals[:4]
        )
        more = ' …' if len(rivals) > 4 else ''
        raise ImageError(
            f'{path} holds {len(rivals)} images ({shapes}{more}): '
            f'{advice.format(rivals[0])}'
        )
    return largest


def plane_pixels(series: Any) -> int:
    """Return the number of pixels of a plane of a series of tifffile."""
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes.get('Y', 1) * sizes.get('X', 1))


def _refuse_missing(path: Path, series: Any) -> None:
    """Refuse an image with planes in files that are missing."""
    # tifffile reads them as zeros, and says so in its log only
    missing = sum(page is None for page in series.pages)
    if missing:
        raise ImageError(
            f'{missing} of the {len(series.pages)} planes that {path} lists '
            'are missing: they are in other files of the same OME-TIFF. '
            'Copy these files beside it.'
        )


def _files(file: Any, series: Any) -> tuple[Path, ...]:
    """Return the files of an OME-TIFF with more than one; else none."""
    if not file.is_ome:
        return ()
    paths = {page.parent.filehandle.path for page in series.pages}
    return tuple(map(Path, sorted(paths))) if len(paths) > 1 else ()


def _refuse_colours(path: Path, page: Any) -> None:
    """Refuse colours that are not RGB and not converted to it."""
    import tifffile

    photometric = page.photometric
    # JPEG and JPEG 2000 are decoded to RGB
    raw = photometric == tifffile.PHOTOMETRIC.YCBCR and (
        'JP' not in getattr(page.compression, 'name', '')
    )
    if raw or photometric in (
        tifffile.PHOTOMETRIC.CFA,  # raw files of cameras
        tifffile.PHOTOMETRIC.CIELAB,
        tifffile.PHOTOMETRIC.ICCLAB,
        tifffile.PHOTOMETRIC.ITULAB,
    ):
        raise ImageError(
            f'{path} has {photometric.name} colours, which are not '
            'supported: save it as RGB.'
        )


def _conversion(path: Path, page: Any, indices: bool) -> Any:
    """Return a function that converts pixels to gray or RGB, if needed."""
    import tifffile

    tag = page.tags.get(ORIENTATION)
    turn = None if tag is None else turn_of(int(tag.value))
    colours = None
    photometric = page.photometric
    if photometric == tifffile.PHOTOMETRIC.SEPARATED:
        if page.samplesperpixel != 4:
            raise ImageError(
                f'{path} has {page.samplesperpixel} inks instead of cyan, '
                'magenta, yellow and black: save it as RGB.'
            )
        colours = _rgb_of_cmyk
    elif (
        photometric == tifffile.PHOTOMETRIC.PALETTE
        and not indices
        and not _is_lookup_table(page.colormap)
    ):
        table = np.moveaxis(np.asarray(page.colormap) >> 8, 0, -1)

        def colours(pixels: NDArray[Any]) -> NDArray[Any]:
            return table.astype(np.uint8)[pixels]

    _refuse_colours(path, page)
    if colours is None and turn is None:
        return None

    def convert(pixels: NDArray[Any], axes: str) -> tuple[NDArray[Any], str]:
        if 's' in axes:
            pixels = np.moveaxis(pixels, axes.index('s'), -1)
            axes = axes.replace('s', '') + 's'
        if colours is not None:
            pixels = colours(pixels)
            axes = axes.replace('s', '') + 's'
        if turn is not None:
            rows, columns = axes.index('y'), axes.index('x')
            pixels = turn(pixels, rows, columns)
        return pixels, axes

    return convert


def _is_lookup_table(colormap: NDArray[Any]) -> bool:
    """Return whether colours only get brighter: they display gray values."""
    steps = np.diff(np.asarray(colormap, dtype=np.int64), axis=1)
    return bool((steps >= 0).all())


def _rgb_of_cmyk(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert (..., 4) inks of any unsigned type to (..., 3) uint8."""
    full = float(np.iinfo(pixels.dtype).max)
    light = 1 - pixels.astype(np.float32) / full
    rgb = light[..., :3] * light[..., 3:]
    return (255 * rgb + 0.5).astype(np.uint8)


def turn_of(orientation: int) -> Any:
    """Return a function that rotates pixels upright; None if they are.

    Parameters
    ----------
    orientation : int
        Value of the tag of TIFF and EXIF.
    """
    if orientation not in range(2, 9):
        return None

    def turn(pixels: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
        # TIFF 6.0, Orientation: the sides of row 0 and column 0
        if orientation >= 5:
            pixels = np.swapaxes(pixels, rows, columns)
        if orientation in (2, 3, 6, 7):
            pixels = np.flip(pixels, columns)
        if orientation in (3, 4, 7, 8):
            pixels = np.flip(pixels, rows)
        return pixels

    return turn


def _nodata(page: Any) -> float | None:
    """Return the value of missing pixels, as written by GDAL."""
    tag = page.tags.get(GDAL_NODATA)
    if tag is None:
        return None
    try:
        return float(str(tag.value).strip().rstrip('\0'))
    except ValueError:
        return None


def pixel_sizes(
    path: Path, file: Any, page: Any, series: int = 0
) -> tuple[dict[str, float], dict[str, str]]:
    """Return sizes and units for each axis, as written by OME and ImageJ.

    OME has separate sizes for each series of a file.
    """
    if file.is_ome and file.ome_metadata:
        return _ome_sizes(path, file.ome_metadata, series, len(file.series))
    tags = page.tags
    scale: dict[str, float] = {}
    for axis, name in (('x', 'XResolution'), ('y', 'YResolution')):
        pixels, length = tags[name].value if name in tags else (0, 0)
        if pixels and length:
            scale[axis] = length / pixels
    if not file.is_imagej:
        return _centimetres(page, scale)
    known = file.imagej_metadata or {}
    units: dict[str, str] = {}
    if known.get('spacing', 0) > 0:
        scale['z'] = float(known['spacing'])
    for axis in scale:
        # y and z have their own only if it differs from that of x
        written = known.get(f'{axis}unit') or known.get('unit', '')
        unit = unit_name(str(written))
        if unit is not None:
            units[axis] = unit
    if known.get('finterval', 0) > 0:
        unit = unit_name(str(known.get('tunit', '')))
        scale['t'] = float(known['finterval'])
        units['t'] = unit if unit and is_time(unit) else 'second'
    return scale, units


def _centimetres(
    page: Any, scale: dict[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return pixel sizes of a TIFF with pixels per centimetre.

    Pixels per inch are meant for printers and are ignored.
    """
    unit = page.tags.get('ResolutionUnit')
    if unit is None or int(unit.value) != 3:
        return {}, {}
    return (
        {axis: 1e4 * size for axis, size in scale.items()},
        dict.fromkeys(scale, 'micrometer'),
    )


def _ome_sizes(
    path: Path, xml: str, series: int, count: int
) -> tuple[dict[str, float], dict[str, str]]:
    scale: dict[str, float] = {}
    units: dict[str, str] = {}
    try:
        images = ElementTree.fromstring(xml).findall('.//{*}Pixels')
    except ElementTree.ParseError as error:
        raise ImageError(
            f'The OME metadata of {path} is damaged: {error}. Save the file '
            'again.'
        ) from error
    # images without pages are not series
    if len(images) != count:
        series = 0
    known = images[series].attrib if images else {}
    for axis, key in OME_SIZES.items():
        try:
            size = float(known.get(key, 0))
        except ValueError as error:
            raise ImageError(
                f'The OME metadata of {path} says {key}='
                f'"{known[key]}", which is not a number. Save the file again.'
            ) from error
        if size > 0:
            scale[axis] = size
            unit = known.get(f'{key}Unit', 's' if axis == 't' else 'µm')
            name = unit_name(unit)
            if name is not None:
                units[axis] = name
    return scale, units


@contextlib.contextmanager
def _whole_pages(path: Path) -> Iterator[None]:
    """Refuse a truncated file, which tifffile only mentions in its log."""
    heard = _LogMessages()
    logger = logging.getLogger('tifffile')
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)
    if any('page' in text for text in heard.texts):
        raise ImageError(
            f'{path} is truncated: pages that it lists are missing. Copy it '
            'again.'
        )


class _LogMessages(logging.Handler):
    """Messages of this thread: others read other files."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.texts.append(record.getMessage())


def _mapped(path: Path, file: Any, series: Any) -> Any:
    return np.memmap(
        path,
        dtype=np.dtype(file.byteorder + series.dtype.char),
        mode='r',
        offset=series.dataoffset,
        shape=series.shape,
    )


def _has_zarr() -> bool:
    return find_spec('zarr') is not None


def _decoded(path: Path, number: int) -> tuple[Any, ...]:
    """Return levels as zarr arrays over the file, which stays open."""
    zarr = need('zarr')
    import tifffile

    series = tifffile.TiffFile(path).series[number]
    return tuple(
        zarr.open_array(series.aszarr(level=level), mode='r')
        for level in range(len(series.levels))
    )


def unnamed_axes(count: int) -> str:
    """Return letters for axes that a TIFF does not name; q is unknown."""
    return 'tzyx'[-count:] if count < 5 else 'zyx'.rjust(count, 'q')


def tiff_axes(axes: str, shape: Sequence[int]) -> str | None:
    """Translate axis letters of tifffile, None if all before YX are unknown.

    Q, I and others of unknown meaning are planes.
    """
    if axes != 'YX' and axes.lstrip('QI') == 'YX':
        return None
    names = ''.join(
        name if name in 'tzcsyx' else 'z' if 'z' not in axes.lower() else 't'
        for name in axes.lower()
    )
    if len(set(names)) < len(names):
        raise ImageError(
            f'A TIFF with the axes {axes} and the shape {tuple(shape)} has '
            'too many axes: only one of time and one of depth can be read. '
            'Save each position as a separate file.'
        )
    return names
