"""Refinement of all objects of labels from any program."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.segmentation.label_masks import ObjectMasks
from napari_mobilesam.segmentation.refinement import (
    Refinement,
    RefineParameters,
    judge,
    prompts_of_mask,
    repaint,
)
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.measured_rows import changed_rows
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.step import Step
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    LabelTarget,
    classes_of,
    column_of,
    rows_of,
    whole_picture,
)
from napari_mobilesam.session.prompts.prompting import candidates_of
from napari_mobilesam.session.runtime.background import (
    Background,
    BackgroundJob,
)
from napari_mobilesam.text import counted
from napari_mobilesam.types import Mask, Prompts, SegmentationError, slices_of

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

# (planes with their objects) → code of a step
ReplayOf = Callable[
    [Sequence[tuple[ImagePlane, Mapping[int, Mask]]]], ReplayCode
]
# Planes with more pixels are refused, as all labels of a plane are read at
# once.
MOST_PIXELS = 1 << 26
LABELS_GONE = 'The labels were removed, so nothing was refined.'
NO_OBJECT = 'The labels have no object on these planes: nothing to refine.'


class PlaneChange(NamedTuple):
    """Labels in a part of a plane before and after.

    Attributes
    ----------
    plane : ImagePlane
        The plane.
    corner : tuple of int
        (row, column) of the first pixel.
    before, after : ndarray
        (h, w) integers. Objects from a threshold have their new numbers in
        both.
    """

    plane: ImagePlane
    corner: tuple[int, int]
    before: NDArray[Any]
    after: NDArray[Any]


@dataclass(frozen=True, eq=False)
class RefineResult:
    """Outcome of *Refine all*.

    Attributes
    ----------
    refinements : tuple of Refinement
        Objects on which the model was run, plane by plane.
    changes : tuple of PlaneChange
        Pixels that changed.
    total : int
        Number of objects, counted on each plane.
    planes : int
        Number of planes with objects.
    complete : bool
        False if cancelled or failed; objects so far are refined.
    """

    refinements: tuple[Refinement, ...]
    changes: tuple[PlaneChange, ...]
    total: int
    planes: int
    complete: bool

    @property
    def refined(self) -> int:
        """Number of objects that changed."""
        return sum(each.refined for each in self.refinements)

    @property
    def text(self) -> str:
        """Summary for the user."""
        stopped = '' if self.complete else 'Stopped. '
        text = f'{stopped}Refined {self.refined} of '
        text += f'{_counted_on_planes(self.total, self.planes)}.'
        kept = [each for each in self.refinements if not each.refined]
        if kept:
            stay = 'stays as it was' if len(kept) == 1 else 'stay as they were'
            text += (
                f' {len(kept)} {stay}; object {kept[0].label}: '
                f'{kept[0].reason}.'
            )
        return text


class _RefineAnswer(NamedTuple):
    plane: int
    refinement: Refinement
    prompts: Prompts
    candidates: ObjectCandidates | None


@dataclass
class _PlaneObjects:
    """Labels of a plane when the job started."""

    plane: ImagePlane
    picture: NDArray[Any]
    found: ObjectMasks
    answers: list[_RefineAnswer] = field(default_factory=list)

    def forget_erased(self, target: LabelTarget) -> None:
        """Drop the answers for objects whose pixels are all changed."""
        kept = []
        for answer in self.answers:
            mask = answer.refinement.before
            before = self.picture[slices_of(mask.box)]
            same = target.picture(self.plane, mask.box) == before
            if same[mask.data].any():
                kept.append(answer)
        self.answers = kept


@dataclass(eq=False)
class RefinementRun(BackgroundJob[_RefineAnswer]):
    """Refinement of the objects of labels, written as one step when it ends.

    Attributes
    ----------
    planes : sequence of ImagePlane
        Planes whose labels are refined, each independently.
    objects : Objects
        Objects of the labels, which may come from any program.
    parameters : RefineParameters
        Thresholds.
    clean_up : CleanUp
        Clean-up of the masks.
    before : mapping of int to Mask or None
        Objects to start from, drawn over the labels of the first plane.
    replay_code : callable
        Returns the code of the step, given planes and their objects.
    gone : bool
        Whether the labels were removed from the viewer.

    Raises
    ------
    SegmentationError
        There is no object.
    LabelsError
        The labels cannot be written, or are full.
    """

    planes: Sequence[ImagePlane]
    objects: Objects
    parameters: RefineParameters
    clean_up: CleanUp
    before: Mapping[int, Mask] | None
    replay_code: ReplayOf
    gone: bool = False

    def __post_init__(self) -> None:
        self.objects.target.check()
        self._planes = [
            _read(self.objects, plane, None if number else self.before)
            for number, plane in enumerate(self.planes)
        ]
        if not self.total:
            raise SegmentationError(NO_OBJECT)

    @property
    def total(self) -> int:
        """Number of objects on all planes."""
        return sum(len(each.found.masks) for each in self._planes)

    @property
    def planes_with_objects(self) -> int:
        """Number of planes with objects."""
        return sum(bool(each.found.masks) for each in self._planes)

    def answers(self, engine: Engine, model: Sam) -> Iterator[_RefineAnswer]:
        """Ask for the objects, on the worker thread."""
        answer = partial(candidates_of, engine, model, self.clean_up)
        for number, each in enumerate(self._planes):
            # the viewport says nothing about objects that are not clicked
            ask = partial(answer, replace(each.plane, viewport=None))
            for label, before in each.found.masks.items():
                prompts, best = _better(ask, before)
                found = judge(
                    label,
                    before,
                    None if best is None else best.mask,
                    self.parameters,
                    model.record,
                )
                if not found.refined:
                    prompts = Prompts(region=before)
                yield _RefineAnswer(number, found, prompts, best)

    def take(self, answer: _RefineAnswer) -> None:
        """Store an answer."""
        self._planes[answer.plane].answers.append(answer)

    def end(self, complete: bool) -> RefineResult:
        """Write the refined objects as one step.

        Raises
        ------
        LabelsError
            The labels were locked or removed in the meantime.
        """
        if self.gone:
            raise LabelsError(LABELS_GONE)
        changes: list[PlaneChange] = []
        for each in self._planes:
            each.forget_erased(self.objects.target)
        answers = [a for each in self._planes for a in each.answers]
        # a cancelled job without changes leaves nothing to undo
        refined = any(answer.refinement.refined for answer in answers)
        if answers and (complete or refined):
            count = _counted_on_planes(self.total, self.planes_with_objects)
            if not complete:
                count = f'{len(answers)} of {count}'
            with self.objects.step(f'refining {count}') as step:
                for each in self._planes:
                    changes += self._write_plane(step, each)
                self._put_records(step, answers)
                # a cancelled job cannot be replayed exactly
                if complete:
                    given = [(p.plane, p.found.masks) for p in self._planes]
                    step.replay_code = self.replay_code(given)
        return RefineResult(
            tuple(answer.refinement for answer in answers),
            tuple(changes),
            self.total,
            self.planes_with_objects,
            complete,
        )

    def _write_plane(
        self, step: Step, each: _PlaneObjects
    ) -> list[PlaneChange]:
        after = repaint(
            each.found.labels, [answer.refinement for answer in each.answers]
        )
        before = each.picture
        changed = np.nonzero(before != after)
        if not len(changed[0]):
            return []
        low = [int(axis.min()) for axis in changed]
        high = [int(axis.max()) + 1 for axis in changed]
        box = tuple(map(slice, low, high))
        corner = (low[0], low[1])
        step.replace_picture(each.plane, before[box], after[box], corner)
        # for a threshold that was split into objects, only pixels are changed
        numbered = each.found.labels
        if np.array_equal(before > 0, numbered > 0):
            before = numbered
        return [
            PlaneChange(
                each.plane, corner, before[box].copy(), after[box].copy()
            )
        ]

    def _put_records(self, step: Step, answers: list[_RefineAnswer]) -> None:
        """Add an object for each label, so it can be reviewed."""
        target = self.objects.target
        labels = {answer.refinement.label for answer in answers}
        rows = rows_of(target, tuple(labels))
        classes = classes_of(target, labels)
        # the first of objects that share a label
        records = {each.label: each for each in reversed(list(self.objects))}
        for answer in answers:
            label = answer.refinement.label
            record = records.get(label)
            if record is None:
                record = ObjectRecord(
                    self.objects.number_for(label),
                    label,
                    class_name=classes.get(label, ''),
                    origin='labels',
                )
            plane = self._planes[answer.plane].plane
            if answer.refinement.refined or record.view(plane) is None:
                record = record.with_view(_view(plane, answer))
            # at once, so that the next new one gets another number
            records[label] = replace(record, reviewed=False)
            step.put(records[label])
        rows = changed_rows(rows, step.pixel_changes())
        step.describe(labels, self._rows(rows, answers, labels))

    def _rows(
        self,
        rows: pd.DataFrame,
        answers: list[_RefineAnswer],
        labels: set[int],
    ) -> pd.DataFrame:
        """Return rows of the feature table, keeping other columns."""
        ours = self.objects.rows(tuple(labels)).set_index('index')
        refined = dict.fromkeys(labels, False)
        overlap = dict.fromkeys(labels, math.nan)
        for answer in answers:
            each = answer.refinement
            refined[each.label] |= each.refined
            overlap[each.label] = float(
                np.fmin(overlap[each.label], each.overlap)
            )
        ours['refined'] = [refined[label] for label in ours.index]
        ours['overlap'] = [overlap[label] for label in ours.index]
        others = rows.drop(
            columns=[c for c in ours.columns if c in rows], errors='ignore'
        ).drop_duplicates('index')
        return ours.join(others.set_index('index')).reset_index()


def _counted_on_planes(total: int, planes: int) -> str:
    """Return “4 objects”, or “8 objects on 2 planes” for a stack."""
    text = counted(total, 'object')
    return text if planes == 1 else f'{text} on {planes} planes'


def _view(plane: ImagePlane, answer: _RefineAnswer) -> ObjectView:
    """Return the view of an object, with the rejected mask as alternative."""
    each, found = answer.refinement, answer.candidates
    if found is None:
        candidates = ObjectCandidates((each.before,))
    else:
        kept = found.only_chosen().for_keeps()
        logits: tuple[Any, ...] = kept.logits or (None,)
        masks = (*kept.masks, each.before)
        logits = (*logits, None)
        if not each.refined:
            masks, logits = masks[::-1], logits[::-1]
        candidates = ObjectCandidates(masks, 0, logits, kept.frame)
    return ObjectView(plane, answer.prompts, candidates)


class RefineAll:
    """Refine all objects of labels in the background.

    Parameters
    ----------
    background : Background
        Runs the job.

    Attributes
    ----------
    finished : Signal(RefineResult)
        All objects were refined, or refinement was cancelled.
    """

    finished = Signal(object)

    def __init__(self, background: Background) -> None:
        self._background = background
        self._run: RefinementRun | None = None

    def start(self, run: RefinementRun) -> None:
        """Start a refinement."""
        self._background.start(run, partial(self._end, run))
        self._run = run

    def release(self, gone: Objects) -> None:
        """Stop the refinement of labels that were removed."""
        if self._run is not None and self._run.objects is gone:
            self._run.gone = True
            self._background.cancel()

    def _end(self, run: RefinementRun, complete: bool) -> None:
        self._run = None
        try:
            result = run.end(complete)
        except LabelsError as error:
            planes = run.planes_with_objects
            nothing = RefineResult((), (), run.total, planes, False)
            self._background.fail(error, lambda: self.finished.emit(nothing))
            return
        self.finished.emit(result)


def _better(
    ask: Callable[[Prompts], ObjectCandidates | None], mask: Mask
) -> tuple[Prompts, ObjectCandidates | None]:
    """Predict an object from its box, and box with mask; return the better."""
    asked, best = Prompts(region=mask), None
    for prompts in prompts_of_mask(mask):
        found = ask(prompts)
        if found is not None and (
            best is None or found.mask.score > best.mask.score
        ):
            asked, best = prompts, found
    return asked, best


def _read(
    objects: Objects, plane: ImagePlane, before: Mapping[int, Mask] | None
) -> _PlaneObjects:
    """Read the labels of a plane, on the viewer's thread."""
    height, width = plane.shape
    target = objects.target
    if height * width > MOST_PIXELS:
        raise LabelsError(
            f'“{plane.name}” has {height} × {width} pixels, too many to '
            'refine all objects at once: refine them one by one, or parts of '
            'the image.'
        )
    picture = whole_picture(target, plane).copy()
    drawn = picture.astype(np.int64)
    for label, mask in (before or {}).items():
        drawn[slices_of(mask.box)][mask.data] = label
    rows = rows_of(target, tuple(np.unique(drawn).tolist()))
    found = ObjectMasks.of(drawn, column_of(rows, 'score'), not len(objects))
    largest = max(found.masks, default=0)
    if largest > target.limit:
        raise LabelsError(
            f'“{target.name}” holds labels up to {target.limit}, and there '
            f'are {largest} objects: convert it to a larger type (right-click '
            'the layer).'
        )
    return _PlaneObjects(plane, picture, found)
