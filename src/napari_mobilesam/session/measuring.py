"""Measure the objects of labels in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psygnal import Signal

from napari_mobilesam.readers.stated_size import SizedFile, stated_sizes
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver, Progress
from napari_mobilesam.units import in_one_unit


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
        Names of the channels of the image.
    volumes : bool
        Whether objects of a stack are measured in 3D.
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
    finished : Signal(MeasureRequest, DataFrame)
        The table of the newest request.
    """

    finished = Signal(object, object)

    def __init__(self, deliver: Deliver) -> None:
        worker = LatestWorker('napari-mobilesam-measuring')
        super().__init__(deliver, worker, 'measure')

    def start(self, request: MeasureRequest) -> None:
        """Measure objects; `finished` emits the table.

        It emits the request, too, with the scale that was used.
        """

        def job(progress: Progress) -> Any:
            from napari_mobilesam.measure.object_table import measure_objects

            used = with_stated_scale(request)
            return used, measure_objects(
                used.labels,
                used.image,
                scale=used.scale,
                units=used.units,
                channels=used.channels,
                volumes=used.volumes,
                progress=progress,
            )

        self.do(job, lambda found: self.finished.emit(*found))

    def apart(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a function on the thread; pass its result to the viewer's.

        The newest function replaces a waiting one.
        """
        self._worker.submit('apart', lambda: self._deliver(job()))

    def save(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a function that writes a file; no such call is skipped."""
        self._worker.keep(lambda: self._deliver(job()))


def with_stated_scale(request: MeasureRequest) -> MeasureRequest:
    """Return a request with the pixel size that a file states.

    napari's own reader leaves it out. The note tells what was added.
    """
    if request.scale is not None:
        return request
    for found in stated_sizes(request.files):
        scale, unit = in_one_unit(found.scale, found.units)
        if scale is not None:
            size = ' × '.join(f'{length:.4g}' for length in scale)
            note = f'Pixel size of {found.path.name}: {size} {unit}.'
            note = f'{note} {request.note}'.strip()
            return replace(request, scale=scale, units=unit, note=note)
    return request
