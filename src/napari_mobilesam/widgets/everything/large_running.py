"""Runs of “Segment everything” on images too large for memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_mobilesam.session.everything.large_runs import LargeRequest
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.large_panel import (
    LargeView,
    is_finished_output,
)
from napari_mobilesam.widgets.viewer.large_source import is_large, large_image
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane


class EverythingTiles(EverythingPanel):
    """Segments large images in tiles, kept in a folder.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer)
        self.large_view = LargeView(self.viewer)

    def offer_large(self, plane: LayerPlane | None) -> bool:
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
        large = plane is not None and is_large(plane, self.where.planes.axis)
        if large and plane is not None:
            self.large.offer(plane.layer)
        self.show_large(large)
        return large

    def start_large(
        self, plane: LayerPlane, parameters: EverythingParameters
    ) -> str | None:
        """Start or resume a run, or show the labels of a finished one.

        Parameters
        ----------
        plane : LayerPlane
            Plane that is shown.
        parameters : EverythingParameters
            Parameters of the form.

        Returns
        -------
        str or None
            Message, if there is nothing to run.

        Raises
        ------
        SegmentationError
            The planes, the region or the parameters cannot be used.
        """
        from napari_mobilesam.large.large_plan import checked_large

        planes, output = self.where.planes, self.large.output
        image = large_image(plane, planes.axis, self.where.around(plane))
        if is_finished_output(output):
            return self.large_view.show_finished(image, output)
        layer = plane.layer
        shown = {}
        if plane.channel_axis is None and not layer.rgb:
            low, high = map(float, layer.contrast_limits)
            shown = {
                'contrast_limits': ((low, high),),
                'gamma': float(layer.gamma),
            }
        chosen = checked_large(
            replace(self.large.form.value, everything=parameters),
            {'link': planes.linked, **shown},
        )
        self.large_view.begin(image, output)
        self.session.large.start(
            LargeRequest(
                image.source,
                image.planes_shape,
                output,
                chosen,
                self.session.model_name,
            )
        )
        return None

    def listen_large(self) -> None:
        """Follow the runs of the session."""
        runs = self.session.large
        self.listen(runs.progress, self._large_progress)
        self.listen(runs.began, self._large_began)
        self.listen(runs.changed, self.large_view.changed)

    def end_large(self) -> None:
        """Stop a run; finished tiles are kept."""
        self.session.large.abandon()
        self.large_view.close()

    def _large_progress(self, done: int, total: int, message: str) -> None:
        if self.large_view.image is not None:
            self.status.say(message, busy=True)
            self.status.show_progress(done, total)

    def _large_began(self, levels: list[Any]) -> None:
        if self.large_view.image is not None:
            self.large_view.show_live(levels)
