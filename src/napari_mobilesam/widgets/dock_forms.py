"""Contents of the dock: one header, and one tab per form."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal, cast
from weakref import ref

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QTabWidget, QToolButton, QWidget

from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import (
    fill,
    order_tabs,
    show_focus,
)
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.dock_tabs import dock_around
from napari_mobilesam.widgets.parts.guide import Guide
from napari_mobilesam.widgets.parts.image_header import ImageHeader
from napari_mobilesam.widgets.parts.keys import Keys, bind_keys, unbind_keys
from napari_mobilesam.widgets.parts.layouts import stack
from napari_mobilesam.widgets.parts.settings_store import SettingsStore
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.actions import key_of
from napari_mobilesam.widgets.prompts.early_clicks import EarlyClicks
from napari_mobilesam.widgets.viewer.layers import is_ours

if TYPE_CHECKING:
    from napari_mobilesam.widgets.everything.everything_widget import (
        EverythingWidget,
    )
    from napari_mobilesam.widgets.prompts.prompt_widget import PromptWidget
    from napari_mobilesam.widgets.training.training_widget import (
        TrainingWidget,
    )

    Form = PromptWidget | EverythingWidget | TrainingWidget

FormName = Literal['prompts', 'everything', 'training']
TITLES: dict[FormName, str] = {
    'prompts': 'Prompts',
    'everything': 'Everything',
    'training': 'Fine-tune',
}
GUIDE_HEADINGS: dict[FormName, str] = {
    'prompts': 'Segment by prompts',
    'everything': 'Segment everything',
    'training': 'Fine-tune on labels',
}


class DockForms(ViewerWidget):
    """Header and forms of the dock “Segmentation”.

    Image and model are chosen once, above the tabs. A form is built when its
    tab is first shown.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Viewer (not a proxy).
    early_clicks : EarlyClicks
        Clicks since the dock was opened.

    Attributes
    ----------
    header : ImageHeader
        Choices of image, channels and model.
    tabs : QTabWidget
        The forms.
    help_button : QToolButton
        Button that opens the user guide.
    """

    def __init__(self, viewer: ViewerModel, early_clicks: EarlyClicks) -> None:
        super().__init__(viewer)
        self._early_clicks = early_clicks
        self._settings = SettingsStore()
        self._forms: dict[FormName, Form] = {}
        self._guide: Guide | None = None
        # undo and redo, until the prompts form binds all keys
        self._keys = Keys()
        self._active: ref[Layer] | None = None
        # deferred: an added layer is selected for a moment
        self._active_later = DelayedCall(self._follow_active, parent=self)
        # the form that saves and restores objects
        self._prompts_later = DelayedCall(
            partial(self._finish, 'prompts'), parent=self
        )
        self.header = ImageHeader(self)
        self.tabs = QTabWidget()
        for title in TITLES.values():
            self.tabs.addTab(QWidget(), title)
        self.help_button = QToolButton()
        self.help_button.setText('Help')
        self.help_button.setToolTip('Open the user guide at this tab.')
        self.tabs.setCornerWidget(self.help_button)
        contents = QWidget()
        stack(contents, self.header, self.tabs, spacing=0).setStretch(1, 1)
        fill(self, contents)
        show_focus(self)
        self.tabs.currentChanged.connect(self._tab_changed)
        self.help_button.clicked.connect(self.show_help)
        self.attach()

    # forms

    @property
    def form_name(self) -> FormName:
        """Name of the form in front."""
        return list(TITLES)[self.tabs.currentIndex()]

    def show_form(self, name: FormName) -> Form:
        """Bring a form to the front.

        Parameters
        ----------
        name : {'prompts', 'everything', 'training'}
            Name of the form.

        Returns
        -------
        PromptWidget, EverythingWidget or TrainingWidget
            The form, built if it has not been shown before.
        """
        self._finish(name)
        self.tabs.setCurrentIndex(list(TITLES).index(name))
        form = self._forms[name]
        if name == 'everything':
            everything = cast('EverythingWidget', form)
            everything.panel.review.show_undo_key(self._key_of('undo'))
        if self._settings.current.autosave and 'prompts' not in self._forms:
            self._prompts_later.restart()
        return form

    def _finish(self, name: FormName) -> None:
        """Build a form, and put it into its tab."""
        while step := self.next_step(name):
            step()

    def next_step(self, name: FormName) -> Callable[[], None] | None:
        """Return the next step towards showing a form.

        Each step blocks the window for less than 100 ms.

        Parameters
        ----------
        name : {'prompts', 'everything', 'training'}
            Name of the form.

        Returns
        -------
        callable or None
            None if the form is built and in its tab.
        """
        if name not in self._forms:
            return partial(self._build, name)
        if self._page(name).layout() is None:
            return partial(self._place, name)
        return None

    def _page(self, name: FormName) -> QWidget:
        page = self.tabs.widget(list(TITLES).index(name))
        assert page is not None
        return page

    def _place(self, name: FormName) -> None:
        """Put a form into its tab, where Qt styles all its controls."""
        form = self._forms[name]
        fill(self._page(name), form)
        order_tabs(self.help_button, form)

    def _build(self, name: FormName) -> None:
        form = self._forms[name] = self._new_form(name)
        _keep_folds(form, name, self._settings)

    def _new_form(self, name: FormName) -> Form:
        # imported lazily: each has many modules
        if name == 'prompts':
            from napari_mobilesam.widgets.prompts.prompt_widget import (
                PromptWidget,
            )

            unbind_keys(self.viewer, self._keys)
            return PromptWidget(
                self.viewer, self.header, self._settings, self._early_clicks
            )
        if name == 'everything':
            from napari_mobilesam.widgets.everything.everything_widget import (
                EverythingWidget,
            )

            form = EverythingWidget(self.viewer, self.header)
            form.edit_asked.connect(self._edit)
            return form
        from napari_mobilesam.widgets.training.training_widget import (
            TrainingWidget,
        )

        return TrainingWidget(self.viewer, self.header)

    def _tab_changed(self, index: int) -> None:
        self.show_form(self.form_name)

    def _edit(self, image: Image, labels: Labels, number: int) -> None:
        """Open an object of a run in the prompts form."""
        prompts = cast('PromptWidget', self.show_form('prompts'))
        with prompts.status.errors():
            prompts.take_over(image, labels, number)

    def _come_to_front(self) -> None:
        """Show the prompts form, also if another dock covers this one."""
        prompts = cast('PromptWidget', self.show_form('prompts'))
        prompts.tools.use_some_tool()
        dock = dock_around(self)
        if dock is not None:
            dock.raise_()

    # undo and redo

    def _key_of(self, action: str) -> str:
        return key_of(action, self._settings.current.keys)

    def _bind_keys(self) -> None:
        actions = {'undo': self._undo, 'redo': self._redo}
        keys = {self._key_of(name): call for name, call in actions.items()}
        keys.pop('', None)
        self._keys = bind_keys(self, keys)

    def _undo(self) -> None:
        with self._errors():
            self.session.navigation.undo()

    def _redo(self) -> None:
        with self._errors():
            self.session.navigation.redo()

    def _errors(self) -> AbstractContextManager[None]:
        """Show errors in the form in front."""
        form = self._forms.get(self.form_name)
        return nullcontext() if form is None else form.status.errors()

    def _say_restored(self, text: str) -> None:
        """Show what was undone or redone, wherever it was requested."""
        everything = cast(
            'EverythingWidget | None', self._forms.get('everything')
        )
        if everything is not None and text.startswith('Undone'):
            text += everything.runs.emptied_text()
        prompts = cast('PromptWidget | None', self._forms.get('prompts'))
        if prompts is not None:
            prompts.navigation.say_restored(text)
        for name in ('everything', self.form_name):
            form = self._forms.get(name)
            if form is not None and form is not prompts:
                form.status.say(text)

    def show_help(self) -> None:
        """Open the user guide at the page of the form in front."""
        if self._guide is None:
            self._guide = Guide(self)
        self._guide.open_at(GUIDE_HEADINGS[self.form_name])

    @property
    def pending(self) -> bool:
        """True while a change in the viewer remains to be handled."""
        later = self._active_later.pending or self._prompts_later.pending
        return later or any(form.pending for form in self._forms.values())

    # docking

    def attach(self) -> None:
        """Listen to viewer and session, and attach the forms."""
        super().attach()
        session = self.session
        selection = self.viewer.layers.selection
        self.listen_all(
            (selection.events.active, self._active_later.restart),
            (session.model_changed, self.header.show_device),
            (session.navigation.restored, self._say_restored),
            (session.navigation.edited, self._come_to_front),
            (self.scene.channels_changed, self.header.follow_channels),
        )
        self.header.model_box.attach()
        self.header.refresh()
        self.header.show_device()
        self._follow_active()
        if 'prompts' not in self._forms:
            self._bind_keys()
        for form in self._forms.values():
            if not form.attached:
                form.attach()

    def detach(self) -> None:
        """Detach the forms, and stop listening."""
        # prompts last: they save what a run has found so far
        for name in reversed(TITLES):
            form = self._forms.get(name)
            if form is not None and form.attached:
                form.detach()
        if self._guide is not None:
            self._guide.close()
        self._active_later.cancel()
        self._prompts_later.cancel()
        unbind_keys(self.viewer, self._keys)
        super().detach()

    def _follow_active(self) -> None:
        """Switch to the selected image; an open object keeps its own."""
        active = self.viewer.layers.selection.active
        before = None if self._active is None else self._active()
        self._active = None if active is None else ref(active)
        if active is before or 'prompts' in self._forms:
            return
        # an edge layer becomes active when it is added
        if isinstance(active, Image) and not is_ours(active):
            self.header.image_combo.layer = active


def _keep_folds(form: Form, name: FormName, settings: SettingsStore) -> None:
    """Restore which sections of a form are open, and save their changes."""

    def save(key: str, is_open: bool) -> None:
        sections = {**settings.current.sections, key: is_open}
        settings.save(form.status, sections=sections)

    for section in form.findChildren(CollapsibleSection):
        key = f'{name}: {section.title}'
        is_open = settings.current.sections.get(key)
        if is_open is not None:
            section.fold(not is_open)
        section.toggled.connect(partial(save, key))
