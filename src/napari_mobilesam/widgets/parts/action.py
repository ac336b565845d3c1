"""Actions with a button and a key."""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """An action with a button and a key.

    Attributes
    ----------
    text : str
        Text of the button, without the key.
    key : str
        Default key; empty for none.
    tip : str
        Tooltip.
    """

    text: str
    key: str
    tip: str
