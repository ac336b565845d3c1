"""The code of every tutorial runs, from top to bottom, and finds objects."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from _pytest.mark import ParameterSet
from conftest import ROOT

from napari_mobilesam.cli import main

FOLDER = ROOT / 'docs' / 'tutorials'
PAGES = sorted(path for path in FOLDER.glob('*.md') if path.stem != 'index')
# Those that take more than a few seconds.
QUICK = ('first-cell', 'qupath-fiji')
BLOCK = re.compile(r'^ *```(\w*)\n(.*?)^ *```', re.S | re.M)

Names = dict[str, Any]


def objects(path: str) -> int:
    """Number of labels in a label image."""
    return np.unique(tifffile.imread(path)).size - 1


def rows(path: str) -> int:
    """Number of rows of a table, without the titles."""
    return len(Path(path).read_text('utf-8').splitlines()) - 1


def check_first_cell(names: Names) -> None:
    label = tifffile.imread('nucleus.tif')
    # the window, Python and the command line agree
    assert 1000 < names['mask'].sum() < 4000
    np.testing.assert_array_equal(label == 1, names['mask'])


def check_stack(names: Names) -> None:
    # the nucleus is 6 planes high, of which the outermost are faint
    assert 12 in names['planes']
    assert 4 <= len(names['planes']) <= 7
    assert objects('stack_labels.tif') == rows('volumes.csv')
    assert objects('stack_labels.tif') >= 8


def check_tracks(names: Names) -> None:
    assert 12 <= names['tracks'].count <= 20
    assert tifffile.imread('tracked.tif').shape == (4, 256, 256)
    assert Path('tracks.xml').read_text('utf-8').count('<Spot ') >= 4 * 12
    assert rows('tracks.csv') >= 4 * 12
    assert Path('cells.geff').is_dir()


def check_whole_slide(names: Names) -> None:
    assert rows('cells.csv') >= 40
    assert len(names['part'].table) >= 3
    assert names['part'].labels.shape == (400, 400)


def check_fine_tune(names: Names) -> None:
    assert 10 <= names['count'] <= 40
    # these labels differ from what the model draws: it does learn from them
    (model,) = Path('models').glob('**/my_nuclei*.safetensors')
    assert model.stat().st_size > 1_000_000


def check_qupath_fiji(names: Names) -> None:
    expected = names['labels']
    for found in (
        tifffile.imread('from_qupath.tif'),
        tifffile.imread('from_fiji.tif'),
        names['again'],
    ):
        np.testing.assert_array_equal(found > 0, expected > 0)
    assert rows('cells.csv') == names['count'] > 20


def check_cluster(names: Names) -> None:
    import zarr

    for name in ('part', 'again'):
        labels = zarr.open_group(f'{name}.ome.zarr', mode='r')['0']
        assert np.asarray(labels[:]).max() >= 4


def check_scripting(names: Names) -> None:
    for number in range(3):
        assert objects(f'plate/labels/well{number}_labels.tif') >= 2
        assert rows(f'plate/well{number}.csv') >= 2
    assert rows('well0.csv') == objects('plate/labels/well0_labels.tif')
    assert Path('nuclei.session').stat().st_size > 100


CHECKS: dict[str, Callable[[Names], None]] = {
    'first-cell': check_first_cell,
    'stack': check_stack,
    'tracks': check_tracks,
    'whole-slide': check_whole_slide,
    'fine-tune': check_fine_tune,
    'qupath-fiji': check_qupath_fiji,
    'cluster': check_cluster,
    'scripting': check_scripting,
}


@contextmanager
def in_background() -> Iterator[Callable[[str], None]]:
    """Start programs that end with the page."""
    running: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> None:
        command = [sys.executable, '-m', *shlex.split(line)]
        running.append(subprocess.Popen(command))
        # what follows waits for it, as its reader does
        time.sleep(3)

    try:
        yield start
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)


def run_line(line: str, start: Callable[[str], None]) -> None:
    """Run one line of a shell block."""
    if line.endswith('&'):
        start(line.removesuffix('&'))
        return
    program, *arguments = shlex.split(line)
    assert program == 'napari-mobilesam', line
    assert main([*arguments]) == 0, line


def _page(path: Path) -> ParameterSet:
    marks = () if path.stem in QUICK else (pytest.mark.slow,)
    return pytest.param(path, marks=marks, id=path.stem)


@pytest.mark.parametrize('path', map(_page, PAGES))
def test_tutorial(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'models'))
    names: Names = {'__name__': '__main__'}
    with in_background() as start:
        for language, text in BLOCK.findall(path.read_text('utf-8')):
            if language == 'python':
                exec(compile(text, path.name, 'exec'), names)
            else:
                assert language == 'sh'
                for line in text.replace('\\\n', ' ').splitlines():
                    run_line(line, start)
    CHECKS[path.stem](names)


def test_every_tutorial_is_checked_and_listed() -> None:
    stems = {path.stem for path in PAGES}
    assert stems == set(CHECKS)
    listed = (FOLDER / 'index.md').read_text('utf-8')
    shown = (ROOT / 'mkdocs.yml').read_text('utf-8')
    for stem in stems:
        assert f']({stem}.md)' in listed
        assert f'tutorials/{stem}.md' in shown


def test_pictures_of_tutorials_are_small_and_used() -> None:
    pictures = sorted((ROOT / 'docs' / 'images').glob('*.png'))
    assert pictures
    texts = ''.join(
        page.read_text('utf-8')
        for page in (ROOT / 'README.md', *ROOT.glob('docs/**/*.md'))
    )
    script = (ROOT / 'tools' / 'screenshots.py').read_text('utf-8')
    for picture in pictures:
        assert picture.stat().st_size < 150_000, picture
        assert f'images/{picture.name})' in texts
        assert picture.name in script
