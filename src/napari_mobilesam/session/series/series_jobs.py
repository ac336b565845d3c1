"""Jobs of an open series: reading ahead, saving, segmenting all images."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_entry import Status, UncertainObject
from napari_mobilesam.series.series_files import SeriesError, file_state
from napari_mobilesam.series.series_images import ImageArray, SavedLabels
from napari_mobilesam.series.series_segmentation import (
    SeriesResult,
    segment_series,
)
from napari_mobilesam.session.files.record_json import Json
from napari_mobilesam.session.files.saving import decode, read
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.images.recent import LeastRecentlyUsed
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.session.series.rescued import (
    RescuedFiles,
    rescue,
    rescue_folders,
    rescued_of,
)
from napari_mobilesam.text import explain
from napari_mobilesam.types import EverythingParameters, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

KIND = 'series'
# Images that are read before they are opened.
AHEAD = 2
# Images kept in memory: those ahead, and the one behind.
KEPT = 4


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image of a series that was read.

    Attributes
    ----------
    number : int
        Number of the image in the series.
    image : ImageArray or None
        The image; None if it cannot be read.
    labels : SavedLabels or None
        Its labels, if there are any.
    problem : str
        Error message, or empty.
    session : dict or None
        Prompts and candidates of the objects, as in a session file.
    complete : bool
        False if there are prompts that were not read.
    """

    number: int
    image: ImageArray | None
    labels: SavedLabels | None = None
    problem: str = ''
    session: Json | None = None
    complete: bool = True


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """Labels of an image that are to be saved.

    Attributes
    ----------
    number : int
        Number of the image in the series.
    labels : ndarray
        A copy, which nobody changes.
    table : DataFrame or None
        A row per object.
    image : ImageArray
        The image.
    write_session : callable or None
        ``write_session(path)`` writes prompts and candidates; None leaves
        what there is.
    """

    number: int
    labels: NDArray[Any]
    table: pd.DataFrame | None
    image: ImageArray
    write_session: Callable[[Path], None] | None = None


def keeps_prompts(error: BaseException) -> str:
    """Return the message where prompts that are there cannot be read."""
    return (
        f'{explain(error)} The file of the prompts is kept, and new ones of '
        'this image are not saved.'
    )


