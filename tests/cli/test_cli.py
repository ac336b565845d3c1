"""The program itself, and ``models``."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import napari_mobilesam
from cli.conftest import Run
from napari_mobilesam.cli.exit_codes import ExitCode, exit_code
from napari_mobilesam.cli.program import message
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.types import CheckpointError


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_module_runs_as_a_program() -> None:
    done = python('-m', 'napari_mobilesam', '--version')
    assert done.returncode == 0
    assert done.stdout.split() == [
        'napari-mobilesam',
        napari_mobilesam.__version__,
    ]


@pytest.mark.parametrize('command', [(), ('models',), ('demo',)])
def test_help_has_examples(command: tuple[str, ...], run: Run) -> None:
    result = run(*command, '--help')
    assert result.code == 0
    assert 'examples:' in result.out
    assert '%(' not in result.out


@pytest.mark.parametrize(
    'command', ['segment', 'measure', 'classify', 'export', 'finetune']
)
def test_help_fits_a_terminal(
    command: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('COLUMNS', '80')
    shown = run(command, '--help').out.splitlines()
    assert [line for line in shown if len(line) > 80] == []


@pytest.mark.parametrize(
    'command', ['train', 'distill', 'finetune', 'evaluate']
)
def test_training_commands_are_there(command: str, run: Run) -> None:
    result = run(command, '--help')
    assert result.code == 0
    assert f'napari-mobilesam {command} ' in result.out


def test_a_full_disk_is_a_matter_of_the_output() -> None:
    error = OSError(errno.ENOSPC, 'No space left on device')
    assert exit_code(error) == ExitCode.OUTPUT
    assert 'There is no space left: delete files' in message(error)
    error.filename = 'a.run/output.txt'
    assert 'no space left for a.run/output.txt' in message(error)


@pytest.mark.slow
@pytest.mark.parametrize('command', ['finetune', 'evaluate'])
def test_missing_data_is_one_line(
    command: str, run: Run, tiny_model: Path, tmp_path: Path
) -> None:
    option = '--base' if command == 'finetune' else '--model'
    result = run(command, tmp_path / 'nowhere', option, tiny_model)
    assert result.code == 2
    assert f'{tmp_path / "nowhere"} is not a folder' in result.err
    assert 'Traceback' not in result.err


def test_no_command_is_bad_usage(run: Run) -> None:
    result = run()
    assert result.code == 2
    assert 'COMMAND' in result.err


def test_closed_pipe_is_quiet() -> None:
    """`napari-mobilesam models | head -0` ends without a traceback."""
    code = (
        'import os, sys\n'
        'reader, writer = os.pipe()\n'
        'os.close(reader)\n'
        'os.dup2(writer, 1)\n'
        'sys.stdout = open(1, "w", buffering=1)\n'
        'from napari_mobilesam.cli import main\n'
        'sys.exit(main(["models"]))\n'
    )
    done = python('-c', code)
    assert done.returncode == 1
    assert done.stderr == ''


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='a shell of POSIX')
@pytest.mark.parametrize(
    'closed',
    [
        '<&- >&- 2>&-',
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ('<&-', '>&-', '2>&-')
        ),
    ],
)
def test_closed_streams(
    closed: str, labels_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'table.csv'
    command = f'{sys.executable} -m napari_mobilesam measure {labels_path}'
    subprocess.run(f'{command} -o {table} {closed}', shell=True, check=True)
    assert len(table.read_text().splitlines()) == 4


@pytest.mark.slow
def test_interrupted_while_it_is_imported() -> None:
    code = (
        'import sys\n'
        'class Interrupt:\n'
        '    def find_spec(self, name, path, target=None):\n'
        '        if name == "napari_mobilesam.cli.measure_command":\n'
        '            raise KeyboardInterrupt\n'
        'sys.meta_path.insert(0, Interrupt())\n'
        'from napari_mobilesam.cli import main\n'
        'sys.exit(main(["models"]))\n'
    )
    done = python('-c', code)
    assert done.returncode == 130
    assert done.stderr == '\nnapari-mobilesam: interrupted\n'


class TestModels:
    @pytest.fixture(autouse=True)
    def empty_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path / 'cache'))
        monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'own'))
        return tmp_path

    def test_list(self, run: Run) -> None:
        result = run('models')
        assert result.code == 0
        lines = result.out.splitlines()
        assert lines[0].startswith('* mobile_sam_cells')
        assert ' ready ' in lines[0]
        official = next(line for line in lines if ' mobile_sam ' in line)
        assert '40.7 MB' in official
        assert 'to download' in official
        assert 'Apache-2.0' in official

    def test_json(self, run: Run) -> None:
        result = run('models', '--json')
        records = json.loads(result.out)
        by_name = {record['name']: record for record in records}
        assert {'mobile_sam', 'mobile_sam_cells', 'vit_b'} <= set(by_name)
        assert Path(by_name['mobile_sam_cells']['path']).is_file()
        assert by_name['mobile_sam']['path'] is None

    def test_bundled_needs_no_download(self, run: Run) -> None:
        result = run('models', 'download', 'mobile_sam_cells')
        assert result.code == 0
        assert Path(result.out.strip()).is_file()

    def test_unknown_name_is_bad_usage(self, run: Run) -> None:
        result = run('models', 'download', 'nix')
        assert result.code == 2
        assert "'nix'" in result.err
        assert 'mobile_sam' in result.err

    def test_failed_download_is_a_failure(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unplugged(name: str, progress: object) -> None:
            raise CheckpointError(f'{name} could not be downloaded')

        monkeypatch.setattr(
            'napari_mobilesam.model.registry.download_model', unplugged
        )
        result = run('models', 'download', 'mobile_sam')
        assert result.code == 1
        assert len(result.err.splitlines()) == 1

    def test_download_shows_progress(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def download(name: str, progress: ProgressLine) -> Path:
            progress(20_000_000, 40_000_000, f'downloading {name}')
            return tmp_path / name

        monkeypatch.setattr(
            'napari_mobilesam.model.registry.download_model', download
        )
        result = run('models', 'download', 'mobile_sam')
        assert result.code == 0
        assert result.err == 'downloading mobile_sam 50 %\n'
        assert result.out == f'{tmp_path / "mobile_sam"}\n'
        quiet = run('models', 'download', 'mobile_sam', '--quiet')
        assert quiet.err == ''


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_in_a_log_is_short() -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as progress:
        for done in range(1001):
            progress(done, 1000, 'decoding')
    assert len(stream.getvalue().splitlines()) == 11
    assert stream.getvalue().endswith('decoding 1000/1000\n')


def test_a_log_repeats_no_line_while_the_total_moves() -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as progress:
        for done in range(90, 101):
            progress(done, done + 5, 'Segmenting')
    assert stream.getvalue().splitlines() == [
        *('Segmenting 90/95', 'Segmenting 94 %', 'Segmenting 95 %')
    ]


def test_progress_on_a_terminal_is_one_line() -> None:
    stream = Terminal()
    with ProgressLine(stream) as progress:
        progress(1, 4, 'decoding')
        progress(2, 4, 'decoding')
    assert stream.getvalue().split('\r\x1b[K') == [
        *('', 'decoding 1/4', 'decoding 2/4', '')
    ]
