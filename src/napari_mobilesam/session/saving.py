"""The file of a session: objects with prompts and candidates, and parameters.

It is JSON, compressed, so that it can be read without this package. Planes are
told by their index; a fingerprint of their pixels tells whether the image is
the one that the session is of.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from napari_mobilesam.session.classes import hex_color
from napari_mobilesam.session.objects import Objects
from napari_mobilesam.session.recipe import Recipe, body
from napari_mobilesam.session.record_json import (
    Json,
    RecordReader,
    RecordWriter,
)
from napari_mobilesam.session.record_json import (
    SessionFileError as SessionFileError,
)
from napari_mobilesam.session.record_json import fingerprint as fingerprint
from napari_mobilesam.session.records import ObjectRecord
from napari_mobilesam.session.scene import Scene
from napari_mobilesam.session.targets import LabelTarget
from napari_mobilesam.types import SegmentationError

FORMAT = 'napari-mobilesam session 1'


@dataclass(frozen=True)
class Choices:
    """Parameters of a session that its file keeps.

    Attributes
    ----------
    model : str
        Name of the model.
    options, clean_up : dict
        Fields of `WriteOptions` and `CleanUp`.
    classes : dict of str to str
        Class to colour, in their order.
    """

    model: str
    options: Json
    clean_up: Json
    classes: dict[str, str] = field(default_factory=dict)


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
    writer = RecordWriter(scene, snapshot.target)
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
        reader = RecordReader(scene, content['planes'])
        found = [reader.record(entry) for entry in content['objects']]
        choices = Choices(
            content['model'],
            content['options'],
            content['clean_up'],
            _colors(content.get('classes', {})),
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


def _colors(classes: Json) -> dict[str, str]:
    return {str(name): hex_color(color) for name, color in classes.items()}


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
