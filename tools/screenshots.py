"""Take the screenshots of the docs, and of all tabs and docks.

Run with a display, or with a virtual one::

    xvfb-run -a -s "-screen 0 1900x1040x24" python tools/screenshots.py docs
    xvfb-run -a -s "-screen 0 1900x1040x24" python tools/screenshots.py \\
        tabs --folder pictures

``docs`` writes the screenshots in docs/images, ``tutorials`` those in
docs/tutorials, and ``tabs`` one for each tab, dock, theme and window size, for
inspection. ``--only NAME`` takes a single screenshot.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((1366, 768), (1900, 1040))
THEMES = ('dark', 'light')
TABS = ('segment_by_prompts', 'segment_everything', 'fine_tune')
DOCKS = ('refine_labels', 'series', 'table', 'track')
# centre of a nucleus of the sample, (row, column)
NUCLEUS = (157, 318)
# three nuclei that serve as examples
EXAMPLES = (NUCLEUS, (202, 112), (92, 631))
# background beside the nucleus
BESIDE = (157, 375)
# a nucleus of the stack, and sizes that fit the samples of the tutorials
NUCLEUS_3D = (12, 208, 143)
DIAMETER_OF_SERIES = 26
SLIDE, PIECES = (2048, 2560), ((250, 300), (1300, 1500))
DIAMETER_OF_SLIDE = 60
FOUND = 24
IMAGES_OF_SERIES = 6


class Studio:
    """A viewer whose docks are opened from the menu."""

    def __init__(self, size: tuple[int, int], theme: str = 'dark') -> None:
        import napari

        from napari_mobilesam import get_session

        self.viewer = napari.Viewer()
        self.viewer.theme = theme
        self.window = self.viewer.window._qt_window
        self.window.setGeometry(0, 0, *size)
        self.session = get_session(self.viewer)

    def open(self, entry: str) -> Any:
        """Open a dock by a menu entry and return its widget."""
        from napari._app_model import get_app_model

        commands = get_app_model().commands
        commands.execute_command(f'napari-mobilesam.{entry}').result()
        self.settle()
        return list(self.viewer.window.dock_widgets.values())[-1]

    def settle(self, seconds: float = 0.5) -> None:
        """Process events until no work is left, and a little longer."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            busy = not self.session.wait(0.01) or any(
                getattr(widget, 'pending', False)
                for widget in self.viewer.window.dock_widgets.values()
            )
            if busy:
                end = max(end, time.monotonic() + 0.3)

    def wait_for(
        self, there: Callable[[], bool], seconds: float = 300
    ) -> None:
        """Process events until a condition holds."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while not there() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def click(
        self, layer: Any, position: tuple[float, ...], right: bool = False
    ) -> None:
        """Click data coordinates of a layer with the mouse."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        canvas = self.viewer.window._qt_viewer.canvas
        row, column = layer.data_to_world(position)[-2:]
        view = canvas.view
        x, y = (view.transform * view.scene.transform).map([column, row])[:2]
        QTest.mouseClick(
            canvas.native,
            Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton,
            pos=QPoint(round(x), round(y)),
        )
        self.settle()

    def save(self, path: Path) -> None:
        """Save a screenshot of the window once no work is left."""
        self.settle()
        self.save_now(path)

    def save_now(self, path: Path) -> None:
        """Save a screenshot of the window at once, in 256 colours."""
        from PIL import Image
        from qtpy.QtCore import QBuffer

        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = QBuffer()
        buffer.open(QBuffer.OpenModeFlag.ReadWrite)
        self.window.grab().save(buffer, 'PNG')
        whole = Image.open(io.BytesIO(buffer.data().data())).convert('RGB')
        few = whole.quantize(
            method=Image.Quantize.MAXCOVERAGE,
            kmeans=4,
            dither=Image.Dither.NONE,
        )
        few.save(path, optimize=True)
        print(path, flush=True)

    def close(self) -> None:
        """Close the viewer."""
        self.viewer.close()


def thresholded(image: NDArray[np.uint8], steps: int) -> NDArray[np.uint16]:
    """Label the regions above Otsu's threshold, eroded."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    bright = image > threshold_otsu(image)
    eroded = ndimage.binary_erosion(bright, iterations=steps)
    labels, _ = ndimage.label(eroded)
    return np.asarray(labels, np.uint16)


def picture_of_prompts(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a clicked nucleus before it is accepted."""
    studio = Studio(SIZES[0])
    layer = studio.viewer.add_image(image, name='nuclei')
    studio.open('segment_by_prompts')
    studio.viewer.reset_view()
    studio.click(layer, NUCLEUS)
    studio.save(folder / 'segment-by-prompts.png')
    studio.close()


