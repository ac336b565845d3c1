"""One run at a time writes to an output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.large.run_folder import (
    OutputInUseError,
    records_folder,
    run_lock,
)

from .images import DIAMETER, content, drawn, field_of_discs, small_model

HOLD = """
import sys
from pathlib import Path
from napari_mobilesam.large.run_folder import run_lock
with run_lock(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.read()
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


def test_another_process_is_named(tmp_path: Path, holder) -> None:
    with (
        pytest.raises(OutputInUseError, match=f'process {holder.pid} on '),
        run_lock(tmp_path / 'records'),
    ):
        pass


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
