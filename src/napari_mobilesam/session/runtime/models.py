"""The model of a session: selected, loaded and downloaded in background."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.background_imports import import_gently
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.text import explain
from napari_mobilesam.types import Deliver, ModelRecord, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


# imported by the first Points or Labels layer, and by a model
LIBRARIES = ('pandas', 'torch')


class Models:
    """Select, load and download the model of a session.

    Parameters
    ----------
    engine : Engine
        Engine that holds the model; used only on the worker thread.
    worker : LatestWorker
        Thread on which models are loaded.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    name : str, optional
        Initial model; by default the best one on this computer.

    Attributes
    ----------
    status : Signal(str, str)
        Message on current work and its topic.
    progress : Signal(int, int)
        Bytes downloaded, and total bytes.
    failed : Signal(str, str)
        Error message and its topic.
    changed : Signal(ModelRecord)
        A model has been loaded.
    downloaded : Signal(str)
        Name of the downloaded model.
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
        # name of the model, and an event per download, so that a stopped one
        # is not revived by the next
        self._downloads: dict[str, threading.Event] = {}
        self._deliver = deliver
        self._name = name
        self._loaded = ''
        self._device = self._placed = 'auto'
        self._threads = 0
        self._threads_of_torch = 0
        self.device_text = ''
        self.record: ModelRecord | None = None

    @property
    def name(self) -> str:
        """Name or path of the model in use."""
        if self._name is None:
            from napari_mobilesam.model.registry import default_model_name

            self._name = default_model_name()
        return self._name

    @property
    def downloading(self) -> str:
        """Name of the model that is being downloaded; empty if none is."""
        wanted = (
            name
            for name, cancelled in tuple(self._downloads.items())
            if not cancelled.is_set()
        )
        return next(wanted, '')

    def use(self, name: str) -> None:
        """Use another model from now on, loading it in the background."""
        self._name = name
        self._worker.submit('model', lambda: self._preload(name))

    def import_libraries(self, then: Callable[[], None]) -> None:
        """Import slow libraries in the background.

        Parameters
        ----------
        then : callable
            Called on the viewer's thread when they are imported; immediately
            if they already are.
        """
        if all(name in sys.modules for name in LIBRARIES):
            then()
            return

        def job() -> None:
            import_gently(LIBRARIES)
            self._deliver(then)

        self._worker.submit('imports', job)

    def compute_with(self, device: str = 'auto', threads: int = 0) -> None:
        """Set the device and the number of threads.

        Parameters
        ----------
        device : {'auto', 'cpu', 'cuda', 'mps'}
            Device of the model; `failed` reports an unavailable one.
        threads : int
            Maximum number of threads; 0 leaves the choice to torch.
        """
        if (device, threads) == (self._device, self._threads):
            return
        self._device, self._threads = device, threads
        if self._loaded:
            self._worker.submit('device', lambda: self._preload(self.name))

    def download(self, name: str) -> None:
        """Download a model and use it; emit `downloaded` when done."""
        running = self._downloads.get(name)
        if running is not None and not running.is_set():
            return
        cancelled = self._downloads[name] = threading.Event()
        self._downloader.submit(name, lambda: self._download(name, cancelled))

    def cancel_download(self) -> None:
        """Cancel downloads; partial files are removed."""
        for cancelled in tuple(self._downloads.values()):
            cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until no download is running; return False on timeout."""
        return self._downloader.wait(timeout)

    def close(self) -> None:
        """Stop a download and end its thread."""
        self.cancel_download()
        self._downloader.close()

    # below: on the worker thread

    def load(self, name: str, topic: str = 'model') -> Sam | None:
        """Return a model; None if loading failed, which is reported."""
        try:
            if self._loaded != name:
                import_gently(LIBRARIES)
                self.say(f'Loading the model {name} …', topic)
            model = self._engine.model(name)
            text = self._settle(model)
        except Exception as error:  # noqa: BLE001 - every failure is reported
            self.fail(error, topic)
            return None
        if (self._loaded, self.device_text) != (name, text):
            self.device_text = text
            self._loaded, self.record = name, model.record
            self._deliver(lambda: self.changed.emit(model.record))
        return model

    def loaded(self) -> Sam | None:
        """Return the selected model if it is loaded, else None."""
        name = self.name
        return self._engine.model(name) if name == self._loaded else None

    def _settle(self, model: Sam) -> str:
        """Move a model to the configured device; return a description."""
        import torch

        self._threads_of_torch = (
            self._threads_of_torch or torch.get_num_threads()
        )
        threads = self._threads or self._threads_of_torch
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        if self._device != 'auto' or self._placed != 'auto':
            from napari_mobilesam.model.checkpoints import choose_device

            device = choose_device(self._device)
            if device.type != model.device.type:
                model.to(device)
                self._engine.clear()
            self._placed = self._device
        from napari_mobilesam.model.device_text import (
            describe_device,
            why_no_gpu,
        )

        text = describe_device(model.device, threads)
        if model.device.type != 'cpu':
            return text
        chosen = self._device == 'cpu'
        reason = 'chosen in Settings' if chosen else why_no_gpu()
        return f'{text}: {reason}' if reason else text

    def say(self, text: str, topic: str) -> None:
        """Emit `status` on the viewer's thread."""
        self._deliver(lambda: self.status.emit(text, topic))

    def fail(self, error: BaseException, topic: str) -> None:
        """Emit `failed` on the viewer's thread."""
        text = explain(error)
        self._deliver(lambda: self.failed.emit(text, topic))

    def _preload(self, name: str) -> None:
        self.load(name)

    def _download(self, name: str, cancelled: threading.Event) -> None:
        from napari_mobilesam.model.registry import download_model

        def progress(done: int, total: int, message: str) -> None:
            if cancelled.is_set():
                raise SegmentationError('The download was stopped.')
            self._deliver(lambda: self.progress.emit(done, total))

        self.say(f'Downloading {name} …', 'model')
        try:
            try:
                download_model(name, progress=progress)
            finally:
                # before anyone is told
                if self._downloads.get(name) is cancelled:
                    del self._downloads[name]
        except Exception as error:  # noqa: BLE001
            self.fail(error, 'model')
            return

        def arrived() -> None:
            self.use(name)
            self.downloaded.emit(name)

        self._deliver(arrived)


def load_by_name(name: str) -> Sam:
    """Load a model with the `load_model` of the package, which loads torch."""
    from napari_mobilesam.model.checkpoints import load_model

    return load_model(name)
