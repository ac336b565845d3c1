"""One image of a series: its state, and its uncertain objects."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from napari_mobilesam.series.series_files import (
    TRACKED,
    SeriesImage,
    file_state,
    is_written,
)

Status = Literal['to do', 'done', 'flagged']
STATUSES: tuple[Status, ...] = get_args(Status)


class UncertainObject(NamedTuple):
    """An object of a series that has not been reviewed.

    Attributes
    ----------
    score : float
        Predicted IoU; infinite if unknown.
    image : int
        Number of the image in the series, from 0.
    label : int
        Label of the object.
    stability : float
        Stability score; infinite if unknown.
    """

    score: float
    image: int
    label: int
    stability: float = math.inf


@dataclass
class SeriesEntry:
    """One image of a series.

    Attributes
    ----------
    files : SeriesImage
        Paths of the image and its output files.
    record : dict
        Its record, as in the file.
    replaceable : list or None
        `file_state` of the label image that may be replaced: the one read or
        saved here, or saved by this program before the series was opened.
    image_state : list or None
        `file_state` of the image that was read, to which the labels belong.
    labels_state : list or None
        `file_state` of the labels last read or saved here.
    """

    files: SeriesImage
    record: dict[str, Any]
    replaceable: list[int] | None = field(default=None, init=False)
    image_state: list[int] | None = field(default=None, init=False)
    labels_state: list[int] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.image_state = self.files.made_of.get('file')
        state = file_state(self.labels)
        if is_written(self.record, state):
            self.replaceable = state

    @property
    def newest_record(self) -> dict[str, Any]:
        """Read the record, which another window may have changed."""
        return self.files.known() or self.record

    @property
    def name(self) -> str:
        """Name of the image file."""
        return self.files.image.name

    @property
    def status(self) -> Status:
        """Status: ``'to do'``, ``'done'`` or ``'flagged'``."""
        status = self.record.get('status')
        return status if status in STATUSES else 'to do'

    @property
    def image_replaced(self) -> bool:
        """Return whether the image has changed since labels were saved."""
        then, now = self._made_of.get('file'), file_state(self.files.image)
        if not then or now is None or not self.labelled:
            return False
        if self.files.image.is_dir():
            # the folder of a zarr changes with any file beside its pixels
            return False
        return self._differ(then, now)

    @property
    def tracks_replaced(self) -> bool:
        """Return whether saved tracks are not of the labels read here.

        Earlier versions did not record of which labels tracks are.
        """
        return TRACKED in self.record and not self.tracked_in(self.record)

    def tracked_in(self, record: Mapping[str, Any]) -> bool:
        """Return whether tracks noted in a record are of the labels here."""
        return TRACKED in record and not self._differ(
            record[TRACKED], self.labels_state
        )

    @property
    def _made_of(self) -> dict[str, Any]:
        known = self.record.get('made_of')
        return known if isinstance(known, dict) else {}

    def _differ(self, then: list[int] | None, now: list[int] | None) -> bool:
        """Return whether a file of this image has changed.

        One that was copied or moved with the image may have another time.
        """
        moved = self._made_of.get('image') != self.files.made_of['image']
        if moved and then and now:
            return then[0] != now[0]
        return then != now

    @property
    def objects(self) -> int | None:
        """Number of objects in the saved labels; None if there are none."""
        count = self.record.get('objects')
        return count if isinstance(count, int) else None

    @property
    def reviewed(self) -> set[int]:
        """Labels of objects that a person has reviewed."""
        return _reviewed_in(self.record)

    def reviewed_of(self, used: Collection[int]) -> list[int]:
        """Return which labels about to be saved are reviewed.

        Without a label image there are none: all labels are new.
        """
        known = self.newest_record
        if 'written' in known and not self.labelled:
            return []
        return sorted(_reviewed_in(known) & set(used))

    @property
    def labels(self) -> Path:
        """File of the labels."""
        name = self.record.get('file')
        default = self.files.labels
        if isinstance(name, str) and Path(name).name == name:
            return default.with_name(name)
        return default

    @property
    def session(self) -> Path:
        """File of the prompts and candidates of the objects."""
        return self.files.record.with_suffix('.session')

    @property
    def tracks(self) -> Path:
        """File of labels with one number per track; a table is beside it."""
        return self.files.record.with_suffix('.tracks.tif')

    @property
    def labelled(self) -> bool:
        """Return whether there is a label image, of any program."""
        return self.labels.exists()


def _reviewed_in(record: Mapping[str, Any]) -> set[int]:
    known = record.get('reviewed', [])
    return set(known) if isinstance(known, list) else set()
