"""Embed ahead of prompts: the next planes, and the rest of the view.

This runs with the lowest priority, one plane or block at a time. Between
layers of the model, it answers prompts, or stops if the user requests
something else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.runtime.worker import (
    LatestWorker,
    SupersededError,
    serve_between,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

KIND = 'prefetch'
KIND_AFTERWARDS = 'prefetch afterwards'
# after prompts, and after the hover preview
RANK = 2
# number of planes ahead in the direction of travel; one behind is also
# embedded
AHEAD = 2

_log = logging.getLogger(__name__)


class Prefetch:
    """Embed planes before they are shown.

    Parameters
    ----------
    worker : LatestWorker
        Thread that also answers prompts.
    engine : Engine
        Used on the worker thread only.
    loaded : callable
        Returns the model if it is loaded; called on the worker thread.
    """

    def __init__(
        self,
        worker: LatestWorker,
        engine: Engine,
        loaded: Callable[[], Sam | None],
    ) -> None:
        self._worker = worker
        self._engine = engine
        self._loaded = loaded
        self._wanted: deque[ImagePlane] = deque()
        self._view: ImagePlane | None = None
        self._afterwards: deque[ImagePlane] = deque()

    def want(
        self, planes: Sequence[ImagePlane], view: ImagePlane | None = None
    ) -> None:
        """Embed planes when the worker is idle, replacing earlier wishes.

        Parameters
        ----------
        planes : sequence of ImagePlane
            Planes other than the displayed one, most likely first.
        view : ImagePlane, optional
            Displayed plane; its visible part is embedded after the others.
        """
        self._wanted, self._view = deque(planes), view
        if self._wanted or view is not None:
            self._worker.submit(KIND, self._embed_next, RANK)
        else:
            self._worker.discard(KIND)
        self._submit_afterwards()

    def want_afterwards(self, planes: Sequence[ImagePlane]) -> None:
        """Embed planes when there is nothing else to embed.

        Parameters
        ----------
        planes : sequence of ImagePlane
            Planes, such as those of the images opened next, most likely first.
        """
        self._afterwards = deque(planes)
        self._submit_afterwards()

    def forget(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Stop embedding some planes, such as those of a closed image."""
        view = self._view
        if view is not None and gone(view):
            view = None
        # the worker may take planes from both in the meantime
        wanted, afterwards = tuple(self._wanted), tuple(self._afterwards)
        self.want([plane for plane in wanted if not gone(plane)], view)
        self.want_afterwards([p for p in afterwards if not gone(p)])

    def _submit_afterwards(self) -> None:
        if self._afterwards:
            self._worker.submit(
                KIND_AFTERWARDS, self._embed_afterwards, RANK + 1
            )
        else:
            self._worker.discard(KIND_AFTERWARDS)

    def go_on(self) -> None:
        """Embed what an answer has shown to be useful."""
        if self._view is not None:
            self._worker.submit(KIND, self._embed_next, RANK)

    # below: on the worker thread

    def _embed_next(self) -> None:
        # the viewer's thread may replace them at any time
        wanted, view, model = self._wanted, self._view, self._loaded()
        if model is None:
            # the first displayed plane loads the model
            return
        if wanted:
            self._prepare_first(wanted, model, RANK)
            more = bool(wanted or view)
        else:
            more = view is not None and self._interrupted(
                model, RANK, partial(self._engine.embed_ahead, view)
            )
        if wanted is self._wanted and more:
            self._worker.submit(KIND, self._embed_next, RANK)

    def _embed_afterwards(self) -> None:
        waiting, model = self._afterwards, self._loaded()
        if model is None or not waiting:
            return
        self._prepare_first(waiting, model, RANK + 1)
        if waiting is self._afterwards:
            self._submit_afterwards()

    def _prepare_first(
        self, planes: deque[ImagePlane], model: Sam, rank: int
    ) -> None:
        """Embed the first plane, and remove it unless interrupted."""
        plane = planes[0]

        def prepare(model: Sam) -> bool:
            self._engine.prepare(plane, model)
            return False

        if not self._interrupted(model, rank, prepare):
            planes.popleft()

    def _interrupted(
        self, model: Sam, rank: int, embed: Callable[[Sam], bool]
    ) -> bool:
        """Embed something; return whether to come back to it.

        True if a job of a lower rank interrupted it, or if ``embed`` returned
        True because there is more to do.
        """
        between = serve_between(self._worker, lambda: self._worker.waits(rank))
        try:
            with model.giving_way(between):
                return embed(model)
        except SupersededError:
            return True
        except Exception:  # noqa: BLE001
            # the error is reported when the plane is shown or clicked
            _log.debug('A plane was not embedded ahead', exc_info=True)
            return False


def planes_ahead(
    before: Sequence[int] | None, now: Sequence[int], axes: Sequence[int]
) -> list[tuple[int, int]]:
    """Predict which planes will be shown next.

    Parameters
    ----------
    before : sequence of int or None
        Index of the previous plane, if any.
    now : sequence of int
        Index of the displayed plane.
    axes : sequence of int
        Axes along which there are other planes; the last one is the
        default.

    Returns
    -------
    list of tuple of int
        (axis, steps), most likely first: planes ahead in the direction of
        travel, and one behind.
    """
    if not axes:
        return []
    axis, direction = axes[-1], 1
    if before is not None and len(before) == len(now):
        moved = [a for a in axes if before[a] != now[a]]
        if moved:
            axis = moved[-1]
            direction = 1 if now[axis] > before[axis] else -1
    steps = [*range(1, AHEAD + 1), -1]
    if before is None:
        steps = [1, -1]
    return [(axis, direction * step) for step in steps]
