"""The file of a session: objects with prompts and candidates, and parameters.

It is JSON, compressed, so that it can be read without this package. Planes are
told by their index; a fingerprint of their pixels tells whether the image is
the one that the session is of.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from napari_mobilesam.session.engine import ImagePlane
from napari_mobilesam.session.objects import Objects
from napari_mobilesam.session.recipe import Recipe, body
from napari_mobilesam.session.records import (
    Asked,
    ObjectCandidates,
    ObjectRecord,
    View,
)
from napari_mobilesam.session.scene import Scene
from napari_mobilesam.session.targets import LabelTarget
from napari_mobilesam.session.text import (
    array_from,
    array_text,
    mask_from,
    mask_text,
)
from napari_mobilesam.types import Frame, Mask, Prompts, SegmentationError

FORMAT = 'napari-mobilesam session 1'
# Side of the five parts of a plane that its fingerprint is taken of.
PART = 64

Json = dict[str, Any]


class SessionFileError(SegmentationError):
    """A session file cannot be used; the message says why."""


@dataclass(frozen=True)
class Choices:
    """Parameters of a session that its file keeps.

    Attributes
    ----------
    model : str
        Name of the model.
    options, clean_up : dict
        Fields of `WriteOptions` and `CleanUp`.
    """

    model: str
    options: Json
    clean_up: Json


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a session is at one moment, to be written by any thread.

    Attributes
    ----------
    target : LabelTarget
        Where the pixels are.
    records : tuple of ObjectRecord
        The objects.
    script : tuple of str
        Lines that make them.
    choices : Choices
        Parameters.
    """

    target: LabelTarget
    records: tuple[ObjectRecord, ...]
    script: tuple[str, ...]
    choices: Choices

    @classmethod
    def of(cls, objects: Objects, choices: Choices) -> Snapshot:
        """Take it, on the thread that the objects belong to."""
        script = tuple(body(objects.history.recipes))
        return cls(objects.target, tuple(objects), script, choices)


def save(
    path: str | os.PathLike[str], scene: Scene, snapshot: Snapshot
) -> None:
    """Write a session, all or nothing.

    Parameters
    ----------
    path : path
        File to write; what was there is replaced.
    scene : Scene
        Tells planes.
    snapshot : Snapshot
        What is kept.

    Raises
    ------
    OSError
        It cannot be written.
    """
    writer = _Writer(scene, snapshot.target)
    content = {
        'format': FORMAT,
        **asdict(snapshot.choices),
        'objects': [writer.record(record) for record in snapshot.records],
        'planes': writer.planes,
        'script': snapshot.script,
    }
    target = Path(path)
    part = target.with_name(f'{target.name}.{os.getpid()}.part')
    try:
        with gzip.open(part, 'wt', encoding='utf-8') as file:
            json.dump(content, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def load(
    path: str | os.PathLike[str], scene: Scene, objects: Objects
) -> Choices:
    """Bring back the objects of a session, as one step.

    Their pixels are written where they are not there already.

    Parameters
    ----------
    path : path
        File of `save`.
    scene : Scene
        Finds planes; the image of the session has to be open in it.
    objects : Objects
        Where they go; none may be there.

    Returns
    -------
    Choices
        Parameters of the session.

    Raises
    ------
    SessionFileError
        It is no session file, of another image, or there are objects.
    """
    content = _read(path)
    if len(objects):
        raise SessionFileError(
            f'“{objects.target.name}” has {len(objects)} objects already: '
            'choose other labels to load a session into.'
        )
    try:
        reader = _Reader(scene, content['planes'])
        found = [reader.record(entry) for entry in content['objects']]
        choices = Choices(
            content['model'], content['options'], content['clean_up']
        )
        code = Recipe(tuple(content['script']))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SegmentationError):
            raise
        raise SessionFileError(
            f'{path} is damaged ({type(error).__name__}: {error}).'
        ) from error
    with objects.step(f'loading {Path(path).name}') as step:
        step.recipe = code
        for record, own in found:
            for plane, mask in own:
                step.paint(plane, mask, record.label)
            step.put(record)
    return choices


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


def _read(path: str | os.PathLike[str]) -> Json:
    try:
        with gzip.open(path, 'rt', encoding='utf-8') as file:
            content = json.load(file)
    except FileNotFoundError:
        raise SessionFileError(f'There is no file {path}.') from None
    except (OSError, EOFError, ValueError) as error:
        raise SessionFileError(
            f'{path} is no session file, or is damaged ({error}).'
        ) from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise SessionFileError(
            f'{path} is no session file of this version ({FORMAT}).'
        )
    return content


