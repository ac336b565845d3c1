"""Masks cut by the edge of their window, predicted again in a larger one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_mobilesam.segmentation.masks import shared_area
from napari_mobilesam.types import LOW_RES_STRIDE, Mask, Prompts

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.prediction import Prediction
    from napari_mobilesam.session.images.engine import Engine
    from napari_mobilesam.session.images.planes import ImagePlane

# Number of windows tried, each twice as large as the one before.
TRIES = 2
# Minimum number of low-res pixels along an edge: a tip that touches the edge
# is not a cut.
LEAST_RUN = 3
# A mask whose score is lower by more than this is rejected.
LOSS = 0.1


def is_cut(prediction: Prediction) -> bool:
    """Return whether the best mask ends in a line at an edge of its window.

    Edges of the image do not count.
    """
    frame = prediction.frame
    inside = prediction.low_res_masks[prediction.best]
    rows, columns = (-(-side // LOW_RES_STRIDE) for side in frame.input_shape)
    inside = inside[:rows, :columns]
    top, left, bottom, right = frame.window
    height, width = frame.image_shape
    edges = (
        (top > 0, inside[0]),
        (left > 0, inside[:, 0]),
        (bottom < height, inside[-1]),
        (right < width, inside[:, -1]),
    )
    return any(
        within and np.count_nonzero(edge) >= LEAST_RUN
        for within, edge in edges
    )


def in_larger_window(
    engine: Engine,
    plane: ImagePlane,
    prompts: Prompts,
    model: Sam,
    prediction: Prediction,
) -> Prediction:
    """Return a prediction whose best mask is not cut by its window.

    Parameters
    ----------
    engine : Engine
        Answers prompts.
    plane : ImagePlane
        Plane of the prompts.
    prompts : Prompts
        Prompts of one object.
    model : Sam
        Model that answers.
    prediction : Prediction
        Prediction of the model.

    Returns
    -------
    Prediction
        The same prediction if it is not cut, or if a larger window gives no
        better one.
    """
    from napari_mobilesam.segmentation.scale_choice import (
        known_diameter,
        pitch_of,
    )

    best, known = prediction, known_diameter(prompts)
    for _ in range(TRIES):
        if not is_cut(best):
            break
        least = 2 * pitch_of(best.frame)
        pitches = engine.image(plane, model).grid.pitches
        pitch = min((each for each in pitches if each >= least), default=None)
        if pitch is None:
            break
        if known is None:
            larger = engine.predict(plane, prompts, model, scales=[pitch])
        else:
            # a box or region determines the scale; its object continues
            # outside
            diameter = known * pitch / pitch_of(prediction.frame)
            larger = engine.predict(plane, prompts, model, diameter=diameter)
        sides = [max(each.frame.window_shape) for each in (best, larger)]
        if sides[1] <= sides[0] or not _continues(best.mask(), larger.mask()):
            break
        best = larger
    return best


def _continues(mask: Mask, other: Mask) -> bool:
    """Return whether another mask holds most of a cut one, as confidently."""
    if not other.data.size or other.score < mask.score - LOSS:
        return False
    return shared_area(mask, other) > mask.area / 2
