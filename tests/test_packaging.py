"""Contents of the manifest and the wheel; versions and dependencies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from conftest import ROOT
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import napari_mobilesam

NAME = 'napari-mobilesam'
PACKAGE = Path(napari_mobilesam.__file__).parent


@pytest.fixture(scope='module')
def manifest() -> PluginManifest:
    """Manifest as napari finds it."""
    return PluginManifest.from_distribution(NAME)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Wheel built from the sources in this checkout."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    source.mkdir()
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / 'src',
        source / 'src',
        ignore=shutil.ignore_patterns('__pycache__', '*.egg-info'),
    )
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps']
    command += ['--no-build-isolation', '--wheel-dir', folder, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob('*.whl')
    return zipfile.ZipFile(path)


def test_manifest_has_what_the_menus_need(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    names = [widget.display_name for widget in contributions.widgets or ()]
    assert 'Segmentation' in names
    assert contributions.sample_data
    menus = contributions.menus or {}
    titles = {
        command.id: command.title
        for command in manifest.contributions.commands or ()
    }
    assert {
        titles[getattr(item, 'command', '')]
        for item in menus['napari/layers/segment']
    } >= {'Segment by prompts', 'Segment everything', 'Fine-tune on labels'}


def test_manifest_commands_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()


def test_manifest_uses_nothing_that_older_npe2_refuses() -> None:
    """npe2 before 0.10 calls such a manifest invalid."""
    text = (PACKAGE / 'napari.yaml').read_text('utf-8')
    assert not re.search(r'\b(tabify|default_dock_area)\b', text)


def test_top_level_manifest_is_the_packaged_one() -> None:
    link = ROOT / 'napari.yaml'
    packaged = ROOT / 'src' / 'napari_mobilesam' / 'napari.yaml'
    if os.name == 'posix' and (ROOT / '.git').exists():
        assert link.is_symlink()
        assert not Path(os.readlink(link)).is_absolute()
        assert link.resolve() == packaged.resolve()
    assert packaged.is_file()


def test_wheel_has_manifest_weights_and_types(wheel: zipfile.ZipFile) -> None:
    sizes = {
        info.filename.removeprefix('napari_mobilesam/'): info.file_size
        for info in wheel.infolist()
    }
    assert sizes['napari.yaml'] > 100
    assert sizes['weights/mobile_sam_cells.safetensors'] > 1_000_000
    assert 'py.typed' in sizes
    assert any(name.endswith('.dist-info/licenses/LICENSE') for name in sizes)
    # nothing but the package
    tops = {name.split('/')[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith('.dist-info')} == {
        'napari_mobilesam'
    }


def test_sdist_has_what_the_tests_need() -> None:
    """All files of the checkout, but those of the editor and of the CI."""
    if not (ROOT / '.git').exists():
        pytest.skip('this is no checkout')
    listed = subprocess.run(
        ('git', 'ls-files'), cwd=ROOT, capture_output=True, text=True
    )
    taken = re.findall(
        r'^(?:graft|include) (.+)$',
        (ROOT / 'MANIFEST.in').read_text('utf-8'),
        re.MULTILINE,
    )
    given = {name for line in taken for name in line.split()}
    # by setuptools itself
    given |= {'src', 'pyproject.toml', 'README.md', 'LICENSE'}
    tops = {line.split('/')[0] for line in listed.stdout.splitlines()}
    left_out = {'.gitignore', '.pre-commit-config.yaml', 'MANIFEST.in'}
    assert tops - left_out == given
    for name in given:
        assert (ROOT / name).exists(), name


def test_wheel_has_every_file(wheel: zipfile.ZipFile) -> None:
    """Sources, sample images and others, whatever their suffix."""
    inside = set(wheel.namelist())
    missing = [
        path.relative_to(ROOT / 'src').as_posix()
        for path in (ROOT / 'src' / 'napari_mobilesam').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
        if path.relative_to(ROOT / 'src').as_posix() not in inside
    ]
    assert missing == []


def test_wheel_asks_for_no_qt_binding(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (n for n in wheel.namelist() if n.endswith('/METADATA'))
    lines = wheel.read(metadata).decode().splitlines()
    plain = [
        line
        for line in lines
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert any('torch' in line for line in plain)
    assert not [x for x in plain if re.search('pyqt|pyside', x.lower())]
    assert 'Requires-Python: >=3.11' in lines


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
    citation = (ROOT / 'CITATION.cff').read_text('utf-8')
    written = project['project']['version']
    assert napari_mobilesam.__version__ == written
    assert version(NAME) == written
    assert re.search(rf'^version: {re.escape(written)}$', citation, re.M)


def requirements() -> list[Requirement]:
    """Dependencies of the package and its extras, but for Qt bindings."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
    lists = [
        project['project']['dependencies'],
        *project['project']['optional-dependencies'].values(),
    ]
    found = [Requirement(text) for texts in lists for text in texts]
    return [r for r in found if r.name != NAME and r.specifier]


def pins(file: str) -> dict[str, str]:
    """Versions that a constraints file names."""
    lines = re.findall(
        r'^([\w.-]+)==(\S+)$', (ROOT / file).read_text('utf-8'), re.M
    )
    return {canonicalize_name(name): version for name, version in lines}


def test_constraints_satisfy_the_ranges() -> None:
    """The tests run with versions that the package allows."""
    pinned = pins('constraints.txt')
    assert 'torch' in pinned
    for requirement in requirements():
        pin = pinned.get(canonicalize_name(requirement.name))
        assert pin is None or pin in requirement.specifier, requirement


def test_oldest_constraints_are_the_floors() -> None:
    """`tox -e oldest` installs the oldest version of every dependency."""
    oldest = pins('constraints-oldest.txt')
    for requirement in requirements():
        (specifier,) = requirement.specifier
        assert specifier.operator == '>=', requirement
        pin = oldest[canonicalize_name(requirement.name)]
        assert Version(pin) == Version(specifier.version), requirement


def test_program_is_installed() -> None:
    (program,) = entry_points(group='console_scripts', name=NAME)
    assert program.load() is napari_mobilesam.cli.main
