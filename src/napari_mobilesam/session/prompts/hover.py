"""Mask of the object under the cursor, before a click.

Requested on every move of the mouse. Only the newest position waits, and it
has the lowest priority on the worker.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.engine import Engine, click
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.larger_window import in_larger_window
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Mask

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

KIND = 'hover'
RANK = 1


@dataclass(frozen=True, eq=False)
class HoverResult:
    """Mask that a click would give.

    Attributes
    ----------
    plane : ImagePlane
        Plane under the cursor.
    point : tuple of float
        (row, column) in data pixels.
    mask : Mask or None
        Best mask; None if the model finds nothing or the image is not
        embedded yet.
    """

    plane: ImagePlane
    point: tuple[float, float]
    mask: Mask | None


class Hover:
    """Predicts the mask under the cursor, without delaying clicks.

    Where the image is not embedded there is no answer while the cursor moves.
    Where the cursor rests the image is embedded, because a click will need
    it.

    Parameters
    ----------
    worker : LatestWorker
        Thread that also answers prompts.
    engine : Engine
        Used on the worker thread only.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    loaded : callable
        Returns the model if it is loaded; called on the worker thread.
    clean_up : callable
        Returns the clean-up of masks that a click would use.

    Attributes
    ----------
    shown : Signal(HoverResult)
        Answer to the newest position, or to a recent one.
    """

    shown = Signal(object)

    def __init__(
        self,
        worker: LatestWorker,
        engine: Engine,
        deliver: Deliver,
        loaded: Callable[[], Sam | None],
        clean_up: Callable[[], CleanUp],
    ) -> None:
        self._clean_up = clean_up
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
        """Request the mask of a click at a position; `shown` brings it.

        Parameters
        ----------
        plane : ImagePlane
            Plane under the cursor.
        point : tuple of float
            (row, column) in data pixels, on the plane.
        rests : bool
            Whether the cursor rests there: embeds what is needed.
        """
        self._generation += 1
        generation = self._generation
        self._worker.submit(
            KIND, lambda: self._answer(plane, point, generation, rests), RANK
        )

    def forget(self) -> None:
        """Drop pending answers, because the cursor has left."""
        self._forgotten = self._generation
        self._worker.discard(KIND)

    def _mask_of_click(
        self, plane: ImagePlane, point: tuple[float, float], model: Sam
    ) -> Mask | None:
        prompts = click(point)
        found = self._engine.predict(plane, prompts, model)
        mask = in_larger_window(
            self._engine, plane, prompts, model, found
        ).mask()
        return mask if mask.data.any() else None

    def _answer(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        generation: int,
        rests: bool,
    ) -> None:
        mask = None
        # an error here occurs again for the click, which reports it
        with contextlib.suppress(Exception):
            model = self._loaded()
            if model is not None:
                mask = (
                    self._mask_of_click(plane, point, model)
                    if rests
                    else self._engine.preview(plane, point, model)
                )
            if mask is not None:
                mask = self._clean_up()(mask, plane.shape, click(point))
        answer = HoverResult(plane, point, mask)

        def show() -> None:
            # answers to earlier positions are shown too: while the cursor
            # moves, the preview follows it
            if generation > self._forgotten:
                self.shown.emit(answer)

        self._deliver(show)
