"""“Track”: labelled objects through time, and corrections by mouse and key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari.viewer
from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLabel, QPushButton

from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.session.track.tracked_labels import TrackedLabels
from napari_mobilesam.text import counted, file_name
from napari_mobilesam.tracking.track_linking import LinkingParameters
from napari_mobilesam.tracking.tracks import TrackError
from napari_mobilesam.types import ImageError
from napari_mobilesam.widgets.parts.action import Action
from napari_mobilesam.widgets.parts.controls import (
    group_form,
    scrollable,
    wide_button,
)
from napari_mobilesam.widgets.parts.keys import (
    Keys,
    bind_keys,
    focus_canvas,
    unbind_keys,
)
from napari_mobilesam.widgets.parts.layer_combo import LayerCombo
from napari_mobilesam.widgets.parts.layouts import (
    DOCK_WIDTH,
    column,
    row,
    two_columns,
)
from napari_mobilesam.widgets.parts.message_label import MessageLabel
from napari_mobilesam.widgets.parts.parameter_form import ParameterForm
from napari_mobilesam.widgets.parts.save_dialog import ask_where_to_save
from napari_mobilesam.widgets.parts.status_line import StatusLine
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.track.chosen_objects import ChosenObjects
from napari_mobilesam.widgets.track.track_corrections import (
    NO_TRACKS,
    TrackCorrections,
)
from napari_mobilesam.widgets.track.track_rows import TrackRows
from napari_mobilesam.widgets.viewer.layers import data_of, file_of
from napari_mobilesam.widgets.viewer.look_at import look_at
from napari_mobilesam.widgets.viewer.sized_layers import sized_files
from napari_mobilesam.widgets.viewer.track_layers import (
    NO_LABELS,
    ShownTracks,
    corners_of,
    describe_time,
    pixel_size,
)

HINT = 'Track follows each object of the labels from frame to frame.'
CORRECT = (
    'To correct, click an object, go to another frame, and click the object '
    'that it becomes.'
)
EDITED = '“{}” was edited since it was tracked: track again to follow it.'
BACKGROUND = 'There is no tracked object.'
# dialog filter, and the suffix added to names without one
KINDS = {
    'Cell Tracking Challenge, a folder (*)': '',
    'TrackMate in Fiji (*.xml)': '.xml',
    'Graph exchange file format (*.geff)': '.geff',
    'Table (*.csv)': '.csv',
    'Table (*.parquet)': '.parquet',
    'Labels, one per track (*.tif)': '.tif',
}

# keys shared with “Segment by prompts” are its own while it is visible
ACTIONS = {
    'link': Action(
        'Link', 'Shift+T', 'The second object continues the first.'
    ),
    'divide': Action(
        'Divide',
        'Y',
        'The second object is another child of the first, which divides.',
    ),
    'unlink': Action(
        'Unlink',
        'Shift+I',
        'The object clicked last starts a new track.',
    ),
    'propagate_back': Action(
        '◀ Back',
        'Shift+H',
        'Segment the object clicked last in preceding frames, as the same '
        'track, until both agree.',
    ),
    'propagate_forward': Action(
        'Forward ▶',
        'Shift+K',
        'Segment the object clicked last in following frames, as the same '
        'track, until both agree.',
    ),
    'undo': Action('Undo', 'U', 'Undo the last step of these tracks.'),
    'redo': Action(
        'Redo', 'Shift+U', 'Redo the step of these tracks undone last.'
    ),
}


class TrackWidget(ViewerWidget):
    """Dock widget “Track”.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer, passed by napari.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._layers = self.scene.tracks
        self._jobs = self.session.tracking
        self._keys = Keys()
        # (tracks, frame, number) of the object that is being propagated
        self._followed: tuple[TrackedLabels, int, int] | None = None
        self.chosen = ChosenObjects(self.viewer)
        self._build()
        self.corrections = TrackCorrections(self, self.chosen)
        self.commands: dict[str, Callable[[], None]] = {
            'link': self.corrections.link,
            'divide': self.corrections.divide,
            'unlink': self.corrections.unlink,
            'propagate_back': self.propagate_back,
            'propagate_forward': self.propagate_forward,
            'undo': self.corrections.undo,
            'redo': self.corrections.redo,
        }
        self._arrange()
        self._connect()
        self.attach()

    def _build(self) -> None:
        self.labels_combo = LayerCombo(self.viewer, self._layers.can_be_chosen)
        self.time_label = MessageLabel()
        self.form = ParameterForm(LinkingParameters())
        # it depends on the labels
        self.form.hide_typical('max_distance')
        self.track_button = wide_button('Track')
        self.track_button.setToolTip(HINT)
        self.cancel_button = wide_button('Cancel')
        self.cancel_button.setToolTip('Stop; the tracks stay unchanged.')
        self.summary = MessageLabel()
        self.note = MessageLabel()
        self.rows = TrackRows()
        self.first_label = QLabel()
        self.second_label = QLabel()
        self.buttons: dict[str, QPushButton] = {}
        for name, action in ACTIONS.items():
            button = wide_button(f'{action.text} ({action.key})')
            button.setToolTip(action.tip)
            self.buttons[name] = button
        self.open_button = wide_button('Open …')
        self.open_button.setToolTip(
            'Open tracks of the Cell Tracking Challenge, as exported to a\n'
            'folder, to correct them.'
        )
        self.export_button = wide_button('Export …')
        self.export_button.setToolTip(
            'Save the tracks for the Cell Tracking Challenge, TrackMate or '
            'GEFF, as a table, or as labels.'
        )
        self.status = StatusLine()

    def _arrange(self) -> None:
        data, rows = group_form('Labels to track')
        rows.addRow('Labels', self.labels_combo)
        rows.addRow('Time', self.time_label)
        rows.addRow(self.form)
        correct, form = group_form('Correct')
        self._arrange_corrections(form)
        contents = column(data, self.summary, self.note, self.rows, correct)
        contents.setStretchFactor(self.rows, 1)
        top = row(
            self.track_button,
            self.cancel_button,
            self.open_button,
            self.export_button,
        )
        scrollable(self, contents, self.status, top, width=DOCK_WIDTH)

    def _arrange_corrections(self, form: QFormLayout) -> None:
        form.addRow('First', self.first_label)
        form.addRow('Second', self.second_label)
        buttons = self.buttons
        form.addRow(
            two_columns(
                (buttons['link'], buttons['divide']),
                (buttons['unlink'],),
                (QLabel('Propagate along the track'),),
                (buttons['propagate_back'], buttons['propagate_forward']),
                (buttons['undo'], buttons['redo']),
                spacing=None,
            )
        )

    def _connect(self) -> None:
        self.labels_combo.layer_changed.connect(self._labels_chosen)
        self.track_button.clicked.connect(self.track)
        self.cancel_button.clicked.connect(self.cancel)
        self.open_button.clicked.connect(self._ask_open)
        self.export_button.clicked.connect(self._ask_export)
        self.rows.chosen.connect(self._row_chosen)
        for name, button in self.buttons.items():
            button.clicked.connect(self.commands[name])
        self.chosen.changed.connect(self._show_chosen)
        self.chosen.missed.connect(self._say_missed)

    def attach(self) -> None:
        """Listen to viewer and session, and bind the keys."""
        super().attach()
        self.follow_layers(self._layers_changed, self._active_changed)
        jobs = self._jobs
        self.listen_all(
            (jobs.progress, self._progress),
            (jobs.finished, self._finish),
            (jobs.stopped, self._stopped),
            (jobs.failed, self._fail),
            (jobs.saved, self.status.say),
            (self.session.navigation.restored, self.status.say),
            (jobs.not_saved, self.status.fail),
            (self.session.progress, self._show_planes),
            (self.session.failed, self._propagation_failed),
            (self.session.propagation.finished, self._propagated),
        )
        jobs.prepare()
        wanted = {ACTIONS[n].key: act for n, act in self.commands.items()}
        self._keys = bind_keys(self, wanted, yields=True)
        self._show_tracks()
        self._layers_changed()
        if self.shown is None:
            # unless other labels are selected
            self.labels_combo.layer = self.scene.labels
        self._active_changed()
        self._labels_chosen(self.labels_combo.layer)
        self._end()

    def detach(self) -> None:
        """Stop the run and disconnect; the layers stay."""
        if self._jobs.running:
            self._jobs.cancel()
        if self._followed is not None:
            self.session.background.cancel()
        unbind_keys(self.viewer, self._keys)
        # first: removing the rings is a change of the layers
        super().detach()
        self.chosen.follow(None)

    @property
    def shown(self) -> ShownTracks | None:
        """The displayed tracks."""
        return self.chosen.shown

    @property
    def pending(self) -> bool:
        """True if a run is in progress."""
        return self._jobs.running or self._followed is not None

    # layers

    def _layers_changed(self, event: Any = None) -> None:
        before = self.shown
        self.labels_combo.refresh()
        gone = before is not None and before.source not in self.viewer.layers
        if before is not None and gone and before.labels is not None:
            # the tracked labels are gone: their tracks stay chosen
            self.labels_combo.layer = before.labels
        self._follow(self._layers.shown_of(self.labels_combo.layer))

    def _active_changed(self, event: Any = None) -> None:
        active = self.viewer.layers.selection.active
        shown = None if active is None else self._layers.shown_by(active)
        if active in self.labels_combo.layers:
            self.labels_combo.layer = active
        elif shown is not None and shown.source in self.labels_combo.layers:
            # the newest tracks of these labels
            self.labels_combo.layer = shown.source

    def _labels_chosen(self, labels: Labels | None) -> None:
        self._show_time(labels)
        self._follow(self._layers.shown_of(labels))
        if not self._jobs.running:
            self._say_hint()

    def _say_hint(self) -> None:
        known = CORRECT if self.shown is not None else HINT
        labels = self.labels_combo.layer
        self.status.say(NO_LABELS if labels is None else known)

    def _clear_error(self) -> None:
        """Clear the error of an earlier action before a dialog opens."""
        if self.status.failed:
            self._say_hint()

    def _show_time(self, labels: Labels | None) -> None:
        text = ''
        if labels is not None:
            try:
                text = describe_time(labels)
            except ImageError:
                inner = data_of(labels).shape[:-2]
                many = any(size > 1 for size in inner)
                text = 'too many axes' if many else 'one frame only'
        self.time_label.setText(text)

    def _follow(self, shown: ShownTracks | None) -> None:
        """Show other tracks, or none."""
        if shown is self.shown:
            return
        if self.shown is not None:
            self.deafen(self.shown.tracked.changed, self._show_tracks)
            self.deafen(self.shown.source_edited, self._show_note)
        if shown is not None:
            self.listen(shown.tracked.changed, self._show_tracks)
            self.listen(shown.source_edited, self._show_note)
        self.chosen.follow(shown)
        self._show_tracks()

    # the run

    def track(self) -> None:
        """Track the objects of the chosen labels."""
        labels = self.labels_combo.layer
        if labels is None:
            self.status.fail(NO_LABELS)
            return
        with self.status.errors():
            self._jobs.start(labels, self.form.value)
            # it is disabled next, and the next button would get the focus
            focus_canvas(self)
            self.track_button.setEnabled(False)
            self.cancel_button.setEnabled(True)
            self.status.say('Tracking …', busy=True)

    def cancel(self) -> None:
        """Stop tracking or propagation, which keeps its frames."""
        self._jobs.cancel()
        if self._followed is not None:
            self.session.background.cancel()
        self.cancel_button.setEnabled(False)
        self.status.say('Stopping …', busy=True)

    def _progress(self, done: int, total: int, text: str) -> None:
        if self.cancel_button.isEnabled():
            self.status.say(f'{text} …', busy=True)
            # linking is a single step
            self.status.show_progress(done, total if total > 1 else 0)

    def _end(self) -> None:
        self.track_button.setEnabled(not self.pending)
        self.cancel_button.setEnabled(self.pending)

    def _finish(self, tracked: TrackedLabels) -> None:
        self._end()
        self._follow(self._layers.shown_of(self.labels_combo.layer))
        here = self.shown is not None and self.shown.tracked is tracked
        text = '' if here else f'“{tracked.name}”: '
        text += f'{_summary(tracked)} {CORRECT}'
        former = self._layers.former_of(self.labels_combo.layer)
        if former is not None and former.labels is not None:
            text += f' Those with your corrections: “{former.labels.name}”.'
        self.status.say(text)

    def _stopped(self) -> None:
        self._end()
        self.status.say('Stopped; the tracks are unchanged.')

    def _fail(self, text: str) -> None:
        self._end()
        self.status.fail(text)

    # tracks

    def _show_tracks(self) -> None:
        shown = self.shown
        tracked = None if shown is None else shown.tracked
        self.summary.setText('' if tracked is None else _summary(tracked))
        self.rows.show_tracks(None if tracked is None else tracked.tracks)
        self.export_button.setEnabled(tracked is not None)
        self._show_note()
        self._show_chosen()

    def _show_note(self) -> None:
        shown = self.shown
        source = shown.source if shown is not None and shown.edited else None
        self.note.setVisible(source is not None)
        if source is not None:
            self.note.show_message(EDITED.format(source.name), True)

    def _row_chosen(self, track: int) -> None:
        """Show the first object of a track."""
        shown = self.shown
        if shown is None or shown.labels is None:
            return
        index = int(shown.tracked.tracks.members(track)[0])
        corners = corners_of(shown.tracked, index)
        look_at(self.viewer, shown.labels, *corners)

    # corrections

    def _show_chosen(self) -> None:
        texts = [
            self.corrections.describe(index) for index in self.chosen.indices
        ]
        for number, label in enumerate((self.first_label, self.second_label)):
            label.setText(texts[number] if number < len(texts) else '–')
        many = len(texts) > 1
        for name in ('link', 'divide'):
            self.buttons[name].setEnabled(many)
        for name in ('unlink', 'propagate_back', 'propagate_forward'):
            self.buttons[name].setEnabled(bool(texts))
        if texts and self.shown is not None:
            last = self.chosen.last
            self.rows.choose(self.shown.tracked.place(last)[1])
            self.status.say(f'Object of {self.corrections.describe(last)}.')

    def _say_missed(self) -> None:
        self.status.say(BACKGROUND)

    def propagate_back(self) -> None:
        """Follow the object clicked last through earlier frames."""
        self._propagate('backward')

    def propagate_forward(self) -> None:
        """Follow the object clicked last through later frames."""
        self._propagate('forward')

    def _propagate(self, direction: Direction) -> None:
        with self.status.errors():
            tracked, index = self.corrections.tracks_of(1), self.chosen.last
            self.session.start_track_propagation(
                tracked, index, PropagationOptions(direction=direction)
            )
            self._followed = (tracked, *tracked.place(index))
            self._end()
            self.status.say('Propagating the object …', busy=True)

    def _show_planes(self, topic: str, done: int, total: int) -> None:
        if topic == 'objects' and self._followed is not None:
            self.status.show_progress(done, total)

    def _propagation_failed(self, text: str, topic: str) -> None:
        # the propagation ends after it has failed
        if topic == 'objects' and self._followed is not None:
            self._followed = None
            self._fail(text)

    def _propagated(self, result: PropagationResult) -> None:
        if self._followed is None:
            return
        (tracked, frame, track), self._followed = self._followed, None
        self._end()
        if self.shown is not None and self.shown.tracked is tracked:
            with contextlib.suppress(TrackError):
                self.chosen.choose(tracked.index(frame, track))
        text = result.describe(f'Track {track}', 'frame')
        self.status.say(
            f'{text} Undo takes it back.' if result.reached else text
        )

    # export

    def _ask_open(self) -> None:
        self._clear_error()
        folder = QFileDialog.getExistingDirectory(
            self, 'Folder of the Cell Tracking Challenge'
        )
        if folder:
            self.open(folder)

    def open(self, folder: str | Path) -> None:
        """Open tracks of the Cell Tracking Challenge in the background.

        Parameters
        ----------
        folder : path
            Folder with label images and a table of tracks.
        """
        self._jobs.open(Path(folder))
        self.track_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.status.say(f'Reading {Path(folder).name} …', busy=True)

    def _ask_export(self) -> None:
        labels = None
        if self.shown is not None:
            source = self.shown.source
            labels = self.shown.labels if source is None else source
        if labels is None:
            self.status.fail(NO_TRACKS)
            return
        self._clear_error()
        proposed = _proposed_path(labels)
        ask_where_to_save(
            self, 'Save the tracks', proposed, KINDS, self.export
        )

    def export(self, path: str | Path) -> None:
        """Save the tracks in the background.

        Parameters
        ----------
        path : path
            The suffix determines the format, see `export_tracks`. An existing
            file is replaced, a folder is not.
        """
        shown = self.shown
        if shown is None or shown.labels is None:
            self.status.fail(NO_TRACKS)
            return
        size = pixel_size(shown.labels)
        source = shown.source or shown.labels
        axes = range(source.ndim)
        files = sized_files(source, axes, None, self.scene)
        self.status.say(f'Saving {Path(path).name} …', busy=True)
        self._jobs.export(shown.tracked, Path(path), size, True, files)


def _proposed_path(labels: Labels) -> str:
    """Return a name like that of the labels, next to their file."""
    # text after a dot would determine the format
    name = file_name(str(labels.name)).replace('.', '_') + '_tracks'
    file = file_of(labels)
    return name if file is None else str(file.with_name(name))


def _summary(tracked: TrackedLabels) -> str:
    tracks = tracked.tracks
    return (
        f'{counted(tracks.count, "track")} of '
        f'{counted(len(tracks), "object")}, '
        f'{counted(len(tracks.divisions), "division")}.'
    )
