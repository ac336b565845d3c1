"""Choice of a class and its colour."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QFocusEvent, QIcon, QKeyEvent, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QGridLayout,
    QInputDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_mobilesam.argument_checks import LONGEST_CLASS_NAME
from napari_mobilesam.session.objects.classes import Classes
from napari_mobilesam.widgets.parts.controls import narrow
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall

NO_CLASS = 'no class'
SWATCH = 14


class _NameCombo(QComboBox):
    """Editable list of names.

    Attributes
    ----------
    closed : Signal()
        Emitted when the list closes.
    escaped : Signal()
        Emitted when the user presses Escape.
    """

    closed = Signal()
    escaped = Signal()

    def hidePopup(self) -> None:  # noqa: N802
        """Close the list."""
        view = self.view()
        opened = view is not None and view.isVisible()
        super().hidePopup()
        # Qt also calls this when the list is not open
        if opened:
            self.closed.emit()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802
        """Handle Escape."""
        if event is not None and event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            super().keyPressEvent(event)


class _NameEdit(QLineEdit):
    """Text of the list, replaced by the first key after a click."""

    def __init__(self) -> None:
        super().__init__()
        # a press that gives it the focus also sets the cursor
        self._select_later = DelayedCall(self.selectAll, parent=self)

    def focusInEvent(self, event: QFocusEvent | None) -> None:  # noqa: N802
        """Select the text."""
        super().focusInEvent(event)
        if event and event.reason() == Qt.FocusReason.MouseFocusReason:
            self._select_later.restart()


class ClassBox(QWidget):
    """Class names with their colours; a new name adds a class.

    Parameters
    ----------
    classes : Classes
        Classes; the colour button changes them.

    Attributes
    ----------
    chosen : Signal(str)
        The user chose a class, or typed a new one; empty for none.
    shown : Signal(bool)
        The user switched class colours on or off.
    renamed : Signal(str, str)
        The user renamed a class: old and new name.
    removed : Signal(str)
        The user removed a class.
    left : Signal()
        A name was entered, so the next key is a command again.
    """

    chosen = Signal(str)
    shown = Signal(bool)
    renamed = Signal(str, str)
    removed = Signal(str)
    left = Signal()

    def __init__(self, classes: Classes) -> None:
        super().__init__()
        self._classes = classes
        self.combo = _NameCombo()
        narrow(self.combo)
        # beside two buttons
        self.combo.setMinimumContentsLength(4)
        self.combo.setLineEdit(_NameEdit())
        self.combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.combo.setToolTip(
            'Class of the open object and of the next ones; type a name to '
            'add one.\nEdit an object to change its class.'
        )
        self.color_button = QPushButton()
        self.color_button.setIconSize(QSize(SWATCH, SWATCH))
        self.color_button.setFixedWidth(2 * SWATCH + 6)
        self.color_button.clicked.connect(self._ask_color)
        self.menu_button = QToolButton()
        self.menu_button.setText('…')
        self.menu_button.setPopupMode(
            QToolButton.ToolButtonPopupMode.InstantPopup
        )
        # there is no room for its arrow next to the text
        self.menu_button.setStyleSheet(
            'QToolButton::menu-indicator { image: none; }'
        )
        menu = QMenu(self.menu_button)
        for text, act in (
            ('Rename …', self._ask_name),
            ('Remove', self._remove),
        ):
            action = menu.addAction(text)
            assert action is not None
            action.triggered.connect(act)
        self.menu_button.setMenu(menu)
        self.shown_box = QCheckBox('Colour by class')
        self.shown_box.setToolTip(
            'Show objects in the colours of their classes; without a class, '
            'in pale violet.\nOff restores the former colours of the labels.'
        )
        self.shown_box.toggled.connect(self.shown.emit)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.combo, 0, 0)
        grid.addWidget(self.color_button, 0, 1)
        grid.addWidget(self.menu_button, 0, 2)
        grid.addWidget(self.shown_box, 1, 0, 1, 3)
        self.combo.activated.connect(self._tell)
        edit = self.combo.lineEdit()
        assert edit is not None
        edit.setMaxLength(LONGEST_CLASS_NAME)
        edit.editingFinished.connect(self._tell)
        edit.returnPressed.connect(self.left)
        # Qt applies the choice after it has closed the list
        self._leave_later = DelayedCall(self.left.emit, parent=self)
        self.combo.closed.connect(self._leave_later.restart)
        self.combo.escaped.connect(self._restore)
        self.refresh('')

    @property
    def name(self) -> str:
        """Chosen class; empty for none."""
        text = self.combo.currentText().strip()
        return '' if text == NO_CLASS else text

    def refresh(self, chosen: str) -> None:
        """Show the current classes, and choose one."""
        names, combo = self._classes.names, self.combo
        combo.blockSignals(True)
        combo.clear()
        combo.addItem(NO_CLASS)
        for name in names:
            combo.addItem(swatch(self._classes.colors[name]), name)
        combo.setCurrentIndex(
            1 + names.index(chosen) if chosen in names else 0
        )
        combo.blockSignals(False)
        self.shown_box.blockSignals(True)
        self.shown_box.setChecked(self._classes.shown)
        self.shown_box.blockSignals(False)
        self._show_color()

    def _show_color(self) -> None:
        color = self._classes.colors.get(self.name)
        self.color_button.setEnabled(color is not None)
        self.color_button.setIcon(QIcon() if color is None else swatch(color))
        self.color_button.setToolTip(
            f'Colour of “{self.name}” …'
            if color is not None
            else 'Choose a class to change its colour.'
        )
        self.menu_button.setEnabled(color is not None)
        self.menu_button.setToolTip(
            f'Rename or remove “{self.name}”; its objects in these labels '
            'follow.'
            if color is not None
            else 'Choose a class to rename or remove it.'
        )

    def _restore(self) -> None:
        self.combo.setEditText(self.combo.itemText(self.combo.currentIndex()))
        self.left.emit()

    def _tell(self, index: int = 0) -> None:
        self.chosen.emit(self.name)

    def _ask_color(self) -> None:
        name = self.name
        before = QColor(self._classes.colors[name])
        color = QColorDialog.getColor(before, self, f'Colour of “{name}”')
        if color.isValid():
            self._classes.set_color(name, color.name())

    def _ask_name(self) -> None:
        name = self.name
        new, given = QInputDialog.getText(
            self, 'Rename class', f'New name of “{name}”', text=name
        )
        if given and new.strip() not in ('', name):
            self.renamed.emit(name, new.strip())

    def _remove(self) -> None:
        self.removed.emit(self.name)


def swatch(color: str) -> QIcon:
    """Return an icon filled with a colour."""
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)
