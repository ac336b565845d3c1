"""Checks of the parameters of segment everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = TypeVar('P', bound='DataclassInstance')


class Thresholds(NamedTuple):
    """Minimum predicted IoU and stability of a mask."""

    predicted_iou: float
    stability: float


# Thresholds that every mask reaches.
NO_THRESHOLDS = Thresholds(float('-inf'), float('-inf'))


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
    chosen = with_overrides(parameters, EverythingParameters, overrides)
    check_fields(chosen)
    if chosen.diameter is not None:
        if chosen.crop_layers:
            raise SegmentationError(
                'diameter and crop_layers are two ways to reach small '
                'objects: give one of them.'
            )
        if chosen.whole_image:
            raise SegmentationError(
                'diameter sets the size of the windows that are embedded, and '
                'whole_image embeds no windows: give one of them.'
            )
    return chosen


def with_overrides(
    parameters: P | None, kind: type[P], overrides: Mapping[str, Any]
) -> P:
    """Return parameters with some fields replaced.

    Parameters
    ----------
    parameters : dataclass, optional
        Instance of ``kind``; its defaults if None.
    kind : type
        Dataclass of the parameters.
    overrides : mapping of str to object
        New values by name of the field.

    Raises
    ------
    TypeError
        If an override is not a field.
    SegmentationError
        If ``parameters`` is not an instance of ``kind``.
    """
    check_names(overrides, kind)
    check_instance('parameters', parameters, kind)
    return replace(parameters or kind(), **overrides)


def check_names(
    overrides: Mapping[str, Any], *kinds: type[DataclassInstance]
) -> None:
    """Raise `TypeError` for an override that no dataclass has as a field."""
    names = [item.name for kind in kinds for item in fields(kind)]
    for name in overrides:
        if name not in names:
            raise TypeError(
                f'unknown parameter {name!r}; there are {", ".join(names)}'
            )


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
