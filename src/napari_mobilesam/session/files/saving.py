"""Session files: objects with prompts and candidates, and parameters.

The file is compressed JSON, readable without this package. Planes are
identified by their index; a fingerprint of their pixels identifies the image.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mobilesam.files import atomic_path
from napari_mobilesam.schema import SchemaError
from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.files.feature_rows import (
    rows_from_json,
    rows_to_json,
)
from napari_mobilesam.session.files.painted import (
    PaintedPixels,
    painted_from,
    painted_json,
    painted_pixels,
)
from napari_mobilesam.session.files.record_decoder import RecordDecoder
from napari_mobilesam.session.files.record_json import (
    Json,
    RecordEncoder,
    SessionFileError,
    as_json,
    optional_of,
    pack,
)
from napari_mobilesam.session.files.script_check import is_replay_script
from napari_mobilesam.session.files.session_schema import check_session
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.classes import hex_color
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.replay_code import ReplayCode, body
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.objects.targets import (
    LabelTarget,
    WriteOptions,
    labels_in,
)
from napari_mobilesam.text import counted
from napari_mobilesam.types import ImageError, Mask, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 'napari-mobilesam session 1'
# Files with at least this many lines are parsed line by line.
MANY = 10
# A small file that unpacks to more than this is not a session: its objects
# consist of masks and logits, which are already compressed.
MOST_TEXT = 4_000_000
MOST_EXPANSION = 20
# First bytes of compressed files.
GZIP = b'\x1f\x8b'
# Identity of the objects, near the beginning of a file.
OWNER, OWNER_WITHIN = re.compile(rb'"owner": "([0-9a-f]{32})"'), 512


@dataclass(frozen=True)
class SessionParameters:
    """Parameters in a session file.

    Attributes
    ----------
    model : str
        Name of the model.
    options : WriteOptions
        Options of writing.
    clean_up : CleanUp
        Cleaning of masks.
    classes : dict of str to str
        Class to colour, in order.
    """

    model: str
    options: WriteOptions
    clean_up: CleanUp
    classes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State of a session, to be written on any thread.

    Attributes
    ----------
    target : LabelTarget
        Labels that hold the pixels.
    records : tuple of ObjectRecord
        The objects.
    script : tuple of str
        Lines of the script.
    choices : SessionParameters
        Parameters.
    name : str
        Name of the labels.
    rows : DataFrame or None
        Feature table of the labels.
    owner : str
        Identity of the objects, see `owner_of`.
    held : object
        Reference that keeps the layer alive until it is written, since closing
        a viewer releases its layers at once.
    """

    target: LabelTarget
    records: tuple[ObjectRecord, ...]
    script: tuple[str, ...]
    choices: SessionParameters
    name: str
    rows: pd.DataFrame | None = None
    owner: str = ''
    held: Any = None

    @classmethod
    def of(cls, objects: Objects, choices: SessionParameters) -> Snapshot:
        """Take a snapshot, on the viewer's thread."""
        script = tuple(body(objects.history.replay_codes))
        target = objects.target
        held = getattr(target, 'layer', None)
        return cls(
            target,
            tuple(objects),
            script,
            choices,
            target.name,
            target.features().copy(),
            objects.identity,
            held,
        )


def save(
    path: str | os.PathLike[str], snapshot: Snapshot, encoder: RecordEncoder
) -> None:
    """Write a session file, atomically.

    If the pixels of the image were replaced since, only the labelled pixels of
    an object are written.

    Parameters
    ----------
    path : path
        File to write; an existing file is replaced.
    snapshot : Snapshot
        State to write.
    encoder : RecordEncoder
        Encoder of the planes and objects, with the cache of earlier saves.

    Raises
    ------
    SessionFileError
        The content is something that `read` would refuse.
    OSError
        The file cannot be written.
    """
    records = encoder.present(snapshot.records)
    head = {
        'format': FORMAT,
        'owner': snapshot.owner,
        'labels': snapshot.name,
        **asdict(snapshot.choices),
        'script': snapshot.script,
    }
    with atomic_path(Path(path)) as temporary, temporary.open('wb') as file:
        file.write(pack(f'{as_json(head)[:-1]}, "objects": [\n'))
        file.writelines(encoder.lines(records, snapshot.target))
        painted = painted_pixels(snapshot.target, records)
        labels = {record.label for record in records} | _labels_of(painted)
        features = _features(snapshot.rows, labels)
        tail: Json = {'planes': encoder.planes}
        _check_readable({**head, **tail, 'objects': []}, features)
        if painted is not None:
            tail['painted'] = painted_json(painted)
        text = f'{as_json(tail)[:-1]}, "features": {_columns_json(features)}}}'
        file.write(pack(f'\n], {text[1:]}'))


def _labels_of(painted: PaintedPixels | None) -> set[int]:
    return set() if painted is None else painted.labels


