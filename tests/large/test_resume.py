from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from napari_mobilesam.large.io import image_identity
from napari_mobilesam.large.io.ome_zarr import LabelWriter
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.journal import JournalError, StorageError
from napari_mobilesam.large.pipeline import records_folder, segment_large
from napari_mobilesam.large.propose import Proposer
from napari_mobilesam.types import ImageError, SegmentationError

from .images import DIAMETER, content, drawn, field_of_discs, small_model

SHAPE = (170, 272)
TESTS = Path(__file__).resolve().parents[1]

# Runs and is killed as soon as so many records are there.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from large.images import DIAMETER, small_model
from napari_mobilesam.large.pipeline import segment_large

told = []

def on_tile(tile):
    told.append(tile)
    if len(told) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

segment_large(
    sys.argv[2], sys.argv[3], small_model, diameter=DIAMETER,
    executor='serial', on_tile=on_tile,
)
"""


@pytest.fixture(scope='module')
def image_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('image') / 'image.npy'
    # The last one is larger than a tile: it is looked for a second time.
    discs = (*field_of_discs((170, 100)), (80, 190, 66))
    np.save(path, drawn(SHAPE, *discs))
    return path


def run(image: Path, output: Path, **options):
    options = {
        'model': small_model,
        'diameter': DIAMETER,
        'executor': 'serial',
        **options,
    }
    return segment_large(image, output, **options)


@pytest.fixture(scope='module')
def uninterrupted(
    image_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Labels of a run that nothing happened to, file by file."""
    output = tmp_path_factory.mktemp('whole') / 'out.ome.zarr'
    result = run(image_path, output)
    assert result.complete
    assert result.labels == output
    assert len(result.table) > 5
    assert not records_folder(output).exists()
    return content(output)


def interrupted(image: Path, output: Path, tiles: int, **options):
    """A run that is cancelled after so many tiles."""
    told = []
    return run(
        image,
        output,
        on_tile=told.append,
        cancelled=lambda: len(told) >= tiles,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    'tiles',
    [
        pytest.param(1, marks=pytest.mark.slow),
        5,
        pytest.param(9, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    image_path, tmp_path, uninterrupted, tiles
):
    output = tmp_path / 'out.ome.zarr'
    arguments = [str(TESTS), str(image_path), str(output), str(tiles)]
    killed = subprocess.run(
        [sys.executable, '-c', KILLED, *arguments], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    records = list(records_folder(output).rglob('*.record'))
    assert len(records) == tiles
    # One more was being written when the power failed.
    records[0].write_bytes(records[0].read_bytes()[:-9])
    (records[0].parent / '.c9.record.17-0f.part').write_bytes(b'torn')
    asked = []
    result = run(image_path, output, on_tile=asked.append)
    assert result.complete
    assert content(output) == uninterrupted
    assert not records_folder(output).exists()


@pytest.mark.slow
def test_a_cancelled_run_keeps_what_it_found_and_goes_on(
    image_path, tmp_path, uninterrupted
):
    output = tmp_path / 'out.ome.zarr'
    part = interrupted(image_path, output, 5)
    assert not part.complete
    assert len(part.table) > 0
    assert content(output) != uninterrupted
    seen = []
    more = interrupted(
        image_path, output, 9, progress=lambda *report: seen.append(report)
    )
    assert not more.complete
    assert len(more.table) >= len(part.table)
    # what was done before is told at once
    assert seen[1][2].startswith('5 of 8 tiles were done before, ')
    assert [done for done, *_ in seen[1:4]] == [5, 6, 7]
    result = run(image_path, output)
    assert result.complete
    assert content(output) == uninterrupted


@pytest.mark.slow
def test_a_run_that_is_cancelled_again_soon_loses_no_object(
    image_path, tmp_path
):
    output = tmp_path / 'out.ome.zarr'
    part = interrupted(image_path, output, 6)
    record = sorted(records_folder(output).rglob('*.record'))[-1]
    less = interrupted(image_path, output, 1)
    assert less.labels == output
    pd.testing.assert_frame_equal(less.table, part.table)
    # one that is damaged, and was not come to, is made when its turn comes
    record.write_bytes(b'torn')
    assert not interrupted(image_path, output, 1).failed


@pytest.mark.slow
def test_records_are_not_made_again(image_path, tmp_path):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 6)
    before = {
        path: path.stat().st_mtime_ns
        for path in records_folder(output).rglob('*.record')
    }
    interrupted(image_path, output, 9)
    for path, time in before.items():
        assert path.stat().st_mtime_ns == time


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'difference'),
    [
        ({'points_per_side': 64}, r'points_per_side was 32 and is 64 now'),
        ({'diameter': 31}, r'diameter was 30 and is 31 now'),
        ({'gamma': 0.5}, r'gamma was 1\.0 and is 0\.5 now'),
    ],
)
def test_other_parameters_are_refused(
    image_path, tmp_path, options, difference
):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 2)
    with pytest.raises(JournalError, match=difference):
        run(image_path, output, **options)


