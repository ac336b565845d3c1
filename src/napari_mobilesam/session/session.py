"""Session of a viewer: prompts in, masks out, on one worker thread.

A session takes planes and prompts and answers with signals. Answers to
requests superseded by newer ones are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from psygnal import Signal

from napari_mobilesam.session.class_commands import ClassCommands
from napari_mobilesam.session.class_jobs import ClassJobs
from napari_mobilesam.session.embedding_commands import EmbeddingCommands
from napari_mobilesam.session.everything.erase_jobs import EraseJobs
from napari_mobilesam.session.everything.everything_runs import EverythingRuns
from napari_mobilesam.session.everything.large_runs import LargeRuns
from napari_mobilesam.session.everything_commands import EverythingCommands
from napari_mobilesam.session.file_commands import FileCommands
from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.object_commands import ObjectCommands
from napari_mobilesam.session.object_jobs import ObjectJobs
from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.session.objects.history import Undoable
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.scene import Scene, find_code
from napari_mobilesam.session.prompt_commands import PromptCommands
from napari_mobilesam.session.prompts.batch import BatchSegmentation
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.session.prompts.hover import Hover
from napari_mobilesam.session.prompts.navigation import Navigation
from napari_mobilesam.session.prompts.prefetch import Prefetch
from napari_mobilesam.session.prompts.prompt_messages import PromptResult
from napari_mobilesam.session.prompts.prompting import Prompting
from napari_mobilesam.session.prompts.propagation_run import (
    Propagation,
    PropagationResult,
)
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.session.prompts.refine_all import RefineAll
from napari_mobilesam.session.runtime.background import Background
from napari_mobilesam.session.runtime.inbox import Inbox
from napari_mobilesam.session.runtime.models import Models, load_by_name
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.session.series.series_jobs import SeriesJobs
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.session.track.track_jobs import TrackJobs
from napari_mobilesam.session.track_commands import TrackCommands
from napari_mobilesam.session.waiting import Waiter
from napari_mobilesam.text import duration
from napari_mobilesam.types import (
    Deliver,
    ModelRecord,
    Prompts,
    SegmentationError,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

P = ParamSpec('P')
R = TypeVar('R')


def command_of(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Return a method that calls a part, with its name, signature and help.

    Parameters
    ----------
    method : function
        Method of the class of the part, which is in ``commands`` of the
        owner by the name of that class.
    """
    part, name = method.__qualname__.split('.')

    @wraps(method)
    def call(owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = getattr(owner.commands[part], name)(*args, **kwargs)
        return result

    return call


class Session:
    """State and commands shared by the widgets of one viewer.

    The commands, such as `click`, `accept` and `save`, are those of
    `PromptCommands`, `ObjectCommands`, `ClassCommands`, `TrackCommands`,
    `EverythingCommands`, `EmbeddingCommands` and `FileCommands`, and some of
    `Editor`, `Navigation`, `Models` and others.

    Parameters
    ----------
    deliver : callable, optional
        Runs a function on the thread that owns the viewer; by default it is
        called at once, on the worker thread.
    load_model : callable, optional
        ``load_model(name) -> Sam``; by default the package's `load_model`.
    model_name : str, optional
        Initial model; by default the best one on this computer.
    scene : Scene, optional
        The viewer: planes to click on, labels to write to.

    Attributes
    ----------
    status : Signal(str, str)
        Message on current work and its topic: ``'prompts'``, ``'objects'``,
        ``'everything'``, ``'classes'``, ``'tracks'``, ``'series'``,
        ``'saving'`` or ``'model'``.
    ready : Signal(ImagePlane)
        A plane can be clicked.
    progress : Signal(str, int, int)
        Topic, steps done and steps in total.
    preview : Signal(PromptResult)
        Answer to the newest prompts.
    everything : Signal(EverythingResult)
        Labels of a finished or cancelled run.
    failed : Signal(str, str)
        Error message and its topic.
    model_changed : Signal(ModelRecord)
        A model has been loaded.
    downloaded : Signal(str)
        Name of the downloaded model.
    editor : Editor
        The open object: prompts, candidates, accept and reject.
    navigation : Navigation
        Opens objects of the labels; undo and redo.
    propagation : Propagation
        Follows objects through stacks.
    batching : BatchSegmentation
        Segments one object per box or point.
    refining : RefineAll
        Refines all objects of labels.
    background : Background
        Runs propagation and batches, and cancels them.
    prompting : Prompting
        Answers prompts.
    models : Models
        Selects, loads and downloads the model.
    hover : Hover
        Mask of the object under the cursor.
    prefetch : Prefetch
        Embeds planes that are likely to be shown next.
    runs : EverythingRuns
        Runs of segment everything.
    large : LargeRuns
        Runs on images that do not fit in memory.
    erasing : EraseJobs
        Deletes objects of their labels.
    series : SeriesJobs
        Many images: reads ahead, saves, and segments all of them.
    tracking : TrackJobs
        Objects through time.
    classifying : ClassJobs
        Classes proposed from examples.
    detector_downloads : WatchedJobs
        Downloads of detector weights.
    classes : Classes
        Names and colours of classes.
    files : FileCommands
        Session files.
    scene : Scene or None
        The viewer.
    """

    status = Signal(str, str)
    ready = Signal(object)
    progress = Signal(str, int, int)
    preview = Signal(object)
    everything = Signal(object)
    failed = Signal(str, str)
    model_changed = Signal(object)
    downloaded = Signal(str)

    click = command_of(PromptCommands.click)
    box = command_of(PromptCommands.box)
    scribble = command_of(PromptCommands.scribble)
    outline = command_of(PromptCommands.outline)
    prompt = command_of(PromptCommands.prompt)
    choose = command_of(PromptCommands.choose)
    forget = command_of(Prompting.forget)

    accept = command_of(ObjectCommands.accept)
    reject = command_of(Editor.reject)
    delete = command_of(Editor.delete)
    open = command_of(ObjectCommands.open)
    next = command_of(Navigation.next)
    previous = command_of(Navigation.previous)
    next_uncertain = command_of(Navigation.next_uncertain)
    undo = command_of(Navigation.undo)
    redo = command_of(Navigation.redo)
    propagate = command_of(ObjectCommands.propagate)
    batch = command_of(ObjectCommands.batch)
    refine = command_of(ObjectCommands.refine)

    start_propagation = command_of(ObjectJobs.start_propagation)
    start_batch = command_of(ObjectJobs.start_batch)
    start_refinement = command_of(ObjectJobs.start_refinement)
    start_track_propagation = command_of(ObjectJobs.start_track_propagation)

    assign_class = command_of(ClassCommands.assign_class)
    rename_class = command_of(ClassCommands.rename_class)
    remove_class = command_of(ClassCommands.remove_class)
    set_class_color = command_of(ClassCommands.set_class_color)
    color_by_class = command_of(ClassCommands.color_by_class)
    propose_classes = command_of(ClassCommands.propose_classes)
    accept_classes = command_of(ClassCommands.accept_classes)

    track = command_of(TrackCommands.track)
    link = command_of(TrackCommands.link)
    unlink = command_of(TrackCommands.unlink)
    divide = command_of(TrackCommands.divide)
    open_tracks = command_of(TrackCommands.open_tracks)
    propagate_track = command_of(TrackCommands.propagate_track)

    segment_everything = command_of(EverythingCommands.segment_everything)
    filter_everything = command_of(EverythingCommands.filter_everything)
    find_similar = command_of(EverythingCommands.find_similar)
    segment_text = command_of(EverythingCommands.segment_text)
    cancel = command_of(EverythingRuns.cancel)

    save = command_of(FileCommands.save)
    load = command_of(FileCommands.load)
    autosave = command_of(FileCommands.autosave)
    script = command_of(FileCommands.script)

    prepare = command_of(EmbeddingCommands.prepare)
    use_cache = command_of(EmbeddingCommands.use_cache)
    clear_cache = command_of(EmbeddingCommands.clear_cache)

    download = command_of(Models.download)
    cancel_download = command_of(Models.cancel_download)

    def __init__(
        self,
        deliver: Deliver | None = None,
        load_model: Callable[[str], Sam] | None = None,
        model_name: str | None = None,
        scene: Scene | None = None,
    ) -> None:
        self._deliver = Inbox(deliver or (lambda function: function()))
        self._worker = LatestWorker()
        self._engine = Engine(load_model or load_by_name)
        # another loader has names of its own
        self._known_names = load_model is None
        self._users = 0
        # whether to end the threads once accepted objects are written
        self._ends = False
        self.scene = scene
        self.models = Models(
            self._engine, self._worker, self._deliver, model_name
        )
        services = Services(
            self._worker, self._engine, self.models, self._deliver
        )
        self.runs = EverythingRuns(services)
        self.large = LargeRuns(services)
        self.erasing = EraseJobs(self._deliver)
        self.series = SeriesJobs(services)
        self.tracking = TrackJobs(self._deliver)
        self.classifying = ClassJobs(services)
        self.detector_downloads = WatchedJobs(
            self._deliver,
            LatestWorker('napari-mobilesam-detectors'),
            'download',
        )
        self.prompting = Prompting(services)
        self.hover = Hover(services, self.prompting)
        self.prefetch = Prefetch(
            self._worker, self._engine, self.models.loaded
        )
        self._queue_prompting = Prompting(services, 'accepted')
        recorder = Recorder(self._plane_code, self.models, self.prompting)
        self.editor = Editor(
            self.prompting, self._objects, recorder, self._queue_prompting
        )
        self.navigation = Navigation(
            self.editor,
            self._histories,
            lambda: self._require_scene().plane(),
        )
        self.background = Background(services, 'objects')
        self.propagation = Propagation(self.background)
        self.batching = BatchSegmentation(self.background)
        self.refining = RefineAll(self.background)
        self.classes = Classes()
        self._make_commands(services, recorder)
        self._connect()

    def _make_commands(self, services: Services, recorder: Recorder) -> None:
        """Make the parts whose commands are methods of the session."""
        parts = SessionParts(
            services,
            Waiter(self.failed, self.finish),
            self._require_scene,
            self._plane_code,
            self.tell,
            recorder,
            self.models,
            self.prompting,
            self.prefetch,
            self.editor,
            self.navigation,
            self.propagation,
            self.batching,
            self.refining,
            self.runs,
            self.classes,
            self.classifying,
            self.tracking,
        )
        jobs = ObjectJobs(parts)
        self.files = FileCommands(parts)
        self._embedding_commands = EmbeddingCommands(parts)
        self._everything_commands = EverythingCommands(parts)
        commands = (
            self.models,
            self.prompting,
            self.runs,
            self.editor,
            self.navigation,
            jobs,
            PromptCommands(parts),
            ObjectCommands(parts, jobs),
            ClassCommands(parts),
            TrackCommands(parts, jobs),
            self._everything_commands,
            self._embedding_commands,
            self.files,
        )
        # by class, for `command_of`
        self.commands = {type(each).__name__: each for each in commands}

    def _connect(self) -> None:
        models, runs, prompting = self.models, self.runs, self.prompting
        models.status.connect(self.status.emit)
        models.failed.connect(self.failed.emit)
        models.changed.connect(self.model_changed.emit)
        models.downloaded.connect(self.downloaded.emit)
        models.progress.connect(partial(self.progress.emit, 'model'))
        runs.progress.connect(partial(self._show_progress, 'everything'))
        runs.finished.connect(self.everything.emit)
        self._embedding_commands.embedding.connect(self._say_preparing)
        self._embedding_commands.ready.connect(self.ready.emit)
        prompting.answered.connect(self._show_answer)
        prompting.embedding.connect(self._say_embedding)
        prompting.cleaned.connect(self._clean_queued)
        self.editor.accepted.connect(self.navigation.note_accepted)
        self.editor.queue.written.connect(self._end_if_written)
        self.editor.queue.failed.connect(self._end_if_written)
        self._queue_prompting.embedding.connect(self._say_embedding)
        self.background.progress.connect(
            partial(self._show_progress, 'objects')
        )
        self.propagation.finished.connect(self._reopen)
        for part, topic in (
            (self.editor, 'prompts'),
            (self.tracking, 'tracks'),
            (self.classifying, 'classes'),
            (self.erasing, 'objects'),
        ):
            part.failed.connect(partial(self._fail, topic))

    @property
    def model_name(self) -> str:
        """Name or path of the model in use."""
        return self.models.name

    @property
    def record(self) -> ModelRecord | None:
        """Record of the model loaded last."""
        return self.models.record

    def use_model(self, name: str) -> None:
        """Use another model from now on, loading it in the background.

        Parameters
        ----------
        name : str
            A name of `list_models`, or the path of a checkpoint.

        Raises
        ------
        CheckpointError
            No model has this name, or there is no such file. Damaged files and
            failed downloads are reported by `failed`.
        """
        if self._known_names:
            from napari_mobilesam.model.registry import check_known

            check_known(name)
        self.models.use(name)

    def predict(self, plane: ImagePlane, objects: Sequence[Prompts]) -> int:
        """Request the masks of objects; `preview` emits the answer.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        objects : sequence of Prompts
            Prompts of each object.

        Returns
        -------
        generation : int
            Number of the request; only the newest is answered.

        Raises
        ------
        PromptError
            There is no prompt, or a prompt is outside the plane or has no
            area.
        """
        return self.prompting.ask(plane, objects)

    def tell(self, problem: str, topic: str = 'objects') -> None:
        """Report an error message, from any thread."""
        self._deliver(lambda: self.failed.emit(problem, topic))

    def forget_planes(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Release planes, such as those of a closed image."""
        self.propagation.forget(gone)
        self.prefetch.forget(gone)
        self._engine.forget(gone)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all work is done; return False on timeout.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for each kind of work; None for no limit.
        """
        parts = (
            self._worker,
            self.runs,
            self.large,
            self.erasing,
            self.series,
            self.tracking,
            self.detector_downloads,
            self.models,
            self.files,
        )
        return all(part.wait(timeout) for part in parts)

    def finish(self, timeout: float | None = None) -> bool:
        """Block until all requests are answered; return False on timeout.

        This is for scripts: unlike `wait`, it also delivers the answers,
        because the event loop of a viewer is blocked while a script runs. Call
        it on the thread that owns the viewer.

        Parameters
        ----------
        timeout : float, optional
            As for `wait`.
        """
        while self.wait(timeout):
            if not self._deliver.empty():
                return True
        # answers of work that has ended in the meantime
        self._deliver.empty()
        return False

    def acquire(self) -> None:
        """Register a user of the session, such as an open dock widget."""
        self._users += 1
        self._ends = False

    def release(self, now: bool = False) -> None:
        """Unregister a user; the last one ends the threads.

        Parameters
        ----------
        now : bool
            Whether to drop accepted objects that wait for their masks; by
            default, they are written before.
        """
        self._users -= 1
        if self._users <= 0:
            self._users, self._ends = 0, True
            if now:
                self.close()
            else:
                self._end_if_written()

    def _end_if_written(self, *what: object) -> None:
        if self._ends and not len(self.editor.queue):
            self.close()

    def close(self) -> None:
        """End the threads; pending answers are dropped.

        The session can be used again afterwards.
        """
        self._ends = False
        self.forget()
        self.editor.queue.clear()
        self.background.abandon()
        self.files.close()
        self.prefetch.want(())
        self.prefetch.want_afterwards(())
        self.classifying.abandon()
        self._everything_commands.close()
        self.runs.close()
        self.large.close()
        self.erasing.close()
        self.series.close()
        self.tracking.close()
        self.detector_downloads.close()
        self.models.close()
        self._worker.close()

    def _show_progress(
        self, topic: str, done: int, total: int, message: str
    ) -> None:
        self.progress.emit(topic, done, total)
        self.status.emit(message, topic)

    def _fail(self, topic: str, problem: str) -> None:
        self.failed.emit(problem, topic)

    def _reopen(self, result: PropagationResult) -> None:
        """Reopen the object that was propagated, for corrections.

        Not beside another image, where its prompts would ask for masks of
        that image.
        """
        objects, record = result.objects, result.record
        if objects not in self._histories() or not self.editor.record.empty:
            return
        planes = [view.plane for view in record.views.values()]
        if not any(map(self._require_scene().is_of_image, planes)):
            return
        # labelled pixels that reached no plane have no number
        if not record.number or objects.get(record.number) is record:
            self.editor.bring_back(objects, record)

    def _show_answer(self, result: PromptResult) -> None:
        # the open object must have its candidates before a view asks for them
        self.editor.take_answer(result)
        self.preview.emit(result)
        self.prefetch.go_on()

    def _clean_queued(self) -> None:
        self._queue_prompting.clean_up = self.prompting.clean_up

    def _say_embedding(
        self, plane: ImagePlane, seconds: float | None = None
    ) -> None:
        about = ''
        if seconds is not None and seconds >= 1:
            about = f', about {duration(seconds)}'
        self.status.emit(f'Embedding {plane.name}{about} …', 'prompts')

    def _objects(self, create: bool) -> Objects | None:
        return None if self.scene is None else self.scene.objects(create)

    def _histories(self) -> Sequence[Undoable]:
        results = () if self.scene is None else self.scene.undoables()
        return (*results, *self.tracking.all_tracks())

    def _require_scene(self) -> Scene:
        if self.scene is None:
            raise SegmentationError(
                'This session has no viewer: give the plane.'
            )
        return self.scene

    def _plane_code(self, plane: ImagePlane) -> str:
        if self.scene is None:
            return repr(plane.name)
        return find_code(self.scene, plane)

    def _say_preparing(self, plane: ImagePlane, seconds: float | None) -> None:
        # messages about an open object stay
        if self.editor.record.empty and not self.editor.pending:
            self._say_embedding(plane, seconds)
