"""Folder of the labelled images for measuring accuracy."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / 'shared'
DATA = Path(os.environ.get('NAPARI_MOBILESAM_SHARED', SHARED)) / 'data'
