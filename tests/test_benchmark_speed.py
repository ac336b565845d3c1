"""The timing commands run and print a table; times are not compared."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    'arguments',
    [
        ['speed.py', '--repeats', '1'],
        ['reference.py', '--points', '2', '--crop-layers', '0', '--repeats=1'],
        ['training.py', '--repeats', '1', '--input-size', '64'],
    ],
)
def test_timings_are_printed(arguments: list[str]) -> None:
    script = ROOT / 'benchmarks' / arguments[0]
    done = subprocess.run(
        [sys.executable, str(script), *arguments[1:]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert '|---|---|---|' in done.stdout
