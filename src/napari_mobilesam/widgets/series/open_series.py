"""The open series of a viewer, which goes on without its dock."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_warning
from psygnal import Signal

from napari_mobilesam.session.files.saving import LoadedSession, find_planes
from napari_mobilesam.session.series.last_series import (
    LastSeries,
    remember_series,
)
from napari_mobilesam.session.series.series_jobs import (
    ReadImage,
    keeps_prompts,
)
from napari_mobilesam.types import SegmentationError
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
    docks : int
        Number of docks that are open.
    opened_with : LastSeries or None
        What was opened, to resume it.
    prompts_found : Signal()
        The prompts of the image can be restored after all.
    """

    prompts_found = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__(viewer)
        self.docks = 0
        self.opened_with: LastSeries | None = None
        self.layers = SeriesLayers(self)
        self.saving = SeriesSaving(self)
        # prompts of the open image that the view did not allow to restore
        self._unrestored: ReadImage | None = None
        self._restore_later = DelayedCall(self._restore_again, parent=self)
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
        jobs, dims = self.session.series, self.viewer.dims.events
        self.listen_all(
            (jobs.decoded, self._take),
            (dims.ndisplay, self._restore_later.restart),
            (dims.order, self._restore_later.restart),
            (jobs.failed, self._tell_failure),
            (jobs.saving.kept, self._tell_kept),
            (self.viewer.layers.events.removed, self._end_later.restart),
        )

    def dock(self) -> None:
        """Leave it to a dock to end the series."""
        self.docks += 1
        if not self.attached:
            self.attach()

    def undock(self) -> None:
        """Go on without the last dock while the labels are in the viewer."""
        self.docks -= 1
        if self.docks:
            return
        self.session.series.rest()
        self.layers.forget_others()
        self._end_if_gone()

    def remember(self, image: Path) -> None:
        """Store what is open, to resume it at an image."""
        used = self.opened_with
        if used is None:
            return
        # only a convenience: a full disk must not stop the work
        with contextlib.suppress(OSError):
            channel = self.layers.channel
            remember_series(replace(used, image=str(image), channel=channel))

    def restore(self, found: ReadImage) -> str:
        """Start to restore the prompts of the objects of the open image.

        Planes are found only in the view in which they were segmented. If it
        is another one, the prompts are restored when it has changed.

        Returns
        -------
        str
            Why they are kept in their file; empty if all is well.
        """
        self._unrestored = None
        if found.session is None:
            return ''
        self.saving.wait_for_records()
        jobs = self.session.series
        path = jobs.required[found.number].session
        try:
            planes = find_planes(path, found.session, self.scene)
        except SegmentationError as error:
            self._unrestored = found
            volume = self.viewer.dims.ndisplay == 3
            return '' if volume else keeps_prompts(error)
        jobs.decode(found, path, planes)
        return ''

    def _restore_again(self) -> None:
        found, labels = self._unrestored, self.layers.labels
        if found is None or labels is None or not self.layers.shown:
            return
        # numbers of new objects may be those of objects in the file
        if found.number != self.session.series.current or len(
            self.scene.objects_of(labels)
        ):
            return
        self.restore(found)
        if self._unrestored is None:
            self.prompts_found.emit()

    def _take(self, number: int, loaded: LoadedSession) -> None:
        """Take the prompts and candidates that were read."""
        if number == self.session.series.current:
            self.saving.take_records(loaded)
            self.session.classes.update(loaded.choices.classes)

    def _tell_failure(self, text: str) -> None:
        if not self.docks:
            # perhaps no dock at all is open
            show_warning(text)

    def _tell_kept(self, theirs: Path, target: Path) -> None:
        self._tell_failure(kept_text(theirs, target))

    def _end_if_gone(self) -> None:
        """Close the series once neither a dock nor its labels are there."""
        if self.docks or not self.attached:
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


def kept_text(theirs: Path, target: Path) -> str:
    """Return the message about a label image that is not replaced.

    Parameters
    ----------
    theirs, target : Path
        The label image, and the file to which labels are saved instead.
    """
    return (
        f'{theirs.name} is from another window or program, was changed, or is '
        f'read-only; it is kept, and labels are saved to {target.name}.'
    )


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
