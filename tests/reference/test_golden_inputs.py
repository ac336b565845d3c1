"""The rebuilt inputs are byte for byte those of the golden outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from reference.image import golden_image
from reference.weights import make_state_dict, state_dict_sha256

FOLDER = Path(__file__).parent


def test_image_is_the_one_the_outputs_were_made_from(golden):
    image = golden_image()
    assert np.array_equal(image[::50, ::50], golden['image_stride50'])
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    assert digest == str(golden['image_sha256'])


def test_weights_are_those_the_outputs_were_made_from(golden):
    state = make_state_dict(FOLDER / 'state_dict_manifest.json')
    manifest = json.loads((FOLDER / 'state_dict_manifest.json').read_text())
    assert set(state) == set(manifest)
    assert state_dict_sha256(state) == str(golden['weights_sha256'])


@pytest.mark.slow
def test_weights_depend_on_the_salt():
    manifest = FOLDER / 'state_dict_manifest.json'
    state = make_state_dict(manifest, salt=7)
    assert state_dict_sha256(state) != state_dict_sha256(
        make_state_dict(manifest)
    )
