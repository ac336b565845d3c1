"""Names that a module imports, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def imports_in(
    tree: ast.AST, typing: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Imports of a module, and if they are under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, typing
        elif not isinstance(child, ast.expr):  # which holds no import
            below = (
                isinstance(child, ast.If)
                and isinstance(child.test, ast.Name)
                and child.test.id == 'TYPE_CHECKING'
            )
            yield from imports_in(child, typing or below)


@cache
def names_by_use(path: Path) -> dict[bool, frozenset[str]]:
    """Names that a file imports: for annotations alone (True) or not."""
    names: dict[bool, set[str]] = {False: set(), True: set()}
    for node, typing in imports_in(ast.parse(path.read_text('utf-8'))):
        stem = ''
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            stem = f'{node.module}.'
        names[typing] |= {f'{stem}{alias.name}' for alias in node.names}
    return {typing: frozenset(found) for typing, found in names.items()}


def imported_names(path: Path, annotations: bool = False) -> frozenset[str]:
    """Dotted names that a file imports, at the top or inside functions.

    ``from a import b`` gives ``a.b``. With ``annotations``, imports under
    ``if TYPE_CHECKING`` count as well.
    """
    names = names_by_use(path)
    return names[False] | names[True] if annotations else names[False]
