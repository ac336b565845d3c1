"""Records of objects: prompts and candidates on each plane, class."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.masks import shared_area
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.types import Frame, Mask, Prompts

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.prediction import Prediction

Origin = Literal['prompts', 'batch', 'propagation', 'everything', 'labels']


@dataclass(frozen=True, eq=False)
class ObjectCandidates:
    """Masks predicted for the prompts of one object.

    Attributes
    ----------
    masks : tuple of Mask
        Non-empty masks: whole, part and subpart if the prompts are ambiguous,
        else one.
    chosen : int
        Index of the mask that is shown and written; initially the best.
    logits : tuple of (ndarray or None)
        (s, s) float16 low-res logits of each mask, fed back when prompts are
        added; None if not kept.
    frame : Frame or None
        Window of the logits.
    by_user : bool
        Whether the user has chosen the mask.
    """

    masks: tuple[Mask, ...] = field(repr=False)
    chosen: int = 0
    logits: tuple[NDArray[np.float16] | None, ...] = field(
        default=(), repr=False
    )
    frame: Frame | None = None
    by_user: bool = False

    @classmethod
    def of(cls, prediction: Prediction) -> ObjectCandidates | None:
        """Return the non-empty candidates of a prediction, None if none."""
        masks = [prediction.mask(i) for i in range(len(prediction.scores))]
        found = [i for i, mask in enumerate(masks) if mask.data.any()]
        if not found:
            return None
        scores, preferred = prediction.scores, prediction.best
        best = max(found, key=lambda i: (i == preferred, scores[i]))
        # half precision is enough for the decoder, and takes half the memory
        logits = np.clip(prediction.logits[found], -1e4, 1e4)
        return cls(
            tuple(masks[i] for i in found),
            found.index(best),
            tuple(logits.astype(np.float16)),
            prediction.frame,
        )

    @property
    def mask(self) -> Mask:
        """The chosen mask."""
        return self.masks[self.chosen]

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        arrays = [*self.logits, *(mask.data for mask in self.masks)]
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def chosen_logits(self) -> NDArray[np.float16] | None:
        """Logits of the chosen mask, None if they were not kept."""
        return self.logits[self.chosen] if self.logits else None

    def as_prediction(self) -> Prediction | None:
        """Return the chosen mask as a prediction to refine.

        None if its logits were not kept.
        """
        from napari_mobilesam.segmentation.prediction import Prediction

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
        """Choose another mask, cyclically: -1 is the last one."""
        return replace(self, chosen=index % len(self.masks), by_user=True)

    def chosen_as(self, other: ObjectCandidates | None) -> ObjectCandidates:
        """Choose the mask that the user chose among other candidates."""
        if other is None or not other.by_user:
            return self
        if len(other.masks) != len(self.masks):
            return self
        return self.choose(other.chosen)

    def only_chosen(self) -> ObjectCandidates:
        """Return the chosen mask alone, with its logits."""
        logits = (self.chosen_logits,) if self.logits else ()
        return ObjectCandidates((self.mask,), 0, logits, self.frame)

    def for_keeps(self) -> ObjectCandidates:
        """Return the candidates with only the chosen logits, to save memory.

        Logits take 128 kB per mask.
        """
        kept = tuple(
            logits if i == self.chosen else None
            for i, logits in enumerate(self.logits)
        )
        if all(a is b for a, b in zip(kept, self.logits, strict=True)):
            return self
        # copied, because all three are views of one array
        kept = tuple(None if part is None else part.copy() for part in kept)
        return replace(self, logits=kept)


class PromptStep(NamedTuple):
    """Earlier prompts on a plane, before more were added.

    Attributes
    ----------
    plane : ImagePlane
        The plane as shown, with the scale of the answer.
    prompts : Prompts
        All prompts at that step.
    chosen : int
        Index of the mask that was chosen and fed back.
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
        The plane.
    prompts : Prompts
        Prompts of the object.
    candidates : ObjectCandidates or None
        Answer of the model; None if it is pending or no mask was found.
    automatic : bool
        Whether the prompts come from propagation, not from the user.
    previous : ObjectCandidates or None
        Earlier answer whose mask was fed back for this one.
    steps : tuple of PromptStep
        Earlier prompts, one after the other, that led to this answer.
    """

    plane: ImagePlane
    prompts: Prompts
    candidates: ObjectCandidates | None = None
    automatic: bool = False
    previous: ObjectCandidates | None = None
    steps: tuple[PromptStep, ...] = ()

    @property
    def mask(self) -> Mask | None:
        """The chosen mask, None if there is none."""
        return None if self.candidates is None else self.candidates.mask

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        given = self.prompts.mask_input
        size = 0 if given is None else given.nbytes
        answers = (self.candidates, self.previous)
        return size + sum(a.nbytes for a in answers if a is not None)


Views = Mapping[Hashable, ObjectView]


@dataclass(frozen=True, eq=False)
class ObjectRecord:
    """An object of a labels target, on all its planes.

    Attributes
    ----------
    number : int
        Unique among the objects of the labels, and equal to the label if that
        is free; 0 before the object is written.
    label : int
        Value of its pixels, 0 before there are any; several objects may share
        a label.
    views : mapping
        `ObjectView` on each plane, by `ImagePlane.place`.
    class_name : str
        Class of the object, or empty.
    origin : str
        How the object was made.
    reviewed : bool
        Whether the user has reviewed it.
    """

    number: int = 0
    label: int = 0
    views: Views = field(default_factory=dict, repr=False)
    class_name: str = ''
    origin: Origin = 'prompts'
    reviewed: bool = False

    @property
    def text(self) -> str:
        """Name for messages, with the label if it differs from the number."""
        if self.number in (0, self.label):
            return f'object {self.label}' if self.label else 'the new object'
        return f'object {self.number} (label {self.label})'

    @property
    def empty(self) -> bool:
        """True if there is no prompt on any plane."""
        return not self.views

    @property
    def masks(self) -> list[Mask]:
        """Chosen masks of all planes that have one."""
        masks = (view.mask for view in self.views.values())
        return [mask for mask in masks if mask is not None]

    @cached_property
    def score(self) -> float:
        """Lowest predicted IoU on its planes; NaN if there is none."""
        return lowest(mask.score for mask in self.masks)

    @cached_property
    def stability(self) -> float:
        """Lowest stability on its planes; NaN if there is none."""
        return lowest(mask.stability for mask in self.masks)

    @cached_property
    def area(self) -> int:
        """Number of pixels of the masks on all planes."""
        return sum(mask.area for mask in self.masks)

    @property
    def prompts(self) -> int:
        """Number of prompts of the user on all planes."""
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
        """Return the view on a plane, None if there is none."""
        return self.views.get(plane.place)

    def with_view(self, view: ObjectView) -> ObjectRecord:
        """Return the record with a view added or replaced on its plane."""
        return replace(self, views={**self.views, view.plane.place: view})

    def with_answer(
        self, view: ObjectView, answer: ObjectCandidates | None
    ) -> ObjectRecord:
        """Return the record with an answer to the prompts of a view.

        A mask chosen by the user for these prompts stays chosen.
        """
        before = self.view(view.plane)
        if answer and before and before.prompts is view.prompts:
            answer = answer.chosen_as(before.candidates)
        return self.with_view(replace(view, candidates=answer))

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

    def overlaps(self, other: ObjectRecord) -> bool:
        """Return whether the masks of two objects share pixels."""
        pairs = (
            (self.view(view.plane), view.mask) for view in other.views.values()
        )
        return any(
            own is not None
            and own.mask is not None
            and mask is not None
            and shared_area(own.mask, mask) > 0
            for own, mask in pairs
        )

    def same_object(self, other: ObjectRecord) -> bool:
        """Return whether two records describe the same object.

        Records without a number must have the same labelled pixels.
        """
        if self.number and other.number:
            return self.number == other.number
        return self.label == other.label and self.overlaps(other)

    def without_planes(
        self, gone: Callable[[ImagePlane], bool]
    ) -> ObjectRecord | None:
        """Return the record without some planes; None if none is left."""
        record = self
        for view in self.views.values():
            if gone(view.plane):
                record = record.without(view.plane)
        return None if record.empty else record


def count_prompts(prompts: Prompts) -> int:
    """Return the number of points, boxes and regions."""
    regions = (prompts.box, prompts.region)
    return len(prompts.points) + sum(r is not None for r in regions)


def lowest(values: Iterable[float]) -> float:
    """Return the lowest value that is not NaN; NaN if there is none."""
    known = [value for value in values if not np.isnan(value)]
    return min(known, default=float('nan'))
