"""The records of a labels target, written to in steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_mobilesam.session.objects.history import Entry, Records
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.step import Step
from napari_mobilesam.session.objects.targets import LabelsError, LabelTarget

if TYPE_CHECKING:
    import pandas as pd


class ObjectStore:
    """Records of the objects of one labels target.

    Parameters
    ----------
    target : LabelTarget
        Labels that hold the pixels.

    Attributes
    ----------
    version : int
        Increases with each change of the records.
    """

    def __init__(self, target: LabelTarget) -> None:
        self.target = target
        self._records: dict[int, ObjectRecord] = {}
        self._open_steps = 0
        self.version = 0

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ObjectRecord]:
        """Objects in the order of their numbers."""
        return iter([self._records[n] for n in sorted(self._records)])

    def __contains__(self, number: int) -> bool:
        """Return whether there is an object of this number."""
        return number in self._records

    def get(self, number: int) -> ObjectRecord | None:
        """Return an object by its number, None if there is none."""
        return self._records.get(number)

    def free_label(self, count: int = 1) -> int:
        """Return the lowest of ``count`` labels above all that are there.

        Raises
        ------
        LabelsError
            The labels are not editable, or have too few free values.
        """
        self.target.check()
        first = self.target.highest() + 1
        if first + count - 1 > self.target.limit:
            raise LabelsError(
                f'“{self.target.name}” is full: it holds labels up to '
                f'{self.target.limit}. Convert it to a larger type '
                '(right-click the layer), or choose another one.'
            )
        return first

    def begin(self, title: str, key: object = None) -> Step:
        """Begin a step; its writes are shown at once, `Step.finish` ends it.

        Parameters
        ----------
        title : str
            Name for the user: ``'object 5'``.
        key : object, optional
            Consecutive steps of the same key are merged, such as those of
            one slider.

        Raises
        ------
        LabelsError
            The labels are not editable.
        """
        self.target.check()
        self._open_steps += 1
        return Step(self, title, key)

    @contextmanager
    def step(self, title: str, key: object = None) -> Iterator[Step]:
        """Write as one step; an error rolls it back.

        See `begin`.
        """
        step = self.begin(title, key)
        try:
            yield step
        except BaseException:
            step.roll_back()
            raise
        step.finish()

    def end(self, entry: Entry | None) -> None:
        """End a step; None if nothing was written."""
        self._open_steps -= 1
        if entry is not None:
            self.push(entry)

    def push(self, entry: Entry) -> None:
        """Take the entry of a finished step."""
        raise NotImplementedError

    def put_records(self, records: Records) -> None:
        """Set records by number, None removes one; not a step by itself."""
        self.version += 1
        for number, record in records.items():
            if record is None:
                self._records.pop(number, None)
            else:
                self._records[number] = record

    def rows(self, labels: tuple[int, ...]) -> pd.DataFrame:
        """Return one row for the feature table per label of objects.

        Objects that share a label have one row: the lowest score and the sum
        of the prompts.

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
                'score': [_least(m, 'score') for m in members.values()],
                'stability': [
                    _least(m, 'stability') for m in members.values()
                ],
                'prompts': [
                    sum(record.prompts for record in m)
                    for m in members.values()
                ],
                'class': [m[0].class_name for m in members.values()],
            }
        )


def _least(records: list[ObjectRecord], name: str) -> float:
    values = [getattr(record, name) for record in records]
    known = [value for value in values if not math.isnan(value)]
    return min(known, default=math.nan)
