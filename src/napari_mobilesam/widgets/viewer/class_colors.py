"""Labels in the colours of their classes.

napari's own colormap from labels to colours, `DirectLabelColormap`, goes
through every label in Python: five thousand take a seventh of a second, after
each object. A cyclic colormap that is as long as there are labels is the same
thing as one array, of which a few rows change.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.objects.classes import Classes, rgb
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.viewer.layer_plane import data_of

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

    from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

# Number of colours by the bytes of a label. Of wider types napari takes the
# remainder, which has to fit into 16 bits with some to spare.
COLORS = {1: 1 << 8, 2: 1 << 16}
MOST_COLORS = 65_000
# What has no class: paler than any class, not as gray as images are. Three
# shades tell neighbours apart.
NO_CLASS = ('#8f86b0', '#a79fc4', '#beb8d6')

Table = NDArray[np.float32]


class ClassPainter:
    """Shows what is written to in class colours, while that is wanted.

    It follows the labels layer that objects go to, its feature table, and the
    classes. A layer that is no longer written to gets its colours back.

    Parameters
    ----------
    scene : ViewerScene
        Knows that layer.
    classes : Classes
        Colours, and whether they are wanted.
    tell : callable
        Says what is wrong in one sentence.
    """

    def __init__(
        self,
        scene: ViewerScene,
        classes: Classes,
        tell: Callable[[str], None],
    ) -> None:
        self._scene = weakref.ref(scene)
        self._classes = classes
        self._tell = tell
        self._layer: weakref.ref[Labels] | None = None
        # the layer's colours before, and while, it is painted
        self._former: Any = None
        self._ours: Any = None
        classes.changed.connect(self.follow)
        scene.labels_changed.connect(self.follow)

    def follow(self) -> None:
        """Paint the layer that is written to, if any and if wanted."""
        layer = self._wanted()
        before = None if self._layer is None else self._layer()
        if layer is not before:
            if before is not None:
                self._give_back(before)
            self._layer = None
            if layer is not None:
                self._take(layer)
        self._paint()

    def _wanted(self) -> Labels | None:
        scene = self._scene()
        if scene is None or not self._classes.shown:
            return None
        try:
            return scene.labels
        except ImageError:  # the viewer was closed
            return None

    def _take(self, layer: Labels) -> None:
        from napari.utils.colormaps import CyclicLabelColormap

        self._former = layer.colormap
        self._ours = CyclicLabelColormap(colors=_no_class(layer))
        self._layer = weakref.ref(layer)
        layer.events.features.connect(self._paint)

    def _give_back(self, layer: Labels) -> None:
        layer.events.features.disconnect(self._paint)
        _show(layer, self._former)
        self._former = self._ours = None

    def _paint(self, event: Any = None) -> None:
        """Bring the colours up to date; only what is new costs anything."""
        layer = None if self._layer is None else self._layer()
        if layer is None:
            return
        labels, codes, names = classes_of(layer.features)
        # tells of classes that are new, which paints them too
        self._classes.add(*names)
        table = _no_class(layer)
        if _wraps(layer) and labels.max(initial=0) >= len(table):
            self._give_up(layer, len(table) - 1)
            return
        colors = self._classes.colors
        shades = np.array([rgb(colors[name]) for name in names], np.float32)
        painted = (codes >= 0) & (labels > 0) & (labels < len(table))
        if painted.any():
            table[labels[painted], :3] = shades[codes[painted]] / 255
        changed = not np.array_equal(table, self._ours.colors)
        if changed:
            self._ours.colors = table
        if layer.colormap is not self._ours:
            _show(layer, self._ours)
        elif changed:
            # the pixels are as they were: to set it would look at them all
            layer.events.colormap()

    def _give_up(self, layer: Labels, limit: int) -> None:
        self._classes.shown = False
        self._tell(
            f'“{layer.name}” has labels above {limit}, which cannot be '
            'coloured by class: convert it to 16 bits (right-click the '
            'layer), or write to new labels.'
        )


def classes_of(
    features: pd.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.intp], list[str]]:
    """Return the classes that a feature table gives to labels.

    Returns
    -------
    labels : ndarray
        (N,) labels of its rows.
    codes : ndarray
        (N,) number of the class of each, -1 for none.
    names : list of str
        Names of the classes.
    """
    import pandas as pd

    count = len(features)
    if 'index' in features:
        index = pd.to_numeric(features['index'], errors='coerce').to_numpy()
    else:
        # napari numbers rows by label if there is no such column
        index = np.arange(count)
    labels = np.nan_to_num(index).astype(np.int64)
    if 'class' not in features:
        return labels, np.full(count, -1), []
    codes, found = pd.factorize(features['class'])
    named = [isinstance(name, str) and bool(name) for name in found]
    places = np.where(named, np.cumsum(named) - 1, -1)
    names = [name for name, good in zip(found, named, strict=True) if good]
    # the last entry is for -1, which is no value at all
    return labels, np.append(places, -1)[codes], names


def _wraps(layer: Labels) -> bool:
    """Whether there are more labels than colours, which come again then."""
    return bool(np.dtype(data_of(layer).dtype).itemsize not in COLORS)


def _no_class(layer: Labels) -> Table:
    """Return colours in which no label has a class, (N, 4)."""
    size = COLORS.get(np.dtype(data_of(layer).dtype).itemsize, MOST_COLORS)
    table = np.ones((size, 4), np.float32)
    for start, color in enumerate(NO_CLASS):
        table[start :: len(NO_CLASS), :3] = np.array(rgb(color)) / 255
    table[0] = 0
    return table


def _show(layer: Labels, colormap: Any) -> None:
    # these belong to the layer, but are kept with its colours
    colormap.use_selection = layer.show_selected_label
    colormap.selection = layer.selected_label
    layer.colormap = colormap
