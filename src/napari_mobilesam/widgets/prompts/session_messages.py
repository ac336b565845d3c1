"""Messages of the session in the status line of *Segment by prompts*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.prompts.refine_all import RefineResult
from napari_mobilesam.session.waiting import SAVING
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.open_object import OpenObject
from napari_mobilesam.widgets.prompts.prompt_image import PromptImage
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_saving import PromptSaving

TOPICS = ('prompts', 'model', 'objects', SAVING)


class SessionMessages:
    """Report what the session is doing, what is ready and what failed.

    Parameters
    ----------
    dock : ViewerWidget
        Form of the prompts.
    panel : PromptPanel
        Status line.
    image : PromptImage
        Image to click on.
    opened : OpenObject
        The open object.
    saving : PromptSaving
        Session file.
    ready : callable
        Called when a plane can be clicked.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        image: PromptImage,
        opened: OpenObject,
        saving: PromptSaving,
        ready: Callable[[], None],
    ) -> None:
        self._dock, self._panel = dock, panel
        self._image, self._opened = image, opened
        self._saving = saving
        self._tell_ready = ready
        # message when the sliders were last moved
        self._said_before = ''

    def attach(self) -> None:
        """Listen to the session."""
        session = self._dock.session
        self._dock.listen_all(
            (session.status, self._say),
            (session.ready, self._ready),
            (session.failed, self._fail),
            (session.progress, self._progress),
            (session.refining.finished, self._refined),
        )
        dims = self._dock.viewer.dims
        self._dock.listen(dims.events.current_step, self._plane_changed)

    def _plane_changed(self, event: Any = None) -> None:
        self._said_before = self._panel.status.text

    def _say(self, text: str, topic: str) -> None:
        if topic not in TOPICS:
            return
        if text.startswith('Embedding'):
            if self._image.layer is None:
                # of an image removed in the meantime
                return
            if self._is_news and self._opened.empty:
                self._panel.status.show_progress(0, 0)
                return
        self._panel.status.say(text, busy=True)

    @property
    def _is_news(self) -> bool:
        """True if the last message about this plane must stay."""
        status = self._panel.status
        return status.kept and status.text != self._said_before

    def _ready(self, plane: ImagePlane) -> None:
        self._tell_ready()
        if not (self._is_shown(plane) and self._opened.empty):
            return
        status = self._panel.status
        if not status.kept:
            status.say(f'Ready: {plane.name}. {self._panel.hint()}')
            self._saving.repeat_news()
        elif not len(self._dock.session.editor.queue):
            status.hide_progress()

    def _is_shown(self, plane: ImagePlane) -> bool:
        """Return whether a plane does not belong to an earlier image."""
        scene = self._dock.session.scene
        try:
            return scene is not None and scene.plane().place == plane.place
        except SegmentationError:
            return False

    def _fail(self, text: str, topic: str) -> None:
        if topic in TOPICS:
            self._panel.status.fail(text)

    def _progress(self, topic: str, done: int, total: int) -> None:
        if topic in ('model', 'objects'):
            self._panel.status.show_progress(done, total)

    def _refined(self, result: RefineResult) -> None:
        """Report the result of *Refine all*, whose dock may be closed."""
        if not self._panel.status.failed:
            self._panel.status.say(result.text)
