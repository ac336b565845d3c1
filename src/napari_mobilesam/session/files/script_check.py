"""Check of the script in a session file, which may come from anybody."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

# Most characters of a statement.
LONGEST = 1_000_000

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
        assignments to `TARGETS`, are allowed. Nothing is executed. Statements
        are parsed one by one, because a syntax tree needs a hundred times the
        memory of its text.
    """
    try:
        return all(
            _is_command(node)
            for statement in _statements(lines)
            for node in ast.parse(statement).body
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _statements(lines: Sequence[str]) -> Iterator[str]:
    """Yield statements; a line that is indented or closes one belongs to it.

    Raises
    ------
    ValueError
        A statement is longer than `LONGEST`.
    """
    statement: list[str] = []
    for line in lines:
        if statement and not line.startswith((' ', ')', ']', '}')):
            yield '\n'.join(statement)
            statement = []
        statement.append(line)
        if sum(map(len, statement)) > LONGEST:
            raise ValueError('a statement is too long')
    yield '\n'.join(statement)


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
