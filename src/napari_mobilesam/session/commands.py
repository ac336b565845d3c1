"""Expose commands of the parts of a session as methods of the session."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec('P')
R = TypeVar('R')


def command_of(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], R]:
    """Return a method that calls a part, with its name, signature and help.

    Parameters
    ----------
    method : function
        Method of the class of the part, which is in ``commands`` of the
        owner by the name of that class.
    """
    part, name = method.__qualname__.split('.')

    @wraps(method)
    def call(owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = getattr(owner.commands[part], name)(*args, **kwargs)
        return result

    return call
