"""Long tasks: batches of prompts, and propagation through a stack."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import numpy as np
from napari.layers import Labels, Points, Shapes
from numpy.typing import NDArray

from napari_mobilesam.session.prompts.batch import BatchItem, BatchResult
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.text import counted
from napari_mobilesam.types import DrawnShape, PromptError, Prompts
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.collection import (
    PromptReader,
    planes_with,
    points_on,
    remove_drawn,
    remove_points,
)
from napari_mobilesam.widgets.prompts.open_object import OpenObject
from napari_mobilesam.widgets.prompts.problem_list import PromptProblem
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane, camera_of
from napari_mobilesam.widgets.viewer.layers import (
    data_of,
    insert_below_prompts,
    is_ours,
    place_names,
)
from napari_mobilesam.widgets.viewer.look_at import move_sliders

WAITING_TO_PROPAGATE = (
    'The object will be propagated as soon as its mask is ready …'
)


@dataclass(eq=False)
class _RunningPrompts:
    """Layer and prompts of a batch, and prompts that it skips.

    Each plane comes with the positions of all points on it at the start.
    """

    layer: weakref.ref[Points | Shapes]
    planes: list[tuple[LayerPlane, NDArray[np.float64]]] = field(
        default_factory=list
    )
    prompts: list[tuple[LayerPlane, Prompts]] = field(default_factory=list)
    problems: list[PromptProblem] = field(default_factory=list)


class PromptRuns:
    """Start and stop batches and propagation.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : PromptPanel
        Stop button and status line.
    tools : PromptTools
        Layers of the prompts.
    object : OpenObject
        The object to propagate.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        tools: PromptTools,
        object: OpenObject,  # noqa: A002
    ) -> None:
        self._viewer = dock.viewer
        self._session = dock.session
        self._panel = panel
        self._tools = tools
        self._scene = dock.scene
        self._object = object
        self._reader = PromptReader()
        self._batch: _RunningPrompts | None = None
        # labels of the running job
        self._written_to: Labels | None = None
        # requested before the mask of the open object arrived
        self._wanted: Direction | None = None
        # axis of the propagation, for its message
        self._along = ''
        self._propagate_later = DelayedCall(
            self._propagate_wanted, parent=dock
        )
        panel.cancel_button.clicked.connect(self.cancel)
        panel.problem_list.chosen.connect(self._go_to)

    # propagation

    def propagate_back(self) -> None:
        """Follow the object through the preceding planes."""
        self._propagate('backward')

    def propagate_forward(self) -> None:
        """Follow the object through the following planes."""
        self._propagate('forward')

    def propagate_both(self) -> None:
        """Follow the object in both directions."""
        self._propagate('both')

    @property
    def pending(self) -> bool:
        """True if a propagation is about to start."""
        return self._propagate_later.pending

    def mask_came(self, result: object = None) -> None:
        """Start the propagation that was requested before."""
        if self._wanted is not None:
            # other listeners come first
            self._propagate_later.restart()

    def follow_editor(self) -> None:
        """Forget a propagation whose object was closed."""
        editor = self._session.editor
        if editor.record.empty and not editor.pending:
            self._wanted = None

    def _propagate_wanted(self) -> None:
        direction = self._wanted
        if direction is not None and not self._session.editor.pending:
            self._propagate(direction)

    def _propagate(self, direction: Direction) -> None:
        self._object.catch_up()
        editor, self._wanted = self._session.editor, None
        if editor.pending and not self._object.empty:
            self._wanted = direction
            self._panel.status.say(WAITING_TO_PROPAGATE, busy=True)
            return
        if self._object.doubtful.refuse():
            return
        panel = self._panel
        with panel.status.errors():
            self._session.start_propagation(
                PropagationOptions(direction=direction), panel.axis
            )
            if panel.axis is not None:
                chosen = panel.axis_combo.currentText().split(',')[0]
                self._along = f' This was {chosen}.'
            self._begin('Propagating the object …')

    # batches

    def accept(self) -> None:
        """Write the mask, or one object per closed shape, as one step."""
        self._object.catch_up()
        several = self._object.several
        if several is None:
            self._object.accept()
            return
        layer = self._tools.shapes
        assert layer is not None
        with self._panel.status.errors():
            self._start(
                _RunningPrompts(
                    weakref.ref(layer),
                    [(several.plane, np.zeros((0, 2)))],
                    [
                        (several.plane, prompts)
                        for prompts in several.collected.objects
                    ],
                ),
                [
                    BatchItem(several.plane.source(), prompts)
                    for prompts in several.collected.objects
                ],
                'Writing the objects …',
            )

    def run_batch(self) -> None:
        """Segment one object per box or point of a layer."""
        with self._panel.status.errors():
            layer = self._batch_layer()
            found = planes_with(self._scene.layer_plane(), layer)
            batch = _RunningPrompts(weakref.ref(layer))
            batch.problems += [
                _beyond(found_at, self._scene.layer_plane())
                for found_at in found.beyond
            ]
            items = []
            for plane in found.planes:
                prompts, others = self._prompts_on(plane, layer)
                source = plane.source()
                items += [BatchItem(source, each) for each in prompts]
                batch.prompts += [(plane, each) for each in prompts]
                _, positions, _ = points_on(plane, _points(layer))
                batch.planes.append((plane, positions))
                batch.problems += [_no_box(plane, each) for each in others]
            if not items:
                self._panel.problem_list.show_problems(batch.problems)
                raise PromptError(
                    f'“{layer.name}” has neither boxes nor positive points '
                    'on this image: select a layer that has some.'
                )
            text = f'{counted(len(items), "prompt")} of “{layer.name}” …'
            self._start(batch, items, text)

    def _start(
        self, batch: _RunningPrompts, items: list[BatchItem], text: str
    ) -> None:
        self._panel.problem_list.show_problems(())
        self._session.start_batch(items)
        self._batch = batch
        self._begin(text)

    def _batch_layer(self) -> Points | Shapes:
        active = self._viewer.layers.selection.active
        for layer in (active, self._tools.shapes, self._tools.points):
            if isinstance(layer, Points | Shapes) and len(layer.data):
                return layer
        raise PromptError(
            'No boxes or points: draw some, or select a layer that has some.'
        )

    def _prompts_on(
        self, plane: LayerPlane, layer: Points | Shapes
    ) -> tuple[list[Prompts], list[DrawnShape]]:
        """Return prompts, one object each, and other shapes."""
        if isinstance(layer, Shapes):
            return self._reader.one_each(plane, layer)
        _, positions, labels = points_on(plane, layer)
        one = np.ones(1, dtype=np.int64)
        found = [
            Prompts(position[None], one) for position in positions[labels == 1]
        ]
        # negative points are not objects and need no mention
        return found, []

    # beginning and end

    def _begin(self, text: str) -> None:
        self._written_to = self._scene.labels
        self._panel.cancel_button.show()
        self._panel.status.say(text, busy=True)

    def stop(self) -> None:
        """Stop a batch or a propagation, but not a job of another form."""
        if not self._panel.cancel_button.isHidden():
            self._session.background.cancel()

    def cancel(self) -> None:
        """Stop, and keep the objects so far."""
        self._session.background.cancel()
        self._panel.status.say('Stopping …', busy=True)

    def batch_finished(self, result: BatchResult) -> None:
        """Report a batch; remove the prompts that gave an object."""
        batch, self._batch = self._batch, None
        text = result.text
        if batch is not None:
            problems = [
                _missing(*batch.prompts[number], reason)
                for number, reason in result.missing.items()
            ] + batch.problems
            self._panel.problem_list.show_problems(problems)
            text = _with_others(text, batch.problems)
            self._remove_done(batch, result)
        self._end(text, len(result.records) > 0)

    def _remove_done(
        self, batch: _RunningPrompts, result: BatchResult
    ) -> None:
        layer = batch.layer()
        # prompts of the user's own layers stay
        if layer is None or not is_ours(layer):
            return
        with self._tools.blocked():
            for plane, positions in batch.planes:
                done: list[Prompts] = []
                failed = [np.zeros((0, 2))]
                for number, (where, prompts) in enumerate(batch.prompts):
                    if where.index != plane.index:
                        continue
                    if number in result.numbers:
                        done.append(prompts)
                    else:
                        failed.append(prompts.points)
                if isinstance(layer, Shapes):
                    drawn = [shape for each in done for shape in each.drawn]
                    remove_drawn(layer, plane, drawn)
                else:
                    left = np.concatenate(failed)
                    same = (positions[:, None] == left[None]).all(axis=2)
                    gone = positions[~same.any(axis=1)]
                    remove_points(layer, plane, gone)
        self._object.start_over()

    def _go_to(self, problem: PromptProblem) -> None:
        """Show the plane of a prompt, and centre the view on it."""
        plane = problem.plane
        if plane is None or plane.layer not in self._viewer.layers:
            self._panel.status.fail(f'{problem.text} It cannot be shown.')
            return
        (point,) = plane.data_points(np.array([problem.position]))
        place = point[plane.offset :]
        world = move_sliders(self._viewer, plane.layer, place, place)[0]
        camera = camera_of(self._viewer)
        shown = list(self._viewer.dims.displayed)
        camera.center = (*camera.center[:-2], *world[shown[-2:]])
        self._panel.status.say(problem.text, keep=True)

    def propagated(self, result: PropagationResult) -> None:
        """Report a propagation."""
        text, self._along = f'{result.text}{self._along}', ''
        self._end(text, len(result.reached) > 0)
        if self._session.editor.record is result.record:
            accept = self._panel.buttons['accept'].text()
            self._panel.status.say(
                f'{self._panel.status.text} It stays open: click where a '
                f'plane is wrong, or {accept} it.',
                keep=True,
            )

    def _end(self, text: str, written: bool) -> None:
        self._panel.cancel_button.hide()
        layer, self._written_to = self._written_to, None
        if (
            written
            and layer is not None
            and layer not in self._viewer.layers
            and self._scene.image is not None
        ):
            # nothing found is lost
            insert_below_prompts(self._viewer, layer)
            self._scene.labels = layer
            text += f' “{layer.name}” was removed meanwhile, and is restored.'
        if written:
            text += f' {self._panel.buttons["undo"].text()} takes it back.'
        # “Ready” must not replace what failed
        self._panel.status.say(text, keep=True)


