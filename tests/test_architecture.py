"""The architecture page names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import napari_mobilesam

PACKAGE = Path(napari_mobilesam.__file__).parent
ROOT = Path(__file__).parents[1]


def exists(name: str) -> bool:
    """Return whether a path, or a bare file name, is in the repository."""
    if '/' in name:
        return (PACKAGE / name).exists() or (ROOT / name).exists()
    return any(PACKAGE.rglob(name))


def test_named_files_exist() -> None:
    text = (ROOT / 'docs' / 'architecture.md').read_text('utf-8')
    named = re.findall(r'`([\w/]+\.py)`', text)
    assert named
    missing = [name for name in named if not exists(name)]
    assert not missing
