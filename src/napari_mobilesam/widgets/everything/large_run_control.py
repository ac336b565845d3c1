"""Runs of “Segment everything” on images too large for memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_mobilesam.large.journal import JournalError
from napari_mobilesam.large.large_plan import LargeParameters
from napari_mobilesam.large.run_folder import check_place
from napari_mobilesam.large.run_state import run_state
from napari_mobilesam.parameter_fields import parameter_fields
from napari_mobilesam.session.everything.large_runs import (
    LargeAnswer,
    LargeRequest,
)
from napari_mobilesam.text import explain
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.large_panel import (
    LargeView,
    is_finished_output,
    is_used_output,
    numbered,
)
from napari_mobilesam.widgets.parts.controls import confirm
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.large_source import (
    LargeImage,
    is_large,
    large_image,
)
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.running_task import RunningTask

# Layer, first pixel, shapes, parameters and model of a run.
_Identity = tuple[Any, ...]


class LargeRunControl:
    """Segment large images in tiles, stored in a folder.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        Parameters, folder and status line.

    Attributes
    ----------
    started : Signal()
        A run has started.
    ended : Signal()
        The run has ended.
    view : LargeView
        Layers of the run.
    """

    started = Signal()
    ended = Signal()

    def __init__(self, dock: ViewerWidget, panel: EverythingPanel) -> None:
        self._dock = dock
        self._session = dock.session
        self._panel = panel
        self.view = LargeView(dock.viewer)
        self._task = RunningTask(dock.viewer)
        self._running: _Identity | None = None
        # finished runs of this session, by output
        self._finished_runs: dict[Path, _Identity] = {}
        large = panel.large
        large.continue_button.clicked.connect(self.go_on)
        large.restart_button.clicked.connect(self.start_over)
        large.elsewhere_button.clicked.connect(self.save_elsewhere)

    def offer(self, plane: LayerPlane | None) -> bool:
        """Show the folder if the chosen planes are too large for memory.

        Parameters
        ----------
        plane : LayerPlane or None
            Displayed plane.

        Returns
        -------
        bool
            Whether the planes are too large.
        """
        panel = self._panel
        large = plane is not None and is_large(plane, panel.where.planes.axis)
        if large and plane is not None:
            panel.large.offer(plane.layer)
        panel.show_large(large)
        return large

    def start(self, plane: LayerPlane) -> None:
        """Start or resume a run, or show the labels of a finished one.

        Parameters
        ----------
        plane : LayerPlane
            Displayed plane.

        Raises
        ------
        SegmentationError
            The planes, the region or the parameters cannot be used.
        """
        image = self._image(plane)
        request = self._request(plane, image)
        if is_finished_output(request.output):
            said = self.view.show_finished(image, request.output)
            self._panel.status.say(said)
            self._session.large.ask_table(request.output)
            return
        self._run(image, request)

    def _image(self, plane: LayerPlane) -> LargeImage:
        where = self._panel.where
        return large_image(plane, where.planes.axis, where.around(plane))

    def _request(self, plane: LayerPlane, image: LargeImage) -> LargeRequest:
        """Return the request of a run with the parameters of the form.

        Another folder is used if the suggested one has labels of another
        region, or from other parameters.
        """
        from napari_mobilesam.large.large_plan import checked_large

        panel = self._panel
        chosen = checked_large(
            replace(panel.large.form.value, everything=panel.form.value),
            {'link': panel.where.planes.linked, **_contrast(plane)},
        )
        request = LargeRequest(
            image.source,
            image.planes_shape,
            panel.large.output,
            chosen,
            self._session.model_name,
        )
        finished = self._finished_runs.get(request.output)
        if finished in (None, _identity(image, request)):
            return request
        panel.large.suggest_another()
        return replace(request, output=panel.large.output)

    def _run(self, image: LargeImage, request: LargeRequest) -> None:
        panel = self._panel
        try:
            # planning may take minutes
            check_place(request.output)
        except OSError as error:
            panel.status.fail(explain(error))
            return
        self.started.emit()
        self.view.begin(image, request.output)
        self._running = _identity(image, request)
        self._session.large.start(request)
        self._task.begin('Segment everything; finished tiles are kept.')
        panel.show_running(True)
        panel.large.show_running(True)
        panel.status.say(f'Planning {image.plane.name} …', busy=True)

    def go_on(self) -> None:
        """Continue the unfinished run with its original parameters."""
        panel = self._panel
        with panel.status.errors():
            state = run_state(panel.large.output)
            if state is None:
                panel.large.look()
                return
            plane = self._panel.header.plane
            image = self._image(plane)
            request = self._request(plane, image)
            # linking is done at the end, independent of the tiles
            linking = {
                name: getattr(request.parameters, name)
                for name in ('link', 'link_iou', 'link_gap')
            }
            parameters = replace(state.parameters, **linking)
            panel.form.value = parameters.everything
            self._run(image, replace(request, parameters=parameters))

    def start_over(self) -> None:
        """Delete the tiles of the unfinished run, if confirmed, and restart.

        No confirmation is needed if no tile is done.
        """
        large = self._panel.large
        with self._panel.status.errors():
            state = run_state(large.output)
            if state is None or not state.done:
                self._run_anew()
                return
            confirm(
                large,
                f'{state.done:,} of {state.total:,} tiles of '
                f'“{large.output.name}” are done. Start over deletes them; '
                'Save elsewhere keeps them.',
                'Delete tiles and start over',
                self._run_anew,
            )

    def _run_anew(self) -> None:
        with self._panel.status.errors():
            plane = self._panel.header.plane
            image = self._image(plane)
            request = self._request(plane, image)
            self._run(image, replace(request, resume=False))

    def save_elsewhere(self) -> None:
        """Keep the unfinished run, and use another folder."""
        panel = self._panel
        with panel.status.errors():
            plane = self._panel.header.plane
            panel.large.output = numbered(panel.large.output, is_used_output)
            self.start(plane)

    def estimate(self, plane: LayerPlane) -> None:
        """Plan the run in the background, to show its tiles and duration.

        Raises
        ------
        SegmentationError
            The planes, the region or the parameters cannot be used.
        """
        image = self._image(plane)
        self._session.large.estimate(self._request(plane, image))

    def attach(self) -> None:
        """Follow the runs of the session until the dock closes."""
        runs = self._session.large
        self._dock.listen(runs.progress, self._progress)
        self._dock.listen(runs.began, self._began)
        self._dock.listen(runs.changed, self.view.changed)
        self._dock.listen(runs.finished, self._finished)
        self._dock.listen(runs.table_read, self.view.describe)
        self._dock.listen(runs.stopped, self._stopped)
        self._dock.listen(runs.conflicting, self._conflict)

    def abandon(self) -> None:
        """Stop the run; finished tiles are kept."""
        self._session.large.abandon()
        self._session.large.forget_estimate()
        self._task.done()
        self.view.close()
        self._panel.large.show_running(False)
        self._panel.large.look()

    def _progress(self, done: int, total: int, message: str) -> None:
        if self.view.image is not None:
            self._panel.say_progress(done, total, message)

    def _began(self, levels: list[Any]) -> None:
        if self.view.image is not None:
            self.view.show_live(levels)

    def _finished(self, answer: LargeAnswer) -> None:
        if self.view.image is None:
            return
        said = self.view.finish(answer)
        output = answer.request.output
        if self._running is not None and is_finished_output(output):
            self._finished_runs[output] = self._running
        self._end()
        self._panel.status.say(said)

    def _stopped(self) -> None:
        if self.view.image is None:
            return
        self.view.close()
        self._end()
        self._panel.status.say('Stopped during planning.')

    def _conflict(self, request: LargeRequest, error: JournalError) -> None:
        """Show why the unfinished run cannot continue with these settings."""
        self.view.close()
        self._end()
        changes = said_changes(error)
        if not changes:
            self._panel.status.fail(str(error))
            return
        self._panel.status.fail(
            f'The unfinished run in {request.output.name} differs: {changes}. '
            'Continue it as it was, Start over, or Save elsewhere.'
        )

    def _end(self) -> None:
        self._task.done()
        self._panel.show_running(False)
        self._panel.large.show_running(False)
        self._panel.large.look()
        self.ended.emit()


def _identity(image: LargeImage, request: LargeRequest) -> _Identity:
    return (
        image.plane.layer.unique_id,
        image.origin,
        image.source.shape,
        image.planes_shape,
        request.parameters,
        request.model_name,
    )


def _contrast(plane: LayerPlane) -> dict[str, Any]:
    """Return contrast and gamma of a layer shown in one colour."""
    layer = plane.layer
    if plane.channel_axis is not None or layer.rgb:
        return {}
    low, high = map(float, layer.contrast_limits)
    return {
        'contrast_limits': ((low, high),),
        'gamma': float(layer.gamma),
    }


def said_changes(error: JournalError) -> str:
    """Describe how a run differs from the one whose records are kept."""
    labels = {
        **_labels('parameters.', LargeParameters()),
        **_labels('parameters.everything.', EverythingParameters()),
    }
    said = []
    for name, old, new in error.changes:
        if name.startswith('parameters.'):
            label = labels.get(name) or name.rpartition('.')[2]
            said.append(f'{label} was {_value(old)}, now {_value(new)}')
        elif name == 'model':
            said.append('it used another model')
        elif name.startswith('image.'):
            said.append('it used another image or region')
    return '; '.join(dict.fromkeys(said))


def _labels(prefix: str, parameters: Any) -> dict[str, str]:
    return {
        f'{prefix}{name}': described.label
        for name, described in parameter_fields(parameters).items()
    }


def _value(value: Any) -> str:
    if value is None:
        return 'automatic'
    return f'{value:g}' if isinstance(value, float) else str(value)
