"""Options of a command from the fields of a parameter dataclass.

Defaults, types and descriptions are written in the dataclass only; see
`napari_mobilesam.parameter_fields`.
"""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from napari_mobilesam.parameter_fields import parameter_fields


def add_options(
    parser: argparse._ActionsContainer,
    parameters: type,
    only: Collection[str] | None = None,
) -> None:
    """Add one option per described field of a dataclass.

    An option that is not given leaves no attribute in the namespace, so that
    `given_options` returns the given ones only.

    Parameters
    ----------
    parser : argparse parser or group
        Receives the options.
    parameters : type
        Parameter dataclass.
    only : iterable of str, optional
        Names of the fields to add; by default all that are described.
    """
    hints = typing.get_type_hints(parameters)
    described = parameter_fields(parameters)
    names = described if only is None else only
    for field in fields(parameters):
        if field.name not in names:
            continue
        name = option_name(field.name)
        text = described[field.name].text.replace('%', '%%')
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
    """Return the fields that were given on the command line."""
    return {
        field.name: getattr(options, field.name)
        for field in fields(parameters)
        if hasattr(options, field.name)
    }


def option_name(field: str) -> str:
    """Return the option of a field: ``'--points-per-side'``."""
    return '--' + field.replace('_', '-')


def value_type(hint: Any) -> type:
    """Return the type that parses a value; float for ``float | None``."""
    if isinstance(hint, types.UnionType) or (
        typing.get_origin(hint) is typing.Union
    ):
        (hint,) = (t for t in typing.get_args(hint) if t is not type(None))
    return typing.cast(type, hint)


def default_text(default: object) -> str:
    """Return the note on a default in the help text."""
    if default is None:
        return ''
    if isinstance(default, float):
        return f'(default: {default:.4g})'
    return f'(default: {default})'
