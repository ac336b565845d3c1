"""The open series of a viewer, which goes on without its dock."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image

from napari_mobilesam.session.files.saving import LoadedSession
from napari_mobilesam.session.series.last_series import LastSeries
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_layers import SeriesLayers
from napari_mobilesam.widgets.series.series_saving import SeriesSaving
from napari_mobilesam.widgets.viewer.layers import SERIES_MARK
from napari_mobilesam.widgets.viewer.viewer_session import get_session
from napari_mobilesam.widgets.viewer.window_closing import (
    WindowClosing,
    main_window,
)


class OpenSeries(ViewerWidget):
    """Layers of the open image, and the saving of its labels.

    A hidden child of the window: after the dock is closed, labels are saved as
    before until their layer is removed, and a new dock continues with them.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).

    Attributes
    ----------
    layers : SeriesLayers
        Layers of the open image.
    saving : SeriesSaving
        Saves the labels as they change.
    opened_with : LastSeries or None
        What was opened, to resume it.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self._docked = False
        self.opened_with: LastSeries | None = None
        self.layers = SeriesLayers(self)
        self.saving = SeriesSaving(self)
        self._end_later = DelayedCall(self._end_if_gone, parent=self)
        self.hide()
        window = self.main_window
        if window is None:
            self.attach()
        else:
            WindowClosing(window, self, self.saving.leave)
            self.setParent(window)

    def attach(self) -> None:
        """Save labels, and restore the prompts of their objects."""
        super().attach()
        self.saving.attach()
        jobs = self.session.series
        self.listen_all(
            (jobs.decoded, self._restore),
            (jobs.failed, self._tell_failure),
            (self.viewer.layers.events.removed, self._end_later.restart),
        )

    def dock(self) -> None:
        """Leave it to a dock to end the series."""
        self._docked = True
        if not self.attached:
            self.attach()

    def undock(self) -> None:
        """Go on without a dock as long as the labels are in the viewer."""
        self._docked = False
        self.session.series.rest()
        self.layers.forget_others()
        self._end_if_gone()

    def _restore(self, number: int, loaded: LoadedSession) -> None:
        """Restore prompts and candidates of the objects."""
        if number == self.session.series.current:
            self.saving.take_records(loaded)
            self.session.classes.update(loaded.choices.classes)

    def _tell_failure(self, text: str) -> None:
        if not self._docked:
            # there is no other place to show it
            self.session.tell(text)

    def _end_if_gone(self) -> None:
        """Close the series once neither a dock nor its labels are there."""
        if self._docked or not self.attached:
            return
        if self.layers.labels in self.viewer.layers:
            return
        self.saving.detach()
        self.session.series.open(None)
        self.layers.let_go()
        for layer in self.viewer.layers:
            if isinstance(layer, Image):
                # from now on, it is an image like any other
                layer.metadata.pop(SERIES_MARK, None)
        self.detach()


def open_series(viewer: ViewerModel) -> OpenSeries:
    """Return what is open in a viewer, perhaps by a dock that was closed.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    """
    window, session = main_window(viewer), get_session(viewer)
    known = [] if window is None else window.findChildren(OpenSeries)
    ours = (one for one in known if one.session is session)
    return next(ours, None) or OpenSeries(viewer)
