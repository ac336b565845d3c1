"""A table of files: the right pixels, or a plain refusal."""

from __future__ import annotations

import pickle
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
)
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


def palette_tiff(path: Path) -> None:
    table = np.random.default_rng(2).integers(0, 65536, (3, 256))
    tifffile.imwrite(
        path,
        LABELS,
        photometric='palette',
        colormap=table.astype(np.uint16),
    )


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


RIGHT = {
    'gray PNG': ('a.png', picture(GRAY, 'L'), GRAY),
    'capitals': ('a.PNG', picture(GRAY, 'L', format='PNG'), GRAY),
    'gray and alpha PNG': ('a.png', gray_alpha, GRAY),
    'RGB PNG': ('a.png', picture(RGB, 'RGB'), RGB),
    'PNG of 16 bits per colour': ('a.png', deep_rgb, RGB.astype('u2') * 5),
    'orientation of EXIF': ('a.png', turned, GRAY),
    'orientation of TIFF': ('a.tif', turned_tiff, GRAY),
    'capitals of TIFF': ('a.TIF', tiff(GRAY), GRAY),
    'CMYK TIFF': ('a.tif', cmyk, RGB),
    'gray with a lookup table': ('a.tif', lookup_table, GRAY),
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


def bare_zarr(path: Path) -> None:
    zarr.save_array(str(path), np.zeros((64, 64, 5), np.uint8))


FIVE = np.zeros((40, 56, 5), np.uint8)
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
    'text': ('a.txt', lambda p: p.write_text('hello'), 'not an image'),
    'damaged PNG': (
        'a.png',
        lambda p: p.write_text('hello'),
        'damaged or not a PNG',
    ),
    'five inks': (
        'a.tif',
        tiff(FIVE, photometric='separated'),
        '5 inks instead of cyan',
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
        ((99, 99, 3), False),
        ((9, 99, 99, 2), False),
    ],
)
def test_few_columns_of_much_larger_planes_look_like_channels(
    shape: tuple[int, ...], looks: bool
) -> None:
    assert looks_like_channels_last(shape) == looks


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
