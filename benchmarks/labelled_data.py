"""Folder of the labelled images that accuracy is measured on."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / 'shared'
DATA = Path(os.environ.get('NAPARI_MOBILESAM_SHARED', SHARED)) / 'data'
