"""Controls of the series form, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtWidgets import QLabel, QLineEdit, QPushButton, QSpinBox, QWidget

from napari_mobilesam.series.series_files import PATTERN
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.parts.action import Action
from napari_mobilesam.widgets.parts.collapsible_section import (
    CollapsibleSection,
)
from napari_mobilesam.widgets.parts.controls import (
    form_layout,
    group_form,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.layouts import column, row, two_columns
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_table import SeriesTable
from napari_mobilesam.widgets.series.uncertain_table import UncertainTable

# keyed by the names in `SeriesWidget.commands`
ACTIONS: Mapping[str, Action] = {
    'previous': Action(
        'Previous', 'Alt+Left', 'Save the labels and open the previous image.'
    ),
    'next': Action(
        'Next', 'Alt+Right', 'Save the labels and open the next image.'
    ),
    'done': Action(
        'Done, next',
        'Shift+W',
        'Mark the image as done, and open the next unfinished one.',
    ),
    'flag': Action(
        'Flag',
        'Shift+F',
        'Flag the image to come back to it; press again to remove the flag.',
    ),
    'accept': Action(
        'Accept, next',
        'Shift+C',
        'Mark the object under review as correct, as it is now, and show\n'
        'the next one, in any image. Enter in the list does the same.\n'
        'If no object is shown, start with the least certain one.',
    ),
    'delete': Action(
        'Delete, next',
        'Shift+Z',
        'Delete the object under review, and show the next one. Delete in the '
        '\nlist does the same.',
    ),
    'undo': Action(
        'Undo', '', 'Undo the last step in the labels of this image.'
    ),
}
SHOWN_PARAMETERS = (
    'diameter',
    'points_per_side',
    'predicted_iou',
    'stability',
)
NAMES_TIP = (
    'File names of the labels: {name} and {suffix} of the image, its '
    '{folder}, and its {number}, from 1.'
)


class SeriesPanel(QWidget):
    """Layout of buttons, table and status line.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the session, whose models can be chosen.

    Attributes
    ----------
    buttons : dict of str to QPushButton
        Buttons by action, see `ACTIONS`.
    """

    def __init__(self, dock: ViewerWidget) -> None:
        super().__init__()
        self.model_box = ModelBox(dock)
        self.folder_button = wide_button('Open folder …')
        self.files_button = wide_button('Open files …')
        self.resume_button = wide_button('Resume the last series')
        self.output_edit = QLineEdit()
        self.output_edit.setPlaceholderText('“labels” beside them')
        self.output_edit.setToolTip('Folder to which labels are saved.')
        self.output_button = QPushButton('…')
        self.output_button.setMaximumWidth(32)
        self.output_button.setToolTip('Choose the folder of the labels.')
        self.names_edit = QLineEdit(PATTERN)
        self.names_edit.setToolTip(NAMES_TIP)
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.table = SeriesTable()
        self.uncertain = UncertainTable()
        self.uncertain.setToolTip(
            'Unreviewed objects of all images. A click shows one;\nEnter '
            'accepts it and shows the next one, Delete deletes it.'
        )
        self.buttons: dict[str, QPushButton] = {}
        for name, action in ACTIONS.items():
            text, tip = action.text, action.tip
            if action.key:
                text = f'{text} ({action.key})'
                tip = f'{tip}\nKey: {action.key}'
            self.buttons[name] = wide_button(text)
            self.buttons[name].setToolTip(tip)
        self.run_button = wide_button('Segment everything on all images')
        self.run_button.setToolTip(
            'Find all objects of every image that has no labels yet.'
        )
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop; finished images are kept.')
        self.form = ParameterForm(
            EverythingParameters(),
            names=SHOWN_PARAMETERS,
        )
        self.channel_box = QSpinBox()
        self.channel_box.setRange(0, 99)
        self.channel_box.setToolTip(
            'For images with several channels: channel to segment, from 0.\n'
            'Prompts apply to it, too, unless another layer is chosen.'
        )
        self.status = StatusLine()
        self._arrange()

    def _arrange(self) -> None:
        files, rows = group_form('Images')
        rows.addRow(row(self.folder_button, self.files_button))
        rows.addRow(self.resume_button)
        more = QWidget()
        form = form_layout(more)
        form.addRow('Labels in', row(self.output_edit, self.output_button))
        form.addRow('Names', self.names_edit)
        self.where_section = CollapsibleSection('Where labels are saved', more)
        rows.addRow(self.where_section)

        series, rows = group_form('Series')
        rows.addRow(self.summary)
        rows.addRow(self.table)
        buttons = self.buttons
        rows.addRow(
            two_columns(
                (buttons['previous'], buttons['next']),
                (buttons['flag'], buttons['done']),
            )
        )

        review, rows = group_form('Review, least certain first')
        rows.addRow(self.uncertain)
        rows.addRow(
            two_columns(
                (buttons['accept'],), (buttons['delete'], buttons['undo'])
            )
        )

        everything, rows = group_form('All images')
        more = QWidget()
        form = form_layout(more)
        form.addRow(QLabel('Model'))
        form.addRow(self.model_box)
        form.addRow('Channel', self.channel_box)
        form.addRow(self.form)
        rows.addRow(CollapsibleSection('Model and parameters', more))
        rows.addRow(self.run_button)
        rows.addRow(self.cancel_button)

        contents = column(files, series, everything, review)
        for lists in (series, review):
            contents.setStretchFactor(lists, 1)
        scrollable(self, contents, self.status)
