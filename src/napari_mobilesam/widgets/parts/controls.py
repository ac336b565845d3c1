"""Building blocks of the dock widgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QLabel,
    QLayout,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.widgets.parts.form_area import FormArea, FormTop
from napari_mobilesam.widgets.parts.form_guard import FormGuard
from napari_mobilesam.widgets.parts.layouts import stack
from napari_mobilesam.widgets.parts.status_line import StatusLine

# contrast of at least 3 : 1 with the backgrounds of both themes
FOCUS_COLOR = '#2a7fd4'
_FOCUS_STYLE = (
    ', '.join(
        f'{kind}:focus'
        for kind in (
            'QAbstractSpinBox',
            'QCheckBox',
            'QComboBox',
            'QLineEdit',
            'QPushButton',
            'QSlider',
            'QTableView',
            'QToolButton',
            'QTreeView',
        )
    )
    + f' {{ border: 1px solid {FOCUS_COLOR}; }}'
    # no border contrasts with the front tab in either theme
    + ' QTabBar::tab:selected:focus { text-decoration: underline; }'
)


def show_focus(widget: QWidget) -> None:
    """Draw a border around the focused control.

    napari draws none around combo boxes and some other controls.
    """
    widget.setStyleSheet(_FOCUS_STYLE)


def order_tabs(before: QWidget, form: QWidget) -> None:
    """Make the Tab key go from a widget to the controls of a form.

    Qt appends widgets created later at the end of the window.
    """
    # PySide6 keeps what `nextInFocusChain` returns alive, window and all
    controls = (
        child
        for child in form.findChildren(QWidget)
        if child.focusPolicy() != Qt.FocusPolicy.NoFocus
        # not the lists of combo boxes, which are windows
        and form.isAncestorOf(child)
    )
    for control in controls:
        QWidget.setTabOrder(before, control)
        before = control


def fill(widget: QWidget, contents: QWidget) -> None:
    """Fill a widget with another one."""
    stack(widget, contents)
    # otherwise napari adds a stretch that takes half the height
    contents.setSizePolicy(
        QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding
    )


def scrollable(
    widget: QWidget,
    contents: QLayout,
    status: StatusLine,
    top: QLayout | None = None,
    bottom: QWidget | None = None,
    width: int = 0,
) -> QScrollArea:
    """Fill a form with scrolling contents between fixed parts.

    Parameters
    ----------
    widget : QWidget
        The form.
    contents : QLayout
        Scrolling part.
    status : StatusLine
        Status line at the bottom.
    top : QLayout, optional
        Part above the scrolling part, always visible.
    bottom : QWidget, optional
        Widget between the scrolling part and the status line.
    width : int, optional
        Minimum width; a larger font may need more.

    Returns
    -------
    QScrollArea
        The scroll area.
    """
    inner = QWidget()
    inner.setLayout(contents)
    contents.setContentsMargins(8, 4, 4, 0)
    contents.setSpacing(8)
    area = FormArea(inner)
    FormGuard(inner)
    # including what does not scroll
    FormGuard(widget)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 4)
    layout.setSpacing(4)
    layout.addStrut(width)
    if top is not None:
        top.setContentsMargins(8, 4, 8, 0)
        top.setSpacing(6)
        layout.addWidget(FormTop(top))
    layout.addWidget(area, 1)
    if bottom is not None:
        layout.addWidget(bottom)
    status.setContentsMargins(8, 0, 8, 0)
    layout.addWidget(status)
    return area


def confirm(
    parent: QWidget, question: str, action: str, then: Callable[[], None]
) -> None:
    """Ask before something is lost; the viewer continues meanwhile.

    Parameters
    ----------
    parent : QWidget
        Widget in front of whose window the question is asked.
    question : str
        What would be lost.
    action : str
        Text of the confirming button; *Cancel* is the default.
    then : callable
        Called when the user agrees.
    """
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setIcon(QMessageBox.Icon.Question)
    box.setText(question)
    agree = box.addButton(action, QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    assert agree is not None
    agree.clicked.connect(lambda: then())
    box.open()


def narrow(combo: QComboBox) -> QComboBox:
    """Let a combo box be narrower than its longest entry; return it."""
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def choice_combo(entries: Mapping[str, str], chosen: str = '') -> QComboBox:
    """Return a narrow list of texts by name; the first if none is chosen."""
    combo = narrow(QComboBox())
    for name, text in entries.items():
        combo.addItem(text, name)
    combo.setCurrentIndex(max(0, combo.findData(chosen)))
    return combo


def explain_rows(form: QFormLayout, tips: Mapping[str, str]) -> None:
    """Add tooltips to the labels of rows.

    Layer lists use theirs for long names.

    Parameters
    ----------
    form : QFormLayout
        Form with the rows.
    tips : mapping of str to str
        Label text, and its tooltip.
    """
    for row in range(form.rowCount()):
        item = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
        label = None if item is None else item.widget()
        if isinstance(label, QLabel) and label.text() in tips:
            label.setToolTip(tips[label.text()])


def wide_button(text: str) -> QPushButton:
    """Return a button that fills the width of its column."""
    button = QPushButton(text)
    button.setSizePolicy(
        QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
    )
    return button


def group_form(title: str) -> tuple[QGroupBox, QFormLayout]:
    """Return a titled box with a form in it."""
    box = QGroupBox(title)
    form = form_layout(box)
    form.setContentsMargins(8, 8, 8, 8)
    return box, form


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Return a form layout that fits a dock of 320 pixels width."""
    form = QFormLayout(parent) if parent is not None else QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setSpacing(6)
    form.setFieldGrowthPolicy(
        QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow
    )
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form
