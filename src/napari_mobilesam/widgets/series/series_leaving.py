"""Leaving the open image of a series, after writing its open object."""

from __future__ import annotations

from collections.abc import Callable

from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_layers import SeriesLayers

DOUBTFUL = (
    'The model is not confident about the open object: accept or reject it in '
    'Segment by prompts first.'
)
SEVERAL = (
    'Several drawn boxes are not accepted yet: accept or reject them in '
    'Segment by prompts first.'
)
DROPPED = 'The open object was dropped, as its image was removed.'
SETTLED = 'No object is open any more: you can continue.'
PENDING = 'Waiting for the mask of the open object …'
RUNNING = 'Waiting for the objects that are being segmented …'
TRACKING = 'Waiting for the tracks …'


class SeriesLeaving:
    """Accept the open object of an image before something else happens.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the session, and the status line.
    layers : SeriesLayers
        Layers of the open image.
    save : callable
        Saves the labels once nothing is open.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        layers: SeriesLayers,
        save: Callable[[], None],
    ) -> None:
        self._dock = dock
        self._session = dock.session
        self._status = dock.status
        self._layers = layers
        self._save = save
        # the request made while objects remain to be written
        self._then: Callable[[], None] | None = None
        # whether only a request of the same kind replaces it
        self._firm = False
        # other listeners come first
        self._go_on = DelayedCall(self._leave_again, parent=dock)

    def attach(self) -> None:
        """Listen for masks and ends of jobs until the dock closes."""
        session, editor = self._session, self._session.editor
        for signal in (
            editor.changed,
            editor.accepted,
            editor.failed,
            session.batching.finished,
            session.propagation.finished,
            session.refining.finished,
            session.runs.written,
            session.tracking.finished,
            session.tracking.stopped,
            session.tracking.failed,
        ):
            self._dock.listen(signal, self._written)
        self._dock.listen(self._session.failed, self._failed)

    @property
    def waiting(self) -> bool:
        """True if a request is waiting for objects."""
        return self._then is not None

    @property
    def pending(self) -> bool:
        """True if a request remains to be done."""
        return self.waiting or self._go_on.pending

    def stop(self) -> None:
        """Forget the request."""
        self._then = None

    def leave(self, then: Callable[[], None], firm: bool = False) -> bool:
        """Accept the open object and save.

        Parameters
        ----------
        then : callable
            Called once the mask of the open object has arrived and the objects
            of a job are written, if these are pending, for example while the
            model is loaded.
        firm : bool
            Whether the request opens another series: one that waits is not
            replaced by a step to another image.

        Returns
        -------
        bool
            False if that must wait or is impossible.
        """
        if self.waiting and self._firm and not firm and self.awaited:
            self._status.say(self.awaited, busy=True)
            return False
        self._then, self._firm = None, firm
        if self._session.series.current < 0 or not self._layers.image_shown:
            self._drop_objects()
            # labels may be there without their image
            self._save()
            return True
        if self.awaited:
            self._then = then
            self._status.say(self.awaited, busy=True)
            return False
        if self._session.editor.several:
            self._status.fail(SEVERAL)
            return False
        with self._status.errors():
            if self._close_objects():
                self._save()
                return True
        return False

    @property
    def awaited(self) -> str:
        """Message about what is awaited; empty if nothing is."""
        editor = self._session.editor
        if editor.pending or len(editor.queue):
            return PENDING
        if self._session.tracking.running:
            return TRACKING
        # its objects would be written when other labels are open
        running = self._session.background.running or self._run_awaited
        return RUNNING if running else ''

    @property
    def _run_awaited(self) -> bool:
        """True if *Segment everything* will write to the labels."""
        labels, to = self._layers.labels, self._session.runs.writes_to
        if labels is None or to is None:
            return False
        return to is self._dock.scene.objects_of(labels)

    def _drop_objects(self) -> None:
        """Close open objects whose image was removed.

        They would be written to the labels of the next image.
        """
        editor = self._session.editor
        # closing one object opens the next
        for _ in range(1 + len(editor.aside)):
            if not self._layers.contain(editor.record):
                break
            editor.reject()
            self._session.tell(DROPPED)

    def _close_objects(self) -> bool:
        """Accept the open object, and those kept aside."""
        editor = self._session.editor
        # closing one object opens the next
        for _ in range(1 + len(editor.aside)):
            if editor.record.empty:
                break
            if editor.doubtful:
                self._status.fail(DOUBTFUL)
                return False
            if editor.modified and editor.record.masks:
                editor.accept()
            else:
                editor.reject()
        return True

    def _written(self, *what: object) -> None:
        if self.waiting:
            self._go_on.restart()
        editor = self._session.editor
        refused = self._status.text in (DOUBTFUL, SEVERAL)
        if refused and not editor.doubtful and not editor.several:
            self._status.say(SETTLED)

    def _leave_again(self) -> None:
        """Repeat the request that was waiting for objects."""
        then = self._then
        if then is not None and not self.awaited:
            self._then = None
            then()

    def _failed(self, text: str, topic: str) -> None:
        if self.waiting and topic in ('model', 'prompts'):
            self._then = None
            self._status.fail(text)
