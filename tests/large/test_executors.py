from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Lock, Timer

import numpy as np
import pytest

from napari_mobilesam.large.executors import (
    TRAVELS_WITH_TASKS,
    SerialWorkers,
    ThreadWorkers,
    open_workers,
)
from napari_mobilesam.large.journal import StorageError
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.large.tasks import MOST_DEATHS, run_tasks
from napari_mobilesam.types import SegmentationError

from .images import (
    DIAMETER,
    DyingModel,
    content,
    drawn,
    field_of_discs,
    small_model,
)

SHAPE = (150, 272)


@pytest.fixture(scope='module')
def image_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('image') / 'image.npy'
    np.save(path, drawn(SHAPE, *field_of_discs(SHAPE)))
    return path


def run(image: Path, output: Path, **options):
    options = {'model': small_model, 'diameter': DIAMETER, **options}
    return segment_large(image, output, **options)


@pytest.fixture(scope='module')
def serial(
    image_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Labels as one worker writes them, file by file."""
    output = tmp_path_factory.mktemp('serial') / 'out.ome.zarr'
    result = run(image_path, output, executor='serial')
    assert result.complete
    assert len(result.table) > 10
    return content(output)


@pytest.mark.slow
def test_threads_write_the_same_bytes(image_path, tmp_path, serial):
    result = run(image_path, tmp_path / 'out.ome.zarr', workers=3)
    assert result.complete
    assert content(tmp_path / 'out.ome.zarr') == serial


def test_processes_write_the_same_bytes(image_path, tmp_path, serial):
    output = tmp_path / 'out.ome.zarr'
    result = run(image_path, output, executor='processes', workers=2)
    assert result.complete
    assert content(output) == serial


@pytest.mark.slow
def test_a_run_survives_the_death_of_a_worker(image_path, tmp_path, serial):
    model = DyingModel(tmp_path / 'marks' / 'died', times=2)
    output = tmp_path / 'out.ome.zarr'
    result = run(
        image_path, output, model=model, executor='processes', workers=2
    )
    assert len(list((tmp_path / 'marks').iterdir())) == 2
    assert result.complete
    assert content(output) == serial


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(image_path, tmp_path, serial):
    distributed = pytest.importorskip('distributed')
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=tmp_path,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for name, executor in (
            ('client', client),
            ('address', cluster.scheduler_address),
        ):
            output = tmp_path / name / 'out.ome.zarr'
            assert run(image_path, output, executor=executor).complete
            assert content(output) == serial
        model = DyingModel(tmp_path / 'marks' / 'died')
        output = tmp_path / 'dead' / 'out.ome.zarr'
        result = run(image_path, output, model=model, executor=client)
        assert result.complete
        assert (tmp_path / 'marks').exists()
        assert content(output) == serial


def test_an_absent_scheduler_is_told(image_path, tmp_path, monkeypatch):
    distributed = pytest.importorskip('distributed')

    def absent(address, timeout):
        raise OSError('Timed out')

    monkeypatch.setattr(distributed, 'Client', absent)
    with pytest.raises(SegmentationError, match='tcp://nowhere:1'):
        run(image_path, tmp_path / 'x', executor='tcp://nowhere:1')


def test_a_cluster_that_does_not_answer_is_told(image_path, tmp_path):
    class Gone:
        def get_executor(self, **options):
            return ThreadPoolExecutor(1)

        def nthreads(self):
            raise OSError('Timed out')

    with pytest.raises(SegmentationError, match=r'answer \(Timed out\)'):
        run(image_path, tmp_path / 'x', executor=Gone())


def test_a_cluster_without_workers_says_so(image_path, tmp_path, caplog):
    class Empty:
        def get_executor(self, **options):
            # as if a worker came at last
            return ThreadPoolExecutor(1)

        def nthreads(self):
            return {}

    run(image_path, tmp_path / 'x', executor=Empty())
    assert caplog.messages[0].startswith('The Dask cluster has no worker yet')


def test_a_closed_client_is_refused(image_path, tmp_path):
    class Closed:
        status = 'closed'

        def get_executor(self, **options):
            raise AssertionError('not asked')

    with pytest.raises(SegmentationError, match='client that was closed'):
        run(image_path, tmp_path / 'x', executor=Closed())


class Cluster:
    """A cluster whose workers are threads of this process."""

    def get_executor(self, **options):
        return ThreadPoolExecutor(1)

    def scatter(self, data, **options):
        return data


class Reads:
    """Work that reads a file when it is opened, and has pixels with it."""

    def __init__(self, path: Path, pixels: bytes = b'') -> None:
        self.path, self.pixels = path, pixels

    def __reduce__(self):
        return _opened, (self.path, self.pixels)

    def __call__(self, task):
        return self


def _opened(path: Path, pixels: bytes) -> Reads:
    opened = Reads(path, pixels)
    opened.read = path.read_text()
    return opened


def answer(work):
    with open_workers(Cluster(), work) as workers:
        return workers.submit(None).result()


def test_a_worker_of_a_cluster_opens_the_files_of_each_run(tmp_path):
    path = tmp_path / 'image'
    for text in ('first', 'second'):
        path.write_text(text)
        assert answer(Reads(path)).read == text


def test_a_worker_of_a_cluster_keeps_no_image_after_the_run(tmp_path):
    work = Reads(tmp_path / 'image', bytes(TRAVELS_WITH_TASKS))
    (tmp_path / 'image').touch()
    # the object of the cluster, which goes with the run, and no copy of it
    assert answer(work) is work


# What `run_tasks` does, on workers that end as the test says.


def test_tasks_in_flight_are_bounded():
    asked = []

    def tasks() -> Iterator[int]:
        for number in range(50):
            asked.append(number)
            yield number

    workers = ThreadWorkers(lambda task: task * 2, 2)
    done = 0
    for outcome in run_tasks(workers, tasks()):
        done += 1
        assert outcome.result == 2 * outcome.task
        assert len(asked) <= done + workers.in_flight
    workers.close()
    assert done == 50


def test_a_failing_task_is_tried_three_times_and_the_rest_is_done():
    tried = []

    def work(task: int) -> int:
        tried.append(task)
        if task == 3:
            raise ValueError('no')
        return task

    outcomes = list(run_tasks(SerialWorkers(work), range(6)))
    assert tried.count(3) == 3
    failed = [o for o in outcomes if o.error is not None]
    assert [o.task for o in failed] == [3]
    assert sorted(o.task for o in outcomes) == list(range(6))


def test_a_task_that_fails_once_is_done():
    tried = []

    def work(task: int) -> int:
        tried.append(task)
        if tried.count(task) == 1:
            raise OSError('a hiccup of the network')
        return task

    outcomes = list(run_tasks(SerialWorkers(work), range(3)))
    assert all(outcome.error is None for outcome in outcomes)


def test_a_full_disk_ends_the_run():
    tried = []

    def work(task: int) -> None:
        tried.append(task)
        raise StorageError('full')

    with pytest.raises(StorageError):
        list(run_tasks(SerialWorkers(work), range(9)))
    assert len(tried) == 1


def test_cancelling_waits_for_what_has_begun():
    ended = []

    def work(task: int) -> int:
        time.sleep(0.05)
        ended.append(task)
        return task

    workers = ThreadWorkers(work, 2)
    done = []
    for outcome in run_tasks(workers, range(100), lambda: len(done) >= 4):
        done.append(outcome.task)
    workers.close()
    assert sorted(done) == sorted(ended)
    assert 4 <= len(done) <= 4 + workers.in_flight


class FragileWorkers:
    """A pool of which every task breaks when one kills its worker."""

    in_flight = 4

    def __init__(self, deadly: set[int]) -> None:
        self.deadly = deadly
        self.restarts = 0
        self._waiting: list[tuple[int, Future]] = []
        self._lock = Lock()

    def submit(self, task: int) -> Future:
        future: Future = Future()
        with self._lock:
            self._waiting.append((task, future))
        Timer(0.02, self._end).start()
        return future

    def _end(self) -> None:
        with self._lock:
            ended, self._waiting = self._waiting, []
        broken = any(task in self.deadly for task, _ in ended)
        for task, future in ended:
            if broken:
                future.set_exception(BrokenProcessPool('died'))
            else:
                future.set_result(task)

    def restart(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        self._end()


def test_only_the_task_that_kills_its_worker_fails():
    workers = FragileWorkers({5})
    outcomes = list(run_tasks(workers, range(12)))
    failed = [o.task for o in outcomes if o.error is not None]
    assert failed == [5]
    assert sorted(o.task for o in outcomes) == list(range(12))


def test_workers_that_die_again_and_again_end_the_run():
    workers = FragileWorkers(set(range(12)))
    with pytest.raises(RuntimeError, match='out of memory'):
        list(run_tasks(workers, range(12)))
    assert workers.restarts == MOST_DEATHS


def test_workers_are_let_go_after_an_error():
    with (
        pytest.raises(KeyboardInterrupt),
        open_workers('threads', lambda task: task, 2) as workers,
    ):
        raise KeyboardInterrupt
    with pytest.raises(RuntimeError):
        workers.submit(1)


@pytest.mark.slow
def test_a_script_that_workers_run_again_is_told(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        'import numpy as np\n'
        'import napari_mobilesam as nm\n'
        'image = np.random.default_rng(0).integers(0, 255, (700, 700), "u1")\n'
        "nm.segment_large(image, executor='processes', diameter=9)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1
    assert 'runs the script that has started it' in done.stderr
    assert 'RuntimeError: Workers died' in done.stderr
