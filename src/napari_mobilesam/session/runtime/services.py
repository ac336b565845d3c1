"""Services of a session to its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.latest_run import BackgroundRun
from napari_mobilesam.session.runtime.worker import PROMPT_JOBS, LatestWorker
from napari_mobilesam.types import Deliver

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


@dataclass(frozen=True)
class Services:
    """Services of a session to its parts.

    Attributes
    ----------
    worker : LatestWorker
        Thread that everything is computed on.
    engine : Engine
        Models and planes; used on the worker thread only.
    load : callable
        ``load(name, topic)`` returns the model, or reports an error and
        returns None.
    loaded : callable
        Returns the chosen model if it is loaded, else None.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    model_name : callable
        Returns the name of the chosen model.
    fail : callable
        ``fail(error, topic)`` reports an error.
    """

    worker: LatestWorker
    engine: Engine
    load: Callable[[str, str], Sam | None]
    loaded: Callable[[], Sam | None]
    deliver: Deliver
    model_name: Callable[[], str]
    fail: Callable[[BaseException, str], None]

    def between_steps(self, run: BackgroundRun) -> Callable[[], bool]:
        """Return what a run calls between its steps, on the worker thread.

        It answers prompts, of the open object and of accepted ones, and
        returns whether the run was cancelled.
        """

        def between() -> bool:
            for kind in PROMPT_JOBS:
                self.worker.serve(kind)
            return run.cancelled.is_set()

        return between
