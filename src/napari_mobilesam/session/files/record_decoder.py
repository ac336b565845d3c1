"""Decoding of the objects of session files, within bounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.schema import SchemaError
from napari_mobilesam.session.files.record_json import (
    Json,
    SessionFileError,
    fingerprint,
    optional_of,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.mask_text import array_from, mask_from
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
    PromptStep,
)
from napari_mobilesam.types import DrawnShape, Frame, Mask, Prompts

# Maximum bytes of logits to decode: those of some 16,000 objects.
MOST_LOGITS = 1 << 31
# Assumed memory of a computer that does not report it.
USUAL_MEMORY = 1 << 34


class RecordDecoder:
    """Decode objects, comparing the pixels of each plane once.

    Parameters
    ----------
    planes : sequence of ImagePlane
        Planes of the image that the entries refer to.
    fingerprints : sequence of str
        Expected fingerprints of the planes.
    """

    def __init__(
        self, planes: Sequence[ImagePlane], fingerprints: Sequence[str]
    ) -> None:
        self._planes = planes
        self._fingerprints = fingerprints
        self._checked: set[int] = set()
        self._budget = Budget()

    def record(
        self, entry: Json
    ) -> tuple[ObjectRecord, list[tuple[ImagePlane, Mask]]]:
        """Return an object, and the pixels with its label.

        Raises
        ------
        SessionFileError
            The planes have different pixels.
        ValueError
            The object does not fit its planes, or is damaged.
        """
        name = f'object {entry["number"]}'
        views = [self._view(view, name) for view in entry['views']]
        by_place = {view.plane.place: view for view, _ in views}
        if len(by_place) < len(views):
            raise SchemaError(f'{name} is on a plane twice')
        record = ObjectRecord(
            entry['number'],
            entry['label'],
            by_place,
            entry['class'],
            entry['origin'],
            entry['reviewed'],
        )
        own = [(v.plane, mask) for v, mask in views if mask is not None]
        return record, own

    def _view(self, entry: Json, name: str) -> tuple[ObjectView, Mask | None]:
        plane = self._plane(entry['plane'], name)
        part = PartDecoder(plane.shape, name, self._budget)
        view = ObjectView(
            plane,
            part.prompts(entry['prompts']),
            optional_of(part.candidates, entry['candidates']),
            entry['automatic'],
            optional_of(part.candidates, entry['previous']),
            tuple(
                self._step(plane, prompts, chosen, name)
                for plane, prompts, chosen in entry['steps']
            ),
        )
        return view, optional_of(part.mask, entry['own'])

    def _step(
        self, number: int, prompts: Json, chosen: int, name: str
    ) -> PromptStep:
        plane = self._plane(number, name)
        part = PartDecoder(plane.shape, name, self._budget)
        return PromptStep(plane, part.prompts(prompts), chosen)

    def _plane(self, number: int, name: str) -> ImagePlane:
        if number >= len(self._planes):
            raise SchemaError(f'{name} is on a plane that does not exist')
        plane = self._planes[number]
        if number not in self._checked:
            if fingerprint(plane) != self._fingerprints[number]:
                raise SessionFileError(
                    f'{plane.name} is not the image of this session: its '
                    'pixels differ. Open the image of the session and select '
                    'it.'
                )
            self._checked.add(number)
        return plane


def memory() -> int:
    """Return the memory of this computer in bytes."""
    try:
        return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, OSError, ValueError):
        return USUAL_MEMORY


@dataclass
class Budget:
    """Bytes that may still be decoded, since a short text may claim many.

    Attributes
    ----------
    masks : int
        Bytes of masks; a file with more is refused.
    logits : int
        Bytes of logits; further ones are left out, as an object is complete
        without them.
    """

    masks: int = field(default_factory=lambda: memory())
    logits: int = field(default_factory=lambda: MOST_LOGITS)

    def spend(self, count: int) -> None:
        """Spend bytes of masks; raise `SchemaError` if there are too few."""
        self.masks -= count
        if self.masks < 0:
            raise SchemaError(
                'its masks need more than the memory of this computer'
            )


class PartDecoder:
    """Decode prompts and masks of an object on a plane.

    Parameters
    ----------
    shape : (int, int)
        (H, W) of the plane.
    name : str
        Name of the object, for messages.
    budget : Budget
        Bytes that may still be decoded.
    """

    def __init__(
        self, shape: tuple[int, int], name: str, budget: Budget
    ) -> None:
        self._shape = shape
        self._name = name
        self._budget = budget

    def mask(self, text: str) -> Mask:
        """Return a mask that lies on the plane."""
        mask = mask_from(text)
        self._budget.spend(mask.data.nbytes)
        row0, column0, row1, column1 = mask.box
        height, width = self._shape
        if row0 < 0 or column0 < 0 or row1 > height or column1 > width:
            raise self._wrong(f'has a mask outside the image, in {mask.box}')
        return mask

    def prompts(self, entry: Json) -> Prompts:
        """Return prompts with one label per point."""
        points, labels = entry['points'], entry['labels']
        if len(points) != len(labels):
            raise self._wrong(
                f'has {len(points)} points and {len(labels)} labels of points'
            )
        return Prompts(
            np.array(points, np.float64).reshape(-1, 2),
            np.array(labels, np.int64),
            optional_of(np.array, entry['box']),
            optional_of(self._mask_input, entry['mask_input']),
            optional_of(self.mask, entry['region']),
            # older files have none
            tuple(
                self._drawn(shape, len(points))
                for shape in entry.get('drawn', ())
            ),
        )

    def _drawn(self, shape: list[Any], points: int) -> DrawnShape:
        kind, vertices, positive, first, count = shape
        if first + count > points:
            raise self._wrong(f'has a {kind} of points that do not exist')
        corners = np.array(vertices, np.float64)
        return DrawnShape(kind, corners, positive, first, count)

    def candidates(self, entry: Json) -> ObjectCandidates:
        """Return masks with their logits."""
        masks = tuple(self._scored(mask) for mask in entry['masks'])
        logits = tuple(
            optional_of(self._logits, part) for part in entry['logits']
        )
        if entry['chosen'] >= len(masks):
            raise self._wrong(f'has no mask {entry["chosen"]}')
        if logits and len(logits) != len(masks):
            raise self._wrong('has logits for other masks')
        frame = optional_of(self._frame, entry['frame'])
        return ObjectCandidates(masks, entry['chosen'], logits, frame)

    def _scored(self, entry: Json) -> Mask:
        mask = self.mask(entry['pixels'])
        if not mask.data.any():
            raise self._wrong('has an empty mask')
        row, column = entry['point']
        row0, column0, row1, column1 = entry['crop_box']
        return replace(
            mask,
            score=entry['score'],
            stability=entry['stability'],
            point=(row, column),
            crop_box=(row0, column0, row1, column1),
        )

    def _mask_input(self, text: str) -> NDArray[Any]:
        logits = self._square(text)
        self._budget.spend(logits.nbytes)
        return logits

    def _logits(self, text: str) -> NDArray[Any] | None:
        if self._budget.logits <= 0:
            return None
        logits = self._square(text)
        self._budget.logits -= logits.nbytes
        return logits

    def _square(self, text: str) -> NDArray[Any]:
        logits = array_from(text)
        if (
            logits.ndim != 2
            or logits.shape[0] != logits.shape[1]
            or logits.dtype.kind != 'f'
            or not np.isfinite(logits).all()
        ):
            raise self._wrong('has invalid logits')
        return logits

    def _frame(self, entry: Json) -> Frame:
        image, window, shape = (
            tuple(entry[name])
            for name in ('image_shape', 'window', 'input_shape')
        )
        ordered = window[0] < window[2] and window[1] < window[3]
        if not ordered or max(shape) > entry['input_size']:
            raise self._wrong('has an invalid window')
        return Frame(image, window, shape, entry['input_size'])

    def _wrong(self, problem: str) -> SchemaError:
        return SchemaError(f'{self._name} {problem}')
