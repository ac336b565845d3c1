"""Order of the package's folders: which modules may import which."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from imported_names import imported_names

import napari_mobilesam
from napari_mobilesam import background_imports

NAME = 'napari_mobilesam'
PACKAGE = Path(napari_mobilesam.__file__).parent

# What each folder may import of the package, besides itself. `types`, `text`,
# `files`, `palette` and `parameter_fields` stand below all of them.
BASE = {
    'argument_checks',
    'background_imports',
    'files',
    'lru_cache',
    'palette',
    'parameter_fields',
    'run_lock',
    'schema',
    'table_keys',
    'text',
    'time_left',
    'types',
    'units',
}
BELOW_SESSION = BASE | {
    'export',
    'measure',
    'extra',
    'large',
    'model',
    'readers',
    'segmentation',
    'series',
    'settings',
    'tracking',
    'training',
}
ALLOWED: dict[str, set[str]] = {
    '__init__': {'background_imports'},
    '__main__': {'cli'},
    'argument_checks': {'types'},
    'background_imports': set(),
    'files': set(),
    'lru_cache': set(),
    'palette': {'types'},
    'parameter_fields': set(),
    'run_lock': {'types'},
    'schema': set(),
    'settings': {'files'},
    'table_keys': {'argument_checks', 'types'},
    'types': {'parameter_fields'},
    'units': set(),
    'text': {'extra', 'types'},
    'time_left': {'text'},
    # optional dependencies, and what to say where they are missing
    'extra': set(),
    # image files; below both training and large, which read them alike
    'readers': BASE | {'extra'},
    'model': BASE | {'extra'},
    'segmentation': BASE | {'extra', 'model'},
    'large': BASE | {'extra', 'readers', 'segmentation', 'model'},
    # labels in the formats of other programs, and tables of measurements
    'export': BASE | {'extra', 'large', 'readers'},
    'measure': BASE | {'export', 'readers'},
    # many images: files, labels and records
    'series': BASE | {'export', 'large', 'model', 'readers', 'segmentation'},
    'training': BASE | {'export', 'readers', 'segmentation', 'model'},
    # objects through time: links, corrections and files
    'tracking': BASE | {'export', 'extra', 'large'},
    'session': BELOW_SESSION,
    'widgets': BELOW_SESSION | {'sample_data', 'session'},
    'sample_data': {'drawn_samples', 'types'},
    'drawn_samples': set(),
    'cli': BELOW_SESSION | {'sample_data', 'widgets'},
}
# Folders inside them, lowest first. A folder imports folders of lower levels
# only; modules directly in `session`, `widgets`, ... stand above all of these.
LEVELS: dict[str, tuple[set[str], ...]] = {
    'large': ({'io'},),
    'session': (
        {'images'},
        {'runtime'},
        {'objects'},
        {'prompts'},
        {'everything'},
        {'files'},
        {'track'},
        {'series'},
    ),
    'widgets': (
        {'viewer'},
        {'parts'},
        {
            'everything',
            'prompts',
            'refine',
            'series',
            'table',
            'track',
            'training',
        },
    ),
}
GUI = {'magicgui', 'napari', 'PyQt6', 'PySide6', 'qtpy', 'superqt', 'vispy'}
GUI_ROOMS = {'widgets'}

# Imports against the order of LEVELS, and imports that close a circle, that
# are still to be removed. The lists only shrink: an entry that no longer
# applies fails the test, too.
KNOWN_VIOLATIONS: set[str] = set()
KNOWN_CIRCLES: set[str] = set()


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """``.../session/files/saving.py`` → ``'session.files.saving'``."""
    parts = path.relative_to(package).with_suffix('').parts
    if len(parts) > 1 and parts[-1] == '__init__':
        parts = parts[:-1]
    return '.'.join(parts)


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob('*.py'))}
FOLDERS = {m for m, path in PATHS.items() if path.name == '__init__.py'}


def room_of(module: str) -> str:
    """``'model.sam'`` → ``'model'``."""
    return module.split('.')[0]


def folder_of(module: str) -> str | None:
    """``'session.files.saving'`` → ``'files'``; None directly in a room."""
    parts = module.split('.')
    inner = parts[1:] if module in FOLDERS else parts[1:-1]
    return inner[0] if inner else None


def own_imports(module: str, annotations: bool = False) -> set[str]:
    """Modules of this package that one of its modules imports."""
    found = set()
    for name in imported_names(PATHS[module], annotations):
        own = name.removeprefix(f'{NAME}.')
        if own == name:
            continue
        # the name of a function or class stands for its module
        while own and own not in PATHS:
            own = own.rpartition('.')[0]
        found.add(own or '__init__')
    return found - {module}


def level_of(module: str) -> int:
    """Height of a module's folder in its room; see `LEVELS`."""
    folder, levels = folder_of(module), LEVELS.get(room_of(module), ())
    if folder is None:
        return len(levels)
    for level, folders in enumerate(levels):
        if folder in folders:
            return level
    raise AssertionError(f'say in LEVELS where the folder of {module} stands')


