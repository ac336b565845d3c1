"""Save the labels of a series, and those that could not be saved before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from psygnal import Signal

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import SeriesError
from napari_mobilesam.series.series_images import ImageArray
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.series.rescued import (
    RescuedFiles,
    rescue,
    rescue_folders,
    rescued_of,
)
from napari_mobilesam.text import explain

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SaveRequest:
    """Labels of an image to be saved.

    Attributes
    ----------
    number : int
        Number of the image in the series.
    labels : ndarray
        A copy that nobody changes.
    table : DataFrame or None
        One row per object.
    image : ImageArray
        The image.
    write_session : callable or None
        ``write_session(path)`` writes prompts and candidates; None keeps the
        existing file.
    """

    number: int
    labels: NDArray[Any]
    table: pd.DataFrame | None
    image: ImageArray
    write_session: Callable[[Path], None] | None = None


class LabelsSaving:
    """Save the labels of a series, on the calling thread.

    Parameters
    ----------
    services : Services
        Services, which deliver signals to the main thread.

    Attributes
    ----------
    saved : Signal(int)
        Labels of the image with this number were saved.
    kept : Signal(Path, Path)
        A label image made by others, and the file to which the labels of the
        image are saved instead.
    restored : Signal(str)
        Message that labels which could not be saved in another viewer were
        restored.
    failed : Signal(BaseException)
        Labels could not be saved.
    lock : Lock
        Held by the one thread that reads or writes labels and records.
    unsaved : dict of int to SaveRequest
        Labels that could not be saved; each later save retries them.
    """

    saved = Signal(int)
    kept = Signal(object, object)
    restored = Signal(str)
    failed = Signal(object)

    def __init__(self, services: Services) -> None:
        self._deliver = services.deliver
        self.lock = threading.Lock()
        self.unsaved: dict[int, SaveRequest] = {}
        # files of an earlier viewer, and the request to save their contents
        self._rescued: dict[int, tuple[RescuedFiles, SaveRequest]] = {}

    def forget(self) -> None:
        """Forget unsaved labels, for another series."""
        self._rescued, self.unsaved = {}, {}

    def save(self, series: Series, request: SaveRequest) -> None:
        """Save labels, and any that could not be saved before."""
        waiting = self.unsaved.get(request.number)
        if waiting is not None and request.write_session is None:
            # unsaved prompts wait for it, too
            request = replace(request, write_session=waiting.write_session)
        self.unsaved[request.number] = request
        self.save_waiting(series)

    def save_found(self, series: Series, request: SaveRequest) -> bool:
        """Save labels found by a run, unless there are labels by now.

        Returns
        -------
        bool
            False if there are; nothing is written then.

        Raises
        ------
        SeriesError
            The labels cannot be saved; each later save retries them.
        """
        number = request.number
        with self.lock:
            # not in place of labels waiting to be saved
            if number in self.unsaved or series[number].labelled:
                return False
            try:
                series.save_labels(
                    number, request.labels, request.table, request.image
                )
            except SeriesError:
                self.unsaved[number] = request
                raise
        return True

    def save_waiting(self, series: Series) -> None:
        """Save new labels, and any that could not be saved before."""
        for number, waiting in list(self.unsaved.items()):
            try:
                with self.lock:
                    before = series[number].labels
                    path = series.save_labels(
                        number, waiting.labels, waiting.table, waiting.image
                    )
                    if waiting.write_session is not None:
                        waiting.write_session(series[number].session)
            except Exception as error:  # noqa: BLE001
                self._deliver(partial(self.failed.emit, error))
                continue
            if self.unsaved.get(number) is waiting:
                del self.unsaved[number]
            rescued = self._rescued.pop(number, None)
            if rescued is not None:
                rescued[0].remove()
            self._deliver(partial(self.saved.emit, number))
            if path != before:
                self._deliver(partial(self.kept.emit, before, path))

    def restore(
        self,
        series: Series,
        image_of: Callable[[int], ImageArray | None],
    ) -> None:
        """Restore labels that could not be saved in another viewer.

        Parameters
        ----------
        series : Series
            The series.
        image_of : callable
            Reads the image with a number; None if it cannot be read.
        """
        names = []
        images = [entry.files.image for entry in series]
        for number, saved, files in rescued_of(images):
            image = image_of(number)
            if image is None or saved.labels.shape != image.label_shape:
                continue
            # they may replace what was saved before, but nothing newer
            entry = series[number]
            entry.replaceable = entry.labels_state = files.replaceable
            request = SaveRequest(
                number, saved.labels, saved.table, image, files.copy_session
            )
            self._rescued[number] = files, request
            self.unsaved[number] = request
            names.append(series[number].name)
        if names:
            self.save_waiting(series)
            self._deliver(
                partial(
                    self.restored.emit,
                    f'Restored labels of {", ".join(names)} that could not be '
                    'saved last time.',
                )
            )

    def rescue(self, series: Series) -> None:
        """Write labels that cannot be saved to a folder of the user."""
        for number, waiting in self.unsaved.items():
            if self._rescued.get(number, (None, None))[1] is waiting:
                # they are still there
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
