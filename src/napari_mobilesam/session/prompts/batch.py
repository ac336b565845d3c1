"""Segmentation of many prompts at once, one object per prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.objects.writing import (
    check_class_label,
    check_label,
    clear_beneath,
)
from napari_mobilesam.session.prompts.prompt_messages import check_prompts
from napari_mobilesam.session.prompts.prompting import candidates_of
from napari_mobilesam.session.runtime.background import (
    Background,
    BackgroundJob,
)
from napari_mobilesam.text import counted, explain, first_objects
from napari_mobilesam.types import PromptError, Prompts, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Overlaps = Literal['first', 'last', 'best']

COVERED = 'other objects cover it, or it lies outside the labels.'


class BatchItem(NamedTuple):
    """One object of a batch.

    Attributes
    ----------
    plane : ImagePlane
        Plane of the prompts.
    prompts : Prompts
        A box, points, or both.
    """

    plane: ImagePlane
    prompts: Prompts


class _Answer(NamedTuple):
    number: int
    view: ObjectView
    problem: str = ''


@dataclass(frozen=True, eq=False)
class BatchResult:
    """Outcome of a batch.

    Attributes
    ----------
    records : tuple of ObjectRecord
        Objects that were written, in the order of their prompts.
    first_label : int
        Label of the first prompt; prompt ``i`` has ``first_label + i``,
        unless one label was given for all.
    missing : dict of int to str
        Reason for each prompt that gave no object, by its number.
    total : int
        Number of prompts.
    complete : bool
        False if cancelled or failed; objects so far are kept.
    numbers : tuple of int
        Number of the prompt of each record.
    covered : tuple of int
        Numbers of earlier objects removed because nothing or only a thin rim
        was left of them.
    """

    records: tuple[ObjectRecord, ...]
    first_label: int
    missing: dict[int, str]
    total: int
    complete: bool
    numbers: tuple[int, ...] = ()
    covered: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """Summary for the user."""
        stopped = '' if self.complete else 'Stopped. '
        text = f'{stopped}{len(self.records)} of {self.total} prompts gave '
        text += 'an object.'
        if self.missing:
            number, reason = next(iter(self.missing.items()))
            text += f' Prompt {number + 1}: {reason}'
        if self.covered:
            text += f' They cover all of {first_objects(self.covered)}.'
        return text


@dataclass(eq=False)
class Batch(BackgroundJob[_Answer]):
    """One object per prompt item, written as one step, which it opens.

    Attributes
    ----------
    items : sequence of BatchItem
        Prompts, one object each; object ``i`` gets the ``i``-th free label,
        whether or not others are found.
    objects : Objects
        Objects of the labels.
    options : WriteOptions
        Options of writing.
    overlaps : {'best', 'first', 'last'}
        Which object gets a pixel covered by several: the one with the highest
        predicted IoU, the first or the last. For existing labels, ``options``
        decides.
    clean_up : CleanUp or None
        Clean-up of the masks.
    replay_code : callable or None
        Returns the code of the step in the script, given the label of the
        first prompt.
    first_label : int or None
        Label of the first prompt; by default the next free one.

    Raises
    ------
    PromptError
        There is no prompt.
    LabelsError
        The labels are locked or full, or cannot hold the label.
    """

    items: Sequence[BatchItem]
    objects: Objects
    options: WriteOptions
    overlaps: Overlaps = 'best'
    clean_up: CleanUp | None = None
    replay_code: Callable[[int], ReplayCode] | None = None
    first_label: int | None = None

    def __post_init__(self) -> None:
        if not self.items:
            raise PromptError(
                'No boxes or points: choose a layer that has some.'
            )
        # done first: an error here must not leave a step open
        self._first_label = self._reserved_label()
        self._step = self.objects.begin(counted(self.total, 'prompt'))
        self._scores: dict[int, float] = {}
        self._records: dict[int, ObjectRecord] = {}
        self._missing: dict[int, str] = {}
        # numbers of earlier objects that were removed
        self._covered: list[int] = []

    @property
    def total(self) -> int:
        """Number of prompts."""
        return len(self.items)

    def _reserved_label(self) -> int:
        """Reserve the labels of all prompts, and return the first."""
        check_class_label(self.objects, self.options)
        if self.options.label is None:
            return self.objects.reserve_labels(self.total, self.first_label)
        check_label(self.objects, self.options.label)
        return self.options.label

    def answers(self, engine: Engine, model: Sam) -> Iterator[_Answer]:
        """Predict the objects, on the worker thread."""
        ask = partial(candidates_of, engine, model, self.clean_up)
        for number in _by_place(self.items):
            yield self._answer(number, ask)

    def _answer(
        self,
        number: int,
        ask: Callable[[ImagePlane, Prompts], ObjectCandidates | None],
    ) -> _Answer:
        plane, prompts = self.items[number]
        view = ObjectView(plane, prompts)
        try:
            check_prompts(plane.shape, prompts)
            # the viewport says nothing about prompts that are not clicked
            found = ask(replace(plane, viewport=None), prompts)
        except SegmentationError as error:
            # one invalid prompt must not end the batch
            return _Answer(number, view, explain(error))
        if found is None:
            return _Answer(number, view, 'the model found nothing.')
        return _Answer(number, replace(view, candidates=found.for_keeps()))

    def take(self, answer: _Answer) -> None:
        """Write an answer, if it contains an object."""
        mask = answer.view.mask
        if mask is None:
            self._missing[answer.number] = answer.problem
            return
        semantic = self.options.label
        label = semantic or self._first_label + answer.number

        def overwritable(values: NDArray[Any]) -> NDArray[np.bool_]:
            return self._overwritable(values, mask.score)

        before = self._step.pixels
        self._step.paint(answer.view.plane, mask, label, overwritable)
        if self._step.pixels == before:
            self._missing[answer.number] = COVERED
            return
        self._scores[label] = mask.score
        record = ObjectRecord(
            self.objects.number_for(label),
            label,
            {answer.view.plane.place: answer.view},
            self.options.class_name,
            'batch',
        )
        self._step.put(record)
        self._records[answer.number] = record
        self._clear_beneath(record)

    def _clear_beneath(self, record: ObjectRecord) -> None:
        numbers = {each.number: n for n, each in self._records.items()}
        for other in clear_beneath(
            self.objects, self._step, record, self.options.policy, numbers
        ):
            number = numbers.get(other.number)
            if number is None:
                self._covered.append(other.number)
            else:
                del self._records[number]
                self._missing[number] = COVERED

    def end(self, complete: bool) -> BatchResult:
        """End the step and return the outcome."""
        # a cancelled batch cannot be replayed exactly
        if complete and self.replay_code is not None:
            self._step.replay_code = self.replay_code(self._first_label)
        self._forget_covered()
        self._step.title = counted(len(self._records), 'object')
        self._step.finish()
        ordered = tuple(self._records[n] for n in sorted(self._records))
        return BatchResult(
            ordered,
            self._first_label,
            dict(sorted(self._missing.items())),
            self.total,
            complete,
            tuple(sorted(self._records)),
            tuple(sorted(self._covered)),
        )

    def _forget_covered(self) -> None:
        """Remove objects that others have covered since they were written."""
        if self.options.label is not None:
            return
        left = self._step.pixel_changes()
        for number, record in list(self._records.items()):
            if not left.get(record.label):
                self._step.remove(record)
                del self._records[number]
                self._missing[number] = COVERED

    def _overwritable(
        self, values: NDArray[Any], score: float
    ) -> NDArray[np.bool_]:
        """Return where an object with this score may be written."""
        keep = self.options.policy == 'keep' or self.objects.target.preserved
        free = values == 0
        labels = np.fromiter(self._scores, dtype=np.int64)
        ours = np.isin(values, labels)
        theirs = ~free & ~ours
        allowed = free | (theirs & (not keep))
        if self.overlaps == 'last':
            allowed |= ours
        elif self.overlaps == 'best':
            worse = [n for n, other in self._scores.items() if other < score]
            allowed |= np.isin(values, worse)
        return np.asarray(allowed)


class BatchSegmentation:
    """Segment one object per prompt item, in the background.

    Parameters
    ----------
    background : Background
        Runs the job.

    Attributes
    ----------
    finished : Signal(BatchResult)
        All prompts were answered, or the batch was cancelled.
    """

    finished = Signal(object)

    def __init__(self, background: Background) -> None:
        self._background = background

    def start(self, batch: Batch) -> None:
        """Start a batch."""
        self._background.start(
            batch, lambda complete: self.finished.emit(batch.end(complete))
        )


def _by_place(items: Sequence[BatchItem]) -> list[int]:
    """Group the numbers of the items by plane.

    Each plane is thus read and embedded only once.
    """
    places: dict[Any, int] = {}
    for item in items:
        places.setdefault(item.plane.place, len(places))
    return sorted(
        range(len(items)), key=lambda n: places[items[n].plane.place]
    )
