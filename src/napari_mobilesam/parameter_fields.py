"""Parameter dataclasses whose fields carry their own description.

Each parameter is described beside its default. The command line
(`napari_mobilesam.cli.parameter_options`), the forms of the dock widgets
(`napari_mobilesam.widgets.parts.parameter_form`) and the documentation read
the description from there. The metadata are plain values, without GUI
imports.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

_KEY = 'napari_mobilesam'
_C = TypeVar('_C', bound=type)


@dataclass(frozen=True)
class ParameterField:
    """Description of a parameter, and its appearance in a form.

    Attributes
    ----------
    description : str
        One or two sentences: tooltip, help text and documentation.
    label : str
        Label in a form; parameters without one are not shown.
    minimum, maximum, step : float
        Range and increment of a number.
    group : str
        Title of a collapsed section of the form; empty for the visible part.
    automatic : str
        Meaning of None, for parameters that accept it.
    typical : float or None
        Number shown, but not used, while a parameter is None.
    choices : tuple of (str, value)
        Labels and values to choose from.
    """

    description: str
    label: str = ''
    minimum: float = 0
    maximum: float = 1_000_000
    step: float = 1
    group: str = ''
    automatic: str = ''
    typical: float | None = None
    choices: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """Description, including the meaning of None."""
        if not self.automatic:
            return self.description
        return f'{self.description} Automatic: {self.automatic}'

    @property
    def decimals(self) -> int:
        """Number of decimals needed to show each step."""
        return max(0, math.ceil(-math.log10(self.step)))


def parameter(
    default: Any = MISSING,
    description: str = '',
    *,
    default_factory: Callable[[], Any] | Any = MISSING,
    **appearance: Any,
) -> Any:
    """Return a dataclass field with a description.

    Parameters
    ----------
    default : Any, optional
        Default value.
    description : str
        See `ParameterField`.
    default_factory : callable, optional
        Creates a mutable default value.
    **appearance
        Further attributes of `ParameterField`.
    """
    described = ParameterField(description, **appearance)
    return field(
        default=default,
        default_factory=default_factory,
        metadata={_KEY: described},
    )


def parameter_fields(parameters: Any) -> dict[str, ParameterField]:
    """Return the descriptions of the fields of a dataclass, by name.

    Parameters
    ----------
    parameters : dataclass or instance of one
        Parameters; fields not made by `parameter` are left out.
    """
    return {
        item.name: item.metadata[_KEY]
        for item in dataclasses.fields(parameters)
        if _KEY in item.metadata
    }


def documented(parameters: _C) -> _C:
    """Add an *Attributes* section to a dataclass docstring."""
    types = {item.name: item.type for item in dataclasses.fields(parameters)}
    lines = [inspect.cleandoc(parameters.__doc__ or ''), '']
    lines += ['Attributes', '----------']
    for name, described in parameter_fields(parameters).items():
        kind = str(types[name]).replace(' | ', ' or ')
        text = described.description
        if described.automatic:
            text += f' None: {described.automatic}'
        lines.append(f'{name} : {kind}')
        lines += textwrap.wrap(
            text, 75, initial_indent=' ' * 4, subsequent_indent=' ' * 4
        )
    parameters.__doc__ = '\n'.join(lines)
    return parameters
