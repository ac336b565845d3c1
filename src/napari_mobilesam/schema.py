"""Schemas of JSON files, which check every field before use.

A schema is a function of a value and its place in the file that returns the
value or raises `SchemaError`. Compose schemas from the functions below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Schema = Callable[[Any, str], Any]

# Maximum characters of a value quoted in a message.
QUOTED = 40


class SchemaError(ValueError):
    """A value violates its schema; the message names its place."""


def refuse(value: Any, place: str, wanted: str) -> SchemaError:
    """Return an error that says what was found and what was wanted."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested deeply, or too many digits
        text = f'a {type(value).__name__}'
    if len(text) > QUOTED:
        text = f'{text[:QUOTED]}…'
    return SchemaError(f'{place} is {text} instead of {wanted}')


def text(longest: int = 1000) -> Schema:
    """Return a schema of text with at most ``longest`` characters."""

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise refuse(value, place, f'text of at most {longest} characters')
        return value

    return check


def whole(least: int, most: int) -> Schema:
    """Return a schema of integers from ``least`` to ``most``."""

    def check(value: Any, place: str) -> int:
        # True is an int in Python
        if type(value) is not int or not least <= value <= most:
            raise refuse(value, place, f'a whole number {least} to {most}')
        return value

    return check


def number(least: float, most: float, nan: bool = False) -> Schema:
    """Return a schema of numbers in a range, and of NaN if ``nan``."""

    def check(value: Any, place: str) -> float:
        if type(value) in (int, float) and (
            # not `isnan`: integers may be too large for a float
            (nan and value != value) or least <= value <= most
        ):
            return float(value)
        raise refuse(value, place, f'a number {least:g} to {most:g}')

    return check


def flag(value: Any, place: str) -> bool:
    """Check that a value is true or false; itself a schema."""
    if not isinstance(value, bool):
        raise refuse(value, place, 'true or false')
    return value


def one_of(*choices: str) -> Schema:
    """Return a schema of one of several strings."""

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str) or value not in choices:
            raise refuse(value, place, f'one of {", ".join(choices)}')
        return value

    return check


def optional(schema: Schema) -> Schema:
    """Return a schema that also allows null."""
    return lambda value, place: None if value is None else schema(value, place)


def items(schema: Schema, most: int, least: int = 0) -> Schema:
    """Return a schema of ``least`` to ``most`` values of one schema."""

    def check(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            count = f'{least}' if least == most else f'{least} to {most}'
            raise refuse(value, place, f'a list of {count} values')
        return [schema(item, f'{place}[{i}]') for i, item in enumerate(value)]

    return check


def sequence(*schemas: Schema) -> Schema:
    """Return a schema of a list with one schema per value."""

    def check(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or len(value) != len(schemas):
            raise refuse(value, place, f'a list of {len(schemas)} values')
        return [
            schema(item, f'{place}[{i}]')
            for i, (schema, item) in enumerate(
                zip(schemas, value, strict=True)
            )
        ]

    return check


def mapping(key: Schema, schema: Schema, most: int) -> Schema:
    """Return a schema of an object of at most ``most`` uniform entries."""

    def check(value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > most:
            raise refuse(value, place, f'an object of at most {most} entries')
        return {
            key(name, f'a key of {place}'): schema(item, f'{place}.{name}')
            for name, item in value.items()
        }

    return check


def fields(
    required: Mapping[str, Schema],
    others: Mapping[str, Schema] | None = None,
    strict: bool = True,
) -> Schema:
    """Return a schema of an object with known fields.

    Parameters
    ----------
    required : mapping of str to schema
        Required fields.
    others : mapping of str to schema, optional
        Optional fields.
    strict : bool
        Refuse unknown fields; otherwise they are dropped.
    """
    known = {**required, **(others or {})}

    def check(value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(value, place, 'an object')
        missing = [name for name in required if name not in value]
        unknown = [str(name)[:QUOTED] for name in value if name not in known]
        if missing:
            raise SchemaError(f'{place} has no {missing[0]!r}')
        if unknown and strict:
            raise SchemaError(f'{place} has an unknown field {unknown[0]!r}')
        return {
            name: schema(value[name], f'{place}.{name}')
            for name, schema in known.items()
            if name in value
        }

    return check


def parse_json(content: str, place: str) -> Any:
    """Parse JSON.

    Raises
    ------
    SchemaError
        If it is not JSON, is nested too deeply, or has numbers with too many
        digits.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f'{place} is not valid JSON ({error})') from error
