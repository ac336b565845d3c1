"""Class names and file names are unique in the package."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import napari_mobilesam

PACKAGE = Path(napari_mobilesam.__file__).parent
MODULES = sorted(PACKAGE.rglob('*.py'))


def repeated(places: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """Names that stand in several places, with the places."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in places:
        found[name].append(str(path.relative_to(PACKAGE)))
    return {name: files for name, files in found.items() if len(files) > 1}


def classes(path: Path) -> list[str]:
    """Names of the classes at the top level of a module."""
    tree = ast.parse(path.read_text('utf-8'))
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def test_class_names_are_unique() -> None:
    assert not repeated(
        (name, path) for path in MODULES for name in classes(path)
    )


def test_file_names_are_unique() -> None:
    assert not repeated(
        (path.name, path) for path in MODULES if path.name != '__init__.py'
    )


def test_repeated_names_are_found() -> None:
    one, two = PACKAGE / 'a.py', PACKAGE / 'b' / 'a.py'
    assert repeated([('A', one), ('B', one), ('A', two)]) == {
        'A': ['a.py', str(Path('b') / 'a.py')]
    }
