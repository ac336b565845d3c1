"""The OpenGL context of the canvas while layers are removed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_mobilesam.widgets.viewer.gl_context import CanvasContext

# napari 0.9 alone dies of it, where Mesa draws without a graphics card
REMOVE = """
import time
import napari
import numpy as np
from qtpy.QtWidgets import QApplication
import napari_mobilesam as nm

def pump(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()

viewer = napari.Viewer()
nm.get_session(viewer)
first = viewer.add_image(np.eye(9))
viewer.add_image(np.eye(9))
pump(2)
viewer.layers.remove(first)
for _ in range(3):
    viewer.window._qt_viewer.canvas._scene_canvas.update()
    pump(0.2)
print('alive', flush=True)
viewer.close()
"""


def test_the_context_is_that_of_the_canvas(make_napari_viewer, monkeypatch):
    viewer = make_napari_viewer(show=False)
    context = CanvasContext(viewer)
    first = viewer.add_image(np.eye(9))
    viewer.add_image(np.eye(9))
    made = []
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    monkeypatch.setattr(canvas, 'set_current', lambda: made.append(1))
    viewer.layers.remove(first)
    assert made
    made.clear()
    viewer.layers.clear()
    assert made
    made.clear()
    del context
    viewer.add_image(np.eye(9))
    viewer.layers.clear()
    assert not made


def test_a_viewer_without_a_window():
    viewer = ViewerModel()
    context = CanvasContext(viewer)
    viewer.add_image(np.eye(9))
    viewer.layers.clear()
    assert not viewer.layers
    del context


@pytest.mark.slow
def test_a_window_outlives_a_removed_layer():
    done = subprocess.run(
        [sys.executable, '-c', REMOVE],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'NAPARI_ASYNC': '0'},
        check=False,
    )
    assert 'alive' in done.stdout, done.stderr[-2000:]
