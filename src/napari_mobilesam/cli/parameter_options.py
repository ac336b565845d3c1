"""Options of a command from the fields of a parameter dataclass.

The dataclass is the only place where defaults, types and descriptions are
written; see `napari_mobilesam.types.EverythingParameters`.
"""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import fields
from typing import Any


def add_options(
    parser: argparse._ActionsContainer,
    parameters: type,
    skip: Iterable[str] = (),
) -> None:
    """Add one option per field of ``parameters`` (a dataclass).

    An option that is not given leaves no attribute behind, so that
    `given_options` tells what the user asked for from what is default.
    """
    hints = typing.get_type_hints(parameters)
    descriptions = field_descriptions(parameters)
    for field in fields(parameters):
        if field.name in skip:
            continue
        name = option_name(field.name)
        text = descriptions.get(field.name, '').replace('%', '%%')
        if hints[field.name] is bool:
            parser.add_argument(
                name,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=text,
            )
        else:
            kind = value_type(hints[field.name])
            parser.add_argument(
                name,
                type=kind,
                metavar={int: 'N', float: 'X'}.get(kind, 'TEXT'),
                default=argparse.SUPPRESS,
                help=f'{text} {default_text(field.default)}'.strip(),
            )


def given_options(
    options: argparse.Namespace, parameters: type
) -> dict[str, Any]:
    """Fields of ``parameters`` that were given on the command line."""
    return {
        field.name: getattr(options, field.name)
        for field in fields(parameters)
        if hasattr(options, field.name)
    }


def option_name(field: str) -> str:
    """``'points_per_side'`` → ``'--points-per-side'``."""
    return '--' + field.replace('_', '-')


def value_type(hint: Any) -> type:
    """Type that parses a value of ``hint``; ``float | None`` is float."""
    if isinstance(hint, types.UnionType) or (
        typing.get_origin(hint) is typing.Union
    ):
        (hint,) = (t for t in typing.get_args(hint) if t is not type(None))
    return typing.cast(type, hint)


def default_text(default: object) -> str:
    """What ``--help`` says about a default."""
    if default is None:
        return ''
    if isinstance(default, float):
        return f'(default: {default:.4g})'
    return f'(default: {default})'


def field_descriptions(parameters: type) -> dict[str, str]:
    """Descriptions in the numpydoc *Attributes* section of a class."""
    section = re.search(
        r'^Attributes\n-+\n(.*?)(?:\n\n\S|\Z)',
        inspect.getdoc(parameters) or '',
        flags=re.DOTALL | re.MULTILINE,
    )
    if section is None:
        return {}
    entries = re.findall(
        r'^(\w[\w, ]*) : .*\n((?:[ \t]+.*\n?|\n)*)',
        section[1],
        flags=re.MULTILINE,
    )
    return {
        name: ' '.join(text.split())
        for names, text in entries
        for name in names.split(', ')
    }