def against_the_order(module: str, imported: str) -> bool:
    """True if a module may not import this one of the same folder."""
    if folder_of(module) == folder_of(imported):
        return False
    return level_of(module) <= level_of(imported)


def report(violations: list[str]) -> str:
    return 'not allowed:\n' + '\n'.join(violations)


def assert_only_known(found: set[str], known: set[str]) -> None:
    new, stale = sorted(found - known), sorted(known - found)
    assert not new, report(new)
    assert not stale, f'mended: remove from the known violations {stale}'


def test_imports_between_rooms_go_one_way() -> None:
    violations = []
    for module in PATHS:
        room = room_of(module)
        assert room in ALLOWED, f'say in ALLOWED what {room} may import'
        violations += [
            f'{module} imports {imported}'
            for imported in sorted(own_imports(module) - {'__init__'})
            if room_of(imported) not in ALLOWED[room] | {room}
        ]
    assert not violations, report(violations)


def test_imports_between_folders_of_a_room_go_one_way() -> None:
    violations = {
        f'{module} imports {imported}'
        for module in PATHS
        for imported in own_imports(module, annotations=True)
        if room_of(imported) == room_of(module)
        if against_the_order(module, imported)
    }
    assert_only_known(violations, KNOWN_VIOLATIONS)


def test_levels_name_folders_that_exist() -> None:
    for room, levels in LEVELS.items():
        for folder in set().union(*levels):
            assert (PACKAGE / room / folder / '__init__.py').is_file()


def test_no_gui_below_widgets() -> None:
    violations = [
        f'{module} imports {name}'
        for module, path in PATHS.items()
        if room_of(module) not in GUI_ROOMS
        for name in sorted(imported_names(path, False))
        if name.split('.')[0] in GUI
    ]
    assert not violations, report(violations)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by others."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        reach[start] = seen
    groups = {
        tuple(sorted(n for n in reach[module] if module in reach[n]))
        for module in graph
        if module in reach[module]
    }
    return sorted(list(group) for group in groups)


def test_no_circles_of_imports() -> None:
    """Imports for annotations count: they tie modules as well."""
    graph = {module: own_imports(module, annotations=True) for module in PATHS}
    # the lazy names of the package are for its users
    graph['__init__'] = set()
    found = {' ↔ '.join(group) for group in circles(graph)}
    assert_only_known(found, KNOWN_CIRCLES)


def test_the_checks_find_violations(tmp_path: Path) -> None:
    module = tmp_path / 'module.py'
    module.write_text(
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n    import numpy\n'
        'def f():\n'
        '    from napari_mobilesam import widgets\n'
        '    import qtpy.QtCore\n',
        'utf-8',
    )
    names = imported_names(module)
    assert f'{NAME}.widgets' in names
    assert 'qtpy.QtCore' in names
    assert 'numpy' not in names
    assert 'numpy' in imported_names(module, annotations=True)

    assert against_the_order('large.io.axes', 'large.pipeline')
    assert against_the_order(
        'widgets.prompts.actions', 'widgets.everything.regions'
    )
    assert not against_the_order('large.pipeline', 'large.io.axes')

    graph = {'a': {'b'}, 'b': {'c'}, 'c': {'b', 'd'}, 'd': set()}
    assert circles(graph) == [['b', 'c']]


