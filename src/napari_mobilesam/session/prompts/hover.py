"""Mask of the object under the cursor, shown before a click.

It is requested on every mouse move. Only the newest position waits, with the
lowest priority on the worker.
"""

from __future__ import annotations

import contextlib

from psygnal import Signal

from napari_mobilesam.session.images.engine import click
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.prompting import (
    Prompting,
    candidates_of,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.types import Mask

KIND = 'hover'
RANK = 1


class Hover:
    """Predict the mask under the cursor without delaying clicks.

    Where the image is not embedded, there is no answer while the cursor moves.
    Where the cursor rests, the image is embedded, since a click will need it.

    Parameters
    ----------
    services : Services
        Worker, engine and model of the session.
    prompting : Prompting
        Prompting, with the clean-up of masks.

    Attributes
    ----------
    shown : Signal(Mask or None)
        Mask at the newest position, or at a recent one; None if the model
        finds nothing or the image is not embedded yet.
    """

    shown = Signal(object)

    def __init__(self, services: Services, prompting: Prompting) -> None:
        self._services = services
        self._prompting = prompting
        self._generation = self._forgotten = 0

    def ask(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        rests: bool = False,
    ) -> None:
        """Request the mask of a click at a position; `shown` emits it.

        Parameters
        ----------
        plane : ImagePlane
            Plane under the cursor.
        point : tuple of float
            (row, column) in data pixels, on the plane.
        rests : bool
            Whether the cursor rests there; if so, missing blocks are embedded.
        """
        self._generation += 1
        generation = self._generation
        self._services.worker.submit(
            KIND, lambda: self._answer(plane, point, generation, rests), RANK
        )

    def forget(self) -> None:
        """Drop pending answers, because the cursor has left."""
        self._forgotten = self._generation
        self._services.worker.discard(KIND)

    # below: on the worker thread

    def _answer(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        generation: int,
        rests: bool,
    ) -> None:
        mask = None
        # an error here occurs again on the click, which reports it
        with contextlib.suppress(Exception):
            mask = self._mask(plane, point, rests)

        def show() -> None:
            # masks at earlier positions are shown, too: while the cursor
            # moves, the preview follows it
            if generation > self._forgotten:
                self.shown.emit(mask)

        self._services.deliver(show)

    def _mask(
        self, plane: ImagePlane, point: tuple[float, float], rests: bool
    ) -> Mask | None:
        model, engine = self._services.models.loaded(), self._services.engine
        if model is None:
            return None
        clean_up, prompts = self._prompting.clean_up, click(point)
        if rests:
            found = candidates_of(engine, model, clean_up, plane, prompts)
            return None if found is None else found.mask
        mask = engine.preview(plane, point, model)
        return None if mask is None else clean_up(mask, plane.shape, prompts)
