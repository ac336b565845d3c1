"""``napari-mobilesam refine`` on label images as the tools write them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import napari_mobilesam as nm
from cli.conftest import Run
from napari_mobilesam.cli.refine_command import plane_of_labels
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.types import SegmentationError

Write = Callable[[Path, np.ndarray], Path]


def rough(discs: np.ndarray) -> np.ndarray:
    """(96, 128) uint16: boxes around the three discs."""
    labels = np.zeros(discs.shape, np.uint16)
    for number, (row, column) in enumerate(((30, 30), (30, 90), (70, 60)), 1):
        labels[row - 14 : row + 14, column - 14 : column + 14] = number
    return labels


def cellpose_tif(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'cells_cp_masks.tif'
    tifffile.imwrite(path, labels.astype(np.uint16), compression='zlib')
    return path


def cellpose_png(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'cells_cp_masks.png'
    Image.fromarray(labels.astype(np.uint16)).save(path)
    return path


def cellpose_seg(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'cells_seg.npy'
    content = {
        'outlines': np.zeros(labels.shape, np.uint16),
        'masks': labels.astype(np.uint16),
        'chan_choose': [0, 0],
        'ismanual': np.zeros(3, bool),
        'filename': str(folder / 'cells.tif'),
        'flows': [np.zeros((2, 2), np.float32), [], np.float32(1.5)],
        'est_diam': 30.0,
    }
    np.save(path, content)
    return path


def stardist(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'stardist.tif'
    tifffile.imwrite(path, labels.astype(np.int32))
    return path


def instanseg(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'instanseg.tif'
    tifffile.imwrite(
        path, labels.astype(np.int32)[None], metadata={'axes': 'CYX'}
    )
    return path


def instanseg_float(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'instanseg.tif'
    tifffile.imwrite(path, labels.astype(np.float32)[None, None])
    return path


def threshold(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'threshold.png'
    Image.fromarray(255 * (labels > 0).astype(np.uint8)).save(path)
    return path


def threshold_bool(folder: Path, labels: np.ndarray) -> Path:
    path = folder / 'threshold.tif'
    tifffile.imwrite(path, labels > 0)
    return path


TOOLS: list[Write] = [
    cellpose_tif,
    cellpose_png,
    cellpose_seg,
    stardist,
    instanseg,
    instanseg_float,
    threshold,
    threshold_bool,
]


@pytest.mark.parametrize(
    'write',
    [
        *TOOLS[:1],
        *(pytest.param(write, marks=pytest.mark.slow) for write in TOOLS[1:]),
    ],
    ids=lambda write: write.__name__,
)
def test_labels_of_each_tool(
    run: Run,
    image_path: Path,
    discs: np.ndarray,
    tmp_path: Path,
    write: Write,
) -> None:
    labels = rough(discs)
    output, changes = tmp_path / 'better.tif', tmp_path / 'changes.csv'
    result = run(
        *('refine', image_path, write(tmp_path, labels), '-o', output),
        *('--table', changes, '--model', 'mobile_sam_cells', '--quiet'),
    )
    assert (result.code, result.err) == (0, '')
    assert result.out == f'{output}: 3 of 3 objects refined\n'
    refined, table = tifffile.imread(output), pd.read_csv(changes)
    assert table['label'].tolist() == [1, 2, 3]
    for number in (1, 2, 3):
        box = labels == number
        disc = (discs > 100) & box
        after = refined == number
        assert overlap(after, disc) > overlap(box, disc) + 0.05


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.slow
def test_two_channels_of_instanseg(
    run: Run, image_path: Path, discs: np.ndarray, tmp_path: Path
) -> None:
    labels = rough(discs)
    path, output = tmp_path / 'both.tif', tmp_path / 'better.tif'
    both = np.stack([np.zeros_like(labels), labels]).astype(np.int32)
    tifffile.imwrite(path, both, metadata={'axes': 'CYX'})
    options = ('-o', output, '--model', 'mobile_sam_cells', '--quiet')
    result = run('refine', image_path, path, *options)
    assert result.code == 2
    assert 'has 2 channels: give the one that holds the labels' in result.err
    result = run('refine', image_path, path, '--channel', 1, *options)
    assert result.code == 0, result.err
    assert tifffile.imread(output).max() == 3


def test_the_file_name_may_be_a_path(tmp_path: Path) -> None:
    path, labels = tmp_path / 'cells_seg.npy', np.eye(5, dtype=np.uint16)
    content = {'filename': tmp_path, 'masks': labels}
    np.save(path, content, allow_pickle=True)
    assert np.array_equal(nm.read_labels(path).labels, labels)


def test_a_foreign_pickle_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / 'ran').touch, ())

    path = tmp_path / 'cells_seg.npy'
    np.save(path, np.array({'masks': Evil()}, dtype=object))
    with pytest.raises(SegmentationError, match='cannot be read: it holds'):
        nm.read_labels(path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'content, message',
    [
        (b'no array', 'cannot be read'),
        (pickle.dumps(1), 'cannot be read'),
    ],
)
def test_a_damaged_npy(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / 'cells_seg.npy'
    path.write_bytes(content)
    with pytest.raises(SegmentationError, match=message):
        nm.read_labels(path)


def test_other_npy_files(tmp_path: Path) -> None:
    np.save(tmp_path / 'plain.npy', np.eye(4, dtype=np.int32)[None])
    assert nm.read_labels(tmp_path / 'plain.npy').shape == (4, 4)
    with (tmp_path / 'plain.npy').open('wb') as file:
        np.lib.format.write_array(file, np.eye(3, dtype=int), version=(2, 0))
    assert nm.read_labels(tmp_path / 'plain.npy').shape == (3, 3)
    np.save(tmp_path / 'other.npy', {'a': 1})
    with pytest.raises(SegmentationError, match='has no masks'):
        nm.read_labels(tmp_path / 'other.npy')


def test_labels_of_another_shape(
    run: Run, image_path: Path, discs: np.ndarray, tmp_path: Path
) -> None:
    path, output = tmp_path / 'small.tif', tmp_path / 'better.tif'
    tifffile.imwrite(path, rough(discs)[::2, ::2])
    result = run(
        *('refine', image_path, path, '-o', output),
        *('--model', 'mobile_sam_cells'),
    )
    assert result.code == 2
    assert '48 × 64 pixels, the image has 96 × 128' in result.err
    assert not output.exists()


def test_outputs_that_exist_are_kept(
    run: Run, image_path: Path, discs: np.ndarray, tmp_path: Path
) -> None:
    path = cellpose_tif(tmp_path, rough(discs))
    result = run('refine', image_path, path, '-o', path)
    assert result.code in (2, 3)
    output = tmp_path / 'better.tif'
    output.write_bytes(b'mine')
    result = run('refine', image_path, path, '-o', output)
    assert result.code == 3
    assert output.read_bytes() == b'mine'


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        ('changes.txt', 'changes.txt must end in .csv'),
        ('x/../better.tif', '--table and --output are the same file'),
    ],
)
def test_a_table_that_cannot_be_written_is_told_at_once(
    table: str, message: str, run: Run, image_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'better.tif'
    result = run(
        *('refine', image_path, tmp_path / 'not_read.tif', '-o', output),
        *('--table', tmp_path / table),
    )
    assert result.code == 2
    assert message in result.err


def test_a_stack_needs_a_plane(
    run: Run, discs: np.ndarray, tmp_path: Path
) -> None:
    image, path = tmp_path / 'stack.tif', tmp_path / 'labels.tif'
    stack = np.stack([np.stack([discs, 0 * discs])] * 2)
    tifffile.imwrite(image, stack, imagej=True, metadata={'axes': 'TCYX'})
    labels = np.stack([0 * rough(discs), rough(discs)])
    tifffile.imwrite(path, labels, metadata={'axes': 'TYX'})
    output = tmp_path / 'better.tif'
    options = ('-o', output, '--model', 'mobile_sam_cells', '--quiet')
    assert run('refine', image, path, *options).code == 2
    # labels have no channels
    result = run('refine', image, path, '--plane', '1,0', *options)
    assert result.code == 0, result.err
    assert tifffile.imread(output).max() == 3
    one = tmp_path / 'one.tif'
    tifffile.imwrite(one, discs)
    result = run('refine', one, path, *options, '--overwrite')
    assert result.code == 2
    assert '2 planes, which does not match the image' in result.err


def test_planes_of_labels_are_found_by_the_names_of_axes() -> None:
    labels = np.arange(4 * 5)[:, None, None].repeat(9, 1).repeat(9, 2)
    given = LabelsWithTable(labels.reshape(4, 5, 9, 9), axes='tzyx')
    chosen = {'z': 1, 't': 3}
    assert (plane_of_labels(given, chosen) == 16).all()
    unnamed = LabelsWithTable(given.labels)
    assert (plane_of_labels(unnamed, {'t': 3, 'z': 1}) == 16).all()
    # axes of one index are not those of another plane
    single = LabelsWithTable(given.labels[:1, :2], axes='tzyx')
    assert (plane_of_labels(single, {'z': 1}) == 1).all()
    assert (
        plane_of_labels(LabelsWithTable(given.labels[0]), {'z': 3}) == 3
    ).all()
    assert plane_of_labels(LabelsWithTable(single.labels[:, :1]), {}).ndim == 2
