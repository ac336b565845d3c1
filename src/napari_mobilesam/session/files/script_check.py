"""Check of the script in a session file, which may come from anybody."""

from __future__ import annotations

import ast

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
        'open',
        'prompt',
        'propagate',
        'refine',
        'reject',
        'use_model',
    ]
) | frozenset(
    [
        'BatchItem',
        'CleanUp',
        'Prompts',
        'WriteOptions',
        'mask_from',
        'np.array',
        'scene.find',
        'scene.show',
    ]
)
TARGETS = frozenset(
    ('plane', 'session.editor.options', 'session.prompting.clean_up')
)


def is_replay_script(text: str) -> bool:
    """Return whether a script has only the commands of replay code.

    Parameters
    ----------
    text : str
        Lines of Python. Only calls of `COMMANDS` with plain values, and
        assignments to `TARGETS`, are allowed. Nothing is executed.
    """
    try:
        statements = ast.parse(text).body
        return all(_is_command(statement) for statement in statements)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


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
