"""Minimum accuracy of the bundled model on nuclei."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mobilesam.model.checkpoints import load_model


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_prompts_on_nuclei(shared: Path) -> None:
    from napari_mobilesam.training.dataset import read_folder
    from napari_mobilesam.training.evaluate import evaluate
    from napari_mobilesam.training.training_parameters import EvaluationOptions

    images = read_folder(
        shared / 'data', split='val', datasets=['dsb2018'], limit=4
    )
    options = EvaluationOptions(objects=10, clicks=0, everything=False)
    model = load_model('mobile_sam_cells', 'cpu')
    rows = evaluate(model, images, options).rows
    assert len(rows) >= 8
    scores = {
        name: np.mean([row[name] for row in rows]) for name in ('point', 'box')
    }
    # 0.87 and 0.77 at the time of writing
    assert scores['box'] > 0.8
    assert scores['point'] > 0.7
