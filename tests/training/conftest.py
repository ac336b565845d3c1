"""Small data set and model that train within a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.training import held_back
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    labelled_image,
)
from napari_mobilesam.types import ModelRecord, ObjectDiameter
from training.helpers import discs

RECORD = ModelRecord(
    'tiny', input_size=128, object_diameter=ObjectDiameter(16, 32, 100)
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: more gain nothing at this size and make sums vary."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def disc_images() -> list[LabelledImage]:
    return [
        labelled_image(*discs(seed), name=f'discs{seed}', dataset='discs')
        for seed in range(3)
    ]


@pytest.fixture
def tiny() -> Sam:
    torch.manual_seed(11)
    return build_sam(record=RECORD)


@pytest.fixture
def disc_folder(tmp_path: Path) -> Path:
    """Folder of three pairs in the layout of `read_folder`."""
    from skimage.io import imsave

    folder = tmp_path / 'data'
    folder.mkdir()
    for seed in range(3):
        image, labels = discs(seed)
        imsave(folder / f'd{seed}_image.png', image)
        imsave(
            folder / f'd{seed}_labels.png',
            labels.astype(np.uint16),
            check_contrast=False,
        )
    return folder


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each validation be better than the one before."""
    scores = iter(np.arange(9.0))
    monkeypatch.setattr(
        held_back,
        'object_scores',
        lambda *given: ([''], np.full((1, 5), next(scores))),
    )
