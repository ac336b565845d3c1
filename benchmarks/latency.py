"""Time from a click to the painted preview, in a real window.

Run where there is a display, or with a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/latency.py

napari's own cost of adding a point is measured in the same window without the
widget, and subtracted. napari adds a point when the button comes up:
``--hold 80`` keeps it down for 80 ms before, as fingers do, and counts from
then on. The longest block is the longest time that a function of this package
keeps the Qt thread, whatever napari does in it included.

The event loop sleeps between events, as that of an application does. One that
asks for events without a pause keeps the interpreter's lock from the thread
that the model runs on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL, STEP = 24, 60
# napari's canvas shows about so many pixels of the largest image
FIELD = 700
FIRST_CLICKS = 3


def cells(side: int, folder: Path) -> NDArray[np.uint8]:
    """Return a (side, side) uint8 image of disks, in memory or on disk."""
    rows, columns = np.mgrid[:STEP, :STEP] - STEP / 2
    tile = np.where(np.hypot(rows, columns) < CELL / 2, 190, 20)
    noise = np.random.default_rng(0).integers(-15, 15, (STEP, STEP))
    tile = (tile + noise).astype(np.uint8)
    count = -(-side // STEP)
    strip = np.tile(tile, (1, count))[:, :side]
    if side <= 8192:
        return np.tile(strip, (count, 1))[:side]
    image = np.memmap(folder / 'cells', np.uint8, 'w+', shape=(side, side))
    for start in range(0, side, STEP):
        image[start : start + STEP] = strip[: side - start]
    return image


class Blocks:
    """Time that functions block the Qt thread, without nested calls."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, str]] = []
        self._depth = 0

    def watch(self, owner: Any, name: str) -> None:
        """Time all calls of a method from now on."""
        method = getattr(owner, name)

        @wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    spent = time.perf_counter() - start
                    self.seconds.append((spent, name))

        setattr(owner, name, timed)


