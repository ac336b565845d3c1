"""Output of a run: write its objects to the labels, and update them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
)
from napari_mobilesam.session.everything.rewrite import Rewrite, RunRecords
from napari_mobilesam.session.everything.run_code import filter_code, run_code
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.staging import StagedObjects

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection
    from napari_mobilesam.session.objects.history import Entry
    from napari_mobilesam.session.objects.object_store import ObjectStore
    from napari_mobilesam.session.objects.replay_code import (
        PlaneCode,
        ReplayCode,
    )


@dataclass(frozen=True, eq=False)
class SelectionNote:
    """Note of a write in the history.

    Attributes
    ----------
    output : object
        Identity of the output.
    before, after : Selection or None
        Selections written before, if any, and now.
    """

    output: object
    before: Selection | None
    after: Selection


@dataclass(eq=False)
class PreparedWrite:
    """A staged write, for `EverythingOutput.finish`.

    Attributes
    ----------
    result : EverythingResult
        Result that is written.
    key : hashable
        Consecutive steps of the same key are merged.
    staged : StagedObjects
        Staged changes of the objects.
    rewrite : Rewrite
        Records of the run after the write.
    change : callable
        Changes the staged objects.
    error : Exception or None
        Why that failed.
    """

    result: EverythingResult
    key: Hashable
    staged: StagedObjects
    rewrite: Rewrite
    change: Callable[[], None]
    error: Exception | None = None

    def work(self) -> None:
        """Compute the changes; call this first, on any thread."""
        try:
            self.change()
        except Exception as error:  # noqa: BLE001 - raised by `finish`
            self.error = error


class EverythingOutput:
    """Objects of one run in the labels.

    A new selection of the same run replaces the previous one. Objects that the
    user has reviewed, corrected or deleted stay unchanged, and so do pixels
    with other labels.

    Parameters
    ----------
    objects : Objects
        Objects of the labels.
    planes : sequence of ImagePlane
        Planes of the run.
    overwrite : bool
        Whether the first write overwrites existing labels.
    semantic : bool
        Whether all objects share one label.
    plane_code : callable, optional
        Returns the expression that finds a plane; without it, a script does
        not repeat the run.

    Attributes
    ----------
    selection_restored : Signal(Selection)
        Emitted when undo or redo restores another selection.
    """

    selection_restored = Signal(object)

    def __init__(
        self,
        objects: Objects,
        planes: Sequence[ImagePlane],
        overwrite: bool = False,
        semantic: bool = False,
        plane_code: PlaneCode | None = None,
    ) -> None:
        self.objects = objects
        self._planes = planes
        self._overwrite = overwrite
        self._semantic = semantic
        self._plane_code = plane_code
        # selection of the first write, and whether a script repeats the run
        self._first: Selection | None = None
        self._replayable = False
        self._known = RunRecords()
        # whether the history contains a step of the run
        self._entered = False
        # identifies this output's entries in the history
        self._mark = object()
        self._writing = False
        self._selection: Selection | None = None
        # key of the current steps, such as those of one slider, and the
        # selection before them
        self._key: Hashable = None
        self._start: Selection | None = None
        objects.changed.connect(self._look)

    def close(self) -> None:
        """Stop following the objects; the labels stay."""
        self.objects.changed.disconnect(self._look)
        self.objects.hold_labels(self._mark, 0)

    @property
    def numbers(self) -> set[int]:
        """Numbers of the existing objects of this run."""
        known = {record.number for record in self._known.records.values()}
        return {number for number in known if number in self.objects}

    @property
    def selection(self) -> Selection | None:
        """Selection in the labels, through undo and redo; None if none."""
        for note in self._notes(reversed(self.objects.history.done)):
            return note.after
        for note in self._notes(reversed(self.objects.history.undone)):
            return note.before
        return None

    @property
    def undone(self) -> bool:
        """True if the run itself was undone, whatever was done since."""
        if not self._entered or self.selection is not None:
            return False
        # other objects may have taken the numbers of its objects since
        made = self._known.made
        return not any(id(self.objects.get(n)) in made for n in self.numbers)

    def write(self, result: EverythingResult, key: Hashable = None) -> None:
        """Replace the objects of the run with those of a result.

        Parameters
        ----------
        result : EverythingResult
            Result of the same run as the previous one, if any.
        key : hashable
            Consecutive steps of the same key are merged.

        Raises
        ------
        LabelsError
            The labels are not editable, have too few free values, or do not
            cover the image. Nothing is written.
        """
        rewrite, change = self._prepared(self.objects, result, key)
        with self._own():
            change()
        self._keep(rewrite)

    def prepare(
        self, result: EverythingResult, key: Hashable = None
    ) -> PreparedWrite:
        """Stage a write, so that the viewer's thread is not blocked.

        Call on that thread. The parameters are those of `write`.
        """
        staged = self.objects.stage()
        rewrite, change = self._prepared(staged, result, key)
        return PreparedWrite(result, key, staged, rewrite, change)

    def finish(self, prepared: PreparedWrite) -> bool:
        """Write a staged write.

        Returns
        -------
        bool
            False if the labels have changed since; nothing is written.

        Raises
        ------
        LabelsError
            The labels are no longer editable, or as for `write`.
        """
        if prepared.error is not None:
            raise prepared.error
        with self._own():
            done = self.objects.commit(prepared.staged)
        if done:
            self._keep(prepared.rewrite)
        return done

    def _prepared(
        self, objects: ObjectStore, result: EverythingResult, key: Hashable
    ) -> tuple[Rewrite, Callable[[], None]]:
        """Return what writes a result, and how to write it."""
        known = self._known.without(self._undone())
        rewrite = Rewrite(
            objects, self._planes, known, self._overwrite, self._semantic
        )
        before = self._begin(key)
        note = SelectionNote(self._mark, before, result.selection)
        again, code = before is not None, self._code(result)
        moved = self.selection not in (None, result.selection)
        return (
            rewrite,
            lambda: rewrite.write(result, key, note, again, moved, code),
        )

    def _undone(self) -> set[int]:
        """Return the objects that only undone steps have made.

        The next write makes them anew, as if these steps had never existed.
        """
        history = self.objects.history
        undone = {n for entry in history.undone for n in entry.records_after}
        for entry in history.done:
            undone -= entry.records_before.keys() | entry.records_after.keys()
        return {number for number in undone if number not in self.objects}

    def _code(self, result: EverythingResult) -> ReplayCode | None:
        """Return the code of the run, or of a filter if the run is written."""
        chosen = result.selection
        if self.selection is not None:
            known = self._replayable and all(
                entry.replay_code is not None
                for entry in self.objects.history.done
                if any(self._notes([entry]))
            )
            return filter_code(chosen) if known else None
        code = None
        if self._plane_code is not None:
            code = run_code(
                result, self._plane_code, self._overwrite, self._semantic
            )
        self._replayable = code is not None
        first = self._first = self._first or chosen
        if code is not None and chosen != first:
            # the run itself found no object
            code = code.then(filter_code(chosen))
        return code

    def _begin(self, key: Hashable) -> Selection | None:
        """Return the selection that an undo of the next write restores."""
        if key is None or key != self._key:
            self._key, self._start = key, self.selection
        return self._start

    def _notes(self, entries: Iterable[Entry]) -> Iterator[SelectionNote]:
        """Yield the notes of this output in the history."""
        for entry in entries:
            note = entry.note
            if isinstance(note, SelectionNote) and note.output is self._mark:
                yield note

    @contextmanager
    def _own(self) -> Iterator[None]:
        self._writing = True
        try:
            yield
        finally:
            self._writing = False

    def _keep(self, rewrite: Rewrite) -> None:
        self._known, self._overwrite = rewrite.known, False
        self._selection = self.selection
        if not self._entered:
            self._entered = any(self._notes(self.objects.history.done))
        self._hold()

    def _hold(self) -> None:
        """Keep other objects from taking the labels of hidden objects."""
        known = self._known.without(self._undone())
        hidden = (
            record.label
            for record in known.records.values()
            if record.number not in self.objects
            and record.number not in self._known.deleted
        )
        highest = 0 if self.undone else max(hidden, default=0)
        self.objects.hold_labels(self._mark, highest)

    def _look(self) -> None:
        """Follow changes by the user."""
        if self._writing:
            return
        last = self.objects.history.last
        gone: set[int] = set()
        if last is not None and not any(self._notes([last])):
            gone = {n for n, r in last.records_after.items() if r is None}
        # an undo may have restored some
        deleted = frozenset(
            number
            for number in self._known.deleted | gone
            if number not in self.objects
        )
        self._known = replace(self._known, deleted=deleted)
        self._hold()
        now = self.selection
        if now is not None and now != self._selection:
            self._selection, self._key = now, None
            self.selection_restored.emit(now)
