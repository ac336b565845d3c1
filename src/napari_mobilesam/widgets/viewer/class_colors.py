"""Colour labels by class.

napari's `DirectLabelColormap` walks through all labels in Python: 0.14 s for
5,000 labels, after each object. A cyclic colormap with one colour per label
shows the same, and is one array of which a few rows change.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.palette import rgb
from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.widgets.viewer.layers import data_of

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

# Number of colours by the bytes of a label. Of wider types napari takes the
# remainder, which has to fit into 16 bits with some to spare.
COLORS = {1: 1 << 8, 2: 1 << 16}
MOST_COLORS = 65_000
# Objects without a class: paler than any class, less gray than images. Three
# shades distinguish neighbours.
NO_CLASS = ('#8f86b0', '#a79fc4', '#beb8d6')

Table = NDArray[np.float32]


class ClassPainter:
    """Show the output labels in the colours of their classes.

    Follows the classes and the feature table of the layer. A layer that is no
    longer the output, or has no object with a class, gets its former colours
    back.

    Parameters
    ----------
    classes : Classes
        Colours, and whether they are shown.
    find_labels : callable
        Returns the output layer or None; `follow` is to be called when it
        changes.
    tell : callable
        Reports a problem in one sentence.
    """

    def __init__(
        self,
        classes: Classes,
        find_labels: Callable[[], Labels | None],
        tell: Callable[[str], None],
    ) -> None:
        self._classes = classes
        self._find_labels = find_labels
        self._tell = tell
        self._layer: weakref.ref[Labels] | None = None
        # the layer's own colormap, and ours
        self._former: Any = None
        self._ours: Any = None
        classes.changed.connect(self.follow)

    def follow(self) -> None:
        """Colour the output layer, if there is one and if asked for."""
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
        return self._find_labels() if self._classes.shown else None

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
        """Update the colours; only changed ones cost time."""
        layer = None if self._layer is None else self._layer()
        if layer is None:
            return
        labels, codes, names = classes_of(layer.features)
        # emits `changed` for new classes, which paints them too
        self._classes.add(*names)
        table = _no_class(layer)
        if _wraps(layer) and labels.max(initial=0) >= len(table):
            self._give_up(layer, len(table) - 1)
            return
        colors = self._classes.colors
        shades = np.array([rgb(colors[name]) for name in names], np.float32)
        if layer.colormap is not self._ours:
            self._former = layer.colormap
        painted = (codes >= 0) & (labels > 0) & (labels < len(table))
        if not painted.any():
            if layer.colormap is self._ours:
                _show(layer, self._former)
            return
        table[labels[painted], :3] = shades[codes[painted]] / 255
        changed = not np.array_equal(table, self._ours.colors)
        if changed:
            self._ours.colors = table
            # napari draws the colours of 8 and 16 bits that it looked up
            # first, whatever the colormap is set to
            self._ours._clear_cache()
        if layer.colormap is not self._ours:
            _show(layer, self._ours)
        elif changed:
            # setting the colormap would look at all pixels
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
    """Return whether colours repeat because there are more labels."""
    return bool(np.dtype(data_of(layer).dtype).itemsize not in COLORS)


def _no_class(layer: Labels) -> Table:
    """Return the (N, 4) colours of labels without a class."""
    size = COLORS.get(np.dtype(data_of(layer).dtype).itemsize, MOST_COLORS)
    table = np.ones((size, 4), np.float32)
    for start, color in enumerate(NO_CLASS):
        table[start :: len(NO_CLASS), :3] = np.array(rgb(color)) / 255
    table[0] = 0
    return table


def _show(layer: Labels, colormap: Any) -> None:
    # properties of the layer that napari stores in its colormap
    colormap.use_selection = layer.show_selected_label
    colormap.selection = layer.selected_label
    layer.colormap = colormap
