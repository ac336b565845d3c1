"""Section of a form that can be collapsed."""

from __future__ import annotations

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QLayout, QScrollArea, QWidget
from superqt import QCollapsible

from napari_mobilesam.widgets.parts.controls import FOCUS_COLOR
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall

_SECTION_STYLE = (
    'QPushButton { text-align: left; border: 1px solid transparent; } '
    f'QPushButton:focus {{ border: 1px solid {FOCUS_COLOR}; }}'
)
QWIDGETSIZE_MAX = (1 << 24) - 1


class CollapsibleSection(QCollapsible):
    """Section of a form that can be collapsed.

    The arrow is text, which follows napari's theme; superqt's icons take their
    colour from the palette, which does not.

    Parameters
    ----------
    title : str
        Text of the button.
    contents : QWidget or QLayout
        Contents, hidden while collapsed.
    expanded : bool
        Whether it is initially open.
    """

    def __init__(
        self, title: str, contents: QWidget | QLayout, expanded: bool = False
    ) -> None:
        super().__init__(title)
        # superqt does not accept an empty icon, which is false in PySide6.
        self._expanded_icon = self._collapsed_icon = QIcon()
        self.title = title
        if isinstance(contents, QLayout):
            rows, contents = contents, QWidget()
            contents.setLayout(rows)
            rows.setContentsMargins(4, 0, 0, 4)
        layout = self.layout()
        assert layout is not None
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.setContent(contents)
        # without animation, which would move the controls below
        self.setDuration(0)
        # the button of superqt has no border
        self.toggleButton().setStyleSheet(_SECTION_STYLE)
        self.toggled.connect(self._show_arrow)
        # once the form around it has room for the contents
        self._reveal_later = DelayedCall(self._reveal, parent=self)
        self.toggleButton().clicked.connect(self._reveal_later.restart)
        self.fold(not expanded)
        self._show_arrow(expanded)

    def fold(self, folded: bool) -> None:
        """Collapse or expand the section."""
        if folded:
            self.collapse(animate=False)
        else:
            self.expand(animate=False)

    def _show_arrow(self, expanded: bool) -> None:
        self.setText(f'{"▾" if expanded else "▸"}  {self.title}')
        # superqt fixes the height, which cuts off nested sections, and leaves
        # collapsed controls in the tab order
        self.content().setMaximumHeight(QWIDGETSIZE_MAX if expanded else 0)
        self.content().setVisible(expanded)

    def _reveal(self) -> None:
        """Scroll to the contents, or to as much of them as has room."""
        area = self.parentWidget()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None and self.isExpanded():
            area.ensureWidgetVisible(self, 0, 0)
            area.ensureWidgetVisible(self.toggleButton(), 0, 0)
