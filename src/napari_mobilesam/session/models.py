"""The model of a session: chosen, loaded and downloaded in the background."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.session.engine import Engine
from napari_mobilesam.session.everything_run import Deliver
from napari_mobilesam.session.messages import explain
from napari_mobilesam.session.worker import LatestWorker
from napari_mobilesam.types import ModelRecord, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


class Models:
    """Which model answers, and how it comes here.

    Parameters
    ----------
    engine : Engine
        Holds the model; used on the worker's thread only.
    worker : LatestWorker
        Thread that models are loaded on.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    name : str, optional
        First model; by default the best one on this computer.

    Attributes
    ----------
    status : Signal(str, str)
        One sentence on what happens, and for whom.
    progress : Signal(int, int)
        Bytes downloaded and in total.
    failed : Signal(str, str)
        One sentence on what went wrong, and for whom.
    changed : Signal(ModelRecord)
        A model has been loaded.
    downloaded : Signal(str)
        A model of this name has arrived.
    """

    status = Signal(str, str)
    progress = Signal(int, int)
    failed = Signal(str, str)
    changed = Signal(object)
    downloaded = Signal(str)

    def __init__(
        self,
        engine: Engine,
        worker: LatestWorker,
        deliver: Deliver,
        name: str | None = None,
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._downloader = LatestWorker('napari-mobilesam-download')
        self._download_cancelled = threading.Event()
        self._deliver = deliver
        self._name = name
        self._loaded = ''
        self.record: ModelRecord | None = None

    @property
    def name(self) -> str:
        """Name or path of the model that answers."""
        if self._name is None:
            from napari_mobilesam.model.registry import default_model_name

            self._name = default_model_name()
        return self._name

    def use(self, name: str) -> None:
        """Answer with another model from now on; loads in the background."""
        self._name = name
        self._worker.submit('model', lambda: self._preload(name))

    def download(self, name: str) -> None:
        """Download a model and use it; `downloaded` tells when it is here."""
        self._download_cancelled.clear()
        self._downloader.submit('download', lambda: self._download(name))

    def cancel_download(self) -> None:
        """Stop a download; it leaves nothing behind."""
        self._download_cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until no download is under way; False on time-out."""
        return self._downloader.wait(timeout)

    def close(self) -> None:
        """Stop a download and end its thread."""
        self.cancel_download()
        self._downloader.close()

    # below: on the worker thread

    def load(self, name: str, whom: str = 'model') -> Sam | None:
        """Return a model; None after telling why there is none."""
        try:
            if self._loaded != name:
                self.say(f'Loading the model {name} …', whom)
            model = self._engine.model(name)
        except Exception as error:  # noqa: BLE001 - every failure is told
            self.fail(error, whom)
            return None
        if self._loaded != name:
            self._loaded, self.record = name, model.record
            self._deliver(lambda: self.changed.emit(model.record))
        return model

    def loaded(self) -> Sam | None:
        """Return the chosen model if it is loaded already."""
        name = self.name
        return self._engine.model(name) if name == self._loaded else None

    def say(self, text: str, whom: str) -> None:
        """Tell what happens, on the viewer's thread."""
        self._deliver(lambda: self.status.emit(text, whom))

    def fail(self, error: BaseException, whom: str) -> None:
        """Tell what went wrong, on the viewer's thread."""
        text = explain(error)
        self._deliver(lambda: self.failed.emit(text, whom))

    def _preload(self, name: str) -> None:
        self.load(name)

    def _download(self, name: str) -> None:
        from napari_mobilesam.model.registry import download_model

        def progress(done: int, total: int, message: str) -> None:
            if self._download_cancelled.is_set():
                raise SegmentationError('The download was stopped.')
            self._deliver(lambda: self.progress.emit(done, total))

        self.say(f'Downloading {name} …', 'model')
        try:
            download_model(name, progress=progress)
        except Exception as error:  # noqa: BLE001
            self.fail(error, 'model')
            return

        def arrived() -> None:
            self.use(name)
            self.downloaded.emit(name)

        self._deliver(arrived)
