"""Per-viewer controller: prompts in, masks out, on one worker thread.

A session knows neither Qt nor napari. It is given planes and prompts, answers
with signals, and drops answers that nobody waits for any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_mobilesam.session.engine import Engine, ImagePlane
from napari_mobilesam.session.everything_messages import PlaneTask
from napari_mobilesam.session.everything_run import (
    Deliver,
    EverythingRuns,
    Shared,
)
from napari_mobilesam.session.hover import Hover
from napari_mobilesam.session.messages import (
    PromptRequest,
    PromptResult,
    check_prompts,
    explain,
)
from napari_mobilesam.session.worker import LatestWorker
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    ModelRecord,
    PromptError,
    Prompts,
    SegmentationError,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


class Session:
    """Everything the widgets of one viewer share.

    Parameters
    ----------
    deliver : callable, optional
        Runs a function on the thread that owns the viewer; the default
        calls it at once, on the worker thread.
    load_model : callable, optional
        ``load_model(name) -> Sam``; by default the package's `load_model`.
    model_name : str, optional
        First model; by default the best one on this computer.

    Attributes
    ----------
    status : Signal(str, str)
        One sentence on what happens, and for whom: ``'prompts'``,
        ``'everything'`` or ``'model'``.
    ready : Signal(str)
        A plane can be clicked; one sentence on it.
    progress : Signal(str, int, int)
        For whom, steps done and steps in total.
    preview : Signal(PromptResult)
        Answer to the newest prompts.
    everything : Signal(EverythingResult)
        Labels of a finished or cancelled run.
    failed : Signal(str, str)
        One sentence on what went wrong, and for whom.
    model_changed : Signal(ModelRecord)
        A model has been loaded.
    downloaded : Signal(str)
        A model of this name has arrived.
    hover : Hover
        Asks what is under the cursor.
    runs : EverythingRuns
        Runs of segment everything.
    """

    status = Signal(str, str)
    ready = Signal(str)
    progress = Signal(str, int, int)
    preview = Signal(object)
    everything = Signal(object)
    failed = Signal(str, str)
    model_changed = Signal(object)
    downloaded = Signal(str)

    def __init__(
        self,
        deliver: Deliver | None = None,
        load_model: Callable[[str], Sam] | None = None,
        model_name: str | None = None,
    ) -> None:
        self._deliver = deliver or (lambda function: function())
        self._worker = LatestWorker()
        self._downloader = LatestWorker('napari-mobilesam-download')
        self._download_cancelled = threading.Event()
        self._engine = Engine(load_model or _load_model)
        self._generation = 0
        self._users = 0
        self.runs = EverythingRuns(
            Shared(
                self._worker,
                self._engine,
                self._load,
                self._deliver,
                self._fail,
            )
        )
        self.hover = Hover(
            self._worker, self._engine, self._deliver, self._loaded_model
        )
        self.runs.progress.connect(self._run_progress)
        self.runs.finished.connect(self.everything.emit)
        self._model_name = model_name
        self._loaded = ''
        self._record: ModelRecord | None = None

    @property
    def model_name(self) -> str:
        """Name or path of the model that answers."""
        if self._model_name is None:
            from napari_mobilesam.model.registry import default_model_name

            self._model_name = default_model_name()
        return self._model_name

    @property
    def record(self) -> ModelRecord | None:
        """Record of the model that was loaded last."""
        return self._record

    def use_model(self, name: str) -> None:
        """Answer with another model from now on; loads in the background."""
        self._model_name = name
        self._worker.submit('model', lambda: self._preload(name))

    def prepare(self, plane: ImagePlane) -> None:
        """Load the model and measure a plane before the first prompt."""
        name = self.model_name
        self._worker.submit('prepare', lambda: self._prepare(plane, name))

    def predict(self, plane: ImagePlane, objects: Sequence[Prompts]) -> int:
        """Ask for the masks of objects; `preview` brings the answer.

        Parameters
        ----------
        plane : ImagePlane
            Where the prompts lie.
        objects : sequence of Prompts
            Prompts of each object.

        Returns
        -------
        generation : int
            Number of the request; only the newest is answered.

        Raises
        ------
        PromptError
            A prompt is outside the plane, has no area, or there is none.
        """
        self.forget()
        if not objects:
            raise PromptError(
                'There is no prompt: click an object or draw a box.'
            )
        for prompts in objects:
            check_prompts(plane.shape, prompts)
        request = PromptRequest(
            self._generation, plane, tuple(objects), self.model_name
        )
        self._worker.submit('prompts', lambda: self._answer(request))
        return request.generation

    def forget(self) -> None:
        """Drop the answer to the newest prompts, wherever it is."""
        self._generation += 1
        self._worker.discard('prompts')

    def segment_everything(
        self,
        plane: ImagePlane,
        parameters: EverythingParameters | None = None,
    ) -> int:
        """Find every object of a plane; `everything` brings the answer.

        A run that is still going is cancelled. Prompts are answered between
        the steps of a run.
        """
        return self.runs.start([PlaneTask(plane)], parameters, self.model_name)

    def cancel(self) -> None:
        """Stop segment everything after its current step, keeping masks."""
        self.runs.cancel()

    def download(self, name: str) -> None:
        """Download a model and use it; `downloaded` tells when it is here."""
        self._download_cancelled.clear()
        self._downloader.submit('download', lambda: self._download(name))

    def cancel_download(self) -> None:
        """Stop a download; it leaves nothing behind."""
        self._download_cancelled.set()

    def clear_cache(self) -> None:
        """Forget embeddings, for instance after pixels changed in place."""
        self._worker.submit('clear', self._engine.clear)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is done; False on time-out."""
        return (
            self._worker.wait(timeout)
            and self.runs.wait(timeout)
            and self._downloader.wait(timeout)
        )

    def acquire(self) -> None:
        """Count a user, such as an open dock widget."""
        self._users += 1

    def release(self) -> None:
        """Give up one use; the last one ends the threads."""
        self._users -= 1
        if self._users <= 0:
            self._users = 0
            self.close()

    def close(self) -> None:
        """End the threads; answers still on their way are dropped.

        A session can be used again afterwards.
        """
        self.forget()
        self.runs.close()
        self.cancel_download()
        self._worker.close()
        self._downloader.close()

    def _run_progress(self, done: int, total: int, message: str) -> None:
        self.progress.emit('everything', done, total)
        self.status.emit(message, 'everything')

    # below: on the worker thread

    def _say(self, text: str, whom: str) -> None:
        self._deliver(lambda: self.status.emit(text, whom))

    def _fail(self, error: BaseException, whom: str) -> None:
        text = explain(error)
        self._deliver(lambda: self.failed.emit(text, whom))

    def _load(self, name: str, whom: str = 'model') -> Sam | None:
        try:
            if self._loaded != name:
                self._say(f'Loading the model {name} …', whom)
            model = self._engine.model(name)
        except Exception as error:  # noqa: BLE001 - every failure is told
            self._fail(error, whom)
            return None
        if self._loaded != name:
            self._loaded, self._record = name, model.record
            self._deliver(lambda: self.model_changed.emit(model.record))
        return model

    def _loaded_model(self) -> Sam | None:
        name = self.model_name
        return self._engine.model(name) if name == self._loaded else None

    def _preload(self, name: str) -> None:
        self._load(name)

    def _prepare(self, plane: ImagePlane, name: str) -> None:
        model = self._load(name, 'prompts')
        if model is None:
            return
        try:
            self._say(f'Embedding {plane.name} …', 'prompts')
            diameter = self._engine.prepare(plane, model)
        except Exception as error:  # noqa: BLE001
            self._fail(error, 'prompts')
            return
        size = '' if diameter is None else f', objects about {diameter:.0f} px'
        text = f'Ready: {plane.name}{size}. Click an object.'
        self._deliver(lambda: self.ready.emit(text))

    def _answer(self, request: PromptRequest) -> None:
        start = time.perf_counter()
        model = self._load(request.model_name, 'prompts')
        if model is None or request.generation != self._generation:
            return
        try:
            masks = tuple(
                self._mask(request, prompts, model)
                for prompts in request.objects
            )
        except Exception as error:  # noqa: BLE001
            if request.generation == self._generation:
                self._fail(error, 'prompts')
            return
        result = PromptResult(request, masks, time.perf_counter() - start)
        self._deliver(lambda: self._show(result))

    def _mask(
        self, request: PromptRequest, prompts: Prompts, model: Sam
    ) -> Mask | None:
        if not self._engine.has_embedding(request.plane, prompts, model):
            self._deliver(lambda: self._say_if_current(request))
        return self._engine.mask(request.plane, prompts, model)

    def _say_if_current(self, request: PromptRequest) -> None:
        if request.generation == self._generation:
            self.status.emit(f'Embedding {request.plane.name} …', 'prompts')

    def _show(self, result: PromptResult) -> None:
        # checked here, on the viewer's thread: prompts may have changed
        # while the answer was on its way
        if result.request.generation == self._generation:
            self.preview.emit(result)

    def _download(self, name: str) -> None:
        from napari_mobilesam.model.registry import download_model

        def progress(done: int, total: int, message: str) -> None:
            if self._download_cancelled.is_set():
                raise SegmentationError('The download was stopped.')
            self._deliver(lambda: self.progress.emit('model', done, total))

        self._say(f'Downloading {name} …', 'model')
        try:
            download_model(name, progress=progress)
        except Exception as error:  # noqa: BLE001
            self._fail(error, 'model')
            return

        def arrived() -> None:
            self.use_model(name)
            self.downloaded.emit(name)

        self._deliver(arrived)


def _load_model(name: str) -> Sam:
    from napari_mobilesam.model.checkpoints import load_model

    return load_model(name)
