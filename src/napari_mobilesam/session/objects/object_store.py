"""Records of the objects of labels, and free labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from napari_mobilesam.session.objects.history import Entry, Records
from napari_mobilesam.session.objects.patch import OpenWrites, Patch
from napari_mobilesam.session.objects.records import (
    ObjectRecord,
    Views,
    lowest,
)
from napari_mobilesam.session.objects.step import Step
from napari_mobilesam.session.objects.targets import (
    Indices,
    LabelsError,
    LabelTarget,
)

if TYPE_CHECKING:
    import pandas as pd

# Number of pixels that are counted at once.
PART = 1 << 20


class ObjectStore(ABC):
    """Records of the objects of one labels target.

    Parameters
    ----------
    target : LabelTarget
        Labels that hold the pixels.

    Attributes
    ----------
    version : int
        Increases with each write of a step, each end of one, and each change
        of the records.
    writes : OpenWrites
        Patches of the steps that have not ended.
    """

    def __init__(self, target: LabelTarget) -> None:
        self.target = target
        self._records: dict[int, ObjectRecord] = {}
        self._open_steps: list[Step] = []
        self.writes = OpenWrites()
        # highest label reserved by a running job
        self._reserved = 0
        # highest label of the hidden objects of each run, see `hold_labels`
        self._held: dict[object, int] = {}
        # by identity, which records keep if only their class changes: views of
        # objects that were painted by hand since
        self._painted: dict[int, Views] = {}
        # labels that were ever painted or erased by hand
        self._brushed: set[int] = set()
        self.version = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ObjectRecord]:
        """Iterate over objects in the order of their numbers."""
        return iter([self._records[n] for n in sorted(self._records)])

    def __contains__(self, number: int) -> bool:
        """Return whether there is an object with this number."""
        return number in self._records

    def get(self, number: int) -> ObjectRecord | None:
        """Return an object by its number, None if there is none."""
        return self._records.get(number)

    def now(self, record: ObjectRecord) -> ObjectRecord | None:
        """Return an object as it is now; None if not among these objects.

        Labelled pixels may have become an object in the meantime.
        """
        if record.number:
            return self.get(record.number)
        return next((each for each in self if each.same_object(record)), None)

    def namesakes(self, record: ObjectRecord) -> list[ObjectRecord]:
        """Return the other objects with the label of an object."""
        return [
            other
            for other in self._records.values()
            if other.label == record.label and other.number != record.number
        ]

    def free_label(self, count: int = 1) -> int:
        """Return the lowest of ``count`` labels above all used ones.

        Used labels are those of pixels, of objects (even if their pixels were
        erased by hand) and those reserved by a running job; held labels also
        count as long as others are free.

        Raises
        ------
        LabelsError
            The labels are not editable, or have too few free values.
        """
        self.target.check()
        used = self._highest_used()
        first = 1 + max(used, *self._held.values(), 0)
        if first + count - 1 > self.target.limit:
            first = 1 + used
        if first + count - 1 > self.target.limit:
            raise LabelsError(
                f'“{self.target.name}” is full: it holds labels up to '
                f'{self.target.limit}. Convert it to a larger type '
                '(right-click the layer), or choose another one.'
            )
        return first

    def _highest_used(self) -> int:
        objects = (record.label for record in self._records.values())
        return max(
            self.target.highest(), self._reserved, max(objects, default=0)
        )

    @property
    def last_label(self) -> int:
        """Highest label of objects, running jobs and hidden objects.

        `free_label` is one more, unless other pixels have higher labels.
        """
        objects = (record.label for record in self._records.values())
        return max(self._reserved, *self._held.values(), *objects, 0)

    @property
    def free_labels(self) -> int:
        """Number of labels above all used ones; see `free_label`."""
        return max(0, self.target.limit - self._highest_used())

    def reserve_labels(self, count: int, first: int | None = None) -> int:
        """Reserve consecutive labels until all steps end; return the first.

        This is for jobs that write objects one by one while others are
        accepted.

        Parameters
        ----------
        count : int
            Number of labels.
        first : int, optional
            First label; by default `free_label`.

        Raises
        ------
        LabelsError
            As for `free_label`; also if one of the labels is used.
        """
        if first is None:
            first = self.free_label(count)
        else:
            self._check_free(range(first, first + count))
        self._reserved = max(self._reserved, first + count - 1)
        return first

    def _check_free(self, labels: range) -> None:
        """Raise `LabelsError` if labels cannot be given to new objects."""
        self.target.check()
        used = self.target.present(labels)
        used |= {each.label for each in self if each.label in labels}
        if used or labels[-1] > self.target.limit:
            raise LabelsError(
                f'Labels {labels[0]} to {labels[-1]} are not free in '
                f'“{self.target.name}”, which holds labels up to '
                f'{self.target.limit}: give another first label.'
            )

    def hold_labels(self, owner: object, highest: int) -> None:
        """Hold the labels of hidden objects that may come back.

        Parameters
        ----------
        owner : object
            Owner of the objects.
        highest : int
            Highest of the labels; 0 if none is hidden.
        """
        self._held.pop(owner, None)
        if highest:
            self._held[owner] = highest

    def is_painted(self, record: ObjectRecord) -> bool:
        """Return whether pixels of an object were painted or erased by hand.

        This means pixels of its label, after its masks were made.
        """
        return id(record.views) in self._painted

    def painted_pixels(self, record: ObjectRecord) -> Indices | None:
        """Return all pixels of the label of an object painted by hand.

        Returns
        -------
        tuple of ndarray or None
            None if it was not painted by hand, if others share its label, or
            if the labels are not a single array in memory.
        """
        array = self.target.array() if self.is_painted(record) else None
        if array is None or self.namesakes(record):
            return None
        return np.nonzero(array == record.label)

    def brushed_areas(self, labels: Collection[int]) -> dict[int, int]:
        """Return the areas of labels that were ever painted by hand.

        They are counted: such labels may have pixels of no step. Areas are
        those of one channel; see `LabelTarget.channels`. Without labels that
        are not a single array in memory.
        """
        painted = self._brushed.intersection(labels)
        array = self.target.array() if painted else None
        if array is None:
            return {}
        known = np.array(sorted(painted))
        counts = np.zeros(len(known), np.int64)
        # once for all labels, but in parts, which takes less memory
        for part in np.array_split(array.ravel(), array.size // PART + 1):
            places = np.searchsorted(known, part[np.isin(part, known)])
            counts += np.bincount(places, minlength=len(known))
        areas = dict(zip(known.tolist(), counts.tolist(), strict=True))
        for record in self._records.values():
            if record.label in painted and record.views:
                painted.discard(record.label)
                plane = next(iter(record.views.values())).plane
                areas[record.label] //= self.target.channels(plane)
        return areas

    def has_loose_pixels(self, label: int) -> bool | None:
        """Return whether a label without an object has pixels.

        None if the labels are not a single array in memory, since all of it
        would have to be read.
        """
        if any(each.label == label for each in self):
            return False
        array = self.target.array()
        return None if array is None else bool((array == label).any())

    def begin(
        self,
        title: str,
        key: object = None,
        propagated: ObjectRecord | None = None,
    ) -> Step:
        """Begin a step; writes are shown at once, `Step.finish` ends it.

        Parameters
        ----------
        title : str
            Name for the user: ``'object 5'``.
        key : object, optional
            Consecutive steps with the same key are merged, such as those of
            one slider.
        propagated : ObjectRecord, optional
            Object that the step keeps writing until it ends.

        Raises
        ------
        LabelsError
            The labels are not editable, or another step is writing the object.
        """
        self.target.check()
        if propagated is not None:
            self.check_idle(propagated)
        step = Step(self, title, key, propagated)
        self._open_steps.append(step)
        return step

    def written_by(
        self, record: ObjectRecord, but: Step | None = None
    ) -> Step | None:
        """Return the other step that is writing an object, if any."""
        steps = (s for s in self._open_steps if s is not but)
        return next((step for step in steps if step.writes(record)), None)

    def check_idle(
        self, record: ObjectRecord, but: Step | None = None
    ) -> None:
        """Raise `LabelsError` if another step is writing an object.

        Only one step can write an object: steps are undone in the order in
        which they ended.
        """
        step = self.written_by(record, but)
        if step is not None:
            what = 'propagated' if step.propagated else 'written'
            raise LabelsError(
                f'{record.text.capitalize()} is being {what}: wait until it '
                'is done, or press Stop.'
            )

    @contextmanager
    def step(self, title: str, key: object = None) -> Iterator[Step]:
        """Write as one step, which is rolled back on error.

        See `begin`.
        """
        step = self.begin(title, key)
        try:
            yield step
        except BaseException:
            step.roll_back()
            raise
        step.finish()

    def end(self, step: Step, entry: Entry | None) -> None:
        """End a step; ``entry`` is None if nothing was written."""
        self.version += 1
        self._open_steps.remove(step)
        self.writes.forget(step)
        if not self._open_steps:
            self._reserved = 0
        if entry is not None:
            self.push(entry)

    def add_write(self, step: Step, patch: Patch) -> None:
        """Note a patch that a step has written."""
        self.version += 1
        self.writes.add(step, patch)

    def merge_writes(self, step: Step) -> list[Patch]:
        """Merge the patches of a step into one, if there are any.

        It is undone in one go: each write is drawn by itself.
        """
        self.writes.put_first(step)
        return self.writes.of(step)

    @abstractmethod
    def push(self, entry: Entry) -> None:
        """Store the entry of a finished step."""

    def put_records(self, records: Records) -> None:
        """Set records by number; None removes one. Not a step by itself."""
        self.version += 1
        for number, record in records.items():
            if record is None:
                self._records.pop(number, None)
            else:
                self._records[number] = record

    def rows(self, labels: tuple[int, ...]) -> pd.DataFrame:
        """Return one feature table row per label of objects.

        Objects that share a label have one row, with the lowest score, the sum
        of the prompts, and the class of the first that has one.

        Returns
        -------
        pandas.DataFrame
            index (the label), score (predicted IoU), stability, prompts,
            class.
        """
        import pandas as pd

        wanted = set(labels)
        members: dict[int, list[ObjectRecord]] = {}
        for record in self:
            if record.label in wanted:
                members.setdefault(record.label, []).append(record)
        return pd.DataFrame(
            {
                'index': list(members),
                'score': [
                    lowest(record.score for record in m)
                    for m in members.values()
                ],
                'stability': [
                    lowest(record.stability for record in m)
                    for m in members.values()
                ],
                'prompts': [
                    sum(record.prompts for record in m)
                    for m in members.values()
                ],
                'class': [
                    next((r.class_name for r in m if r.class_name), '')
                    for m in members.values()
                ],
            }
        )
