"""Images of any size on the command line."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from distributed import LocalCluster
from segmentation.oracle import Oracle

from napari_mobilesam.cli import large_options, segment, segment_large
from napari_mobilesam.cli.exit_codes import ExitCode, InputError
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.stop_on_interrupt import StopOnInterrupt
from napari_mobilesam.large import large_estimate
from napari_mobilesam.large import model_references as models
from napari_mobilesam.large.image_view import ImageView
from napari_mobilesam.large.io.ome_zarr import is_finished, open_labels
from napari_mobilesam.large.io.sources import ArraySource
from napari_mobilesam.large.propose import Proposer
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.types import SegmentationError

from .conftest import Run

DISCS = 48


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows the answer, whatever model is named."""
    oracle = Oracle(128, best=24)
    monkeypatch.setattr(models, '_load', lambda named: oracle)
    speed = Speed(0.01, 0.001, 0.001)
    monkeypatch.setattr(large_estimate, 'measure_speed', lambda model: speed)


@pytest.fixture
def zarr_path(tmp_path: Path, discs: np.ndarray) -> Path:
    """The discs, sixteen times side by side, as a zarr."""
    image = np.tile(discs, (4, 4))
    path = tmp_path / 'big.zarr'
    array = zarr.create_array(
        str(path), shape=image.shape, chunks=(64, 64), dtype=image.dtype
    )
    array[:] = image
    return path


@pytest.fixture
def command(zarr_path: Path) -> list[object]:
    """Segment the zarr on one thread."""
    return ['segment', zarr_path, '--workers', 1, '--diameter', 24]


@pytest.mark.slow
def test_zarr_in_zarr_and_table_out(
    run: Run, command: list[object], tmp_path: Path
) -> None:
    output, table = tmp_path / 'out.ome.zarr', tmp_path / 'objects.csv'
    result = run(*command, '-o', output, '--table', table)
    assert result.code == ExitCode.OK, result.err
    rows = pd.read_csv(table)
    assert f'out.ome.zarr: {DISCS} objects' in result.out
    assert list(rows['label']) == list(range(1, DISCS + 1))
    labels = open_labels(output)[0]
    assert labels.shape == (384, 512)
    assert set(np.unique(labels[:])) - {0} == set(rows['label'])
    assert is_finished(output)
    assert not records_folder(output).exists()
    assert 'big.zarr: 384 × 512' in result.err
    assert 'tiles' in result.err


@pytest.mark.slow
def test_zarr_in_tiff_out(
    run: Run, command: list[object], tmp_path: Path
) -> None:
    run(*command, '-o', tmp_path / 'out.zarr')
    result = run(*command, '-o', tmp_path / 'labels.tif', '--quiet')
    assert result.code == ExitCode.OK
    assert not result.err
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / 'labels.tif'),
        open_labels(tmp_path / 'out.zarr')[0][:],
    )
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['big.zarr', 'labels.tif', 'out.zarr']


