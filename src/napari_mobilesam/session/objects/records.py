"""What is known of an object: its prompts, candidates and class, per plane."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.types import Frame, Mask, Prompts

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.predictor import Prediction

Origin = Literal['prompts', 'batch', 'propagation', 'everything', 'labels']


@dataclass(frozen=True, eq=False)
class ObjectCandidates:
    """Masks that the model offers for the prompts of one object.

    Attributes
    ----------
    masks : tuple of Mask
        None is empty; whole, part and subpart where the prompts are
        ambiguous, else one.
    chosen : int
        Index of the one that is shown and written; the best at first.
    logits : tuple of (ndarray or None)
        (s, s) float16 low-res logits of each mask, to be fed back when
        prompts are added; None where they were not kept.
    frame : Frame or None
        Window that the logits belong to.
    """

    masks: tuple[Mask, ...] = field(repr=False)
    chosen: int = 0
    logits: tuple[NDArray[np.float16] | None, ...] = field(
        default=(), repr=False
    )
    frame: Frame | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> ObjectCandidates | None:
        """Candidates of a prediction that have a pixel; None if none has."""
        masks = [prediction.mask(i) for i in range(len(prediction.scores))]
        found = [i for i, mask in enumerate(masks) if mask.data.any()]
        if not found:
            return None
        scores, preferred = prediction.scores, prediction.best
        best = max(found, key=lambda i: (i == preferred, scores[i]))
        # half precision is far finer than what the decoder makes of it, and
        # an object that is kept takes half the memory
        logits = np.clip(prediction.logits[found], -1e4, 1e4)
        return cls(
            tuple(masks[i] for i in found),
            found.index(best),
            tuple(logits.astype(np.float16)),
            prediction.frame,
        )

    @property
    def mask(self) -> Mask:
        """The mask that is chosen."""
        return self.masks[self.chosen]

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        arrays = [*self.logits, *(mask.data for mask in self.masks)]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def chosen_logits(self) -> NDArray[np.float16] | None:
        """Logits of the mask that is chosen, if they were kept."""
        return self.logits[self.chosen] if self.logits else None

    def as_prediction(self) -> Prediction | None:
        """Return the chosen mask as an answer to be refined.

        None if its logits were not kept.
        """
        from napari_mobilesam.segmentation.predictor import Prediction

        logits = self.chosen_logits
        if logits is None or self.frame is None:
            return None
        return Prediction(
            np.array([self.mask.score], dtype=np.float32),
            logits[None].astype(np.float32),
            self.frame,
            Prompts(),
        )

    def choose(self, index: int) -> ObjectCandidates:
        """Choose another mask, counted around: -1 is the last one."""
        return replace(self, chosen=index % len(self.masks))

    def only_chosen(self) -> ObjectCandidates:
        """Return the chosen mask alone, with its logits."""
        logits = (self.chosen_logits,) if self.logits else ()
        return ObjectCandidates((self.mask,), 0, logits, self.frame)

    def for_keeps(self) -> ObjectCandidates:
        """What an object that is done is kept with: the chosen logits only.

        Each takes an eighth of a megabyte.
        """
        kept = tuple(
            logits if i == self.chosen else None
            for i, logits in enumerate(self.logits)
        )
        if all(a is b for a, b in zip(kept, self.logits, strict=True)):
            return self
        # a copy, because all three are parts of one array
        kept = tuple(None if part is None else part.copy() for part in kept)
        return replace(self, logits=kept)


class PromptStep(NamedTuple):
    """Prompts that were asked before others were added to them.

    Attributes
    ----------
    plane : ImagePlane
        The plane as it was shown.
    prompts : Prompts
        All prompts then.
    chosen : int
        Index of the mask that was chosen, and fed back.
    """

    plane: ImagePlane
    prompts: Prompts
    chosen: int


@dataclass(frozen=True, eq=False)
class ObjectView:
    """An object on one plane.

    Attributes
    ----------
    plane : ImagePlane
        Which plane.
    prompts : Prompts
        What the model was asked.
    candidates : ObjectCandidates or None
        What it answered; None while that is awaited, or if it found nothing.
    automatic : bool
        Whether the prompts were made by propagation, not by a person.
    previous : ObjectCandidates or None
        Answer to fewer prompts whose mask was fed back for this one.
    steps : tuple of PromptStep
        Fewer prompts, one after the other, that led to this answer.
    """

    plane: ImagePlane
    prompts: Prompts
    candidates: ObjectCandidates | None = None
    automatic: bool = False
    previous: ObjectCandidates | None = None
    steps: tuple[PromptStep, ...] = ()

    @property
    def mask(self) -> Mask | None:
        """The mask that is chosen, None if there is none."""
        return None if self.candidates is None else self.candidates.mask

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        given = self.prompts.mask_input
        size = 0 if given is None else given.nbytes
        answers = (self.candidates, self.previous)
        return size + sum(a.nbytes for a in answers if a is not None)


@dataclass(frozen=True, eq=False)
class ObjectRecord:
    """An object of a labels target, on all its planes.

    Attributes
    ----------
    number : int
        Its own among the objects of a target, its label where that is free;
        0 while it is not written.
    label : int
        Value of its pixels; several objects may share one.
    views : mapping
        Its `ObjectView` on each plane, by `ImagePlane.place`.
    class_name : str
        Class it was assigned to, or empty.
    origin : str
        How it was made.
    reviewed : bool
        Whether somebody has looked at it and kept it.
    """

    number: int = 0
    label: int = 0
    views: Mapping[Hashable, ObjectView] = field(
        default_factory=dict, repr=False
    )
    class_name: str = ''
    origin: Origin = 'prompts'
    reviewed: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is no prompt on any plane."""
        return not self.views

    @property
    def masks(self) -> list[Mask]:
        """Chosen masks of all planes that have one."""
        masks = (view.mask for view in self.views.values())
        return [mask for mask in masks if mask is not None]

    @cached_property
    def score(self) -> float:
        """Lowest predicted IoU of its planes; NaN if there is none."""
        return _lowest(mask.score for mask in self.masks)

    @cached_property
    def stability(self) -> float:
        """Lowest stability of its planes; NaN if there is none."""
        return _lowest(mask.stability for mask in self.masks)

    @cached_property
    def area(self) -> int:
        """Pixels of the masks of all its planes."""
        return sum(mask.area for mask in self.masks)

    @property
    def prompts(self) -> int:
        """Number of prompts that people gave, on all planes."""
        return sum(
            count_prompts(view.prompts)
            for view in self.views.values()
            if not view.automatic
        )

    @cached_property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(view.nbytes for view in self.views.values())

    def view(self, plane: ImagePlane) -> ObjectView | None:
        """Return what is known of it on a plane."""
        return self.views.get(plane.place)

    def with_view(self, view: ObjectView) -> ObjectRecord:
        """Return the record with another view on the view's plane."""
        return replace(self, views={**self.views, view.plane.place: view})

    def without(self, plane: ImagePlane) -> ObjectRecord:
        """Return the record without its view on a plane."""
        return replace(
            self,
            views={
                place: view
                for place, view in self.views.items()
                if place != plane.place
            },
        )

    def without_planes(
        self, gone: Callable[[ImagePlane], bool]
    ) -> ObjectRecord | None:
        """Return the record without some planes, None if no other is left."""
        record = self
        for view in self.views.values():
            if gone(view.plane):
                record = record.without(view.plane)
        return None if record.empty else record


def count_prompts(prompts: Prompts) -> int:
    """Return the number of points, boxes and regions."""
    regions = (prompts.box, prompts.region)
    return len(prompts.points) + sum(r is not None for r in regions)


def _lowest(values: Any) -> float:
    known = [value for value in values if not np.isnan(value)]
    return min(known, default=float('nan'))
