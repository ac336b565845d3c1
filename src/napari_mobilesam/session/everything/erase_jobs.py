"""Deletion of objects from the labels of large runs, in the background."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mobilesam.session.runtime.latest_run import StoppedError
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Progress, SegmentationError

if TYPE_CHECKING:
    import pandas as pd


class EraseJobs(WatchedJobs):
    """Delete objects, and undo that, on a separate thread.

    The user of the jobs emits `finished` with a message, once the layer shows
    the labels.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.
    """

    def __init__(self, deliver: Deliver) -> None:
        worker = LatestWorker('napari-mobilesam-erasing')
        super().__init__(deliver, worker, 'erase')

    def erase(
        self,
        path: Path,
        labels: Collection[int],
        then: Callable[[pd.DataFrame], None],
    ) -> None:
        """Delete objects; if it is cancelled or fails, none is.

        Parameters
        ----------
        path : Path
            Folder of the labels.
        labels : collection of int
            Labels of the objects.
        then : callable
            Takes the rows of the objects; see `erase_objects`.

        Raises
        ------
        SegmentationError
            Others are being deleted or restored.
        """
        self.check_idle()

        def job(progress: Progress) -> pd.DataFrame:
            from napari_mobilesam.large.erase import erase_objects

            return erase_objects(path, labels, progress)

        self.do(job, then)

    def restore(
        self, path: Path, then: Callable[[pd.DataFrame | None], None]
    ) -> None:
        """Undo the last deletion; it cannot be cancelled.

        Parameters
        ----------
        path : Path
            Folder of the labels.
        then : callable
            Takes the rows of the objects, or None; see `undo_erase`.

        Raises
        ------
        SegmentationError
            Others are being deleted or restored.
        """
        self.check_idle()

        def job(progress: Progress) -> pd.DataFrame | None:
            from napari_mobilesam.large.erase import undo_erase

            def tell(done: int, total: int, message: str) -> None:
                with suppress(StoppedError):
                    progress(done, total, message)

            return undo_erase(path, tell)

        self.do(job, then)

    def check_idle(self) -> None:
        """Raise `SegmentationError` while labels are being written."""
        if self.running:
            raise SegmentationError(
                'Objects are being deleted or restored: wait until that ends.'
            )
