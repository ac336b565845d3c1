"""``napari-mobilesam export``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_mobilesam import read_labels

from .conftest import Run


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', ['c.zip', 'c.geojson', 'c.json', 'c.ome.zarr']
)
def test_there_and_back(
    name: str, run: Run, labels_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'cells.csv'
    known = {'label': [1, 5, 6], 'class': ['a', 'b', 'a']}
    pd.DataFrame(known).to_csv(table)
    path = tmp_path / name
    done = run('export', labels_path, '-o', path, '--table', table)
    assert done.code == 0, done.err
    assert done.out == f'{path}: 3 objects\n'
    back = tmp_path / 'back.tif'
    assert run('export', path, '-o', back).code == 0
    np.testing.assert_array_equal(
        tifffile.imread(back), tifffile.imread(labels_path)
    )
    again = run('export', labels_path, '-o', path)
    assert again.code in (2, 3)
    assert 'exists' in again.err
    assert run('export', labels_path, '-o', path, '--overwrite').code == 0


def test_a_table_of_a_spreadsheet_with_semicolons(
    run: Run, labels_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'cells.csv'
    table.write_text('label;class\n5;Zelle\n')
    path = tmp_path / 'cells.geojson'
    done = run('export', labels_path, '-o', path, '--table', table)
    assert done.code == 0, done.err
    assert '"Zelle"' in path.read_text('utf-8')


def test_a_truncated_tiff_is_one_sentence(
    run: Run, labels_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'torn.tif'
    path.write_bytes(labels_path.read_bytes()[:200])
    done = run('export', path, '-o', tmp_path / 'cells.zip')
    assert done.code == 2
    assert len(done.err.splitlines()) == 1, done.err


def test_options(run: Run, labels_path: Path, tmp_path: Path) -> None:
    path = tmp_path / 'cells'
    done = run(
        'export', labels_path, '-o', path, '--format', 'geojson',
        '--object-type', 'annotation',
    )  # fmt: skip
    assert done.code == 0, done.err
    features = json.loads(path.read_text('utf-8'))['features']
    assert {f['properties']['objectType'] for f in features} == {'annotation'}
    path = tmp_path / 'c.json'
    run('export', labels_path, '-o', path, '--coco-masks', 'polygons')
    entries = json.loads(path.read_text('utf-8'))['annotations']
    assert all(isinstance(e['segmentation'], list) for e in entries)


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['none.tif', '-o', 'c.zip'], 2, 'no file or folder none.tif'),
        (['{labels}', '-o', 'c.txt'], 2, 'has no known suffix'),
        (['{labels}', '-o', '{labels}'], 2, 'is an input'),
        (['{labels}', '-o', 'no/c.zip'], 3, 'there is no folder no'),
        (['{labels}', '-o', 'c.zip', '--table', 'no.csv'], 2, 'no.csv'),
        (['{labels}', '-o', 'c.json', '--image', 'no.tif'], 2, 'no.tif'),
        (
            ['{labels}', '-o', 'c.zip', '--image', 'b.tif'],
            2,
            '--image has no effect on the format roi, only on geojson, coco',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--coco-masks', 'polygons'],
            2,
            '--coco-masks has no effect on the format roi, only on coco',
        ),
        (
            ['{labels}', '-o', 'c.json', '--object-type', 'cell'],
            2,
            '--object-type has no effect',
        ),
        (['{labels}', '-o', 'c.zip', '--shape', '3'], 2, "'3' is not H,W"),
        (['{labels}', '-o', 'c.zip', '--shape', '3,4'], 2, 'not (3, 4)'),
        (['{labels}', '-o', 'c.zip', '--channel', '4'], 2, 'no channel 4'),
        (['{labels}', '-o', 'c.zip', '--table', 'text.csv'], 2, "holds 'a'"),
        (['{labels}', '-o', 'c.zip', '--table', 'half.csv'], 2, 'holds 1.5'),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'empty.csv'],
            2,
            'The table empty.csv is empty: not even the names',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'empty.parquet'],
            2,
            'The table empty.parquet is empty',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'torn.parquet'],
            2,
            'torn.parquet is not a Parquet file, or is damaged',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'quoted.csv'],
            2,
            'quoted.csv is not a table',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'long.csv'],
            2,
            'long.csv is not a table',
        ),
        (
            ['{labels}', '-o', 'c.zip', '--table', 'latin.csv'],
            2,
            'latin.csv is not text in UTF-8',
        ),
        (
            ['{labels}', '-o', 'text.csv', '--format', 'coco', '--table']
            + ['text.csv', '--overwrite'],
            2,
            'text.csv is an input',
        ),
        (
            ['{labels}', '-o', 'b.tif', '--image', 'b.tif', '--overwrite'],
            2,
            'b.tif is an input',
        ),
        (['{labels}', '-o', 'huge.zarr', '--overwrite'], 2, 'cannot contain'),
        (['deep.geojson', '-o', 'c.tif'], 2, 'is not valid JSON'),
        (['huge.zarr', '-o', 'c.tif'], 2, '1e+12 pixels'),
        (['{labels}', '-o', ''], 2, 'an argument is empty'),
        (['{labels}', '-o', 'c' * 300 + '.zip'], 3, 'File name too long'),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str],
    code: int,
    message: str,
    refused: Callable[..., None],
) -> None:
    refused('export', arguments, code, message)


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, 3, 4, 5])
def test_planes_that_look_like_colours_are_planes(
    run: Run, tmp_path: Path, count: int
) -> None:
    labels = np.zeros((count, 20, 30), np.uint16)
    labels[:, 4:9, 5:12] = np.arange(1, count + 1)[:, None, None]
    tifffile.imwrite(tmp_path / 'p.tif', labels)
    table = tmp_path / 'p.csv'
    assert run('measure', tmp_path / 'p.tif', '-o', table).code == 0
    assert pd.read_csv(table)['label'].tolist() == [*range(1, count + 1)]
    out = tmp_path / 'again.tif'
    assert run('export', tmp_path / 'p.tif', '-o', out).code == 0
    assert np.array_equal(tifffile.imread(out), labels)


def test_a_label_with_two_classes_is_refused(run: Run, tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[4:9, 5:12] = 1
    tifffile.imwrite(tmp_path / 'a.tif', labels)
    table = tmp_path / 'a.csv'
    table.write_text('label,class\n1,cell\n1,debris\n')
    out = tmp_path / 'a.json'
    done = run('export', tmp_path / 'a.tif', '-o', out, '--table', table)
    assert done.code != 0
    assert 'has label 1 twice, with different values' in done.err
    assert not out.exists()


def test_first_labels_of_an_ome_zarr_image(
    run: Run, labels_path: Path, tmp_path: Path
) -> None:
    image = tmp_path / 'image.ome.zarr'
    assert run('export', labels_path, '-o', image).code == 0
    output = image / 'labels' / 'cells'
    done = run('export', labels_path, '-o', output)
    assert done.code == 0, done.err
    found = read_labels(output).labels[:]
    assert np.array_equal(found, read_labels(labels_path).labels)
    lost = tmp_path / 'none' / 'image.ome.zarr' / 'labels' / 'cells'
    assert 'no folder' in run('export', labels_path, '-o', lost).err


def test_labels_that_are_in_an_image_are_named(
    run: Run, labels_path: Path, tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    image = tmp_path / 'image.ome.zarr'
    group = zarr.create_group(str(image), zarr_format=2)
    group.create_array('0', data=tifffile.imread(labels_path))
    step = {'type': 'scale', 'scale': [1, 1]}
    group.attrs['multiscales'] = [
        {
            'version': '0.4',
            'axes': [{'name': name, 'type': 'space'} for name in 'yx'],
            'datasets': [{'path': '0', 'coordinateTransformations': [step]}],
        }
    ]
    labels = image / 'labels' / labels_path.stem
    done = run('export', labels_path, '-o', image)
    assert done.out.startswith(f'{labels}: ')
    again = run('export', labels_path, '-o', image)
    assert again.code == 3
    assert f'{labels} exists' in again.err
    assert '--overwrite' in again.err
    assert run('export', labels_path, '-o', image, '--overwrite').code == 0
