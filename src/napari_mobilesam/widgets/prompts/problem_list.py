"""List of the prompts of a batch that gave no object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari.layers import Layer
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QToolButton, QWidget

from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.layouts import row, stack
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane

# longer lists scroll
LINES_SHOWN = 4


@dataclass(frozen=True, eq=False)
class PromptProblem:
    """A prompt that gave no object.

    Attributes
    ----------
    text : str
        The prompt and the reason.
    plane : LayerPlane or None
        Plane of the prompt; None if the image has no such plane.
    position : tuple of float
        (row, column) in data pixels.
    """

    text: str
    plane: LayerPlane | None
    position: tuple[float, float]


class ProblemList(QWidget):
    """Prompts that gave no object; a click on one goes to it.

    The list is hidden while empty.

    Attributes
    ----------
    chosen : Signal(PromptProblem)
        Emitted when the user wants to see a prompt.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.problems: tuple[PromptProblem, ...] = ()
        self.label = MessageLabel()
        self.list = QListWidget()
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(
            Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        self.list.setToolTip('Click one to go to it.')
        self.close_button = QToolButton()
        self.close_button.setText('✕')
        self.close_button.setToolTip('Close this list.')
        head = row(self.label, self.close_button)
        head.setStretch(0, 1)
        stack(self, head, self.list)
        lines = LINES_SHOWN * self.fontMetrics().lineSpacing()
        self.list.setFixedHeight(2 * lines)
        self.close_button.clicked.connect(lambda: self.show_problems(()))
        self.list.itemClicked.connect(self._go)
        self.list.itemActivated.connect(self._go)
        self.hide()

    def show_problems(self, problems: Sequence[PromptProblem]) -> None:
        """Show problems in place of the previous ones."""
        self.problems = tuple(problems)
        self.list.clear()
        for problem in self.problems:
            QListWidgetItem(problem.text, self.list)
        count = counted(len(self.problems), 'prompt')
        self.label.setText(f'{count} without an object:')
        self.setVisible(bool(self.problems))

    def forget(self, layer: Layer) -> None:
        """Drop the problems of a batch on an image that is gone."""
        planes = [problem.plane for problem in self.problems]
        if any(plane is not None and plane.layer is layer for plane in planes):
            self.show_problems(())

    def _go(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self.problems[self.list.row(item)])