def _points(layer: Points | Shapes) -> Points | None:
    return layer if isinstance(layer, Points) else None


def _missing(
    plane: LayerPlane, prompts: Prompts, reason: str
) -> PromptProblem:
    if prompts.box is None:
        kind, (row, column) = 'point', prompts.points[0]
    else:
        kind = prompts.drawn[0].kind if prompts.drawn else 'box'
        kind = 'box' if kind == 'rectangle' else kind
        row, column = (prompts.box[:2] + prompts.box[2:]) / 2
    return _problem(plane, kind, row, column, reason)


def _no_box(plane: LayerPlane, shape: DrawnShape) -> PromptProblem:
    row, column = shape.vertices.mean(axis=0)
    reason = 'skipped, because it encloses no area.'
    return _problem(plane, shape.kind, row, column, reason)


def _problem(
    plane: LayerPlane, kind: str, row: float, column: float, reason: str
) -> PromptProblem:
    where = f'row {row:.0f}, column {column:.0f}'
    text = f'{kind.capitalize()} at {where} of {plane.name}: {reason}'
    return PromptProblem(text, plane, (float(row), float(column)))


def _beyond(position: NDArray[np.float64], plane: LayerPlane) -> PromptProblem:
    """Describe a prompt on a plane that the image does not have."""
    shape = data_of(plane.layer).shape
    axes = [a for a in plane.travel_axes if shape[a] > 1 or position[a] != 0]
    names = place_names(plane.layer, axes, position.tolist())
    where = ', '.join(
        f'{name} (of {shape[axis]})'
        for name, axis in zip(names, axes, strict=True)
    )
    row, column = position[[plane.rows, plane.columns]]
    text = (
        f'Prompt at {where}, row {row:.0f}, column {column:.0f}: skipped, '
        f'because “{plane.layer.name}” has no such plane.'
    )
    return PromptProblem(text, None, (float(row), float(column)))


def _with_others(text: str, problems: list[PromptProblem]) -> str:
    beyond = sum(problem.plane is None for problem in problems)
    paths = len(problems) - beyond
    if paths:
        what = 'it encloses' if paths == 1 else 'they enclose'
        text += f' {counted(paths, "path")} skipped: {what} no area.'
    if beyond:
        text += (
            f' {counted(beyond, "prompt")} outside the planes of the image '
            'skipped.'
        )
    return text
