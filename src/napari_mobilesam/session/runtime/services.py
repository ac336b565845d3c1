"""Services of a session for its parts."""

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
    """Services of a session for its parts.

    Attributes
    ----------
    worker : LatestWorker
        Thread on which everything is computed.
    engine : Engine
        Models and planes; used only on the worker thread.
    load : callable
        ``load(name, topic)`` returns the model, or reports an error and
        returns None.
    loaded : callable
        Returns the selected model if it is loaded, else None.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    model_name : callable
        Returns the name of the selected model.
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
        """Return a function for a run to call between its steps.

        It runs on the worker thread, answers prompts of the open and of
        accepted objects, and returns whether the run was cancelled.
        """

        def between() -> bool:
            for kind in PROMPT_JOBS:
                self.worker.serve(kind)
            return run.cancelled.is_set()

        return between
