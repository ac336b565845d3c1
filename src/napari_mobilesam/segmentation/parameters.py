"""Checks of the parameters of segment everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    check_number,
)
from napari_mobilesam.parameter_fields import parameter_fields
from napari_mobilesam.types import (
    EverythingParameters,
    ModelRecord,
    SegmentationError,
)


class Thresholds(NamedTuple):
    """Minimum predicted IoU and stability of a mask."""

    predicted_iou: float
    stability: float


def thresholds_for(
    parameters: EverythingParameters, record: ModelRecord
) -> Thresholds:
    """Return the requested thresholds, or the defaults of the model."""
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
        If an override is not a parameter.
    SegmentationError
        If a value is out of range, or diameter and crop layers are both given.
    """
    names = [item.name for item in fields(EverythingParameters)]
    for name in overrides:
        if name not in names:
            raise TypeError(
                f'unknown parameter {name!r}; there are {", ".join(names)}'
            )
    check_instance('parameters', parameters, EverythingParameters)
    chosen = replace(parameters or EverythingParameters(), **overrides)
    check_fields(chosen)
    if chosen.diameter is not None:
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


def check_fields(parameters: Any) -> None:
    """Check numbers and flags against the type and range of their fields.

    Parameters
    ----------
    parameters : dataclass
        Dataclass whose fields are made by
        `napari_mobilesam.parameter_fields.parameter`.

    Raises
    ------
    SegmentationError
        A value has the wrong type or is out of range.
    """
    kinds = {item.name: str(item.type) for item in fields(parameters)}
    for name, described in parameter_fields(parameters).items():
        value = getattr(parameters, name)
        kind = kinds[name].removesuffix(' | None')
        if value is None and kind != kinds[name]:
            continue
        if kind == 'bool':
            check_flag(name, value)
        elif kind in ('int', 'float'):
            low, high = described.minimum, described.maximum
            check_number(name, value, low, high, whole=kind == 'int')
