"""Controls of the prompt form, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari.layers import Points, Shapes
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLayout,
    QPushButton,
    QWidget,
)

from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.parts.candidates_view import CandidatesView
from napari_mobilesam.widgets.parts.class_box import ClassBox
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import (
    choice_combo,
    explain_rows,
    form_layout,
    narrow,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import column
from napari_mobilesam.widgets.parts.settings_store import SettingsStore
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.actions import ACTIONS, key_of, label_of
from napari_mobilesam.widgets.prompts.problem_list import ProblemList
from napari_mobilesam.widgets.prompts.prompt_layers import COLORS, POSITIVE
from napari_mobilesam.widgets.prompts.settings_box import SettingsBox
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.layers import (
    data_of,
    is_of,
    is_output,
    slider_name,
)

HINT = 'Click an object; right-click what does not belong to it.'
# what to do with each tool
HINTS = {
    'use_points_tool': HINT,
    'use_boxes_tool': 'Drag a box around an object.',
    'use_outline_tool': 'Draw around an object with the mouse button down.',
    'use_scribble_tool': 'Draw a line over an object; over something that '
    'does not belong to it, with the right button.',
}
TOOLS = tuple(HINTS)
CHECKABLE = (*TOOLS, 'edit_object', 'toggle_hover')
PICKS = ('edit_object', 'assign_class')
DECISIONS = (
    'accept',
    'reject',
    'undo',
    'redo',
    'next_candidate',
    'delete_object',
)
NAVIGATION = ('previous_object', 'next_object', 'next_uncertain')
OVERLAPS = {
    'overwrite': 'overwrite',
    'keep': 'keep existing labels',
}
NUMBERS = {
    'instance': 'one label per object',
    'semantic': 'one label per class',
}
NEW_LAYER = 'New layer (automatic)'
ROW_TIPS = {
    'Labels': 'Layer to which objects are written.',
    'On overlap': 'What happens to pixels of other objects.',
    'Numbering': 'A number for each object, or one for all of a class.',
    'Class': 'Class of the next object; type a name to add one.',
}


class PromptPanel(QWidget):
    """Layout of buttons, choices and status line.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the viewer, and the classes to choose from.
    settings : SettingsStore
        Settings of the user, the initial state.

    Attributes
    ----------
    buttons : dict of str to QPushButton
        Buttons by action, see `ACTIONS`.
    """

    def __init__(self, dock: ViewerWidget, settings: SettingsStore) -> None:
        super().__init__()
        self.settings = settings
        self._viewer = viewer = dock.viewer
        self._keys: Mapping[str, str] = settings.current.keys
        self._polarity = POSITIVE
        self._selecting = False
        self.points_combo = LayerCombo(viewer, is_of(Points), NEW_LAYER)
        self.shapes_combo = LayerCombo(viewer, is_of(Shapes), NEW_LAYER)
        self.labels_combo = LayerCombo(viewer, is_output, NEW_LAYER)
        self.axis_combo = narrow(QComboBox())
        self.axis_combo.setToolTip(
            'Axis of the image along which objects are followed.'
        )
        self.candidates_view = CandidatesView()
        self.policy_combo = choice_combo(OVERLAPS)
        self.policy_combo.setToolTip(
            'What to do with pixels that already belong to another object.'
        )
        self.numbers_combo = choice_combo(NUMBERS)
        self.class_box = ClassBox(dock.session.classes)
        self.save_box = QCheckBox('Autosave')
        self.script_button = wide_button('Copy script')
        self.script_button.setToolTip(
            'Copy a Python script that recreates these labels, step by step, '
            'from the same image.'
        )
        self.restore_button = wide_button('Restore saved objects')
        self.restore_button.hide()
        self.buttons: dict[str, QPushButton] = {
            action: wide_button('') for action in ACTIONS
        }
        for action in {*CHECKABLE, *PICKS}:
            self.buttons[action].setCheckable(True)
        self.cancel_button = wide_button('Stop')
        self.cancel_button.setToolTip(
            'Stop, and keep the objects found so far.'
        )
        self.cancel_button.hide()
        self.clear_candidates()
        self.problem_list = ProblemList()
        self.settings_box = SettingsBox(settings.current)
        self.status = StatusLine()
        self._arrange()
        self.show_keys(self._keys)

    def _arrange(self) -> None:
        top = column(
            self._grid(CHECKABLE),
            self.buttons['flip_polarity'],
            self.candidates_view,
            self._grid(DECISIONS),
        )

        layers = form_layout()
        layers.addRow('Points', self.points_combo)
        layers.addRow('Shapes', self.shapes_combo)
        layers.addRow(self.buttons['run_batch'])
        planes = column(
            self.axis_combo,
            self._grid(('propagate_back', 'propagate_forward')),
            self.buttons['propagate_both'],
            spacing=4,
        )
        self.planes_box = CollapsibleSection(
            'Propagate through stack', planes, expanded=True
        )
        # until a stack is chosen
        self.planes_box.hide()
        output = form_layout()
        output.addRow('Labels', self.labels_combo)
        output.addRow('On overlap', self.policy_combo)
        output.addRow('Numbering', self.numbers_combo)
        output.addRow('Class', self.class_box)
        output.addRow('', self.buttons['assign_class'])
        explain_rows(output, ROW_TIPS)
        output.addRow('', self.save_box)
        output.addRow('', self.script_button)

        contents = column(
            self.problem_list,
            self.restore_button,
            self.planes_box,
            CollapsibleSection('Output', output),
            CollapsibleSection('Go to object', self._grid(NAVIGATION)),
            CollapsibleSection('Prompt layers', layers),
            self.settings_box,
        )
        contents.addStretch(1)
        scrollable(self, contents, self.status, top, self.cancel_button)

    def _grid(self, actions: tuple[str, ...]) -> QLayout:
        grid = QGridLayout()
        grid.setSpacing(4)
        for index, action in enumerate(actions):
            grid.addWidget(self.buttons[action], *divmod(index, 2))
        return grid

    def offer_axes(self, plane: LayerPlane) -> None:
        """Offer propagation along the axes of an image."""
        image, axes = plane.layer, plane.stack_axes
        self.planes_box.setVisible(bool(axes))
        self.axis_combo.setVisible(len(axes) > 1)
        entries = [
            (f'along {name}, {size} planes', axis)
            for axis in axes
            for name in [slider_name(self._viewer, image, axis)]
            for size in [data_of(image).shape[axis]]
        ]
        combo = self.axis_combo
        if entries == [
            (combo.itemText(n), combo.itemData(n))
            for n in range(combo.count())
        ]:
            return
        combo.clear()
        for text, axis in entries:
            combo.addItem(text, axis)
        combo.setCurrentIndex(combo.findData(plane.followed_axis))

    @property
    def axis(self) -> int | None:
        """Axis along which objects are followed; None if there is only one."""
        if self.axis_combo.count() < 2:
            return None
        return int(self.axis_combo.currentData())

    @property
    def tool(self) -> str | None:
        """Action of the active tool; None if nothing can be drawn."""
        chosen = (name for name in TOOLS if self.buttons[name].isChecked())
        return next(chosen, None)

    @property
    def press_points(self) -> str:
        """What to do while no tool is active."""
        return f'Press {self.buttons[TOOLS[0]].text()}, then click an object.'

    def hint(self) -> str:
        """Return what to do next, whether or not a tool is active."""
        return self.press_points if self.tool is None else HINTS[self.tool]

    def show_tool(self, active: str | None) -> None:
        """Check the button of the active tool, and show its hint."""
        for action in TOOLS:
            self.buttons[action].setChecked(action == active)
        text, hint = self.status.text, self.hint()
        outdated = text.endswith((self.press_points, *HINTS.values()))
        if outdated and not text.endswith(hint):
            self.status.say(hint, keep=self.status.kept)

    def show_candidates(self, masks: Sequence[Mask], chosen: int) -> None:
        """Show candidate masks."""
        self.candidates_view.show_masks(masks, chosen)
        self.buttons['next_candidate'].setEnabled(len(masks) > 1)

    def clear_candidates(self) -> None:
        """Show that there is no choice of masks."""
        self.candidates_view.clear()
        self.buttons['next_candidate'].setEnabled(False)

    def show_keys(self, changed: Mapping[str, str]) -> None:
        """Show the shortcuts on the buttons.

        Parameters
        ----------
        changed : mapping of str to str
            Maps actions to keys that differ from the default.
        """
        self._keys = changed
        for action, button in self.buttons.items():
            button.setText(label_of(action, changed))
            key = key_of(action, changed)
            tip = ACTIONS[action].tip
            button.setToolTip(f'{tip}\nKey: {key}' if key else tip)
        self.show_polarity(self._polarity)

    def show_selecting(self, selecting: bool) -> None:
        """Show whether clicks select points instead of adding them."""
        if selecting != self._selecting:
            self._selecting = selecting
            self.show_polarity(self._polarity)

    def show_polarity(self, polarity: str) -> None:
        """Show the effect of the next left click in words and colour."""
        self._polarity = polarity
        effect = 'add (+)' if polarity == POSITIVE else 'remove (−)'
        if self._selecting:
            effect = 'select points'
        key = key_of('flip_polarity', self._keys)
        flip = f'  ·  flip ({key})' if key else '  ·  flip'
        button = self.buttons['flip_polarity']
        button.setText(f'Left click: {effect}{flip}')
        button.setStyleSheet(
            'QPushButton { text-align: left; border-left: 6px solid '
            f'{COLORS[polarity]}; }}'
        )
