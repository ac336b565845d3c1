"""Choices of “Segment everything” that are kept between sessions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.settings import read_config, write_config
from napari_mobilesam.types import EverythingParameters, SegmentationError

FILE = 'everything.json'
# parameters that belong to one image, and are not kept
OF_IMAGES = {'diameter'}


@dataclass(frozen=True)
class EverythingChoices:
    """Choices in the form.

    Attributes
    ----------
    parameters : EverythingParameters
        Parameters of a run; the diameter, which belongs to an image, is not
        kept.
    result : str
        Kind of result, as in the form; empty for the first choice.
    leave : bool
        Whether labelled pixels are left out.
    """

    parameters: EverythingParameters = field(
        default_factory=EverythingParameters
    )
    result: str = ''
    leave: bool = True


def load_choices() -> EverythingChoices:
    """Read the choices; missing and unusable values are the defaults."""
    stored = read_config(FILE)
    result, leave = stored.get('result', ''), stored.get('leave', True)
    return EverythingChoices(
        _parameters(stored.get('parameters')), str(result), bool(leave)
    )


def _parameters(stored: Any) -> EverythingParameters:
    if not isinstance(stored, dict):
        return EverythingParameters()
    known = {each.name for each in fields(EverythingParameters)} - OF_IMAGES
    values = {name: stored[name] for name in known & set(stored)}
    try:
        return checked_parameters(None, values)
    except (SegmentationError, TypeError):
        return EverythingParameters()


def save_choices(choices: EverythingChoices) -> None:
    """Write the values that differ from the defaults, atomically.

    Raises
    ------
    OSError
        The folder is not writable.
    """
    standard = asdict(EverythingParameters())
    changed = {
        name: value
        for name, value in asdict(choices.parameters).items()
        if value != standard[name] and name not in OF_IMAGES
    }
    content = {
        'parameters': changed,
        'result': choices.result,
        'leave': choices.leave,
    }
    write_config(FILE, content)
