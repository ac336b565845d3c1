"""Reading planes of image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage.io import imsave

from napari_mobilesam.cli.exit_codes import InputError
from napari_mobilesam.cli.image_files import read_image, write_labels

STACK = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)


@pytest.fixture(params=['plain', 'ome', 'imagej'])
def stack_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A (T=2, Z=3) stack in the dialects of TIFF."""
    path = tmp_path / 'stack.tif'
    kinds: dict[str, dict[str, object]] = {
        'plain': {'metadata': {'axes': 'TZYX'}},
        'ome': {'ome': True, 'metadata': {'axes': 'TZYX'}},
        'imagej': {'imagej': True, 'metadata': {'axes': 'TZYX'}},
    }
    tifffile.imwrite(
        path, STACK, photometric='minisblack', **kinds[request.param]
    )
    return path


def test_plane_of_a_stack(stack_path: Path) -> None:
    assert np.array_equal(read_image(stack_path, (1, 2)).pixels, STACK[1, 2])


def test_stack_needs_a_plane(stack_path: Path) -> None:
    with pytest.raises(InputError, match=r'2 x 3 planes .* --plane 0,0'):
        read_image(stack_path)


@pytest.mark.parametrize(
    ('plane', 'message'),
    [
        ((1,), 'has 1 index, but'),
        ((1, 3), 'index 3 of an axis of size 3'),
        ((-1, 0), 'index -1 of an axis of size 2'),
    ],
)
def test_wrong_plane(
    stack_path: Path, plane: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_image(stack_path, plane)


@pytest.mark.parametrize('count', [2, 3, 5])
def test_a_channel_that_is_given_is_read(count: int, tmp_path: Path) -> None:
    pixels = np.arange(10 * 12 * count, dtype=np.uint8).reshape(10, 12, -1)
    path = tmp_path / 'samples.tif'
    tifffile.imwrite(
        path, pixels, photometric='minisblack', planarconfig='contig'
    )
    read = read_image(path, channel=1)
    assert np.array_equal(read.pixels, pixels[..., 1])
    assert read.channel == 1
    # colours are, if none is given, read as colours
    read = read_image(path, channel=0, if_several=True)
    expected = pixels if count == 3 else pixels[..., 0]
    assert np.array_equal(read.pixels, expected)
    with pytest.raises(InputError, match=f'has no channel {count}'):
        read_image(path, channel=count)


def test_single_plane_stack_needs_none(tmp_path: Path) -> None:
    path = tmp_path / 'one.tif'
    tifffile.imwrite(path, STACK[:1, :1], metadata={'axes': 'TZYX'})
    assert np.array_equal(read_image(path).pixels, STACK[0, 0])


@pytest.mark.parametrize('suffix', ['.tif', '.png'])
@pytest.mark.parametrize('channels', [3, 4])
def test_colours_come_last(suffix: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f'colour{suffix}'
    image = np.random.default_rng(0).integers(
        0, 255, (10, 12, channels), dtype=np.uint8
    )
    if suffix == '.tif':
        tifffile.imwrite(path, image, photometric='rgb')
    else:
        imsave(path, image, check_contrast=False)
    assert np.array_equal(read_image(path).pixels, image)


def test_planar_colours_are_moved_last(tmp_path: Path) -> None:
    path = tmp_path / 'planar.tif'
    image = np.random.default_rng(0).integers(
        0, 255, (3, 10, 12), dtype=np.uint8
    )
    tifffile.imwrite(path, image, photometric='rgb', planarconfig='separate')
    assert np.array_equal(read_image(path).pixels, np.moveaxis(image, 0, -1))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32, bool])
def test_dtype_stays(dtype: type, tmp_path: Path) -> None:
    path = tmp_path / 'image.tif'
    image = (np.arange(80).reshape(8, 10) % 2).astype(dtype)
    tifffile.imwrite(path, image)
    read = read_image(path).pixels
    assert read.dtype == image.dtype
    assert np.array_equal(read, image)


def test_jpeg(tmp_path: Path) -> None:
    path = tmp_path / 'image.jpg'
    imsave(path, np.full((16, 20), 90, np.uint8), check_contrast=False)
    assert read_image(path).pixels.shape == (16, 20)


@pytest.mark.parametrize(
    ('highest', 'dtype'), [(65_535, np.uint16), (65_536, np.int32)]
)
def test_labels_keep_their_numbers(
    highest: int, dtype: type, tmp_path: Path
) -> None:
    labels = np.zeros((5, 6), np.int32)
    labels[2, 3] = highest
    path = tmp_path / 'labels.tif'
    write_labels(path, labels)
    read = tifffile.imread(path)
    assert read.dtype == dtype
    assert np.array_equal(read, labels)


def test_axes_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.zarr'
    zarr.create_array(
        path, shape=(2, 3, 9, 9), dtype='u1', dimension_names='zzyx'
    )
    with pytest.raises(InputError, match='names the axes zzyx'):
        read_image(path, (1,))


def test_damaged_pixels_are_to_be_copied_again(run, tmp_path: Path) -> None:
    path = tmp_path / 'odd.tif'
    pixels = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    tifffile.imwrite(path, pixels, compression='zlib', tile=(64, 64))
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[2]
    content = bytearray(path.read_bytes())
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    result = run('segment', path, '-o', tmp_path / 'labels.tif')
    assert result.code == 2
    assert 'odd.tif cannot be read: it may be damaged' in result.err
    assert 'Copy it again.' in result.err


def test_a_stack_that_is_cut_short_is_named(run, tmp_path: Path) -> None:
    path, stack = tmp_path / 'cut.tif', np.zeros((4, 128, 128), np.uint8)
    tifffile.imwrite(
        path, stack, photometric='minisblack', tile=(64, 64), metadata=None
    )
    path.write_bytes(path.read_bytes()[: stack.nbytes // 2])
    result = run('segment', path, '-o', tmp_path / 'labels.ome.zarr')
    assert result.code != 0
    assert 'is truncated' in result.err
    # what tifffile logs is not shown beside it
    assert result.err.count('\n') == 1
