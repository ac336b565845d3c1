"""The object under the cursor, before anybody has clicked.

Asked on every move of the mouse and answered at the pace of the machine: one
place waits at a time, the newest, and it goes last on the worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.session.images.engine import Engine, click
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Mask

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

KIND = 'hover'
RANK = 1


@dataclass(frozen=True, eq=False)
class HoverResult:
    """What a click would give.

    Attributes
    ----------
    plane : ImagePlane
        Plane that the cursor is over.
    point : tuple of float
        (row, column) in data pixels.
    mask : Mask or None
        Best mask; None where the model finds nothing, or where the image is
        not embedded yet.
    """

    plane: ImagePlane
    point: tuple[float, float]
    mask: Mask | None


class Hover:
    """Answers what is under the cursor, never at the cost of a click.

    A place whose window is not embedded has no answer while the cursor moves,
    and one that is being embedded has it right after. Where the cursor rests
    the window is embedded: the click will need it.

    Parameters
    ----------
    worker : LatestWorker
        Thread that also answers prompts.
    engine : Engine
        Only used on that thread.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    loaded : callable
        Returns the model if it is loaded; called on the worker's thread.

    Attributes
    ----------
    shown : Signal(HoverResult)
        Answer to the newest place, or to one shortly before it.
    """

    shown = Signal(object)

    def __init__(
        self,
        worker: LatestWorker,
        engine: Engine,
        deliver: Deliver,
        loaded: Callable[[], Sam | None],
    ) -> None:
        self._worker = worker
        self._engine = engine
        self._deliver = deliver
        self._loaded = loaded
        self._generation = self._forgotten = 0

    def ask(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        rests: bool = False,
    ) -> None:
        """Ask what a click at a place would give; `shown` brings it.

        Parameters
        ----------
        plane : ImagePlane
            Plane that the cursor is over.
        point : tuple of float
            (row, column) in data pixels, on the plane.
        rests : bool
            Whether the cursor rests there: embeds the window if need be.
        """
        self._generation += 1
        generation = self._generation
        self._worker.submit(
            KIND, lambda: self._answer(plane, point, generation, rests), RANK
        )

    def forget(self) -> None:
        """Drop the answers on their way: the cursor has left."""
        self._forgotten = self._generation
        self._worker.discard(KIND)

    def _answer(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        generation: int,
        rests: bool,
    ) -> None:
        mask = None
        # what fails here fails for the click too, which says so
        with contextlib.suppress(Exception):
            model = self._loaded()
            if model is not None and (
                rests or self._engine.ready(plane, point, model)
            ):
                mask = self._engine.mask(plane, click(point), model)
        answer = HoverResult(plane, point, mask)

        def show() -> None:
            # an answer is late only if the cursor has left: one to an
            # earlier place of the same journey still follows the mouse
            if generation > self._forgotten:
                self.shown.emit(answer)

        self._deliver(show)
