"""Every example runs as a user would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

EXAMPLES = sorted((ROOT / 'examples').glob('*.py'))

# What the output must show, so that an example that finds nothing fails.
EXPECTED = {
    'console_session.py': r'filled planes: \[0, 1, 2, 3, 4, 5\]',
    'prompt_one_cell.py': r'clicked \(\d+, \d+\): [1-9]\d* pixels',
    'segment_everything.py': r'^[1-9]\d* nuclei',
    'stack_plane_by_plane.py': r'plane 2: [1-9]\d* nuclei',
}


def test_each_example_says_what_it_must_show() -> None:
    assert {path.name for path in EXAMPLES} == set(EXPECTED)
    listed = (ROOT / 'examples' / 'README.md').read_text('utf-8')
    assert all(f'`{path.name}`' in listed for path in EXAMPLES)


# README's code, which does what they do, runs among the fast tests.
@pytest.mark.slow
@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.name)
def test_example(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(EXPECTED[path.name], done.stdout, re.MULTILINE)
