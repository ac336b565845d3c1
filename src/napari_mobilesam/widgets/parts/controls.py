"""Building blocks of the dock widgets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import (  # type: ignore[attr-defined]
    QEvent,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QComboBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QLabel,
    QLayout,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_mobilesam.session import Session
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.dock_tabs import show_as_tab
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.wheel import WheelGuard
from napari_mobilesam.widgets.viewer.layers import unwrap
from napari_mobilesam.widgets.viewer.viewer_session import get_session

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

Connection = tuple[Any, Callable[..., None]]

# Half a swing of the progress bar while the end of the work is unknown.
SWING_MS = 600

# stands out, at 3 : 1, from the backgrounds of both themes
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
    # no border stands out from the tab in front, in either theme
    + ' QTabBar::tab:selected:focus { text-decoration: underline; }'
)
_SECTION_STYLE = (
    'QPushButton { text-align: left; border: 1px solid transparent; } '
    f'QPushButton:focus {{ border: 1px solid {FOCUS_COLOR}; }}'
)

QWIDGETSIZE_MAX = (1 << 24) - 1


def _let_go(connections: list[Connection], session: Session) -> None:
    for signal, callback in connections:
        signal.disconnect(callback)
    if connections:
        connections.clear()
        session.release()


class ViewerWidget(QWidget):
    """Widget that listens to its viewer only while it is docked.

    Closing a dock in napari sends no close event: the widget only loses its
    parent. A widget that is docked again listens again.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer or its proxy.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.viewer: ViewerModel = unwrap(viewer)
        self.session = get_session(self.viewer)
        self._connections: list[Connection] = []
        # the window arranges a new dock first
        self._placing = DelayedCall(
            partial(show_as_tab, self, ViewerWidget), parent=self
        )
        self._placed = False
        # Qt disconnects bound methods of an object that it destroys
        self.destroyed.connect(
            partial(_let_go, self._connections, self.session)
        )

    def listen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Connect to a napari or psygnal signal until the dock closes."""
        signal.connect(callback)
        self._connections.append((signal, callback))

    def deafen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Disconnect what `listen` connected."""
        signal.disconnect(callback)
        self._connections.remove((signal, callback))

    def attach(self) -> None:
        """Start listening; subclasses connect their signals here."""
        self.session.acquire()

    def follow_layers(self) -> None:
        """Listen to changes of the layer list and of the selection."""
        layers = self.viewer.layers
        for event in ('inserted', 'removed', 'reordered', 'renamed'):
            self.listen(getattr(layers.events, event), self._layers_changed)
        self.listen(layers.selection.events.active, self._active_changed)

    def _layers_changed(self, event: Any = None) -> None:
        """Handle layers that came, went, moved or got another name."""

    def _active_changed(self, event: Any = None) -> None:
        """Handle a change of the active layer."""

    def detach(self) -> None:
        """Stop listening; subclasses clean the viewer up here."""
        _let_go(self._connections, self.session)

    @property
    def attached(self) -> bool:
        """True while the widget listens to its viewer."""
        return bool(self._connections)

    def follow_dock(self, docked: bool) -> None:
        """Attach to the viewer in a dock, and detach outside.

        Parameters
        ----------
        docked : bool
            True in a dock.
        """
        if not docked:
            self._placed = False
        if docked and not self.attached:
            self.attach()
        elif self.attached and not docked:
            self.detach()

    def event(self, event: QEvent | None) -> bool:
        """Attach or detach when the parent changes: a dock opens or closes."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.Show and not self._placed:
            self._placed = True
            self._placing.restart()
        if kind == QEvent.Type.ParentChange:
            self.follow_dock(self.parent() is not None)
        return bool(super().event(event))


class CollapsibleSection(QCollapsible):
    """Section of a form that can be collapsed.

    The arrow is text, which follows napari's theme; superqt's own icons take
    their colour from the palette, which does not.

    Parameters
    ----------
    title : str
        Text of the button.
    contents : QWidget or QLayout
        Hidden while collapsed.
    expanded : bool
        Whether it is open at first.
    """

    def __init__(
        self,
        title: str,
        contents: QWidget | QLayout,
        expanded: bool = False,
    ) -> None:
        super().__init__(title)
        # An empty icon cannot be given to superqt: it is false in PySide6.
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
        # that of superqt has no border
        self.toggleButton().setStyleSheet(_SECTION_STYLE)
        self.toggled.connect(self._show_arrow)
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
        # superqt fixes the height, which cuts off sections in sections, and
        # leaves collapsed controls in the tab order
        self.content().setMaximumHeight(QWIDGETSIZE_MAX if expanded else 0)
        self.content().setVisible(expanded)


def show_focus(widget: QWidget) -> None:
    """Draw a border around the control that has the focus.

    napari draws none around combo boxes and other controls.
    """
    widget.setStyleSheet(_FOCUS_STYLE)


def order_tabs(before: QWidget, form: QWidget) -> None:
    """Let the Tab key go from a widget to the controls of a form.

    Qt appends widgets that are made later to the end of the window.
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
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(contents)
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
) -> QScrollArea:
    """Fill a form: contents that scroll between parts that do not.

    Parameters
    ----------
    widget : QWidget
        The form.
    contents : QLayout
        Scrolling part.
    status : StatusLine
        At the bottom.
    top : QLayout, optional
        Above the scrolling part, always in view.
    bottom : QWidget, optional
        Between the scrolling part and the status.

    Returns
    -------
    QScrollArea
        Area that scrolls.
    """
    inner = QWidget()
    inner.setLayout(contents)
    contents.setContentsMargins(8, 4, 4, 0)
    contents.setSpacing(8)
    area = QScrollArea()
    area.setWidgetResizable(True)
    # its contents take the focus, and are scrolled into view
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    WheelGuard(inner)
    # what does not scroll, too
    WheelGuard(widget)
    # as tall as its contents if there is room, smaller otherwise
    area.setSizeAdjustPolicy(
        QAbstractScrollArea.SizeAdjustPolicy.AdjustToContents
    )
    area.setMinimumHeight(60)
    scroll_bar = area.verticalScrollBar()
    assert scroll_bar is not None
    area.setMinimumWidth(
        inner.minimumSizeHint().width() + scroll_bar.sizeHint().width()
    )
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 4)
    layout.setSpacing(4)
    if top is not None:
        top.setContentsMargins(8, 4, 8, 0)
        top.setSpacing(6)
        layout.addLayout(top)
    layout.addWidget(area, 1)
    if bottom is not None:
        layout.addWidget(bottom)
    status.setContentsMargins(8, 0, 8, 0)
    layout.addWidget(status)
    return area


