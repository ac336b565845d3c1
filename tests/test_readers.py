"""A table of files: the right pixels, or a plain refusal."""

from __future__ import annotations

import logging
import pickle
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_mobilesam.cli.exit_codes import InputError
from napari_mobilesam.cli.image_files import read_image
from napari_mobilesam.export.exported import ExportError
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.readers.axes import (
    guessed_axes,
    looks_like_channels_last,
    read_axes,
)
from napari_mobilesam.readers.open_image import (
    is_url,
    open_pyramid,
    read_array,
    unreadable,
)
from napari_mobilesam.readers.tiff import opened_series, tiff_axes
from napari_mobilesam.training.label_pairs import read_pair
from napari_mobilesam.training.labelled_images import TrainingDataError
from napari_mobilesam.types import ImageError

GRAY = np.random.default_rng(0).integers(0, 250, (40, 56), np.uint8)
RGB = np.random.default_rng(1).integers(0, 250, (40, 56, 3), np.uint8)
LABELS = np.zeros((40, 56), np.uint8)
LABELS[4:12, 6:20], LABELS[20:33, 30:44] = 1, 2

Write = Callable[[Path], None]


def picture(pixels: np.ndarray, mode: str, **options: Any) -> Write:
    def write(path: Path) -> None:
        Image.fromarray(pixels).convert(mode).save(path, **options)

    return write


def gray_alpha(path: Path) -> None:
    both = np.dstack([GRAY, np.full_like(GRAY, 9)])
    Image.fromarray(both, 'LA').save(path)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(GRAY)).save(path, exif=exif)


def cmyk(path: Path) -> None:
    inks = 255 - np.dstack([RGB, np.full_like(GRAY, 255)])
    tifffile.imwrite(path, inks, photometric='separated')


def cmyk_jpeg(path: Path) -> None:
    smooth = np.full((40, 56, 3), (200, 90, 30), np.uint8)
    Image.fromarray(smooth).convert('CMYK').save(path, quality=95)


PALETTE = np.random.default_rng(2).integers(0, 65536, (3, 256), np.uint16)


def palette_tiff(path: Path) -> None:
    tifffile.imwrite(path, LABELS, photometric='palette', colormap=PALETTE)


def lookup_table(path: Path) -> None:
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    tifffile.imwrite(path, GRAY, photometric='palette', colormap=table)


def turned_tiff(path: Path) -> None:
    stored = np.rot90(GRAY)
    tifffile.imwrite(path, stored, extratags=[(274, 'H', 1, 6, True)])


def thumbnail_first(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(RGB[:8, :10], photometric='rgb')
        file.write(GRAY)


def tiff(pixels: np.ndarray, **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, **options)


def deep_rgb(path: Path) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 5))


def deep_turned(path: Path) -> None:
    import imagecodecs

    data = imagecodecs.png_encode(np.rot90(RGB).astype('u2', order='C'))
    exif = Image.Exif()
    exif[274] = 6
    known = b'eXIf' + exif.tobytes().removeprefix(b'Exif\0\0')
    chunk = struct.pack('>I', len(known) - 4) + known
    chunk += struct.pack('>I', zlib.crc32(known))
    at = data.index(b'IDAT') - 4
    path.write_bytes(data[:at] + chunk + data[at:])


