"""Records of tiles on disk: the checkpoint of a run.

A record is written to a temporary file and renamed, so that it is complete or
absent; its completeness is also checked on reading.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from napari_mobilesam.files import PART, write_atomic
from napari_mobilesam.segmentation.nms import boxes_of
from napari_mobilesam.types import Mask, SegmentationError

MANIFEST = 'manifest.json'
SUFFIX = '.record'
# Folders of a run's records, and their files (including temporary ones of a
# killed process), relative to the journal.
OWN_FOLDER = re.compile(r'p\d+(/r\d+|/again)?')
OWN = re.compile(
    r'p\d+/(r\d+/\.?c\d+|again/\.?[0-9a-f]+)'
    rf'{re.escape(SUFFIX)}(\..*{re.escape(PART)})?'
)
# Manifest entry that means nothing to users.
FINGERPRINT = 'image.fingerprint'
# Entries that were chosen; the plan follows from them.
CHOSEN = 'parameters.'
# Entry that does not affect records: the number of prompts per batch.
BATCH_SIZE = 'parameters.everything.batch_size'
# Format version of the records; increased when older ones become unreadable.
VERSION = 2
SUM_BYTES = 16
# Size of a reader's cache of records.
READER_BYTES = 64 << 20


class JournalError(SegmentationError):
    """Records of another run: other parameters, image or model.

    Attributes
    ----------
    changes : sequence of (str, object, object)
        Dotted name of each differing manifest entry, its value in the records,
        and its current value.
    """

    changes: Sequence[tuple[str, Any, Any]] = ()


class StorageError(OSError):
    """Files of a run cannot be written, for lack of space or permission."""


@dataclass(frozen=True, eq=False)
class Record:
    """Masks found by one task, in pixels of the working plane.

    Attributes
    ----------
    windows : ndarray
        (N, 4) int64 window in which each mask was found.
    boxes : ndarray
        (N, 4) int64 (row0, column0, row1, column1), half open.
    scores, stabilities : ndarray
        (N,) float64.
    areas : ndarray
        (N,) int64 pixels.
    points : ndarray
        (N, 2) float64 (row, column) of the prompts.
    cut : ndarray
        (N,) bool, whether the mask is cut off by the tile.
    bits : ndarray
        uint8, the pixels of all masks, eight per byte; each mask starts at a
        new byte.
    """

    windows: NDArray[np.int64]
    boxes: NDArray[np.int64]
    scores: NDArray[np.float64]
    stabilities: NDArray[np.float64]
    areas: NDArray[np.int64]
    points: NDArray[np.float64]
    cut: NDArray[np.bool_]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, masks: Sequence[Mask], cut: NDArray[np.bool_]) -> Record:
        """Pack the masks of a task."""
        packed = [np.packbits(mask.data) for mask in masks]
        return cls(
            np.array([mask.crop_box for mask in masks], np.int64).reshape(
                -1, 4
            ),
            boxes_of(masks),
            np.array([mask.score for mask in masks], np.float64),
            np.array([mask.stability for mask in masks], np.float64),
            np.array([mask.area for mask in masks], np.int64),
            np.array([mask.point for mask in masks], float).reshape(-1, 2),
            cut,
            np.concatenate([np.zeros(0, np.uint8), *packed]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def nbytes(self) -> int:
        """Memory used by the record."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def pixels(self, index: int) -> NDArray[np.bool_]:
        """Return the pixels of one mask, cropped to its box."""
        row0, column0, row1, column1 = self.boxes[index].tolist()
        shape = (row1 - row0, column1 - column0)
        count = shape[0] * shape[1]
        start = int(self._starts[index])
        bits = self.bits[start : start + -(-count // 8)]
        return np.unpackbits(bits, count=count).reshape(shape).view(bool)

    def mask(self, index: int) -> Mask:
        """Return one mask, unpacked."""
        return Mask(
            self.pixels(index),
            tuple(self.boxes[index].tolist()),
            float(self.scores[index]),
            float(self.stabilities[index]),
            tuple(self.points[index].tolist()),
            tuple(self.windows[index].tolist()),
        )

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        sizes = np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        return np.concatenate([[0], np.cumsum(-(-sizes // 8))])

    def to_bytes(self) -> bytes:
        """Serialise as a checksum followed by the arrays."""
        buffer = io.BytesIO()
        arrays = {
            field.name: getattr(self, field.name) for field in fields(self)
        }
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        return xxhash.xxh128(content).digest() + content

    @classmethod
    def from_bytes(cls, content: bytes) -> Record:
        """Deserialise the result of `to_bytes`.

        Raises
        ------
        ValueError
            If the content is torn or damaged.
        """
        digest, content = content[:SUM_BYTES], content[SUM_BYTES:]
        if xxhash.xxh128(content).digest() != digest:
            raise ValueError('the record is torn or damaged')
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(*(arrays[field.name] for field in fields(cls)))


class Journal:
    """The folder of a run's records.

    Parameters
    ----------
    folder : Path
        Folder of the records; created by `open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, manifest: Mapping[str, Any]) -> None:
        """Start a run, or resume the one whose records exist.

        Parameters
        ----------
        manifest : mapping
            Everything that affects the records, as JSON values.

        Raises
        ------
        JournalError
            If existing records belong to another run; says what differs.
        StorageError
            If the manifest cannot be written.
        """
        wanted = json.loads(json.dumps({'version': VERSION, **manifest}))
        there = self.manifest()
        if there is None:
            text = json.dumps(wanted, indent=1, sort_keys=True)
            _store(self.folder / MANIFEST, text.encode())
            return
        changes = [
            change
            for change in differences(there, wanted)
            if change[0] != BATCH_SIZE
        ]
        if changes:
            error = JournalError(
                f'{self.folder} holds the records of another run: '
                f'{_said(changes)}. Run with the original settings to '
                'continue it, write to another place, or start over with '
                'resume=False (--restart).'
            )
            error.changes = changes
            raise error

    def manifest(self) -> dict[str, Any] | None:
        """Manifest of the run in the folder; None if there is none."""
        try:
            content = json.loads((self.folder / MANIFEST).read_text('utf-8'))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise JournalError(
                f'{self.folder / MANIFEST} is damaged ({error}). Delete '
                f'{self.folder} to start over.'
            ) from error
        return dict(content)

    def remove(self) -> None:
        """Delete all records, the manifest last; other files are kept."""
        if self.manifest() is None:
            return
        # links are not followed: their targets do not belong to the run
        for place, _, names in os.walk(self.folder, topdown=False):
            inside = Path(place).relative_to(self.folder).as_posix()
            own = [n for n in names if OWN.fullmatch(f'{inside}/{n}')]
            for name in own:
                Path(place, name).unlink()
            if OWN_FOLDER.fullmatch(inside):
                with suppress(OSError):  # not empty
                    os.rmdir(place)
        (self.folder / MANIFEST).unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def path(self, key: str) -> Path:
        """Return the file of a record."""
        return self.folder / f'{key}{SUFFIX}'

    def keys(self, plane: str) -> list[str]:
        """Return the sorted keys of a plane's records; some may be damaged."""
        files = self.folder.glob(f'{plane}/*/*{SUFFIX}')
        return sorted(
            file.relative_to(self.folder).with_suffix('').as_posix()
            for file in files
        )

    def write(self, key: str, record: Record) -> None:
        """Write a record atomically.

        Raises
        ------
        StorageError
            If the record cannot be written; earlier records stay.
        """
        _store(self.path(key), record.to_bytes())

    def read(self, key: str) -> Record | None:
        """Read a record; None if it is missing or damaged."""
        try:
            return Record.from_bytes(self.path(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Convert write errors of a run's files to helpful messages.

    Raises
    ------
    StorageError
        For any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f'{path} cannot be written ({error.strerror or error}). Free '
            'disk space, or correct the permissions, and run again: all '
            'finished tiles are kept.'
        ) from error


def _said(changes: Sequence[tuple[str, Any, Any]]) -> str:
    """Describe changes; what follows from parameters is left out."""
    names = [name for name, _, _ in changes]
    chosen = any(name.startswith(CHOSEN) for name in names)
    return '; '.join(
        'the image is another one, or was changed since'
        if name == FINGERPRINT
        else f'{name.rpartition(".")[2]} was {old!r} and is {new!r} now'
        for name, old, new in changes
        if name.startswith((CHOSEN, 'image.', 'model')) or not chosen
    )


def _store(path: Path, content: bytes) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)


class MaskRecordReader:
    """Reader of the records of a journal, with a cache.

    Parameters
    ----------
    journal : Journal
        Journal to read.
    most_bytes : int
        Size of the cache.
    """

    def __init__(
        self, journal: Journal, most_bytes: int = READER_BYTES
    ) -> None:
        self._journal = journal
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, Record] = OrderedDict()

    def pixels(self, key: str, index: int) -> NDArray[np.bool_]:
        """Return the pixels of one mask of an existing record."""
        return self.record(key).pixels(index)

    def record(self, key: str) -> Record:
        """Read an existing record.

        Raises
        ------
        JournalError
            If the record has disappeared since.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        record = self._journal.read(key)
        if record is None:
            raise JournalError(
                f'{self._journal.path(key)} was read before, and is now '
                'gone or damaged. Run again to write it again.'
            )
        self._kept[key] = record
        self._bytes += record.nbytes
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return record


def differences(
    there: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ''
) -> list[tuple[str, Any, Any]]:
    """Return name, old and new value of each manifest difference."""
    lines: list[tuple[str, Any, Any]] = []
    for name in sorted({*there, *wanted}):
        old, new = there.get(name), wanted.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += differences(old, new, f'{prefix}{name}.')
        elif old != new:
            lines.append((f'{prefix}{name}', old, new))
    return lines
