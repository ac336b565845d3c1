"""Model records as JSON, in the header of checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, get_args

from napari_mobilesam.schema import (
    SchemaError,
    fields,
    flag,
    number,
    one_of,
    parse_json,
    refuse,
    sequence,
    text,
    whole,
)
from napari_mobilesam.types import (
    STRIDE,
    Architecture,
    CheckpointError,
    ModelRecord,
    ObjectDiameter,
    Ranking,
)

# Larger inputs would need many times the memory of the published models.
SMALLEST_INPUT, LARGEST_INPUT = 32, 4096


def input_size(value: Any, place: str = 'input_size') -> int:
    """Check the side of the model input in pixels; itself a schema."""
    size: int = whole(SMALLEST_INPUT, LARGEST_INPUT)(value, place)
    if size % STRIDE:
        raise refuse(value, place, f'a multiple of {STRIDE}')
    return size


def _diameter(value: Any, place: str) -> ObjectDiameter:
    size = number(0.1, LARGEST_INPUT)
    diameter = ObjectDiameter(*sequence(size, size, size)(value, place))
    if not diameter.smallest <= diameter.best <= diameter.largest:
        raise refuse(value, place, 'three sizes in ascending order')
    return diameter


def _training(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse(value, place, 'an object')
    return value


_RECORD = fields(
    {'name': text(200)},
    {
        'architecture': one_of(*get_args(Architecture)),
        'input_size': input_size,
        'object_diameter': _diameter,
        'purpose': text(10_000),
        'licence': text(10_000),
        'citation': text(10_000),
        'url': text(),
        'hash': text(),
        'size_bytes': whole(0, 10**15),
        'training': _training,
        'predicted_iou': number(0, 1),
        'stability': number(0, 1),
        'ranking': one_of(*get_args(Ranking)),
        'instance_head': flag,
    },
    strict=False,
)


def record_to_json(record: ModelRecord) -> str:
    """Serialise a record for the header of a checkpoint."""
    return json.dumps(asdict(record))


def record_from_json(content: str) -> ModelRecord:
    """Read a record from `record_to_json`, ignoring unknown entries.

    Raises
    ------
    CheckpointError
        If an entry is missing, or has a wrong type or value.
    """
    try:
        return ModelRecord(**_RECORD(parse_json(content, 'record'), 'record'))
    except SchemaError as error:
        raise CheckpointError(f'its {error}') from error
