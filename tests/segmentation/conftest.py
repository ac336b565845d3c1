from __future__ import annotations

import pytest
import torch

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam, build_sam


@pytest.fixture(scope='session')
def tiny_model() -> Sam:
    """Untrained model that runs in milliseconds."""
    torch.manual_seed(0)
    return build_sam('vit_t', input_size=128).eval()


@pytest.fixture(scope='session')
def bundled() -> Sam:
    """The model that comes with the package."""
    return nm.load_model()
