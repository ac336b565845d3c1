"""Work of a session in progress when a window is closed."""

from __future__ import annotations

from napari.components import ViewerModel

from napari_mobilesam.session import Session
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.viewer.running_task import RunningTask, end_soon
from napari_mobilesam.widgets.viewer.window_closing import (
    WindowClosing,
    main_window,
)


class UnfinishedWork:
    """Make napari ask before its window closes, and keep results.

    Of objects that were accepted before their mask was there, and of objects
    that are segmented in the background. Tracks are lost, and so are objects
    that cannot be saved.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    session : Session
        Session of the viewer.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._session = session
        self._task = RunningTask(viewer, self._keep)
        window = main_window(viewer)
        if window is not None:
            WindowClosing(window, window, self._tell)

    def _tell(self) -> None:
        session = self._session
        waiting = len(session.editor.queue)
        texts = []
        if session.background.running:
            texts.append('Objects are being segmented')
        if waiting:
            texts.append(
                f'{counted(waiting, "accepted object")} to be written'
            )
        if session.tracking.running:
            texts.append('Track; the tracks are lost')
        texts.extend(
            f'Objects are lost: {path} cannot be written'
            for path in session.files.unsaved()
        )
        if texts:
            self._task.begin('. '.join(texts))
        else:
            self._task.done()

    def _keep(self) -> None:
        background = self._session.background
        queue = self._session.editor.queue
        background.cancel()
        end_soon(self._session, lambda: background.running or len(queue) > 0)
