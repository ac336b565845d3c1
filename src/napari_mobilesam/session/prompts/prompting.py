"""Answer the newest prompts on the worker thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.argument_checks import check_instance
from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectView,
    PromptStep,
)
from napari_mobilesam.session.prompts.larger_window import in_larger_window
from napari_mobilesam.session.prompts.prompt_messages import (
    PromptRequest,
    PromptResult,
    check_prompts,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.types import PromptError, Prompts

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.session.images.engine import Engine


class Prompting:
    """Predict candidate masks from prompts; only the newest request counts.

    Parameters
    ----------
    services : Services
        Worker, engine and messages of the session.
    kind : str
        Kind of the jobs on the worker; requests of different kinds do not
        replace each other.

    Attributes
    ----------
    answered : Signal(PromptResult)
        Answer to the newest request.
    embedding : Signal(ImagePlane)
        The newest request waits for the embedding of this plane.
    failed : Signal(int)
        Number of a request that failed; the session reports the error.
    cleaned : Signal()
        The clean-up was changed.
    """

    cleaned = Signal()
    answered = Signal(object)
    embedding = Signal(object)
    failed = Signal(int)

    def __init__(self, services: Services, kind: str = 'prompts') -> None:
        self._services = services
        self._kind = kind
        self._generation = 0
        self._expected: PromptResult | None = None
        self._clean_up = CleanUp()

    @property
    def clean_up(self) -> CleanUp:
        """Clean-up of masks before they are shown."""
        return self._clean_up

    @clean_up.setter
    def clean_up(self, chosen: CleanUp) -> None:
        check_instance('clean_up', chosen, CleanUp, optional=False)
        if chosen != self._clean_up:
            self._clean_up = chosen
            self.cleaned.emit()

    def ask(
        self,
        plane: ImagePlane,
        objects: Sequence[Prompts],
        previous: Sequence[ObjectCandidates | None] = (),
    ) -> int:
        """Request candidates for objects; `answered` emits them.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        objects : sequence of Prompts
            Prompts of each object.
        previous : sequence of (ObjectCandidates or None), optional
            Answer to refine for each object: its chosen mask is fed back.

        Returns
        -------
        generation : int
            Number of the request; only the newest is answered.

        Raises
        ------
        PromptError
            There is no prompt, or a prompt is outside the plane or has no
            area. The previous request is still answered.
        """
        if not objects:
            raise PromptError(
                'There is no prompt: click an object or draw a box.'
            )
        for prompts in objects:
            check_prompts(plane.shape, prompts)
        self.forget()
        request = self._request(plane, objects, previous)
        known = self._known(request)
        if known is not None:
            self._show(known)
        else:
            self._services.worker.submit(
                self._kind, lambda: self._answer(request)
            )
        return request.generation

    def expect(
        self,
        plane: ImagePlane,
        objects: Sequence[Prompts],
        previous: Sequence[ObjectCandidates | None] = (),
    ) -> None:
        """Precompute the answer to a request that is likely to follow.

        This is for prompts drawn while the mouse button is still down. It
        emits no signal and embeds nothing. The parameters are those of `ask`.
        """
        request = self._request(plane, objects, previous)
        self._services.worker.submit(
            'expected', lambda: self._prepare(request)
        )

    def _request(
        self,
        plane: ImagePlane,
        objects: Sequence[Prompts],
        previous: Sequence[ObjectCandidates | None],
    ) -> PromptRequest:
        return PromptRequest(
            self._generation,
            plane,
            tuple(objects),
            self._services.models.name,
            tuple(previous) or (None,) * len(objects),
            self.clean_up,
        )

    def _known(self, request: PromptRequest) -> PromptResult | None:
        """Return the precomputed answer to a request, if there is one."""
        expected = self._expected
        if expected is None or not _same(expected.request, request):
            return None
        self._expected = None
        return replace(expected, request=request)

    def forget(self) -> None:
        """Drop the answer to the newest prompts."""
        self._generation += 1
        self._services.worker.discard(self._kind)

    # below: on the worker thread

    def _prepare(self, request: PromptRequest) -> None:
        start = time.perf_counter()
        self._expected = None
        # an error here occurs again in `ask`, which reports it
        with contextlib.suppress(Exception):
            model = self._services.models.loaded()
            if model is not None and self._is_embedded(request, model):
                self._expected = self._result(request, model, start)

    def _answer(self, request: PromptRequest) -> None:
        start = time.perf_counter()
        known = self._known(request)
        if known is not None:
            self._show(known)
            return
        generation = request.generation
        model = self._services.models.load(request.model_name, 'prompts')
        if generation != self._generation:
            return
        if model is None:
            self._tell(request, lambda: self.failed.emit(generation))
            return
        try:
            if not self._is_embedded(request, model):
                self._tell(request, lambda: self.embedding.emit(request.plane))
            result = self._result(request, model, start)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            if generation == self._generation:
                self._services.models.fail(error, 'prompts')
                self._tell(request, lambda: self.failed.emit(generation))
            return
        self._show(result)

    def _result(
        self, request: PromptRequest, model: Sam, start: float
    ) -> PromptResult:
        engine, plane = self._services.engine, request.plane
        candidates = tuple(
            candidates_of(
                engine, model, request.clean_up, plane, prompts, before
            )
            for prompts, before in zip(
                request.objects, request.previous, strict=True
            )
        )
        not_finite = max(
            engine.not_finite(
                plane, prompts, None if found is None else found.frame, model
            )
            for prompts, found in zip(request.objects, candidates, strict=True)
        )
        seconds = time.perf_counter() - start
        return PromptResult(request, candidates, seconds, not_finite)

    def _is_embedded(self, request: PromptRequest, model: Sam) -> bool:
        """Return whether a request only needs decoding."""
        return all(
            self._services.engine.embedded_scales(
                request.plane, prompts, model
            )
            for prompts in request.objects
        )

    def _show(self, result: PromptResult) -> None:
        self._tell(result.request, lambda: self.answered.emit(result))

    def _tell(
        self, request: PromptRequest, function: Callable[[], None]
    ) -> None:
        """Call a function on the viewer's thread if a request is still newest.

        Prompts may change while the answer is on its way.
        """

        def tell() -> None:
            if request.generation == self._generation:
                function()

        self._services.deliver(tell)


def candidates_of(
    engine: Engine,
    model: Sam,
    clean_up: CleanUp | None,
    plane: ImagePlane,
    prompts: Prompts,
    previous: ObjectCandidates | None = None,
) -> ObjectCandidates | None:
    """Predict the candidates of one object, on the worker thread.

    Parameters
    ----------
    engine, model, clean_up
        Embeddings, model and cleaning of masks (or None) that all objects of a
        job share.
    plane : ImagePlane
        Plane that is prompted.
    prompts : Prompts
        Prompts of the object, in data pixels of the plane.
    previous : ObjectCandidates, optional
        Candidates that the prompts correct; the chosen one is fed back.

    Returns
    -------
    ObjectCandidates or None
        None if no mask has a pixel.
    """
    before = None if previous is None else previous.as_prediction()
    prediction = engine.predict(plane, prompts, model, before)
    found = ObjectCandidates.of(
        in_larger_window(engine, plane, prompts, model, prediction)
    )
    if found is None or clean_up is None:
        return found
    masks = tuple(clean_up(mask, plane.shape, prompts) for mask in found.masks)
    return replace(found, masks=masks)


def _same(one: PromptRequest, other: PromptRequest) -> bool:
    """Return whether two requests have bitwise identical answers."""
    return (
        one.plane.key == other.plane.key
        and one.plane.viewport == other.plane.viewport
        and one.plane.pitch == other.plane.pitch
        and one.model_name == other.model_name
        and one.clean_up == other.clean_up
        and len(one.objects) == len(other.objects)
        and all(map(_same_prompts, one.objects, other.objects))
        and all(map(_same_mask, one.previous, other.previous))
    )


def _same_prompts(one: Prompts, other: Prompts) -> bool:
    return (
        np.array_equal(one.points, other.points)
        and np.array_equal(one.labels, other.labels)
        and _equal(one.box, other.box)
        and one.mask_input is other.mask_input
        and one.region is other.region
    )


def _same_mask(
    one: ObjectCandidates | None, other: ObjectCandidates | None
) -> bool:
    if one is None or other is None:
        return one is other
    return one.mask is other.mask and _equal(
        one.chosen_logits, other.chosen_logits
    )


def _equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def refining(before: ObjectView | None, view: ObjectView) -> ObjectView:
    """Return a view, with the answer that its prompts refine, if any.

    Parameters
    ----------
    before : ObjectView or None
        The previous view of the object on the plane.
    view : ObjectView
        The view with new prompts. The chosen mask is fed back if prompts were
        only added; if prompts were moved or removed, the model starts over.
    """
    # imports torch
    from napari_mobilesam.segmentation.scale_choice import pitch_of

    chosen = None if before is None else before.candidates
    if before is None or chosen is None or chosen.chosen_logits is None:
        return view
    if before.automatic:
        # a click refines the mask, not the prompts of the propagation
        return replace(view, previous=chosen.only_chosen())
    old, new = before.prompts, view.prompts
    count = len(old.points)
    same_points = (
        len(new.points) >= count
        and np.array_equal(new.points[:count], old.points)
        and np.array_equal(new.labels[:count], old.labels)
    )
    same_box = old.box is None or (
        new.box is not None and np.array_equal(new.box, old.box)
    )
    if not same_points or not same_box or new.region is not old.region:
        return view
    if len(new.points) == count and (new.box is None) == (old.box is None):
        # same prompts, same feedback
        return replace(view, previous=before.previous, steps=before.steps)
    plane = before.plane
    if plane.pitch is None and chosen.frame is not None:
        # for the script: the next answer may have another scale
        plane = replace(plane, pitch=pitch_of(chosen.frame))
    asked = PromptStep(plane, old, chosen.chosen)
    return replace(
        view, previous=chosen.only_chosen(), steps=(*before.steps, asked)
    )
