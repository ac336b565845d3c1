"""Large images in “Segment everything”: output folder and layers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog, QGroupBox

from napari_mobilesam.large.journal import MANIFEST, JournalError
from napari_mobilesam.large.large_plan import LargeParameters
from napari_mobilesam.large.run_folder import check_place, records_folder
from napari_mobilesam.large.run_state import run_state
from napari_mobilesam.session.everything.large_runs import LargeAnswer
from napari_mobilesam.text import counted, duration, explain
from napari_mobilesam.widgets.parts.controls import wide_button
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.layouts import stack, two_columns
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.viewer.large_source import LargeImage
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    redraw_from_disk,
    refresh_pixels,
)

if TYPE_CHECKING:
    import pandas as pd

LIVE_NAME = 'found so far'
SUFFIX = '.ome.zarr'
# napari redraws a pyramid at each refresh
REFRESH_MS = 700


class LargePanel(QGroupBox):
    """Choice of the folder for labels and tiles of a large image.

    It is shown only for images too large to be segmented in memory.

    Attributes
    ----------
    chosen : bool
        True if the user chose the folder, which is then not changed
        automatically.
    continue_button, restart_button, elsewhere_button : QPushButton
        Options for the unfinished run in the folder; hidden if there is none.
    """

    def __init__(self) -> None:
        super().__init__('Large image')
        self._image: Image | None = None
        self._output = Path()
        self.chosen = False
        self.path_label = MessageLabel()
        self.path_label.setToolTip(
            'Labels are written here as OME-Zarr. Until they are complete, '
            'finished tiles are kept next to them, so that a run can be '
            'continued even after napari was closed.'
        )
        self.browse_button = wide_button('Save in …')
        self.browse_button.setToolTip('Choose another place for the labels.')
        self.state_label = MessageLabel()
        self.continue_button = wide_button('Continue')
        self.continue_button.setToolTip(
            'Continue from the finished tiles, with the parameters with '
            'which they were made.'
        )
        self.restart_button = wide_button('Start over')
        self.restart_button.setToolTip(
            'Delete the finished tiles, and run with the parameters of the '
            'form.'
        )
        self.elsewhere_button = wide_button('Save elsewhere')
        self.elsewhere_button.setToolTip(
            'Keep the unfinished run, and start another one elsewhere with '
            'the parameters of the form.'
        )
        self._ways_on = (
            self.continue_button,
            self.restart_button,
            self.elsewhere_button,
        )
        self.form = ParameterForm(LargeParameters())
        self._arrange()
        self.browse_button.clicked.connect(self._browse)

    def _arrange(self) -> None:
        layout = stack(
            self,
            self.path_label,
            self.browse_button,
            self.state_label,
            two_columns(
                (self.continue_button, self.restart_button),
                (self.elsewhere_button,),
            ),
            self.form,
            spacing=4,
        )
        layout.setContentsMargins(8, 8, 8, 8)

    @property
    def output(self) -> Path:
        """OME-Zarr to write labels to."""
        return self._output

    @output.setter
    def output(self, path: Path) -> None:
        self._output = (
            path if path.suffix else path.with_name(path.name + SUFFIX)
        )
        self.look()

    def offer(self, image: Image) -> None:
        """Suggest a folder for an image, unless one was chosen for it."""
        if image is not self._image:
            self._image = image
            self.chosen = False
            self.output = suggested_output(image)
        else:
            self.look()

    def suggest_another(self) -> None:
        """Suggest an unused folder, unless the user chose one."""
        if not self.chosen:
            self.output = numbered(self._output, is_used_output)

    def look(self) -> None:
        """Show the folder and the state of its run."""
        # allow a line break after each folder
        path = str(self._output).replace(os.sep, f'{os.sep}\u200b')
        self.path_label.setText(f'Labels: {path}')
        text, unfinished = state_of(self._output)
        self.state_label.setText(text)
        for button in self._ways_on:
            button.setVisible(unfinished)

    def show_running(self, running: bool) -> None:
        """Disable what must not change while a run writes to the folder."""
        for button in (*self._ways_on, self.browse_button):
            button.setEnabled(not running)

    def _browse(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            'Labels of a large image',
            str(self._output),
            f'OME-Zarr (*{SUFFIX})',
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if path:
            self.chosen = True
            self.output = Path(path)
            self._check_output()

    def _check_output(self) -> None:
        """Report a folder that is not writable, before a run is planned."""
        if is_finished_output(self._output):
            return
        try:
            check_place(self._output)
        except OSError as error:
            self.state_label.setText(explain(error))


def suggested_output(image: Image) -> Path:
    """Return a path next to the image file, or in the home folder.

    The path has no finished labels, but may have an unfinished run.
    """
    folder = Path.home() / 'napari-mobilesam'
    if image.source.path:
        path = Path(image.source.path)
        # next to an OME-Zarr, not inside it
        outer = [p for p in (*path.parents, path) if p.suffix == '.zarr']
        beside = (outer[0] if outer else path).parent
        if os.access(beside, os.W_OK):
            folder = beside
    name = ' '.join(re.sub(r'[^\w.-]+', ' ', image.name).split()) or 'image'
    path = folder / f'{name} objects{SUFFIX}'
    return numbered(path, is_finished_output)


def numbered(path: Path, taken: Callable[[Path], bool]) -> Path:
    """Return a path with the first number that is not taken.

    Parameters
    ----------
    path : Path
        Path that ends with `SUFFIX`.
    taken : callable
        Returns whether a path is taken.
    """
    stem = re.sub(r' \d+$', '', path.name.removesuffix(SUFFIX))
    number = 1
    while taken(path):
        number += 1
        path = path.with_name(f'{stem} {number}{SUFFIX}')
    return path


def is_finished_output(path: Path) -> bool:
    """Return whether a path holds the labels of a complete run."""
    # a deletion of objects only has a lock there
    return path.exists() and not (records_folder(path) / MANIFEST).exists()


def is_used_output(path: Path) -> bool:
    """Return whether a path has labels or an unfinished run."""
    return path.exists() or records_folder(path).exists()


def state_of(path: Path) -> tuple[str, bool]:
    """Return a message about the run at a path, and if it is unfinished."""
    if is_finished_output(path):
        return 'These labels are finished: Run shows them.', False
    try:
        state = run_state(path)
    except JournalError as error:
        return str(error), False
    if state is None:
        return 'Segmented in tiles, which are kept here if you stop.', False
    text = (
        f'Unfinished: {state.done:,} of {state.total:,} tiles are done, empty '
        'tiles not counted.'
    )
    return text, True


class LargeView:
    """Layers of a run: objects found so far, and final labels.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._image: LargeImage | None = None
        self._live: Labels | None = None
        self.layer: Labels | None = None
        # location of the labels of `layer`, and of those of the current run
        self._output: Path | None = None
        self._begun: Path | None = None
        self._hidden = False
        self._refresh_later = DelayedCall(self._refresh, REFRESH_MS)

    @property
    def image(self) -> Image | None:
        """Image of the run, if any."""
        return None if self._image is None else self._image.plane.layer

    def begin(self, image: LargeImage, output: Path) -> None:
        """Prepare for a run; the labels of an earlier one stay."""
        self.close()
        self._image, self._begun = image, output

    def show_live(self, levels: list[Any]) -> None:
        """Add a layer with the objects found so far."""
        self._live = self._add(levels, LIVE_NAME)
        self._live.opacity = 0.5
        layer = self.layer
        if self._begun == self._output and layer is not None:
            # not drawn while the file is being rewritten
            self._hidden = layer.visible
            layer.visible = False

    def changed(self) -> None:
        """Schedule a redraw of the objects found so far."""
        self._refresh_later.start()

    def finish(self, answer: LargeAnswer) -> str:
        """Show the labels of a run; return a message."""
        from napari_mobilesam.large.io.object_columns import first_rows
        from napari_mobilesam.large.io.ome_zarr import open_labels

        table = answer.result.table
        path = answer.request.output
        if len(table):
            self.layer = self._add_labels(open_labels(path), path)
            self.describe(path, first_rows(table))
        self.close()
        return summary(answer)

    def show_finished(self, image: LargeImage, path: Path) -> str:
        """Show labels of an earlier run; return a message."""
        from napari_mobilesam.large.io.ome_zarr import open_labels

        shown = self.layer if path == self._output else None
        if shown is not None and shown in self._viewer.layers:
            # with scores, and later measurements
            return f'Already finished: the labels are in “{shown.name}”.'
        self.begin(image, path)
        levels = open_labels(path)
        shape = (*image.planes_shape, *image.source.shape)
        if levels[0].shape != shape:
            self._image = None
            return (
                f'{path.name} has labels of shape {levels[0].shape}, not '
                f'{shape}: they belong to another image. Choose another '
                'folder.'
            )
        self.layer = self._add_labels(levels, path)
        self.close()
        return f'Already finished: the labels are in “{self.layer.name}”.'

    def describe(self, path: Path, table: pd.DataFrame) -> None:
        """Put the scores of objects into the features of their labels.

        Parameters
        ----------
        path : Path
            Location of the labels.
        table : DataFrame
            One row per object.
        """
        layer = self.layer
        if path != self._output or layer not in self._viewer.layers:
            return
        # measurements are newer
        if layer is not None and not len(layer.features):
            layer.features = table.rename(columns={'label': 'index'})
            # an interrupted deletion was undone before
            redraw_from_disk(layer)

    def close(self) -> None:
        """Remove the objects found so far from the viewer."""
        self._refresh_later.cancel()
        self._remove(self._live)
        self._live = self._image = None
        if self._hidden and self.layer is not None:
            self.layer.visible = True
        self._hidden = False

    def _add_labels(self, levels: list[Any], path: Path) -> Labels:
        """Add labels, replacing the previous ones."""
        if path == self._output:
            self._remove(self.layer)
        self._output, self._hidden = path, False
        return self._add(levels, _layer_name(path))

    def _remove(self, layer: Labels | None) -> None:
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _refresh(self) -> None:
        if self._live is not None and self._live in self._viewer.layers:
            refresh_pixels(self._live)

    def _add(self, levels: list[Any], name: str) -> Labels:
        assert self._image is not None
        transform = self._image.transform()
        if name == LIVE_NAME:
            transform['metadata'][PREVIEW_MARK] = True
        layer = Labels(
            levels if len(levels) > 1 else levels[0],
            multiscale=len(levels) > 1,
            name=name,
            **transform,
        )
        layer.editable = False
        insert_below_prompts(self._viewer, layer)
        return layer


def _layer_name(path: Path) -> str:
    return path.name.removesuffix('.zarr').removesuffix('.ome')


def summary(answer: LargeAnswer) -> str:
    """Return a message about the result of a run and the next steps."""
    result, path = answer.result, answer.request.output
    count = result.table['label'].nunique()
    found = counted(count, 'object')
    if result.failed:
        first = result.failed[0]
        return (
            f'{found}; {counted(len(result.failed), "tile")} failed '
            f'({first.error}). '
            'Continue tries them again.'
        )
    if not result.complete:
        return f'Stopped at {found}. Continue resumes from the finished tiles.'
    said = f'{found} in {duration(answer.seconds)}, in {path}.'
    if count:
        said += (
            ' Table lists them; sort it by score to see doubtful ones first.'
        )
    if result.cut:
        said += (
            f' {len(result.cut)} are too large for the tiles and have no '
            'label: set the diameter.'
        )
    return said