class Desk:
    """Viewer with an image, and a mouse that clicks its cells."""

    def __init__(self, image: NDArray[np.uint8], hold: float = 0.0) -> None:
        import napari
        from qtpy.QtCore import QTimer

        self.hold = hold
        self.viewer = napari.Viewer()
        # wakes the event loop, which is waited for
        self.ticker = QTimer()
        self.ticker.start(1)
        self.viewer.window.resize(1400, 900)
        self.image = self.viewer.add_image(image, contrast_limits=(0, 255))
        self.painted: list[float] = []
        self.canvas = self.viewer.window._qt_viewer.canvas
        self.canvas._scene_canvas.events.draw.connect(
            lambda event: self.painted.append(time.perf_counter()),
            position='last',
        )
        self.events(1.0)

    def look(self) -> None:
        """Show a field in the middle of the image."""
        side = self.image.data.shape[0]
        self.viewer.camera.center = (side / 2, side / 2)
        self.viewer.camera.zoom = 700 / min(side, FIELD)
        self.events(0.5)

    def places(self, count: int) -> Iterator[tuple[float, float]]:
        """Centres of cells in the field, each one once."""
        side = self.image.data.shape[0]
        reach = min(side, FIELD) // (2 * STEP) - 2
        middle = side // 2 // STEP
        offsets = np.arange(-reach, reach + 1)
        grid = np.stack(np.meshgrid(offsets, offsets), -1).reshape(-1, 2)
        order = np.random.default_rng(1).permutation(len(grid))[:count]
        for row, column in (grid[order] + middle + 0.5) * STEP:
            yield float(row), float(column)

    def events(self, seconds: float) -> None:
        """Process Qt events for a while."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.next_events()

    def next_events(self) -> None:
        """Wait for events and process them."""
        from qtpy.QtCore import QEventLoop
        from qtpy.QtWidgets import QApplication

        QApplication.processEvents(
            QEventLoop.ProcessEventsFlag.WaitForMoreEvents
        )

    def click(
        self, place: tuple[float, float], done: Callable[[], float | None]
    ) -> float:
        """Click, and return the seconds until the first paint after that.

        They are counted from when the button comes up.
        """
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        view = self.canvas.view
        x, y = (view.transform * view.scene.transform).map(place[::-1])[:2]
        at = QPoint(round(x), round(y))
        button = Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        start = time.perf_counter()
        QTest.mousePress(self.canvas.native, button, none, at)
        if self.hold:
            self.events(self.hold)
            start = time.perf_counter()
        QTest.mouseRelease(self.canvas.native, button, none, at)
        while time.perf_counter() < start + 60:
            self.next_events()
            since = done()
            if since is not None and self.painted[-1] > since:
                return self.painted[-1] - start
        raise RuntimeError(f'nothing was painted after a click at {place}')


def clicks_of_napari(desk: Desk, count: int) -> list[float]:
    """Seconds until a point is painted, with napari alone."""
    points = desk.viewer.add_points(ndim=2, size=8)
    points.mode = 'add'
    added: list[float] = []
    points.events.data.connect(lambda event: added.append(time.perf_counter()))
    desk.look()
    seconds = []
    for place in desk.places(count):
        added.clear()
        seconds.append(desk.click(place, lambda: added[-1] if added else None))
        desk.events(0.05)
    points.visible = False
    return seconds[FIRST_CLICKS:]


def clicks_of_widget(desk: Desk, count: int, blocks: Blocks) -> list[float]:
    """Seconds until the mask of a click is painted."""
    from napari_mobilesam import get_session
    from napari_mobilesam.widgets import open_form
    from napari_mobilesam.widgets.prompts.open_object import OpenObject
    from napari_mobilesam.widgets.prompts.prompt_runs import PromptRuns
    from napari_mobilesam.widgets.prompts.prompt_tools import PromptTools
    from napari_mobilesam.widgets.viewer.main_thread import MainThread

    blocks.watch(MainThread, '_run')
    for part, name in (
        (OpenObject, 'update'),
        (OpenObject, 'reject'),
        (PromptRuns, 'accept'),
        (PromptTools, '_press'),
        (PromptTools, '_edited'),
    ):
        blocks.watch(part, name)
    session = get_session(desk.viewer)
    widget: Any = open_form(desk.viewer, 'prompts')
    shown: list[float] = []
    desk.look()

    def settle() -> None:
        desk.events(0.05)
        while widget.pending or not session.wait(0.01):
            desk.events(0.05)

    settle()
    show = widget.preview.show

    def note(*args: Any) -> None:
        show(*args)
        shown.append(time.perf_counter())

    widget.preview.show = note
    # where nothing is embedded yet, a click takes as long as the encoder
    places = list(desk.places(count))
    for place in places:
        session.click(*place)
        session.reject()
    settle()
    seconds = []
    for number, place in enumerate(places):
        if number == FIRST_CLICKS:
            blocks.seconds.clear()
        shown.clear()
        seconds.append(desk.click(place, lambda: shown[0] if shown else None))
        settle()
        widget.trigger('accept' if number % 2 else 'reject')
        settle()
    return seconds[FIRST_CLICKS:]


def measure(side: int, count: int, hold: float = 0.0) -> dict[str, Any]:
    """Measure one size of image."""
    blocks = Blocks()
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(cells(side, Path(folder)), hold)
        own = np.array(clicks_of_napari(desk, count)) * 1e3
        ours = np.array(clicks_of_widget(desk, count, blocks)) * 1e3
        desk.viewer.close()
    above = ours - np.median(own)
    longest, name = max(blocks.seconds)
    return {
        'side': side,
        'clicks': len(ours),
        'hold_ms': round(hold * 1e3),
        'napari_median_ms': round(float(np.median(own)), 1),
        'above_median_ms': round(float(np.median(above)), 1),
        'above_p95_ms': round(float(np.percentile(above, 95)), 1),
        'longest_block_ms': round(longest * 1e3, 1),
        'longest_block_in': name,
    }


@contextmanager
def own_files() -> Iterator[None]:
    """Keep the benchmark out of the user's settings."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ['NAPARI_MOBILESAM_CONFIG'] = folder
        yield


def main() -> None:
    """Measure, and print one line of JSON per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sides', nargs='*', type=int)
    parser.add_argument('--clicks', type=int, default=30)
    parser.add_argument(
        '--hold',
        type=float,
        default=0.0,
        metavar='MS',
        help='how long the button is down (default: not at all)',
    )
    arguments = parser.parse_args()
    with own_files():
        for side in arguments.sides or (1024, 4096, 20000):
            found = measure(side, arguments.clicks, arguments.hold / 1e3)
            print(json.dumps(found), flush=True)
    # Qt may crash when a process ends that has had several viewers
    sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
