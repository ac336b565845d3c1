"""Every benchmark imports what it needs and describes its options."""

from __future__ import annotations

import runpy

import pytest
from conftest import ROOT

FOLDER = ROOT / 'benchmarks'
SCRIPTS = sorted(
    path.name
    for path in FOLDER.glob('*.py')
    if path.name != 'labelled_data.py'
)


@pytest.mark.slow
@pytest.mark.parametrize('script', SCRIPTS)
def test_a_benchmark_answers_help(script, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', [script, '--help'])
    # for the modules beside it
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(FOLDER / script), run_name='__main__')
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: {script}')
