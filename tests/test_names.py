"""Class names and file names are unique in the package."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
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
    return re.findall(r'^class (\w+)', path.read_text('utf-8'), re.MULTILINE)


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


SECTIONS = ('Parameters', 'Other Parameters')
ENTRY = re.compile(r'([*\w]+(?:, [*\w]+)*)(?: ?:.*)?')


def documented(text: str) -> set[str]:
    """Names in the section on parameters of a numpydoc docstring."""
    lines = inspect.cleandoc(text).splitlines()
    rules = [n for n, line in enumerate(lines) if re.fullmatch('-{3,}', line)]
    names: set[str] = set()
    for start, stop in itertools.pairwise([*rules, len(lines) + 1]):
        if lines[start - 1] not in SECTIONS:
            continue
        for line in lines[start + 1 : stop - 1]:
            entry = ENTRY.fullmatch(line)
            if entry:
                names |= {n.lstrip('*') for n in entry[1].split(', ')}
    return names


def parameters(node: ast.AST) -> set[str] | None:
    """Names of the parameters of a function or of a class with __init__."""
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if getattr(n, 'name', '') == '__init__']
        return parameters(made[0]) if made else None
    if not isinstance(node, ast.FunctionDef):
        return None
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    every += [each for each in (given.vararg, given.kwarg) if each]
    return {each.arg for each in every}


def invented(source: str) -> list[str]:
    """Functions and classes that document parameters they do not have."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        known = parameters(node)
        if known is not None:
            assert isinstance(node, ast.ClassDef | ast.FunctionDef)
            more = documented(ast.get_docstring(node) or '') - known
            wrong += [f'{node.name}: {name}' for name in sorted(more)]
    return wrong


def test_documented_parameters_exist() -> None:
    found = {
        path.name: wrong
        for path in MODULES
        if (wrong := invented(path.read_text('utf-8')))
    }
    assert not found


def test_parameters_that_do_not_exist_are_found() -> None:
    text = '''
def make(a, *, b=1, **options):
    """Make.

    Parameters
    ----------
    a, c : int
        Sizes.
    b : str, optional
        Name.
    **options
        Others: d.

    Returns
    -------
    e : int
        Number.
    """
'''
    assert invented(text) == ['make: c']
