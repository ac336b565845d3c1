"""Choose the images of a series, and open them in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtWidgets import QFileDialog

from napari_mobilesam.series.series_files import SUFFIXES
from napari_mobilesam.session.series.last_series import LastSeries
from napari_mobilesam.session.series.series_opening import OpenedSeries
from napari_mobilesam.text import counted
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.series_panel import SeriesPanel

# Number of times the progress bar is painted.
STEPS = 25


@dataclass(eq=False)
class WaitingCommand:
    """Command that does nothing while a series is being opened."""

    opener: SeriesOpener
    command: Callable[[], None]

    def run(self) -> None:
        """Run the command."""
        if not self.opener.running:
            self.command()


class SeriesOpener:
    """Open a series without blocking the viewer.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the session, and the status line.
    panel : SeriesPanel
        Controls.
    choose : callable
        Called with the files and folders that were chosen.
    take : callable
        Called with the series.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: SeriesPanel,
        choose: Callable[[list[str]], None],
        take: Callable[[OpenedSeries], None],
    ) -> None:
        self._dock = dock
        self._jobs = dock.session.series
        self._panel = panel
        self._choose = choose
        self._take = take
        self._started = False
        panel.folder_button.clicked.connect(self._ask_folder)
        panel.files_button.clicked.connect(self._ask_files)
        panel.output_button.clicked.connect(self._ask_output)

    def attach(self) -> None:
        """Listen to the opening until the dock closes."""
        opening = self._jobs.opening
        self._dock.listen_all(
            (opening.progress, self._show_progress),
            (opening.failed, self._fail),
            # perhaps by another dock of the viewer
            (opening.started, self._replaced),
            (opening.stopped, self.enable),
            (self._jobs.opened, self.enable),
        )

    @property
    def running(self) -> bool:
        """True while a series is being opened."""
        return self._jobs.opening.running

    def start(self, source: LastSeries, resume: bool = False) -> None:
        """Open a series, instead of one that is being opened."""
        self._jobs.opening.start(source, self._found, resume)
        self._started = True
        self._panel.status.say('Looking for the images …', busy=True)

    def stop(self) -> None:
        """Drop a series that this dock opens."""
        if self._started:
            self._started = False
            self._jobs.opening.abandon()
            self._jobs.opening.stopped.emit()

    def enable(self) -> None:
        """Enable what needs a series, unless one is being opened."""
        panel, jobs = self._panel, self._jobs
        usable = jobs.series is not None and not self.running
        for button in panel.buttons.values():
            button.setEnabled(usable)
        panel.run_button.setEnabled(usable and not jobs.running)
        for table in (panel.table, panel.uncertain):
            table.setEnabled(not self.running)

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self._dock, 'Folder of images'
        )
        if folder:
            self._choose([folder])

    def _ask_files(self) -> None:
        suffixes = ' '.join(f'*{suffix}' for suffix in SUFFIXES)
        files, _ = QFileDialog.getOpenFileNames(
            self._dock, 'Images', '', f'Images ({suffixes});;All files (*)'
        )
        if files:
            self._choose(files)

    def _ask_output(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self._dock, 'Folder of labels'
        )
        if folder:
            self._panel.output_edit.setText(folder)

    def _show_progress(self, done: int, total: int, step: str) -> None:
        status = self._panel.status
        text = f'{step} {counted(total, "image")} …'
        if status.kept:
            return
        if status.text != text:
            status.say(text, busy=True)
        # painting the bar for each image would take longer than opening it
        if done % max(1, total // STEPS) == 0:
            status.show_progress(done, total)

    def _replaced(self) -> None:
        self._started = False
        self.enable()

    def _found(self, found: OpenedSeries) -> None:
        self._started = False
        self.enable()
        self._take(found)

    def _fail(self, text: str) -> None:
        self._started = False
        self.enable()
        # other names or another folder may help
        self._panel.where_section.fold(False)
        self._panel.status.fail(text)
