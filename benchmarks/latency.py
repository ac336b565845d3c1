"""Measure the time from a click to the painted preview, in a real window.

Run with a display, or with a virtual one::

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/latency.py

The time that napari needs to add a point is measured in the same window
without the widget, and subtracted. napari adds a point when the button is
released: ``--hold 80`` keeps it pressed for 80 ms first, as users do, and
counts from the release. The longest block is the longest time that a function
of this package occupies the Qt thread, including napari code called by it.

The event loop sleeps between events, as in an application. Polling for events
without a pause would keep the GIL from the thread of the model.

napari builds visuals, controls and overlays when a layer is added, deletes
them when it is removed, and places docks; for the settings of a plugin, it
reads the manifests of all plugins. ``longest_ours_ms`` includes this work if
the plugin requests it, ``longest_own_ms`` does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL, STEP = 24, 60
SAMPLE_SECONDS = 0.002
PACKAGE_FOLDER = f'{os.sep}napari_mobilesam{os.sep}'
# napari modules that add and remove layers, place docks, and read the
# manifests of all plugins
NAPARI_WORK = (
    'layerlist.py',
    '_evented_list.py',
    'qt_main_window.py',
    '_plugin_config_generator.py',
)
# planes and side of the stack
STACK = (20, 512)
# approximate pixels of the largest image shown on the canvas
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


class Gaps:
    """Times in which the event loop is busy with one event.

    A timer ticks every millisecond; a gap is the time between two ticks. A
    sampler on another thread checks whether functions of this package are
    running on the GUI thread, including napari code called by them.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._ticks: list[float] = []
        self._samples: list[tuple[float, bool, bool]] = []
        self._seconds: dict[str, list[NDArray[np.float64]]] = {}
        self._ours: dict[str, NDArray[np.float64]] = {}
        self._main = threading.main_thread().ident
        self._timer = QTimer()
        self._timer.timeout.connect(
            lambda: self._ticks.append(time.perf_counter())
        )
        self._timer.start(1)
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)
            frame = sys._current_frames().get(self._main or 0)
            self._samples.append((time.perf_counter(), *_whose(frame)))

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Record the gaps inside the context."""
        self._ticks.clear()
        self._samples.clear()
        start = time.perf_counter()
        yield
        times = np.array([start, *self._ticks])
        gaps = np.diff(times)
        self._seconds.setdefault(name, []).append(gaps)
        samples = np.array(self._samples)
        longest = self._ours.get(name, np.zeros(2))
        for begin, gap in zip(times, gaps, strict=False):
            within = (samples[:, 0] > begin) & (samples[:, 0] < begin + gap)
            if gap > longest.min() and within.any():
                ours = gap * samples[within, 1:].mean(axis=0)
                longest = np.maximum(longest, ours)
        self._ours[name] = longest

    def table(self) -> list[dict[str, Any]]:
        """Return longest gap, 99th percentile and our part for each name."""
        return [
            {
                'what': name,
                'times': len(found),
                'longest_ms': round(float(max(map(np.max, found))) * 1e3),
                'p99_ms': round(
                    float(np.percentile(np.concatenate(found), 99)) * 1e3, 1
                ),
                'longest_ours_ms': round(float(self._ours[name][0]) * 1e3),
                'longest_own_ms': round(float(self._ours[name][1]) * 1e3),
            }
            for name, found in self._seconds.items()
        ]


def _whose(frame: FrameType | None) -> tuple[bool, bool]:
    """Return whether this package is running, and whether without napari."""
    napari = own = ours = False
    while frame is not None and not ours:
        path = frame.f_code.co_filename
        ours = PACKAGE_FOLDER in path
        napari = napari or path.endswith(NAPARI_WORK)
        own = ours and not napari
        frame = frame.f_back
    return ours, own


class Desk:
    """Viewer with an image, and a mouse that clicks its cells."""

    def __init__(self, image: NDArray[np.uint8], hold: float = 0.0) -> None:
        import napari
        from qtpy.QtCore import QTimer

        self.hold = hold
        self.viewer = napari.Viewer()
        # wakes the event loop, for `next_events`
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
        """Show the centre of the image."""
        side = self.image.data.shape[0]
        # moved in napari 0.9
        camera = getattr(self.viewer, 'scene', self.viewer).camera
        camera.center = (side / 2, side / 2)
        camera.zoom = 700 / min(side, FIELD)
        self.events(0.5)

    def places(self, count: int) -> Iterator[tuple[float, float]]:
        """Yield the centres of cells in the field, each once."""
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

    def at(self, place: tuple[float, float]) -> Any:
        """Return the canvas pixel of a place in the image."""
        from qtpy.QtCore import QPoint

        view = self.canvas.view
        x, y = (view.transform * view.scene.transform).map(place[::-1])[:2]
        return QPoint(round(x), round(y))

    def move(self, place: tuple[float, float]) -> None:
        """Move the mouse to a place in the image."""
        from qtpy.QtTest import QTest

        QTest.mouseMove(self.canvas.native, self.at(place))

    def click(
        self, place: tuple[float, float], done: Callable[[], float | None]
    ) -> float:
        """Click and return the seconds until the next paint.

        They are counted from the release of the button.
        """
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        at = self.at(place)
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
    """Return seconds until a point is painted, with napari alone."""
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


def clicks_of_widget(desk: Desk, count: int) -> list[float]:
    """Return seconds until the mask of a click is painted."""
    from napari_mobilesam import get_session
    from napari_mobilesam.widgets import open_form

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
    # without an embedding, a click takes as long as the encoder
    places = list(desk.places(count))
    for place in places:
        session.click(*place)
        session.reject()
    settle()
    seconds = []
    for number, place in enumerate(places):
        shown.clear()
        seconds.append(desk.click(place, lambda: shown[0] if shown else None))
        settle()
        widget.trigger('accept' if number % 2 else 'reject')
        settle()
    return seconds[FIRST_CLICKS:]


def measure(side: int, count: int, hold: float = 0.0) -> dict[str, Any]:
    """Measure one size of image."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(cells(side, Path(folder)), hold)
        own = np.array(clicks_of_napari(desk, count)) * 1e3
        ours = np.array(clicks_of_widget(desk, count)) * 1e3
        desk.viewer.close()
    above = ours - np.median(own)
    return {
        'side': side,
        'clicks': len(ours),
        'hold_ms': round(hold * 1e3),
        'napari_median_ms': round(float(np.median(own)), 1),
        'above_median_ms': round(float(np.median(above)), 1),
        'above_p95_ms': round(float(np.percentile(above, 95)), 1),
    }


