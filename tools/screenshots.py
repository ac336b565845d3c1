"""Pictures of the docs, and of every tab and dock in both themes.

Run where there is a display, or with a virtual one::

    xvfb-run -a -s "-screen 0 1900x1040x24" python tools/screenshots.py docs
    xvfb-run -a -s "-screen 0 1900x1040x24" python tools/screenshots.py \\
        tabs --folder pictures

``docs`` writes the pictures in docs/images, ``tabs`` one for each tab, dock,
theme and size of window, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
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
        """Open a dock by an entry of the menu; return its widget."""
        from napari._app_model import get_app_model

        commands = get_app_model().commands
        commands.execute_command(f'napari-mobilesam.{entry}').result()
        self.settle()
        return list(self.viewer.window.dock_widgets.values())[-1]

    def settle(self, seconds: float = 0.5) -> None:
        """Process events until no work is left, and for a while."""
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

    def click(self, layer: Any, position: tuple[float, float]) -> None:
        """Click data coordinates of a layer with the mouse."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        canvas = self.viewer.window._qt_viewer.canvas
        row, column = layer.data_to_world(position)
        view = canvas.view
        x, y = (view.transform * view.scene.transform).map([column, row])[:2]
        QTest.mouseClick(
            canvas.native,
            Qt.MouseButton.LeftButton,
            pos=QPoint(round(x), round(y)),
        )
        self.settle()

    def save(self, path: Path) -> None:
        """Save a picture of the window."""
        self.settle()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.window.grab().save(str(path))
        print(path, flush=True)

    def close(self) -> None:
        """Close the viewer."""
        self.viewer.close()


def thresholded(image: NDArray[np.uint8], steps: int) -> NDArray[np.uint16]:
    """Label what is brighter than Otsu's threshold, opened or eroded."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    bright = image > threshold_otsu(image)
    eroded = ndimage.binary_erosion(bright, iterations=steps)
    labels, _ = ndimage.label(eroded)
    return np.asarray(labels, np.uint16)


def picture_of_prompts(image: NDArray[np.uint8], folder: Path) -> None:
    """A nucleus clicked, before it is accepted."""
    studio = Studio(SIZES[0])
    layer = studio.viewer.add_image(image, name='nuclei')
    studio.open('segment_by_prompts')
    studio.viewer.reset_view()
    studio.click(layer, NUCLEUS)
    studio.save(folder / 'segment-by-prompts.png')
    studio.close()


def picture_of_everything(image: NDArray[np.uint8], folder: Path) -> None:
    """All nuclei labelled, and the review."""
    studio = Studio(SIZES[0])
    studio.viewer.add_image(image, name='nuclei')
    dock = studio.open('segment_everything')
    studio.viewer.reset_view()
    dock.show_form('everything').panel.run_button.click()
    studio.settle(1.0)
    studio.save(folder / 'segment-everything.png')
    studio.close()


def picture_of_series(image: NDArray[np.uint8], folder: Path) -> None:
    """A series with all of its images segmented."""
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
        series.segment_all()
        studio.settle(2.0)
        studio.save(folder / 'series.png')
        studio.close()


def picture_of_table(image: NDArray[np.uint8], folder: Path) -> None:
    """A threshold measured, and the objects of one range of areas."""
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
    """A threshold refined."""
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


def picture_of_tracks(image: NDArray[np.uint8], folder: Path) -> None:
    """The sample series, thresholded and tracked."""
    from scipy import ndimage

    from napari_mobilesam.sample_data import nuclei_series

    studio = Studio(SIZES[0])
    (frames, options, _) = nuclei_series()[0]
    studio.viewer.add_image(frames, **options)
    smooth = ndimage.gaussian_filter(frames, (0, 1, 1))
    labels = np.stack([thresholded(frame, 1) for frame in smooth])
    studio.viewer.add_labels(labels, name='threshold')
    track = studio.open('track')
    studio.viewer.reset_view()
    track.track()
    studio.settle(1.0)
    studio.viewer.dims.set_current_step(0, len(frames) - 1)
    studio.save(folder / 'track.png')
    studio.close()


def pictures_of_docs(folder: Path) -> None:
    """All pictures that the docs show."""
    from napari_mobilesam.sample_data import read_sample

    image = read_sample('nuclei')
    for picture in (
        picture_of_prompts,
        picture_of_everything,
        picture_of_series,
        picture_of_table,
        picture_of_refining,
        picture_of_tracks,
    ):
        picture(image, folder)


def pictures_of_tabs(folder: Path) -> None:
    """Every tab and dock, in both themes and sizes of window."""
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
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=('docs', 'tabs'))
    parser.add_argument(
        '--folder', type=Path, default=ROOT / 'docs' / 'images'
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        # out of the user's settings and sessions
        os.environ['NAPARI_MOBILESAM_CONFIG'] = own
        os.environ['NAPARI_MOBILESAM_SESSIONS'] = own
        if arguments.what == 'docs':
            pictures_of_docs(arguments.folder)
        else:
            pictures_of_tabs(arguments.folder)
    # Qt may crash when a process ends that has had several viewers
    os._exit(0)


if __name__ == '__main__':
    main()
