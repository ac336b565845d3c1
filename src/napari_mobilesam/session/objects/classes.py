"""Classes of objects: ordered names, each with a colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from psygnal import Signal

from napari_mobilesam.palette import PALETTE, TINTS, default_color, rgb
from napari_mobilesam.types import SegmentationError


class ClassError(SegmentationError):
    """Invalid class or colour; the message gives the reason."""


class Classes:
    """Classes of objects, shared by the widgets of a viewer.

    Attributes
    ----------
    changed : Signal()
        Emitted when names, colours or `shown` change.
    renamed : Signal(str, str)
        Emitted before `changed`, with the name of a class and its new name,
        empty if the class was removed.
    """

    changed = Signal()
    renamed = Signal(str, str)

    def __init__(self) -> None:
        self._colors: dict[str, str] = {}
        self._shown = False

    def __len__(self) -> int:
        return len(self._colors)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a class with this name."""
        return name in self._colors

    @property
    def names(self) -> list[str]:
        """Names, oldest first; the position is the number of a class."""
        return list(self._colors)

    @property
    def colors(self) -> dict[str, str]:
        """Copy of the mapping from name to colour, ``'#rrggbb'``."""
        return dict(self._colors)

    @property
    def shown(self) -> bool:
        """True if objects are shown in the colour of their class."""
        return self._shown

    @shown.setter
    def shown(self, shown: bool) -> None:
        if shown != self._shown:
            self._shown = shown
            self.changed.emit()

    def add(self, *names: str) -> None:
        """Add classes, each with the first unused colour.

        Known classes and empty names are skipped.
        """
        self._put((name, self._colors.get(name, '')) for name in names)

    def set_color(self, name: str, color: str) -> None:
        """Set the colour of a class, adding it if it is missing.

        Parameters
        ----------
        name : str
            Name of the class.
        color : str
            ``'#rrggbb'``, or a name such as ``'orange'``.

        Raises
        ------
        ClassError
            The name is empty, or the colour is unknown.
        """
        if not name:
            raise ClassError('A class needs a name to have a colour.')
        self._put([(name, hex_color(color))])

    def rename(self, name: str, new: str) -> None:
        """Rename a class; it keeps its position and colour.

        If another class has the new name, only that one remains.

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
            del self._colors[name]
        else:
            self._colors = {
                new if old == name else old: color
                for old, color in self._colors.items()
            }
        self.renamed.emit(name, new)
        self.changed.emit()

    def take_back(self, name: str, former: str) -> None:
        """Rename a class as it was before, instead of one added since.

        Raises
        ------
        ClassError
            There is no class with this name.
        """
        self._check(name)
        self._colors.pop(former, None)
        self.rename(name, former)

    def remove(self, name: str) -> None:
        """Remove a class.

        Raises
        ------
        ClassError
            There is no such class.
        """
        self._check(name)
        del self._colors[name]
        self.renamed.emit(name, '')
        self.changed.emit()

    def _check(self, name: str) -> None:
        if name not in self._colors:
            known = ', '.join(f'“{known}”' for known in self._colors)
            raise ClassError(
                f'There is no class “{name}”; there is {known or "none"}.'
            )

    def update(self, colors: Mapping[str, str]) -> None:
        """Add classes with their colours, and recolour existing ones.

        Raises
        ------
        ClassError
            A colour is unknown; nothing is changed.
        """
        self._put([(name, hex_color(c)) for name, c in colors.items()])

    def restore(self, names: Iterable[str], colors: Mapping[str, str]) -> None:
        """Add classes from settings.

        A class without a valid colour gets an unused one.
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


def hex_color(color: str) -> str:
    """Return a colour as ``'#rrggbb'``.

    Raises
    ------
    ClassError
        The colour is unknown.
    """
    try:
        red, green, blue = rgb(color)
    except SegmentationError as error:
        raise ClassError(str(error)) from None
    return f'#{red:02x}{green:02x}{blue:02x}'


def _usable(color: str) -> str:
    try:
        return hex_color(color)
    except ClassError:
        return ''
