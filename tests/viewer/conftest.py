"""Fixtures for viewers, with a mouse and a model that is always right."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('qtpy', reason='the viewer tests need Qt')
try:
    import qtpy.QtWidgets  # noqa: F401
except ImportError:
    pytest.skip('no Qt binding is installed', allow_module_level=True)
pytest.importorskip('pytestqt', reason='the viewer tests need pytest-qt')

from qtpy.QtCore import (  # noqa: E402
    QCoreApplication,
    QEvent,
    QPoint,
    QPointF,
    Qt,
)
from qtpy.QtGui import QMouseEvent  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication, QDockWidget  # noqa: E402

from .oracle import OracleSam  # noqa: E402
from .remembered import remember  # noqa: E402
from .shared_viewer import SharedViewer  # noqa: E402
from .undrawn import count_every_move  # noqa: E402


def pytest_collection_modifyitems(items):
    """Skip viewer tests where no window can be opened."""
    if not sys.platform.startswith('linux') or os.environ.get('DISPLAY'):
        return
    skip = pytest.mark.skip(reason='no display: run under xvfb-run')
    for item in items:
        if 'viewer' in item.path.parts:
            item.add_marker(skip)


FORMS = {
    'Segment by prompts': 'prompts',
    'Segment everything': 'everything',
    'Fine-tune on labels': 'training',
}


def dock_of(form):
    """Return the QDockWidget that a form is in."""
    widget = form
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


class Mouse:
    """Mouse and keyboard events on the canvas of a viewer."""

    def __init__(self, viewer):
        self.viewer = viewer

    @property
    def canvas(self):
        return self.viewer.window._qt_viewer.canvas

    def at(self, layer, position):
        """Canvas pixel of data coordinates of a layer."""
        world = np.asarray(layer.data_to_world(position))
        displayed = [
            axis - self.viewer.dims.ndim for axis in self.viewer.dims.displayed
        ]
        row, column = world[displayed]
        view = self.canvas.view
        x, y = (view.transform * view.scene.transform).map([column, row])[:2]
        return QPoint(round(x), round(y))

    def click(self, layer, position, button=None, modifier=None):
        QTest.mouseClick(
            self.canvas.native,
            button or Qt.MouseButton.LeftButton,
            modifier or Qt.KeyboardModifier.NoModifier,
            self.at(layer, position),
        )

    def right_click(self, layer, position):
        self.click(layer, position, Qt.MouseButton.RightButton)

    def drag(self, layer, start, stop):
        self.stroke(layer, (start, stop), steps=5)

    def stroke(self, layer, path, button=Qt.MouseButton.LeftButton, steps=8):
        """Move through positions of a layer with a button down."""
        native = self.canvas.native
        left = button == Qt.MouseButton.LeftButton
        places = [self.at(layer, position) for position in path]
        QTest.mouseMove(native, places[0])
        QTest.mousePress(native, button, pos=places[0])
        for before, after in itertools.pairwise(places):
            for step in range(1, steps + 1):
                place = before + (after - before) * step / steps
                if left and native.isVisible():
                    QTest.mouseMove(native, place)
                else:
                    # the pointer of the display is never over a hidden window
                    self.move(place, button)
                QApplication.processEvents()
        QTest.mouseRelease(native, button, pos=places[-1])

    def move(self, place, button=None):
        """Move to a canvas pixel, by default with no button down."""
        native = self.canvas.native
        # vispy drops a move that comes within 10 ms of the one before
        native._last_time = 0.0
        button = button or Qt.MouseButton.NoButton
        QApplication.sendEvent(
            native,
            QMouseEvent(
                QEvent.Type.MouseMove,
                QPointF(place),
                QPointF(native.mapToGlobal(place)),
                Qt.MouseButton.NoButton,
                button,
                Qt.KeyboardModifier.NoModifier,
            ),
        )

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        QTest.keyClick(self.canvas.native, key, modifier)


# Pauses after the last of many changes, which tests would only wait for.
PAUSES = (
    'everything.large_panel.REFRESH_MS',
    'everything.run_estimate.PAUSE_MS',
    'prompts.prompt_widget.CONTRAST_PAUSE_MS',
    'prompts.view_preparation.PAUSE_MS',
    'series.series_review.PAUSE_MS',
    'table.table_widget.PAUSE_MS',
    'training.labelled_objects.COUNT_AFTER_MS',
)
SHORT_MS = 20


def shorten_pauses(patch):
    """Wait for further changes of the user for a short time only."""
    for name in PAUSES:
        patch.setattr(f'napari_mobilesam.widgets.{name}', SHORT_MS)


@pytest.fixture(scope='session', autouse=True)
def every_move_counts():
    """Count each move of the mouse, on slow machines as on fast ones."""
    with pytest.MonkeyPatch.context() as patch:
        count_every_move(patch)
        yield


@pytest.fixture(autouse=True, scope='session')
def cheap_viewers():
    """Run costly steps once per process instead of once per viewer.

    Plugin manifests are read from disk once, and what these imports made is
    taken out of the garbage collections that end every viewer test.
    """
    import napari.viewer  # noqa: F401
    import torch  # noqa: F401
    from napari.settings import get_settings
    from npe2 import PluginManager
    from vispy.gloo.glir import GlirProgram

    manager = PluginManager.instance()
    manager.discover()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, 'discover', lambda *args, **kwargs: 0)
        remember(patch)
        shorten_pauses(patch)
        # Mesa's software renderer crashes at the next drawing after a program
        # is deleted, as those of a Points layer are when it is removed
        patch.setattr(GlirProgram, 'delete', lambda self: None)
        get_settings().reset()
        gc.collect()
        gc.freeze()
        yield


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Keep the tests out of the user's settings, caches and sessions."""
    for name in ('CONFIG', 'CACHE', 'SESSIONS'):
        folder = str(tmp_path / name.lower())
        monkeypatch.setenv(f'NAPARI_MOBILESAM_{name}', folder)
    # napari 0.9 and newer keep some of them, in a file beside its own
    import napari.settings

    if hasattr(napari.settings, '_PLUGIN_SETTINGS'):
        monkeypatch.setattr(napari.settings, '_PLUGIN_SETTINGS', {})
        own = tmp_path / 'napari' / 'settings.yaml'
        monkeypatch.setattr(napari.settings, '_CFG_PATH', str(own))


