"""Propagation of an object in the background, as one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Protocol

from psygnal import Signal

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.overwritten import (
    is_overwritten,
    move_removal,
)
from napari_mobilesam.session.objects.records import (
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.targets import WritePolicy, labels_in
from napari_mobilesam.session.objects.writing import (
    clear_beneath,
    shrunken_labels,
)
from napari_mobilesam.session.prompts.prompting import candidates_of
from napari_mobilesam.session.prompts.propagation import (
    Limits,
    PropagationEnd,
    PropagationOptions,
    PropagationStep,
    SkippedPlane,
    asked,
    propagate,
)
from napari_mobilesam.session.runtime.background import (
    Background,
    BackgroundJob,
)
from napari_mobilesam.text import counted, first_objects, first_three
from napari_mobilesam.types import Mask, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """Outcome of a propagation.

    Attributes
    ----------
    record : ObjectRecord
        The object with all its planes.
    objects : Objects
        Objects that it belongs to.
    reached : tuple of int
        Indices of the planes that were reached, ascending.
    ended : tuple of PropagationEnd
        Planes where it ended, with the reasons.
    complete : bool
        False if cancelled or failed; planes so far are kept.
    skipped : tuple of int
        Indices of planes without a finite pixel, ascending.
    covered : tuple of int
        Numbers of objects removed because nothing or only a thin rim was left
        of them.
    shrunken : tuple of int
        Labels of objects of which less than half is left.
    hidden : tuple of int
        Indices of planes without a pixel of it, ascending: other labels are
        kept there, or the labels do not cover it.
    removed : bool
        Whether it was removed, because others have overwritten all of it
        meanwhile.
    """

    record: ObjectRecord
    objects: Objects
    reached: tuple[int, ...]
    ended: tuple[PropagationEnd, ...]
    complete: bool
    skipped: tuple[int, ...] = ()
    covered: tuple[int, ...] = ()
    shrunken: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()
    removed: bool = False

    @property
    def text(self) -> str:
        """Summary for the user."""
        return self.describe(self.record.text.capitalize(), 'plane')

    def describe(self, name: str, unit: str) -> str:
        """Return a summary for the user.

        Parameters
        ----------
        name : str
            Name of the object: ``'Track 7'``.
        unit : str
            Name of a plane: ``'frame'``.
        """
        stopped = '' if self.complete else 'Stopped. '
        if len(self.reached) > 1:
            count = counted(len(self.reached), unit)
            numbers = _in_ranges(self.reached)
            text = f'{name} was propagated to {count}, {numbers}'
        else:
            plane = (
                f'{unit} {self.reached[0]}' if self.reached else f'no {unit}'
            )
            text = f'{name} was propagated to {plane}'
        if self.skipped:
            planes = ', '.join(map(str, self.skipped))
            text += f'; empty {unit}s were skipped ({planes})'
        if self.hidden:
            planes = first_three(self.hidden)
            text += f'; nothing was written on {unit} {planes}: '
            text += 'other labels cover it, or it lies outside the labels'
        ends = ' and '.join(
            f'{unit} {end.number} ({end.reason})'
            for end in sorted(self.ended, key=lambda end: end.number)
        )
        if ends:
            text += f'. Propagation ended at {ends}'
        if self.covered:
            text += f'. It covers all of {first_objects(self.covered)}'
        if self.shrunken:
            text += f'. It covers most of {first_objects(self.shrunken)}'
        if self.removed:
            text += '. Others have overwritten all of it meanwhile'
        return f'{stopped}{text}.'


def _in_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers for a message: ``'3 to 5, 7, 9 to 12'``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    return ', '.join(
        f'{one[0]} to {one[-1]}' if len(one) > 1 else str(one[0])
        for one in ranges
    )


class PropagationTrack(Limits, Protocol):
    """Track along which an object is propagated."""

    def mask(self, plane: ImagePlane) -> Mask | None:
        """Return the pixels of the track on a plane; None if none."""


@dataclass(eq=False)
class PropagationRun(BackgroundJob[PropagationStep]):
    """A propagation of an object, written as one step, which it opens.

    Planes with prompts of the user stay unchanged; planes of an earlier
    propagation are predicted again.

    Attributes
    ----------
    record : ObjectRecord
        The object; labelled pixels without a record get this one.
    objects : Objects
        Objects that it belongs to.
    planes : sequence of ImagePlane
        All planes, in order along the axis.
    options : PropagationOptions or None
        Direction and stopping criteria.
    policy : {'overwrite', 'keep'}
        Treatment of existing labels.
    clean_up : CleanUp or None
        Clean-up of the masks.
    replay_code : ReplayCode or None
        Code of the step in the script.
    track : PropagationTrack or None
        Track of the object; its pixels on the planes are replaced if they
        differ, and other tracks are left alone.

    Raises
    ------
    SegmentationError
        The object has no prompt of the user on these planes.
    LabelsError
        Its labels cannot be written, or a job is writing the object.
    """

    record: ObjectRecord
    objects: Objects
    planes: Sequence[ImagePlane]
    options: PropagationOptions | None = None
    policy: WritePolicy = 'overwrite'
    clean_up: CleanUp | None = None
    replay_code: ReplayCode | None = None
    track: PropagationTrack | None = None
    title: ClassVar[str] = 'Plane'

    def __post_init__(self) -> None:
        record, planes = self.record, self.planes
        self._base = record
        # views with prompts of the user, and automatic ones, by plane
        self._keys, old = _views_along(record, planes)
        reach = asked(self._keys, len(planes), self.options)
        self._total = len(reach)
        # views of an earlier propagation not replaced yet
        self._old = {old[n].plane.place: old[n] for n in reach if n in old}
        if self.track is not None:
            # a track continues where it is met again
            self._old, self.policy = {}, 'keep'
        self._step = self.objects.begin(
            f'propagating {record.text}', propagated=record
        )
        self._reached: list[int] = []
        self._ended: list[PropagationEnd] = []
        self._skipped: list[int] = []
        self._hidden: list[int] = []

    @property
    def total(self) -> int:
        """Number of planes that may be reached."""
        return self._total

    def answers(self, engine: Engine, model: Sam) -> Iterator[PropagationStep]:
        """Predict the planes, on the worker thread."""
        predict = partial(candidates_of, engine, model, self.clean_up)
        return propagate(
            predict, self.planes, self._keys, self.options, self.track
        )

    def take(self, answer: PropagationStep) -> None:
        """Write a plane."""
        if isinstance(answer, SkippedPlane):
            self._skipped.append(answer.number)
            return
        if isinstance(answer, PropagationEnd):
            self._ended.append(answer)
            return
        view = answer.view
        self._erase(view.plane)
        before = None if self.track is None else self.track.mask(view.plane)
        if before is not None:
            own = self.record.label
            self._step.paint(view.plane, before, 0, lambda here: here == own)
        mask = view.mask
        assert mask is not None
        self._step.paint(view.plane, mask, self.record.label, self.policy)
        there = labels_in(self.objects.target, view.plane, mask)
        written = self.record.label in there
        record = self.record.without(view.plane)
        self.record = replace(
            record.with_view(view) if written else record,
            number=record.number or self.objects.number_for(record.label),
            origin=(
                'propagation' if record.origin == 'labels' else record.origin
            ),
        )
        self._step.put(self.record)
        (self._reached if written else self._hidden).append(answer.number)

    def end(self, complete: bool) -> PropagationResult:
        """Erase planes of an earlier propagation that were not reached."""
        # a cancelled propagation cannot be replayed exactly
        self._step.replay_code = self.replay_code if complete else None
        if complete:
            for view in list(self._old.values()):
                self._erase(view.plane)
                self.record = self.record.without(view.plane)
                self._step.put(self.record)
        covered = clear_beneath(
            self.objects, self._step, self.record, self.policy
        )
        removed, shrunken = self._finish()
        return PropagationResult(
            self.record,
            self.objects,
            tuple(sorted(self._reached)),
            tuple(self._ended),
            complete,
            tuple(sorted(self._skipped)),
            tuple(sorted(other.number for other in covered)),
            shrunken,
            tuple(sorted(self._hidden)),
            removed,
        )

    def _finish(self) -> tuple[bool, tuple[int, ...]]:
        """End the step; return whether the object was removed.

        That is, if others have overwritten all of it meanwhile. Returned, too,
        are the labels of which less than half is left.
        """
        objects, record, base = self.objects, self.record, self._base
        removed = record.number in objects and is_overwritten(objects, record)
        overwritten = base.number in objects and is_overwritten(objects, base)
        if removed:
            self._step.remove(record)
        self._step.finish()
        shrunken = shrunken_labels(objects) if self._reached else []
        if overwritten:
            move_removal(objects, base)
        return removed, tuple(shrunken)

    def _erase(self, plane: ImagePlane) -> None:
        view = self._old.pop(plane.place, None)
        if view is not None:
            self._step.erase(replace(self.record, views={plane.place: view}))


def _views_along(
    record: ObjectRecord, planes: Sequence[ImagePlane]
) -> tuple[dict[int, ObjectView], dict[int, ObjectView]]:
    """Return views with user prompts, and automatic ones, by plane."""
    keys: dict[int, ObjectView] = {}
    old: dict[int, ObjectView] = {}
    for index, plane in enumerate(planes):
        view = record.view(plane)
        if view is None:
            continue
        if view.automatic:
            old[index] = view
        elif view.mask is not None:
            # as the plane is shown now
            keys[index] = replace(view, plane=plane)
    if not keys:
        raise SegmentationError(
            f'{record.text.capitalize()} has no prompt on these planes: open '
            'it and click it on one of them.'
        )
    return keys, old


class Propagation:
    """Follow objects through the planes of a stack.

    Parameters
    ----------
    background : Background
        Runs the job.

    Attributes
    ----------
    finished : Signal(PropagationResult)
        The object was followed to its ends, or propagation was cancelled.
    """

    finished = Signal(object)

    def __init__(self, background: Background) -> None:
        self._background = background
        self._run: PropagationRun | None = None

    def start(self, run: PropagationRun) -> None:
        """Start a propagation."""
        self._run = run
        self._background.start(run, partial(self._end, run))

    def _end(self, run: PropagationRun, complete: bool) -> None:
        if self._run is run:
            self._run = None
        self.finished.emit(run.end(complete))

    def forget(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Stop a propagation on planes that are gone."""
        if self._run is not None and any(map(gone, self._run.planes)):
            self._background.abandon()
