"""Several training processes on the CPUs of one machine.

Two processes with one thread each train faster than one with two threads,
especially on a busy machine: they wait for each other once per step instead of
at every small operation.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from napari_mobilesam.types import Progress


class ProcessJob(Protocol):
    """Picklable work of one process."""

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> object:
        """Do the work; only the first process receives the callables."""


@contextmanager
def _own_cores(rank: int, size: int) -> Iterator[None]:
    """Bind this process to its share of the cores while it trains."""
    threads = torch.get_num_threads()
    affinity = getattr(os, 'sched_getaffinity', None)
    cores = sorted(affinity(0)) if affinity else []
    mine = cores[rank::size]
    try:
        torch.set_num_threads(max(1, len(mine) or threads // size))
        if mine:
            os.sched_setaffinity(0, mine)
        yield
    finally:
        torch.set_num_threads(threads)
        if mine:
            os.sched_setaffinity(0, cores)


@contextmanager
def _group(rank: int, size: int, meeting: Path) -> Iterator[None]:
    dist.init_process_group(
        'gloo', init_method=meeting.as_uri(), rank=rank, world_size=size
    )
    try:
        with _own_cores(rank, size):
            yield
    finally:
        dist.destroy_process_group()


def _helper(rank: int, size: int, meeting: Path, job: ProcessJob) -> None:
    # the first process finishes the step before it ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _group(rank, size, meeting):
        job.run()


def run_job(
    job: ProcessJob,
    workers: int = 1,
    progress: Progress | None = None,
) -> object:
    """Run a job in ``workers`` processes, including this one.

    Parameters
    ----------
    job : ProcessJob
        Job whose ``run`` finds the process group in `torch.distributed`.
    workers : int
        Number of processes.
    progress : callable, optional
        Passed to the job in this process.

    Returns
    -------
    object
        Result of the job in this process.
    """
    if workers <= 1:
        return job.run(progress)
    context = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / 'meeting'
        helpers = [
            context.Process(
                target=_helper, args=(rank, workers, meeting, job), daemon=True
            )
            for rank in range(1, workers)
        ]
        for helper in helpers:
            helper.start()
        try:
            with _group(0, workers, meeting):
                try:
                    return job.run(progress)
                except BaseException:
                    # they would wait for this process
                    for helper in helpers:
                        helper.terminate()
                    raise
        finally:
            for helper in helpers:
                helper.join(timeout=10)
                helper.terminate()
