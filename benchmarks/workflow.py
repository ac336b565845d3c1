"""Measure CPU time of series, table, refinement and exports.

Run with a display, or with a virtual one::

    xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/workflow.py

The time is that of all threads (`time.process_time`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from scipy.ndimage import binary_erosion

import napari_mobilesam as nm
from napari_mobilesam.widgets import SeriesWidget, TableWidget

SIDE, RADIUS = 24, 8
SUFFIXES = ('zip', 'geojson', 'json', 'zarr', 'tif', 'png')
Pixels = NDArray[Any]


def disks(count: int) -> tuple[Pixels, Pixels]:
    """Return an image of disks on a grid, and their labels."""
    across = int(np.ceil(count**0.5))
    numbers = np.arange(1, across**2 + 1, dtype=np.int32)
    numbers[count:] = 0
    disk = np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE / 2)) < RADIUS
    labels = np.kron(numbers.reshape(across, across), disk)
    noise = np.random.default_rng(0).integers(-15, 15, labels.shape)
    return (np.where(labels > 0, 190, 20) + noise).astype(np.uint8), labels


def seconds(work: Callable[[], object], form: Any = None) -> float:
    """Return the CPU time of work until a form has finished and painted."""
    start = time.process_time()
    work()
    QApplication.processEvents()
    while form is not None and form.pending:
        QApplication.processEvents()
        time.sleep(0.002)
    QApplication.processEvents()
    return time.process_time() - start


def series_times(
    viewer: Any, folder: Path, count: int
) -> Iterator[tuple[str, float]]:
    """Open a series and go from image to image."""
    for number in range(count):
        tifffile.imwrite(folder / f'{number:05}.tif', disks(25)[0])
    form: Any = SeriesWidget(viewer)
    viewer.window.add_dock_widget(form)
    opening = partial(form.open, [folder])
    yield f'open a series of {count:,} images', seconds(opening, form)
    steps = [seconds(form.next, form) for _ in range(min(9, count - 1))]
    yield 'next image', statistics.median(steps)


def table_times(viewer: Any, count: int) -> Iterator[tuple[str, float]]:
    """Measure objects, show their table, and sort it."""
    image, labels = map(viewer.add_layer, _layers(*disks(count)))
    form: Any = TableWidget(viewer)
    viewer.window.add_dock_widget(form)
    form.labels_combo.layer, form.image_combo.layer = labels, image
    yield f'measure {count:,} objects', seconds(form.measure, form)
    table, order = labels.features, Qt.SortOrder.DescendingOrder
    show = partial(setattr, labels, 'features', table)
    shown = statistics.median([seconds(show) for _ in range(5)])
    yield f'show a table of {count:,} objects', shown
    sort = form.rows.sortByColumn
    times = [seconds(partial(sort, each, order)) for each in (1, 2, 3, 4)]
    yield 'sort it', statistics.median(times)


def _layers(image: Pixels, labels: Pixels) -> tuple[Any, Any]:
    return napari.layers.Image(image), napari.layers.Labels(labels)


def python_times(
    folder: Path, refined: int, count: int
) -> Iterator[tuple[str, float]]:
    """Refine disks that are two pixels too small, and export disks."""
    image, labels = disks(refined)
    rough = np.where(binary_erosion(labels > 0, iterations=2), labels, 0)
    refine = partial(nm.refine_labels, image, rough, nm.load_model())
    yield f'refine {refined:,} objects', seconds(refine)
    labels = disks(count)[1]
    for suffix in SUFFIXES:
        export = partial(nm.export_labels, labels, folder / f'cells.{suffix}')
        yield f'export {count:,} objects to .{suffix}', seconds(export)


def main(viewer: Any, images: int, objects: int, refined: int) -> None:
    """Print a Markdown table."""
    print('| what | CPU time |\n|---|---|')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'images').mkdir()
        for rows in (
            series_times(viewer, folder / 'images', images),
            table_times(viewer, objects),
            python_times(folder, refined, objects),
        ):
            for what, spent in rows:
                print(f'| {what} | {1000 * spent:,.0f} ms |', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=1000)
    parser.add_argument('--objects', type=int, default=10000)
    parser.add_argument('--refined', type=int, default=100)
    options = parser.parse_args()
    main(napari.Viewer(), **vars(options))
