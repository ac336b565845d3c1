"""Command-line options from the fields of a parameter dataclass.

Defaults, types and descriptions are defined only in the dataclass; see
`napari_mobilesam.parameter_fields`.
"""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.parameter_fields import parameter_fields


def add_options(
    parser: argparse._ActionsContainer,
    parameters: Any,
    only: Collection[str] | None = None,
    kinds: Mapping[str, Callable[[str], Any]] | None = None,
) -> None:
    """Add one option per described field of a dataclass.

    An option that is not given leaves no attribute in the namespace, so
    `given_options` returns only those given.

    Parameters
    ----------
    parser : argparse parser or group
        Receives the options.
    parameters : type or instance of one
        Parameter dataclass; an instance provides the defaults of the help
        text.
    only : iterable of str, optional
        Names of the fields to add; by default all described fields.
    kinds : dict of str to callable, optional
        Parsers of values, if they differ from the types of the fields.
    """
    defaults = parameters() if isinstance(parameters, type) else parameters
    hints = typing.get_type_hints(type(defaults))
    described = parameter_fields(parameters)
    names = described if only is None else only
    for field in fields(parameters):
        if field.name not in names:
            continue
        name, value = option_name(field.name), getattr(defaults, field.name)
        text = described[field.name].text.replace('%', '%%')
        if hints[field.name] is bool:
            parser.add_argument(
                name,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=f'{text} {default_text("yes" if value else "no")}',
            )
        else:
            kind = value_type(hints[field.name])
            choices = typing.get_args(hints[field.name])
            is_choice = typing.get_origin(hints[field.name]) is typing.Literal
            parser.add_argument(
                name,
                type=(kinds or {}).get(field.name, kind),
                choices=choices if is_choice else None,
                metavar={int: 'N', float: 'X'}.get(kind),
                default=argparse.SUPPRESS,
                help=f'{text} {default_text(value)}'.strip(),
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


def refuse_idle(
    options: argparse.Namespace, names: Iterable[str], where: str
) -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    options : Namespace
        Parsed options; missing ones and None were not given.
    names : iterable of str
        Names in the namespace.
    where : str
        End of the message, such as ``'without --text'``.

    Raises
    ------
    UsageError
        If one of the options is given.
    """
    idle = typed_options(options, names)
    if idle:
        has = 'has' if len(idle) == 1 else 'have'
        raise UsageError(f'{", ".join(idle)} {has} no effect {where}')


def refuse_given(given: Sequence[str], purpose: str, instead: str) -> None:
    """Refuse the given options, if any, for this purpose.

    Parameters
    ----------
    given : sequence of str
        The options, as typed.
    purpose : str
        Purpose that they are, or are not, for.
    instead : str
        Alternative to suggest.

    Raises
    ------
    UsageError
        If there are any.
    """
    if given:
        one = len(given) == 1
        raise UsageError(
            f'{", ".join(given)} {"is" if one else "are"} {purpose}: leave '
            f'{"it" if one else "them"} out, or {instead}'
        )


def typed_options(
    options: argparse.Namespace, names: Iterable[str]
) -> list[str]:
    """Return those options that were given, as typed."""
    given = ((name, getattr(options, name, None)) for name in names)
    return [
        option_name(name if value is not False else f'no_{name}')
        for name, value in given
        if value not in (None, [])
    ]


def option_name(field: str) -> str:
    """Return the option for a field, such as ``'--points-per-side'``."""
    return '--' + field.replace('_', '-')


def value_type(hint: Any) -> type:
    """Return the type that parses a value; float for ``float | None``."""
    if typing.get_origin(hint) is typing.Literal:
        return str
    if isinstance(hint, types.UnionType) or (
        typing.get_origin(hint) is typing.Union
    ):
        (hint,) = (t for t in typing.get_args(hint) if t is not type(None))
    return typing.cast(type, hint)


def default_text(default: object) -> str:
    """Return the note about a default for the help text."""
    if default is None:
        return ''
    if isinstance(default, float):
        return f'(default: {default:.4g})'
    return f'(default: {default})'