RIGHT = {
    'gray PNG': ('a.png', picture(GRAY, 'L'), GRAY),
    'capitals': ('a.PNG', picture(GRAY, 'L', format='PNG'), GRAY),
    'gray and alpha PNG': ('a.png', gray_alpha, GRAY),
    'RGB PNG': ('a.png', picture(RGB, 'RGB'), RGB),
    'PNG of 16 bits per colour': ('a.png', deep_rgb, RGB.astype('u2') * 5),
    'orientation of a PNG of 16 bits per colour': (
        'a.png',
        deep_turned,
        RGB.astype('u2'),
    ),
    'TIFF of another suffix': (
        'a.stk',
        tiff(GRAY, photometric='miniswhite'),
        GRAY,
    ),
    'orientation of EXIF': ('a.png', turned, GRAY),
    'orientation of TIFF': ('a.tif', turned_tiff, GRAY),
    'capitals of TIFF': ('a.TIF', tiff(GRAY), GRAY),
    'CMYK TIFF': ('a.tif', cmyk, RGB),
    'gray with a lookup table': ('a.tif', lookup_table, GRAY),
    'palette TIFF': (
        'a.tif',
        palette_tiff,
        (PALETTE.T // 256).astype('u1')[LABELS],
    ),
    'thumbnail first': ('a.tif', thumbnail_first, GRAY),
    'gray and alpha TIFF': (
        'a.tif',
        tiff(
            np.dstack([GRAY, GRAY * 0 + 3]),
            photometric='minisblack',
            planarconfig='contig',
            extrasamples=['unassalpha'],
        ),
        GRAY,
    ),
    'planar RGB': (
        'a.tif',
        tiff(
            np.moveaxis(RGB, -1, 0),
            photometric='rgb',
            planarconfig='separate',
        ),
        RGB,
    ),
    'compressed': ('a.tif', tiff(GRAY, compression='zlib'), GRAY),
    'columns named first': (
        'a.ome.tif',
        tiff(GRAY[None, None], metadata={'axes': 'CZYX'}, ome=True),
        GRAY,
    ),
    '.npy': ('a.npy', lambda path: np.save(path, GRAY), GRAY),
}


@pytest.mark.parametrize(
    ('name', 'write', 'expected'), RIGHT.values(), ids=RIGHT
)
def test_right_pixels(
    name: str, write: Write, expected: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    plane = read_image(path).pixels
    assert plane.dtype == expected.dtype
    assert np.array_equal(plane, expected)
    source = open_source(path)
    whole = source.read(0, 0, (0, 0, *source.shape))
    assert np.array_equal(whole, expected)


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    cmyk_jpeg(tmp_path / 'a.jpg')
    plane = read_image(tmp_path / 'a.jpg').pixels
    assert np.abs(plane.astype(int) - (200, 90, 30)).max() < 12


def ome_with_missing_sibling(path: Path) -> None:
    names = [path.name, 'gone.ome.tif']
    planes = ''.join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/'
        'Schemas/OME/2016-06" UUID="urn:uuid:0"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="56" '
        'SizeY="40" SizeZ="2" SizeC="1" SizeT="1">'
        f'{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, GRAY, description=xml, metadata=None)


def two_images(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(GRAY)
        file.write(GRAY[:30])


def test_pixel_sizes_are_those_of_the_series(tmp_path: Path) -> None:
    path = tmp_path / 'two.ome.tif'
    with tifffile.TiffWriter(path, ome=True) as file:
        for image, size in ((GRAY[:4, :4], 2.0), (GRAY, 0.5)):
            known = {'PhysicalSizeX': size, 'PhysicalSizeY': size}
            file.write(image, metadata=known)
    sizes = [open_pyramid(path, series=n).scale for n in (None, 0, 1)]
    assert sizes == [(0.5, 0.5), (2.0, 2.0), (0.5, 0.5)]


def bad_size(path: Path) -> None:
    tifffile.imwrite(path, GRAY, ome=True, metadata={'PhysicalSizeX': 12345.5})
    data = path.read_bytes()
    assert b'12345.5' in data
    path.write_bytes(data.replace(b'12345.5', b'a pixel'))


def bad_ngff(path: Path) -> None:
    group = zarr.open_group(str(path), mode='w', zarr_format=2)
    group.create_array('0', data=GRAY)
    group.attrs['multiscales'] = [{'axes': ['y', 'x']}]


def no_rows(path: Path) -> None:
    group = zarr.open_group(str(path), mode='w', zarr_format=2)
    group.create_array('0', data=GRAY)
    names = [{'name': name} for name in 'qx']
    group.attrs['multiscales'] = [{'axes': names, 'datasets': [{'path': '0'}]}]


def bare_zarr(path: Path) -> None:
    zarr.save_array(str(path), np.zeros((64, 64, 5), np.uint8))


FIVE = np.zeros((40, 56, 5), np.uint8)


def fits(pixels: np.ndarray) -> bytes:
    """Return a FITS file of 16-bit pixels."""
    header = {
        'SIMPLE': 'T',
        'BITPIX': '16',
        'NAXIS': '2',
        'NAXIS1': str(pixels.shape[1]),
        'NAXIS2': str(pixels.shape[0]),
    }
    cards = [
        f'{key:8}= {value:>20}'.ljust(80) for key, value in header.items()
    ]
    text = ''.join([*cards, 'END'.ljust(80)]).ljust(2880)
    return text.encode() + pixels.tobytes().ljust(2880, b'\0')


REFUSED = {
    'missing sibling': (
        'a.ome.tif',
        ome_with_missing_sibling,
        r'1 of the 2 planes .* missing.*other files',
    ),
    'two images': ('a.tif', two_images, r'holds 2 images \(40 × 56, 30 × 56'),
    'channels last': (
        'a.tif',
        tiff(FIVE, photometric='minisblack', metadata={'axes': 'YXC'}),
        r'5 channels: choose one',
    ),
    'channels last, not named': (
        'a.tif',
        tiff(FIVE, photometric='minisblack'),
        r'--axes yxc',
    ),
    'zarr of channels last, not named': ('a.zarr', bare_zarr, '--axes yxc'),
    'pixel size that is none': (
        'a.ome.tif',
        bad_size,
        r'OME metadata .* PhysicalSizeX="a pixel", which is not a number',
    ),
    'OME-Zarr without data sets': (
        'a.zarr',
        bad_ngff,
        r"OME-Zarr metadata .*'datasets' is missing",
    ),
    'OME-Zarr without rows': ('a.zarr', no_rows, r'names the axes qx'),
    'text': ('a.txt', lambda p: p.write_text('hello'), 'not an image'),
    'damaged PNG': (
        'a.png',
        lambda p: p.write_text('hello'),
        'damaged or not a PNG',
    ),
    'raw file of a camera': (
        'a.dng',
        tiff(GRAY, photometric='cfa'),
        'has CFA colours',
    ),
    'PNG named TIFF': (
        'a.tif',
        lambda p: p.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(99)),
        'is not a TIFF, whatever its name: .* rename it',
    ),
    'five inks': (
        'a.tif',
        tiff(FIVE, photometric='separated'),
        '5 inks instead of cyan',
    ),
    'HDF5': (
        'a.ims',
        lambda p: p.write_bytes(b'\x89HDF\r\n\x1a\n' + bytes(99)),
        'not an image in a supported format',
    ),
    'FITS': (
        'a.fits',
        lambda p: p.write_bytes(fits(np.ones((4, 5), '>i2'))),
        'not an image in a supported format',
    ),
    'missing': ('a.tif', lambda path: None, 'no file or folder'),
}


@pytest.mark.parametrize(
    ('name', 'write', 'words'), REFUSED.values(), ids=REFUSED
)
def test_plain_refusals(
    name: str, write: Write, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises((ImageError, InputError), match=words):
        read_image(path)
    with pytest.raises(ImageError):
        open_source(path)


def test_urls_are_refused_in_words() -> None:
    for url in ('https://example.org/a.tif', 's3://bucket/a.zarr'):
        assert is_url(url)
        with pytest.raises(ImageError, match='is a URL'):
            open_pyramid(Path(url))
    assert not is_url('C:/images/a.tif')
    assert not is_url('/data/a.tif')


def test_named_channels_can_be_chosen(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 99, (64, 64, 5), np.uint8)
    path = tmp_path / 'a.tif'
    tifffile.imwrite(
        path, image, photometric='minisblack', metadata={'axes': 'YXC'}
    )
    assert np.array_equal(read_image(path, (2,)).pixels, image[..., 2])
    source = open_source(path, channels=2)
    assert source.planes == 1
    assert np.array_equal(source.read(0, 0, (0, 0, 64, 64)), image[..., 2])


@pytest.mark.parametrize('names', [('y', 'x', 'c'), ('row', 'column', 'band')])
def test_names_of_a_zarr_array_are_used(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / 'a.zarr'
    zarr.create_array(
        str(path), data=np.zeros((64, 64, 5), 'u1'), dimension_names=names
    )
    assert open_pyramid(path).axes == 'yxc'


def test_zipped_ome_zarr_is_read(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    group = zarr.open_group(str(tmp_path / 'a'), mode='w')
    group.create_array('0', data=pixels)
    scale = {'type': 'scale', 'scale': [0.5, 0.25]}
    group.attrs['ome'] = {
        'version': '0.5',
        'multiscales': [
            {
                'axes': [{'name': 'y'}, {'name': 'x'}],
                'datasets': [
                    {'path': '0', 'coordinateTransformations': [scale]}
                ],
            }
        ],
    }
    zipped = shutil.make_archive(
        str(tmp_path / 'a.ome.zarr'), 'zip', tmp_path / 'a'
    )
    shutil.copy(zipped, tmp_path / 'a.ozx')
    for path in (Path(zipped), tmp_path / 'a.ozx'):
        found = read_image(path)
        assert np.array_equal(found.pixels, pixels)
        assert found.scale == {'y': 0.5, 'x': 0.25}


def test_axes_of_ome_zarr_may_be_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / 'a.zarr'
    group = zarr.create_group(str(path), zarr_format=2)
    group.create_array('0', data=np.zeros((3, 64, 64), 'u1'))
    group.attrs['multiscales'] = [
        {
            'axes': [{'name': name} for name in 'TYX'],
            'datasets': [{'path': '0'}],
        }
    ]
    assert open_pyramid(path).axes == 'tyx'


SAVED_LABELS = {
    'palette PNG': ('l.png', 'palette'),
    'palette TIFF': ('l.tif', palette_tiff),
    'gray saved as RGB': ('l.png', picture(LABELS, 'RGB')),
    'bare': ('l.tif', tiff(LABELS)),
}


@pytest.mark.parametrize(
    ('name', 'write'), SAVED_LABELS.values(), ids=SAVED_LABELS
)
def test_numbers_of_label_images(
    name: str, write: Any, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / 'image.tif', GRAY)
    path = tmp_path / name
    if write == 'palette':
        saved = Image.fromarray(LABELS)
        saved.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [7] * 759)
        saved.save(path)
    else:
        write(path)
    image, labels, _ = read_pair(tmp_path / 'image.tif', path)
    assert np.array_equal(image, GRAY)
    assert np.array_equal(labels, LABELS)


WRONG_LABELS = {
    'colours': ('l.png', picture(RGB, 'RGB'), 'is a colour picture'),
    'mask': (
        'l.png',
        picture((LABELS > 0).astype(np.uint8) * 255, 'L'),
        'mask of 0 and 255, not a label image: its 2 objects',
    ),
    'black and white': (
        'l.tif',
        tiff(LABELS > 0),
        'is a mask of 0 and 1',
    ),
    'JPEG': ('l.jpg', picture(LABELS, 'L'), 'compressed with loss'),
}


@pytest.mark.parametrize(
    ('name', 'write', 'words'), WRONG_LABELS.values(), ids=WRONG_LABELS
)
def test_label_images_that_are_none(
    name: str, write: Write, words: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / 'image.tif', GRAY)
    write(tmp_path / name)
    with pytest.raises(TrainingDataError, match=words):
        read_pair(tmp_path / 'image.tif', tmp_path / name)


@pytest.mark.parametrize('suffix', ['.tif', '.TIF', '.ome.tif'])
@pytest.mark.parametrize('planes', [2, 3, 4, 5])
def test_stacks_of_few_planes_are_no_colours(
    suffix: str, planes: int, tmp_path: Path
) -> None:
    stack = np.stack([GRAY] * planes).astype(np.uint16)
    labels = np.stack([LABELS] * planes).astype(np.uint16)
    for name, pixels in (('image', stack), ('labels', labels)):
        options = {'photometric': 'minisblack'} if '.ome' in suffix else {}
        tifffile.imwrite(tmp_path / f'{name}{suffix}', pixels, **options)
    read = read_pair(tmp_path / f'image{suffix}', tmp_path / f'labels{suffix}')
    assert np.array_equal(read[0], stack)
    assert np.array_equal(read[1], labels)


@pytest.mark.slow
@given(
    shape=st.lists(st.integers(1, 300), min_size=2, max_size=4),
    named=st.booleans(),
    data=st.data(),
)
def test_any_shape_gives_planes_or_a_refusal(
    shape: list[int], named: bool, data: st.DataObject
) -> None:
    names = None
    if named:
        letters = data.draw(st.permutations('tzcyx'))
        names = ''.join(letters[: len(shape)])
    try:
        axes = read_axes(shape, names)
    except ImageError as error:
        assert str(tuple(shape)) in str(error) or 'channels' in str(error)
        return
    rows, columns = axes.plane_shape(shape)
    if names is None:
        assert axes.names == guessed_axes(shape)
    total = rows * columns * axes.planes(shape)
    assert np.prod(shape) % total == 0
    assert np.prod(shape) // total <= 4


DTYPES = ['u1', 'u2', 'u4', 'i2', 'i4', 'f4', 'f8', '>u2', '>f4']


@pytest.mark.slow
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('suffix', ['.tif', '.npy', '.zarr'])
def test_types_stay(dtype: str, suffix: str, tmp_path: Path) -> None:
    values = GRAY.astype(dtype)
    path = tmp_path / f'a{suffix}'
    if suffix == '.tif':
        tifffile.imwrite(
            path,
            values,
            byteorder=values.dtype.byteorder[:1].replace('|', '<'),
        )
    elif suffix == '.npy':
        np.save(path, values)
    else:
        zarr.save_array(str(path), values)
    pixels, _ = read_array(path)
    assert pixels.dtype.newbyteorder('=') == values.dtype.newbyteorder('=')
    assert np.array_equal(pixels, values)


def test_one_of_several_images_can_be_chosen(tmp_path):
    path = tmp_path / 'a.tif'
    two_images(path)
    shapes = [
        open_pyramid(path, series=number).arrays[0].shape for number in (0, 1)
    ]
    assert shapes == [(40, 56), (30, 56)]
    source = open_source(path, series=1)
    again = pickle.loads(pickle.dumps(source))
    assert again.shape == (30, 56)
    assert again.fingerprint() == source.fingerprint()
    assert open_source(path, series=0).fingerprint() != source.fingerprint()
    with pytest.raises(ImageError, match='no image 2: it holds 2'):
        open_pyramid(path, series=2)
    np.save(tmp_path / 'b.npy', np.zeros((9, 9)))
    with pytest.raises(ImageError, match='is not a TIFF'):
        open_pyramid(tmp_path / 'b.npy', series=0)


def test_npy_of_objects(tmp_path):
    path = tmp_path / 'a.npy'
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match='Python objects, not pixels'):
        open_pyramid(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'PK\x03\x04 an .npz under another name', 'not a .npy file'),
        (b'\x80\x04]\x94. a pickle', 'not a .npy file'),
        (b'\x93NU', 'damaged or incomplete'),
    ],
)
def test_other_files_named_npy(content, message, tmp_path):
    path = tmp_path / 'a.npy'
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        open_pyramid(path)


def test_npz_named_npy(tmp_path):
    with (tmp_path / 'a.npy').open('wb') as file:
        np.savez(file, image=GRAY)
    with pytest.raises(ImageError, match='perhaps pickled or an .npz'):
        open_pyramid(tmp_path / 'a.npy')


def test_gray_animations_are_gray(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 20, 30), np.uint8)
    pictures = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / 'a.gif'
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    pyramid = open_pyramid(path)
    assert pyramid.axes == 'tyx'
    assert np.array_equal(pyramid.arrays[0], frames)


