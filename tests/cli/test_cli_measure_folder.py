"""``napari-mobilesam measure`` of a folder of label images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_mobilesam import measure_objects
from napari_mobilesam.series.series_files import RECORDS, file_state

from .conftest import Run

SHAPE = (20, 30)
PIXELS = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)


@pytest.fixture
def folders(labels: np.ndarray, tmp_path: Path) -> tuple[Path, Path]:
    """A gray image, colours and a stack, with their labels."""
    images, found = tmp_path / 'Bilder ä', tmp_path / 'labels'
    images.mkdir()
    found.mkdir()
    stack = np.stack([PIXELS[..., 0]] * 2)
    axes: dict[str, Any] = {'imagej': True, 'metadata': {'axes': 'ZYX'}}
    tifffile.imwrite(
        images / 'gray.tif',
        PIXELS[..., 0],
        imagej=True,
        resolution=(2, 2),
        metadata={'unit': 'um'},
    )
    Image.fromarray(PIXELS).save(images / 'colours.png')
    tifffile.imwrite(images / 'stack.tif', stack, **axes)
    tifffile.imwrite(found / 'gray_labels.tif', labels)
    Image.fromarray(labels).save(found / 'colours_cp_masks.png')
    tifffile.imwrite(found / 'stack.tif', np.stack([labels] * 2), **axes)
    return images, found


def test_one_table_of_all_objects(
    run: Run, folders: tuple[Path, Path], labels: np.ndarray, tmp_path: Path
) -> None:
    images, found = folders
    table = tmp_path / 'cells.csv'
    done = run('measure', found, '--image', images, '-o', table)
    assert done.code == 0, done.err
    assert f'{table}: 12 objects of 3 label images' in done.out
    told = done.out.splitlines()[1]
    assert 'Intensities are in different columns: intensity_mean (2' in told
    assert 'intensity_mean red, intensity_mean green' in told
    rows = pd.read_csv(table, dtype={'plane': 'Int64'})
    first = rows.groupby('image').first()
    assert first['labels'].tolist() == [
        str(found / name)
        for name in ('colours_cp_masks.png', 'gray_labels.tif', 'stack.tif')
    ]
    expected = measure_objects(labels, PIXELS[..., 0])
    gray = rows[rows['image'] == str(images / 'gray.tif')]
    for name in ('label', 'area', 'intensity_mean'):
        np.testing.assert_allclose(gray[name], expected[name])
    # as the image states, but not the labels
    np.testing.assert_allclose(gray['area µm²'], expected['area'] / 4)
    assert gray['plane'].isna().all()
    colours = rows[rows['image'] == str(images / 'colours.png')]
    np.testing.assert_allclose(
        colours['intensity_mean red'], expected['intensity_mean']
    )
    assert colours['intensity_mean'].isna().all()
    stack = rows[rows['image'] == str(images / 'stack.tif')]
    assert stack['plane'].tolist() == [0, 0, 0, 1, 1, 1]


def test_what_cannot_be_measured_is_listed(
    run: Run, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    images, found = folders
    table = tmp_path / 'cells.csv'
    (found / 'gray_labels.tif').write_bytes(b'II*\x00 broken')
    tifffile.imwrite(images / 'new.tif', PIXELS[..., 0])
    tifffile.imwrite(found / 'old_labels.tif', PIXELS[..., 0])
    done = run('measure', found, '--image', images, '-o', table, '--quiet')
    assert done.code == 4
    assert done.out.startswith(f'{table}: 9 objects of 2 label images')
    assert done.err.startswith('3 images failed:')
    for name in ('gray_labels.tif', 'new.tif', 'old_labels.tif'):
        assert name in done.err
    again = run('measure', found, '--image', images, '-o', table)
    assert again.code == 3
    for file in found.iterdir():
        file.write_bytes(b'II*\x00 broken')
    table.unlink()
    assert run('measure', found, '-o', table).code == 2
    assert not table.exists()


def test_labels_beside_their_images(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    folder, table = tmp_path / 'all', tmp_path / 'cells.csv'
    folder.mkdir()
    tifffile.imwrite(folder / 'a.tif', PIXELS[..., 0])
    tifffile.imwrite(folder / 'a_masks.tif', labels)
    tifffile.imwrite(folder / 'a_flows.tif', PIXELS)
    for given in ([], ['--image', folder]):
        done = run('measure', folder, *given, '-o', table, '--overwrite')
        assert done.code == 0, done.err
        assert '3 objects of 1 label image' in done.out


def test_labels_as_cellpose_names_them(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    folder, table = tmp_path / 'all', tmp_path / 'cells.csv'
    folder.mkdir()
    for name in ('a', 'b_img', 'c', 'd_img'):
        tifffile.imwrite(folder / f'{name}.tif', PIXELS[..., 0])
    seg = {'masks': labels, 'filename': 'a.tif'}
    for name in ('a', 'b', 'c', 'd_img'):
        np.save(folder / f'{name}_seg.npy', seg, allow_pickle=True)
    tifffile.imwrite(folder / 'b_masks.tif', labels)
    Image.fromarray(labels).save(folder / 'c_cp_masks.png')
    np.save(folder / 'features.npy', PIXELS)
    # colours of labels, and a picture of outlines
    Image.fromarray(labels % 4).save(folder / 'c_cp_ncolor_masks.png')
    Image.fromarray(PIXELS).save(folder / 'c_outlines.png')
    names = ['a_seg.npy', 'b_masks.tif', 'c_cp_masks.png', 'd_img_seg.npy']
    alone = tmp_path / 'alone'
    shutil.copytree(folder, alone)
    for name in ('a', 'b_img', 'c', 'd_img'):
        (alone / f'{name}.tif').unlink()
    for where, given in (
        (alone, []),
        (alone, ['--image', folder]),
        (folder, []),
        (folder, ['--image', folder]),
    ):
        done = run('measure', where, *given, '-o', table, '--overwrite')
        assert done.code == 0, done.err
        rows = pd.read_csv(table).drop_duplicates('labels')
        assert [Path(path).name for path in rows['labels']] == names
    images = [Path(path).name for path in rows['image']]
    assert images == ['a.tif', 'b_img.tif', 'c.tif', 'd_img.tif']


def test_class_and_score_of_saved_labels(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    path, table = tmp_path / 'a_labels.tif', tmp_path / 'cells.csv'
    tifffile.imwrite(path, labels)
    (tmp_path / RECORDS).mkdir()
    known = tmp_path / RECORDS / 'a_labels.tif.csv'
    pd.DataFrame({'label': [5], 'class': ['x'], 'score': [0.5]}).to_csv(known)
    record = json.dumps({'written': file_state(path)})
    (tmp_path / RECORDS / 'a_labels.tif.json').write_text(record)
    assert run('measure', tmp_path, '-o', table).code == 0
    rows = pd.read_csv(table).set_index('label')
    assert rows['class'].dropna().to_dict() == {5: 'x'}
    # saved beside labels of another program
    path = path.rename(tmp_path / 'a_labels.2.tif')
    assert run('measure', tmp_path, '-o', table, '--overwrite').code == 0
    assert pd.read_csv(table)['class'].notna().sum() == 1
    # they may be other objects now
    tifffile.imwrite(path, labels[::-1], compression='zlib')
    assert run('measure', tmp_path, '-o', table, '--overwrite').code == 0
    assert 'class' not in pd.read_csv(table)


def test_images_of_the_same_name_need_names(
    run: Run, folders: tuple[Path, Path], labels: np.ndarray, tmp_path: Path
) -> None:
    images, found = folders
    table = tmp_path / 'cells.csv'
    Image.fromarray(PIXELS).save(images / 'gray.png')
    command = ['measure', found, '--image', images, '-o', table]
    done = run(*command)
    assert done.code == 2
    assert '--names, for example {name}_{suffix}.tif' in done.err
    for name in ('gray_png', 'gray_tif', 'colours_png', 'stack_tif'):
        tifffile.imwrite(found / f'{name}.tif', labels)
    done = run(*command, '--names', '{name}_{suffix}.tif')
    # the others have no image, and the stack has two planes
    assert done.code == 4
    rows = pd.read_csv(table)
    named = {
        Path(i).name: Path(k).name
        for i, k in zip(rows['image'], rows['labels'], strict=True)
    }
    assert named == {
        'gray.png': 'gray_png.tif',
        'gray.tif': 'gray_tif.tif',
        'colours.png': 'colours_png.tif',
    }


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{labels}', '--names', 'x.tif'], '--names is for a folder'),
        (['{labels}', '--image', '{images}'], 'is a folder: give the image'),
        (['nothing', '--image', '{images}'], 'no file or folder nothing'),
        (['{found}', '--image', '{labels}'], 'is a file: give the folder'),
        (['{found}', '--image', 'none'], 'There is no folder none'),
        (['{found}', '--table', 'a.csv'], '--table is only for one label'),
        (['{found}', '--names', 'x.tif'], '--names needs the folder of the'),
        (['{empty}'], 'has no label image (.tif, .tiff, .png or _seg.npy)'),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str],
    message: str,
    run: Run,
    folders: tuple[Path, Path],
    labels_path: Path,
    tmp_path: Path,
) -> None:
    images, found = folders
    empty = tmp_path / 'empty'
    empty.mkdir()
    places = {
        'images': images, 'found': found, 'labels': labels_path,
        'empty': empty,
    }  # fmt: skip
    given = [argument.format(**places) for argument in arguments]
    done = run('measure', *given, '-o', tmp_path / 'cells.csv')
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / 'cells.csv').exists()


def test_images_are_those_that_a_run_has_noted(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    """Whatever the names, and wherever both were moved together."""
    images, found, table = (tmp_path / n for n in ('i', 'i/l', 'cells.csv'))
    (found / RECORDS).mkdir(parents=True)
    for name in ('a.tif', 'a.png'):
        Image.fromarray(PIXELS).save(images / name)
    for number, made_of in (
        ('002', {'image': '/gone/a.png', 'from': '../a.png'}),
        ('001', {'image': str(images / 'a.tif'), 'from': '../b.tif'}),
    ):
        tifffile.imwrite(found / f'{number}.tif', labels)
        record = json.dumps({'made_of': made_of})
        (found / RECORDS / f'{number}.tif.json').write_text(record)
    command = ['measure', found, '--image', images, '-o', table]
    for given in ([], ['--names', '{number:03}', '--overwrite']):
        done = run(*command, *given)
        assert done.code == 0, done.err
        rows = pd.read_csv(table)
        named = {
            (Path(image).name, Path(path).name)
            for image, path in zip(rows['image'], rows['labels'], strict=True)
        }
        assert named == {('a.png', '002.tif'), ('a.tif', '001.tif')}


def test_an_image_named_as_labels_is_measured_if_it_was_segmented(
    run: Run, labels: np.ndarray, tmp_path: Path
) -> None:
    images, found, table = (tmp_path / n for n in ('i', 'l', 'cells.csv'))
    (found / RECORDS).mkdir(parents=True)
    images.mkdir()
    for name in ('a', 'a_mask', 'a_seg'):
        tifffile.imwrite(images / f'{name}.tif', PIXELS[..., 0])
    for name in ('a', 'a_mask'):
        tifffile.imwrite(found / f'{name}_labels.tif', labels)
        record = json.dumps({'made_of': {'from': f'../i/{name}.tif'}})
        (found / RECORDS / f'{name}_labels.tif.json').write_text(record)
    done = run('measure', found, '--image', images, '-o', table)
    assert done.code == 0, done.err
    assert '6 objects of 2 label images' in done.out
