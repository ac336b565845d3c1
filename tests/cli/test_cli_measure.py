"""``napari-mobilesam measure``."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_mobilesam import export_labels, measure_objects

from .conftest import Run


@pytest.mark.parametrize('suffix', ['.csv', '.parquet'])
def test_table(
    suffix: str,
    run: Run,
    labels: np.ndarray,
    labels_path: Path,
    tmp_path: Path,
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 20, 30), np.uint8)
    tifffile.imwrite(
        tmp_path / 'image.tif', image, ome=True, metadata={'axes': 'CYX'}
    )
    known = tmp_path / 'known.csv'
    pd.DataFrame({'label': [5], 'class': ['a']}).to_csv(known)
    path = tmp_path / f'table{suffix}'
    done = run(
        'measure', labels_path, '--image', tmp_path / 'image.tif',
        '--table', known, '-o', path,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out == f'{path}: 3 objects\n'
    read = pd.read_csv if suffix == '.csv' else pd.read_parquet
    expected = measure_objects(
        labels,
        np.moveaxis(image, 0, -1),
        scale=(0.5, 0.5),
        units='µm',
        table=pd.read_csv(known),
    )
    pd.testing.assert_frame_equal(read(path), expected, rtol=1e-6)
    assert expected['area µm²'].tolist() == [8, 20, 0.25]
    assert run('measure', labels_path, '-o', path).code == 3
    assert run('measure', labels_path, '-o', path, '--overwrite').code == 0


@pytest.mark.parametrize(
    ('name', 'code', 'message'),
    [
        ('image.zarr', 2, 'image.zarr/zarr.json cannot be opened or written'),
        ('t.csv', 3, 'cannot write'),
    ],
)
def test_files_that_may_not_be_opened(
    run: Run,
    labels_path: Path,
    name: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exists = Path.exists

    # as in a folder whose files may not be looked at
    def forbidden(path: Path) -> bool:
        if name in str(path):
            raise PermissionError(errno.EACCES, 'no permission', str(path))
        return exists(path)

    monkeypatch.setattr(Path, 'exists', forbidden)
    (tmp_path / 'image.zarr').mkdir()
    image = ['--image', tmp_path / 'image.zarr'] if code == 2 else []
    done = run('measure', labels_path, *image, '-o', tmp_path / 't.csv')
    assert done.code == code
    assert message in done.err
    assert 'no permission' in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['none.tif', '-o', 't.csv'], 2, 'no file or folder none.tif'),
        (['{labels}', '-o', 't.txt'], 2, 'must end in'),
        (['{labels}', '-o', 'no/t.csv'], 3, 'cannot write'),
        (['{labels}', '-o', 't.csv', '--image', 'no.tif'], 2, 'no.tif'),
        (['{labels}', '-o', 't.csv', '--image', 'b.tif'], 2, 'same shape'),
        (['{labels}', '-o', 't.csv', '--table', 'no.csv'], 2, 'no.csv'),
        (['{labels}', '-o', 't.csv', '--scale', '1,0'], 2, "'1,0' is not"),
        (['b.tif', '-o', 't.csv', '--units', 'µm'], 2, 'give --scale'),
        (['{labels}', '-o', 't.csv', '--units', 'px'], 2, 'in micrometer, mi'),
        (
            ['{labels}', '-o', 't.csv', '--table', 'text.csv'],
            2,
            "The column “label” of the table holds 'a'",
        ),
        (['{labels}', '-o', 't.csv', '--table', 'half.csv'], 2, 'holds 1.5'),
        (
            ['{labels}', '-o', 't.csv', '--table', 'empty.csv'],
            2,
            'The table empty.csv is empty: not even the names',
        ),
        (
            ['{labels}', '-o', 't.csv', '--table', 'empty.parquet'],
            2,
            'The table empty.parquet is empty',
        ),
        (
            ['{labels}', '-o', 't.csv', '--table', 'torn.parquet'],
            2,
            'torn.parquet is not a Parquet file, or is damaged',
        ),
        (
            ['{labels}', '-o', 't.csv', '--table', 'quoted.csv'],
            2,
            'quoted.csv is not a table',
        ),
        (
            ['{labels}', '-o', 'text.csv', '--table', 'text.csv']
            + ['--overwrite'],
            2,
            'text.csv is an input',
        ),
        (['{labels}', '-o', 't.csv', '--channel', '1'], 2, 'no channel 1'),
        (['huge.zarr', '-o', 't.csv'], 2, '1e+12 pixels'),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    code: int,
    message: str,
    refused: Callable[..., None],
) -> None:
    refused('measure', arguments, code, message)


@pytest.mark.parametrize(
    ('given', 'column', 'area'),
    [
        ((), 'area µm²', 8),
        (('--units', 'nm'), 'area nm²', 8e6),
        (('--units', 'um'), 'area µm²', 8),
        (('--scale', '2,1', '--units', 'micrometer'), 'area µm²', 64),
        # the file is in µm, but these sizes are not of the file
        (('--scale', '2,1'), 'area units²', 64),
    ],
)
def test_sizes_are_in_the_unit_that_is_named(
    given: tuple[str, ...],
    column: str,
    area: float,
    run: Run,
    labels_path: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / 'table.csv'
    assert run('measure', labels_path, '-o', path, *given).code == 0
    assert pd.read_csv(path)[column][0] == pytest.approx(area)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('channels', [0, 3, 4])
def test_alpha_of_a_picture_is_not_measured(
    channels: int, suffix: str, run: Run, labels_path: Path, tmp_path: Path
) -> None:
    shape = (20, 30, channels) if channels else (20, 30)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    image = tmp_path / f'image.{suffix}'
    Image.fromarray(pixels).save(image)
    path = tmp_path / 'table.csv'
    done = run('measure', labels_path, '--image', image, '-o', path)
    assert done.code == 0, done.err
    means = [c for c in pd.read_csv(path) if c.startswith('intensity_mean')]
    assert len(means) == (3 if channels else 1)


@pytest.mark.parametrize('axes', ['zyx', 'tzyx'])
def test_a_volume_of_one_plane_stays_one(
    axes: str, run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    path, flat = tmp_path / 'labels.ome.zarr', tmp_path / 'flat.tif'
    stack = labels.reshape(*(1 for _ in axes[2:]), *labels.shape)
    export_labels(stack, path, axes=axes)
    export_labels(stack, tmp_path / 'image.ome.zarr', axes=axes)
    tifffile.imwrite(flat, labels)
    table = tmp_path / 'table.csv'
    command = ['measure', path, '-o', table, '--overwrite']
    given = ['--scale', '2,0.5,0.5', '--units', 'µm']
    for image in ([], ['--image', tmp_path / 'image.ome.zarr']):
        done = run(*command, *given, '--volumes', *image)
        assert done.code == 0, done.err
        rows = pd.read_csv(table)
        assert rows['area µm³'].tolist() == (rows['area'] / 2).tolist()
    # an image without planes is that of the only one
    done = run(*command, '--image', flat)
    assert done.code == 0, done.err
    assert 'plane' not in pd.read_csv(table)


@pytest.mark.parametrize('white', [255, 1, 3])
def test_a_mask_is_told(run: Run, tmp_path: Path, white: int) -> None:
    mask = np.zeros((2, 40, 40), np.uint8)
    mask[:, 5:12, 5:12] = mask[:, 20:30, 20:30] = white
    path, name = tmp_path / 'mask.tif', f'only one object, with label {white}'
    tifffile.imwrite(path, mask, metadata={'axes': 'TYX'})
    for command, output in (('measure', 'a.csv'), ('track', 'b.csv')):
        done = run(command, path, '-o', tmp_path / output)
        assert done.code == 0, done.err
        assert (name in done.err) == (white == 255)


def test_tracks_need_a_folder_before_they_are_linked(
    run: Run, tmp_path: Path
) -> None:
    labels = np.ones((2, 20, 20), np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', labels, metadata={'axes': 'TYX'})
    outputs = tmp_path / 'a.xml', tmp_path / 'none' / 'a.csv'
    done = run('track', tmp_path / 'a.tif', '-o', *outputs)
    assert 'no folder' in done.err
    assert not outputs[0].exists()


@pytest.fixture
def in_time(labels: np.ndarray, tmp_path: Path) -> tuple[Path, Path]:
    """Labels of 2 times and 3 planes, one more in each, and their image."""
    stack = np.zeros((2, 3, *labels.shape), np.uint16)
    for number, (t, z) in enumerate(np.ndindex(2, 3)):
        stack[t, z] = labels
        stack[t, z, 0, 0] = 10 + number
    paths = tmp_path / 'labels.ome.tif', tmp_path / 'image.ome.tif'
    for path in paths:
        tifffile.imwrite(path, stack, metadata={'axes': 'TZYX'})
    return paths


def test_every_plane_of_every_time_is_measured(
    run: Run, in_time: tuple[Path, Path], tmp_path: Path
) -> None:
    path, image = in_time
    table, known = tmp_path / 'table.csv', tmp_path / 'known.csv'
    rows = {'label': [1, 1], 't': [0, 1], 'plane': [2, 2], 'score': [0.5, 0.9]}
    pd.DataFrame(rows).to_csv(known)
    done = run(
        'measure', path, '--image', image, '-o', table, '--table', known
    )
    assert done.code == 0, done.err
    found = pd.read_csv(table)
    assert len(found) == 6 * 4
    own = found[found['label'] >= 10]
    assert own['t'].tolist() == [0, 0, 0, 1, 1, 1]
    assert own['plane'].tolist() == [0, 1, 2, 0, 1, 2]
    assert (found['intensity_mean'] == found['label']).all()
    scored = found[found['score'].notna()]
    assert scored['score'].tolist() == [0.5, 0.9]
    assert scored['t'].tolist() == [0, 1]
    done = run('measure', path, '-o', table, '--overwrite', '--volumes')
    assert done.code == 0, done.err
    # an object of all planes is one in each time
    assert pd.read_csv(table)['label'].value_counts()[1] == 2


def test_axes_of_the_image_are_those_of_the_labels(
    run: Run, in_time: tuple[Path, Path], labels: np.ndarray, tmp_path: Path
) -> None:
    path, image = in_time
    pixels = tifffile.imread(image)
    # in one of another order, or without names
    other, unnamed = tmp_path / 'zt.ome.tif', tmp_path / 'image.npy'
    tifffile.imwrite(
        other, pixels.swapaxes(0, 1), metadata={'axes': 'ZTYX'}, ome=True
    )
    np.save(unnamed, pixels)
    table = tmp_path / 'table.csv'
    for given in (other, unnamed):
        for plane in ([], ['--plane', '1,2']):
            options = ['-o', table, '--overwrite', *plane]
            done = run('measure', path, '--image', given, *options)
            assert done.code == 0, done.err
            found = pd.read_csv(table)
            assert (found['intensity_mean'] == found['label']).all()
    # `segment --plane` counts along the axes of the file
    flat = tmp_path / 'flat.tif'
    tifffile.imwrite(flat, pixels[0, 2])
    refused = run('measure', flat, '--image', other, '-o', tmp_path / 'a.csv')
    assert '{} x {} planes'.format(*pixels.shape[1::-1]) in refused.err
    options = ['--plane', '2,0', '-o', table, '--overwrite']
    assert run('measure', flat, '--image', other, *options).code == 0
    found = pd.read_csv(table)
    assert (found['intensity_mean'] == found['label']).all()


def test_planes_that_were_written_as_colours_are_measured(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    stack = np.stack([labels] * 3).astype(np.uint8)
    tifffile.imwrite(tmp_path / 'labels.tif', stack)
    tifffile.imwrite(tmp_path / 'image.tif', stack)
    table = tmp_path / 'table.csv'
    done = run(
        'measure', tmp_path / 'labels.tif', '--image', tmp_path / 'image.tif',
        '-o', table,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = pd.read_csv(table)
    assert (found['intensity_mean'] == found['label']).all()


def test_an_image_of_other_time_points_is_refused(
    run: Run, in_time: tuple[Path, Path], tmp_path: Path
) -> None:
    path, image = in_time
    pixels = np.concatenate([tifffile.imread(image)] * 2)
    tifffile.imwrite(image, pixels, metadata={'axes': 'TZYX'})
    failed = run('measure', path, '--image', image, '-o', tmp_path / 'a.csv')
    assert failed.code == 2
    assert f'the image has the shape {pixels.shape}' in failed.err


def test_one_plane_is_measured(
    run: Run, in_time: tuple[Path, Path], labels: np.ndarray, tmp_path: Path
) -> None:
    path, image = in_time
    table = tmp_path / 'table.csv'
    command = ['measure', path, '--image', image, '-o', table, '--overwrite']
    assert run(*command, '--plane', '1,2').code == 0
    found = pd.read_csv(table)
    assert found['label'].tolist() == [1, 5, 6, 15]
    assert (found['intensity_mean'] == found['label']).all()
    assert found[['t', 'plane']].drop_duplicates().values.tolist() == [[1, 2]]
    for plane, said in (('1', '2 axes'), ('1,3', 'index 3'), ('a', 'not I')):
        failed = run(*command, '--plane', plane)
        assert failed.code == 2
        assert said in failed.err
    failed = run(*command, '--plane', '1,2', '--volumes')
    assert 'leave out --plane' in failed.err
    # labels of a single plane lie in that plane of the image
    flat = tmp_path / 'flat.tif'
    tifffile.imwrite(flat, labels)
    command = ['measure', flat, '--image', image, '-o', table, '--overwrite']
    failed = run(*command)
    assert failed.code == 2
    assert 'has 2 x 3 planes' in failed.err
    assert '--plane 0,0' in failed.err
    assert run(*command, '--plane', '1,2').code == 0
    found = pd.read_csv(table)
    assert found['intensity_mean'].tolist() == [1, 5, 6]
    assert 'plane' not in found


def test_a_pixel_size_of_rows_and_columns_is_that_of_planes(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    path, table = tmp_path / 'labels.tif', tmp_path / 'table.csv'
    tifffile.imwrite(path, np.stack([labels] * 5), metadata={'axes': 'ZYX'})
    command = ['measure', path, '-o', table, '--overwrite', '--units', 'µm']
    assert run(*command, '--scale', '0.5,0.5').code == 0
    found = pd.read_csv(table)
    assert (found['area µm²'] == found['area'] / 4).all()
    assert run(*command, '--scale', '0.5,0.5', '--volumes').code == 2
