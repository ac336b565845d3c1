"""Mutated session files: each is loaded as a whole, or refused."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import tracemalloc
import zlib

import numpy as np
import pytest
from fakes import oracle_session
from test_saving import IMAGES, work

from napari_mobilesam.schema import SchemaError, number
from napari_mobilesam.session.files.painted import painted_from
from napari_mobilesam.types import SegmentationError

# Zeros that are a thousand times larger than their text.
BOMB = base64.b64encode(zlib.compress(bytes(10_000_000))).decode()
ODD = [
    None,
    True,
    -1,
    0,
    0.5,
    2**31,
    2**63,
    2**64,
    10**400,
    1e308,
    float('nan'),
    float('inf'),
    '',
    'x' * 2000,
    'a\nimport os',
    'abc',
    '../../etc/passwd',
    [],
    {},
    [[]],
    [0] * 1000,
    {'a': 1},
    '|u1 10000000 :' + BOMB,
    '|u1 1250000000 :' + BOMB,
    '0 0 100000 100000 |u1 1250000000 :' + BOMB,
    '0 0 8000 10000 |u1 10000000 :' + BOMB,
    '-5 -5 5 5 |u1 13 :' + BOMB,
    '|O8 1 :' + BOMB,
    '<f2 100000,100000 :' + BOMB,
    '<f2 -1,-1 :' + BOMB,
]


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """Content of a file with objects of all kinds."""
    path = tmp_path_factory.mktemp('session') / 'good'
    session = oracle_session(IMAGES)
    work(session)
    # as painted by hand
    session.scene.target.data[3, 2:9, 3:60] = 77
    session.save(path)
    session.close()
    return json.loads(gzip.decompress(path.read_bytes()))


def places(node, found):
    """Append every (container, key) of a tree of JSON."""
    keys = node if isinstance(node, dict) else range(len(node))
    for key in list(keys):
        found.append((node, key))
        if isinstance(node[key], dict | list):
            places(node[key], found)
    return found


def mutate(content, rng):
    """Change one to three places, or none of the content but its bytes."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = places(content, [])
        # as many of the rare fields as of those that every point has
        by_key = {}
        for node, key in found:
            by_key.setdefault(str(key), []).append((node, key))
        node, key = rng.choice(by_key[rng.choice(list(by_key))])
        value = node[key]
        kind = rng.randrange(7)
        if kind < 3:
            node[key] = rng.choice(ODD)
        elif kind == 3:
            del node[key]
        elif kind == 4 and isinstance(value, list) and value:
            value.extend(value[-1:] * rng.choice((1, 50)))
        elif kind == 5:
            other, name = rng.choice(found)
            node[key] = copy.deepcopy(other[name])
        elif isinstance(value, str) and value:
            at = rng.randrange(len(value))
            node[key] = value[:at] + rng.choice(('', 'A', ' ', '\0'))
        elif isinstance(value, dict):
            value['unknown'] = rng.choice(ODD)
        elif isinstance(value, int | float):
            node[key] = value * rng.choice((-1, 2, 1_000_000)) + 1
    return content


def packed(content, rng):
    """Compress a file; a few are damaged, or a bomb."""
    data = gzip.compress(json.dumps(content).encode(), 1)
    kind = rng.randrange(40)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]
    if kind == 2:
        return data + gzip.compress(bytes(100_000_000), 1)
    if kind == 3:
        return gzip.compress(b'[' * 1_000_000, 1)
    return data


def state(session):
    """All that loading a file changes."""
    objects = session.scene.objects(True)
    return (
        len(objects),
        int(np.count_nonzero(session.scene.target.data)),
        len(session.scene.target.table),
        objects.history.undoable,
        session.editor.options,
        session.prompting.clean_up,
        session.files.parameters(),
    )


def check(content, seeds, path):
    """Load mutated files; return how many were loaded and refused."""
    loaded = refused = 0
    session = oracle_session(IMAGES)
    before = state(session)
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 - chooses tests
        changed = mutate(content, rng)
        path.write_bytes(packed(changed, rng))
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        try:
            session.load(path)
        except SegmentationError as error:
            refused += 1
            assert 10 < len(str(error)) < 1000, seed
            assert state(session) == before, seed
        else:
            loaded += 1
            after = list(session.scene.objects(False))
            assert len(after) == len(changed['objects']), seed
            assert len({record.number for record in after}) == len(after)
            labels = {record.label for record in after}
            if 'painted' in changed:
                runs = painted_from(changed['painted']).runs
                labels.update(runs[2].tolist())
            values = np.unique(session.scene.target.data)
            assert set(values.tolist()) <= {0, *labels}, seed
            session.save(path)
            session.script()
            session.close()
            session = oracle_session(IMAGES)
        peak = tracemalloc.get_traced_memory()[1] - held
        assert peak < 200_000_000, (seed, peak)
    session.close()
    return loaded, refused


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.slow
def test_mutated_files_are_loaded_whole_or_refused(content, tmp_path, traced):
    seeds = range(1000)
    loaded, refused = check(content, seeds, tmp_path / 'mutated')
    # the mutations reach both ends
    assert refused > len(seeds) // 2
    assert loaded > len(seeds) // 50


def test_numbers_too_large_for_a_float_are_refused():
    schema = number(0, 1, nan=True)
    assert np.isnan(schema(float('nan'), 'score'))
    for value in (10**400, -(10**400), float('inf')):
        with pytest.raises(SchemaError, match='score'):
            schema(value, 'score')
