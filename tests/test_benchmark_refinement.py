"""The benchmark of *Refine all* on synthetic images."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT, load_script
from viewer.oracle import OracleSam

import napari_mobilesam as nm
from napari_mobilesam.training.labelled_images import LabelledImage


@pytest.fixture(scope='module')
def refinement() -> ModuleType:
    return load_script(ROOT / 'benchmarks' / 'refinement.py')


@pytest.mark.slow
def test_rough_labels_gain_what_good_labels_keep(
    refinement: ModuleType,
) -> None:
    labels = np.zeros((1, 96, 128), np.int32)
    labels[0, 16:40, 20:44], labels[0, 56:80, 72:104] = 1, 2
    image = np.where(labels[0] > 0, 200, 10).astype(np.uint8)
    trials = list(
        refinement.trials_of(
            nm.Predictor(OracleSam()),
            LabelledImage('a', image, labels, 'squares', 'drawn'),
            2,
        )
    )
    assert len(trials) == 6
    for trial in trials:
        assert len(trial.after) == len(refinement.SCORES)
        if trial.kind == 'too large':
            assert trial.after[0] > trial.before
    text = refinement.table(trials)
    assert '| too large | 2 | ' in text
    assert text.count('\n') == 4
