"""Precomputed answers to prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FIRST, SECOND, blobs, oracle_session, point
from viewer.oracle import OracleDecoder

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.types import PromptError, Prompts

# Scales that a click is asked at in these images.
SCALES = 4


@pytest.fixture
def session():
    session = oracle_session([blobs(), np.roll(blobs(), 4, axis=1)])
    yield session
    session.close()
    assert session.wait(20)


@pytest.fixture
def decoded(monkeypatch):
    """Prompts given to the model, in order."""
    asked = []
    decode = OracleDecoder.decode

    def noted(self, *args, **kwargs):
        asked.append(kwargs['points'])
        return decode(self, *args, **kwargs)

    monkeypatch.setattr(OracleDecoder, 'decode', noted)
    return asked


def embedded(session, z=0):
    """Return a plane that is embedded."""
    plane = session.scene.plane_at(z)
    session.editor.ask(plane, point(*SECOND))
    assert session.finish(20)
    session.editor.reject()
    return plane


@pytest.mark.slow
def test_expected_answer_is_given_without_asking_again(session, decoded):
    plane = embedded(session)
    session.editor.ask(plane, point(*FIRST))
    assert session.finish(20)
    (want,) = session.editor.record.masks
    session.editor.reject()

    decoded.clear()
    session.editor.expect(plane, point(*FIRST))
    assert session.wait(20)
    assert len(decoded) == SCALES
    assert session.editor.view(plane) is None
    session.editor.ask(plane, point(*FIRST))
    assert session.finish(20)
    (mask,) = session.editor.record.masks
    assert len(decoded) == SCALES
    assert mask.box == want.box
    assert np.array_equal(mask.data, want.data)
    # once: who asks again is answered anew
    session.editor.ask(plane, point(*FIRST))
    assert session.finish(20)
    assert len(decoded) == 2 * SCALES


@pytest.mark.slow
def test_expected_answer_on_its_way_is_waited_for(session, decoded):
    plane = embedded(session)
    decoded.clear()
    model = session._engine.model('oracle')
    model.go.clear()
    session.editor.expect(plane, point(*FIRST))
    session.editor.ask(plane, point(*FIRST))
    assert session.editor.pending
    model.go.set()
    assert session.finish(20)
    assert session.editor.record.masks
    assert len(decoded) == SCALES


@pytest.mark.slow
def test_refined_answer_can_be_expected_too(session, decoded):
    plane = embedded(session)
    session.editor.ask(plane, point(*FIRST))
    assert session.finish(20)
    both = Prompts(np.array([FIRST, (20, 24)], float), np.array([1, 0]))
    decoded.clear()
    session.editor.expect(plane, both)
    session.wait(20)
    session.editor.ask(plane, both)
    assert session.finish(20)
    assert len(decoded) == 1
    assert session.editor.view(plane).steps


@pytest.mark.slow
@pytest.mark.parametrize('what', ['place', 'kind', 'plane', 'clean up'])
def test_other_prompts_than_expected_are_asked(session, decoded, what):
    plane = embedded(session)
    if what == 'plane':
        embedded(session, 1)
    session.editor.expect(plane, point(*FIRST))
    session.wait(20)
    decoded.clear()
    prompts = point(*FIRST)
    if what == 'place':
        prompts = replace(prompts, points=prompts.points + 1e-6)
    if what == 'kind':
        prompts = Prompts(
            np.array([FIRST, SECOND], float), np.array([1, 0], np.int64)
        )
    if what == 'plane':
        plane = session.scene.plane_at(1)
    if what == 'clean up':
        session.prompting.clean_up = CleanUp(min_area=50)
    session.editor.ask(plane, prompts)
    assert session.finish(20)
    # points that are far apart fit in one scale only
    assert len(decoded) == (1 if what == 'kind' else SCALES)


def test_expecting_neither_embeds_nor_fails(session, decoded):
    plane = session.scene.plane_at(0)
    session.editor.expect(plane, point(*FIRST))
    session.editor.expect(plane, point(1000, 1000))
    session.editor.expect(plane, Prompts())
    assert session.wait(20)
    assert not decoded
    with pytest.raises(PromptError, match='outside'):
        session.editor.ask(plane, point(1000, 1000))
    assert session.editor.view(plane) is None