def test_another_image_or_model_is_refused(image_path, tmp_path):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 2)
    other = tmp_path / 'image.npy'
    np.save(other, drawn(SHAPE, (50, 50, 20)))
    with pytest.raises(JournalError, match='image is another one'):
        run(other, output)

    def other_model():
        model = small_model()
        model.key = 'another'
        return model

    with pytest.raises(JournalError, match="model was 'oracle' and is 'ano"):
        run(image_path, output, model=other_model)


def as_npy(folder: Path, values: np.ndarray):
    np.save(folder / 'image.npy', values)
    return folder / 'image.npy'


def as_map(folder: Path, values: np.ndarray):
    return np.load(as_npy(folder, values), mmap_mode='r')


def as_tiff(folder: Path, values: np.ndarray):
    tifffile.imwrite(folder / 'image.tif', values, compression='zlib')
    return folder / 'image.tif'


def as_zarr(folder: Path, values: np.ndarray):
    path = folder / 'image.zarr'
    if path.exists():
        zarr.open_array(str(path), mode='r+')[:] = values
    else:
        zarr.save(str(path), values)
    return path


def as_zarr_array(folder: Path, values: np.ndarray):
    return zarr.open(str(as_zarr(folder, values)), mode='r')


def as_zarr_archive(folder: Path, values: np.ndarray):
    path = folder / 'image.zarr.zip'
    path.unlink(missing_ok=True)
    with zarr.storage.ZipStore(path, mode='w') as store:
        zarr.create_array(store, data=values)
    return zarr.open_array(zarr.storage.ZipStore(path, mode='r'))


def as_dask(folder: Path, values: np.ndarray):
    return da.from_zarr(str(as_zarr(folder, values)))


def as_dask_inline(folder: Path, values: np.ndarray):
    return da.from_array(as_zarr_array(folder, values), inline_array=True)


def as_dask_stack(folder: Path, values: np.ndarray):
    return da.stack(
        [da.from_array(values, chunks=64), as_dask(folder, values)]
    )


def as_array(folder: Path, values: np.ndarray):
    return values


KINDS = [
    as_npy,
    as_map,
    as_tiff,
    as_zarr,
    as_zarr_array,
    as_zarr_archive,
    as_dask,
    as_dask_inline,
    as_dask_stack,
    as_array,
]


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_a_changed_block_is_refused(kind, image_path, tmp_path):
    """Even if it lies where no sample of the pixels is taken."""
    output = tmp_path / 'out.ome.zarr'
    values = np.load(image_path)
    interrupted(kind(tmp_path, values.copy()), output, 2)
    if kind is as_array:
        interrupted(values.copy(), output, 3)
    values[33:83, 40:90] = 255 - values[33:83, 40:90]
    with pytest.raises(JournalError, match='is another one, or was changed'):
        run(kind(tmp_path, values), output)


@pytest.mark.slow
def test_a_dask_array_of_the_same_pixels_goes_on(image_path, tmp_path):
    output = tmp_path / 'out.ome.zarr'
    stored = as_zarr(tmp_path, np.load(image_path))
    for tiles in (2, 3):
        image = da.stack([da.from_zarr(str(stored)), da.zeros(SHAPE, 'u1')])
        interrupted(image, output, tiles)
    assert run(image, output).complete


def test_labels_inside_an_image_are_not_the_image(image_path, tmp_path):
    group = tmp_path / 'group.zarr'
    made = zarr.create_group(str(group))
    made.create_array('0', data=np.load(image_path))
    before = open_source(made['0']).fingerprint()
    made.create_array('labels/mine', data=np.load(image_path))
    assert open_source(made['0']).fingerprint() == before


def test_looking_at_many_files_is_bounded(tmp_path, monkeypatch):
    for number in range(30):
        (tmp_path / f'{number:02}').write_bytes(b'x')
    monkeypatch.setattr(image_identity, 'MOST_FILES', 10)
    before = image_identity.folder_state(tmp_path)
    os.utime(tmp_path / '01', (1, 1))
    assert image_identity.folder_state(tmp_path) == before
    os.utime(tmp_path / '03', (1, 1))
    after = image_identity.folder_state(tmp_path)
    assert after != before
    (tmp_path / '30').touch()
    assert image_identity.folder_state(tmp_path) != after