class LayerCombo(QComboBox):
    """Combo box of layers, held by identity.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    accepts : callable
        Returns whether a layer is offered.
    nothing : str
        Text of the entry for no layer; no such entry if empty.
    """

    layer_changed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        accepts: Callable[[Layer], bool],
        nothing: str = '',
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._accepts = accepts
        self._nothing = nothing
        self._layers: list[Layer | None] = []
        narrow(self)
        self.currentIndexChanged.connect(self._tell)
        self.refresh()

    @property
    def layers(self) -> list[Layer]:
        """The layers offered."""
        return [layer for layer in self._layers if layer is not None]

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        if layer not in self._layers:
            self.refresh()
        if layer in self._layers:
            self.setCurrentIndex(self._layers.index(layer))

    def refresh(self, event: Any = None) -> None:
        """Offer the layers that the viewer has now, keeping the choice."""
        before = self.layer
        layers: list[Layer | None] = [
            layer for layer in self._viewer.layers if self._accepts(layer)
        ]
        if self._nothing:
            layers.insert(0, None)
        self.blockSignals(True)
        self._layers = layers
        self.clear()
        self.addItems([self._nothing if x is None else x.name for x in layers])
        if before in layers:
            self.setCurrentIndex(layers.index(before))
        self.blockSignals(False)
        if self.layer is not before:
            self._tell()

    def _tell(self, index: int = 0) -> None:
        self.setToolTip(self.currentText())
        self.layer_changed.emit(self.layer)


