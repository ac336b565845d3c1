"""Colours of classes."""

from __future__ import annotations

from PIL import ImageColor

from napari_mobilesam.types import SegmentationError

# Safe for colour blindness; no gray, which marks objects without a class.
PALETTE = (
    '#56b4e9',
    '#e69f00',
    '#009e73',
    '#cc79a7',
    '#f0e442',
    '#d55e00',
    '#0072b2',
    '#7a3fbf',
)
# Colours mixed into the palette each time it is used up, and their shares.
TINTS = (('#000000', 0.0), ('#ffffff', 0.5), ('#000000', 0.4))


def default_color(number: int) -> str:
    """Return the default colour of the class with a number, from 0 on."""
    rounds, place = divmod(number, len(PALETTE))
    other, share = TINTS[rounds % len(TINTS)]
    pairs = zip(rgb(PALETTE[place]), rgb(other), strict=True)
    mixed = [round(a * (1 - share) + b * share) for a, b in pairs]
    return '#{:02x}{:02x}{:02x}'.format(*mixed)


def rgb(color: str) -> tuple[int, int, int]:
    """Return the red, green and blue values, 0 to 255, of a colour.

    Parameters
    ----------
    color : str
        ``'#rrggbb'``, or a name such as ``'orange'``.

    Raises
    ------
    SegmentationError
        If it is not a colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(str(color))[:3]
    except ValueError:
        raise SegmentationError(
            f'“{color}” is not a colour: give a name such as orange, or '
            '#rrggbb, for instance #e69f00.'
        ) from None
    return red, green, blue