@pytest.mark.slow
def test_starting_anew_replaces_the_records(
    image_path, tmp_path, uninterrupted
):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 2, gamma=0.5)
    assert run(image_path, output, resume=False).complete
    assert content(output) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize('options', [{'link_iou': 0.5}, {'batch_size': 8}])
def test_what_records_do_not_depend_on_may_change(
    image_path, tmp_path, options
):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 2)
    assert run(image_path, output, **options).complete


def test_labels_of_others_are_not_replaced(image_path, tmp_path):
    output = tmp_path / 'out.ome.zarr'
    assert run(image_path, output).complete
    before = content(output)
    with pytest.raises(SegmentationError, match='exists'):
        run(image_path, output)
    assert content(output) == before


def test_what_is_not_replaced_at_the_end_is_told_before_the_first_tile(
    image_path, tmp_path
):
    output = tmp_path / 'out.ome.zarr'
    interrupted(image_path, output, 1)
    output.rename(tmp_path / 'before.ome.zarr')
    output.mkdir()
    (output / 'mine.txt').touch()
    told = []
    with pytest.raises(ImageError, match='is not replaced'):
        run(image_path, output, on_tile=told.append)
    assert not told


def test_a_missing_package_is_told_before_the_first_tile(
    image_path, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'zarr', None)
    told = []
    with pytest.raises(ImportError, match=r'napari-mobilesam\[large\]'):
        run(image_path, tmp_path / 'out.ome.zarr', on_tile=told.append)
    assert not told


def test_failed_tiles_are_told_and_the_rest_is_done(
    image_path, tmp_path, uninterrupted
):
    output = tmp_path / 'out.ome.zarr'
    broken = small_model()
    encode = broken.encode

    def stumbling(x):
        if broken.encoded == 4:
            raise RuntimeError('no memory on the device')
        return encode(x)

    broken.encode = stumbling
    result = run(image_path, output, model=broken)
    # Stuck at the fifth tile: it and all after it fail, none is forgotten.
    assert not result.complete
    assert len(result.failed) >= 5
    assert all('no memory' in tile.error for tile in result.failed)
    windows = {tile.window for tile in result.failed}
    assert len(windows) == len(result.failed)
    assert len(result.table) > 0
    assert records_folder(output).exists()
    again = run(image_path, output)
    assert again.complete
    assert again.failed == ()
    assert content(output) == uninterrupted


@pytest.mark.slow
def test_a_full_disk_keeps_all_that_was_done(
    image_path, tmp_path, uninterrupted, monkeypatch
):
    output = tmp_path / 'out.ome.zarr'
    write = os.replace
    written = []

    def filling(source, target):
        if len(written) == 5:
            raise OSError(28, 'No space left on device')
        written.append(target)
        write(source, target)

    monkeypatch.setattr(os, 'replace', filling)
    with pytest.raises(StorageError, match='all finished tiles are kept'):
        run(image_path, output)
    monkeypatch.undo()
    records = list(records_folder(output).rglob('*.record'))
    assert len(records) == 4  # and the manifest
    assert run(image_path, output).complete
    assert content(output) == uninterrupted


@pytest.mark.parametrize('step', ['create', 'write_chunk', 'finish'])
def test_labels_that_cannot_be_written_keep_all_tiles(
    tmp_path, monkeypatch, step
):
    output = tmp_path / 'out.ome.zarr'
    image = drawn((60, 60), (30, 30, 12))

    def full(*arguments, **options):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(LabelWriter, step, full)
        told = f'{output} cannot be written.*No space left.*tiles are kept'
        with pytest.raises(StorageError, match=told):
            run(image, output)
    # no tile is looked at again
    monkeypatch.setattr(Proposer, '__call__', full)
    assert run(image, output).complete
    assert list(tmp_path.iterdir()) == [output]


def test_an_error_of_the_progress_function_is_no_full_disk(tmp_path):
    def report(done, total, message):
        if message.startswith('Writing labels'):
            raise ConnectionError('the log is gone')

    image = drawn((60, 60), (30, 30, 12))
    with pytest.raises(ConnectionError, match='^the log is gone$'):
        run(image, tmp_path / 'out.ome.zarr', progress=report)


def test_records_are_beside_the_labels_not_in_an_image(tmp_path):
    assert records_folder(tmp_path / 'a.ome.zarr') == (
        tmp_path / 'a.ome.zarr.records'
    )
    inside = tmp_path / 'image.ome.zarr' / 'labels' / 'cells'
    assert records_folder(inside) == tmp_path / 'image.ome.zarr.cells.records'
