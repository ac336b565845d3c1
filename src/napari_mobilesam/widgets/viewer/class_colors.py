"""Colour labels by class.

napari's `DirectLabelColormap` iterates over all labels in Python: 0.14 s for
5,000 labels, after each object. A cyclic colormap with one colour per label
looks the same, and is a single array of which a few rows change.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from napari_mobilesam.palette import rgb
from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.widgets.viewer.layers import data_of, rows_by_label

if TYPE_CHECKING:
    import pandas as pd

# Number of colours by the bytes of a label. For wider types napari takes the
# remainder, which must fit in 16 bits with some to spare.
COLORS = {1: 1 << 8, 2: 1 << 16}
MOST_COLORS = 65_000
# Colours of objects without a class: paler than any class, less gray than
# images. Three shades distinguish neighbours.
NO_CLASS = ('#8f86b0', '#a79fc4', '#beb8d6')

Table = NDArray[np.float32]


class ClassPainter:
    """Show labels in the colours of their classes.

    It follows the classes and the feature tables of the layers. A layer that
    is no longer coloured, or has no object with a class, gets its former
    colours back.

    Parameters
    ----------
    classes : Classes
        Colours, and whether they are shown.
    find_labels : callable
        Returns the layers; call `follow` when they change.
    tell : callable
        Reports a problem in one sentence.
    """

    def __init__(
        self,
        classes: Classes,
        find_labels: Callable[[], Sequence[Labels]],
        tell: Callable[[str], None],
    ) -> None:
        self._classes = classes
        self._find_labels = find_labels
        self._tell = tell
        self._painted: weakref.WeakKeyDictionary[Labels, _PaintedLayer] = (
            weakref.WeakKeyDictionary()
        )
        classes.changed.connect(self.follow)

    def follow(self) -> None:
        """Colour the layers, if there are any and this is enabled."""
        wanted = list(self._find_labels()) if self._classes.shown else []
        for layer in [each for each in self._painted if each not in wanted]:
            self._painted.pop(layer).give_back(layer, self._paint)
        for layer in wanted:
            if layer not in self._painted:
                self._painted[layer] = _PaintedLayer(layer, self._paint)
        for layer in wanted:
            self._paint_layer(layer)

    def _paint(self, event: Any) -> None:
        self._paint_layer(event.source)

    def _paint_layer(self, layer: Labels) -> None:
        """Update the colours; only changed ones cost time."""
        labels, codes, names = coded_classes(layer.features)
        # emits `changed` for new classes, which paints them too
        self._classes.add(*names)
        painted = self._painted.get(layer)
        if painted is None:
            # another layer is too large, and none is coloured any more
            return
        # its type may have changed
        table = _no_class(layer)
        limit = len(table) - 1
        # only labels of 8 and 16 bits all have a colour of their own
        if len(table) == MOST_COLORS and labels.max(initial=0) > limit:
            self._give_up(layer, limit)
            return
        colors = self._classes.colors
        shades = np.array([rgb(colors[name]) for name in names], np.float32)
        shades = shades.reshape(-1, 3)
        shown = (codes >= 0) & (labels > 0) & (labels <= limit)
        table[labels[shown], :3] = shades[codes[shown]] / 255
        painted.show(layer, table if shown.any() else None)

    def _give_up(self, layer: Labels, limit: int) -> None:
        self._classes.shown = False
        self._tell(
            f'“{layer.name}” has labels above {limit}, which cannot be '
            'coloured by class: convert it to 16 bits (right-click the '
            'layer), or write to new labels.'
        )


class _PaintedLayer:
    """Colours of one layer: its own and those of classes.

    It keeps no reference to the layer.

    Parameters
    ----------
    layer : napari.layers.Labels
        The layer.
    changed : callable
        Called when its feature table changes.
    """

    def __init__(self, layer: Labels, changed: Callable[[Any], None]) -> None:
        from napari.utils.colormaps import CyclicLabelColormap

        self._former: Any = layer.colormap
        self._ours: Any = CyclicLabelColormap(colors=_no_class(layer))
        layer.events.features.connect(changed)

    def give_back(self, layer: Labels, changed: Callable[[Any], None]) -> None:
        """Restore the layer's own colours, and stop listening to it."""
        layer.events.features.disconnect(changed)
        _show(layer, self._former)

    def show(self, layer: Labels, table: Table | None) -> None:
        """Show the layer in (N, 4) colours of its labels; None for its own."""
        if layer.colormap is not self._ours:
            self._former = layer.colormap
        if table is None:
            if layer.colormap is self._ours:
                _show(layer, self._former)
            return
        changed = not np.array_equal(table, self._ours.colors)
        if changed:
            self._ours.colors = table
            # napari draws 8- and 16-bit labels from a first lookup of colours,
            # whatever colormap is set later
            self._ours._clear_cache()
        if layer.colormap is not self._ours:
            _show(layer, self._ours)
        elif changed:
            # setting the colormap would inspect all pixels
            layer.events.colormap()


def coded_classes(
    features: pd.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.intp], list[str]]:
    """Return the classes of labels in a feature table.

    Returns
    -------
    labels : ndarray
        (N,) labels of its rows.
    codes : ndarray
        (N,) class number of each, -1 for none.
    names : list of str
        Names of the classes.
    """
    import pandas as pd

    count = len(features)
    index = pd.to_numeric(
        rows_by_label(features)['index'], errors='coerce'
    ).to_numpy()
    labels = np.nan_to_num(index).astype(np.int64)
    if 'class' not in features:
        return labels, np.full(count, -1), []
    codes, found = pd.factorize(features['class'])
    named = np.array([isinstance(n, str) and bool(n) for n in found], bool)
    places = np.where(named, np.cumsum(named) - 1, -1)
    names = [name for name, good in zip(found, named, strict=True) if good]
    # the last entry is for -1, which is not a value at all
    return labels, np.append(places, -1)[codes], names


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
