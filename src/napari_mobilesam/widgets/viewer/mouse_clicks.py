"""Distinguish clicks on the canvas from drags."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels

from napari_mobilesam.widgets.viewer.layers import mouse_position

# a press that moves further, in pixels of the screen, is a drag
CLICK_PIXELS = 4


def is_click(event: Any) -> Generator[None, None, bool]:
    """Wait for the button to be released in a napari mouse callback.

    Parameters
    ----------
    event : napari.utils.events.Event
        Press of a button; napari updates it on each move.

    Returns
    -------
    bool
        True for a click, False for a drag.
    """
    start = np.array(event.pos)
    yield
    while event.type == 'mouse_move':
        yield
    return bool(np.abs(np.array(event.pos) - start).max() <= CLICK_PIXELS)


def clicked_label(viewer: ViewerModel, layer: Labels, event: Any) -> int:
    """Return the label under the mouse in a napari callback, 0 for none."""
    label = layer.get_value(
        mouse_position(viewer, layer, event.position),
        view_direction=event.view_direction,
        dims_displayed=event.dims_displayed,
        world=True,
    )
    return int(label or 0)
