"""Find objects named by a text, from the text field to the review."""

from __future__ import annotations

from napari_mobilesam.extra import how_to_install, installed
from napari_mobilesam.session.everything.queries import text_query
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.types import Progress
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.run_control import RunControl
from napari_mobilesam.widgets.parts.controls import confirm
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget

OTHER = 'A detector from another package.'


class TextControl:
    """Runs of a text search, and downloads of detectors.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        Line of text and status line.
    runs : RunControl
        Control that runs the search.
    """

    def __init__(
        self, dock: ViewerWidget, panel: EverythingPanel, runs: RunControl
    ) -> None:
        self._dock = dock
        self._panel = panel
        self._runs = runs
        self._offered = False
        panel.words.asked.connect(self.ask)
        panel.words.chosen.connect(self._show_detector)
        panel.words_group.toggled.connect(self.offer)
        panel.cancel_button.clicked.connect(self.downloads.cancel)

    @property
    def downloads(self) -> WatchedJobs:
        """Downloads of the session."""
        return self._dock.session.detector_downloads

    def attach(self) -> None:
        """Follow the downloads of the session until the dock closes."""
        self._dock.listen_all(
            (self.downloads.progress, self._progress),
            (self.downloads.finished, self._downloaded),
            (self.downloads.stopped, self._stopped),
            (self.downloads.failed, self._failed),
        )

    def offer(self, shown: bool = True) -> None:
        """Offer the detectors once the section is opened."""
        from napari_mobilesam.segmentation.box_detectors import detector_names

        if shown and not self._offered:
            self._offered = True
            self._panel.words.offer(detector_names())

    def _show_detector(self, name: str) -> None:
        from napari_mobilesam.model.text_detectors import RECORDS

        record = RECORDS.get(name)
        if record is None:
            self._panel.words.show_state(OTHER, True)
            return
        note = f'{record.text[0].upper()}{record.text[1:]}.'
        self._panel.words.show_state(note, record.here)

    def ask(self) -> None:
        """Search for the text, or offer to download the detector."""
        from napari_mobilesam.model.text_detectors import RECORDS

        self.offer()
        words = self._panel.words
        record = RECORDS.get(words.detector)
        if record is not None and not installed('transformers'):
            self._panel.status.fail(how_to_install('transformers', 'text'))
            return
        if record is not None and not record.here:
            confirm(
                self._panel,
                f'Download {record.name}? {record.text} '
                f'(huggingface.co/{record.repository}).',
                'Download',
                lambda: self.download(words.detector),
            )
            return
        with self._panel.status.errors():
            self.find(words.text, words.detector)

    def find(self, text: str, detector: object) -> None:
        """Find objects named by a text on the chosen planes.

        Parameters
        ----------
        text : str
            What to find.
        detector : str or BoxDetector
            Name of a detector, or a detector object.

        Raises
        ------
        SegmentationError
            The text is empty, or the planes or the region are invalid.
        """
        query = text_query(text, detector)
        self._runs.find_text(self._panel.header.plane, query)

    def download(self, name: str) -> None:
        """Download a detector in the background."""

        def job(progress: Progress) -> str:
            from napari_mobilesam.model.text_detectors import download_detector

            download_detector(name, progress)
            return name

        self.downloads.do(job)
        self._panel.show_running(True)
        self._panel.status.say(f'Downloading {name} …', busy=True)

    def _progress(self, done: int, total: int, message: str) -> None:
        self._panel.say_progress(done // 1024, total // 1024, f'{message} …')

    def _downloaded(self, name: str) -> None:
        self._panel.show_running(False)
        self._show_detector(self._panel.words.detector)
        self._panel.status.say(f'{name} is downloaded.')

    def _stopped(self) -> None:
        self._panel.show_running(False)
        self._panel.status.say('The download was stopped.')

    def _failed(self, text: str) -> None:
        self._panel.show_running(False)
        self._panel.status.fail(text)
