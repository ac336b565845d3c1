"""“Series”: many images, one after the other, with saved labels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import napari.viewer
from napari.layers import Image
from napari.utils.notifications import show_info

from napari_mobilesam.series.series_entry import Status
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.series.last_series import (
    LastSeries,
    last_series,
)
from napari_mobilesam.session.series.series_jobs import (
    AHEAD,
    ReadImage,
)
from napari_mobilesam.session.series.series_opening import OpenedSeries
from napari_mobilesam.text import counted
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.controls import fill, show_focus
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.keys import Keys, bind_keys, unbind_keys
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.open_series import kept_text, open_series
from napari_mobilesam.widgets.series.series_leaving import SeriesLeaving
from napari_mobilesam.widgets.series.series_opener import (
    SeriesOpener,
    WaitingCommand,
)
from napari_mobilesam.widgets.series.series_panel import ACTIONS, SeriesPanel
from napari_mobilesam.widgets.series.series_review import SeriesReview
from napari_mobilesam.widgets.series.series_run import SeriesRun
from napari_mobilesam.widgets.viewer.running_task import end_soon
from napari_mobilesam.widgets.viewer.window_closing import WindowClosing

HINT = (
    'Open a folder, or several files: labels are saved image by image as you '
    'proceed, and you can stop at any time.'
)
STOPPED = (
    'Series was closed, so the run over all images stopped. The finished '
    'images are kept.'
)
IMAGE_REPLACED = (
    'The image file has changed since its labels were saved: check that they '
    'still fit.'
)
NO_SERIES = 'No series is open: open a folder or files.'


class SeriesWidget(ViewerWidget):
    """Dock widget “Series”.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Viewer, passed by napari.

    Attributes
    ----------
    panel : SeriesPanel
        Controls.
    layers : SeriesLayers
        Layers of the open image.
    leaving : SeriesLeaving
        Accepts the open object before another image is opened.
    saving : SeriesSaving
        Saves the labels as they change.
    opener : SeriesOpener
        Opens a series in the background.
    run : SeriesRun
        Segments all images.
    review : SeriesReview
        Goes through the objects of all images.
    commands : dict of str to callable
        Functions of buttons and keys, by the names in `ACTIONS`.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        show_focus(self)
        self._jobs = self.session.series
        self._keys = Keys()
        self._opening = -1
        # changes of the labels before the image was requested
        self._changes = 0
        # image requested last that cannot be read
        self._unread = -1
        # *Done, next* skips images that cannot be read
        self._skips_unread = False
        # note about files missing from a resumed series
        self._gone = ''
        self._ahead: dict[int, list[ImagePlane]] = {}
        # why the objects of the open image would not be saved
        self._unsaved_output = ''
        self._check_output = DelayedCall(self._tell_unsaved, parent=self)
        self.panel = panel = SeriesPanel(self)
        self.status = panel.status
        fill(self, panel)
        self._open = open_series(self.viewer)
        self.layers, self.saving = self._open.layers, self._open.saving
        self.leaving = SeriesLeaving(self, self.layers, self._left)
        self.review = SeriesReview(
            self,
            panel.uncertain,
            self.layers,
            self.go_to,
            self.leaving.leave,
        )
        self.opener = SeriesOpener(self, panel, self.open, self._take_series)
        commands: dict[str, Callable[[], None]] = {
            'previous': self.previous,
            'next': self.next,
            'done': self.done,
            'flag': self.flag,
            'accept': self.review.accept,
            'delete': self.review.delete,
            'undo': self.review.undo,
        }
        self.commands = {
            name: WaitingCommand(self.opener, command).run
            for name, command in commands.items()
        }
        for action, button in panel.buttons.items():
            button.clicked.connect(self.commands[action])
        panel.resume_button.clicked.connect(self.resume)
        panel.table.chosen.connect(self.go_to)
        panel.channel_box.valueChanged.connect(self._channel_chosen)
        self.run = SeriesRun(
            self, panel, self.layers, self.saving, self.review.saved
        )
        self.run.ended.connect(self._show_summary)
        self.run.ended.connect(self.opener.enable)
        if self.main_window is not None:
            WindowClosing(self.main_window, self, self._save_now)
        self.attach()

    def attach(self) -> None:
        """Listen to the session, and bind the keys."""
        super().attach()
        jobs, scene = self._jobs, self.scene
        self.listen_all(
            (jobs.read, self._show_image),
            (jobs.read_ahead, self._prepare_ahead),
            (jobs.changed, self._row_changed),
            (jobs.progress, self.run.progress),
            (jobs.segmented, self.run.take_labels),
            (jobs.finished, self.run.finish),
            (jobs.uncertain, self.review.take),
            (self.session.editor.changed, self.review.outline.follow),
            (jobs.changed, self.review.saved),
            (jobs.saving.kept, self._say_kept),
            (jobs.saving.restored, self._say_restored),
            (jobs.failed, self._fail),
            (self.session.failed, self._session_failed),
            (self.session.status, self._say),
            (self.session.batching.finished, self._job_ended),
            (self.session.propagation.finished, self._job_ended),
            (self.session.refining.finished, self._job_ended),
            (scene.labels_changed, self._check_output.restart),
            (self._open.prompts_found, self._prompts_found),
            (scene.image_changed, self._follow_channel),
            (self.session.model_changed, self.panel.form.show_thresholds),
            (self.session.model_changed, self._embed_ahead),
        )
        self.panel.model_box.attach()
        self.leaving.attach()
        self.opener.attach()
        self._keys = bind_keys(
            self,
            {
                ACTIONS[name].key: command
                for name, command in self.commands.items()
                if ACTIONS[name].key
            },
        )
        record = self.panel.model_box.record
        if record is not None:
            self.panel.form.show_thresholds(record)
        self._open.dock()
        self._show_series()
        self.status.say(HINT)
        self._continue()

    def _continue(self) -> None:
        """Continue with a series that was left open."""
        # an image that was read meanwhile was not shown
        self._opening = self._unread = -1
        used, here = self._open.opened_with, self._jobs.current
        if self._jobs.series is None or used is None:
            return
        panel = self.panel
        panel.output_edit.setText(used.output)
        panel.names_edit.setText(used.names)
        panel.channel_box.setValue(self.layers.channel)
        self.review.start()
        if here >= 0:
            panel.table.choose(here)
            self._say_open(here)

    def detach(self) -> None:
        """Accept the open object, save, and stop listening; layers stay.

        A job ends, and what it has found is saved. The labels are saved as
        long as they are in the viewer.
        """
        background = self.session.background
        if background.running and self.layers.image_shown:
            background.cancel()
            end_soon(self.session, lambda: background.running)
        self._save_now()
        self.leaving.stop()
        self.opener.stop()
        unbind_keys(self.viewer, self._keys)
        if self._jobs.running and self._open.docks == 1:
            show_info(STOPPED)
        self.review.close()
        self._open.undock()
        super().detach()

    def _save_now(self) -> None:
        """Accept the open object if its mask is there, and save."""
        if self.leaving.awaited or not self.leaving.leave(lambda: None):
            self.saving.leave()

    def _job_ended(self, result: object) -> None:
        # the window may be about to close
        self.saving.leave()

    def _left(self) -> None:
        self.review.outline.hide()
        self.saving.leave()

    @property
    def pending(self) -> bool:
        """True if images are being opened or segmented."""
        return (
            self.leaving.pending
            or self._check_output.pending
            or self.review.pending
            or self.opener.running
            or self._opening >= 0
            or self._jobs.running
        )

    # opening

    def resume(self) -> None:
        """Continue the most recently opened series."""
        last = last_series()
        if last is None:
            self.status.fail('There is no series to resume: open a folder.')
            return
        self.panel.output_edit.setText(last.output)
        self.panel.names_edit.setText(last.names)
        self.panel.channel_box.setValue(last.channel)
        if self.leaving.leave(self.resume, firm=True):
            self.opener.start(last, resume=True)

    def open(
        self, images: Sequence[str | Path], image: str | Path = ''
    ) -> None:
        """Open a series, at an image or at the first unfinished one.

        Its files are looked at in the background.

        Parameters
        ----------
        images : sequence of path
            Files and folders.
        image : path, optional
            Image to open first.
        """
        again = partial(self.open, images, image)
        if not self.leaving.leave(again, firm=True):
            return
        self.opener.start(
            LastSeries(
                tuple(str(path) for path in images),
                self.panel.output_edit.text().strip(),
                self.panel.names_edit.text().strip(),
                str(image),
            )
        )

    def _take_series(self, found: OpenedSeries) -> None:
        """Replace the open series by one whose files were found."""
        series = found.series
        with self.status.errors():
            # work went on while they were looked for
            again = partial(self._take_series, found)
            if not self.leaving.leave(again, firm=True):
                return
            self._jobs.open(series)
            # before the labels of the previous series are touched
            self.saving.forget()
            self.review.start()
            self._ahead = {}
            self._gone = found.note
            self.layers.forget()
            self._open.opened_with = found.source
            self._show_series()
            places = [str(entry.files.image) for entry in series]
            start = series.first_to_do()
            if found.source.image in places:
                start = places.index(found.source.image)
            self.go_to(start)

    def _show_series(self) -> None:
        series = self._jobs.series
        self.panel.table.show_series(series)
        # an open series needs the space
        self.panel.resume_button.setVisible(
            series is None and last_series() is not None
        )
        self.opener.enable()
        self.panel.cancel_button.setEnabled(False)
        self._show_summary()

    def _show_summary(self) -> None:
        series, failed = self._jobs.series, self.panel.table.failed
        if series is None:
            self.panel.summary.setText(NO_SERIES)
            return
        failures = f'; {failed:,} of them failed' if failed else ''
        unsaved = len(self._jobs.saving.unsaved)
        if unsaved:
            failures += (
                f'. The labels of {counted(unsaved, "image")} could not be '
                'saved yet'
            )
        self.panel.summary.setText(
            f'{series.text}{failures}. Labels in {series.folder}{self._gone}'
        )

    def _row_changed(self, number: int) -> None:
        self.panel.table.show_row(number)
        self._show_summary()

    # going from image to image

    def next(self) -> None:
        """Open the next image."""
        self._step(1)

    def previous(self) -> None:
        """Open the previous image."""
        self._step(-1)

    def _step(self, by: int) -> None:
        series = self._jobs.series
        if series is None:
            self.status.fail(NO_SERIES)
            return
        places = (self._opening, self._unread, self._jobs.current)
        number = next((n for n in places if n >= 0), -1) + by
        if not 0 <= number < len(series):
            which = 'last' if by > 0 else 'first'
            self.status.say(f'This is the {which} image. {series.text}.')
            return
        self.go_to(number)

    def done(self) -> None:
        """Mark the image as done, and open the next unfinished one."""
        series, here = self._jobs.series, self._jobs.current
        if series is None or here < 0:
            self.status.fail(NO_SERIES)
            return
        if not self.leaving.leave(self.done):
            return
        with self.status.errors():
            self._jobs.mark(here, 'done')
            self._next_to_do(here)

    def _next_to_do(self, here: int) -> None:
        """Open the next unfinished image not known to be unreadable."""
        series, table = self._jobs.series, self.panel.table
        assert series is not None
        count = len(series)
        order = [(here + step) % count for step in range(1, count + 1)]
        waiting = [n for n in order if series[n].status == 'to do']
        readable = [n for n in waiting if not table.has_failed(n)]
        if readable:
            self.go_to(readable[0])
            self._skips_unread = True
        elif waiting:
            table.choose(self._jobs.current)
            images = counted(len(waiting), 'image')
            self.status.say(
                f'No image is left to do except {images} that cannot be read. '
                f'{series.text}.'
            )
        elif not self.status.failed:
            self.status.say(f'No image is left to do. {series.text}.')

    def flag(self) -> None:
        """Flag the image, which makes it unfinished again."""
        series, here = self._jobs.series, self._jobs.current
        if series is None or here < 0:
            self.status.fail(NO_SERIES)
            return
        flagged = series[here].status == 'flagged'
        self._mark(here, 'to do' if flagged else 'flagged')

    def _mark(self, number: int, status: Status) -> None:
        with self.status.errors():
            self._jobs.mark(number, status)
            self.status.say(
                f'“{self._jobs.required[number].name}” is marked: {status}.'
            )

    def go_to(self, number: int) -> None:
        """Save the labels of the open image, and open another one."""
        series = self._jobs.series
        if series is None:
            return
        self._opening = -1
        if not self._leave(lambda: self.go_to(number)):
            return
        self.review.leaving(number)
        self._unread = -1
        self._skips_unread = False
        self._opening = number
        self.panel.table.choose(number)
        self.status.say(f'Opening {series[number].name} …', busy=True)
        self._ask(number)

    def _ask(self, number: int) -> None:
        self._changes = self.saving.changes
        self._jobs.ask(number)

    def _leave(self, then: Callable[[], None]) -> bool:
        """Accept and save what is open; if it is refused, stay there."""
        left = self.leaving.leave(then)
        if not left and not self.leaving.waiting:
            self._opening = -1
            self.panel.table.choose(self._jobs.current)
            self.review.image_failed()
        return left

    def _show_image(self, found: ReadImage) -> None:
        series = self._jobs.series
        if series is None or found.number != self._opening:
            return
        entry = series[found.number]
        unknown = found.labels is None and not found.problem
        if found.image is not None and unknown and entry.labelled:
            # a run over all images has saved them after it was read
            self._ask(found.number)
            return
        if found.image is not None:
            # work went on while the image was read
            if not self._leave(lambda: self._show_image(found)):
                return
            here = found.number == self._jobs.current
            if here and self.saving.changes != self._changes:
                self._ask(found.number)
                return
        self._opening = -1
        if found.image is None:
            self.panel.table.show_failure(found.number, found.problem)
            self._show_summary()
            self.review.image_failed()
            following = found.number + 1
            if self._jobs.current < 0 and following < len(series):
                # nothing is open yet: open the first readable image
                self.go_to(following)
                return
            if self._skips_unread:
                self._next_to_do(found.number)
                return
            # the keys continue from it
            self._unread = found.number
            self.status.fail(found.problem)
            return
        self._unread = -1
        self.panel.table.show_failure(found.number, '')
        self._show_summary()
        self.saving.forget()
        self._jobs.current = found.number
        labels = self.layers.show(found, entry)
        self.saving.follow(found, labels)
        problem = self._open.restore(found) or found.problem
        self._open.remember(entry.files.image)
        self._jobs.ask_ahead(range(found.number + 1, found.number + 1 + AHEAD))
        if problem:
            self.status.fail(problem)
        else:
            self._say_open(found.number)
        self.review.image_shown()

    def _prompts_found(self) -> None:
        """Replace the message that prompts cannot be restored."""
        if self.status.failed:
            self._say_open(self._jobs.current)

    def _say_open(self, number: int) -> None:
        series = self._jobs.required
        entry, kept = series[number], series.kept(number)
        notes = [IMAGE_REPLACED] if entry.image_replaced else []
        notes += [] if kept is None else [kept_text(*kept)]
        self.status.say(
            f'Image {number + 1} of {len(series)}, {entry.name}: '
            f'{" ".join([f"{entry.status}.", *notes])}',
            # a run over all images continues
            busy=self._jobs.running,
        )

    def _prepare_ahead(self, found: ReadImage) -> None:
        """Embed an image before it is opened."""
        series = self._jobs.series
        if series is None or found.number == self._jobs.current:
            return
        with contextlib.suppress(SegmentationError):
            planes = self.layers.planes_ahead(found, series[found.number])
            # nearest first; those of the previous image are done
            self._ahead = {
                number: known
                for number, known in self._ahead.items()
                if 0 < number - self._jobs.current <= AHEAD
            } | {found.number: planes}
            self._embed_ahead()

    def _embed_ahead(self, record: object = None) -> None:
        """Embed the next images, also after a change of model."""
        self.session.prefetch.want_afterwards(
            [each for n in sorted(self._ahead) for each in self._ahead[n]]
        )

    def _channel_chosen(self, channel: int) -> None:
        """Use another channel for prompts, also in the next images."""
        self.layers.choose_channel(channel)
        self._ahead = {}
        series, here = self._jobs.series, self._jobs.current
        if series is not None and here >= 0:
            self._open.remember(series[here].files.image)

    def _follow_channel(self, image: Image | None) -> None:
        """Use a channel chosen in “Prompts” from now on."""
        channel = self.layers.follow_channel(image)
        if channel is not None:
            self.panel.channel_box.setValue(channel)

    # messages

    def _tell_unsaved(self) -> None:
        """Warn once that objects go to labels the series does not save.

        While an image is being opened, its labels are not chosen yet.
        """
        before, self._unsaved_output = (
            self._unsaved_output,
            self.layers.unsaved_output,
        )
        if self._unsaved_output == before:
            return
        if self._unsaved_output:
            self.status.fail(self._unsaved_output)
            # also in “Prompts”, which may be in front
            self.session.tell(self._unsaved_output)
        elif self.status.text == before:
            self.status.say('New objects are saved again.')

    def _fail(self, text: str) -> None:
        self.status.fail(text)
        self._show_summary()

    def _say_kept(self, theirs: Path, target: Path) -> None:
        self.status.say(kept_text(theirs, target), keep=True)

    def _say_restored(self, text: str) -> None:
        self.status.say(text, keep=True)

    def _session_failed(self, text: str, topic: str) -> None:
        if topic in ('series', 'model'):
            self.status.fail(text)

    def _say(self, text: str, topic: str) -> None:
        if topic in ('series', 'model') and self._jobs.running:
            self.run.say(text)
