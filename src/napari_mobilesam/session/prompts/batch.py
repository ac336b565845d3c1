"""One object per box or point of a list, in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.step import Step
from napari_mobilesam.session.objects.targets import WriteOptions
from napari_mobilesam.session.prompts.prompt_messages import check_prompts
from napari_mobilesam.session.prompts.prompting import candidates_of
from napari_mobilesam.session.runtime.background import (
    Background,
    BackgroundJob,
)
from napari_mobilesam.text import explain
from napari_mobilesam.types import PromptError, Prompts, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Overlaps = Literal['first', 'last', 'best']


class BatchItem(NamedTuple):
    """One object of a batch.

    Attributes
    ----------
    plane : ImagePlane
        Plane that its prompts lie on.
    prompts : Prompts
        A box, a point, or any mixture.
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
        Label of the first prompt; prompt ``i`` has ``first_label + i``.
    missing : dict of int to str
        Why the prompts of these numbers gave no object.
    total : int
        Number of prompts.
    complete : bool
        False if it was cancelled or failed: what was found is kept.
    """

    records: tuple[ObjectRecord, ...]
    first_label: int
    missing: dict[int, str]
    total: int
    complete: bool

    @property
    def text(self) -> str:
        """One sentence on it."""
        stopped = '' if self.complete else 'Stopped. '
        text = f'{stopped}{len(self.records)} of {self.total} prompts gave '
        text += 'an object.'
        if self.missing:
            number, reason = next(iter(self.missing.items()))
            text += f' Prompt {number + 1}: {reason}'
        return text


@dataclass
class _RunningBatch:
    """A batch under way: what was written so far."""

    items: Sequence[BatchItem]
    step: Step
    objects: Objects
    options: WriteOptions
    overlaps: Overlaps
    first_label: int
    scores: dict[int, float] = field(default_factory=dict)
    records: dict[int, ObjectRecord] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def take(self, answer: _Answer) -> None:
        """Write an object, if there is one."""
        mask = answer.view.mask
        if mask is None:
            self.missing[answer.number] = answer.problem
            return
        semantic = self.options.label
        label = semantic or self.first_label + answer.number

        def overwritable(values: NDArray[Any]) -> NDArray[np.bool_]:
            return self._overwritable(values, mask.score)

        before = self.step.pixels
        self.step.paint(answer.view.plane, mask, label, overwritable)
        if self.step.pixels == before:
            self.missing[answer.number] = (
                'other objects cover it, or the labels do not reach it.'
            )
            return
        self.scores[label] = mask.score
        record = ObjectRecord(
            self.objects.number_for(label),
            label,
            {answer.view.plane.place: answer.view},
            self.options.class_name,
            'batch',
        )
        self.step.put(record)
        self.records[answer.number] = record

    def result(self, complete: bool) -> BatchResult:
        """Say what came of it."""
        ordered = tuple(self.records[n] for n in sorted(self.records))
        return BatchResult(
            ordered,
            self.first_label,
            dict(sorted(self.missing.items())),
            len(self.items),
            complete,
        )

    def _overwritable(
        self, values: NDArray[Any], score: float
    ) -> NDArray[np.bool_]:
        """Which pixels an object of this score may be written to."""
        keep = self.options.policy == 'keep' or self.objects.target.preserved
        free = values == 0
        labels = np.fromiter(self.scores, dtype=np.int64)
        ours = np.isin(values, labels)
        theirs = ~free & ~ours
        allowed = free | (theirs & (not keep))
        if self.overlaps == 'last':
            allowed |= ours
        elif self.overlaps == 'best':
            worse = [n for n, other in self.scores.items() if other < score]
            allowed |= np.isin(values, worse)
        return np.asarray(allowed)


class BatchSegmentation:
    """Makes one object of each box or point, in the background.

    Parameters
    ----------
    background : Background
        Runs it.
    engine : Engine
        Answers prompts, on the worker thread.

    Attributes
    ----------
    finished : Signal(BatchResult)
        All prompts were answered, or it was cancelled.
    """

    finished = Signal(object)

    def __init__(self, background: Background, engine: Engine) -> None:
        self._background = background
        self._engine = engine

    def start(
        self,
        items: Sequence[BatchItem],
        objects: Objects,
        options: WriteOptions,
        model_name: str,
        overlaps: Overlaps = 'best',
        clean_up: CleanUp | None = None,
        replay_code: ReplayCode | None = None,
    ) -> None:
        """Begin; all that is written is one step of the history.

        Parameters
        ----------
        items : sequence of BatchItem
            Prompts, one object each; object ``i`` gets the ``i``-th free
            label, whichever are found.
        objects : Objects
            Where they are written to.
        options : WriteOptions
            How they are written.
        model_name : str
            Model that is to answer.
        overlaps : {'best', 'first', 'last'}
            Whose a pixel is that several of them claim: that of the highest
            predicted IoU, of the first or of the last. Whether labels from
            before may be overwritten is for ``options`` to say.
        clean_up : CleanUp, optional
            What is done to the masks.
        replay_code : ReplayCode, optional
            How it was asked for.

        Raises
        ------
        PromptError
            There is no prompt.
        LabelsError
            The labels cannot be written to, or are full.
        """
        if not items:
            raise PromptError(
                'There is no box or point: choose a layer that has some.'
            )
        batch = _RunningBatch(
            items,
            objects.begin(f'{len(items)} prompts'),
            objects,
            options,
            overlaps,
            objects.free_label(len(items)),
        )

        def end(complete: bool) -> None:
            # what was cancelled cannot be repeated exactly
            batch.step.replay_code = replay_code if complete else None
            batch.step.finish()
            self.finished.emit(batch.result(complete))

        def answers(model: Sam) -> Iterator[_Answer]:
            for number in _by_place(items):
                yield self._answer(number, items[number], model, clean_up)

        job = BackgroundJob(answers, batch.take, end, len(items), 'Object')
        self._background.start(job, model_name)

    def _answer(
        self,
        number: int,
        item: BatchItem,
        model: Sam,
        clean_up: CleanUp | None,
    ) -> _Answer:
        view = ObjectView(item.plane, item.prompts)
        # nobody looks at the objects of a list one by one: how far the viewer
        # has zoomed says nothing about them
        plane = replace(item.plane, viewport=None)
        try:
            check_prompts(plane.shape, item.prompts)
            found = candidates_of(
                self._engine, plane, item.prompts, model, None, clean_up
            )
        except SegmentationError as error:
            # one prompt beside the image must not end all the others
            return _Answer(number, view, explain(error))
        if found is None:
            return _Answer(number, view, 'the model found nothing.')
        kept = ObjectView(item.plane, item.prompts, found.for_keeps())
        return _Answer(number, kept)


def _by_place(items: Sequence[BatchItem]) -> list[int]:
    """Numbers of the items in their order, plane by plane.

    Each plane is read and embedded once.
    """
    places: dict[Any, int] = {}
    for item in items:
        places.setdefault(item.plane.place, len(places))
    return sorted(
        range(len(items)), key=lambda n: places[items[n].plane.place]
    )
