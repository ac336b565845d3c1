"""Address of the repository in what is released."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, load_script

ADDRESS = 'https://github.com/example/name'


@pytest.fixture
def tool():
    return load_script(ROOT / 'tools' / 'set_address.py')


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Copy of what the tool reads."""
    for name in ('pyproject.toml', 'README.md', 'CHANGELOG.md'):
        shutil.copy(ROOT / name, tmp_path)
    for name in ('CONTRIBUTING.md', 'CITATION.cff'):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / 'docs', tmp_path / 'docs')
    return tmp_path


def test_links_and_pictures_become_absolute(tool, sources):
    before = (sources / 'README.md').read_text('utf-8')
    given = [f'{ADDRESS}.git', '--tag', 'v0.1.0', '--root', str(sources)]
    assert tool.main(given) == 0
    project = tomllib.loads((sources / 'pyproject.toml').read_text('utf-8'))
    urls = project['project']['urls']
    assert urls['Source'] == ADDRESS
    assert urls['Bug Tracker'] == f'{ADDRESS}/issues'
    page = (sources / 'README.md').read_text('utf-8')
    targets = re.findall(r'\]\(([^)]+)\)', page)
    assert len(targets) > 20
    assert all(target.startswith('https://') for target in targets)
    raw = 'https://raw.githubusercontent.com/example/name/v0.1.0/'
    pictures = re.findall(r'!\[[^\]]*\]\(([^)]+)\)', page)
    assert len(pictures) == before.count('![')
    for picture in pictures:
        assert picture.startswith(raw)
        assert (sources / picture.removeprefix(raw)).is_file()
    assert f'({ADDRESS}/blob/v0.1.0/docs/tracking.md)' in page
    # the rest of both stays
    assert re.sub(r'\]\([^)]+\)', '', page) == re.sub(
        r'\]\([^)]+\)', '', before
    )


@pytest.mark.parametrize(
    ('address', 'tag', 'words'),
    [
        ('', 'v1', "'' is not the address"),
        ('example/name', 'v1', 'give it as https://github.com'),
        ('https://github.com//', 'v1', 'is not the address'),
        ('https://elsewhere.org/a/b', 'v1', 'is not the address'),
        (ADDRESS, '', "'' is not a tag"),
        (ADDRESS, 'a b', 'is not a tag'),
    ],
)
def test_what_is_no_address_changes_nothing(
    tool, sources, capsys, address, tag, words
):
    before = (sources / 'pyproject.toml').read_bytes()
    given = [address, '--tag', tag, '--root', str(sources)]
    assert tool.main(given) == 2
    assert words in capsys.readouterr().err
    assert (sources / 'pyproject.toml').read_bytes() == before


def test_twice_and_links_to_nothing_are_refused(tool, sources, capsys):
    given = [ADDRESS, '--tag', 'v1', '--root', str(sources)]
    readme = sources / 'README.md'
    page = readme.read_text('utf-8')
    readme.write_text(f'{page}[gone](docs/gone.md)', 'utf-8')
    assert tool.main(given) == 2
    assert 'links to docs/gone.md' in capsys.readouterr().err
    readme.write_text(page, 'utf-8')
    assert tool.main(given) == 0
    assert tool.main(given) == 2
    assert 'already has [project.urls]' in capsys.readouterr().err


def test_the_sources_name_no_address_and_the_release_does():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
    assert 'urls' not in project['project']
    workflow = ROOT / '.github' / 'workflows' / 'release.yml'
    steps = workflow.read_text('utf-8')
    call = steps.index('python tools/set_address.py')
    assert call < steps.index('python -m build')
    assert 'github.repository' in steps