def loaded_after(*modules: str) -> list[set[str]]:
    """Names in ``sys.modules`` after each of some imports.

    They are made one after the other in a process of their own.
    """
    code = 'import sys\n' + ''.join(
        f'import {module}\nprint(*sys.modules)\n' for module in modules
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_little_is_imported_without_a_window() -> None:
    """No step imports Qt or napari; torch is the last step's."""
    *cheap, model = loaded_after(
        NAME,
        f'{NAME}.types',
        f'{NAME}.model.registry',
        f'{NAME}.cli',
        f'{NAME}.cli.program',
        f'{NAME}.segmentation.predictor',
    )
    for loaded in cheap:
        assert not loaded & (GUI | {'torch'})
    assert 'torch' in model
    assert not model & GUI


def test_first_form_is_built_before_slow_libraries() -> None:
    """The rest is imported on another thread while the dock is shown."""
    dock, form = loaded_after(
        f'{NAME}.widgets.dock', f'{NAME}.widgets.prompts.prompt_widget'
    )
    assert f'{NAME}.session' not in dock
    for loaded in (dock, form):
        assert not loaded & {'torch', 'pandas'}


def test_public_names_exist() -> None:
    for name in napari_mobilesam.__all__:
        assert getattr(napari_mobilesam, name) is not None
    assert set(napari_mobilesam.__all__) <= set(dir(napari_mobilesam))


def test_unknown_public_name_is_refused() -> None:
    with pytest.raises(AttributeError, match='no_such_name'):
        napari_mobilesam.no_such_name  # noqa: B018


def test_modules_that_another_thread_imports(tmp_path, monkeypatch):
    """A package, and a module of it that is imported meanwhile."""
    folder = tmp_path / 'knot'
    folder.mkdir()
    (folder / '__init__.py').write_text(
        'import time\n'
        'import knot_thread\n'
        'time.sleep(0.5)\n'
        'from knot.tail import value\n'
    )
    (folder / 'tail.py').write_text(
        'import time\ntime.sleep(0.5)\nvalue = 1\n'
    )
    (tmp_path / 'knot_thread.py').write_text(
        'import threading\n'
        'from napari_mobilesam.background_imports import import_gently\n'
        'names = ["knot.tail"]\n'
        'thread = threading.Thread(target=import_gently, args=[names])\n'
        'thread.start()\n'
    )
    (tmp_path / 'broken_knot.py').write_text('from math import no_such\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert background_imports.import_beside('knot').value == 1
    import_module('knot_thread').thread.join()
    assert import_module('knot.tail').value == 1
    with pytest.raises(ImportError, match='no_such'):
        background_imports.import_beside('broken_knot')


def test_what_is_imported_already_costs_nothing(monkeypatch):
    """Each load of a model asks; the collector is then left alone."""
    monkeypatch.setattr(background_imports, 'gc', None)
    background_imports.import_gently(['os', 'sys'])


def test_torch_has_a_class_of_tensors_while_it_is_imported(tmp_path):
    folder = tmp_path / 'torch'
    folder.mkdir()
    (folder / '__init__.py').write_text(
        'import sys\n'
        'import numpy as np\n'
        'from scipy._lib.array_api_compat import is_torch_array\n'
        'early = is_torch_array(np.ones(3))\n'
        'class Tensor:\n'
        '    pass\n'
    )
    code = (
        'import sys\n'
        'from napari_mobilesam.background_imports import import_gently\n'
        'before = list(sys.meta_path)\n'
        'import_gently(["torch"])\n'
        'import torch\n'
        'assert torch.early is False\n'
        'assert torch.Tensor.__module__ == "torch"\n'
        'assert torch.__spec__.name == "torch"\n'
        'assert sys.meta_path == before\n'
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': path},
        check=True,
    )
