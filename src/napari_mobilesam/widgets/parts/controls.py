"""Building blocks of the dock widgets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QComboBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QLabel,
    QLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.session import Session
from napari_mobilesam.widgets.viewer.layers import unwrap
from napari_mobilesam.widgets.viewer.viewer_session import get_session

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

Connection = tuple[Any, Callable[..., None]]

ERROR_STYLE = 'color: #ff8a80;'


def _let_go(connections: list[Connection], session: Session) -> None:
    for signal, callback in connections:
        signal.disconnect(callback)
    if connections:
        connections.clear()
        session.release()


class ViewerWidget(QWidget):
    """A widget that listens to its viewer only while it is docked.

    Closing a dock in napari sends no close event: the widget loses its
    parent and would go on receiving layer events for ever. A widget that is
    docked again listens again.

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
        # no bound method: Qt drops those of an object that it destroys
        self.destroyed.connect(
            partial(_let_go, self._connections, self.session)
        )

    def listen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Call back on a napari or psygnal signal until detached."""
        signal.connect(callback)
        self._connections.append((signal, callback))

    def deafen(self, signal: Any, callback: Callable[..., None]) -> None:
        """Undo `listen`."""
        signal.disconnect(callback)
        self._connections.remove((signal, callback))

    def attach(self) -> None:
        """Start listening; subclasses connect their signals here."""
        self.session.acquire()

    def follow_layers(self) -> None:
        """Hear of layers that come, go and become active."""
        layers = self.viewer.layers
        for event in ('inserted', 'removed', 'reordered'):
            self.listen(getattr(layers.events, event), self._layers_changed)
        self.listen(layers.selection.events.active, self._active_changed)

    def _layers_changed(self, event: Any = None) -> None:
        """Layers are others, or in another order."""

    def _active_changed(self, event: Any = None) -> None:
        """Another layer is active, or none."""

    def detach(self) -> None:
        """Stop listening; subclasses clean the viewer up here."""
        _let_go(self._connections, self.session)

    @property
    def attached(self) -> bool:
        """Whether the widget listens to its viewer."""
        return bool(self._connections)

    def event(self, event: QEvent | None) -> bool:
        """Follow the parent: that is how a dock opens and closes."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is None and self.attached:
                self.detach()
            elif self.parent() is not None and not self.attached:
                self.attach()
        return bool(super().event(event))


def scrollable(
    widget: QWidget,
    contents: QLayout,
    status: StatusLine,
    buttons: QLayout | None = None,
) -> None:
    """Fill a dock widget: contents that scroll, a status that never does.

    Small screens and stacked docks then cut nothing off.

    Parameters
    ----------
    widget : QWidget
        What to fill.
    contents : QLayout
        What scrolls.
    status : StatusLine
        Stays at the bottom.
    buttons : QLayout, optional
        Stays above the status.
    """
    inner = QWidget()
    inner.setLayout(contents)
    contents.setContentsMargins(8, 8, 8, 0)
    contents.setSpacing(8)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    # as tall as its contents where there is room, and shrinking below that
    area.setSizeAdjustPolicy(
        QAbstractScrollArea.SizeAdjustPolicy.AdjustToContents
    )
    area.setMinimumHeight(120)
    area.setMinimumWidth(inner.minimumSizeHint().width())
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 8)
    layout.setSpacing(4)
    layout.addWidget(area, 1)
    if buttons is not None:
        buttons.setContentsMargins(8, 4, 8, 4)
        layout.addLayout(buttons)
    status.setContentsMargins(8, 0, 8, 0)
    layout.addWidget(status)


class LayerCombo(QComboBox):
    """Choice among the layers of a viewer, held by identity.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer, no proxy.
    accepts : callable
        Which layers are offered.
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
    """One sentence that always says what is happening, and a thin bar."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.label.setAlignment(
            Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        )
        # three lines always, so that buttons never move under the mouse
        self.label.setMinimumHeight(3 * self.fontMetrics().lineSpacing() + 4)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        keep = self.bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(keep)
        self.bar.hide()
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
        """Whether the sentence is about work that goes on."""
        return not self.bar.isHidden()

    @property
    def failed(self) -> bool:
        """Whether the sentence is about what went wrong."""
        return bool(self.label.styleSheet() == ERROR_STYLE)

    def say(self, text: str, busy: bool = False) -> None:
        """Show a sentence; ``busy`` shows that work goes on."""
        self.label.setStyleSheet('')
        self.label.setText(text)
        if busy and self.bar.isHidden():
            self.show_progress(0, 0)
        elif not busy:
            self.bar.hide()

    def fail(self, text: str) -> None:
        """Show what went wrong."""
        self.say(text)
        self.label.setStyleSheet(ERROR_STYLE)

    def show_progress(self, done: int, total: int) -> None:
        """Show how far work is; a total of 0 means unknown."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.bar.show()


def narrow(combo: QComboBox) -> None:
    """Let a combo box shrink below its longest entry."""
    combo.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def wide_button(text: str) -> QPushButton:
    """Return a button that shares the width of its row."""
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
