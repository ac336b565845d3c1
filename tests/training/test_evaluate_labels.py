"""Evaluation of label images of any program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imread, imsave

from napari_mobilesam.cli import main
from napari_mobilesam.training.dataset import file_of, read_folder
from napari_mobilesam.training.evaluate_labels import evaluate_labels
from napari_mobilesam.training.labelled_images import TrainingDataError


@pytest.fixture
def found(disc_folder: Path, tmp_path: Path) -> Path:
    """Labels of another program: all, one object less, none."""
    folder = tmp_path / 'found'
    folder.mkdir()
    for seed in range(3):
        labels = imread(disc_folder / f'd{seed}_labels.png')
        if seed == 1:
            labels[labels == labels.max()] = 0
        if seed == 2:
            labels[:] = 0
        tifffile.imwrite(folder / f'd{seed}_image_cp_masks.tif', labels)
        # beside the images, as Cellpose writes them
        image = imread(disc_folder / f'd{seed}_image.png')
        imsave(folder / f'd{seed}_image.png', image, check_contrast=False)
    return folder


def test_labels_of_another_program_are_measured(
    disc_folder: Path, found: Path
) -> None:
    images = read_folder(disc_folder)
    rows = evaluate_labels(found, images).rows
    count = len(images[1].objects)
    assert [row['f1'] for row in rows] == pytest.approx(
        [1, 2 * (count - 1) / (2 * count - 1), 0]
    )
    assert rows[0]['ap50_95'] == 1
    assert rows[1]['ap50'] == pytest.approx((count - 1) / count)


def test_on_the_command_line(
    disc_folder: Path, found: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / 'scores.json'
    arguments = ['evaluate', disc_folder, '--labels', found, '--json', path]
    assert main([*map(str, arguments), '--quiet']) == 0
    assert 'ap50' in capsys.readouterr().out
    assert json.loads(path.read_text())['images'][0]['f1'] == 1


def test_options_of_a_model_and_labels_do_not_go_together(
    disc_folder: Path, found: Path, capsys
) -> None:
    arguments = ['evaluate', disc_folder, '--labels', found]
    more = '--model', 'vit_b', '--clicks', '3', '--no-everything'
    assert main([*map(str, arguments), *more]) == 2
    said = capsys.readouterr().err
    assert '--model, --clicks, --no-everything have no effect with' in said


@pytest.mark.parametrize('folder', ['', 'labels'])
def test_the_truth_is_not_compared_with_itself(
    folder: str, disc_folder: Path, capsys
) -> None:
    arguments = ['evaluate', disc_folder, '--labels', disc_folder / folder]
    assert main([*map(str, arguments), '--quiet']) == 2
    assert 'give a separate folder' in capsys.readouterr().err


def test_what_cannot_be_measured_is_named(
    disc_folder: Path, found: Path
) -> None:
    images = read_folder(disc_folder)
    path = found / 'd1_image_cp_masks.tif'
    labels = tifffile.imread(path)
    tifffile.imwrite(path, labels[:-1])
    with pytest.raises(TrainingDataError, match='d1.*must be the same'):
        evaluate_labels(found, images)
    tifffile.imwrite(path, labels.astype(np.float32) + 0.5)
    with pytest.raises(TrainingDataError, match='labels are whole numbers'):
        evaluate_labels(found, images)
    # as StarDist and others save them
    tifffile.imwrite(path, labels.astype(np.float32))
    assert len(evaluate_labels(found, images).rows) == len(images)
    with pytest.raises(TrainingDataError, match='There is no folder'):
        evaluate_labels(found / 'other', images)
    path.unlink()
    with pytest.raises(TrainingDataError, match='1 of 3 images: data/d1'):
        evaluate_labels(found, images)


def test_planes_of_a_stack_are_found(tmp_path: Path) -> None:
    data = tmp_path / 'stack'
    data.mkdir()
    labels = np.zeros((2, 20, 20), np.uint16)
    labels[0, 2:8, 2:8], labels[1, 10:18, 10:18] = 1, 2
    tifffile.imwrite(data / 's_image.tif', labels.astype(np.uint8) * 90)
    tifffile.imwrite(data / 's_labels.tif', labels)
    found = tmp_path / 'mine'
    found.mkdir()
    tifffile.imwrite(found / 's.tif', labels)
    images = read_folder(data)
    rows = evaluate_labels(found, images).rows
    assert [row['f1'] for row in rows] == [1, 1]
    for fewer in (labels[:1], labels[0]):
        tifffile.imwrite(found / 's.tif', fewer)
        with pytest.raises(TrainingDataError, match='must be the same'):
            evaluate_labels(found, images)


def test_a_stack_of_one_plane_may_lose_its_axis(tmp_path: Path) -> None:
    data, found = tmp_path / 'data', tmp_path / 'mine'
    data.mkdir()
    found.mkdir()
    labels = np.zeros((1, 40, 50), np.uint16)
    labels[0, 5:15, 5:15] = 1
    np.save(data / 's_image.npy', (labels * 100).astype(np.uint8))
    np.save(data / 's_labels.npy', labels)
    for same in (labels, labels[0]):
        np.save(found / 's.npy', same)
        (row,) = evaluate_labels(found, read_folder(data)).rows
        assert (row['name'], row['f1']) == ('data/s', 1)


def test_brackets_in_the_name_of_a_file_are_no_plane(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[3:9, 3:9] = 1
    for name in ('cell[1]', 'cell[2]'):
        for kind in ('_image', '_labels', ''):
            tifffile.imwrite(tmp_path / f'{name}{kind}.tif', labels)
    images = read_folder(tmp_path)
    assert [file_of(image) for image in images] == [i.name for i in images]
    rows = evaluate_labels(tmp_path, images).rows
    assert [row['f1'] for row in rows] == [1, 1]


def test_a_folder_for_each_data_set(disc_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / 'sets'
    (data / 'discs').mkdir(parents=True)
    for path in disc_folder.iterdir():
        (data / 'discs' / path.name).write_bytes(path.read_bytes())
    found = tmp_path / 'mine' / 'discs'
    found.mkdir(parents=True)
    for seed in range(3):
        labels = imread(disc_folder / f'd{seed}_labels.png')
        imsave(found / f'd{seed}.png', labels, check_contrast=False)
    rows = evaluate_labels(tmp_path / 'mine', read_folder(data)).rows
    assert [row['f1'] for row in rows] == [1, 1, 1]


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda labels: labels.astype(np.int32) - 1, 'negative'),
        (lambda labels: 255 * (labels > 0).astype(np.uint8), 'is a mask'),
    ],
)
def test_what_no_label_image_is(
    disc_folder: Path, found: Path, change, said: str
) -> None:
    path = found / 'd0_image_cp_masks.tif'
    tifffile.imwrite(path, change(tifffile.imread(path)))
    with pytest.raises(TrainingDataError, match=said):
        evaluate_labels(found, read_folder(disc_folder))


def test_two_files_of_one_name(disc_folder: Path, found: Path) -> None:
    images = read_folder(disc_folder)
    path = found / 'd0_image_cp_masks.tif'
    labels = tifffile.imread(path)
    preview = path.with_suffix('.JPG')
    imsave(preview, 0 * labels.astype(np.uint8), check_contrast=False)
    assert evaluate_labels(found, images).rows[0]['f1'] == 1
    imsave(path.with_suffix('.png'), labels, check_contrast=False)
    with pytest.raises(TrainingDataError, match='have the same name'):
        evaluate_labels(found, images)
    path.unlink()
    path.with_suffix('.png').unlink()
    with pytest.raises(TrainingDataError, match='compressed with loss'):
        evaluate_labels(found, images)


def test_labels_with_suffixes_of_ome_and_in_capitals(
    disc_folder: Path, found: Path
) -> None:
    images = read_folder(disc_folder)
    path = found / 'd0_image_cp_masks.tif'
    for name in ('d0_image_cp_masks.ome.tif', 'd0_image_cp_masks.TIF'):
        path = path.rename(found / name)
        assert evaluate_labels(found, images).rows[0]['f1'] == 1
