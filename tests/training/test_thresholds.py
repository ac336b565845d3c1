from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mobilesam.segmentation.candidates import Candidates
from napari_mobilesam.training import thresholds
from napari_mobilesam.training.labelled_images import labelled_image
from napari_mobilesam.training.thresholds import choose_thresholds
from napari_mobilesam.training.train_job import best_ranking
from napari_mobilesam.types import Mask, ModelRecord

from .helpers import discs

RECORD = ModelRecord('scored', predicted_iou=0.7, stability=0.9)
MODEL = SimpleNamespace(record=RECORD)


def found(scores, stabilities):
    """Candidates: the discs of an image, and a false one of its ground."""
    _, labels = discs()
    masks = []
    for number in range(labels.max() + 1):
        rows, columns = np.nonzero(labels == number)
        box = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        data = labels[box[0] : box[2], box[1] : box[3]] == number
        good = int(number > 0)
        masks.append(Mask(data, box, scores[good], stabilities[good]))
    return Candidates(tuple(masks), labels.shape, RECORD, True, 7)


def test_thresholds_part_objects_from_the_rest(monkeypatch):
    calls = []

    def generate(image, model, floor):
        calls.append(floor)
        return found(scores=(0.62, 0.72), stabilities=(0.97, 0.83))

    monkeypatch.setattr(thresholds, 'generate_candidates', generate)
    images = [labelled_image(*discs()) for _ in range(3)]
    chosen = choose_thresholds(MODEL, images, limit=2)
    assert 0.62 < chosen.predicted_iou < 0.72
    assert chosen.stability < 0.83
    assert calls == [thresholds.FLOOR] * 2


def test_where_nothing_is_found_the_record_stays(monkeypatch):
    monkeypatch.setattr(
        thresholds,
        'generate_candidates',
        lambda image, model, floor: Candidates((), (96, 96), RECORD, True, 7),
    )
    for images in ([], [labelled_image(*discs())]):
        assert choose_thresholds(MODEL, images) == (0.7, 0.9)


@pytest.mark.parametrize(
    ('agreement', 'ranking'), [(0.7, 'agreement'), (0.5, 'predicted_iou')]
)
def test_ranking_is_that_of_the_weights_that_were_kept(agreement, ranking):
    run = SimpleNamespace(
        curve=[
            {'score': 0.4, 'point': 0.1, 'agreement': 0.1},
            {'score': 0.6, 'point': 0.6, 'agreement': agreement},
            {'score': 0.5, 'point': 0.9, 'agreement': 0.9},
        ]
    )
    assert best_ranking(run) == ranking
