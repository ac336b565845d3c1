"""Read PNG, JPEG and other pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from napari_mobilesam.readers.pyramid import Pyramid
from napari_mobilesam.readers.tiff import turn_of
from napari_mobilesam.types import ImageError

# Lossy formats, unsuitable for label images.
LOSSY_SUFFIXES = ('.jpg', '.jpeg', '.jfif', '.webp')
PICTURE_SUFFIXES = ('.png', '.bmp', '.gif', *LOSSY_SUFFIXES)
EXIF_ORIENTATION = 274
# Formats that Pillow knows but cannot read, or whose integers it reads with
# swapped bytes (FITS).
UNREAD_FORMATS = ('HDF5', 'FITS', 'GRIB', 'BUFR', 'WMF')
# Modes of Pillow with gray values, and the modes to convert others to.
GRAY_MODES = ('L', 'I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
WITH_ALPHA = {'LA': 'L', 'La': 'L', 'PA': 'RGB', 'RGBa': 'RGBA'}


def open_picture(path: Path, *, indices: bool = False) -> Pyramid:
    """Read a picture as it is displayed.

    The EXIF orientation is applied, CMYK and palettes become RGB, and the
    alpha channel of gray pictures is dropped. Frames of animations are planes.

    Parameters
    ----------
    path : Path
        PNG, JPEG, BMP, GIF, WebP or another file that Pillow reads.
    indices : bool
        Return palette indices instead of colours; label images are often
        saved this way.

    Returns
    -------
    Pyramid
        One array, (H, W) or (H, W, 3 or 4), with a leading time axis if there
        are several frames.

    Raises
    ------
    ImageError
        If Pillow cannot read the format or would lose bit depth.
    """
    try:
        with Image.open(path) as picture:
            if picture.format in UNREAD_FORMATS:
                raise UnidentifiedImageError
            deep = _deep_png(path, picture)
            frames = (
                [deep] if deep is not None else list(_frames(picture, indices))
            )
    except UnidentifiedImageError as error:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            raise ImageError(
                f'{path} cannot be read: it is damaged or not a '
                f'{path.suffix[1:].upper()} file.'
            ) from error
        raise ImageError(
            f'{path} is not an image in a supported format: save it as TIFF, '
            'PNG, JPEG, .npy, zarr or OME-Zarr, for example with Fiji.'
        ) from error
    frames = _of_one_kind(frames)
    if len({frame.shape for frame in frames}) > 1:
        # such as an animation of frames with and without alpha
        raise ImageError(
            f'{path} has frames of different kinds: save the one to segment '
            'as a separate file.'
        )
    array = frames[0] if len(frames) == 1 else np.stack(frames)
    axes = 'yxs' if frames[0].ndim == 3 else 'yx'
    return Pyramid(
        (array,),
        axes if len(frames) == 1 else f't{axes}',
        rgb=frames[0].ndim == 3,
    )


def _of_one_kind(frames: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Convert all frames to colour if an animation has frames in colour.

    Pillow returns colours for all frames of a gray GIF except the first.
    """
    if len({frame.ndim for frame in frames}) == 1:
        return frames
    gray = [f if f.ndim == 2 else _gray_if_equal(f[..., :3]) for f in frames]
    if all(frame.ndim == 2 for frame in gray):
        return gray
    return [f if f.ndim == 3 else np.stack([f] * 3, -1) for f in frames]


def _frames(picture: Any, indices: bool) -> Iterator[NDArray[Any]]:
    for frame in ImageSequence.Iterator(picture):
        yield _pixels(ImageOps.exif_transpose(frame), indices)


def _pixels(frame: Any, indices: bool) -> NDArray[Any]:
    mode = frame.mode
    if mode == 'P':
        if indices:
            return np.array(frame)
        mode = 'RGBA' if 'transparency' in frame.info else 'RGB'
        return _gray_if_equal(np.array(frame.convert(mode)))
    if mode == '1' or mode in GRAY_MODES:
        array = np.array(frame)
        return array.astype(array.dtype.newbyteorder('='), copy=False)
    if mode in WITH_ALPHA:
        return np.array(frame.convert(WITH_ALPHA[mode]))
    # convert other colours: CMYK, YCbCr, LAB, HSV
    return np.array(frame if mode in ('RGB', 'RGBA') else frame.convert('RGB'))


def _gray_if_equal(colours: NDArray[Any]) -> NDArray[Any]:
    """Convert a palette of grays to gray."""
    gray = colours[..., 0]
    if all(np.array_equal(gray, colours[..., i]) for i in (1, 2)):
        return gray
    return colours


def _deep_png(path: Path, picture: Any) -> NDArray[Any] | None:
    """Read a PNG of 16 bits per colour, which Pillow reduces to 8."""
    if picture.format != 'PNG':
        return None
    with path.open('rb') as file:
        header = file.read(26)
    bits, kind = header[24], header[25]
    if bits != 16 or kind not in (2, 4, 6):
        return None
    try:
        from imagecodecs import png_decode
    except ImportError as error:
        raise ImageError(
            f'{path} has 16 bits per colour: to read it, `pip install '
            'imagecodecs`, or save it as a TIFF.'
        ) from error
    pixels: NDArray[Any] = png_decode(path.read_bytes())
    turn = turn_of(int(picture.getexif().get(EXIF_ORIENTATION, 1)))
    if turn is not None:
        pixels = turn(pixels, 0, 1)
    return pixels[..., 0] if kind == 4 else pixels
