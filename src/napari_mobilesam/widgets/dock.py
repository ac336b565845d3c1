"""The dock, opened at once and filled when its modules are imported."""

from __future__ import annotations

import contextlib
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import napari.viewer
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QLabel,
    QSizePolicy,
    QTabWidget,
    QToolButton,
    QWidget,
)

from napari_mobilesam.background_imports import import_gently
from napari_mobilesam.settings import load_settings
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.dock_tabs import dock_around
from napari_mobilesam.widgets.parts.layouts import DOCK_WIDTH, stack
from napari_mobilesam.widgets.prompts.actions import key_of
from napari_mobilesam.widgets.prompts.early_clicks import STARTING, EarlyClicks
from napari_mobilesam.widgets.viewer.layers import unwrap
from napari_mobilesam.widgets.viewer.main_thread import MainThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_mobilesam.widgets.dock_forms import DockForms, Form, FormName
    from napari_mobilesam.widgets.parts.image_header import ImageHeader

_FORMS = 'napari_mobilesam.widgets.dock_forms'
_MODULES: dict[FormName, str] = {
    'prompts': 'napari_mobilesam.widgets.prompts.prompt_widget',
    'everything': 'napari_mobilesam.widgets.everything.everything_widget',
    'training': 'napari_mobilesam.widgets.training.training_widget',
}
_FILLING = QSizePolicy.Policy.Preferred
# as in the Plugins menu, so that the menu finds the dock
DOCK_NAME = 'Segmentation (MobileSAM)'


class MobileSamDock(QWidget):
    """Dock widget “Segmentation”: prompts, everything and fine-tuning.

    It is first shown empty; its modules are imported on another thread and its
    contents built in steps, so that the window stays responsive. Clicks on the
    canvas are kept until they can be answered. A viewer has one such dock: a
    second one takes over the contents of the first, which is removed.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer, passed by napari.
    form : {'prompts', 'everything', 'training'}
        Form to show in front.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, form: FormName = 'prompts'
    ) -> None:
        super().__init__()
        self._viewer = unwrap(viewer)
        self._wanted: FormName | None = form
        self._forms: DockForms | None = None
        self._clicks = EarlyClicks(self._viewer)
        self._starting = QLabel(STARTING)
        self._starting.setWordWrap(True)
        self._starting.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._starting.setMargin(8)
        # otherwise napari adds a stretch that takes half the height
        self._starting.setSizePolicy(_FILLING, QSizePolicy.Policy.Expanding)
        # a minimum width of the widget would replace that of a larger font
        stack(self, self._starting).addStrut(DOCK_WIDTH)
        # one step for each turn of the event loop
        self._next_step = DelayedCall(self._build_step, parent=self)
        # kept alive, as its deletion would drop events
        self._on_main = MainThread()
        self._imports: threading.Thread | None = None
        self._imported: set[FormName] = set()
        self._has_preferences = False
        if form == 'prompts':
            accept_key = key_of('accept', load_settings().keys)
            self._clicks.watch(self._starting.setText, accept_key)
        self._import()

    # contents

    @property
    def forms(self) -> DockForms:
        """Header and forms, built if they are not yet."""
        self._take_contents()
        if self._forms is None:
            self._wait_for_imports()
            from napari_mobilesam.widgets.dock_forms import DockForms

            self._put(DockForms(self._viewer, self._clicks))
        assert self._forms is not None
        return self._forms

    @property
    def header(self) -> ImageHeader:
        """Choices of image, channels and model."""
        return self.forms.header

    @property
    def tabs(self) -> QTabWidget:
        """The tabs of the forms."""
        self._show_wanted()
        return self.forms.tabs

    @property
    def help_button(self) -> QToolButton:
        """Button that opens the user guide."""
        return self.forms.help_button

    @property
    def form_name(self) -> FormName:
        """Name of the form in front."""
        self._show_wanted()
        return self.forms.form_name

    def show_form(self, name: FormName) -> Form:
        """Bring a form to the front; see `DockForms.show_form`."""
        self._wanted = None
        forms = self.forms
        self._wait_for_imports()
        return forms.show_form(name)

    def show_form_soon(self, name: FormName) -> None:
        """Bring a form to the front when its modules are imported."""
        self._wanted = name
        self._next_step.restart()

    def _show_wanted(self) -> None:
        if self._wanted is not None:
            self.show_form(self._wanted)

    @property
    def pending(self) -> bool:
        """True while something is still to be built or handled."""
        if self._wanted is not None or self._forms is None:
            return True
        return self._forms.pending

    # in steps

    def _import(self) -> None:
        """Import the modules of the wanted form on another thread."""
        assert self._wanted is not None
        self._imported.add(self._wanted)
        names = (_FORMS, _MODULES[self._wanted])
        if all(name in sys.modules for name in names):
            self._next_step.restart()
        else:
            self._start_imports(names)

    def _start_imports(self, names: tuple[str, ...]) -> None:
        self._imports = threading.Thread(
            target=_import_and_tell,
            args=(names, self._on_main, partial(_imported, weakref.ref(self))),
            name='napari-mobilesam-imports',
            daemon=True,
        )
        self._imports.start()

    def _wait_for_imports(self) -> None:
        if self._imports is not None:
            self._imports.join()
            self._imports = None

    def go_on(self) -> None:
        """Build the contents once their modules are imported."""
        self._imports = None
        self._next_step.restart()

    def _build_step(self) -> None:
        """Build the contents, then, in the next turn, the wanted form."""
        if self.parent() is None or self._imports is not None:
            return
        self._take_contents()
        if self._forms is None:
            self._build_forms()
            self._next_step.restart()
        elif self._wanted is None:
            return
        elif self._wanted not in self._imported:
            self._import()
        elif step := self._forms.next_step(self._wanted):
            step()
            self._next_step.restart()
        else:
            self._show_wanted()
            # modules of the other tabs, before they are shown
            self._start_imports(tuple(_MODULES.values()))

    def _build_forms(self) -> None:
        if self._has_preferences:
            _ = self.forms
            return
        from napari_mobilesam.widgets.viewer.napari_preferences import (
            find_preferences,
        )

        # napari reads the manifests of all plugins at the first call
        find_preferences()
        self._has_preferences = True

    def _put(self, forms: DockForms) -> None:
        self._forms = forms
        self._starting.hide()
        layout = self.layout()
        assert layout is not None
        forms.setSizePolicy(_FILLING, QSizePolicy.Policy.Expanding)
        layout.addWidget(forms)
        # hidden if it was in another dock
        forms.show()

    # docking

    def event(self, event: QEvent | None) -> bool:
        """Attach or detach the contents when a dock opens or closes."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            docked = self.parent() is not None
            if not docked and self._forms is None:
                self._clicks.stop()
            if self._forms is not None:
                self._forms.follow_dock(docked)
            elif docked:
                self._next_step.restart()
        return bool(super().event(event))

    def _take_contents(self) -> None:
        """Take the contents of another dock of the viewer, and remove it."""
        if self.parent() is None:
            return
        for other in _docks_of(self._viewer):
            if other is self:
                continue
            forms, other._forms = other._forms, None
            if forms is not None and self._forms is None:
                self._clicks, other._clicks = other._clicks, self._clicks
                self._wanted = None
                self._put(forms)
            self._viewer.window.remove_dock_widget(dock_around(other))


