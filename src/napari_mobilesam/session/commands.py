"""Commands of parts of the session as methods of the session itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec('P')
R = TypeVar('R')


def command_of(
    part: str, method: Callable[Concatenate[Any, P], R]
) -> Callable[Concatenate[Any, P], R]:
    """Method of a class that calls a method of one of its attributes.

    It has the name, signature and docstring of that method, so that ``help``
    and completion show it.

    Parameters
    ----------
    part : str
        Name of the attribute.
    method : function
        Method of the class of the attribute.
    """
    name = method.__name__

    @wraps(method)
    def call(owner: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = getattr(getattr(owner, part), name)(*args, **kwargs)
        return result

    return call