class _Writer:
    """Objects as plain values; each plane is described once."""

    def __init__(self, scene: Scene, target: LabelTarget) -> None:
        self._scene = scene
        self._target = target
        self._numbers: dict[Hashable, int] = {}
        self.planes: list[Json] = []

    def record(self, record: ObjectRecord) -> Json:
        return {
            'number': record.number,
            'label': record.label,
            'class': record.class_name,
            'origin': record.origin,
            'reviewed': record.reviewed,
            'views': [
                self._view(view, record.label)
                for view in record.views.values()
            ],
        }

    def _view(self, view: View, label: int) -> Json:
        return {
            'plane': self._plane(view.plane),
            'prompts': _prompts(view.prompts),
            'candidates': _optional(_candidates, view.candidates),
            'automatic': view.automatic,
            'previous': _optional(_candidates, view.previous),
            'steps': [
                [
                    self._plane(asked.plane),
                    _prompts(asked.prompts),
                    asked.chosen,
                ]
                for asked in view.steps
            ],
            'own': _optional(mask_text, self._own(view, label)),
        }

    def _own(self, view: View, label: int) -> Mask | None:
        """The pixels of the mask that hold the label."""
        if view.mask is None:
            return None
        seen = self._target.picture(view.plane, view.mask.box)
        return replace(view.mask, data=view.mask.data & (seen == label))

    def _plane(self, plane: ImagePlane) -> int:
        description = self._scene.describe(plane)
        key = repr(description)
        if key not in self._numbers:
            self._numbers[key] = len(self.planes)
            self.planes.append(
                {'found': description, 'fingerprint': fingerprint(plane)}
            )
        return self._numbers[key]


class _Reader:
    """The way back; planes are looked up, and compared, when needed."""

    def __init__(self, scene: Scene, planes: list[Json]) -> None:
        self._scene = scene
        self._descriptions = planes
        self._planes: dict[int, ImagePlane] = {}

    def record(
        self, entry: Json
    ) -> tuple[ObjectRecord, list[tuple[ImagePlane, Mask]]]:
        """An object, and the pixels that are its own."""
        views = [self._view(view) for view in entry['views']]
        record = ObjectRecord(
            entry['number'],
            entry['label'],
            {view.plane.place: view for view, _ in views},
            entry['class'],
            entry['origin'],
            entry['reviewed'],
        )
        own = [(v.plane, mask) for v, mask in views if mask is not None]
        return record, own

    def _view(self, entry: Json) -> tuple[View, Mask | None]:
        view = View(
            self._plane(entry['plane']),
            _prompts_from(entry['prompts']),
            _optional(_candidates_from, entry['candidates']),
            entry['automatic'],
            _optional(_candidates_from, entry['previous']),
            tuple(
                Asked(self._plane(plane), _prompts_from(prompts), chosen)
                for plane, prompts, chosen in entry['steps']
            ),
        )
        return view, _optional(mask_from, entry['own'])

    def _plane(self, number: int) -> ImagePlane:
        if number not in self._planes:
            entry = self._descriptions[number]
            plane = self._scene.find(**entry['found'])
            if fingerprint(plane) != entry['fingerprint']:
                raise SessionFileError(
                    f'{plane.name} is not the image that the session is of: '
                    'its pixels are others. Open that image, and choose it.'
                )
            self._planes[number] = plane
        return self._planes[number]


def _prompts(prompts: Prompts) -> Json:
    return {
        'points': prompts.points.tolist(),
        'labels': prompts.labels.tolist(),
        'box': _optional(np.ndarray.tolist, prompts.box),
        'mask_input': _optional(array_text, prompts.mask_input),
        'region': _optional(mask_text, prompts.region),
    }


def _prompts_from(entry: Json) -> Prompts:
    return Prompts(
        np.array(entry['points'], np.float64).reshape(-1, 2),
        np.array(entry['labels'], np.int64),
        _optional(np.array, entry['box']),
        _optional(array_from, entry['mask_input']),
        _optional(mask_from, entry['region']),
    )


def _candidates(candidates: ObjectCandidates) -> Json:
    return {
        'masks': [_mask(mask) for mask in candidates.masks],
        'chosen': candidates.chosen,
        'logits': [_optional(array_text, part) for part in candidates.logits],
        'frame': _optional(_frame, candidates.frame),
    }


def _candidates_from(entry: Json) -> ObjectCandidates:
    return ObjectCandidates(
        tuple(_mask_from(mask) for mask in entry['masks']),
        entry['chosen'],
        tuple(_optional(array_from, part) for part in entry['logits']),
        _optional(_frame_from, entry['frame']),
    )


def _mask(mask: Mask) -> Json:
    return {
        'pixels': mask_text(mask),
        'score': mask.score,
        'stability': mask.stability,
        'point': list(mask.point),
        'crop_box': list(mask.crop_box),
    }


def _mask_from(entry: Json) -> Mask:
    row, column = entry['point']
    row0, column0, row1, column1 = entry['crop_box']
    return replace(
        mask_from(entry['pixels']),
        score=entry['score'],
        stability=entry['stability'],
        point=(row, column),
        crop_box=(row0, column0, row1, column1),
    )


def _frame(frame: Frame) -> Json:
    return asdict(frame)


def _frame_from(entry: Json) -> Frame:
    image, window, shape = (
        tuple(entry[name]) for name in ('image_shape', 'window', 'input_shape')
    )
    return Frame(image, window, shape, entry['input_size'])


def _optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)
