"""Controls of the series form, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mobilesam.series.series_files import PATTERN
from napari_mobilesam.session import Session
from napari_mobilesam.types import EverythingParameters
from napari_mobilesam.widgets.parts.controls import (
    CollapsibleSection,
    StatusLine,
    form_layout,
    group_form,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.model_box import ModelBox
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.series.series_table import SeriesTable


class SeriesAction(NamedTuple):
    """One action of a button and a key.

    Attributes
    ----------
    text, key, tip : str
        Text of the button, key, and tooltip.
    """

    text: str
    key: str
    tip: str


# by the names in `SeriesWidget.commands`
ACTIONS: Mapping[str, SeriesAction] = {
    'previous': SeriesAction(
        'Previous', 'Alt+Left', 'Save the labels and open the image before.'
    ),
    'next': SeriesAction(
        'Next', 'Alt+Right', 'Save the labels and open the next image.'
    ),
    'done': SeriesAction(
        'Done, next',
        'Shift+W',
        'Mark the image as done, and open the next one that is to do.',
    ),
    'flag': SeriesAction(
        'Flag',
        'Shift+F',
        'Flag the image, to come back to it; again to take it back.',
    ),
    'uncertain': SeriesAction(
        'Least certain object',
        'Shift+C',
        'Open the image of the object of the lowest score that was not\n'
        'reviewed yet, of all images, and show it.',
    ),
}
SHOWN_PARAMETERS = (
    'diameter',
    'points_per_side',
    'predicted_iou',
    'stability',
)
NAMES_TIP = (
    'Names of the label images: {name} of the image, {folder} that it lies '
    'in, {number} from 1.'
)


class SeriesPanel(QWidget):
    """Layout of buttons, table and status line.

    Parameters
    ----------
    session : Session
        Whose models can be chosen.

    Attributes
    ----------
    buttons : dict of str to QPushButton
        Buttons by action, see `ACTIONS`.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.model_box = ModelBox(session)
        self.folder_button = wide_button('Open folder …')
        self.files_button = wide_button('Open files …')
        self.resume_button = wide_button('Resume the last series')
        self.output_edit = QLineEdit()
        self.output_edit.setPlaceholderText('“labels” beside the images')
        self.output_edit.setToolTip('Folder that the labels are saved into.')
        self.output_button = QPushButton('…')
        self.output_button.setMaximumWidth(32)
        self.output_button.setToolTip('Choose the folder of the labels.')
        self.names_edit = QLineEdit(PATTERN)
        self.names_edit.setToolTip(NAMES_TIP)
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.table = SeriesTable()
        self.buttons: dict[str, QPushButton] = {}
        for name, action in ACTIONS.items():
            button = wide_button(f'{action.text} ({action.key})')
            button.setToolTip(f'{action.tip}\nKey: {action.key}')
            self.buttons[name] = button
        self.run_button = wide_button('Segment everything on all images')
        self.run_button.setToolTip(
            'Find all objects of every image that has no labels yet.'
        )
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop; finished images are kept.')
        self.form = ParameterForm(
            EverythingParameters(),
            names=(
                'diameter',
                'points_per_side',
                'predicted_iou',
                'stability',
            ),
        )
        self.status = StatusLine()
        self._arrange()

    def _arrange(self) -> None:
        files, rows = group_form('Images')
        opening = QHBoxLayout()
        opening.addWidget(self.folder_button)
        opening.addWidget(self.files_button)
        rows.addRow(opening)
        rows.addRow(self.resume_button)
        output = QHBoxLayout()
        output.addWidget(self.output_edit)
        output.addWidget(self.output_button)
        more = QWidget()
        form = form_layout(more)
        form.addRow('Labels in', output)
        form.addRow('Names', self.names_edit)
        rows.addRow(CollapsibleSection('Where labels are saved', more))

        series, rows = group_form('Series')
        rows.addRow(self.summary)
        rows.addRow(self.table)
        grid = QGridLayout()
        grid.setSpacing(4)
        for index, name in enumerate(('previous', 'next', 'flag', 'done')):
            grid.addWidget(self.buttons[name], *divmod(index, 2))
        rows.addRow(grid)
        rows.addRow(self.buttons['uncertain'])

        everything, rows = group_form('All images')
        more = QWidget()
        form = form_layout(more)
        form.addRow(QLabel('Model'))
        form.addRow(self.model_box)
        form.addRow(self.form)
        rows.addRow(CollapsibleSection('Model and parameters', more))
        rows.addRow(self.run_button)
        rows.addRow(self.cancel_button)

        contents = QVBoxLayout()
        contents.addWidget(files)
        contents.addWidget(series, 1)
        contents.addWidget(everything)
        scrollable(self, contents, self.status)