class Journey:
    """Typical steps of a user, with gaps of the event loop."""

    def __init__(self, side: int, repeats: int, folder: Path) -> None:
        self.repeats = repeats
        # first, as it creates the application
        self.desk = Desk(cells(side, folder))
        self.gaps = Gaps()
        self.desk.look()
        self.places = list(self.desk.places(4 * repeats + 8))
        planes, across = STACK
        self.stack = np.stack([cells(across, folder)] * planes)

    def measure(self) -> list[dict[str, Any]]:
        """Run and measure all steps."""
        self.napari_alone()
        self.open_dock()
        self.clicks()
        self.objects()
        self.open_stack()
        return self.gaps.table()

    def step(self, name: str, action: Callable[[], Any]) -> None:
        """Run an action and wait until no work is left."""
        from qtpy.QtCore import QTimer

        with self.gaps.during(name):
            # from the event loop, like a key or a button
            QTimer.singleShot(0, action)
            self.desk.events(0.3)
            self.settle()
        self.desk.events(0.3)

    def settle(self) -> None:
        """Process events until nothing is running or waiting."""
        quiet = 0
        while quiet < 5:
            self.desk.events(0.02)
            quiet = 0 if self._busy() else quiet + 1

    def _busy(self) -> bool:
        # do not import the plugin before the dock is opened
        dock = sys.modules.get('napari_mobilesam.widgets.dock')
        sessions = sys.modules.get(
            'napari_mobilesam.widgets.viewer.viewer_session'
        )
        viewer = self.desk.viewer
        if dock is not None and any(
            isinstance(widget, dock.MobileSamDock) and widget.pending
            for widget in viewer.window.dock_widgets.values()
        ):
            return True
        session = sessions and sessions.known_session(viewer)
        return session is not None and not session.wait(0.001)

    def press(self, key: str) -> None:
        """Press a key on the canvas."""
        from qtpy.QtTest import QTest

        QTest.keyClick(self.desk.canvas.native, key)

    def napari_alone(self) -> None:
        """Run the equivalent steps of napari without the plugin."""
        viewer, places = self.desk.viewer, iter(self.places)
        self.step('napari alone: add a Points layer', viewer.add_points)
        points = viewer.layers[-1]
        points.mode = 'add'
        for _ in range(self.repeats):
            place = next(places)
            self.step(
                'napari alone: click a point', partial(self.click, place)
            )
        empty = np.zeros(self.desk.image.data.shape, np.uint16)
        self.step(
            'napari alone: add a Labels layer',
            lambda: viewer.add_labels(empty),
        )
        self.step(
            'napari alone: add a stack', lambda: viewer.add_image(self.stack)
        )
        for layer in (points, *viewer.layers[-2:]):
            layer.visible = False
            viewer.layers.remove(layer)
        viewer.layers.selection.active = self.desk.image
        self.desk.look()

    def click(self, place: tuple[float, float]) -> None:
        """Click a place in the image."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.mouseClick(
            self.desk.canvas.native,
            Qt.MouseButton.LeftButton,
            pos=self.desk.at(place),
        )

    def open_dock(self) -> None:
        """Open the dock from the menu, close it, and reopen it."""
        from napari._app_model import get_app_model

        def choose(entry: str) -> None:
            commands = get_app_model().commands
            commands.execute_command(f'napari-mobilesam.{entry}').result()

        viewer = self.desk.viewer
        self.step('open the dock', lambda: choose('segment_by_prompts'))
        self.step('open tab Everything', lambda: choose('segment_everything'))
        self.step('open tab Fine-tune', lambda: choose('fine_tune'))
        for _ in range(self.repeats):
            viewer.window.remove_dock_widget('all')
            self.desk.events(0.5)
            self.step(
                'open the dock again', lambda: choose('segment_by_prompts')
            )
        self.desk.look()
        self.settle()

    def clicks(self) -> None:
        """Click and accept."""
        places = iter(self.places)
        for number in range(self.repeats + 1):
            which = 'first' if number == 0 else 'later'
            place = next(places)
            self.step(f'{which} click', partial(self.click, place))
            self.step(f'{which} accept', lambda: self.press('w'))

    def objects(self) -> None:
        """Open, delete and restore objects, and hover over some."""
        from napari_mobilesam import get_session

        session = get_session(self.desk.viewer)
        for number in range(1, self.repeats + 1):
            self.step('open an object', partial(session.open, number))
            self.step('reject', lambda: self.press('q'))
            session.open(number)
            self.settle()
            self.step('delete an object', session.delete)
            self.step('undo', lambda: self.press('u'))
        self.step('switch hover on', lambda: self.press('h'))
        for place in self.places[-self.repeats :]:
            self.step('hover', partial(self.desk.move, place))

    def open_stack(self) -> None:
        """Open a stack."""
        viewer = self.desk.viewer
        self.step('open a stack', lambda: viewer.add_image(self.stack))
        for plane in range(1, self.repeats + 1):
            self.step(
                'next plane',
                partial(viewer.dims.set_current_step, 0, plane),
            )


def measure_gaps(side: int, repeats: int) -> list[dict[str, Any]]:
    """Measure gaps of the event loop in typical steps of a user."""
    with tempfile.TemporaryDirectory() as folder:
        journey = Journey(side, repeats, Path(folder))
        table = journey.measure()
        journey.desk.viewer.close()
    return table


@contextmanager
def own_files() -> Iterator[None]:
    """Keep the benchmark out of the user's settings."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ['NAPARI_MOBILESAM_CONFIG'] = folder
        yield


def main() -> None:
    """Measure and print one line of JSON per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('sides', nargs='*', type=int)
    parser.add_argument('--clicks', type=int, default=30)
    parser.add_argument(
        '--hold',
        type=float,
        default=0.0,
        metavar='MS',
        help='milliseconds to hold the button (default: 0)',
    )
    parser.add_argument(
        '--gaps',
        type=int,
        default=0,
        metavar='REPEATS',
        help='measure gaps of the event loop in typical steps instead',
    )
    arguments = parser.parse_args()
    if arguments.clicks <= FIRST_CLICKS:
        parser.error(f'--clicks: the first {FIRST_CLICKS} are not counted')
    with own_files():
        if arguments.gaps:
            for side in arguments.sides or (1024,):
                for row in measure_gaps(side, arguments.gaps):
                    print(json.dumps({'side': side, **row}), flush=True)
            os._exit(0)
        for side in arguments.sides or (1024, 4096, 20000):
            found = measure(side, arguments.clicks, arguments.hold / 1e3)
            print(json.dumps(found), flush=True)
    # Qt may crash at the end of a process that has had several viewers
    sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