class SeriesJobs:
    """Reads, saves and segments the images of a series in the background.

    Files are read and written on one thread of their own, in order; images
    are segmented on the worker thread of the session, where prompts go first.

    Parameters
    ----------
    services : Services
        Worker, engine and messages of the session.

    Attributes
    ----------
    opened : Signal()
        Another series was opened.
    read : Signal(ReadImage)
        The image that was asked for last.
    read_ahead : Signal(ReadImage)
        An image that is likely to be opened next.
    decoded : Signal(int, LoadedSession)
        Number of an image, and its objects.
    changed : Signal(int)
        Record of an image has changed.
    progress : Signal(int, int, str)
        Steps done, steps in total, and a message.
    segmented : Signal(SaveRequest)
        Labels of the image that is open, for its layer.
    finished : Signal(SeriesResult)
        All images were segmented, or it was cancelled.
    uncertain : Signal(list of UncertainObject)
        Answer to `ask_uncertain`, least certain first.
    kept : Signal(Path, Path)
        A label image of others, and the file that the labels of the image are
        saved to instead.
    restored : Signal(str)
        Message: labels are back that could not be saved in another viewer.
    failed : Signal(str)
        Error message.
    series : Series or None
        The open series.
    current : int
        Number of the image that is open; -1 if none is.
    unsaved : dict of int to SaveRequest
        Labels that could not be saved; each later save tries them again.
    """

    opened = Signal()
    read = Signal(object)
    read_ahead = Signal(object)
    decoded = Signal(int, object)
    changed = Signal(int)
    progress = Signal(int, int, str)
    segmented = Signal(object)
    finished = Signal(object)
    uncertain = Signal(object)
    kept = Signal(object, object)
    restored = Signal(str)
    failed = Signal(str)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files = LatestWorker('napari-mobilesam-series')
        self._runs: LatestRun[BackgroundRun] = LatestRun(services.deliver)
        self._images: LeastRecentlyUsed[ImageArray] = LeastRecentlyUsed(KEPT)
        # one thread at a time reads or writes labels and records
        self._lock = threading.Lock()
        self._asked = 0
        # files of an earlier viewer, and the request to save what they hold
        self._rescued: dict[int, tuple[RescuedFiles, SaveRequest]] = {}
        self.series: Series | None = None
        self.current = -1
        self.unsaved: dict[int, SaveRequest] = {}

    @property
    def running(self) -> bool:
        """True if all images are being segmented."""
        return self._runs.current is not None

    @property
    def required(self) -> Series:
        """The open series.

        Raises
        ------
        SeriesError
            There is none.
        """
        if self.series is None:
            raise SeriesError('No series is open: open a folder or files.')
        return self.series

    def open(self, series: Series | None) -> None:
        """Go on with another series; None closes it.

        What is being saved is saved first. A series with labels that cannot
        be saved stays open.

        Raises
        ------
        SeriesError
            Labels cannot be saved, and another series would replace them.
        """
        self.abandon()
        self._files.wait()
        if self.series is not None:
            self._save_waiting(self.series)
        if self.unsaved:
            if series is None:
                self.current = -1
                return
            name = self.required[min(self.unsaved)].name
            raise SeriesError(
                f'The labels of {name} could not be saved: make the folder '
                'of the labels writable before you open another series.'
            )
        self._images.clear()
        self._rescued = {}
        self.series, self.current, self.unsaved = series, -1, {}
        if series is not None:
            self._files.submit('rescued', lambda: self._restore(series))
        self.opened.emit()

    # reading

    def ask(self, number: int) -> None:
        """Read an image and its labels; `read` brings them."""
        series = self.required
        self._asked += 1
        asked = self._asked

        def tell(found: ReadImage) -> None:
            if asked == self._asked and series is self.series:
                self.read.emit(found)

        def work() -> None:
            found = self._read(series, number)
            self._services.deliver(lambda: tell(found))

        # after what is being saved, even if one was asked for before
        self._files.discard('read')
        self._files.submit('read', work)

    def ask_ahead(self, numbers: Sequence[int]) -> None:
        """Read images before they are opened; `read_ahead` brings them."""
        series = self.required
        waiting = [n for n in numbers if 0 <= n < len(series)][:AHEAD]

        def tell(found: ReadImage) -> None:
            if series is self.series:
                self.read_ahead.emit(found)

        def work() -> None:
            if not waiting or series is not self.series:
                return
            found = self._read_image(series, waiting.pop(0))
            if found.image is not None:
                self._services.deliver(lambda: tell(found))
            if waiting:
                self._files.submit('ahead', work, 1)

        self._files.submit('ahead', work, 1)

    def _read_image(self, series: Series, number: int) -> ReadImage:
        try:
            # an image that was replaced on disk is read again
            state = file_state(series[number].files.image) or ()
            image = self._images.get(
                (number, *state), lambda: series.read_image(number)
            )
        except Exception as error:  # noqa: BLE001 - every failure is reported
            return ReadImage(number, None, problem=explain(error))
        return ReadImage(number, image)

    def _read(self, series: Series, number: int) -> ReadImage:
        found = self._read_image(series, number)
        if found.image is None:
            return found
        path, waiting = series[number].session, self.unsaved.get(number)
        if waiting is not None:
            kept = SavedLabels(waiting.labels, waiting.table)
            complete = waiting.write_session is None and not path.exists()
            return ReadImage(number, found.image, kept, complete=complete)
        labels, session = None, None
        try:
            with self._lock:
                labels = series.read_labels(number, found.image.label_shape)
            if path.exists():
                session = read(path)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            # without a session file the labels are there, not their prompts
            complete = not path.exists()
            text = explain(error) if complete else keeps_prompts(error)
            return ReadImage(
                number, found.image, labels, text, complete=complete
            )
        return ReadImage(number, found.image, labels, session=session)

    def decode(
        self, found: ReadImage, path: Path, planes: Sequence[ImagePlane]
    ) -> None:
        """Decode the objects of an image; `decoded` brings them.

        Parameters
        ----------
        found : ReadImage
            The image, with the content of its session file.
        path : Path
            The session file.
        planes : sequence of ImagePlane
            Planes of the file, see `find_planes`.
        """
        content, number = found.session, found.number

        def work() -> None:
            try:
                loaded = decode(path, content or {}, planes)
            except SegmentationError as error:
                text = keeps_prompts(error)
                self._services.deliver(lambda: self.failed.emit(text))
                return
            self._services.deliver(lambda: self.decoded.emit(number, loaded))

        self._files.submit('decode', work)

    # records

    def mark(self, number: int, status: Status) -> None:
        """Set the status of an image.

        Raises
        ------
        SeriesError
            It cannot be written down.
        """
        with self._lock:
            self.required.mark(number, status)
        self.changed.emit(number)

    def review(self, number: int, label: int) -> None:
        """Note that an object was reviewed.

        Raises
        ------
        SeriesError
            It cannot be written down.
        """
        with self._lock:
            self.required.review(number, [label])

    def ask_uncertain(self) -> None:
        """List the objects that were not reviewed; `uncertain` brings them."""
        series = self.required

        def work() -> None:
            try:
                with self._lock:
                    found = series.uncertain()
            except Exception as error:  # noqa: BLE001
                self._tell_failure(error)
                return
            self._services.deliver(lambda: self._tell_uncertain(series, found))

        self._files.submit('uncertain', work)

    def _tell_uncertain(
        self, series: Series, found: list[UncertainObject]
    ) -> None:
        if series is self.series:
            self.uncertain.emit(found)

    # saving

    def save(self, request: SaveRequest) -> None:
        """Save labels; a newer request for the same image replaces it."""
        series = self.required

        def work() -> None:
            self._save(series, request)

        self._files.submit(f'save {request.number}', work)

    def save_found(self, request: SaveRequest) -> None:
        """Save labels that were found, unless there are labels by now."""
        series, number = self.required, request.number

        def work() -> None:
            if number not in self.unsaved and not series[number].labelled:
                self._save(series, request)

        # not in place of labels that wait to be saved
        self._files.submit(f'found {number}', work)

    def _save(self, series: Series, request: SaveRequest) -> None:
        if series is not self.series:
            return
        waiting = self.unsaved.get(request.number)
        if waiting is not None and request.write_session is None:
            # prompts that could not be saved wait for it, too
            request = replace(request, write_session=waiting.write_session)
        self.unsaved[request.number] = request
        self._save_waiting(series)

    def _save_waiting(self, series: Series) -> None:
        """Save what is new, and what could not be saved before."""
        for number, waiting in list(self.unsaved.items()):
            try:
                with self._lock:
                    before = series[number].labels
                    path = series.save_labels(
                        number, waiting.labels, waiting.table, waiting.image
                    )
                    if waiting.write_session is not None:
                        waiting.write_session(series[number].session)
            except Exception as error:  # noqa: BLE001
                self._tell_failure(error)
                continue
            if self.unsaved.get(number) is waiting:
                del self.unsaved[number]
            rescued = self._rescued.pop(number, None)
            if rescued is not None:
                rescued[0].remove()
            self._services.deliver(self._teller(number))
            if path != before:
                self._services.deliver(partial(self.kept.emit, before, path))

    def _teller(self, number: int) -> Callable[[], None]:
        return lambda: self.changed.emit(number)

    def _tell_failure(self, error: BaseException) -> None:
        text = explain(error)
        self._services.deliver(lambda: self.failed.emit(text))

    # labels that could not be saved

    def _restore(self, series: Series) -> None:
        """Bring back labels that could not be saved in another viewer."""
        names = []
        images = [entry.files.image for entry in series]
        for number, saved, files in rescued_of(images):
            found = self._read_image(series, number)
            shape = None if found.image is None else found.image.label_shape
            if found.image is None or saved.labels.shape != shape:
                continue
            # what was saved before may be replaced by them, nothing newer
            series[number].replaceable = files.replaceable
            request = SaveRequest(
                number,
                saved.labels,
                saved.table,
                found.image,
                files.copy_session,
            )
            self._rescued[number] = files, request
            self.unsaved[number] = request
            names.append(series[number].name)
        if names:
            self._save_waiting(series)
            self._services.deliver(
                partial(
                    self.restored.emit,
                    f'Restored labels of {", ".join(names)} that could not be '
                    'saved last time.',
                )
            )

    def _rescue(self, series: Series) -> None:
        """Write labels that cannot be saved to a folder of the user."""
        for number, waiting in self.unsaved.items():
            if self._rescued.get(number, (None, None))[1] is waiting:
                # they are there still
                continue
            entry = series[number]
            image = entry.files.image
            try:
                files = rescue(
                    image,
                    waiting.labels,
                    waiting.table,
                    entry.replaceable,
                    waiting.write_session,
                )
            except OSError as error:
                logger.error(
                    'The labels of %s are lost: they can be written neither '
                    'to %s nor to %s (%s).',
                    image,
                    series.folder,
                    rescue_folders()[0],
                    explain(error),
                )
            else:
                logger.warning(
                    'The labels of %s could not be saved to %s. They are in '
                    '%s, and come back when the series is opened again.',
                    image,
                    series.folder,
                    files.labels,
                )

    # segmenting all images

    def segment_all(
        self, parameters: EverythingParameters | None, channel: int = 0
    ) -> None:
        """Segment all images that have no labels; `finished` ends it.

        Parameters
        ----------
        parameters : EverythingParameters or None
            Parameters of all images.
        channel : int
            Channel of images with several.

        Raises
        ------
        SeriesError
            No series is open.
        """
        series = self.required
        run = self._runs.start(BackgroundRun())
        model_name = self._services.model_name()
        if self.unsaved:
            # there may be space by now
            self._files.submit('unsaved', lambda: self._save_waiting(series))
        self._services.worker.submit(
            KIND,
            lambda: self._segment(
                run, series, parameters, model_name, channel
            ),
        )

    def cancel(self) -> None:
        """Stop after the current step; finished images are kept."""
        self._runs.cancel()

    def abandon(self) -> None:
        """Stop, and drop what is on its way."""
        self._services.worker.discard(KIND)
        self._runs.drop()

    # below: on the worker thread

    def _segment(
        self,
        run: BackgroundRun,
        series: Series,
        parameters: EverythingParameters | None,
        model_name: str,
        channel: int,
    ) -> None:
        result = SeriesResult(complete=False)

        def progress(done: int, total: int, text: str) -> None:
            self._runs.tell(run, lambda: self.progress.emit(done, total, text))

        def write(*found: Any) -> bool:
            return self._keep_found(run, series, SaveRequest(*found))

        def on_image(number: int) -> None:
            self._runs.tell(run, self._teller(number))

        try:
            model = self._services.load(model_name, KIND)
            if model is not None:
                result = segment_series(
                    series,
                    model,
                    parameters,
                    channel=channel,
                    write=write,
                    on_image=on_image,
                    progress=progress,
                    cancelled=self._services.between_steps(run),
                )
        except BaseException as error:  # noqa: BLE001 - SystemExit, too
            self._services.fail(error, KIND)
        self._runs.finish(run, lambda: self.finished.emit(result))

    def _keep_found(
        self, run: BackgroundRun, series: Series, request: SaveRequest
    ) -> bool:
        """Save labels that a run has found, unless there are some by now."""
        number = request.number
        if number == self.current:
            # the layer takes them, and is saved
            self._runs.tell(run, lambda: self.segmented.emit(request))
            return True
        with self._lock:
            # not in place of labels that wait to be saved
            if number in self.unsaved or series[number].labelled:
                return False
            try:
                series.save_labels(
                    number, request.labels, request.table, request.image
                )
            except SeriesError:
                # the folder is full or gone: further images would take
                # their time, and as much memory, for nothing
                self.unsaved[number] = request
                run.cancelled.set()
                raise
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Block until files are read and written; False on time-out."""
        return self._files.wait(timeout)

    def close(self) -> None:
        """Stop segmenting, finish saving, and end the thread."""
        self.abandon()
        self._files.discard('read')
        self._files.discard('ahead')
        self._files.wait()
        if self.series is not None:
            self._save_waiting(self.series)
            self._rescue(self.series)
        self._files.close()
