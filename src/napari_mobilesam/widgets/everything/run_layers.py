"""Layers of a run of segment everything."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from napari.layers import Labels, Layer
from psygnal import Signal

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session import EverythingResult, PlaneTask
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.everything_runs import EverythingRuns
from napari_mobilesam.session.everything.result_writer import ResultWriter
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.scene import find_code
from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.everything.live_view import LiveView
from napari_mobilesam.widgets.everything.outline_layer import OutlineLayer
from napari_mobilesam.widgets.everything.where_form import PlaneRegion
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.label_writer import new_labels
from napari_mobilesam.widgets.viewer.layers import insert_below_prompts

# labels with fewer free values may not hold the objects of an image
ROOM = 2000


@dataclass(frozen=True, eq=False)
class OutputChoice:
    """Output of a run.

    Attributes
    ----------
    labels : napari.layers.Labels or None
        Layer to add objects to; None for a new one.
    leave : bool
        Whether labelled pixels of the layer are skipped.
    semantic : bool
        Whether all objects get one label.
    outlined : bool
        Whether the output is a Shapes layer.
    """

    labels: Labels | None = None
    leave: bool = True
    semantic: bool = False
    outlined: bool = False


class RunLayers:
    """Layers of one run: masks while it runs, then objects.

    Parameters
    ----------
    dock : ViewerWidget
        Gives viewer and scene.
    parts : sequence of PlaneRegion
        Planes and regions of the run.
    destination : OutputChoice
        Output of the run.

    Attributes
    ----------
    problem : str
        Why the objects are in a new layer instead of the chosen one; or empty.
    lost : str
        Name of a layer that was removed during the run; or empty.
    written : Signal(EverythingResult)
        A result was written.
    failed : Signal(str)
        Message why a result was not written.
    selection_restored : Signal(Selection)
        Undo or redo restored the objects of another selection.
    """

    written = Signal(object)
    failed = Signal(str)
    selection_restored = Signal(object)

    def __init__(
        self,
        dock: ViewerWidget,
        parts: tuple[PlaneRegion, ...],
        destination: OutputChoice,
    ) -> None:
        self._viewer = dock.viewer
        self._scene = dock.scene
        self.destination = destination
        self.plane = parts[0].plane
        self._planes = [part.plane for part in parts]
        self._sources = [plane.source() for plane in self._planes]
        self.tasks = [
            PlaneTask.beside(source, self._skipped_target(), part.region)
            for source, part in zip(self._sources, parts, strict=True)
        ]
        self.live = LiveView(dock.viewer, self._planes)
        self._output: EverythingOutput | None = None
        self._writer: ResultWriter | None = None
        self._outlines: OutlineLayer | None = None
        # the first write to the user's labels
        self._to_fall_back: tuple[EverythingResult, EverythingRuns] | None = (
            None
        )
        self.problem = self.lost = ''

    @property
    def layer(self) -> Layer | None:
        """Layer to which objects are written, if any."""
        if self._outlines is not None:
            return self._outlines.layer
        return self.destination.labels

    @property
    def objects(self) -> Objects | None:
        """Objects of labels, to be reviewed."""
        return None if self._output is None else self._output.objects

    @property
    def pending(self) -> bool:
        """True if something remains to be written."""
        return self._writer is not None and self._writer.pending

    @property
    def count(self) -> int | None:
        """Number of objects of the run; None for outlines."""
        return None if self._output is None else len(self._output.numbers)

    @property
    def undone(self) -> bool:
        """True if the run was undone, so that there is nothing to filter."""
        return self._output is not None and self._output.undone

    @property
    def edited(self) -> bool:
        """True if outlines were edited by hand, which filtering would undo."""
        return self._outlines is not None and self._outlines.edited

    @property
    def skipped(self) -> bool:
        """True if labelled pixels exist and are skipped."""
        target = self._skipped_target()
        return target is not None and target.highest() > 0

    def _skipped_target(self) -> LabelTarget | None:
        """Return the labels whose pixels are skipped, if any."""
        labels = self.destination.labels
        if labels is None or not self.destination.leave:
            return None
        return self._scene.objects_of(labels).target

    def lose(self, layer: Layer) -> None:
        """Note that a layer was removed, so that objects go into a new one."""
        self.lost = layer.name
        if layer is self.destination.labels:
            self.destination = replace(self.destination, labels=None)
            if self._writer is not None:
                # its output would go into the removed layer
                self._writer.drop()
                self._use_new_layer('')

    def check_output(self) -> str:
        """Check before a run that its objects can be written.

        Returns
        -------
        str
            Warning if there may be too few free labels, else empty.

        Raises
        ------
        LabelsError
            The labels are not editable, or full.
        """
        labels = self.destination.labels
        if labels is None:
            return ''
        objects = self._scene.objects_of(labels)
        # raises if there is not a single one
        objects.free_label()
        room = objects.free_labels
        if self.destination.semantic or room >= ROOM:
            return ''
        return (
            f'“{labels.name}” ({labels.data.dtype}) has room for '
            f'{counted(room, "more object")}; if there are more, all go into '
            'a new layer.'
        )

    def first(self, result: EverythingResult, runs: EverythingRuns) -> None:
        """Start writing; `written` is emitted at the end.

        Parameters
        ----------
        result : EverythingResult
            Result of a finished run.
        runs : EverythingRuns
            Runs that provide the background thread.
        """
        if self.destination.outlined:
            self._outlines = self._scene.with_history(
                partial(OutlineLayer, self._viewer, self._planes)
            )
            self.write(result)
            return
        self._begin(self.destination.labels, result, runs)

    def _begin(
        self,
        layer: Labels | None,
        result: EverythingResult,
        runs: EverythingRuns,
    ) -> None:
        chosen = self.destination
        labels = layer or self._new_labels(result)
        output = self._output = EverythingOutput(
            self._scene.objects_of(labels),
            self._sources,
            overwrite=not chosen.leave,
            semantic=chosen.semantic,
            plane_code=partial(find_code, self._scene),
        )
        output.selection_restored.connect(self._restored)
        self._writer = ResultWriter(output, runs.apart)
        self._writer.written.connect(self._tell)
        self.destination = replace(chosen, labels=labels)
        if layer is not None:
            self._to_fall_back = result, runs
            self._writer.failed.connect(self._use_new_layer)
            self._writer.write(result)
            return
        self._writer.failed.connect(self._fail)
        # not in the viewer yet, so any thread may write to it
        runs.apart(lambda: output.write(result), lambda: self._tell(result))

    def _use_new_layer(self, reason: str) -> None:
        """Write what the chosen layer cannot take into a new layer."""
        if self._to_fall_back is None:
            self._fail(reason)
            return
        (result, runs), self._to_fall_back = self._to_fall_back, None
        self.problem = reason
        assert self._output is not None
        self._output.close()
        self._begin(None, result, runs)

    def _new_labels(self, result: EverythingResult) -> Labels:
        small = result.found <= np.iinfo(np.uint16).max
        name = f'{self.plane.layer.name} objects'
        return new_labels(self.plane, name, np.uint16 if small else np.int32)

    def show(self) -> None:
        """Show the objects written by `first` in place of the live masks."""
        self.live.close()
        labels = self.destination.labels
        if labels is not None and labels not in self._viewer.layers:
            insert_below_prompts(self._viewer, labels)

    def write(self, result: EverythingResult, key: Hashable = None) -> None:
        """Schedule a replacement of the objects.

        Consecutive steps with the same key are merged in the history.
        """
        if self._outlines is not None:
            self._outlines.write(result)
            self._tell(result)
        elif self._writer is not None:
            self._writer.write(result, key)

    def _tell(self, result: EverythingResult) -> None:
        self._to_fall_back = None
        self.written.emit(result)

    def _fail(self, text: str) -> None:
        self.failed.emit(text)

    def _restored(self, selection: Selection) -> None:
        # the previous request is obsolete
        if self._writer is not None:
            self._writer.drop()
        self.selection_restored.emit(selection)

    def close(self) -> None:
        """Disconnect from the layers; their objects stay."""
        self.live.close()
        if self._writer is not None:
            self._writer.drop()
        if self._output is not None:
            self._output.close()
        self._output = self._writer = self._outlines = None
