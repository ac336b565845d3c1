"""Classes by example, from button to labels."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels

from napari_mobilesam.session.class_jobs import (
    ClassJobs,
    ProposedClasses,
    accept_classes,
)
from napari_mobilesam.text import counted
from napari_mobilesam.types import PromptError, SegmentationError
from napari_mobilesam.widgets.everything.everything_panel import (
    EverythingPanel,
)
from napari_mobilesam.widgets.everything.review_view import ReviewView
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.viewer.layer_plane import LayerPlane
from napari_mobilesam.widgets.viewer.look_at import look_at

NO_LABELS = (
    'There are no labels: label objects, then assign classes to a few of them.'
)


class ClassControl:
    """Propose classes, show their objects, and accept them.

    Parameters
    ----------
    dock : ViewerWidget
        Form that provides session and viewer.
    panel : EverythingPanel
        List of proposals and status line.
    review_view : ReviewView
        Outlines the object of the chosen row.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: EverythingPanel,
        review_view: ReviewView,
    ) -> None:
        self._dock = dock
        self._panel = panel
        self._review_view = review_view
        self._scene = dock.scene
        self._asked: Labels | None = None
        self._shown: tuple[ProposedClasses, Labels] | None = None
        panel.classes.proposed.connect(self.propose)
        panel.classes.accepted.connect(self.accept)
        panel.classes.chosen.connect(self._look_at)
        panel.cancel_button.clicked.connect(self._jobs.cancel)

    @property
    def _jobs(self) -> ClassJobs:
        return self._dock.session.classifying

    def attach(self) -> None:
        """Follow the jobs of the session until the dock closes."""
        self._dock.listen_all(
            (self._jobs.progress, self._progress),
            (self._jobs.finished, self._finish),
            (self._jobs.stopped, self._stopped),
            (self._jobs.failed, self._failed),
        )
        classes = self._dock.session.classes
        self._dock.listen(classes.renamed, self._panel.classes.rename)

    def propose(self) -> None:
        """Propose classes for the objects of the current plane."""
        status = self._panel.status
        with status.errors():
            labels = self._panel.classes.labels_combo.layer
            if labels is None:
                raise PromptError(NO_LABELS)
            self._jobs.start(
                self._scene.objects_of(labels),
                self._panel.header.plane.source(),
            )
            self._asked = labels
            self._panel.show_running(True)
            status.say('Comparing the objects …', busy=True)

    def accept(self) -> None:
        """Assign the proposed and corrected classes, as one step."""
        if self._shown is None:
            return
        proposed, labels = self._shown
        with self._panel.status.errors():
            if labels not in self._dock.viewer.layers:
                self._hide()
                raise SegmentationError(
                    f'The labels layer “{labels.name}” was removed: there '
                    'are no objects to assign classes to.'
                )
            chosen = self._panel.classes.classes
            count = accept_classes(proposed, chosen)
            # labels from a file may have classes that are new here
            self._dock.session.classes.add(*sorted(set(chosen.values())))
            self._hide()
            self._panel.status.say(
                f'Assigned classes to {counted(count, "object")}. Undo takes '
                'it back.'
            )

    def _look_at(self, label: int) -> None:
        """Show the object of a row."""
        if self._shown is None:
            return
        proposed, labels = self._shown
        mask = proposed.masks.get(label)
        if mask is None or labels not in self._dock.viewer.layers:
            return
        labels.selected_label = label
        plane: LayerPlane = proposed.plane.geometry
        row0, column0, row1, column1 = mask.box
        corners = np.array([[row0, column0], [row1 - 1, column1 - 1]])
        low, high = plane.layer_points(labels, corners)
        look_at(self._dock.viewer, labels, low, high)
        self._panel.review.leave()
        self._review_view.preview.show(plane, [mask])

    def _hide(self) -> None:
        self._shown = None
        self._panel.classes.show_proposals([], [])
        # otherwise, an object under review is outlined
        if not self._panel.review.current:
            self._review_view.preview.hide()

    def _progress(self, done: int, total: int, message: str) -> None:
        self._panel.say_progress(done, total, f'{message} …')

    def _finish(self, proposed: ProposedClasses) -> None:
        labels, self._asked = self._asked, None
        if labels is None:
            return
        self._panel.show_running(False)
        rows = list(proposed.proposals.table().itertuples(index=False))
        if not rows:
            self._hide()
            self._panel.status.say(
                f'Every object of “{labels.name}” has a class here. To find '
                f'more, choose “{labels.name}” under Labels, then Run.'
            )
            return
        self._shown = proposed, labels
        self._panel.classes.show_proposals(
            [(int(n), str(name), float(chance)) for n, name, chance in rows],
            list(proposed.proposals.classes),
        )
        self._panel.status.say(
            f'Proposed classes for {counted(len(rows), "object")}, least '
            'certain first. Correct them, then accept.'
        )

    def _stopped(self) -> None:
        self._asked = None
        self._panel.show_running(False)
        # the model may have failed to load
        if not self._panel.status.failed:
            self._panel.status.say('Stopped; no class was proposed.')

    def _failed(self, text: str) -> None:
        self._asked = None
        self._panel.show_running(False)
        self._panel.status.fail(text)