@pytest.fixture
def oracle(monkeypatch):
    """Model that every session loads instead of a real one."""
    model = OracleSam()
    monkeypatch.setattr(
        'napari_mobilesam.session.session.load_by_name', lambda name: model
    )
    monkeypatch.setattr(
        'napari_mobilesam.model.registry.check_known', lambda name: None
    )
    yield model
    model.go.set()


@pytest.fixture
def settle():
    """Process events until no background work is left."""

    def run(session, widget, seconds=60.0):
        end = time.monotonic() + seconds
        quiet = 0
        while quiet < 3:
            QApplication.processEvents()
            pending = getattr(widget, 'pending', False)
            # what is delivered may start more work, again and again
            idle = session.wait(0.03) and not session._deliver.pending
            quiet = quiet + 1 if idle and not pending else 0
            if pending:
                time.sleep(0.002)
            assert time.monotonic() < end, 'work does not come to an end'

    return run


@pytest.fixture(scope='session')
def shared_viewers():
    """Viewers that serve many tests, by whether their window is shown."""
    viewers: dict[bool, list[SharedViewer]] = {True: [], False: []}
    yield viewers
    for viewer in itertools.chain(*viewers.values()):
        viewer.close()


@pytest.fixture
def take_viewer(request, qtbot, shared_viewers, monkeypatch):
    """Return an empty viewer that other tests use as well.

    The viewer is emptied after the test, which fails if it leaves anything
    in there: a listener, a key, a dock, a node on the canvas, ...
    """
    from napari.settings import get_settings

    # as `make_napari_viewer` does
    for target, stub in (
        ('threads.status_checker.StatusChecker.start', lambda self: None),
        ('qt_viewer.QtViewer._get_console', lambda self: None),
    ):
        monkeypatch.setattr(f'napari._qt.{target}', stub)
    lent: list[SharedViewer] = []
    own = request.node.get_closest_marker('own_viewer') is not None

    def take(show=False):
        pool = [] if own else shared_viewers[show]
        free = [each for each in pool if each not in lent]
        if not free:
            free = [SharedViewer(show)]
            pool += free
        lent.append(free[0])
        stack.enter_context(free[0].in_use())
        return free[0].lend(qtbot)

    with contextlib.ExitStack() as stack:
        yield take
        get_settings().reset()
        left = []
        report = getattr(request.node, 'rep_call', None)
        failed = report is None or report.failed
        for shared in reversed(lent):
            mine = None
            try:
                mine = shared.take_back(last=own)
                left += mine
            finally:
                if failed or own or mine != [] or shared.worn:
                    pool = shared_viewers[shared.show]
                    if shared in pool:
                        pool.remove(shared)
                    shared.close()
        lent.clear()
    assert failed or not left, f'the test left in the viewer: {left}'


