"""Demonstration: napari, an image, a click, a labelled cell.

This opens napari if there is a display. Without one, or on request, a tour
sends mouse events like a user, and saves screenshots and label images.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.widgets.display import has_display, virtual_display

PLUGIN = 'napari-mobilesam'
SAMPLE = 'nuclei'
# Time for embedding and decoding on a slow CPU, including the first use of
# OpenGL.
PATIENCE_SECONDS = 300


def run_demo(
    output: Path, model: str | None = None, tour: bool = False
) -> int:
    """Open napari on a microscopy image with *Segment by prompts* docked.

    Parameters
    ----------
    output : Path
        Folder for the results of the tour; created if missing.
    model : str, optional
        Name or file of a model.
    tour : bool
        Take the tour even if there is a display.

    Returns
    -------
    int
        0, or the exit code of a tour on a virtual display, which prints its
        own error; other failures are raised.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    RuntimeError
        If a step of the tour fails, or there is neither a display nor Xvfb.
    """
    if has_display() and not tour:
        import napari

        open_viewer(model)
        say(
            'click a cell in the window, and right-click what does not '
            'belong to it; W accepts the mask'
        )
        napari.run()
        return 0
    output.mkdir(parents=True, exist_ok=True)
    if has_display():
        take_tour(output, model)
        return 0
    with virtual_display() as display:
        say(f'no display here: taking the tour on a virtual one ({display})')
        return tour_in_a_process(output, model)


def tour_in_a_process(output: Path, model: str | None) -> int:
    """Take the tour in a separate process, and return its exit code.

    Qt keeps its display until the process ends, and aborts if the display is
    closed earlier.
    """
    command = [sys.executable, '-m', 'napari_mobilesam', 'demo', '--tour']
    command += ['--output', str(output)]
    if model is not None:
        command += ['--model', model]
    return subprocess.run(command, check=False).returncode


def open_viewer(model: str | None = None) -> tuple[Any, Any]:
    """Open napari with the sample image and the prompt widget.

    Returns
    -------
    viewer : napari.Viewer
    widget : PromptWidget
    """
    import napari

    from napari_mobilesam.widgets import get_session, open_form

    viewer = napari.Viewer(title='napari-mobilesam')
    if model is not None:
        get_session(viewer).use_model(model)
    viewer.open_sample(PLUGIN, SAMPLE)
    return viewer, open_form(viewer, 'prompts')


def take_tour(output: Path, model: str | None = None) -> None:
    """Click a cell, accept it, segment everything; save the results."""
    import napari

    try:
        viewer, widget = open_viewer(model)
        Tour(viewer, widget, output).run()
    finally:
        napari.Viewer.close_all()


class Tour:
    """Drive a viewer with mouse events.

    Parameters
    ----------
    viewer : napari.Viewer
        Viewer with one image layer.
    widget : PromptWidget
        Widget docked in the viewer.
    output : Path
        Existing folder for screenshots and labels.
    """

    def __init__(self, viewer: Any, widget: Any, output: Path) -> None:
        self.viewer = viewer
        self.widget = widget
        self.session = widget.session
        self.output = output
        self.image = viewer.layers[0]
        self._failures: list[str] = []
        self.session.failed.connect(self._fail)

    def run(self) -> None:
        """Take all steps."""
        self.viewer.window.resize(1500, 950)
        self.settle()
        position = a_cell(np.asarray(self.image.data))
        self.click_cell(position)
        self.accept(position)
        self.segment_everything()
        say(f'done, see {self.output}/')

    def click_cell(self, position: tuple[float, float]) -> None:
        """Click the canvas at data coordinates and wait for the mask."""
        say(
            f'clicking the cell at row {position[0]:g}, column {position[1]:g}'
        )
        prompts = self.widget.panel.points_combo
        self.wait(lambda: prompts.layer, 'the layer of prompts')
        answers: list[Any] = []
        self.session.preview.connect(answers.append)
        started = time.monotonic()
        self.press(self.canvas.native, self.on_canvas(position))
        self.wait(lambda: bool(answers), 'the mask of the clicked cell')
        self.settle()
        say(f'mask shown after {time.monotonic() - started:.1f} s')
        self.picture('clicked.png')

    def accept(self, position: tuple[float, float]) -> None:
        """Press *Accept* and look for the label at the clicked pixel."""
        self.press(self.widget.panel.buttons['accept'])
        self.wait(lambda: self.widget.panel.labels_combo.layer, 'the label')
        labels = self.widget.panel.labels_combo.layer
        pixel = tuple(round(value) for value in position)
        found = int(labels.data[pixel])
        if not found:
            raise RuntimeError(f'no label was written at the pixel {pixel}')
        area = np.count_nonzero(labels.data == found)
        say(f'label {found} written, {area} pixels')
        self.save('clicked.tif', labels.data)

    def segment_everything(self) -> None:
        """Open *Segment everything*, press *Run*, wait for the labels."""
        from napari_mobilesam.widgets import open_form

        everything: Any = open_form(self.viewer, 'everything')
        results: list[Any] = []
        self.session.everything.connect(results.append)
        self.settle()
        say('segmenting everything')
        self.press(everything.panel.run_button)
        self.wait(lambda: bool(results), 'the labels of everything')
        result = results[0]
        if not len(result.table):
            raise RuntimeError('segment everything found no object')
        say(f'{len(result.table)} objects in {result.seconds:.1f} s')
        self.save('everything.tif', np.asarray(result.labels))
        self.settle()
        self.picture('everything.png')

    @property
    def canvas(self) -> Any:
        """Canvas of napari, which has no public accessor."""
        return self.viewer.window._qt_viewer.canvas

    def on_canvas(self, position: tuple[float, float]) -> tuple[int, int]:
        """(x, y) on the canvas of (row, column) in the image's data."""
        row, column = self.image.data_to_world(position)[-2:]
        view = self.canvas.view
        x, y = (view.transform * view.scene.transform).map([column, row])[:2]
        return round(x), round(y)

    def press(self, target: Any, at: tuple[int, int] | None = None) -> None:
        """Press and release the left button on a Qt widget."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        # The stubs of QTest miss that its methods are static.
        mouse: Any = QTest
        point = QPoint(*at) if at else target.rect().center()
        mouse.mouseMove(target, point)
        mouse.mouseClick(
            target,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
            point,
        )

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Process events until ``condition`` holds."""
        from qtpy.QtWidgets import QApplication

        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            QApplication.processEvents()
            if self._failures:
                raise RuntimeError(self._failures[0])
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f'{what} did not appear within {PATIENCE_SECONDS} s'
                )
            time.sleep(0.01)

    def settle(self, seconds: float = 1.0) -> None:
        """Process events for some seconds."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, 'the clock')

    def picture(self, name: str) -> None:
        """Save a screenshot of the whole window."""
        path = str(self.output / name)
        self.viewer.screenshot(path, canvas_only=False, flash=False)

    def save(self, name: str, labels: NDArray[Any]) -> None:
        """Save a label image."""
        import tifffile

        tifffile.imwrite(self.output / name, labels, compression='zlib')

    def _fail(self, message: str, topic: str) -> None:
        self._failures.append(message)


def a_cell(image: NDArray[Any]) -> tuple[float, float]:
    """Return (row, column) inside a typical bright object near the centre.

    It is found with Otsu's threshold and a distance transform.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label, regionprops

    gray = image.mean(axis=-1) if image.ndim == 3 else image
    smooth = gaussian(gray.astype(float), 1)
    bright = smooth > threshold_otsu(smooth)
    depth = distance_transform_edt(bright)
    regions = regionprops(label(bright), intensity_image=depth)
    if not regions:
        raise RuntimeError('there is no bright object to click')
    typical = np.median([region.area for region in regions])
    centre = np.array(gray.shape) / 2

    def distance(region: Any) -> float:
        unusual = not 0.5 * typical <= region.area <= 2 * typical
        far = np.linalg.norm(np.array(region.centroid) - centre)
        return float(far) + unusual * max(gray.shape)

    cell = min(regions, key=distance)
    inside = np.where(label(bright) == cell.label, depth, 0)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    return float(row), float(column)


def say(message: str) -> None:
    """Print progress to stderr."""
    print(f'demo: {message}', file=sys.stderr, flush=True)
