"""Every kind of image reads the same, window by window."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.large.io.sources import ArraySource, open_source
from napari_mobilesam.readers.pyramid import downsampling
from napari_mobilesam.types import ImageError

STACK = np.random.default_rng(0).integers(0, 255, (3, 130, 170), np.uint8)
RGB = np.moveaxis(STACK, 0, -1)
WINDOW = (10, 20, 90, 121)


def npy(folder: Path) -> Path:
    np.save(folder / 'stack.npy', STACK)
    return folder / 'stack.npy'


def memory_map(folder: Path) -> np.ndarray:
    return np.load(npy(folder), mmap_mode='r')


def pages(folder: Path) -> Path:
    path = folder / 'pages.tif'
    tifffile.imwrite(path, STACK, photometric='minisblack')
    return path


def big_endian_bigtiff(folder: Path) -> Path:
    path = folder / 'big.tif'
    tifffile.imwrite(
        path,
        STACK.astype('>u2'),
        photometric='minisblack',
        byteorder='>',
        bigtiff=True,
    )
    return path


def compressed(folder: Path) -> Path:
    path = folder / 'compressed.ome.tif'
    tifffile.imwrite(path, STACK, metadata={'axes': 'ZYX'}, compression='zlib')
    return path


def tiled(folder: Path) -> Path:
    path = folder / 'tiled.tif'
    tifffile.imwrite(
        path, STACK, photometric='minisblack', tile=(64, 64), metadata=None
    )
    return path


def zarr_array(folder: Path, version: int, values: np.ndarray) -> Any:
    array = zarr.create_array(
        str(folder / f'{version}.zarr'),
        shape=values.shape,
        chunks=(*(1 for _ in values.shape[:-2]), 64, 64),
        dtype=values.dtype,
        zarr_format=version,
    )
    array[:] = values
    return array


def zarr_path(version: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        zarr_array(folder, version, STACK)
        return folder / f'{version}.zarr'

    return write


STACKS: dict[str, Callable[[Path], Any]] = {
    'array': lambda folder: STACK,
    'npy': npy,
    'memory map': memory_map,
    'pages': pages,
    'big endian BigTIFF': big_endian_bigtiff,
    'compressed OME-TIFF': compressed,
    'tiled TIFF': tiled,
    'zarr 2': zarr_path(2),
    'zarr 3': zarr_path(3),
    'zarr array': lambda folder: zarr_array(folder, 3, STACK),
    'dask': lambda folder: da.from_array(STACK, chunks=64),
}


@pytest.mark.parametrize('make', STACKS.values(), ids=STACKS)
def test_a_stack_reads_the_same_from_anywhere(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    source = open_source(make(tmp_path))
    assert source.shape == (130, 170)
    assert source.planes == 3
    assert source.dtype.isnative
    assert not source.rgb
    row0, column0, row1, column1 = WINDOW
    again = pickle.loads(pickle.dumps(source))
    for plane in range(3):
        expected = STACK[plane, row0:row1, column0:column1]
        np.testing.assert_array_equal(source.read(plane, 0, WINDOW), expected)
        np.testing.assert_array_equal(again.read(plane, 0, WINDOW), expected)
    assert again.fingerprint() == source.fingerprint()


@pytest.mark.parametrize('kind', ['zarr 2', 'zarr 3', 'zarr array'])
def test_a_zarr_that_goes_away_is_not_read_as_fill_values(
    kind: str, tmp_path: Path
) -> None:
    source = open_source(STACKS[kind](tmp_path))
    (folder,) = tmp_path.glob('*.zarr')
    folder.rename(tmp_path / 'elsewhere')
    with pytest.raises(ImageError, match='there is no .* any more'):
        source.read(0, 0, WINDOW)


@pytest.mark.slow
@pytest.mark.parametrize(
    'make',
    [make for name, make in STACKS.items() if name not in ('array', 'dask')],
)
def test_files_travel_as_references(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    source = open_source(make(tmp_path))
    assert isinstance(source, ArraySource)
    assert not source.in_memory
    assert len(pickle.dumps(source)) < 4000 < STACK.nbytes


def test_arrays_in_memory_say_so() -> None:
    source = open_source(STACK)
    assert isinstance(source, ArraySource)
    assert source.in_memory


def test_views_of_a_memory_map_travel_as_views(tmp_path: Path) -> None:
    view = memory_map(tmp_path)[1:, ::2, ::-1]
    source = pickle.loads(pickle.dumps(open_source(view)))
    np.testing.assert_array_equal(
        source.read(1, 0, (0, 0, 65, 170)), STACK[2, ::2, ::-1]
    )


@pytest.mark.parametrize('planar', [False, True])
def test_rgb_tiff(tmp_path: Path, planar: bool) -> None:
    path = tmp_path / 'rgb.tif'
    tifffile.imwrite(
        path,
        STACK if planar else RGB,
        photometric='rgb',
        planarconfig='separate' if planar else 'contig',
    )
    source = open_source(path)
    assert source.rgb
    assert source.planes == 1
    np.testing.assert_array_equal(
        source.read(0, 0, (5, 6, 70, 80)), RGB[5:70, 6:80]
    )


def test_alpha_is_not_read() -> None:
    rgba = np.dstack([RGB, RGB[..., 0]])
    block = open_source(rgba).read(0, 0, (0, 0, 9, 9))
    np.testing.assert_array_equal(block, RGB[:9, :9])


@pytest.mark.parametrize(
    ('channels', 'expected'),
    [(1, RGB[..., 1]), ((2, 0), RGB[..., [2, 0]]), ((0, 1, 2), RGB)],
)
@pytest.mark.parametrize('last', [False, True])
def test_chosen_channels(
    channels: Any, expected: np.ndarray, last: bool
) -> None:
    source = open_source(RGB if last else STACK, channels=channels)
    assert not source.rgb
    assert source.planes == 1
    block = source.read(0, 0, (1, 2, 60, 50))
    np.testing.assert_array_equal(block, expected[1:60, 2:50])


def test_pyramidal_tiff(tmp_path: Path) -> None:
    path = tmp_path / 'pyramid.tif'
    image = STACK[0]
    options: dict[str, Any] = {'tile': (64, 64), 'compression': 'zlib'}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(image, subifds=2, **options)
        writer.write(image[::2, ::2], subfiletype=1, **options)
        writer.write(image[::4, ::4], subfiletype=1, **options)
    source = open_source(path)
    factors = [level.factor for level in source.levels]
    assert factors == [(1, 1), (2, 2), (4, 4)]
    block = source.read(0, 2, (3, 4, 30, 40))
    np.testing.assert_array_equal(block, image[::4, ::4][3:30, 4:40])


def ome_tiff(path: Path) -> None:
    sizes = {
        f'PhysicalSize{axis}': size
        for axis, size in zip('XYZ', (0.25, 0.5, 2), strict=True)
    }
    units = {f'PhysicalSize{axis}Unit': 'µm' for axis in 'XYZ'}
    tifffile.imwrite(path, STACK, metadata={'axes': 'ZYX', **sizes, **units})


def imagej_tiff(path: Path) -> None:
    tifffile.imwrite(
        path,
        STACK,
        imagej=True,
        resolution=(4, 2),
        metadata={'axes': 'ZYX', 'spacing': 2.0, 'unit': 'um'},
    )


@pytest.mark.parametrize(
    ('write', 'name'), [(ome_tiff, 'x.ome.tif'), (imagej_tiff, 'x.tif')]
)
def test_pixel_sizes_of_a_tiff(
    tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    write(tmp_path / name)
    source = open_source(tmp_path / name)
    assert isinstance(source, ArraySource)
    assert source.geometry.scale == (2, 0.5, 0.25)
    assert source.geometry.units == ('micrometer',) * 3


def test_list_of_arrays_is_a_pyramid() -> None:
    source = open_source([STACK, STACK[:, ::2, ::2]])
    assert source.levels[1].shape == (65, 85)
    block = source.read(2, 1, (0, 0, 9, 9))
    np.testing.assert_array_equal(block, STACK[2, :18:2, :18:2])


def test_levels_of_fewer_planes_are_not_used() -> None:
    source = open_source([STACK, STACK[:2, ::2, ::2]])
    assert len(source.levels) == 1


def test_list_of_planes_is_refused() -> None:
    with pytest.raises(ImageError, match='Stack planes'):
        open_source(list(STACK))


def test_planes_and_selected_times() -> None:
    series = np.stack([STACK, STACK + 1])
    source = open_source(series, axes='tzyx', select={'t': 1}, planes=(1, 3))
    assert source.planes == 2
    np.testing.assert_array_equal(
        source.read(0, 0, (0, 0, 20, 20)), STACK[1, :20, :20] + 1
    )
    assert isinstance(source, ArraySource)
    assert source.geometry.axes == 'tzyx'
    assert source.geometry.planes_shape == (1, 2)
    assert source.geometry.translation == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ('image', 'options', 'message'),
    [
        (np.zeros((0, 5)), {}, r'empty: its shape is \(0, 5\)'),
        (np.zeros(5), {}, 'has 1 axis'),
        (np.zeros((2, 2, 9, 9)), {}, 'name the axes'),
        (np.zeros((2, 3, 9, 9)), {'axes': 'tzyx'}, 'has t and z'),
        (np.zeros((9, 9), complex), {}, 'complex128'),
        (np.zeros((9, 9)), {'channels': 0}, 'no channels'),
        (
            np.zeros((2, 9, 9)),
            {'axes': 'cyx'},
            'has 2 channels: choose one of',
        ),
        (np.zeros((2, 9, 9)), {'channels': 2}, 'Channel 2 was chosen'),
        (np.zeros((5, 9, 9)), {'channels': (0, 1, 2, 3)}, '4 channels'),
        (np.zeros((2, 9, 9)), {'axes': 'qyx'}, 'q is not one of'),
        (np.zeros((2, 9, 9)), {'axes': 'yx'}, 'it has 3 axes'),
        (np.zeros((2, 9, 9)), {'axes': 'tzx'}, r'rows \(y\)'),
        (np.zeros((2, 9, 9)), {'axes': 'zyy'}, 'each may occur once'),
        (np.zeros((2, 9, 9)), {'select': {'t': 0}}, 'only be chosen along'),
        (np.zeros((2, 9, 9)), {'select': {'z': 2}}, 'z goes from 0 to 1'),
        (np.zeros((2, 9, 9)), {'planes': (1, 3)}, 'choose within 0 to 2'),
        ([], {}, 'no level'),
    ],
)
def test_images_that_cannot_be_read_plane_by_plane(
    image: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        open_source(image, **options)


@pytest.mark.parametrize(
    ('plane', 'window'),
    [
        (3, (0, 0, 5, 5)),
        (-1, (0, 0, 5, 5)),
        (0, (0, 0, 131, 5)),
        (0, (5, 5, 5, 9)),
        (0, (-1, 0, 5, 5)),
    ],
)
def test_windows_that_are_not_there(plane: int, window: Any) -> None:
    with pytest.raises(ImageError, match='not within'):
        open_source(STACK).read(plane, 0, window)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match='no file or folder'):
        open_source(tmp_path / 'none.zarr')
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(ImageError, match='is not an image in a supp'):
        open_source(tmp_path / 'notes.txt')
    (tmp_path / 'broken.tif').write_bytes(b'II*\0nonsense')
    with pytest.raises(ImageError, match='contains no image'):
        open_source(tmp_path / 'broken.tif')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ImageError, match='is a folder but not a zarr'):
        open_source(tmp_path / 'folder')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='there are no pipes')
@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe.tif')
    with pytest.raises(ImageError, match='is a pipe or a device'):
        open_source(tmp_path / 'pipe.tif')


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    path = zarr_path(2)(tmp_path)
    (path / '1.0.0').write_bytes(b'no chunk')
    source = open_source(path)
    source.read(0, 0, WINDOW)
    with pytest.raises(ImageError, match=r'plane 1, level 0, rows 10 to 90'):
        source.read(1, 0, WINDOW)


def test_a_file_cut_short_is_an_image_error(tmp_path: Path) -> None:
    path = tiled(tmp_path)
    path.write_bytes(path.read_bytes()[: STACK.nbytes // 2])
    with pytest.raises(ImageError, match='truncated'):
        open_source(path)


def test_changed_images_have_another_fingerprint(tmp_path: Path) -> None:
    before = open_source(STACK).fingerprint()
    changed = STACK.copy()
    changed[1, 0, 0] += 1
    assert open_source(changed).fingerprint() != before
    assert open_source(STACK.astype(np.uint16)).fingerprint() != before
    assert open_source(STACK, planes=(0, 2)).fingerprint() != before
    assert open_source(STACK.copy()).fingerprint() == before
    path = npy(tmp_path)
    on_disk = open_source(path).fingerprint()
    np.save(path, changed)
    assert open_source(path).fingerprint() != on_disk


def test_fingerprint_reads_a_sample_only() -> None:
    read = 0

    def block(block_info: Any = None) -> np.ndarray:
        nonlocal read
        read += 1
        return np.zeros((1000, 1000), np.uint8)

    image = da.map_blocks(
        block, chunks=((1000,) * 50, (1000,) * 50), dtype=np.uint8
    )
    read = 0  # dask calls it once to learn what it returns
    open_source(image).fingerprint()
    assert 9 <= read <= 16  # blocks may lie across chunks


@given(size=st.integers(9, 5000), factor=st.integers(1, 16))
def test_downsampling_is_whole_however_sizes_were_rounded(
    size: int, factor: int
) -> None:
    side = 64 * size
    for shape in (side // factor, -(-side // factor)):
        assert downsampling((side, side), (shape, shape)) == (factor, factor)


@pytest.mark.slow
def test_without_zarr_a_message_names_the_extra(tmp_path: Path) -> None:
    path = zarr_path(3)(tmp_path)
    code = (
        'import sys; sys.modules["zarr"] = None\n'
        'from napari_mobilesam.large.io.sources import open_source\n'
        f'open_source({str(path)!r})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert 'pip install "napari-mobilesam[large]"' in done.stderr
