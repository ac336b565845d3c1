"""The command that makes all figures of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT, load_script

PAGE = (ROOT / 'docs' / 'performance.md').read_text('utf-8')


@pytest.fixture
def figures():
    return load_script(ROOT / 'benchmarks' / 'figures.py')


def test_every_benchmark_of_the_page_is_run(figures):
    run = {figure.command[0] for figure in figures.FIGURES}
    scripts = {path.name for path in (ROOT / 'benchmarks').glob('*.py')}
    assert run == scripts - {'figures.py', 'labelled_data.py'}
    # as the page says
    sections = re.findall(r'^## (.+)$', PAGE, re.MULTILINE)
    assert {figure.section for figure in figures.FIGURES} <= set(sections)
    names = [figure.name for figure in figures.FIGURES]
    assert len(set(names)) == len(names)


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def few(figures, monkeypatch, tmp_path):
    """Three benchmarks that take no time; the second one fails."""
    log = tmp_path / 'log'
    good = f"open({str(log)!r}, 'a').write('x'); print('| a | b |')"
    script(tmp_path / 'good.py', good)
    script(tmp_path / 'bad.py', "print('half'); raise SystemExit(3)")
    monkeypatch.setattr(figures, 'HERE', tmp_path)
    monkeypatch.setattr(figures, 'commit', lambda: 'abc')
    monkeypatch.setattr(
        figures,
        'FIGURES',
        (
            figures.Figure('first', 'Speed', ('good.py', '--x')),
            figures.Figure('second', 'Speed', ('bad.py',)),
            figures.Figure('third', 'Accuracy', ('good.py',)),
        ),
    )
    figures.log = log
    return figures


@pytest.mark.slow
def test_pages_are_written_and_a_failure_stops_nothing(few, tmp_path, capsys):
    out = tmp_path / 'out'
    assert few.main(['--out', str(out)]) == 1
    assert 'not made: second' in capsys.readouterr().out
    page = (out / 'first.md').read_text()
    assert page.startswith('## Speed\n\n`python benchmarks/good.py --x`, 20')
    assert 'commit abc' in page
    assert page.endswith('| a | b |\n')
    assert (out / 'second.failed.txt').read_text() == 'half\n'
    assert not (out / 'second.md').exists()
    both = (out / 'figures.md').read_text()
    assert both.index('## Speed') < both.index('## Accuracy')
    # goes on where it was, unless the commit is another
    few.main(['--out', str(out)])
    assert few.log.read_text() == 'xx'
    assert 'there already' in capsys.readouterr().out
    few.main(['--out', str(out), '--again', 'first'])
    assert few.log.read_text() == 'xxx'
    few.commit = lambda: 'def'
    few.main(['--out', str(out), 'third'])
    assert few.log.read_text() == 'xxxx'


def test_names_are_listed_and_checked(few, capsys):
    assert few.main(['--list']) == 0
    assert 'first        Speed: python benchmarks/good.py --x' in (
        capsys.readouterr().out
    )
    with pytest.raises(SystemExit):
        few.main(['fourth'])
    assert 'no fourth; there is first' in capsys.readouterr().err


def test_what_is_not_there_is_left_out(few, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.setattr(few.shutil, 'which', lambda name: None)
    window = few.Figure('w', 'Speed', ('good.py',), 'window')
    assert few.what_is_missing(window).startswith('there is no display')
    monkeypatch.setenv('DISPLAY', ':1')
    assert few.what_is_missing(window) == ''