@pytest.mark.parametrize('colours', ['YCbCr', 'LAB'])
def test_colours_that_are_not_rgb_are_refused(tmp_path, colours):
    path = tmp_path / 'a.tif'
    Image.new('RGB', (9, 7), (200, 100, 30)).save(tmp_path / 'b.tif')
    Image.new(colours, (9, 7)).save(path)
    with pytest.raises(ImageError, match='save it as RGB'):
        open_pyramid(path)


@pytest.mark.parametrize(
    ('name', 'write', 'message'),
    [
        ('a.ome.tif', ome_with_missing_sibling, '1 of the 2 planes'),
        ('a.tif', two_images, 'save the one that holds the labels separately'),
    ],
)
def test_label_images_are_whole_and_alone(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(ImageError, match=message):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    ('shape', 'looks'),
    [
        ((64, 80, 16), True),
        ((63, 80, 16), False),
        ((99, 99, 17), False),
        ((8, 9, 2), True),
        ((9, 7, 2), False),
        ((9, 9, 1), False),
        ((99, 99, 3), True),
        ((9, 99, 99, 2), False),
    ],
)
def test_few_columns_of_much_larger_planes_look_like_channels(
    shape: tuple[int, ...], looks: bool
) -> None:
    assert looks_like_channels_last(shape) == looks


