"""Points and Shapes layers of prompts: created, adopted, coloured, flipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Points, Shapes

from napari_mobilesam.widgets.parts.line_width import fit_lines
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

if TYPE_CHECKING:
    import pandas as pd

POLARITY = 'polarity'
POSITIVE, NEGATIVE = 'positive', 'negative'
COLORS = {POSITIVE: '#2ee65c', NEGATIVE: '#ff3b5c'}
# in screen pixels: visible at any zoom, without hiding the object
POINT_SIZES = (9, 12)
SHAPE_COLOR = '#ffd54f'


def add_points(viewer: ViewerModel, plane: LayerPlane) -> Points:
    """Add a Points layer for prompts on an image, in add mode."""
    import pandas as pd

    layer: Points = viewer.add_points(
        ndim=len(plane.output_axes),
        name='prompts',
        features=pd.DataFrame({POLARITY: polarities([])}),
        feature_defaults={POLARITY: POSITIVE},
        face_color=POLARITY,
        face_color_cycle=[COLORS[POSITIVE], COLORS[NEGATIVE]],
        border_color='white',
        border_width=0.15,
        size=max(2.0, max(plane.shape) / 80),
        **plane.transform(),
    )
    layer.canvas_size_limits = POINT_SIZES
    layer.events.set_data.connect(_hide_stand_in)
    layer.mode = 'add'
    return layer


def _hide_stand_in(event: Any) -> None:
    """Draw no dot at pixel 0, 0 of planes without points.

    There napari draws a point of size 0, which the lower limit would enlarge.
    """
    layer: Points = event.source
    # napari before 0.9 has the other one
    names = '_view_indices', '_indices_view'
    seen = [
        len(getattr(layer, name)) for name in names if hasattr(layer, name)
    ]
    low, high = POINT_SIZES
    layer.canvas_size_limits = (0 if seen[:1] == [0] else low, high)


def polarities(values: Any) -> pd.Categorical:
    """Return polarities as a categorical column with both categories."""
    # lazily: the form appears before pandas is imported
    import pandas as pd

    return pd.Categorical(values, categories=[POSITIVE, NEGATIVE])


def adopt_points(layer: Points) -> None:
    """Add the polarity feature to a user's own Points layer, all positive."""
    if POLARITY in layer.features:
        return
    features = layer.features.copy()
    features[POLARITY] = polarities([POSITIVE] * len(layer.data))
    layer.features = features
    layer.feature_defaults = {
        **layer.feature_defaults.iloc[0].to_dict(),
        POLARITY: POSITIVE,
    }
    layer.face_color_cycle = [COLORS[POSITIVE], COLORS[NEGATIVE]]
    layer.face_color = POLARITY


def add_shapes(viewer: ViewerModel, plane: LayerPlane) -> Shapes:
    """Add a Shapes layer for prompts on an image, in rectangle mode."""
    import pandas as pd

    layer: Shapes = viewer.add_shapes(
        ndim=len(plane.output_axes),
        name='shapes',
        features=pd.DataFrame({POLARITY: polarities([])}),
        feature_defaults={POLARITY: POSITIVE},
        edge_color=POLARITY,
        edge_color_cycle=[SHAPE_COLOR, COLORS[NEGATIVE]],
        face_color='transparent',
        **plane.transform(),
    )
    fit_lines(viewer, layer)
    layer.mode = 'add_rectangle'
    return layer


def set_next_polarity(layer: Points | Shapes, polarity: str) -> None:
    """Set the polarity of the next click.

    This sets ``feature_defaults``: ``current_properties`` would also change
    the selected points, including the point added last.
    """
    if layer.feature_defaults[POLARITY].iloc[0] != polarity:
        layer.feature_defaults = {
            **layer.feature_defaults.iloc[0].to_dict(),
            POLARITY: polarity,
        }


def flip(layer: Points, numbers: Iterable[int]) -> None:
    """Flip the polarity of points."""
    before = layer.features[POLARITY]
    set_polarities(layer, {n: before.iloc[n] == NEGATIVE for n in numbers})


def set_polarities(
    layer: Points | Shapes, positive: Mapping[int, bool]
) -> None:
    """Set whether points or shapes are positive, by their indices."""
    features = layer.features.copy()
    column = features[POLARITY].astype(object).to_numpy(copy=True)
    for number, is_positive in positive.items():
        column[number] = POSITIVE if is_positive else NEGATIVE
    features[POLARITY] = polarities(column)
    layer.features = features
    layer.refresh_colors()
