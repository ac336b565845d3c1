"""Measure the objects of labels in the background."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_mobilesam.readers.stated_size import SizedFile, stated_sizes
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Progress, SegmentationError
from napari_mobilesam.units import METERS, in_one_unit, symbol_of, unit_name

if TYPE_CHECKING:
    import pandas as pd

# Numbers and their unit, such as “20.2 nm” or “0.8 × 0.2 × 0.2 µm”.
SIZE = re.compile(r'(.*[\d.])\s*([^\d.]+)')
# A comma with a space is no decimal one.
BETWEEN_SIZES = re.compile(r',?\s*[\s×x;]\s*')
# Such as 1,000: one thousand in some languages, one in others.
AMBIGUOUS = re.compile(r'[1-9]\d{0,2}(,\d{3})+')


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """Request for a measurement; see `measure_objects`.

    Attributes
    ----------
    labels, image : array
        Labels, and intensities or None.
    scale : tuple of float or None
        Size of a pixel along each axis of the labels.
    units : str or None
        Unit of the scale.
    channels : sequence of str or None
        Names of the channels of the image; by default their numbers.
    volumes : bool
        Whether objects of a stack are measured in 3D.
    over_time : bool
        Whether the first axis is time, see `measure_over_time`. The scale has
        no entry for it.
    owner : object
        Handed back with the table.
    note : str
        What the user should know of the measurements.
    files : sequence of SizedFile
        Without a scale, the first of them that states one gives it.
    """

    labels: Any
    image: Any = None
    scale: tuple[float, ...] | None = None
    units: str | None = None
    channels: Sequence[str] | None = None
    volumes: bool = False
    over_time: bool = False
    owner: Any = None
    note: str = ''
    files: Sequence[SizedFile] = ()


class Measuring(WatchedJobs):
    """Measure objects on a separate thread; the newest request wins.

    Parameters
    ----------
    deliver : callable
        Runs a function on the thread that owns the viewer.

    Attributes
    ----------
    finished : Signal(MeasureRequest, DataFrame, DataFrame)
        The table of the newest request and, over time, that of each frame;
        else None.
    """

    finished = Signal(object, object, object)

    def __init__(self, deliver: Deliver) -> None:
        worker = LatestWorker('napari-mobilesam-measuring')
        super().__init__(deliver, worker, 'measure')

    def start(self, request: MeasureRequest) -> None:
        """Measure objects; `finished` emits the tables.

        It emits the request, too, with the scale that was used.
        """

        def job(progress: Progress) -> Any:
            used = with_stated_scale(request)
            return used, *_measured(used, progress)

        self.do(job, lambda found: self.finished.emit(*found))

    def apart(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a function on the thread; pass its result to the viewer's.

        The newest function replaces a waiting one.
        """
        self._worker.submit('apart', lambda: self._deliver(job()))

    def save(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a function that writes a file; no such call is skipped."""
        self._worker.keep(lambda: self._deliver(job()))


def _measured(
    request: MeasureRequest, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    from napari_mobilesam.measure.object_table import measure_objects
    from napari_mobilesam.measure.over_time import (
        means_over_time,
        measure_frames,
    )

    measure: Callable[..., pd.DataFrame] = measure_frames
    if not request.over_time:
        measure = partial(measure_objects, volumes=request.volumes)
    table = measure(
        request.labels,
        request.image,
        scale=request.scale,
        units=request.units,
        channels=request.channels,
        progress=progress,
    )
    return (
        (means_over_time(table), table) if request.over_time else (table, None)
    )


def with_entered_scale(request: MeasureRequest, text: str) -> MeasureRequest:
    """Return a request with the pixel size that a user has entered.

    Parameters
    ----------
    request : MeasureRequest
        The request.
    text : str
        One size for a plane, or one for each axis but time, and the unit:
        ``20.2 nm``, ``0.8 0.2 0.2 µm``. If empty, the request is returned as
        it is.

    Raises
    ------
    SegmentationError
        The text cannot be understood.
    """
    text = text.strip()
    ndim = len(request.labels.shape) - request.over_time
    if not text:
        return request
    found = SIZE.fullmatch(text)
    numbers, unit = found.groups() if found else ('', '')
    parts = BETWEEN_SIZES.split(numbers)
    try:
        scale = tuple(float(part.replace(',', '.')) for part in parts)
    except ValueError:
        scale = ()
    if ndim == 2 and len(scale) == 1:
        scale *= 2
    usable = all(math.isfinite(size) and size > 0 for size in scale)
    usable &= not any(map(AMBIGUOUS.fullmatch, parts))
    if len(scale) != ndim or not usable or unit_name(unit) not in METERS:
        wanted = (
            'a number and a unit, such as 20.2 nm'
            if ndim == 2
            else f'{ndim} numbers, one for each axis, and a unit, such as '
            f'{"0.8 " * (ndim - 2)}0.2 0.2 µm'
        )
        raise SegmentationError(f'Pixel size “{text}”: enter {wanted}.')
    return replace(request, scale=scale, units=symbol_of(unit))


def with_stated_scale(request: MeasureRequest) -> MeasureRequest:
    """Return a request with the pixel size that a file states.

    napari's own reader leaves it out. The note tells what was added.
    """
    if request.scale is not None:
        return request
    for found in stated_sizes(request.files):
        # those without names have no size of any axis
        first = int(request.over_time)
        scale, unit = in_one_unit(found.scale[first:], found.units[first:])
        if scale is not None:
            size = ' × '.join(f'{length:.4g}' for length in scale)
            note = f'Pixel size of {found.path.name}: {size} {unit}.'
            note = f'{note} {request.note}'.strip()
            return replace(request, scale=scale, units=unit, note=note)
    return request
