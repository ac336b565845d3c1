"""Jobs of an open series: read ahead, save, and segment all images."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psygnal import Signal, SignalInstance

from napari_mobilesam.lru_cache import LeastRecentlyUsed
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
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    LatestRun,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.worker import (
    LatestWorker,
    SupersededError,
)
from napari_mobilesam.session.series.labels_saving import (
    LabelsSaving,
    SaveRequest,
)
from napari_mobilesam.session.series.series_opening import SeriesOpening
from napari_mobilesam.session.series.tracks_saving import TracksSaving
from napari_mobilesam.text import explain
from napari_mobilesam.types import EverythingParameters, SegmentationError

KIND = 'series'
# Of labels that could not be saved: each later save tries them again.
NOT_LOST = 'Nothing is lost while the viewer is open.'
# Number of images read before they are opened.
AHEAD = 2
# Number of images kept in memory: those ahead, and the previous one.
KEPT = 4
# Ranks of jobs on the files: the images ahead, and the list of objects.
SOON, LAST = 1, 2


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image of a series, read from disk.

    Attributes
    ----------
    number : int
        Number of the image in the series.
    image : ImageArray or None
        The image; None if it cannot be read.
    labels : SavedLabels or None
        Its labels, if any.
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


def keeps_prompts(error: BaseException) -> str:
    """Return the message for existing prompts that cannot be read."""
    return (
        f'{explain(error)} The file of the prompts is kept, and new prompts '
        'of this image are not saved.'
    )


class SeriesJobs:
    """Read, save and segment the images of a series in the background.

    Files are read and written in order on a separate thread; images are
    segmented on the worker thread of the session, where prompts take
    precedence.

    Attributes
    ----------
    opened : Signal()
        Another series was opened.
    read : Signal(ReadImage)
        The image requested last.
    read_ahead : Signal(ReadImage)
        An image that is likely to be opened next.
    decoded : Signal(int, LoadedSession)
        Number of an image, and its objects.
    changed : Signal(int)
        Record of an image has changed.
    progress : Signal(int, int, str)
        Steps done, steps in total, and a message.
    segmented : Signal(SaveRequest)
        Labels of the open image, for its layer.
    finished : Signal(SeriesResult)
        All images were segmented, or segmentation was cancelled.
    uncertain : Signal(list of UncertainObject)
        Answer to `ask_uncertain`, least certain first.
    failed : Signal(str)
        Error message.
    series : Series or None
        The open series.
    current : int
        Number of the image that is open; -1 if none is.
    opening : SeriesOpening
        Finds the images of a series that is about to be opened.
    saving : LabelsSaving
        Saves labels, and keeps those that could not be saved.
    tracks : TracksSaving
        Saves and reads their tracks.
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
    failed = Signal(str)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._files = LatestWorker('napari-mobilesam-series')
        self._runs = LatestRun[BackgroundRun](services.deliver)
        self._images = LeastRecentlyUsed[ImageArray](KEPT)
        self._asked = 0
        # cleared to end a listing, which may read thousands of tables
        self._listing = threading.Event()
        self._listed: list[UncertainObject] = []
        self.series: Series | None = None
        self.current = -1
        self.opening = SeriesOpening(services.deliver)
        self.saving = LabelsSaving(services)
        self.tracks = TracksSaving(services, self.saving.lock)
        self.tracks.failed.connect(self.failed.emit)
        self.saving.saved.connect(self.changed.emit)
        self.saving.failed.connect(
            lambda e: self.failed.emit(f'{explain(e)} {NOT_LOST}')
        )

    @property
    def running(self) -> bool:
        """True while all images are being segmented."""
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
        """Switch to another series, or close it with None.

        Pending saves finish first. A series with labels that cannot be saved
        stays open.

        Raises
        ------
        SeriesError
            Labels cannot be saved, and another series would replace them.
        """
        self.abandon()
        self.wait()
        if self.series is not None:
            self.saving.save_waiting(self.series)
        if self.saving.unsaved:
            if series is None:
                self.current = -1
                return
            name = self.required[min(self.saving.unsaved)].name
            raise SeriesError(
                f'The labels of {name} could not be saved: make the labels '
                'folder writable before you open another series.'
            )
        self._images.clear()
        self.saving.forget()
        self.series, self.current = series, -1
        if series is not None:
            self._files.submit(
                'rescued',
                lambda: self.saving.restore(
                    series, lambda n: self._read_image(series, n).image
                ),
            )
        self.opened.emit()

    # reading

    def ask(self, number: int) -> None:
        """Read an image and its labels; `read` emits them."""
        series = self.required
        self._asked += 1
        asked = self._asked

        def tell(found: ReadImage) -> None:
            if asked == self._asked and series is self.series:
                self.read.emit(found)

        def work() -> None:
            found = self._read(series, number)
            self._services.deliver(lambda: tell(found))

        # after pending saves, even if one was requested before
        self._files.discard('read')
        self._files.submit('read', work)

    def ask_ahead(self, numbers: Sequence[int]) -> None:
        """Read images before they are opened; `read_ahead` emits them."""
        series = self.required
        waiting = [n for n in numbers if 0 <= n < len(series)][:AHEAD]

        def work() -> None:
            if not waiting or series is not self.series:
                return
            found = self._read_image(series, waiting.pop(0))
            if found.image is not None:
                self._tell(series, self.read_ahead, found)
            if waiting:
                self._files.submit('ahead', work, SOON)

        self._files.submit('ahead', work, SOON)

    def _read_image(self, series: Series, number: int) -> ReadImage:
        try:
            # an image replaced on disk is read again
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
        path = series[number].session
        waiting = self.saving.unsaved.get(number)
        if waiting is not None:
            kept = SavedLabels(waiting.labels, waiting.table)
            complete = waiting.write_session is None and not path.exists()
            return ReadImage(number, found.image, kept, complete=complete)
        labels, session = None, None
        try:
            with self.saving.lock:
                labels = series.read_labels(number, found.image.label_shape)
            if path.exists():
                session = read(path)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            # without a session file, there are labels but no prompts
            complete = not path.exists()
            text = explain(error) if complete else keeps_prompts(error)
            return ReadImage(
                number, found.image, labels, text, complete=complete
            )
        return ReadImage(number, found.image, labels, session=session)

    def decode(
        self, found: ReadImage, path: Path, planes: Sequence[ImagePlane]
    ) -> None:
        """Decode the objects of an image; `decoded` emits them.

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
            The record cannot be written.
        """
        with self.saving.lock:
            self.required.mark(number, status)
        self.changed.emit(number)

    def review(self, number: int, label: int) -> None:
        """Note that an object was reviewed.

        Raises
        ------
        SeriesError
            The record cannot be written.
        """
        with self.saving.lock:
            self.required.review(number, [label])

    def ask_uncertain(self, check: bool = False) -> None:
        """List the unreviewed objects; `uncertain` emits them.

        Parameters
        ----------
        check : bool
            Whether to look for changes by other programs, too.
        """
        series = self.required
        self._listing.set()

        def between() -> None:
            if not self._listing.is_set() or self._files.waits(LAST):
                raise SupersededError

        def work() -> None:
            try:
                # without the lock, for which the viewer may wait
                found = series.uncertain(check, between)
            except SupersededError:
                # tables that were read are not read again
                if self._listing.is_set():
                    self._files.resume('uncertain', work, LAST)
                return
            except Exception as error:  # noqa: BLE001
                self._tell_failure(error)
                return
            if found != self._listed:
                self._listed = found
            # the same list as before if nothing has changed in it
            self._tell(series, self.uncertain, self._listed)

        self._files.submit('uncertain', work, LAST)

    def _tell(
        self, series: Series, signal: SignalInstance, found: Any
    ) -> None:
        """Emit a signal on the viewer's thread if the series is still open."""

        def tell() -> None:
            if series is self.series:
                signal.emit(found)

        self._services.deliver(tell)

    # saving

    def save(self, request: SaveRequest) -> None:
        """Save labels; a newer request for the same image replaces it."""
        series = self.required

        def work() -> None:
            if series is self.series:
                self.saving.save(series, request)

        self._files.submit(f'save {request.number}', work)

    def save_found(self, request: SaveRequest) -> None:
        """Save labels found by a run, unless there are labels by now."""
        series, number = self.required, request.number

        def work() -> None:
            if series is not self.series:
                return
            try:
                saved = self.saving.save_found(series, request)
            except Exception as error:  # noqa: BLE001
                self._tell_failure(error)
                return
            if saved:
                self._services.deliver(lambda: self.changed.emit(number))

        self._files.submit(f'found {number}', work)

    def _tell_failure(self, error: BaseException) -> None:
        text = explain(error)
        self._services.deliver(lambda: self.failed.emit(text))

    # segmenting all images

    def segment_all(
        self, parameters: EverythingParameters | None, channel: int = 0
    ) -> None:
        """Segment all images without labels; `finished` ends it.

        Parameters
        ----------
        parameters : EverythingParameters or None
            Parameters of all images.
        channel : int
            Channel to use in images with several.

        Raises
        ------
        SeriesError
            No series is open.
        """
        series = self.required
        run = self._runs.start(BackgroundRun())
        model_name = self._services.models.name
        if self.saving.unsaved:
            # there may be space by now
            self._files.submit(
                'unsaved', lambda: self.saving.save_waiting(series)
            )
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
        """Stop, and drop results on their way."""
        self._services.worker.discard(KIND)
        self._runs.drop()
        self._listing.clear()

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
            self._runs.tell(run, self.progress.emit, done, total, text)

        def write(*found: Any) -> bool:
            return self._keep_found(run, series, SaveRequest(*found))

        def on_image(number: int) -> None:
            self._runs.tell(run, self.changed.emit, number)

        try:
            model = self._services.models.load(model_name, KIND)
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
            self._services.models.fail(error, KIND)
        self._runs.finish(run, self.finished.emit, result)

    def _keep_found(
        self, run: BackgroundRun, series: Series, request: SaveRequest
    ) -> bool:
        """Save labels that a run has found, unless there are some by now."""
        number = request.number
        if number == self.current:
            # the layer takes them, and is saved
            self._runs.tell(run, self.segmented.emit, request)
            return True
        try:
            return self.saving.save_found(series, request)
        except SeriesError:
            # the folder is full or gone: further images would cost time and
            # memory for nothing
            run.cancelled.set()
            raise

    def rest(self) -> None:
        """Stop segmenting, and release images; the series stays open."""
        self.abandon()
        self._files.discard('ahead')
        self._images.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until files are read and written; return False on timeout."""
        return self._files.wait(timeout) and self.tracks.wait(timeout)

    def close(self) -> None:
        """Stop segmenting, finish saving, and end the thread."""
        self.abandon()
        self.opening.close()
        self._files.discard('read')
        self._files.discard('ahead')
        self._files.wait()
        if self.series is not None:
            self.saving.save_waiting(self.series)
            self.saving.rescue(self.series)
        self._files.close()
        self.tracks.close()
