"""Evaluation by the product's own path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training import evaluate as module
from napari_mobilesam.training.evaluate import Asker, Evaluation, evaluate
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.training_parameters import EvaluationOptions

QUICK = EvaluationOptions(
    objects=2,
    clicks=3,
    click_objects=1,
    everything_parameters={
        'points_per_side': 3,
        'predicted_iou': 0.0,
        'stability': 0.0,
        'whole_image': True,
    },
)


@pytest.mark.slow
def test_measures_are_there_and_within_their_range(
    tiny: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    seen: list[str] = []
    result = evaluate(
        tiny.eval(),
        disc_images[:2],
        QUICK,
        teacher=tiny,
        progress=lambda done, total, text: seen.append(text),
    )
    assert seen == ['evaluating discs0', 'evaluating discs1']
    for row in result.rows:
        for name in ('point', 'oracle', 'box', 'random_point', 'boundary_f'):
            assert 0 <= row[name] <= 1, name
        assert row['oracle'] >= row['point']
        assert 1 <= row['clicks_80'] <= row['clicks_90'] <= 3
        assert 0 <= row['ap50_95'] <= row['ap50'] <= row['f1'] <= 1
        # A model agrees with itself.
        assert row['agreement_10'] == 1
    table = result.table()
    assert table['dataset'].tolist() == ['discs', 'all']
    mean = np.mean([row['point'] for row in result.rows])
    assert table['point'].tolist() == pytest.approx([mean, mean])
    result.to_json(tmp_path / 'scores.json')
    content = json.loads((tmp_path / 'scores.json').read_text())
    assert content['model'] == 'tiny' and len(content['images']) == 2


def test_perfect_masks_score_one(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scores themselves: a model that answers with the truth."""
    image = disc_images[0]

    class Truth:
        frame = None
        best = 0
        scores = np.ones(3, dtype=np.float32)

        def __init__(self, mask: np.ndarray) -> None:
            self.masks = np.stack([mask] * 3)
            self.logits = self.masks.astype(np.float32)

        def mask(self, index: int) -> object:
            from napari_mobilesam.segmentation.upscaling import crop_to_mask
            from napari_mobilesam.types import Mask

            data, box = crop_to_mask(self.masks[index], (0, 0))
            return Mask(data, box, 1.0)

    def ask(
        self: Asker, points=(), labels=(), box=None, previous=None
    ) -> Truth:
        if box is not None:
            row, column = (box[:2] + box[2:]) / 2
        else:
            row, column = points[0]
        label = image.labels[0, int(row), int(column)]
        return Truth(image.labels[0] == label)

    monkeypatch.setattr(module.Asker, 'ask', ask)
    options = EvaluationOptions(objects=3, clicks=4, everything=False)
    (row,) = evaluate(tiny.eval(), [image], options).rows
    for name in ('point', 'oracle', 'random_point', 'box', 'boundary_f'):
        assert row[name] == 1, name
    assert row['iou_error'] == 0
    assert (row['clicks_80'], row['clicks_90']) == (1, 1)


def test_prompts_are_answered_as_in_the_product(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    """A box of eight pixels is not asked in the whole image."""
    asker = Asker(tiny.eval(), disc_images[0])
    small = asker.ask(box=np.array([10.0, 10.0, 18.0, 18.0]))
    assert small.frame.window_shape < (96, 96)
    more = asker.ask([(12, 12)], [1], previous=small)
    assert more.frame == small.frame
    assert more.prompts.mask_input is not None


def test_empty_evaluation_has_an_empty_table() -> None:
    result = Evaluation([], 'none', EvaluationOptions())
    assert len(result.table()) == 0
