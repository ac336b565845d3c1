"""GeoJSON against a schema of what QuPath's GsonTools read.

The schema is that of ``PathObjectTypeAdapters`` and ``ROITypeAdapters`` of
QuPath 0.5, made strict: nothing that they do not read, and no number that JSON
does not have.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import export_labels

POINT = {
    'type': 'array',
    'items': {'type': 'number', 'minimum': 0},
    'minItems': 2,
    'maxItems': 2,
}
RING = {'type': 'array', 'items': POINT, 'minItems': 5}
PART = {'type': 'array', 'items': RING, 'minItems': 1}
NATURAL = {'type': 'integer', 'minimum': 0}


def _object(**members: Any) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': members,
        'required': list(members),
        'additionalProperties': False,
    }


def _geometry(kind: str, coordinates: dict[str, Any]) -> dict[str, Any]:
    plane = _object(c={'const': -1}, z=NATURAL, t=NATURAL)
    return _object(type={'const': kind}, coordinates=coordinates, plane=plane)


COLOR = {
    'type': 'array',
    'items': {'type': 'integer', 'minimum': 0, 'maximum': 255},
    'minItems': 3,
    'maxItems': 3,
}
PROPERTIES = _object(
    objectType={'enum': ['annotation', 'detection', 'cell']},
    isLocked={'type': 'boolean'},
    measurements={
        'type': 'object',
        'additionalProperties': {'type': 'number'},
    },
)
# the class of an object is the only thing that may be missing
PROPERTIES['properties']['classification'] = _object(
    name={'type': 'string', 'minLength': 1}, color=COLOR
)
FEATURE = _object(
    type={'const': 'Feature'},
    id={
        'type': 'string',
        'pattern': '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
    },
    geometry={
        'oneOf': [
            _geometry('Polygon', PART),
            _geometry(
                'MultiPolygon',
                {'type': 'array', 'items': PART, 'minItems': 2},
            ),
        ]
    },
    properties=PROPERTIES,
)
SCHEMA = {
    'type': 'object',
    'properties': {
        'type': {'const': 'FeatureCollection'},
        'features': {'type': 'array', 'items': FEATURE},
    },
    'required': ['type', 'features'],
}


def check(path: Path) -> list[Any]:
    """Check a file, and return its features."""

    def refuse(constant: str) -> None:
        raise AssertionError(f'{constant} is not JSON')

    text = path.read_text('utf-8')
    content = json.loads(text, parse_constant=refuse)
    jsonschema.validate(content, SCHEMA)
    features: list[Any] = content['features']
    assert len({feature['id'] for feature in features}) == len(features)
    for feature in features:
        geometry = feature['geometry']
        parts = geometry['coordinates']
        for part in [parts] if geometry['type'] == 'Polygon' else parts:
            for ring in part:
                assert ring[0] == ring[-1]
    return features


@pytest.mark.slow
def test_the_schema_refuses_what_is_wrong(
    image: LabelsWithTable, tmp_path: Path
) -> None:
    export_labels(image, tmp_path / 'x.geojson')
    feature = check(tmp_path / 'x.geojson')[0]
    for change in (
        {'id': 3},
        {'geometry': None},
        {'properties': {**feature['properties'], 'objectType': 'nucleus'}},
        {'properties': {**feature['properties'], 'score': 1}},
    ):
        collection = {
            'type': 'FeatureCollection',
            'features': [{**feature, **change}],
        }
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(collection, SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['annotation', 'detection', 'cell'])
def test_a_plane(kind: str, image: LabelsWithTable, tmp_path: Path) -> None:
    export_labels(image, tmp_path / 'x.geojson', object_type=kind)
    features = check(tmp_path / 'x.geojson')
    assert len(features) == 8
    assert {f['properties']['objectType'] for f in features} == {kind}


@pytest.mark.parametrize('axes', ['zyx', 'tyx'])
def test_planes(axes: str, volume: LabelsWithTable, tmp_path: Path) -> None:
    export_labels(replace(volume, axes=axes), tmp_path / 'x.geojson')
    assert len(check(tmp_path / 'x.geojson')) == 9


def test_no_object(tmp_path: Path) -> None:
    export_labels(np.zeros((5, 6), np.uint8), tmp_path / 'x.geojson')
    assert check(tmp_path / 'x.geojson') == []


def test_numbers_that_json_does_not_have(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame(
        {
            'label': [1, 2, 3],
            'score': [np.nan, np.inf, 0.5],
            'class': [None, np.nan, ''],
            'ratio': [-np.inf, 1, np.nan],
        }
    )
    with pytest.warns(UserWarning, match='2 infinite values'):
        export_labels(labels, tmp_path / 'x.geojson', table=table)
    features = check(tmp_path / 'x.geojson')
    told = {
        f['properties']['measurements']['Label']: f['properties']
        for f in features
    }
    assert 'classification' not in told[1]
    assert told[2]['measurements']['ratio'] == 1
    assert told[3]['measurements'].get('score') == 0.5