def _import_and_tell(
    names: tuple[str, ...], deliver: MainThread, then: Callable[[], None]
) -> None:
    # failures occur again, and are reported, where the modules are needed
    with contextlib.suppress(Exception):
        import_gently(names)
    deliver(then)


def _imported(find_dock: weakref.ref[MobileSamDock]) -> None:
    dock = find_dock()
    # Qt may have deleted it
    with contextlib.suppress(RuntimeError):
        if dock is not None:
            dock.go_on()


def _docks_of(viewer: Any) -> list[MobileSamDock]:
    return [
        widget
        for widget in viewer.window.dock_widgets.values()
        if isinstance(widget, MobileSamDock)
    ]


def _open_dock(viewer: Any, name: FormName) -> MobileSamDock:
    """Raise the dock of a viewer, or open one with a form."""
    for found in _docks_of(viewer):
        dock = dock_around(found)
        assert dock is not None
        dock.show()
        dock.raise_()
        return found
    made = MobileSamDock(viewer, name)
    viewer.window.add_dock_widget(made, name=DOCK_NAME)
    return made


def open_form(viewer: napari.viewer.Viewer, name: FormName) -> Form:
    """Open the dock of a viewer at a form, or bring the form to the front.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer with a window.
    name : {'prompts', 'everything', 'training'}
        Name of the form.

    Returns
    -------
    PromptWidget, EverythingWidget or TrainingWidget
        The form.
    """
    return _open_dock(unwrap(viewer), name).show_form(name)


def open_prompts(viewer: napari.viewer.Viewer) -> None:
    """Open *Segment by prompts*."""
    _open_dock(unwrap(viewer), 'prompts').show_form_soon('prompts')


def open_everything(viewer: napari.viewer.Viewer) -> None:
    """Open *Segment everything*."""
    _open_dock(unwrap(viewer), 'everything').show_form_soon('everything')


def open_training(viewer: napari.viewer.Viewer) -> None:
    """Open *Fine-tune on labels*."""
    _open_dock(unwrap(viewer), 'training').show_form_soon('training')
