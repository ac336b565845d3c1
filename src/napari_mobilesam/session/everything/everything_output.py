"""Writing the objects of a run into labels, and rewriting them."""

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
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.staging import StagedObjects

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection
    from napari_mobilesam.session.objects.history import Entry
    from napari_mobilesam.session.objects.object_store import ObjectStore


@dataclass(frozen=True, eq=False)
class SelectionNote:
    """What the history keeps of a write.

    Attributes
    ----------
    output : object
        Stands for the output that has written.
    before, after : Selection or None
        What was written before, if anything was, and now.
    """

    output: object
    before: Selection | None
    after: Selection


@dataclass(frozen=True, eq=False)
class PreparedWrite:
    """A write that `EverythingOutput.finish` does at once.

    Attributes
    ----------
    draft : StagedObjects
        What the objects will be.
    rewrite : Rewrite
        What will be known of them.
    note : SelectionNote
        What the history will keep of it.
    work : callable
        Finds out what is to be written; to be called first, on any thread.
    """

    staged: StagedObjects
    rewrite: Rewrite
    note: SelectionNote
    work: Callable[[], None]


class EverythingOutput:
    """Where the objects of one run are.

    Another selection of the same run takes the place of the one before.
    What somebody has reviewed, corrected or deleted since stays so, and so
    do pixels that are labelled as something else.

    Parameters
    ----------
    objects : Objects
        What is written to.
    planes : sequence of ImagePlane
        Planes of the run.
    overwrite : bool
        Whether the first write covers labels that are there already.
    semantic : bool
        Whether all objects get one label.

    Attributes
    ----------
    went : Signal(Selection)
        An undo or redo has brought back the objects of another selection.
    """

    selection_restored = Signal(object)

    def __init__(
        self,
        objects: Objects,
        planes: Sequence[ImagePlane],
        overwrite: bool = False,
        semantic: bool = False,
    ) -> None:
        self.objects = objects
        self._planes = planes
        self._overwrite = overwrite
        self._semantic = semantic
        self._known = RunRecords()
        # tells its own entries of the history from those of others
        self._mark = object()
        self._writing = False
        self._selection: Selection | None = None
        objects.changed.connect(self._look)

    def close(self) -> None:
        """Forget the run; what was written stays."""
        self.objects.changed.disconnect(self._look)

    @property
    def numbers(self) -> set[int]:
        """Numbers of the objects of this run that there are now."""
        known = {record.number for record in self._known.records.values()}
        return {number for number in known if number in self.objects}

    @property
    def selection(self) -> Selection | None:
        """What the labels show, through undo and redo; None if nothing."""
        for note in self._notes(reversed(self.objects.history.done)):
            return note.after
        for note in self._notes(reversed(self.objects.history.undone)):
            return note.before
        return None

    def write(self, result: EverythingResult, key: Hashable = None) -> None:
        """Let the objects of a result take the place of those before.

        Parameters
        ----------
        result : EverythingResult
            Of the run that was written before, if any was.
        key : hashable
            Steps with the same key that follow each other become one.

        Raises
        ------
        LabelsError
            The labels cannot be edited, have not enough labels left, or do
            not cover the image. Nothing is written then.
        """
        rewrite, before = self._rewrite(self.objects), self._before(key)
        with self._own():
            rewrite.write(result, key, self._note(before, result))
        self._keep(rewrite, result.selection)

    def prepare(
        self, result: EverythingResult, key: Hashable = None
    ) -> PreparedWrite:
        """Begin a write that takes the viewer's thread a moment only.

        To be called on that thread. What it takes is as of `write`.
        """
        staged = self.objects.stage()
        rewrite, before = self._rewrite(staged), self._before(key)
        note = self._note(before, result)
        return PreparedWrite(
            staged, rewrite, note, lambda: rewrite.write(result, key, note)
        )

    def finish(self, prepared: PreparedWrite) -> bool:
        """Write what was prepared.

        Returns
        -------
        bool
            False if something has changed since; nothing is written then.

        Raises
        ------
        LabelsError
            The labels cannot be edited any more.
        """
        with self._own():
            done = self.objects.commit(prepared.staged)
        if done:
            self._keep(prepared.rewrite, prepared.note.after)
        return done

    def _rewrite(self, objects: ObjectStore) -> Rewrite:
        return Rewrite(
            objects, self._planes, self._known, self._overwrite, self._semantic
        )

    def _note(
        self, before: Selection | None, result: EverythingResult
    ) -> SelectionNote:
        return SelectionNote(self._mark, before, result.selection)

    def _before(self, key: Hashable) -> Selection | None:
        """What an undo of the next write will bring back."""
        history = self.objects.history
        last = history.last
        if last is not None and key is not None and last.key == key:
            # they become one, unless something was undone
            for note in self._notes([] if history.redoable else [last]):
                return note.before
        return self.selection

    def _notes(self, entries: Iterable[Entry]) -> Iterator[SelectionNote]:
        """What the history knows of writes of this output."""
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

    def _keep(self, rewrite: Rewrite, after: Selection) -> None:
        self._known, self._overwrite = rewrite.known, False
        history = self.objects.history
        last = history.last
        if last is not None and not history.redoable:
            # a selection of the same objects makes no step of its own: the
            # last one stands for it, too
            for note in self._notes([last]):
                if note.after != after:
                    changed = replace(note, after=after)
                    history.replace_last(replace(last, note=changed))
        self._selection = self.selection

    def _look(self) -> None:
        """See what people have done."""
        if self._writing:
            return
        last = self.objects.history.last
        if last is not None and not any(self._notes([last])):
            gone = {n for n, r in last.records_after.items() if r is None}
            deleted = self._known.deleted | gone
            self._known = replace(self._known, deleted=deleted)
        now = self.selection
        if now is not None and now != self._selection:
            self._selection = now
            self.selection_restored.emit(now)