def _features(rows: pd.DataFrame | None, labels: set[int]) -> Json:
    if rows is None:
        return {}
    return rows_to_json(rows[rows['index'].isin(list(labels))])


def _columns_json(columns: Json) -> str:
    """Return the JSON of a table; other threads can run between columns."""
    items = [
        f'{as_json(name)}: {as_json(values)}'
        for name, values in columns.items()
    ]
    return f'{{{", ".join(items)}}}'


def _check_readable(content: Json, features: Json) -> None:
    """Raise `SessionFileError` if `read` would refuse a file.

    In that case the last good file is kept. Long parts that are valid by
    construction are not checked: objects, painted pixels, and feature values.
    """
    names: Json = {name: [] for name in features}
    try:
        check_session(json.loads(as_json({**content, 'features': names})))
    except SchemaError as error:
        raise SessionFileError(
            f'Session files cannot hold that {error}.'
        ) from error


def check_place(path: Path) -> None:
    """Raise `SegmentationError` if a session file would replace another file.

    For example the image, by mistake.
    """
    if path.is_dir():
        raise SegmentationError(f'{path} is a folder: give a file.')
    try:
        with path.open('rb') as file:
            start = file.read(len(GZIP))
    except OSError:
        # writing will report the problem
        return
    if start and start != GZIP:
        raise SegmentationError(
            f'{path} exists and is not a session file: it is not replaced. '
            'Give another name.'
        )


def owner_of(path: Path) -> str:
    """Return the identity of the objects last saved to a file.

    Empty if the file has none or does not exist.
    """
    try:
        with gzip.open(path, 'rb') as file:
            start = file.read(OWNER_WITHIN)
    except (OSError, EOFError, zlib.error):
        return ''
    found = OWNER.search(start)
    return found.group(1).decode() if found else ''


@dataclass(frozen=True, eq=False)
class LoadedSession:
    """Content of a file, ready to be written to labels.

    Attributes
    ----------
    path : Path
        The file.
    labels : str
        Name of the labels of the objects.
    records : tuple of (ObjectRecord, list of (ImagePlane, Mask))
        Each object, and the pixels that have its label.
    choices : SessionParameters
        Parameters.
    replay_code : ReplayCode or None
        Code that creates the objects.
    rows : DataFrame or None
        Their rows in the feature table; older files have none.
    painted : PaintedPixels or None
        Pixels that belong to no object.
    """

    path: Path
    labels: str
    records: tuple[tuple[ObjectRecord, list[tuple[ImagePlane, Mask]]], ...]
    choices: SessionParameters
    replay_code: ReplayCode | None
    rows: pd.DataFrame | None = None
    painted: PaintedPixels | None = None


def load(
    path: str | os.PathLike[str], scene: Scene, objects: Objects
) -> SessionParameters:
    """Load the objects of a session; see `put`.

    Missing pixels are written.

    Parameters
    ----------
    path : path
        File written by `save`.
    scene : Scene
        Scene to find planes in; the image of the session must be open.
    objects : Objects
        Objects of the labels, still empty.

    Returns
    -------
    SessionParameters
        Parameters of the session.

    Raises
    ------
    SessionFileError
        The file is not a session file, belongs to another image, or there are
        already objects.
    """
    content = read(path)
    check_empty(objects)
    loaded = decode(path, content, find_planes(path, content, scene))
    put(loaded, objects)
    return loaded.choices


# the steps of `load`, since a viewer reads and decodes on another thread


