"""Check of the script in a session file, which may come from anyone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

# Maximum number of characters parsed at once: a syntax tree needs a hundred
# times the memory of its text.
LONGEST = 1_000_000
# First lines of statements with any number of entries, one per line, and the
# code in which an entry is parsed; each entry must end with a comma.
ENTRIES = {
    'session.batch([': '[{}\n0]',
    'session.refine(plane, {': '{{{}\n0: 0}}',
}

COMMANDS = frozenset(
    'session.' + name
    for name in [
        'accept',
        'assign_class',
        'batch',
        'box',
        'choose',
        'click',
        'delete',
        'filter_everything',
        'find_similar',
        'open',
        'prompt',
        'propagate',
        'refine',
        'reject',
        'segment_everything',
        'segment_text',
        'use_model',
    ]
) | frozenset(
    [
        'BatchItem',
        'CleanUp',
        'EverythingParameters',
        'ObjectFilters',
        'Prompts',
        'Selection',
        'WriteOptions',
        'float',
        'mask_from',
        'np.array',
        'scene.find',
        'scene.show',
    ]
)
TARGETS = frozenset(
    ('plane', 'session.editor.options', 'session.prompting.clean_up')
)


def is_replay_script(lines: Sequence[str]) -> bool:
    """Return whether a script has only the commands of replay code.

    Parameters
    ----------
    lines : sequence of str
        Lines of Python. Only calls of `COMMANDS` with plain values, and
        assignments to `TARGETS`, are allowed. Nothing is executed.
    """
    try:
        return all(_is_allowed(statement) for statement in _statements(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _statements(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield statements, with their indented and closing lines.

    There may be no lines at all.
    """
    statement: list[str] = []
    for line in lines:
        if statement and not line.startswith((' ', ')', ']', '}')):
            yield statement
            statement = []
        statement.append(line)
    yield statement


def _is_allowed(statement: list[str]) -> bool:
    entry = ENTRIES.get(statement[0]) if len(statement) > 2 else None
    if entry is not None:
        for line in statement[1:-1]:
            value = _parsed(entry.format(line), 'eval')
            # not more than one, as an entry that closes the bracket is
            if not isinstance(value, ast.List | ast.Dict):
                return False
            if not _is_value(value):
                return False
        statement = [statement[0], statement[-1]]
    return all(map(_is_command, _parsed('\n'.join(statement), 'exec')))


def _parsed(text: str, mode: str) -> Any:
    if len(text) > LONGEST:
        raise ValueError('a statement is too long')
    tree: Any = ast.parse(text, mode=mode)
    return tree.body


def _is_command(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call) and _is_value(
            statement.value
        )
    return (
        isinstance(statement, ast.Assign)
        and all(ast.unparse(each) in TARGETS for each in statement.targets)
        and _is_value(statement.value)
    )


def _is_value(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id == 'plane'
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.List | ast.Tuple):
        return all(_is_value(each) for each in node.elts)
    if isinstance(node, ast.Dict):
        return all(_is_value(each) for each in (*node.keys, *node.values))
    if isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        return ast.unparse(node.func) in COMMANDS and all(
            _is_value(each) for each in values
        )
    return False
