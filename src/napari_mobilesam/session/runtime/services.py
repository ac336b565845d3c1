"""Services of a session for its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.latest_run import BackgroundRun
from napari_mobilesam.session.runtime.models import Models
from napari_mobilesam.session.runtime.worker import PROMPT_JOBS, LatestWorker
from napari_mobilesam.types import Deliver


@dataclass(frozen=True)
class Services:
    """Services of a session for its parts.

    Attributes
    ----------
    worker : LatestWorker
        Thread on which everything is computed.
    engine : Engine
        Models and planes; used only on the worker thread.
    models : Models
        The selected model; reports errors.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    """

    worker: LatestWorker
    engine: Engine
    models: Models
    deliver: Deliver

    def between_steps(self, run: BackgroundRun) -> Callable[[], bool]:
        """Return a function for a run to call between its steps.

        It runs on the worker thread, answers prompts of the open and of
        accepted objects, and returns whether the run was cancelled.
        """

        def between() -> bool:
            for kind in PROMPT_JOBS:
                self.worker.serve(kind)
            return run.cancelled.is_set()

        return between
