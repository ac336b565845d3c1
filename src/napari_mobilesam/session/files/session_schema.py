"""Schema of session files, which may come from anyone.

Every field is checked, so a file is loaded as a whole or not at all.
`RecordDecoder` checks what depends on the image and on other fields.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, get_args

from napari_mobilesam.schema import (
    Schema,
    fields,
    flag,
    items,
    mapping,
    number,
    one_of,
    optional,
    sequence,
    text,
    whole,
)
from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.objects.records import Origin
from napari_mobilesam.session.objects.targets import WriteOptions, WritePolicy

# Label, object number, index or size in pixels.
MOST_LABEL = 2**63 - 1
MOST_PIXEL = 2**48
# Values outside this range are not coordinates, contrast limits or scores.
FAR = 1e12
LARGE = sys.float_info.max
MANY = 10_000_000

_number = number(-FAR, FAR)
_limit = number(-LARGE, LARGE)
_pixel = whole(0, MOST_PIXEL)
# Pixels and logits as text, decoded within bounds.
_array = text(1 << 28)

_whole = whole(-MOST_LABEL, MOST_LABEL)
_real = number(-math.inf, math.inf, nan=True)
_text = text(1 << 28)


def _cell(value: Any, place: str) -> Any:
    """Return the schema of a feature table value, of any plain type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place)
    return (_whole if isinstance(value, int) else _real)(value, place)


_plane = whole(0, MANY)
_chosen = whole(0, 15)

_drawn = sequence(
    one_of('rectangle', 'ellipse', 'polygon', 'path', 'line'),
    items(sequence(_number, _number), MANY, least=1),
    flag,
    whole(0, MANY),
    whole(0, MANY),
)
_prompts = fields(
    {
        'points': items(sequence(_number, _number), MANY),
        'labels': items(whole(0, 1), MANY),
        'box': optional(sequence(_number, _number, _number, _number)),
        'mask_input': optional(_array),
        'region': optional(_array),
    },
    {'drawn': items(_drawn, MANY)},
)
_mask = fields(
    {
        'pixels': _array,
        'score': number(-FAR, FAR, nan=True),
        'stability': number(-FAR, FAR, nan=True),
        'point': sequence(
            number(-FAR, FAR, nan=True), number(-FAR, FAR, nan=True)
        ),
        'crop_box': sequence(_pixel, _pixel, _pixel, _pixel),
    }
)
_frame = fields(
    {
        'image_shape': sequence(whole(1, MOST_PIXEL), whole(1, MOST_PIXEL)),
        'window': sequence(_pixel, _pixel, _pixel, _pixel),
        'input_shape': sequence(whole(1, 1 << 16), whole(1, 1 << 16)),
        'input_size': whole(1, 1 << 16),
    }
)
_candidates = fields(
    {
        'masks': items(_mask, 16, least=1),
        'chosen': _chosen,
        'logits': items(optional(_array), 16),
        'frame': optional(_frame),
    }
)
_view = fields(
    {
        'plane': _plane,
        'prompts': _prompts,
        'candidates': optional(_candidates),
        'automatic': flag,
        'previous': optional(_candidates),
        'steps': items(sequence(_plane, _prompts, _chosen), MANY),
        'own': optional(_array),
    }
)
_object = fields(
    {
        'number': whole(1, MOST_LABEL),
        'label': whole(1, MOST_LABEL),
        'class': text(),
        'origin': one_of(*get_args(Origin)),
        'reviewed': flag,
        'views': items(_view, MANY),
    }
)
_found = fields(
    {},
    {
        'index': items(_pixel, 32),
        'axes': sequence(whole(0, 31), whole(0, 31)),
        'contrast_limits': optional(sequence(_limit, _limit)),
        'channel_axis': optional(whole(0, 31)),
        'gamma': number(1e-6, 1e6),
        'pitch': optional(whole(1, MOST_PIXEL)),
        'viewport': optional(
            sequence(sequence(_number, _number), number(1e-12, FAR))
        ),
    },
)


def _parameters(parameters: Any, **known: Schema) -> Schema:
    """Return the schema of a dataclass; unknown fields get their default."""
    by_type = {bool: flag, int: _pixel, float: _number, str: text()}
    schemas = {
        item.name: known.get(item.name) or by_type[type(item.default)]
        for item in dataclasses.fields(parameters)
    }
    return fields({}, schemas)


_options = _parameters(
    WriteOptions,
    policy=one_of(*get_args(WritePolicy)),
    label=optional(whole(1, MOST_LABEL)),
)
_clean_up = _parameters(CleanUp)

session_schema: Schema = fields(
    {
        'format': text(),
        'model': text(),
        'options': _options,
        'clean_up': _clean_up,
        'script': items(text(1 << 28), MANY),
        'objects': items(_object, MANY),
        'planes': items(
            fields({'found': _found, 'fingerprint': text()}), 100_000
        ),
    },
    {
        'owner': text(64),
        'labels': text(),
        'classes': mapping(text(), text(), 10_000),
        'features': mapping(_text, items(_cell, MANY), 10_000),
        'painted': fields(
            {
                'shape': items(_pixel, 32, least=1),
                'runs': items(_array, MANY),
            }
        ),
    },
)


def check_session(content: Any) -> dict[str, Any]:
    """Return the content of a session file with every field checked.

    Raises
    ------
    SchemaError
        A field is missing, unknown, or of a wrong type or value.
    """
    checked: dict[str, Any] = session_schema(content, 'session')
    return checked
