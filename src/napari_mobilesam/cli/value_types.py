"""Parsers of numbers on the command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a parser for integers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if (
            value is None
            or value < least
            or (most is not None and value > most)
        ):
            bound = f'{least} or more'
            if most is not None:
                bound = f'from {least} to {most}'
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a whole number, {bound}'
            )
        return value

    return parse


def positive_number(most: float) -> Callable[[str], float]:
    """Return a parser for numbers above 0, up to ``most``."""

    def parse(text: str) -> float:
        value = _number(text)
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a number above 0, up to {most:g}'
            )
        return value

    return parse


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a number from 0 to 1'
        )
    return value


def plane_indices(text: str) -> tuple[int, ...]:
    """Parse ``'3'`` or ``'0,3'``."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not I or I,J…, such as 4 or 0,4'
        ) from error


def _number(text: str) -> float:
    """Parse a number; NaN if it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan
