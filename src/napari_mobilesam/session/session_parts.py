"""Parts of a session, as its commands use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_mobilesam.session.class_jobs import ClassJobs
from napari_mobilesam.session.everything.everything_runs import EverythingRuns
from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.session.objects.replay_code import PlaneCode
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.prompts.batch import BatchSegmentation
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.session.prompts.navigation import Navigation
from napari_mobilesam.session.prompts.prefetch import Prefetch
from napari_mobilesam.session.prompts.prompting import Prompting
from napari_mobilesam.session.prompts.propagation_run import Propagation
from napari_mobilesam.session.prompts.recorder import Recorder
from napari_mobilesam.session.prompts.refine_all import RefineAll
from napari_mobilesam.session.runtime.models import Models
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.track.track_jobs import TrackJobs
from napari_mobilesam.session.waiting import Waiter


@dataclass(frozen=True, eq=False)
class SessionParts:
    """Parts of a session; those that are not told here are its attributes.

    Attributes
    ----------
    services : Services
        Worker, engine and messages.
    waiter : Waiter
        Waits for answers.
    scene : callable
        Returns the `Scene`; an error without a viewer.
    plane_code : callable
        Returns the expression that finds a plane.
    tell : callable
        ``tell(problem, topic)`` reports an error message, from any thread.
    recorder : Recorder
        Records replay code.
    """

    services: Services
    waiter: Waiter
    scene: Callable[[], Scene]
    plane_code: PlaneCode
    tell: Callable[[str, str], None]
    recorder: Recorder
    models: Models
    prompting: Prompting
    prefetch: Prefetch
    editor: Editor
    navigation: Navigation
    propagation: Propagation
    batching: BatchSegmentation
    refining: RefineAll
    runs: EverythingRuns
    classes: Classes
    classifying: ClassJobs
    tracking: TrackJobs
