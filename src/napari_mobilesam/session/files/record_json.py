"""JSON of object records."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import xxhash

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.mask_text import (
    array_text,
    mask_text,
)
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.types import Mask, Prompts, SegmentationError

# Side of the five parts of a plane that are fingerprinted.
PART = 64

Json = dict[str, Any]


class SessionFileError(SegmentationError):
    """A session file cannot be used; the message gives the reason."""


def fingerprint(plane: ImagePlane) -> str:
    """Return a hash of the middle and the corners of a plane, as stored."""
    array = plane.read()
    digest = xxhash.xxh3_64(repr(tuple(array.shape)).encode())
    height, width = plane.shape
    rows = (0, max(0, height - PART))
    columns = (0, max(0, width - PART))
    places = [(row, column) for row in rows for column in columns]
    places.append(((rows[1]) // 2, columns[1] // 2))
    for row, column in places:
        part = np.asarray(array[row : row + PART, column : column + PART])
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


class RecordEncoder:
    """Encode objects as compressed lines of JSON.

    The view of an object on a plane never changes, except for the pixels
    that still hold its label. It is encoded and compressed once, so that
    saving a thousand objects again is fast.

    Parameters
    ----------
    scene : Scene
        Describes planes.

    Attributes
    ----------
    planes : list of dict
        Descriptions of the planes so far.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers: dict[Hashable, int] = {}
        self._views = WeakKeyDictionary[ObjectView, bytes]()
        self.planes: list[Json] = []

    def present(self, records: Sequence[ObjectRecord]) -> list[ObjectRecord]:
        """Return objects without the planes that the image no longer has.

        Cached data of such planes is dropped, since a file that names them
        would match no image.
        """

        def gone(plane: ImagePlane) -> bool:
            return not self._scene.has_pixels(plane)

        if any(gone(view.plane) for view in list(self._views)):
            self._views.clear()
            self._numbers.clear()
            self.planes.clear()
        left = (record.without_planes(gone) for record in records)
        return [record for record in left if record is not None]

    def lines(
        self, records: Sequence[ObjectRecord], target: LabelTarget
    ) -> Iterator[bytes]:
        """Yield gzip members: one line per object, separated by commas.

        Parameters
        ----------
        records : sequence of ObjectRecord
            The objects.
        target : LabelTarget
                Labels that hold the pixels.
        """
        before = ''
        for record in records:
            head = {
                'number': record.number,
                'label': record.label,
                'class': record.class_name,
                'origin': record.origin,
                'reviewed': record.reviewed,
            }
            text = f'{before}{_open(head)}, "views": ['
            for view in record.views.values():
                yield pack(text)
                yield self._packed(view)
                own = optional_of(mask_text, self._own(target, view, record))
                text = f', "own": {as_json(own)}}}, '
            yield pack(text.removesuffix(', ') + ']}')
            before = ',\n'

    def _packed(self, view: ObjectView) -> bytes:
        """Return a view without its own pixels and the closing brace."""
        packed = self._views.get(view)
        if packed is None:
            packed = self._views[view] = pack(_open(self._view(view)))
        return packed

    def _view(self, view: ObjectView) -> Json:
        return {
            'plane': self._plane(view.plane),
            'prompts': _prompts(view.prompts),
            'candidates': optional_of(_candidates, view.candidates),
            'automatic': view.automatic,
            'previous': optional_of(_candidates, view.previous),
            'steps': [
                [
                    self._plane(asked.plane),
                    _prompts(asked.prompts),
                    asked.chosen,
                ]
                for asked in view.steps
            ],
        }

    @staticmethod
    def _own(
        target: LabelTarget, view: ObjectView, record: ObjectRecord
    ) -> Mask | None:
        """Return the pixels of the mask that have the label."""
        if view.mask is None:
            return None
        seen = target.picture(view.plane, view.mask.box)
        own = view.mask.data & (seen == record.label)
        return replace(view.mask, data=own)

    def _plane(self, plane: ImagePlane) -> int:
        description = self._scene.describe(plane)
        key = repr(description)
        if key not in self._numbers:
            self._numbers[key] = len(self.planes)
            self.planes.append(
                {'found': description, 'fingerprint': fingerprint(plane)}
            )
        return self._numbers[key]


def pack(text: str) -> bytes:
    """Return text as a gzip member; concatenated members form a file.

    Compression is fast rather than strong, as most of the text is already
    compressed.
    """
    return gzip.compress(text.encode(), 1)


def _open(content: Json) -> str:
    """Return the JSON of a dictionary without the closing brace."""
    return as_json(content)[:-1]


def as_json(content: Any) -> str:
    """Return the JSON of plain and NumPy values."""
    return json.dumps(content, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f'{type(value).__name__} is not JSON serializable')


def _prompts(prompts: Prompts) -> Json:
    return {
        'points': prompts.points.tolist(),
        'labels': prompts.labels.tolist(),
        'box': optional_of(np.ndarray.tolist, prompts.box),
        'mask_input': optional_of(array_text, prompts.mask_input),
        'region': optional_of(mask_text, prompts.region),
        'drawn': [
            [s.kind, s.vertices.tolist(), s.positive, s.first, s.count]
            for s in prompts.drawn
        ],
    }


def _candidates(candidates: ObjectCandidates) -> Json:
    return {
        'masks': [_mask(mask) for mask in candidates.masks],
        'chosen': candidates.chosen,
        'logits': [
            optional_of(array_text, part) for part in candidates.logits
        ],
        'frame': optional_of(asdict, candidates.frame),
    }


def _mask(mask: Mask) -> Json:
    return {
        'pixels': mask_text(mask),
        'score': mask.score,
        'stability': mask.stability,
        'point': list(mask.point),
        'crop_box': list(mask.crop_box),
    }


def optional_of(convert: Callable[[Any], Any], value: Any) -> Any:
    """Return a converted value, or None for None."""
    return None if value is None else convert(value)
