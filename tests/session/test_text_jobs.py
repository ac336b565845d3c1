"""Text to masks in a session, with a stand-in for the detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FIRST, SECOND, blobs, oracle_session
from viewer.oracle import OracleSam

from napari_mobilesam.segmentation import box_detectors
from napari_mobilesam.types import SegmentationError


class StandIn:
    """Boxes around both squares."""

    def boxes(self, image, text):
        if text == 'crash':
            raise RuntimeError('no such layer')
        if text == 'rubbish':
            return [1, 2], 'x'
        if text == 'nothing':
            return [], []
        return [[14, 18, 42, 46], [54, 70, 82, 106]], [0.9, 0.5]


@pytest.fixture
def session():
    made = oracle_session([blobs()])
    yield made
    made.close()
    assert made.wait(20)


def test_what_the_text_names_is_added_as_one_step(session):
    result = session.segment_text('cells', StandIn())
    labels = session.scene.target.data[0]
    assert {labels[FIRST], labels[SECOND]} == {1, 2}
    assert result.table['similarity'].tolist() == [0.9, 0.5]
    assert result.extent.similarity == pytest.approx(0.1)
    # edited as boxes
    objects = session.scene.objects(False)
    view = objects[1].view(session.scene.plane())
    assert view.prompts.box is not None
    assert session.undo() == '2 objects'
    assert not labels.any()
    few = session.segment_text('cells', StandIn(), score=0.8)
    assert len(few.table) == 1


def test_failures_are_one_sentence_and_lose_nothing(session):
    session.segment_text('cells', StandIn())
    before = session.scene.target.data.copy()
    for text, message in (
        ('crash', 'StandIn has failed: .*no such layer'),
        ('rubbish', 'it has to return'),
        ('  ', 'text is empty'),
    ):
        with pytest.raises(SegmentationError, match=message):
            session.segment_text(text, StandIn())
    with pytest.raises(SegmentationError, match='There is no detector'):
        session.segment_text('cells', 'nonsense')
    with pytest.raises(SegmentationError, match='not a detector'):
        session.segment_text('cells', object())
    with pytest.raises(SegmentationError, match='score'):
        session.segment_text('cells', StandIn(), score=3)
    assert len(session.segment_text('nothing', StandIn()).table) == 0
    assert np.array_equal(session.scene.target.data, before)


def test_a_detector_is_loaded_once_for_each_device(session, monkeypatch):
    loaded = []

    def load(*given):
        loaded.append(given)
        return StandIn()

    monkeypatch.setattr(box_detectors, 'load_downloaded', load)
    for _ in range(2):
        session.segment_text('cells', 'clipseg')
    assert loaded == [('clipseg', 'cpu')]
    monkeypatch.setattr(OracleSam, 'device', torch.device('cpu', 0))
    session.segment_text('cells', 'clipseg')
    assert loaded[1:] == [('clipseg', 'cpu:0')]