@pytest.fixture
def desk(request, take_viewer, oracle, settle):
    """Make viewers with a docked widget.

    The window is hidden, which saves two thirds of the time; the mouse and
    keys reach its canvas all the same. It is shown in tests marked
    ``window``: those that look at what is drawn, visible or in focus, and one
    or two of each kind of prompt, with all that napari draws of them.
    """
    window = request.node.get_closest_marker('window') is not None

    def make(*images, widget='Segment by prompts', show=window, **kwargs):
        from napari_mobilesam import get_session
        from napari_mobilesam.widgets import open_form

        viewer = take_viewer(show)
        viewer.window.resize(1200, 800)
        layers = [viewer.add_image(image, **kwargs) for image in images]
        if widget in FORMS:
            form = open_form(viewer, FORMS[widget])
        else:
            _, form = viewer.window.add_plugin_dock_widget(
                'napari-mobilesam', widget
            )
        session = get_session(viewer)

        made = SimpleNamespace(
            viewer=viewer,
            image=layers[0] if layers else None,
            dock=dock_of(form),
            widget=form,
            session=session,
            mouse=Mouse(viewer),
        )
        # looks the widget up, so that tests can let go of it
        made.settle = lambda: settle(session, made.widget)
        made.settle()
        # the dock has taken width from the canvas
        viewer.reset_view()
        return made

    return make


@pytest.fixture
def everything_desk(desk):
    """Make viewers with “Segment everything” on a coarse grid of points."""

    def make(*images, **kwargs):
        d = desk(*images, widget='Segment everything', **kwargs)
        d.widget.panel.form.controls['points_per_side'].value = 10
        d.widget.panel.form.controls['whole_image'].value = True
        d.settle()
        return d

    return make


@pytest.fixture(autouse=True)
def no_leaked_threads():
    """Check that every thread of a test ends with its viewer."""
    yield
    # libraries that are still being imported take long on a busy machine
    end = time.monotonic() + 30
    while time.monotonic() < end:
        QApplication.processEvents()
        QCoreApplication.sendPostedEvents(
            None, QEvent.Type.DeferredDelete.value
        )
        left = [
            thread.name
            for thread in threading.enumerate()
            if thread.name.startswith('napari-mobilesam')
        ]
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError(f'threads are left: {left}')


@pytest.fixture
def blobs():
    """(96, 128) uint8 with four bright squares."""
    image = np.full((96, 128), 10, np.uint8)
    for row in (16, 56):
        for column in (20, 80):
            image[row : row + 24, column : column + 24] = 220
    return image
