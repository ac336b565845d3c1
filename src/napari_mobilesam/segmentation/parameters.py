"""Checks of the parameters of segment everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    SegmentationError,
)

_FRACTIONS = (
    'predicted_iou',
    'stability',
    'crop_overlap',
    'max_area_fraction',
    'box_nms',
    'crop_nms',
)
_LEAST = {
    'points_per_side': 1,
    'crop_layers': 0,
    'crop_points_downscale': 1,
    'stability_offset': 0,
    'min_area': 0,
    'batch_size': 1,
}


class Thresholds(NamedTuple):
    """Least predicted IoU and stability of a mask."""

    predicted_iou: float
    stability: float


def thresholds_for(
    parameters: EverythingParameters, record: ModelRecord
) -> Thresholds:
    """The thresholds asked for, or else those that suit the model."""
    iou, stability = parameters.predicted_iou, parameters.stability
    return Thresholds(
        record.predicted_iou if iou is None else iou,
        record.stability if stability is None else stability,
    )


def checked_parameters(
    parameters: EverythingParameters | None, overrides: Mapping[str, Any]
) -> EverythingParameters:
    """Apply overrides and check every value.

    Raises
    ------
    TypeError
        If an override is no parameter.
    SegmentationError
        If a value is out of range, or diameter and crop layers are both
        given.
    """
    names = [item.name for item in fields(EverythingParameters)]
    for name in overrides:
        if name not in names:
            raise TypeError(
                f'unknown parameter {name!r}; there are {", ".join(names)}'
            )
    chosen = replace(parameters or EverythingParameters(), **overrides)
    for name in _FRACTIONS:
        value = getattr(chosen, name)
        if value is not None:
            _check(name, value, 0, 1)
    for name, least in _LEAST.items():
        _check(name, getattr(chosen, name), least, np.inf)
    if chosen.diameter is not None:
        _check('diameter', chosen.diameter, 1, np.inf)
        if chosen.crop_layers:
            raise SegmentationError(
                'diameter and crop_layers are two ways to reach small '
                'objects: give one of them.'
            )
        if chosen.whole_image:
            raise SegmentationError(
                'diameter asks for windows and whole_image for none: give '
                'one of them.'
            )
    return chosen


def _check(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most or not np.isfinite(value):
        bound = f'at least {least}'
        if np.isfinite(most):
            bound = f'from {least} to {most}'
        raise SegmentationError(f'{name} is {value}; it has to be {bound}.')
