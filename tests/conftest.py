"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(
    os.environ.get('NAPARI_MOBILESAM_SHARED', ROOT.parent / 'shared')
)


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder of data and reference outputs that lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f'needs {SHARED}, which is not beside the checkout')
    return SHARED
