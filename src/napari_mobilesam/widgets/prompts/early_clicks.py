"""Clicks on the canvas, and *Accept*, before the form is ready."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from napari.components import ViewerModel
from napari.layers import Points, Shapes

from napari_mobilesam.text import counted
from napari_mobilesam.widgets.viewer.layers import RIGHT_BUTTON
from napari_mobilesam.widgets.viewer.mouse_clicks import is_click

STARTING = 'Starting … Clicks are answered when ready.'


class _EarlyClick(NamedTuple):
    position: tuple[float, ...]
    positive: bool


class EarlyClicks:
    """Keep clicks until a Points layer can take them.

    The form's libraries take seconds to import; until then, a click would only
    pan. *Accept* between two clicks is kept, too: it separates two objects.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._say: Callable[[str], None] | None = None
        # None is Accept
        self._clicks: list[_EarlyClick | None] = []

    def watch(self, say: Callable[[str], None], accept_key: str = '') -> None:
        """Keep clicks from now on, in addition to those already kept.

        Parameters
        ----------
        say : callable
            Shows a sentence to the user.
        accept_key : str
            Key for *Accept*, bound unless it is already bound.
        """
        self._say = say
        self._unbind()
        # the form of another dock, which this one takes over, already has it
        taken = {str(key) for key in self._viewer.keymap}
        if accept_key and accept_key not in taken:
            self._viewer.bind_key(accept_key, self._accept)
        say(self._text)
        callbacks = self._viewer.mouse_drag_callbacks
        if self._press not in callbacks:
            callbacks.append(self._press)

    def stop(self) -> None:
        """Stop keeping clicks, and forget those kept."""
        self._say = None
        self._clicks.clear()
        self._unbind()
        if self._press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._press)

    def accept(self) -> bool:
        """Keep *Accept*; return False if there is no early click to accept."""
        if self._say is None or not self._clicks:
            return False
        if self._clicks[-1] is not None:
            self._clicks.append(None)
            self._say(self._text)
        return True

    def undo(self) -> bool:
        """Take back the last click or *Accept*; return False if none."""
        if self._say is None or not self._clicks:
            return False
        self._clicks.pop()
        self._say(self._text)
        return True

    def hand_over(
        self,
        add_point: Callable[[tuple[float, ...], bool], None],
        accept: Callable[[], None],
    ) -> None:
        """Stop, and turn the clicks into points of the open object.

        Each goes to the plane that was clicked; the sliders are then restored.

        Parameters
        ----------
        add_point : callable
            Called with world coordinates, and whether the point is positive.
        accept : callable
            Accepts the open object.
        """
        clicks = tuple(self._clicks)
        self.stop()
        shown = self._viewer.dims.point
        for click in clicks:
            if click is None:
                accept()
            else:
                self._move_sliders(click.position)
                add_point(click.position, click.positive)
        self._move_sliders(shown)

    def _move_sliders(self, position: tuple[float, ...]) -> None:
        dims = self._viewer.dims
        # layers opened since then may have added axes
        before = dims.ndim - len(position)
        for axis in dims.not_displayed:
            if axis >= before:
                dims.set_point(axis, position[axis - before])

    def _accept(self, viewer: Any) -> None:
        self.accept()

    def _unbind(self) -> None:
        for key, function in list(self._viewer.keymap.items()):
            if function == self._accept:
                self._viewer.bind_key(key, None, overwrite=True)

    @property
    def _text(self) -> str:
        if not self._clicks:
            return STARTING
        accepted = self._clicks.count(None)
        clicks = counted(len(self._clicks) - accepted, 'click')
        text = f'{clicks} will be answered as soon as it is ready'
        if accepted:
            text = f'{text}, and {counted(accepted, "object")} accepted'
        return f'Starting … {text}.'

    def _press(self, viewer: Any, event: Any) -> Generator[None]:
        """Keep a click; drags pan as usual."""
        active = self._viewer.layers.selection.active
        if isinstance(active, Points | Shapes):
            # it handles the click itself
            return
        position = tuple(event.position)
        other = event.button == RIGHT_BUTTON or 'Control' in event.modifiers
        if (yield from is_click(event)):
            self._clicks.append(_EarlyClick(position, not other))
            if self._say is not None:
                self._say(self._text)
