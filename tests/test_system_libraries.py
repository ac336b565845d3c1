"""Tests of the script that installs system libraries."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, load_script

SCRIPT = ROOT / 'tools' / 'system_libraries.py'


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script(SCRIPT)
    monkeypatch.setattr(module.sys, 'platform', 'linux')
    return module


@pytest.fixture
def commands(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> list[list[str]]:
    """Record commands instead of running them."""
    run: list[list[str]] = []

    def record(
        command: list[str], **_: object
    ) -> subprocess.CompletedProcess[bytes]:
        run.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, 'run', record)
    monkeypatch.setattr(script, 'missing_packages', lambda: ['xvfb', 'libgl1'])
    monkeypatch.setattr(
        script.shutil, 'which', lambda name: f'/usr/bin/{name}'
    )
    return run


def as_user(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.os, 'geteuid', lambda: 1000, raising=False)


def test_root_installs_what_is_missing(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script.os, 'geteuid', lambda: 0, raising=False)
    assert script.main([]) == 0
    assert [command[:2] for command in commands] == [
        ['apt-get', 'update'],
        ['apt-get', 'install'],
    ]
    assert commands[1][-2:] == ['xvfb', 'libgl1']
    assert 'missing: xvfb libgl1' in capsys.readouterr().err


def test_sudo_is_used_if_it_asks_nothing(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_user(script, monkeypatch)
    assert script.main([]) == 0
    assert commands[0] == ['sudo', '-n', 'true']
    assert commands[-1][:2] == ['sudo', '-n']
    assert 'apt-get' in commands[-1]


@pytest.mark.parametrize(
    ('absent', 'message'),
    [('sudo', 'please run: sudo apt-get'), ('apt-get', 'not Debian')],
)
def test_without_rights_it_says_what_to_do(
    absent: str,
    message: str,
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_user(script, monkeypatch)
    monkeypatch.setattr(
        script.shutil, 'which', lambda name: None if name == absent else name
    )
    assert script.main([]) == 0
    assert not [command for command in commands if 'install' in command]
    assert message in capsys.readouterr().err


def test_failure_of_apt_is_passed_on(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script.os, 'geteuid', lambda: 0, raising=False)
    monkeypatch.setattr(
        script.subprocess,
        'run',
        lambda command, **_: subprocess.CompletedProcess(command, 100),
    )
    assert script.main([]) == 100


def test_check_installs_nothing(
    script: ModuleType, commands: list[list[str]]
) -> None:
    assert script.main(['--check']) == 1
    assert commands == []


@pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='only Linux is looked at'
)
def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    import fcntl

    copy = shutil.copy(SCRIPT, tmp_path)
    with open(copy, encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, copy, '--check'], stderr=subprocess.DEVNULL
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
    assert second.wait() in (0, 1)


def test_other_systems_need_nothing(
    script: ModuleType,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script.sys, 'platform', 'darwin')
    assert script.main([]) == 0
    assert commands == []


def test_what_is_missing_is_found_by_content(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, 'LIBRARIES', {'libno': 'libno-such.so.9'})
    monkeypatch.setattr(script, 'PROGRAMS', {'py': sys.executable, 'no': '-'})
    monkeypatch.setattr(script, 'FILES', {'fonts': ('/no/such/*.ttf',)})
    assert script.missing_packages() == ['libno', 'no', 'fonts']


@pytest.mark.skipif(
    shutil.which('apt-get') is None, reason='only Debian has these packages'
)
def test_tox_has_left_nothing_missing() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, '--check'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
