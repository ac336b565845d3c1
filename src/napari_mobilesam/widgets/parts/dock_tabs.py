"""Docks of several forms, as tabs if the window is too low for two."""

from __future__ import annotations

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

# Window height, in screen pixels, that fits two stacked forms.
HEIGHT_OF_TWO = 1200


def show_as_tab(form: QWidget, kind: type[QWidget]) -> None:
    """Tabify the docks of two forms in low windows.

    Parameters
    ----------
    form : QWidget
        Form whose dock was just opened.
    kind : type
        Common class of the forms of other docks.
    """
    dock = _dock_of(form, kind)
    window = None if dock is None else dock.parentWidget()
    if dock is None or not isinstance(window, QMainWindow):
        return
    # tab text: with the plugin name, three tabs would be cut off
    dock.setWindowTitle(dock.windowTitle().split(' (')[0])
    if window.height() >= HEIGHT_OF_TWO or dock.isFloating():
        return
    tabs = window.tabifiedDockWidgets(dock)
    if any(other.findChild(kind) is not None for other in tabs):
        # moving again would make Qt split the tabs of docks opened together
        return
    area = window.dockWidgetArea(dock)
    for other in window.findChildren(QDockWidget):
        if (
            other is not dock
            and not other.isHidden()
            and not other.isFloating()
            and window.dockWidgetArea(other) == area
            and other.findChild(kind) is not None
        ):
            window.tabifyDockWidget(other, dock)
            dock.raise_()
            _fit_screen(window)
            return


def dock_around(widget: QWidget) -> QDockWidget | None:
    """Return the dock that contains a widget; None outside a dock."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _fit_screen(window: QMainWindow) -> None:
    """Release the height needed by two stacked docks."""
    screen, layout = window.screen(), window.layout()
    if screen is None or layout is None:
        return
    layout.activate()
    height = screen.availableGeometry().height()
    if window.height() > height:
        window.resize(window.width(), height)


def _dock_of(form: QWidget, kind: type[QWidget]) -> QDockWidget | None:
    """Return the dock of a form, unless it is part of another form."""
    widget = form.parentWidget()
    while widget is not None and not isinstance(widget, QDockWidget):
        if isinstance(widget, kind):
            return None
        widget = widget.parentWidget()
    return widget