@pytest.mark.parametrize('name', ['a.npy', 'a.tif', 'a.zarr'])
@pytest.mark.parametrize('count', [3, 5])
@pytest.mark.parametrize('stacked', [False, True])
def test_labels_with_channels_last_are_no_stack_of_planes(
    name: str, count: int, stacked: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    labels = np.stack([LABELS] * count, axis=-1)
    if stacked:
        labels = np.stack([labels, labels])
    if name == 'a.npy':
        np.save(path, labels)
    elif name == 'a.tif':
        tifffile.imwrite(path, labels, photometric='minisblack')
    else:
        zarr.save_array(str(path), labels)
    with pytest.raises(ExportError, match=r'40, 56, .*colours or channels'):
        read_labels(path)


def test_channels_last_beside_an_axis_of_length_one_are_no_columns() -> None:
    with pytest.raises(ImageError, match='has 4 axes'):
        guessed_axes((1, 40, 56, 5))
    assert guessed_axes((1, 40, 56, 50)) == 'tzyx'


def test_channels_are_counted_from_0() -> None:
    assert read_axes((9, 9, 2), 'yxc', channels=0).channels == (0,)
    assert read_axes((9, 9, 2), 'yxc', channels=(1, 0)).channels == (1, 0)
    for channel in (-1, 2):
        with pytest.raises(ImageError, match=f'Channel {channel} was'):
            read_axes((9, 9, 2), 'yxc', channels=channel)
    with pytest.raises(ImageError, match='has 2 channels: choose one of 0 to'):
        read_axes((9, 9, 2), 'yxc')
    assert read_axes((9, 9, 1), 'yxc').channels == (0,)


def test_planes_are_counted_from_0() -> None:
    assert read_axes((3, 9, 9), 'tyx', select={'t': 2}).fixed == ((0, 2),)
    for index in (-1, 3):
        with pytest.raises(ImageError, match='t goes from 0 to 2'):
            read_axes((3, 9, 9), 'tyx', select={'t': index})


@pytest.mark.parametrize('alpha', [False, True])
@pytest.mark.parametrize('orientation', range(9))
def test_every_orientation_of_a_tiff(
    orientation: int, alpha: bool, tmp_path: Path
) -> None:
    """The tag means the same as in the EXIF data of other pictures."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(GRAY).save(tmp_path / 'a.png', exif=exif)
    expected = open_pyramid(tmp_path / 'a.png').arrays[0]
    options: dict[str, Any] = {'photometric': 'minisblack'}
    stored = GRAY
    if alpha:
        stored = np.dstack([GRAY, GRAY * 0 + 9])
        options['extrasamples'] = ['unassalpha']
    tags = [(274, 'H', 1, orientation, True)]
    tifffile.imwrite(tmp_path / 'a.tif', stored, extratags=tags, **options)
    pyramid = open_pyramid(tmp_path / 'a.tif')
    assert not pyramid.rgb
    found = pyramid.arrays[0][...]
    assert np.array_equal(found[..., 0] if alpha else found, expected)


def test_colours_of_jpeg_in_a_tiff(tmp_path: Path) -> None:
    smooth = np.full((64, 64, 3), (200, 90, 30), np.uint8)
    options = {'photometric': 'ycbcr', 'compression': 'jpeg'}
    stored = np.array(Image.fromarray(smooth).convert('YCbCr'))
    tifffile.imwrite(tmp_path / 'a.tif', stored, tile=(16, 16), **options)
    pyramid = open_pyramid(tmp_path / 'a.tif')
    assert pyramid.rgb
    assert pyramid.files == ()
    assert np.abs(pyramid.arrays[0][...] - (200.0, 90, 30)).max() < 9


@pytest.mark.parametrize(
    ('text', 'value'), [('-9999', -9999), (' 0.5 ', 0.5), ('none', None)]
)
def test_missing_pixels_of_gdal(
    text: str, value: float | None, tmp_path: Path
) -> None:
    tags = [(42113, 's', 0, text, True)]
    tifffile.imwrite(tmp_path / 'a.tif', GRAY, extratags=tags)
    assert open_pyramid(tmp_path / 'a.tif').nodata == value


def test_pixels_per_centimetre_are_a_size_and_per_inch_are_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.tif'
    for unit, scale in (('CENTIMETER', (0.25, 0.5)), ('INCH', (1, 1))):
        resolution = {'resolution': (20_000, 40_000), 'resolutionunit': unit}
        tifffile.imwrite(path, GRAY, **resolution)
        pyramid = open_pyramid(path)
        assert pyramid.scale == pytest.approx(scale)
        named = 'micrometer' if unit == 'CENTIMETER' else None
        assert pyramid.units == (named, named)


def test_units_that_ome_leaves_out_are_seconds_and_micrometers(
    tmp_path: Path,
) -> None:
    sizes = {'TimeIncrement': 30.0, 'PhysicalSizeX': 0.5, 'PhysicalSizeY': 2.0}
    path = tmp_path / 'a.ome.tif'
    tifffile.imwrite(
        path, np.stack([GRAY] * 2), ome=True, metadata={'axes': 'TYX', **sizes}
    )
    pyramid = open_pyramid(path)
    assert pyramid.scale == (30, 2, 0.5)
    assert pyramid.units == ('second', 'micrometer', 'micrometer')


def test_letters_that_tifffile_makes_up_are_planes() -> None:
    assert tiff_axes('QYX', (5, 9, 9)) is None
    assert tiff_axes('QZYX', (2, 5, 9, 9)) == 'tzyx'
    assert tiff_axes('RYXS', (5, 9, 9, 3)) == 'zyxs'
    assert tiff_axes('QQYX', (2, 5, 9, 9)) is None
    with pytest.raises(ImageError, match='QRYX .* has too many axes'):
        tiff_axes('QRYX', (2, 5, 9, 9))


@pytest.mark.parametrize(
    ('shape', 'axes'),
    [
        ((1, 5, 9, 9), 'tzyx'),
        ((5, 1, 9, 9), 'ztyx'),
        ((1, 1, 9, 9), 'tzyx'),
        ((1, 1, 5, 9, 9), 'tczyx'),
        ((1, 5, 1, 9, 9), 'tzcyx'),
        ((1, 5, 9, 9, 3), 'tzyxs'),
    ],
)
@pytest.mark.parametrize('name', ['a.tif', 'a.npy'])
def test_unnamed_axes_of_length_one_are_no_choice(
    shape: tuple[int, ...], axes: str, name: str, tmp_path: Path
) -> None:
    stack = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = tmp_path / name
    if name == 'a.tif':
        tifffile.imwrite(path, stack, photometric='minisblack')
    else:
        np.save(path, stack)
    assert guessed_axes(shape) == axes
    source = open_source(path)
    planes = stack.reshape(-1, *(9, 9, 3)[: len(source.shape) + source.rgb])
    last = len(planes) - 1
    np.testing.assert_array_equal(
        source.read(last, 0, (0, 0, 9, 9)), planes[last]
    )
    plane = read_image(path, [last] if last else None).pixels
    np.testing.assert_array_equal(plane, planes[last])


@pytest.mark.parametrize(
    ('shape', 'kept'),
    [
        ((1, 9, 8), (9, 8)),
        ((1, 1, 9, 8), (9, 8)),
        ((1, 5, 9, 8), (5, 9, 8)),
        ((5, 1, 9, 8), (5, 1, 9, 8)),
        ((1, 1, 9, 3), (1, 9, 3)),
        ((), ()),
    ],
)
def test_arrays_are_read_without_leading_axes_of_length_one(
    shape: tuple[int, ...], kept: tuple[int, ...], tmp_path: Path
) -> None:
    np.save(tmp_path / 'a.npy', np.zeros(shape))
    assert read_array(tmp_path / 'a.npy')[0].shape == kept


def test_a_last_axis_of_length_one_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, LABELS[..., np.newaxis])
    for pixels in read_array(path)[0], read_labels(path).labels[0]:
        np.testing.assert_array_equal(pixels, LABELS)


def test_labels_with_too_many_unnamed_axes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, np.zeros((2, 2, 2, 9, 9), np.uint16))
    with pytest.raises(ExportError, match=r'have the shape \(2, 2, 2, 9, 9\)'):
        read_labels(path)


def test_two_unnamed_axes_are_named_by_the_user(tmp_path: Path) -> None:
    stack = np.arange(2 * 5 * 81, dtype=np.uint16).reshape(2, 5, 9, 9)
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, stack)
    with pytest.raises(ImageError, match='has 4 axes.*--axes'):
        read_image(path)
    found = read_image(path, [1, 3], axes='tzyx').pixels
    np.testing.assert_array_equal(found, stack[1, 3])
    labels = read_labels(path)
    assert labels.axes == 'tzyx'
    np.testing.assert_array_equal(labels.labels, stack)


WELLS = [{'path': f'A/{n}'} for n in (1, 2, 3, 4)]
CONTAINERS = {
    'plate': ({'plate': {'wells': WELLS}}, r'plate with 4 wells.*A/3/0 …'),
    'plate of bioformats2raw': (
        {'bioformats2raw.layout': 3, 'plate': {'wells': WELLS}},
        r'plate with 4 wells.*A/3/0 …',
    ),
    'well': ({'well': {'images': WELLS[:3]}}, r'well with 3 .*A/2, \S+A/3\.'),
    'collection': (
        {'bioformats2raw.layout': 3},
        r'2 images\. Give one of them: \S+0, \S+1\.',
    ),
    'labels': ({'labels': ['cells']}, r'group of labels .* Give the image'),
    'empty plate': ({'plate': {}}, r'0 wells\. .*: there is none\.'),
    'other': ({}, r'without an OME-Zarr image\. .*0, \S+1, \S+OME\.'),
}


@pytest.mark.parametrize(
    ('attributes', 'words'), CONTAINERS.values(), ids=CONTAINERS
)
def test_containers_of_images_are_refused_and_listed(
    attributes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    group = zarr.create_group(str(tmp_path / 'a.zarr'), zarr_format=3)
    group.attrs['ome'] = attributes
    for name in ('1', '0', 'OME'):
        group.create_group(name)
    with pytest.raises(ImageError, match=words):
        open_pyramid(tmp_path / 'a.zarr')


def test_what_ome_zarr_tells_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / 'a.zarr'
    group = zarr.create_group(str(path), zarr_format=2)
    group.create_array('0', data=np.zeros((3, 8, 8), 'u1'))
    level = [
        {'type': 'scale', 'scale': [1, 2, 4]},
        {'type': 'translation', 'translation': [0, 1, 3]},
    ]
    image: dict[str, Any] = {
        'axes': ['c', 'y', {'name': 'x', 'unit': 'micrometer'}],
        'datasets': [{'path': '0', 'coordinateTransformations': level}],
        'coordinateTransformations': [{'type': 'scale', 'scale': [1, 3, 5]}],
        'version': '0.4',
    }
    group.attrs['multiscales'] = [image]
    colours = ['FF0000', '00ff00', '0000FF']
    group.attrs['omero'] = {
        'channels': [{'color': c, 'label': c[:2]} for c in colours]
    }
    pyramid = open_pyramid(path)
    assert pyramid.axes == 'cyx'
    assert pyramid.scale == (1, 6, 20)
    assert pyramid.translation == (0, 3, 15)
    assert pyramid.units == (None, None, 'micrometer')
    assert pyramid.rgb
    assert pyramid.channels == ('FF', '00', '00')
    assert pyramid.version == '0.4'
    group.attrs['omero'] = {'channels': [{'color': c} for c in colours[::-1]]}
    assert not open_pyramid(path).rgb


def test_damaged_files_are_told_from_empty_and_locked_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.npy'
    np.save(path, GRAY)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        ImageError, match=r'damaged or incomplete \(.*\)\. Copy'
    ):
        open_pyramid(path)
    path.write_bytes(b'')
    with pytest.raises(ImageError, match='the file is empty'):
        open_pyramid(path)
    locked = PermissionError(13, 'Permission denied.')
    text = unreadable(tmp_path, locked)
    assert text.endswith('cannot be read: [Errno 13] Permission denied.')


@pytest.mark.parametrize(
    ('shape', 'names'),
    [
        ((64, 64, 5), 'yxc'),
        ((5, 64, 64), 'cyx'),
        ((5, 64, 5), 'cyx'),
        ((64, 64, 4), 'yxc'),
        ((2, 64, 64, 3), 'zyxc'),
        ((2, 3, 64, 64), 'zcyx'),
    ],
)
def test_the_axis_of_chosen_channels(
    shape: tuple[int, ...], names: str
) -> None:
    assert guessed_axes(shape, channels=0) == names


def test_axes_without_the_channels_or_planes_asked_for() -> None:
    with pytest.raises(ImageError, match='axes yx and .* has no channels'):
        read_axes((9, 9), channels=0)
    with pytest.raises(ImageError, match='has 5 channels: choose'):
        read_axes((9, 9, 5), 'yxs')
    assert read_axes((3, 9, 9), 'tyx', select={'t': 0}).fixed == ((0, 0),)
    for names, there in (('tcyx', 't'), ('tzyx', 't, z'), ('cyx', 'none')):
        shape = (1, 1, 9, 9)[-len(names) :]
        with pytest.raises(ImageError, match=rf'these axes: {there}\.'):
            read_axes(shape, names, channels=0, select={'c': 0})


def test_a_file_that_another_thread_finds_truncated_is_another_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, GRAY)
    log = logging.getLogger('tifffile').error
    with opened_series(path):
        other = threading.Thread(target=log, args=['a page is missing'])
        other.start()
        other.join()
    with pytest.raises(ImageError, match='truncated'), opened_series(path):
        log('a page is missing')
