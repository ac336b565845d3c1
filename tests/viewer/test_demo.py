"""The README's main command, executed as a user would."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import ROOT

from napari_mobilesam.cli import main
from napari_mobilesam.sample_data import read_sample
from napari_mobilesam.widgets import demo, display

on_linux = pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='Xvfb is of Linux'
)


def demo_command() -> list[str]:
    """Command that ``tox -e demo`` runs."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'tox.ini', 'utf-8')
    command = config['testenv:demo']['commands'].replace('{posargs}', '')
    program, *arguments = shlex.split(command)
    assert program == 'napari-mobilesam'
    return [sys.executable, '-m', 'napari_mobilesam', *arguments]


@on_linux
@pytest.mark.timeout(900)
def test_demo_without_a_display(tmp_path: Path) -> None:
    """From nothing to a labelled cell, then to all of them."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ('DISPLAY', 'WAYLAND_DISPLAY')
    }
    # nothing of the user's settings or downloads takes part
    for name in ('XDG_CONFIG_HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME'):
        environment[name] = str(tmp_path / name)
    done = subprocess.run(
        demo_command(),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'virtual' in done.stderr
    output = tmp_path / 'demo-output'
    assert {path.name for path in output.iterdir()} == {
        'clicked.png',
        'clicked.tif',
        'everything.png',
        'everything.tif',
    }
    image = read_sample(demo.SAMPLE)
    row, column = (round(x) for x in demo.a_cell(image))
    clicked = tifffile.imread(output / 'clicked.tif')
    assert clicked.shape == image.shape[:2]
    assert clicked[row, column] == 1
    # one nucleus, neither a speck nor the background
    assert 300 < np.count_nonzero(clicked) < 10_000
    everything = tifffile.imread(output / 'everything.tif')
    assert everything.shape == image.shape[:2]
    assert everything.max() >= 5
    from skimage.io import imread

    for name in ('clicked.png', 'everything.png'):
        picture = imread(output / name)
        assert picture.shape[0] >= 800
        assert picture.shape[1] >= 1200
        # a canvas that was not drawn is black all over
        assert picture[300:600, 400:1000, :3].std() > 10


@on_linux
def test_virtual_display_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('DISPLAY', ':before')
    with display.virtual_display() as name:
        assert os.environ['DISPLAY'] == name
        socket = Path('/tmp/.X11-unix') / f'X{name[1:]}'
        assert socket.exists()
    assert os.environ['DISPLAY'] == ':before'
    assert not socket.exists()


@on_linux
def test_no_display_at_all_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    monkeypatch.setenv('PATH', '')
    code = main(['demo', '--output', str(tmp_path)])
    assert code == 1
    error = capsys.readouterr().err
    assert 'apt-get install xvfb' in error
    assert 'Traceback' not in error


def test_output_that_is_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'file'
    path.write_text('precious')
    assert main(['demo', '--tour', '--output', str(path)]) == 3
    assert f'cannot write to {path}' in capsys.readouterr().err
    assert path.read_text() == 'precious'


def test_the_cell_is_a_bright_one_near_the_middle() -> None:
    image = np.full((100, 120), 10, np.uint8)
    rows, columns = np.mgrid[:100, :120]
    for row, column in ((50, 70), (15, 15), (80, 100)):
        image[(rows - row) ** 2 + (columns - column) ** 2 <= 64] = 200
    row, column = demo.a_cell(image)
    assert np.hypot(row - 50, column - 70) < 4


def test_no_cell_to_click() -> None:
    with pytest.raises(RuntimeError, match='no bright object'):
        demo.a_cell(np.zeros((20, 20), np.uint8))