def picture_of_everything(image: NDArray[np.uint8], folder: Path) -> None:
    """Show all nuclei labelled, and the review."""
    studio = Studio(SIZES[0])
    studio.viewer.add_image(image, name='nuclei')
    dock = studio.open('segment_everything')
    studio.viewer.reset_view()
    dock.show_form('everything').panel.run_button.click()
    studio.settle(1.0)
    studio.save(folder / 'segment-everything.png')
    studio.close()


def picture_of_series(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a series with all images segmented."""
    import tifffile

    studio = Studio(SIZES[0])
    with tempfile.TemporaryDirectory() as outer:
        images = Path(outer, 'plate1')
        images.mkdir()
        for number in range(IMAGES_OF_SERIES):
            part = np.roll(image[:260, :350], 40 * number, 1)
            path = images / f'plate1_well{number:02}.tif'
            tifffile.imwrite(path, part)
        series = studio.open('series')
        series.open([str(images)])
        studio.settle()
        series.panel.form.controls['points_per_side'].value = 16
        series.run.start()
        studio.settle(2.0)
        studio.save(folder / 'series.png')
        studio.close()


def picture_of_table(image: NDArray[np.uint8], folder: Path) -> None:
    """Show measurements of a threshold, and objects of a range of areas."""
    studio = Studio(SIZES[0])
    placed = {'scale': (0.65, 0.65), 'units': 'um'}
    studio.viewer.add_image(image, name='nuclei', **placed)
    labels = studio.viewer.add_labels(
        thresholded(image, 1), name='threshold', **placed
    )
    labels.opacity = 0.4
    table = studio.open('table')
    studio.viewer.reset_view()
    table.measure()
    studio.settle()
    table.select('area', 1500, 2100)
    studio.save(folder / 'table.png')
    studio.close()


def picture_of_refining(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a refined threshold."""
    studio = Studio(SIZES[0])
    part = image[:300, :400]
    studio.viewer.add_image(part, name='nuclei')
    labels = studio.viewer.add_labels(thresholded(part, 2), name='threshold')
    refine = studio.open('refine_labels')
    studio.viewer.reset_view()
    refine.run()
    studio.settle(1.0)
    labels.contour = 1
    studio.save(folder / 'refine-labels.png')
    studio.close()


def picture_of_similar(image: NDArray[np.uint8], folder: Path) -> None:
    """Show three nuclei as examples, and similar ones that were found."""
    from napari_mobilesam.widgets.parts.collapsible_section import (
        CollapsibleSection,
    )

    studio = Studio(SIZES[0])
    studio.viewer.add_image(image, name='nuclei')
    dock = studio.open('segment_everything')
    studio.viewer.reset_view()
    for place in EXAMPLES:
        studio.session.click(*place)
        studio.session.accept()
    studio.settle()
    panel = dock.show_form('everything').panel
    panel.similar.labels_combo.refresh()
    part = panel.similar.parent()
    while not isinstance(part, CollapsibleSection):
        part = part.parent()
    part.fold(False)
    studio.settle()
    panel.similar.button.click()
    studio.settle(1.0)
    studio.save(folder / 'find-similar.png')
    studio.close()


def tutorial_of_cells(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a clicked nucleus, and a negative point beside it."""
    studio = Studio(SIZES[0])
    layer = studio.viewer.add_image(image, name='nuclei')
    studio.open('segment_by_prompts')
    studio.viewer.reset_view()
    studio.click(layer, NUCLEUS)
    studio.click(layer, BESIDE, right=True)
    studio.save(folder / 'tutorial-first-cell.png')
    studio.close()


def tutorial_of_stacks(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a nucleus propagated through the planes of the stack."""
    from napari_mobilesam.sample_data import nuclei_stack

    studio = Studio(SIZES[0])
    (stack, options, _) = nuclei_stack()[0]
    layer = studio.viewer.add_image(stack, **options)
    studio.viewer.dims.set_current_step(0, NUCLEUS_3D[0])
    dock = studio.open('segment_by_prompts')
    studio.viewer.reset_view()
    studio.click(layer, NUCLEUS_3D)
    dock.show_form('prompts').panel.buttons['propagate_both'].click()
    studio.settle(1.0)
    studio.viewer.dims.set_current_step(0, NUCLEUS_3D[0] + 1)
    studio.save(folder / 'tutorial-stack.png')
    studio.close()


def tutorial_of_tracks(image: NDArray[np.uint8], folder: Path) -> None:
    """Show all nuclei of the sample series, segmented and tracked."""
    from napari_mobilesam.sample_data import nuclei_series

    studio = Studio(SIZES[0])
    (frames, options, _) = nuclei_series()[0]
    studio.viewer.add_image(frames, **options)
    panel = studio.open('segment_everything').show_form('everything').panel
    planes = panel.where.planes_combo
    planes.setCurrentText('all 16 along t, independently')
    panel.form.controls['diameter'].value = DIAMETER_OF_SERIES
    panel.run_button.click()
    studio.settle(2.0)
    track = studio.open('track')
    studio.viewer.reset_view()
    track.track()
    studio.settle(1.0)
    studio.viewer.dims.set_current_step(0, len(frames) - 1)
    studio.save(folder / 'track.png')
    studio.close()


def found(status: str) -> int:
    """Return the number of objects in the status of a run."""
    match = re.search(r'(\d+) objects', status)
    return int(match[1]) if match else 0


def tutorial_of_slides(image: NDArray[np.uint8], folder: Path) -> None:
    """Show a slide of which some tiles are done."""
    studio = Studio(SIZES[0])
    slide = np.full(SLIDE, 15, np.uint8)
    for row, column in PIECES:
        slide[row : row + 520, column : column + 696] = image
    studio.viewer.add_image([slide, slide[::2, ::2]], name='slide')
    panel = studio.open('segment_everything').show_form('everything').panel
    with tempfile.TemporaryDirectory() as own:
        panel.large.output = Path(own, 'slide objects.ome.zarr')
        panel.form.controls['diameter'].value = DIAMETER_OF_SLIDE
        studio.settle()
        studio.viewer.reset_view()
        panel.run_button.click()
        studio.wait_for(lambda: found(panel.status.text) >= FOUND)
        studio.wait_for(lambda: False, 2)
        studio.save_now(folder / 'tutorial-slide.png')
        panel.cancel_button.click()
        studio.settle()
        studio.close()


def tutorial_of_training(image: NDArray[np.uint8], folder: Path) -> None:
    """Show curves of a model trained on the bright cores of ten nuclei."""
    from skimage.measure import regionprops

    studio = Studio(SIZES[0])
    studio.viewer.add_image(image, name='nuclei')
    labels = thresholded(image, 5)
    # merged nuclei are not convex
    ten = [
        core.label
        for core in regionprops(labels)
        if core.area > 300 and core.solidity > 0.9
    ][:10]
    labels = np.where(np.isin(labels, ten), labels, 0)
    studio.viewer.add_labels(labels, name='objects')
    panel = studio.open('fine_tune').show_form('training').panel
    panel.budget_form.controls['minutes'].value = 2
    studio.viewer.reset_view()
    studio.settle()
    panel.run_button.click()
    studio.settle(2.0)
    studio.save(folder / 'tutorial-fine-tune.png')
    studio.close()


PICTURES = {
    'docs': (
        picture_of_prompts,
        picture_of_everything,
        picture_of_series,
        picture_of_table,
        picture_of_refining,
        picture_of_similar,
    ),
    'tutorials': (
        tutorial_of_cells,
        tutorial_of_stacks,
        tutorial_of_slides,
        tutorial_of_training,
        tutorial_of_tracks,
    ),
}


def take_pictures(what: str, folder: Path, only: str | None) -> None:
    """Take all screenshots of the docs or tutorials, or one of them."""
    from napari_mobilesam.sample_data import read_sample

    pictures = {p.__name__.partition('_of_')[2]: p for p in PICTURES[what]}
    if only is not None and only not in pictures:
        raise SystemExit(f'no picture {only}; there is {", ".join(pictures)}')
    image = read_sample('nuclei')
    for name, picture in pictures.items():
        if only in (None, name):
            picture(image, folder)


def pictures_of_tabs(folder: Path) -> None:
    """Show every tab and dock, in both themes and window sizes."""
    from napari_mobilesam.sample_data import read_sample

    image = read_sample('nuclei')
    for size in SIZES:
        for theme in THEMES:
            for entry in (*TABS, *DOCKS):
                studio = Studio(size, theme)
                layer = studio.viewer.add_image(image, name='nuclei')
                if entry in DOCKS:
                    studio.viewer.add_labels(thresholded(image, 1))
                studio.open(entry)
                studio.viewer.reset_view()
                if entry == TABS[0]:
                    studio.click(layer, NUCLEUS)
                studio.save(folder / f'{entry}-{theme}-{size[0]}.png')
                studio.close()


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=(*PICTURES, 'tabs'))
    parser.add_argument(
        '--only', metavar='NAME', help='one name, such as cells or tracks'
    )
    parser.add_argument(
        '--folder', type=Path, default=ROOT / 'docs' / 'images'
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        # keep out of the user's settings and sessions
        os.environ['NAPARI_MOBILESAM_CONFIG'] = own
        os.environ['NAPARI_MOBILESAM_SESSIONS'] = own
        os.environ['NAPARI_MOBILESAM_MODELS'] = own
        if arguments.what == 'tabs':
            pictures_of_tabs(arguments.folder)
        else:
            take_pictures(arguments.what, arguments.folder, arguments.only)
    # Qt may crash at the end of a process that has had several viewers
    os._exit(0)


if __name__ == '__main__':
    main()
