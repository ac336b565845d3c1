"""The walls of the package: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_mobilesam

PACKAGE = Path(napari_mobilesam.__file__).parent
NAME = 'napari_mobilesam'

# What each folder may import of the package, besides itself. `types`, `text`
# and `files` stand below all of them.
BASE = {'files', 'text', 'types'}
BELOW_SESSION = BASE | {
    'extra',
    'large',
    'model',
    'readers',
    'segmentation',
    'training',
}
ALLOWED: dict[str, set[str]] = {
    '__init__': set(),
    '__main__': {'cli'},
    'files': set(),
    'types': set(),
    'text': {'types'},
    # optional dependencies, and what to say where they are missing
    'extra': set(),
    # image files; below both training and large, which read them alike
    'readers': BASE | {'extra'},
    'model': BASE,
    'segmentation': BASE | {'model'},
    'large': BASE | {'extra', 'readers', 'segmentation', 'model'},
    'training': BASE | {'readers', 'segmentation', 'model'},
    'session': BELOW_SESSION,
    'widgets': BELOW_SESSION | {'sample_data', 'session'},
    'sample_data': {'types'},
    'cli': BELOW_SESSION | {'sample_data', 'widgets'},
}
GUI = {'magicgui', 'napari', 'PyQt6', 'PySide6', 'qtpy', 'superqt', 'vispy'}
GUI_ROOMS = {'widgets'}

MODULES = sorted(PACKAGE.rglob('*.py'))


def room_of(module: str) -> str:
    """``'napari_mobilesam.model.sam'`` → ``'model'``."""
    return (module.split('.') + ['__init__'])[1]


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module but for those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(tree):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == 'TYPE_CHECKING'
        ):
            continue
        yield child
        yield from runtime_nodes(child)


def imported_modules(path: Path) -> set[str]:
    """Modules that a file imports when it runs, lazily or not."""
    names: set[str] = set()
    for node in runtime_nodes(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            module = str(node.module)
            names.add(module)
            if module == NAME:
                names |= {f'{NAME}.{alias.name}' for alias in node.names}
    return names


def room_of_file(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize(
    'path', MODULES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_go_one_way(path: Path) -> None:
    room = room_of_file(path)
    assert room in ALLOWED, f'say in ALLOWED what {room} may import'
    # The package's own names (`__version__`) are no room.
    rooms = {
        room_of(m)
        for m in imported_modules(path)
        if m == NAME or m.startswith(f'{NAME}.')
    } - {'__init__', '__version__'}
    assert rooms <= ALLOWED[room] | {room}


@pytest.mark.parametrize(
    'path',
    [p for p in MODULES if room_of_file(p) not in GUI_ROOMS],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_no_gui_below_widgets(path: Path) -> None:
    tops = {name.split('.')[0] for name in imported_modules(path)}
    assert not tops & GUI


def test_walls_hold_against_a_trespasser(tmp_path: Path) -> None:
    """The walk itself sees lazy imports and both spellings."""
    module = tmp_path / 'module.py'
    module.write_text(
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n    import numpy\n'
        'def f():\n'
        '    from napari_mobilesam import widgets\n'
        '    import qtpy.QtCore\n',
        'utf-8',
    )
    names = imported_modules(module)
    assert f'{NAME}.widgets' in names
    assert 'qtpy.QtCore' in names
    assert 'numpy' not in names


def loaded_after(code: str) -> set[str]:
    """Top-level packages in ``sys.modules`` after ``code``, run alone."""
    code += '\nimport sys; print(*{m.split(".")[0] for m in sys.modules})'
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    'module', [NAME, f'{NAME}.types', f'{NAME}.cli', f'{NAME}.model.registry']
)
def test_importing_is_cheap(module: str) -> None:
    assert not loaded_after(f'import {module}') & (GUI | {'torch'})


@pytest.mark.parametrize(
    'module', [f'{NAME}.model.sam', f'{NAME}.segmentation.predictor']
)
def test_model_and_segmentation_load_no_gui(module: str) -> None:
    loaded = loaded_after(f'import {module}')
    assert 'torch' in loaded
    assert not loaded & GUI


def test_public_names_exist() -> None:
    for name in napari_mobilesam.__all__:
        assert getattr(napari_mobilesam, name) is not None
    assert set(napari_mobilesam.__all__) <= set(dir(napari_mobilesam))


def test_unknown_public_name_is_refused() -> None:
    with pytest.raises(AttributeError, match='no_such_name'):
        napari_mobilesam.no_such_name  # noqa: B018
