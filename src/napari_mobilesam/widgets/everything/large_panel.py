"""Large images in “Segment everything”: output folder and layers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtWidgets import (
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
)

from napari_mobilesam.large.large_plan import LargeParameters
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.session.everything.large_runs import LargeAnswer
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.viewer.large_source import LargeImage
from napari_mobilesam.widgets.viewer.layers import (
    PREVIEW_MARK,
    insert_below_prompts,
    refresh_pixels,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

LIVE_NAME = 'found so far'
SUFFIX = '.ome.zarr'
# napari draws a pyramid anew at each refresh
REFRESH_MS = 700


class LargePanel(QGroupBox):
    """Choice of the folder for the labels and tiles of a large image.

    Shown only for images that are too large to be segmented in memory.
    """

    def __init__(self) -> None:
        super().__init__('Large image')
        self._image: Image | None = None
        self.folder_edit = QLineEdit()
        self.folder_edit.setToolTip(
            'Labels are written here as OME-Zarr. Until they are complete, '
            'finished tiles are kept beside it: Run goes on with them, even '
            'after napari was closed.'
        )
        self.browse_button = QToolButton()
        self.browse_button.setText('…')
        self.browse_button.setToolTip('Choose another folder.')
        self.state_label = QLabel()
        self.state_label.setWordWrap(True)
        self.form = ParameterForm(LargeParameters())
        row = QHBoxLayout()
        row.addWidget(QLabel('Labels'))
        row.addWidget(self.folder_edit, 1)
        row.addWidget(self.browse_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.state_label)
        layout.addWidget(self.form)
        self.folder_edit.editingFinished.connect(self.look)
        self.browse_button.clicked.connect(self._browse)

    @property
    def output(self) -> Path:
        """OME-Zarr that labels are written to."""
        path = Path(self.folder_edit.text()).expanduser()
        return path if path.suffix else path.with_name(path.name + SUFFIX)

    def offer(self, image: Image) -> None:
        """Suggest a folder for an image, unless one was chosen for it."""
        if image is not self._image:
            self._image = image
            self.folder_edit.setText(str(suggested_output(image)))
        self.look()

    def look(self) -> None:
        """Show the state of the folder."""
        self.state_label.setText(state_of(self.output))

    def _browse(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            'Labels of a large image',
            str(self.output),
            f'OME-Zarr (*{SUFFIX})',
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if path:
            self.folder_edit.setText(path)
            self.look()


def suggested_output(image: Image) -> Path:
    """Return a free path beside the image's file, or in the home folder."""
    folder = Path.home() / 'napari-mobilesam'
    if image.source.path:
        path = Path(image.source.path)
        # beside an OME-Zarr, not in it
        outer = [p for p in (*path.parents, path) if p.suffix == '.zarr']
        beside = (outer[0] if outer else path).parent
        if os.access(beside, os.W_OK):
            folder = beside
    name = ' '.join(re.sub(r'[^\w.-]+', ' ', image.name).split()) or 'image'
    path = folder / f'{name} objects{SUFFIX}'
    number = 1
    while is_finished_output(path):
        number += 1
        path = folder / f'{name} objects {number}{SUFFIX}'
    return path


def is_finished_output(path: Path) -> bool:
    """Return whether a path holds the labels of a complete run."""
    return path.exists() and not records_folder(path).exists()


def state_of(path: Path) -> str:
    """Return a message on the run at a path."""
    if is_finished_output(path):
        return 'There are finished labels here: Run shows them.'
    records = records_folder(path)
    if records.exists():
        done = sum(1 for _ in records.rglob('*.record'))
        return f'Unfinished: Run goes on with the {done:,} tiles done.'
    return 'Worked through in tiles, which are kept here if you stop.'


class LargeView:
    """Layers of a run: objects found so far, and the labels at the end.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._image: LargeImage | None = None
        self._live: Labels | None = None
        self.layer: Labels | None = None
        self._output: Path | None = None
        self._refresh_later = DelayedCall(self._refresh, REFRESH_MS)

    @property
    def image(self) -> Image | None:
        """Image of the run, if any."""
        return None if self._image is None else self._image.plane.layer

    def begin(self, image: LargeImage, output: Path) -> None:
        """Prepare for a run; remove the layer of an earlier one there."""
        self.close()
        if output == self._output:
            self._remove(self.layer)
            self.layer = None
        self._image, self._output = image, output

    def show_live(self, levels: list[Any]) -> None:
        """Add a layer of the objects found so far."""
        self._live = self._add(levels, LIVE_NAME)
        self._live.opacity = 0.5

    def changed(self) -> None:
        """Schedule a redraw of the objects found so far."""
        self._refresh_later.start()

    def finish(self, answer: LargeAnswer) -> str:
        """Show the labels of a run; return a message."""
        from napari_mobilesam.large.io.ome_zarr import open_labels

        table = answer.result.table
        path = answer.request.output
        if len(table):
            rows = table.drop_duplicates('label').rename(
                columns={'label': 'index'}
            )
            self.layer = self._add(open_labels(path), _layer_name(path))
            self.layer.features = rows.reset_index(drop=True)
        self.close()
        return summary(answer)

    def show_finished(self, image: LargeImage, path: Path) -> str:
        """Show labels of an earlier run; return a message."""
        from napari_mobilesam.large.io.ome_zarr import open_labels

        self.begin(image, path)
        levels = open_labels(path)
        shape = (*image.planes_shape, *image.source.shape)
        if levels[0].shape != shape:
            self._image = None
            return (
                f'{path.name} has labels of shape {levels[0].shape}, not '
                f'{shape}: they are of another image. Choose another folder.'
            )
        self.layer = self._add(levels, _layer_name(path))
        self.close()
        return f'Finished before: its labels are in “{self.layer.name}”.'

    def close(self) -> None:
        """Remove the objects found so far from the viewer."""
        self._refresh_later.cancel()
        self._remove(self._live)
        self._live = self._image = None

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
    """Return a message on the result of a run and what is left to do."""
    from napari_mobilesam.segmentation.estimate import duration

    result, path = answer.result, answer.request.output
    count = result.table['label'].nunique()
    found = counted(count, 'object')
    if result.failed:
        first = result.failed[0]
        return (
            f'{found}; {len(result.failed)} tiles failed ({first.error}). '
            'Run tries them again.'
        )
    if not result.complete:
        return f'Stopped at {found}. Finished tiles are kept: Run goes on.'
    said = f'{found} in {duration(answer.seconds)}, in {path}.'
    if result.cut:
        said += (
            f' {len(result.cut)} are too large for the tiles and have no '
            'label: set the diameter.'
        )
    return said
