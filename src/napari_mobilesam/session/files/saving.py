"""The file of a session: objects with prompts and candidates, and parameters.

It is JSON, compressed, so that it can be read without this package. Planes are
told by their index; a fingerprint of their pixels tells whether the image is
the one that the session is of.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_mobilesam.files import atomic_path
from napari_mobilesam.session.files.record_json import (
    Json,
    RecordDecoder,
    RecordEncoder,
    SessionFileError,
    pack,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.classes import hex_color
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import ReplayCode, body
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.types import Mask, SegmentationError

FORMAT = 'napari-mobilesam session 1'
# Files of so many lines are parsed one by one.
MANY = 10


@dataclass(frozen=True)
class SessionParameters:
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
    choices : SessionParameters
        Parameters.
    name : str
        Name of the labels.
    held : object
        Keeps the pixels there until they are written: a viewer that is
        closed lets go of its layers at once.
    """

    target: LabelTarget
    records: tuple[ObjectRecord, ...]
    script: tuple[str, ...]
    choices: SessionParameters
    name: str
    held: Any = None

    @classmethod
    def of(cls, objects: Objects, choices: SessionParameters) -> Snapshot:
        """Take it, on the thread that the objects belong to."""
        script = tuple(body(objects.history.replay_codes))
        target = objects.target
        held = getattr(target, 'layer', None)
        return cls(target, tuple(objects), script, choices, target.name, held)


def save(
    path: str | os.PathLike[str],
    scene: Scene,
    snapshot: Snapshot,
    writer: RecordEncoder | None = None,
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
    writer : RecordEncoder, optional
        That of the last save, which remembers what it wrote.

    Raises
    ------
    OSError
        It cannot be written.
    """
    writer = writer or RecordEncoder(scene)
    head = {
        'format': FORMAT,
        'labels': snapshot.name,
        **asdict(snapshot.choices),
        'script': snapshot.script,
    }
    with atomic_path(Path(path)) as temporary, temporary.open('wb') as file:
        file.write(pack(f'{json.dumps(head)[:-1]}, "objects": [\n'))
        file.writelines(writer.lines(snapshot.records, snapshot.target))
        file.write(pack(f'\n], "planes": {json.dumps(writer.planes)}}}'))


@dataclass(frozen=True, eq=False)
class LoadedSession:
    """What a file holds, ready to be written into labels.

    Attributes
    ----------
    path : Path
        The file.
    labels : str
        Name of the labels that the objects were in.
    records : tuple of (ObjectRecord, list of (ImagePlane, Mask))
        Each object, and the pixels that are its own.
    choices : SessionParameters
        Parameters.
    replay_code : ReplayCode
        Lines that made the objects.
    """

    path: Path
    labels: str
    records: tuple[tuple[ObjectRecord, list[tuple[ImagePlane, Mask]]], ...]
    choices: SessionParameters
    replay_code: ReplayCode


def load(
    path: str | os.PathLike[str], scene: Scene, objects: Objects
) -> SessionParameters:
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
    content = read(path)
    check_empty(objects)
    loaded = decode(path, content, find_planes(path, content, scene))
    put(loaded, objects)
    return loaded.choices


# the parts of it: a viewer reads and decodes on another thread


def read(path: str | os.PathLike[str]) -> Json:
    """Read a file of `save`.

    Raises
    ------
    SessionFileError
        It is none.
    """
    try:
        with gzip.open(path, 'rt', encoding='utf-8') as file:
            content = _parsed(list(file))
    except FileNotFoundError:
        raise SessionFileError(f'There is no file {path}.') from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SessionFileError(
            f'{path} is no session file, or is damaged ({error}).'
        ) from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise SessionFileError(
            f'{path} is no session file of this version ({FORMAT}).'
        )
    return content


def _parsed(lines: list[str]) -> Any:
    """Parse JSON line by line, which lets other threads have their turn."""
    if len(lines) < MANY or not lines[0].endswith('"objects": [\n'):
        return json.loads(''.join(lines))
    first, *objects, last = lines
    content = json.loads(first + last)
    content['objects'] = [json.loads(line.rstrip(',\n')) for line in objects]
    return content


def find_planes(
    path: str | os.PathLike[str], content: Json, scene: Scene
) -> list[ImagePlane]:
    """Find the planes of a session, on the thread of the viewer.

    Raises
    ------
    ImageError
        The image that is open has no such plane.
    SessionFileError
        The file is damaged.
    """
    with _damage_told(path):
        return [scene.find(**entry['found']) for entry in content['planes']]


def decode(
    path: str | os.PathLike[str], content: Json, planes: Sequence[ImagePlane]
) -> LoadedSession:
    """Make objects of what was read, and compare the image with theirs.

    Raises
    ------
    SessionFileError
        The file is damaged, or of another image.
    """
    with _damage_told(path):
        seen = [entry['fingerprint'] for entry in content['planes']]
        reader = RecordDecoder(planes, seen)
        return LoadedSession(
            Path(path),
            str(content.get('labels', 'objects')),
            tuple(reader.record(entry) for entry in content['objects']),
            SessionParameters(
                content['model'],
                content['options'],
                content['clean_up'],
                _colors(content.get('classes', {})),
            ),
            ReplayCode(tuple(content['script'])),
        )


def put(loaded: LoadedSession, objects: Objects) -> None:
    """Write what was decoded, as one step.

    Raises
    ------
    SessionFileError
        There are objects already.
    LabelsError
        The labels cannot be written.
    """
    check_empty(objects)
    with objects.step(f'loading {loaded.path.name}') as step:
        step.replay_code = loaded.replay_code
        for plane, masks in _by_plane(loaded).values():
            step.paint_masks(plane, masks)
        for record, _ in loaded.records:
            step.put(record)


def check_empty(objects: Objects) -> None:
    """Raise `SessionFileError` if there are objects."""
    if len(objects):
        raise SessionFileError(
            f'“{objects.target.name}” has {len(objects)} objects already: '
            'choose other labels to load a session into.'
        )


def _by_plane(
    loaded: LoadedSession,
) -> dict[Hashable, tuple[ImagePlane, list[tuple[Mask, int]]]]:
    planes: dict[Hashable, tuple[ImagePlane, list[tuple[Mask, int]]]] = {}
    for record, own in loaded.records:
        for plane, mask in own:
            _, masks = planes.setdefault(plane.place, (plane, []))
            masks.append((mask, record.label))
    return planes


@contextmanager
def _damage_told(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except SegmentationError:
        raise
    except (
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        raise SessionFileError(
            f'{path} is damaged ({type(error).__name__}: {error}).'
        ) from error


def _colors(classes: Json) -> dict[str, str]:
    return {str(name): hex_color(color) for name, color in classes.items()}