@pytest.mark.parametrize(
    ('writer', 'named'),
    [
        ('napari_mobilesam.cli.segment_large.write_result_tiff', 'labels.tif'),
        pytest.param(
            'napari_mobilesam.large.io.tables.write_table',
            'table.csv',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_outputs_that_cannot_be_written_cost_no_tiles(
    writer: str,
    named: str,
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    table = tmp_path / 'table.csv'
    command += ['-o', tmp_path / 'labels.tif', '--table', table]
    with monkeypatch.context() as patch:
        patch.setattr(writer, full)
        result = run(*command)
    assert result.code == ExitCode.OUTPUT
    reason = f'cannot write {tmp_path / named}: No space left on device'
    assert reason in result.err
    assert result.err.count('cannot write') == 1
    # no tile is looked at again
    monkeypatch.setattr(Proposer, '__call__', full)
    assert f'{DISCS} objects' in run(*command, '--resume').out
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['big.zarr', 'labels.tif', 'table.csv']


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(
    run: Run, command: list[object], tmp_path: Path
) -> None:
    run(*command, '-o', tmp_path / 'here.zarr')
    image = command[1]
    # threads of this process: they find the oracle
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
    ) as cluster:
        result = run(
            'segment', image, '-o', tmp_path / 'there.zarr', '--diameter', 24,
            '--scheduler', cluster.scheduler_address,
        )  # fmt: skip
    assert result.code == ExitCode.OK, result.err
    assert f'there.zarr: {DISCS} objects' in result.out
    np.testing.assert_array_equal(
        open_labels(tmp_path / 'there.zarr')[0][:],
        open_labels(tmp_path / 'here.zarr')[0][:],
    )


def test_a_stack_is_linked_or_not(
    run: Run, tmp_path: Path, discs: np.ndarray
) -> None:
    path = tmp_path / 'stack.tif'
    tifffile.imwrite(path, np.stack([discs] * 3), photometric='minisblack')
    common = ['segment', path, '--diameter', 24]
    for output, options, planes in (
        ('linked.zarr', [], [0, 1, 2]),
        ('single.zarr', ['--no-link', '--planes', '1:3'], [0, 1]),
        ('plane.zarr', ['--plane', 2], [0]),
    ):
        result = run(
            *common, '-o', tmp_path / output, *options, '--table',
            tmp_path / f'{output}.csv',
        )  # fmt: skip
        assert result.code == ExitCode.OK, result.err
        table = pd.read_csv(tmp_path / f'{output}.csv')
        assert sorted(table['plane'].unique()) == planes
        shared = table.groupby('label')['plane'].nunique()
        assert (shared == (3 if output == 'linked.zarr' else 1)).all()
        shape = open_labels(tmp_path / output)[0].shape
        assert shape == (len(planes), 96, 128)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (['--plane', '1,2', '--channel', '1'], (1, 1, 2)),
        (['--plane', '1,0,2'], (1, 0, 2)),
        (['--plane', '2', '--select', 't=0', '--channels', '1'], (0, 1, 2)),
        (['--plane', '2', '--axes', 'TCZYX', '--channel', '1'], '1 index'),
        (['--plane', '2,0', '--channel', '1'], 'index 2 of an axis of size 2'),
        (['--channel', '1'], '--select t=0'),
    ],
)
def test_a_plane_of_time_and_depth(
    given: list[str],
    expected: tuple[int, ...] | str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_mobilesam.cli.program import build_parser

    pixels = np.random.default_rng(0).random((2, 2, 3, 20, 30))
    array = zarr.create_array(
        str(tmp_path / 'a.zarr'), data=pixels, dimension_names=[*'tczyx']
    )
    assert array.shape == pixels.shape
    seen: list[Any] = []

    def large(options: Any) -> int:
        seen.append(segment_large.open_image(options))
        return 0

    monkeypatch.setattr(segment, 'segment_large_command', large)
    options = build_parser().parse_args(
        ['segment', str(tmp_path / 'a.zarr'), '-o', 'out.tif', *given]
    )
    if isinstance(expected, str):
        with pytest.raises((InputError, SegmentationError), match=expected):
            options.run(options)
        return
    options.run(options)
    (source,) = seen
    assert source.planes == 1
    read = np.squeeze(source.read(0, 0, (0, 0, 20, 30)))
    np.testing.assert_array_equal(read, pixels[expected])


def refuse(self: object) -> None:
    raise SegmentationError('no such model')


@pytest.mark.slow
def test_existing_labels_are_replaced_only_if_asked(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / 'out.zarr'
    assert run(*command, '-o', output).code == ExitCode.OK
    again = run(*command, '-o', output)
    assert again.code == ExitCode.OUTPUT
    assert '--overwrite replaces it' in again.err
    assert run(*command, '-o', output, '--overwrite').code == ExitCode.OK
    with monkeypatch.context() as patch:
        patch.setattr(models.NamedModel, '__call__', refuse)
        refused = run(*command, '-o', output, '--overwrite')
        assert 'no such model' in refused.err
    assert open_labels(output)[0][:].max() == DISCS
    foreign = tmp_path / 'mine.zarr'
    zarr.create_group(str(foreign)).attrs['multiscales'] = []
    refused = run(*command, '-o', foreign, '--overwrite')
    assert refused.code == ExitCode.USAGE
    assert 'not a label image of this program' in refused.err
    assert zarr.open_group(str(foreign)).attrs['multiscales'] == []


def fail_at(monkeypatch: pytest.MonkeyPatch, row: int, column: int) -> None:
    """Let the tile at a place fail."""
    show = ImageView.rgb

    def rgb(self: ImageView, plane: int, window: Any, shrink: int = 1) -> Any:
        if tuple(window[:2]) == (row, column):
            raise OSError('the disk is worn out')
        return show(self, plane, window, shrink)

    monkeypatch.setattr(ImageView, 'rgb', rgb)


@pytest.mark.slow
def test_failed_tiles_are_listed_and_tried_again(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / 'out.zarr'
    with monkeypatch.context() as patch:
        fail_at(patch, 0, 0)
        result = run(*command, '-o', output)
    assert result.code == ExitCode.PARTIAL
    assert 'failed: plane 0, rows 0 to' in result.err
    assert 'the disk is worn out' in result.err
    assert 'the rest is written' in result.err
    assert records_folder(output).exists()
    assert run(*command, '-o', output).code == ExitCode.OK
    fresh = tmp_path / 'fresh.zarr'
    assert run(*command, '-o', fresh).code == ExitCode.OK
    np.testing.assert_array_equal(
        open_labels(output)[0][:], open_labels(fresh)[0][:]
    )


@pytest.mark.skipif(sys.platform == 'win32', reason='sends no SIGINT')
def test_ctrl_c_keeps_tiles_and_says_how_to_go_on(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / 'out.zarr'
    show = ImageView.rgb
    shown = 0

    def rgb(self: ImageView, *arguments: Any, **options: Any) -> Any:
        nonlocal shown
        shown += 1
        if shown == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return show(self, *arguments, **options)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        # so that only tiles are read
        patch.setattr(large_estimate, 'BLOCKS_READ', 0)
        patch.setattr(ImageView, 'rgb', rgb)
        result = run(*command, '-o', output, '--executor', 'serial')
    assert signal.getsignal(signal.SIGINT) is before
    assert result.code == ExitCode.INTERRUPTED
    assert 'the same command continues' in result.err
    kept = list(records_folder(output).rglob('*.record'))
    assert kept
    other = run(*command, '-o', output, '--min-area', 9)
    assert other.code == ExitCode.USAGE
    assert 'min_area was 0 and is 9 now' in other.err
    resumed = run(*command, '-o', output, '--resume')
    assert resumed.code == ExitCode.OK
    assert f'out.zarr: {DISCS} objects' in resumed.out
    nothing = run(*command, '-o', output, '--resume', '--overwrite')
    assert nothing.code == ExitCode.USAGE
    assert 'no unfinished run' in nothing.err


@pytest.mark.slow
def test_restart_forgets_an_unfinished_run(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / 'out.zarr'
    with monkeypatch.context() as patch:
        fail_at(patch, 0, 0)
        run(*command, '-o', output)
    options = ['-o', output, '--min-area', 9]
    assert run(*command, *options).code == ExitCode.USAGE
    assert run(*command, *options, '--restart').code == ExitCode.OK


def test_labels_inside_the_image(
    run: Run, tmp_path: Path, discs: np.ndarray
) -> None:
    image = tmp_path / 'image.ome.zarr'
    group = zarr.create_group(str(image), zarr_format=2)
    array = group.create_array('0', shape=discs.shape, dtype=discs.dtype)
    array[:] = discs
    scale = {'type': 'scale', 'scale': [2.0, 2.0]}
    axes = [{'name': name, 'type': 'space'} for name in 'yx']
    dataset = {'path': '0', 'coordinateTransformations': [scale]}
    group.attrs['multiscales'] = [
        {'version': '0.4', 'axes': axes, 'datasets': [dataset]}
    ]
    output = image / 'labels' / 'cells'
    result = run('segment', image, '-o', output)
    assert result.code == ExitCode.OK, result.err
    labels = zarr.open_group(str(image / 'labels'), mode='r')
    assert labels.attrs['labels'] == ['cells']
    assert [p.name for p in tmp_path.iterdir()] == ['image.ome.zarr']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['-o', 'out.zarr', '--point', '3,4'], 'at most 64,000,000'),
        (['-o', 'out.png'], 'ends in .tif, .tiff or .zarr'),
        (['-o', 'out.zarr', '--table', 'out.xlsx'], 'must end in .csv'),
        (['-o', 'out.zarr', '--planes', '3'], 'is not A:B'),
        (['-o', 'out.zarr', '--planes', '0:3'], 'the image has 1'),
        (['-o', 'out.zarr', '--plane', '0', '--planes', '0:1'], 'not both'),
        (['-o', 'out.zarr', '--plane', '0,1'], 'has 2 indices'),
        (['-o', 'out.zarr', '--channels', 'red'], 'is not C or'),
        (['-o', 'out.zarr', '--channels', '0'], 'no channels'),
        (['-o', 'out.zarr', '--select', 't'], 'is not AXIS=I'),
        (['-o', 'out.zarr', '--select', 't=0'], 'only be chosen along'),
        (['-o', 'out.zarr', '--axes', 'zyx'], 'do not fit'),
        (['-o', 'out.zarr', '--workers', '0'], 'number, 1 or more'),
        (['-o', 'out.zarr', '--scheduler', 'tcp://x:1'], 'own workers'),
        (['-o', 'out.zarr', '--resume'], 'no unfinished run'),
        (['-o', 'out.zarr', '--crop-layers', '1'], 'give one of them'),
    ],
)
def test_bad_usage(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command, *options)
    assert result.code == ExitCode.USAGE
    assert message in result.err
    assert not (tmp_path / 'out.zarr').exists()


def test_the_input_is_not_replaced(
    run: Run, command: list[object], zarr_path: Path
) -> None:
    result = run(*command, '-o', zarr_path, '--overwrite')
    assert result.code == ExitCode.USAGE
    assert 'is an input' in result.err


def test_large_tiffs_are_tiled_and_small_ones_not(
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ['segment', image_path, '--model', tiny_model]
    command += ['--points-per-side', 2, '--whole-image']
    small = run(*command, '-o', tmp_path / 'small.tif')
    assert small.code == ExitCode.OK
    assert 'tile' not in small.err
    monkeypatch.setattr(large_options, 'LARGE_PIXELS', 96 * 128 - 1)
    large = run(*command[:4], '-o', tmp_path / 'large.tif')
    assert large.code == ExitCode.OK
    assert 'tile' in large.err
    assert tifffile.imread(tmp_path / 'large.tif').shape == (96, 128)


def test_the_thumbnail_of_a_slide_does_not_tell_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_options, 'LARGE_PIXELS', 1000)
    with tifffile.TiffWriter(tmp_path / 'slide.tif') as file:
        for side in (20, 200):
            file.write(np.zeros((side, side), np.uint8))
    options = argparse.Namespace(
        image=tmp_path / 'slide.tif',
        output=tmp_path / 'labels.tif',
        series=None,
        **dict.fromkeys(large_options.ONLY_LARGE),
    )
    assert large_options.wants_tiles(options)
    options.series = 0
    assert not large_options.wants_tiles(options)


def test_without_zarr_the_extra_is_named(
    run: Run,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'zarr', None)
    result = run(*command, '-o', tmp_path / 'out.zarr')
    assert result.code == ExitCode.USAGE
    assert 'pip install "napari-mobilesam[large]"' in result.err


@pytest.mark.slow
def test_a_table_that_exists_is_kept(
    run: Run, command: list[object], tmp_path: Path
) -> None:
    table = tmp_path / 'mine.csv'
    table.write_text('mine')
    output = tmp_path / 'out.zarr'
    result = run(*command, '-o', output, '--table', table)
    assert result.code == ExitCode.OUTPUT
    assert f'{table} exists; --overwrite replaces it' in result.err
    assert table.read_text() == 'mine'
    assert not output.exists()
    result = run(*command, '-o', output, '--table', table, '--overwrite')
    assert result.code == ExitCode.OK
    assert len(pd.read_csv(table)) > 0


@pytest.fixture
def ctrl_c() -> Iterator[Any]:
    """Handler of Ctrl-C, which background jobs of a shell do not have."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, former)


def test_ctrl_c_before_the_first_tile_is_not_held_up(ctrl_c: Any) -> None:
    before = ctrl_c
    with StopOnInterrupt(ProgressLine(quiet=True), 'tiles') as stop:
        # nothing is done that could be kept
        assert signal.getsignal(signal.SIGINT) is before
        stop.keep_work()
        signal.raise_signal(signal.SIGINT)
        assert stop.stopped.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize('more', [[], ['--diameter', '30']])
def test_an_image_without_end_is_refused_at_once(
    more: list[str], run: Run, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / 'huge.zarr'
    zarr.create_array(
        path, shape=(10**9, 10**9), chunks=(4096, 4096), dtype=np.uint8
    )

    def read(*_: object) -> None:
        raise AssertionError('read before it is refused')

    monkeypatch.setattr(ArraySource, 'read', read)
    result = run('segment', path, '-o', tmp_path / 'out.zarr', *more)
    assert result.code == ExitCode.USAGE
    assert 'give a part of it' in result.err
    assert [p.name for p in tmp_path.iterdir()] == ['huge.zarr']