def read(path: str | os.PathLike[str]) -> Json:
    """Read a file written by `save`.

    Raises
    ------
    SessionFileError
        The file is not a session file.
    """
    try:
        content = _parsed(_lines(Path(path)))
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            raise SessionFileError(
                f'{path} is not a session file of this version ({FORMAT}).'
            )
        return check_session(content)
    except FileNotFoundError:
        raise SessionFileError(f'There is no file {path}.') from None
    except SegmentationError:
        raise
    except (
        OSError,
        EOFError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        raise SessionFileError(
            f'{path} is not a session file, or is damaged ({error}).'
        ) from error


def _lines(path: Path) -> list[str]:
    """Return the lines of a compressed file, within bounds."""
    most = max(MOST_TEXT, MOST_EXPANSION * path.stat().st_size)
    with gzip.open(path, 'rb') as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise SchemaError(f'more than {most:,} characters')
    return content.decode().splitlines(keepends=True)


def _parsed(lines: list[str]) -> Any:
    """Parse JSON line by line, so that other threads can run."""
    if len(lines) < MANY or not lines[0].endswith('"objects": [\n'):
        return json.loads(''.join(lines))
    first, *objects, last = lines
    content = json.loads(first + last)
    content['objects'] = [json.loads(line.rstrip(',\n')) for line in objects]
    return content


def find_planes(
    path: str | os.PathLike[str], content: Json, scene: Scene
) -> list[ImagePlane]:
    """Find the planes of a session, on the viewer's thread.

    Raises
    ------
    SessionFileError
        The file is damaged, or the open image has no such plane.
    """
    with _damage_told(path):
        try:
            return [scene.find(**each['found']) for each in content['planes']]
        except ImageError as error:
            raise SessionFileError(str(error)) from error


def decode(
    path: str | os.PathLike[str], content: Json, planes: Sequence[ImagePlane]
) -> LoadedSession:
    """Decode the objects of a file, and check that the image matches.

    Raises
    ------
    SessionFileError
        The file is damaged or belongs to another image.
    """
    with _damage_told(path):
        seen = [entry['fingerprint'] for entry in content['planes']]
        reader = RecordDecoder(planes, seen)
        records = tuple(reader.record(entry) for entry in content['objects'])
        if len({record.number for record, _ in records}) < len(records):
            raise SchemaError('two objects have the same number')
        painted = optional_of(painted_from, content.get('painted'))
        return LoadedSession(
            Path(path),
            content.get('labels', 'objects'),
            records,
            SessionParameters(
                content['model'],
                WriteOptions(**content['options']),
                CleanUp(**content['clean_up']),
                _colors(content.get('classes', {})),
            ),
            _replay_code(content['script']),
            rows_from_json(
                content.get('features', {}),
                {record.label for record, _ in records} | _labels_of(painted),
            ),
            painted,
        )


def put(loaded: LoadedSession, objects: Objects) -> None:
    """Write the objects of a file to labels.

    Painted pixels and the rows of their labels are written if the labels have
    the same shape as those saved. This cannot be undone: with autosave, an
    undo would empty the file.

    Raises
    ------
    SessionFileError
        There are already objects, a label is too large for the dtype, other
        labels occupy the place of the objects, or the labels do not cover all
        of them.
    LabelsError
        The labels cannot be written.
    """
    check_empty(objects)
    _check_labels(loaded, objects.target)
    _check_free(loaded, objects.target)
    with objects.step(f'loading {loaded.path.name}') as step:
        step.replay_code = loaded.replay_code
        for plane, masks in _by_plane(loaded).values():
            step.paint_masks(plane, masks)
        _check_reached(loaded, objects.target)
        for record, _ in loaded.records:
            step.put(record)
        painted = loaded.painted
        if painted is not None and painted.shape != objects.target.shape:
            painted = None
        if loaded.rows is not None:
            step.complete(loaded.rows, _labels_of(painted))
        if painted is not None:
            painted.put(step, objects.target)
            objects.note_painted(painted.labels)
    objects.history.settle()
    objects.changed.emit()


def check_empty(objects: Objects) -> None:
    """Raise `SessionFileError` if there are already objects."""
    if len(objects):
        raise SessionFileError(
            f'“{objects.target.name}” has {counted(len(objects), "object")} '
            'already: choose other labels to load a session into.'
        )


def _check_labels(loaded: LoadedSession, target: LabelTarget) -> None:
    """Raise `SessionFileError` if labels cannot hold those of a file."""
    labels = [record.label for record, _ in loaded.records]
    painted = 0 if loaded.painted is None else loaded.painted.highest
    chosen = loaded.choices.options.label or 0
    highest = max([*labels, painted, chosen])
    if highest > target.limit:
        raise SessionFileError(
            f'{loaded.path} has the label {highest}, and “{target.name}” '
            f'holds labels up to {target.limit}: choose labels of a larger '
            'type.'
        )


def _check_free(loaded: LoadedSession, target: LabelTarget) -> None:
    """Raise `SessionFileError` if other labels would be replaced."""
    for record, own in loaded.records:
        for plane, mask in own:
            there = labels_in(target, plane, mask)
            if ((there != 0) & (there != record.label)).any():
                raise SessionFileError(
                    f'“{target.name}” has other labels where {loaded.path} '
                    f'has object {record.label}: choose empty labels, or '
                    'those that were saved.'
                )


def _check_reached(loaded: LoadedSession, target: LabelTarget) -> None:
    """Raise `SessionFileError` if labels lack most of an object.

    Labels of another resolution differ in pixels at the border.
    """
    for record, own in loaded.records:
        area = sum(mask.area for _, mask in own)
        there = sum(
            int(np.count_nonzero(labels_in(target, plane, mask)))
            for plane, mask in own
        )
        if 2 * there < area:
            raise SessionFileError(
                f'“{target.name}” does not cover object {record.label} of '
                f'{loaded.path}: choose labels that cover the image.'
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
        OverflowError,
        TypeError,
        ValueError,
        zlib.error,
    ) as error:
        raise SessionFileError(f'{path} is damaged ({error}).') from error


def _colors(classes: Json) -> dict[str, str]:
    return {str(name): hex_color(color) for name, color in classes.items()}


def _replay_code(lines: list[str]) -> ReplayCode | None:
    """Return the script of a file; None if it has foreign commands."""
    if is_replay_script(lines):
        return ReplayCode(tuple(lines))
    return None
