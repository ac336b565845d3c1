"""Runs of “Segment everything” on images too large for memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psygnal import Signal

from napari_mobilesam.session.everything.large_runs import (
    LargeAnswer,
    LargeRequest,
)
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.large_panel import (
    LargeView,
    is_finished_output,
)
from napari_mobilesam.widgets.parts.controls import ViewerWidget
from napari_mobilesam.widgets.viewer.large_source import is_large, large_image
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane


class LargeRunControl:
    """Segments large images in tiles, kept in a folder.

    Parameters
    ----------
    dock : ViewerWidget
        Gives session and viewer.
    panel : EverythingPanel
        Parameters, folder and status line.

    Attributes
    ----------
    ended : Signal()
        The run is over.
    view : LargeView
        Layers of the run.
    """

    ended = Signal()

    def __init__(self, dock: ViewerWidget, panel: EverythingPanel) -> None:
        self._dock = dock
        self._session = dock.session
        self._panel = panel
        self.view = LargeView(dock.viewer)

    def offer(self, plane: LayerPlane | None) -> bool:
        """Show the folder if the chosen planes are too large for memory.

        Parameters
        ----------
        plane : LayerPlane or None
            Plane that is shown.

        Returns
        -------
        bool
            Whether they are too large.
        """
        panel = self._panel
        large = plane is not None and is_large(plane, panel.where.planes.axis)
        if large and plane is not None:
            panel.large.offer(plane.layer)
        panel.show_large(large)
        return large

    def start(
        self, plane: LayerPlane, parameters: EverythingParameters
    ) -> None:
        """Start or resume a run, or show the labels of a finished one.

        Parameters
        ----------
        plane : LayerPlane
            Plane that is shown.
        parameters : EverythingParameters
            Parameters of the form.

        Raises
        ------
        SegmentationError
            The planes, the region or the parameters cannot be used.
        """
        from napari_mobilesam.large.large_plan import checked_large

        panel = self._panel
        planes, output = panel.where.planes, panel.large.output
        image = large_image(plane, planes.axis, panel.where.around(plane))
        if is_finished_output(output):
            panel.status.say(self.view.show_finished(image, output))
            return
        chosen = checked_large(
            replace(panel.large.form.value, everything=parameters),
            {'link': planes.linked, **_contrast(plane)},
        )
        self.view.begin(image, output)
        self._session.large.start(
            LargeRequest(
                image.source,
                image.planes_shape,
                output,
                chosen,
                self._session.model_name,
            )
        )
        panel.show_running(True)
        panel.status.say(f'Looking at {plane.name} …', busy=True)

    def attach(self) -> None:
        """Follow the runs of the session until the dock closes."""
        runs = self._session.large
        self._dock.listen(runs.progress, self._progress)
        self._dock.listen(runs.began, self._began)
        self._dock.listen(runs.changed, self.view.changed)
        self._dock.listen(runs.finished, self._finished)

    def abandon(self) -> None:
        """Stop the run; finished tiles are kept."""
        self._session.large.abandon()
        self.view.close()

    def _progress(self, done: int, total: int, message: str) -> None:
        if self.view.image is not None:
            self._panel.status.say(message, busy=True)
            self._panel.status.show_progress(done, total)

    def _began(self, levels: list[Any]) -> None:
        if self.view.image is not None:
            self.view.show_live(levels)

    def _finished(self, answer: LargeAnswer) -> None:
        if self.view.image is None:
            return
        said = self.view.finish(answer)
        self._panel.show_running(False)
        self._panel.large.look()
        self._panel.status.say(said)
        self.ended.emit()


def _contrast(plane: LayerPlane) -> dict[str, Any]:
    """Return contrast and gamma of a layer that is shown in one colour."""
    layer = plane.layer
    if plane.channel_axis is not None or layer.rgb:
        return {}
    low, high = map(float, layer.contrast_limits)
    return {
        'contrast_limits': ((low, high),),
        'gamma': float(layer.gamma),
    }
