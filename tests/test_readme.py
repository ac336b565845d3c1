"""Commands, options, links and code in README and docs are valid."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from napari_mobilesam.cli.program import build_parser

README = ROOT / 'README.md'
PAGES = [README, ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/**/*.md'))]


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """Fenced code blocks of a page."""
    pattern = rf'^```{language}\n(.*?)^```'
    return re.findall(pattern, path.read_text('utf-8'), re.S | re.M)


def shell_lines() -> list[tuple[Path, str]]:
    """Commands in the shell blocks of all pages, without comments."""
    return [
        (path, shlex.join(shlex.split(line, comments=True)))
        for path in PAGES
        for block in blocks(path, 'sh')
        for line in block.replace('\\\n', ' ').splitlines()
        if line.strip()
    ]


def tox_config() -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'tox.ini', 'utf-8')
    return config


def test_readme_has_the_two_commands() -> None:
    lines = [line for path, line in shell_lines() if path == README]
    joined = [line.replace("'&&'", '&&') for line in lines]
    for environment in ('demo', 'test'):
        assert f'python -m pip install tox && tox -e {environment}' in joined


def test_ci_runs_the_command_of_the_readme() -> None:
    script = (ROOT / '.ci' / 'run').read_text('utf-8')
    assert script.splitlines()[-1] == (
        'python -m pip install tox && tox -e test'
    )


def test_every_tox_environment_named_exists() -> None:
    named = {
        environment
        for path in (*PAGES, *sorted(ROOT.glob('.github/workflows/*.yml')))
        for environments in re.findall(
            r'tox (?:-r )?-e ([\w,-]+)', path.read_text('utf-8')
        )
        for environment in environments.split(',')
    }
    assert {'demo', 'test', 'slow', 'lint', 'docs', 'bench'} <= named
    sections = set(tox_config().sections())
    # `test` is the plain environment
    assert named - {'test'} <= {
        section.removeprefix('testenv:') for section in sections
    }


def program_lines() -> list[tuple[Path, str]]:
    return [
        (path, line)
        for path, line in shell_lines()
        if line.startswith('napari-mobilesam ') and '…' not in line
    ]


@pytest.mark.parametrize(
    ('path', 'line'),
    program_lines(),
    ids=lambda value: value if isinstance(value, str) else page_id(value),
)
def test_command_lines_are_understood(path: Path, line: str) -> None:
    options = build_parser().parse_args(shlex.split(line)[1:])
    assert callable(options.run)


def test_there_are_command_lines() -> None:
    assert len(program_lines()) >= 8


@pytest.mark.parametrize('path', PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r'\]\(([^)\s]+)\)', path.read_text('utf-8'))
    missing = [
        target
        for target in targets
        if not re.match(r'https?:|#', target)
        if not (path.parent / target.split('#')[0]).exists()
    ]
    assert missing == []


@pytest.mark.parametrize('path', PAGES, ids=page_id)
def test_tests_that_are_named_exist(path: Path) -> None:
    named = re.findall(r'\btests/[\w/.]*\w', path.read_text('utf-8'))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_python_of_the_readme_runs() -> None:
    (code,) = blocks(README, 'python')
    names: dict[str, object] = {}
    exec(compile(code, 'README.md', 'exec'), names)
    image, mask, labels = (names[n] for n in ('image', 'mask', 'labels'))
    assert mask.shape == labels.shape == image.shape[:2]  # type: ignore[attr-defined]
    assert len(names['table']) == labels.max()  # type: ignore[arg-type, attr-defined]
    assert mask.any()  # type: ignore[attr-defined]


def test_site_loads_nothing_from_other_servers() -> None:
    """The plugin `offline` names a server, unless a script is given."""
    site = (ROOT / 'mkdocs.yml').read_text('utf-8')
    (script,) = re.findall(r'^    - (\S*iframe-worker\S*)$', site, re.M)
    assert (ROOT / 'docs' / script).is_file()
    assert 'font: false' in site
    assert not re.search(r'https?:', site)
