"""Classes of objects: their names in order, and a colour for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from PIL import ImageColor
from psygnal import Signal

from napari_mobilesam.types import SegmentationError

# Told apart by people who do not see red and green apart too; none is gray,
# which is what has no class.
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
# What colours of the palette are mixed with when it is used up, and how much.
TINTS = (('#000000', 0.0), ('#ffffff', 0.5), ('#000000', 0.4))


class ClassError(SegmentationError):
    """A class or its colour cannot be used; the message says why."""


class Classes:
    """Classes that objects can be assigned to, shared by a viewer's widgets.

    Attributes
    ----------
    changed : Signal()
        Names, colours or whether objects are coloured are others.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._colors: dict[str, str] = {}
        self._shown = False

    def __len__(self) -> int:
        return len(self._colors)

    def __contains__(self, name: str) -> bool:
        """Whether there is a class of this name."""
        return name in self._colors

    @property
    def names(self) -> list[str]:
        """Names, the oldest first: the number of a class is its place."""
        return list(self._colors)

    @property
    def colors(self) -> dict[str, str]:
        """Name to colour, ``'#rrggbb'``; a copy."""
        return dict(self._colors)

    @property
    def shown(self) -> bool:
        """Whether objects are shown in the colour of their class."""
        return self._shown

    @shown.setter
    def shown(self, shown: bool) -> None:
        if shown != self._shown:
            self._shown = shown
            self.changed.emit()

    def add(self, *names: str) -> None:
        """Add classes, each in the first colour that no other has.

        Those that are there, and empty names, are left out.
        """
        self._put((name, self._colors.get(name, '')) for name in names)

    def set_color(self, name: str, color: str) -> None:
        """Give a class a colour; the class is added if it is not there.

        Parameters
        ----------
        name : str
            Name of the class.
        color : str
            ``'#rrggbb'``, or a name such as ``'orange'``.

        Raises
        ------
        ClassError
            The name is empty, or it is no colour.
        """
        if not name:
            raise ClassError('A class needs a name to have a colour.')
        self._put([(name, hex_color(color))])

    def rename(self, name: str, new: str) -> None:
        """Give a class another name; it keeps its place and colour.

        Where there is a class of the new name already, that one stays.

        Raises
        ------
        ClassError
            There is no such class, or the new name is empty.
        """
        self._check(name)
        if not new:
            raise ClassError(f'Give “{name}” a name, or remove it.')
        if new == name:
            return
        if new in self._colors:
            self.remove(name)
            return
        self._colors = {
            new if old == name else old: color
            for old, color in self._colors.items()
        }
        self.changed.emit()

    def remove(self, name: str) -> None:
        """Remove a class.

        Raises
        ------
        ClassError
            There is no such class.
        """
        self._check(name)
        del self._colors[name]
        self.changed.emit()

    def _check(self, name: str) -> None:
        if name not in self._colors:
            known = ', '.join(f'“{known}”' for known in self._colors)
            raise ClassError(
                f'There is no class “{name}”; there is {known or "none"}.'
            )

    def update(self, colors: Mapping[str, str]) -> None:
        """Add classes with their colours, and recolour those that are there.

        Raises
        ------
        ClassError
            One of them is no colour; nothing is changed then.
        """
        self._put([(name, hex_color(c)) for name, c in colors.items()])

    def restore(self, names: Iterable[str], colors: Mapping[str, str]) -> None:
        """Add classes as a file of settings names them.

        People edit such files: a class without a usable colour gets one.
        """
        self._put((name, _usable(colors.get(name, ''))) for name in names)

    def _put(self, colors: Iterable[tuple[str, str]]) -> None:
        before = dict(self._colors)
        for name, color in colors:
            if name:
                self._colors[name] = color or self._free()
        if before != self._colors:
            self.changed.emit()

    def _free(self) -> str:
        used = set(self._colors.values())
        colors = [default_color(n) for n in range(len(PALETTE) * len(TINTS))]
        free = [color for color in colors if color not in used]
        return free[0] if free else colors[len(self._colors) % len(colors)]


def default_color(number: int) -> str:
    """Return the colour that the class with a number gets, from 0 on."""
    rounds, place = divmod(number, len(PALETTE))
    other, share = TINTS[rounds % len(TINTS)]
    pairs = zip(rgb(PALETTE[place]), rgb(other), strict=True)
    mixed = [round(a * (1 - share) + b * share) for a, b in pairs]
    return '#{:02x}{:02x}{:02x}'.format(*mixed)


def hex_color(color: str) -> str:
    """Return a colour as ``'#rrggbb'``.

    Raises
    ------
    ClassError
        It is no colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(str(color))[:3]
    except (ValueError, TypeError):
        raise ClassError(
            f'“{color}” is no colour: give a name such as orange, or '
            '#rrggbb, for instance #e69f00.'
        ) from None
    return f'#{red:02x}{green:02x}{blue:02x}'


def _usable(color: str) -> str:
    try:
        return hex_color(color)
    except ClassError:
        return ''


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of ``'#rrggbb'``, 0 to 255."""
    red, green, blue = bytes.fromhex(color.removeprefix('#'))
    return red, green, blue