class StatusLine(QWidget):
    """Status in one sentence, and a progress bar."""

    def __init__(self) -> None:
        super().__init__()
        self._keep = False
        self._from_right = False
        self.label = MessageLabel()
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.label.setAlignment(
            Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        )
        # always three lines, so that buttons do not move
        self.label.setMinimumHeight(3 * self.fontMetrics().lineSpacing() + 4)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        keep = self.bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keep)
        self.bar.hide()
        self._swing = QTimer(self)
        self._swing.setInterval(SWING_MS)
        self._swing.timeout.connect(self._swing_bar)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.bar)
        layout.addWidget(self.label)

    @property
    def text(self) -> str:
        """The sentence shown."""
        return str(self.label.text())

    @property
    def busy(self) -> bool:
        """True while work goes on."""
        return not self.bar.isHidden()

    @property
    def kept(self) -> bool:
        """True if background news must not replace the sentence."""
        return self._keep or self.failed

    @property
    def failed(self) -> bool:
        """True if an error is shown."""
        return self.label.failed

    def say(self, text: str, busy: bool = False, keep: bool = False) -> None:
        """Show a sentence.

        Parameters
        ----------
        text : str
            The sentence.
        busy : bool
            Also show the progress bar.
        keep : bool
            Only an answer to the user's next action replaces it, see `kept`.
        """
        self._keep = keep
        self.label.show_message(text)
        if busy and self.bar.isHidden():
            self.show_progress(0, 0)
        elif not busy:
            self.hide_progress()

    def fail(self, text: str) -> None:
        """Show an error."""
        self.say(text)
        self.label.show_message(text, failed=True)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Show a `SegmentationError` of the context, and go on after it."""
        try:
            yield
        except SegmentationError as error:
            self.fail(str(error))

    def show_progress(self, done: int, total: int) -> None:
        """Show progress; a total of 0 means unknown.

        Then half of the bar is filled, in turns the left and the right one:
        Qt's own animation draws the whole dock thirty times a second, which
        takes a processor where no graphics card draws.
        """
        if total:
            self._swing.stop()
            self._fill_from_right(False)
        elif not self._swing.isActive():
            self._swing.start()
        # Qt would paint the bar at once, and with it the canvas of napari,
        # which is not ready for that while layers come and go
        self.bar.setUpdatesEnabled(False)
        self.bar.setRange(0, total or 2)
        self.bar.setValue(done if total else 1)
        self.bar.setUpdatesEnabled(True)
        self.bar.show()

    def hide_progress(self) -> None:
        """Show that no work goes on."""
        self._swing.stop()
        self.bar.hide()

    def _swing_bar(self) -> None:
        self._fill_from_right(not self._from_right)

    def _fill_from_right(self, right: bool) -> None:
        self._from_right = right
        self.bar.setInvertedAppearance(right)


def confirm(
    parent: QWidget, question: str, action: str, then: Callable[[], None]
) -> None:
    """Ask before something is lost; the viewer goes on meanwhile.

    Parameters
    ----------
    parent : QWidget
        The question is asked in front of its window.
    question : str
        What would be lost.
    action : str
        Text of the button that agrees; *Cancel* is the default.
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


def narrow(combo: QComboBox) -> None:
    """Allow a combo box to be narrower than its longest entry."""
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def explain_rows(form: QFormLayout, tips: Mapping[str, str]) -> None:
    """Give the labels of rows their tool tips.

    Lists of layers show a long name in theirs.

    Parameters
    ----------
    form : QFormLayout
        Form with the rows.
    tips : mapping of str to str
        Text of a label, and its tool tip.
    """
    for row in range(form.rowCount()):
        item = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
        label = None if item is None else item.widget()
        if isinstance(label, QLabel) and label.text() in tips:
            label.setToolTip(tips[label.text()])


def wide_button(text: str) -> QPushButton:
    """Return a button that expands to the width of its column."""
    button = QPushButton(text)
    button.setSizePolicy(
        QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
    )
    return button


def group_form(title: str) -> tuple[QGroupBox, QFormLayout]:
    """Return a box with a title, and the form in it."""
    box = QGroupBox(title)
    form = form_layout(box)
    form.setContentsMargins(8, 8, 8, 8)
    return box, form


def form_layout(parent: QWidget | None = None) -> QFormLayout:
    """Return a form that suits a dock 320 pixels wide."""
    form = QFormLayout(parent) if parent is not None else QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setSpacing(6)
    form.setFieldGrowthPolicy(
        QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow
    )
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return form
