"""Planes of label images, with those of their images, for ``measure``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_mobilesam.cli.exit_codes import InputError
from napari_mobilesam.cli.image_files import chosen_plane
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.types import Progress, part_of_progress

if TYPE_CHECKING:
    import pandas as pd

# columns of the axes besides rows and columns
TIME, PLANE = 't', 'plane'


class MeasuredPart(NamedTuple):
    """A plane, or a stack of them, that is measured at once.

    Attributes
    ----------
    at : dict of str to int
        Columns that tell which part of the file it is.
    labels, image : array
        (H, W) or (planes, H, W) labels, and the image of the same pixels,
        with channels last, or None.
    """

    at: dict[str, int]
    labels: Any
    image: Any | None


def parts_of(
    labels: LabelsWithTable,
    image: Any | None,
    path: Path,
    plane: Sequence[int] | None,
) -> Iterator[MeasuredPart]:
    """Yield what is measured at once: all, a plane, or each time point.

    Parameters
    ----------
    labels : LabelsWithTable
        (…, H, W) labels.
    image : array or None
        Image of the same pixels; of the plane, if one is chosen.
    path : Path
        File of the labels, for messages.
    plane : sequence of int or None
        The plane to measure, see `chosen_plane`.
    """
    leading = labels.shape[:-2]
    names = [TIME, PLANE][-len(leading) :] if leading else []
    if plane is not None:
        sizes = dict(zip(labels.axes, leading, strict=False))
        index = list(chosen_plane(path, plane, sizes).values())
        at = dict(zip(names, index, strict=True))
        yield MeasuredPart(at, at_index(labels.labels, index), image)
    elif len(leading) < 2:
        yield MeasuredPart({}, labels.labels, image)
    else:
        _check_times(image, labels)
        for time in range(leading[0]):
            yield MeasuredPart(
                {TIME: time},
                at_index(labels.labels, [time]),
                None if image is None else at_index(image, [time]),
            )


def _check_times(image: Any | None, labels: LabelsWithTable) -> None:
    """Refuse an image with other time points or planes than its labels."""
    if image is not None and tuple(image.shape[:4]) != labels.shape:
        raise InputError(
            f'the image has the shape {tuple(image.shape)}, but the labels '
            f'have {labels.shape}: give an image of the same shape, with '
            'channels last if there are any'
        )


def at_index(array: Any, index: Sequence[int]) -> Reordered:
    """Return an array at an index along its first axes, without reading it."""
    kept = range(len(index), len(array.shape))
    return Reordered(array, kept, dict(enumerate(index)))


def plane_of_image(
    array: Any, names: str, path: Path, plane: Sequence[int]
) -> tuple[Any, str]:
    """Return a plane of an image with several, and the axes left.

    Parameters
    ----------
    array : array
        Pixels along any axes.
    names : str
        A letter for each axis.
    path : Path
        File, for messages.
    plane : sequence of int
        See `chosen_plane`; it has no index for channels and colours.
    """
    sizes = {
        name: int(size)
        for name, size in zip(names, array.shape, strict=True)
        if name not in 'yxcs'
    }
    if not any(size > 1 for size in sizes.values()):
        return array, names
    at = chosen_plane(path, plane, sizes)
    kept = [axis for axis, name in enumerate(names) if name not in at]
    index = {names.index(name): number for name, number in at.items()}
    left = ''.join(names[axis] for axis in kept)
    return Reordered(array, kept, index), left


def refuse_other_planes(
    image: Any, path: Path, labels: LabelsWithTable
) -> None:
    """Refuse a stack as the image of labels of one plane."""
    shape = tuple(map(int, image.shape))
    at = next(
        (n for n in range(len(shape)) if shape[n:][:2] == labels.shape), 0
    )
    if max(shape[:at], default=1) > 1:
        counts = ' x '.join(map(str, shape[:at]))
        zeros = ','.join('0' * at)
        raise InputError(
            f'{path} has {counts} planes, but its labels have one: choose '
            f'that plane with --plane {zeros} (counted from 0)'
        )


def measured_parts(
    parts: Sequence[MeasuredPart],
    known: pd.DataFrame | None,
    measure: Callable[..., pd.DataFrame],
    progress: Progress | None,
) -> pd.DataFrame:
    """Measure parts of a file into one table, with columns for the part.

    Parameters
    ----------
    parts : sequence of MeasuredPart
        See `parts_of`.
    known : DataFrame or None
        Class, score and stability; rows of other parts are left out.
    measure : callable
        `measure_objects`, with scale and other options.
    progress : callable or None
        Called with the parts done, their total and a message.
    """
    import pandas as pd

    tables = []
    for number, part in enumerate(parts):
        table = measure(
            part.labels,
            part.image,
            table=_rows_of(known, part.at),
            progress=part_of_progress(progress, number, len(parts)),
        )
        for place, (name, value) in enumerate(part.at.items(), start=1):
            table.insert(place, name, value)
        tables.append(table)
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(filled, ignore_index=True)


def _rows_of(
    known: pd.DataFrame | None, at: dict[str, int]
) -> pd.DataFrame | None:
    """Return the known rows of a part."""
    for name, value in at.items():
        if known is not None and name in known:
            known = known[known[name] == value].drop(columns=name)
    return known
