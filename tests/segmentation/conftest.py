from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam, build_sam

from .helpers import SHAPE, discs_off_grid


@pytest.fixture(scope='session')
def tiny_model() -> Sam:
    """Untrained model that runs in milliseconds."""
    torch.manual_seed(0)
    return build_sam('vit_t', input_size=128).eval()


@pytest.fixture(scope='session')
def bundled() -> Sam:
    """The model that comes with the package."""
    return nm.load_model()


@pytest.fixture
def planes() -> list[np.ndarray]:
    """Masks of discs that no grid knows of."""
    return discs_off_grid(SHAPE)


@pytest.fixture
def image(planes: list[np.ndarray]) -> np.ndarray:
    """The discs, white on black."""
    return np.where(np.any(planes, axis=0), 255, 0).astype(np.uint8)
