"""One run at a time writes to an output."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_mobilesam import run_lock as run_locks
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.large.run_folder import check_place, records_folder
from napari_mobilesam.run_lock import OutputInUseError, run_lock

from .images import DIAMETER, content, drawn, field_of_discs, small_model

HOLD = """
import sys
from pathlib import Path
from napari_mobilesam.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.read()
"""


TESTS = Path(__file__).resolve().parents[1]

# Runs once for each output that is written to its stdin; two of these get
# the same lines. The guard is for workers that are spawned.
RUNS = """
import sys
sys.path.insert(0, {tests!r})
from large.images import DIAMETER, small_model
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.run_lock import OutputInUseError
from napari_mobilesam.types import SegmentationError

def run(image, output, executor):
    try:
        result = segment_large(
            image, output, small_model, diameter=DIAMETER,
            executor=executor, workers=2,
        )
    except OutputInUseError as error:
        return f'in use: {{error}}'
    except SegmentationError as error:
        return f'refused: {{error}}'
    count = result.table['label'].nunique()
    return f'complete: {{result.complete}} {{count}}'

if __name__ == '__main__':
    print('ready', flush=True)
    for line in sys.stdin:
        print(run(sys.argv[1], line.strip(), sys.argv[2]), flush=True)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock of ``tmp_path / 'records'``."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path / 'records')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b'held'
    yield process
    process.kill()
    process.communicate()


def test_nothing_is_left(tmp_path: Path) -> None:
    with run_lock(tmp_path / 'records'):
        assert (tmp_path / 'records').is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_holds_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', full)
        with (
            run_lock(tmp_path / 'records'),
            pytest.raises(OutputInUseError),
            run_lock(tmp_path / 'records'),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    check_place(tmp_path / 'new' / 'folder' / 'out.zarr')
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'file').touch()
    output = tmp_path / 'file' / 'out.zarr'
    with pytest.raises(OSError, match='Not a directory') as caught:
        check_place(output)
    assert caught.value.filename == str(output)


def test_other_files_are_left(tmp_path: Path) -> None:
    folder = tmp_path / 'records'
    with run_lock(folder):
        (folder / 'manifest.json').touch()
    assert [path.name for path in folder.iterdir()] == ['manifest.json']


def test_a_second_run_of_this_process_is_refused(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        with (
            pytest.raises(OutputInUseError, match=f'process {os.getpid()} '),
            run_lock(tmp_path),
        ):
            pass
        # a refusal does not end the lock of the first
        with pytest.raises(OutputInUseError), run_lock(tmp_path):
            pass
    with run_lock(tmp_path):
        pass


def test_a_file_system_without_locks_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = errno.ENOSYS

    def lock(descriptor: int) -> bool:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_locks, '_lock', lock)
    with pytest.warns(UserWarning, match='has no locks'), run_lock(tmp_path):
        pass
    code = errno.EIO
    with pytest.raises(OSError, match=os.strerror(code)), run_lock(tmp_path):
        pass


@pytest.mark.slow
def test_another_process_is_named(tmp_path: Path, holder) -> None:
    with (
        pytest.raises(OutputInUseError, match=f'process {holder.pid} on '),
        run_lock(tmp_path / 'records'),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(os.name == 'nt', reason='signals of POSIX')
def test_a_killed_process_holds_no_lock(tmp_path: Path, holder) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / 'records' / 'lock').exists()
    with run_lock(tmp_path / 'records'):
        pass
    assert not (tmp_path / 'records').exists()


def segment(image: Path, output: Path, **options):
    return segment_large(
        image,
        output,
        small_model,
        diameter=DIAMETER,
        executor='serial',
        **options,
    )


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    path = tmp_path / 'image.npy'
    np.save(path, drawn((170, 272), *field_of_discs((170, 100))))
    return path


@pytest.mark.slow
def test_a_second_run_leaves_the_first_alone(
    image_path: Path, tmp_path: Path
) -> None:
    (tmp_path / 'alone').mkdir()
    alone = tmp_path / 'alone' / 'out.ome.zarr'
    segment(image_path, alone)
    output = tmp_path / 'out.ome.zarr'
    refused = []

    def second_run(tile) -> None:
        with pytest.raises(OutputInUseError, match='in use by another run'):
            segment(image_path, output)
        refused.append(tile)

    assert segment(image_path, output, on_tile=second_run).complete
    assert refused
    assert content(output) == content(alone)
    assert not records_folder(output).exists()


def test_records_that_vanish_are_failed_tiles(
    image_path: Path, tmp_path: Path
) -> None:
    (tmp_path / 'whole').mkdir()
    uninterrupted = tmp_path / 'whole' / 'out.ome.zarr'
    whole = segment(image_path, uninterrupted)
    output = tmp_path / 'out.ome.zarr'
    seen = []

    def vanish(tile) -> None:
        seen.append(tile)
        # those of before: the last tiles are read at the end
        if len(seen) == whole.tiles - whole.skipped:
            records = sorted(records_folder(output).rglob('*.record'))
            for path in records[:4]:
                path.unlink()

    result = segment(image_path, output, on_tile=vanish)
    assert not result.complete
    assert len(result.failed) == 4
    assert all('gone or damaged' in tile.error for tile in result.failed)
    assert len(result.table) < len(whole.table)
    assert records_folder(output).exists()
    again = segment(image_path, output)
    assert again.complete
    assert content(output) == content(uninterrupted)


@pytest.mark.slow
def test_a_foreign_folder_among_the_records_stays(
    image_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'out.ome.zarr'
    folder = records_folder(output)
    mine = [folder / 'p_mine' / 'a.record', folder / 'p00000' / 'notes.txt']
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text('mine')
    assert segment(image_path, output).complete
    left = [path for path in folder.rglob('*') if path.is_file()]
    assert sorted(left) == sorted(mine)


@pytest.fixture
def pair(tmp_path: Path, image_path: Path):
    """Start two processes that segment the image into the same outputs."""
    script = tmp_path / 'runs.py'
    script.write_text(RUNS.format(tests=str(TESTS)))
    both: list[subprocess.Popen[str]] = []

    def start(executor: str) -> list[subprocess.Popen[str]]:
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, str(script), str(image_path), executor],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            both.append(process)
        assert [told_by(process) for process in both] == ['ready'] * 2
        return both

    yield start
    for process in both:
        process.kill()
        process.communicate()


def told_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('executor', 'rounds'),
    [
        ('serial', 2),
        pytest.param('serial', 20, marks=pytest.mark.slow),
        pytest.param('processes', 20, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(3600)
def test_two_processes_at_once(
    executor: str, rounds: int, image_path: Path, tmp_path: Path, pair
) -> None:
    (tmp_path / 'alone').mkdir()
    alone = tmp_path / 'alone' / 'out.ome.zarr'
    count = segment(image_path, alone).table['label'].nunique()
    assert count > 5
    both = pair(executor)
    for number in range(rounds):
        output = tmp_path / f'{number}' / 'out.ome.zarr'
        output.parent.mkdir()
        for process in both:
            assert process.stdin is not None
            process.stdin.write(f'{output}\n')
            process.stdin.flush()
        told = [told_by(process) for process in both]
        # the other one is refused, or comes when the labels are there
        done, refused = sorted(told)
        assert done == f'complete: True {count}', told
        assert refused.startswith('in use: ') or (
            refused.startswith('refused: ') and 'exists' in refused
        ), told
        assert content(output) == content(alone)
        assert [path.name for path in output.parent.iterdir()] == [output.name]
