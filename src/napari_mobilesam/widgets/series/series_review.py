"""Review of the objects of all images of a series, least certain first."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_mobilesam.series.series_entry import UncertainObject
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.text import counted
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.parts.delayed_call import DelayedCall
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.series.review_outline import ReviewOutline
from napari_mobilesam.widgets.series.series_layers import SeriesLayers
from napari_mobilesam.widgets.series.uncertain_table import UncertainTable
from napari_mobilesam.widgets.viewer.delete_labels import delete_labels
from napari_mobilesam.widgets.viewer.layer_plane import camera_of
from napari_mobilesam.widgets.viewer.look_at import look_at

NO_OBJECT = 'No object is left to review; images not segmented yet have none.'
# delay after saving before the list is updated; longer for long lists
PAUSE_MS, MANY = 300, 5000


class SeriesReview:
    """Go through a list of objects, opening their images.

    Parameters
    ----------
    dock : ViewerWidget
        Gives viewer, session and status line.
    table : UncertainTable
        The list.
    layers : SeriesLayers
        Layers of the open image.
    go_to : callable
        ``go_to(number)`` opens an image; `image_shown` follows.
    leave : callable
        ``leave(then)`` accepts the open object and saves; returns False if
        ``then`` will be called later instead.

    Attributes
    ----------
    outline : ReviewOutline
        Outline of the object under review.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        table: UncertainTable,
        layers: SeriesLayers,
        go_to: Callable[[int], None],
        leave: Callable[[Callable[[], None]], bool],
    ) -> None:
        self._dock = dock
        self._jobs = dock.session.series
        self._table = table
        self._status = dock.status
        self._scene = dock.scene
        self._layers = layers
        self._go_to, self._leave = go_to, leave
        self._shown: UncertainObject | None = None
        self._wanted: UncertainObject | None = None
        # the object under review, if it lies on the displayed plane
        self._record: ObjectRecord | None = None
        # (image, label) of those accepted or deleted since the last request
        self._done: set[tuple[int, int]] = set()
        # zoom and centre of the view at the last object
        self._view: tuple[Any, ...] | None = None
        # whether to show the first object once the list arrives
        self._starting = False
        # number of the image in which an object was last deleted
        self._deleted_in = -1
        self._refresh_later = DelayedCall(self.refresh, PAUSE_MS, dock)
        self.outline = ReviewOutline(dock.viewer, dock.session.editor)
        table.chosen.connect(self.show)
        table.accepted.connect(self.accept)
        table.dropped.connect(self.delete)

    @property
    def pending(self) -> bool:
        """True if the list is being made, or an object's image opened."""
        making = self._starting or self._refresh_later.pending
        return self._wanted is not None or making

    def start(self) -> None:
        """Forget the previous series, and list the objects of this one."""
        self._shown = self._wanted = None
        self._starting = False
        self._deleted_in = -1
        self.outline.hide()
        self._table.choose(None)
        self._table.show_objects(None, [])
        self.refresh()

    def close(self) -> None:
        """Remove the outline."""
        self._refresh_later.cancel()
        self._starting = False
        self._wanted = None
        self.outline.remove()

    # the list

    def refresh(self, check: bool = False) -> None:
        """List the objects as currently saved.

        Parameters
        ----------
        check : bool
            Whether other programs may have changed them.
        """
        if self._jobs.series is not None:
            self._done.clear()
            self._jobs.ask_uncertain(check)

    def saved(self, number: int) -> None:
        """Update the list after an image was saved."""
        many = len(self._table) > MANY
        self._refresh_later.start(10 * PAUSE_MS if many else PAUSE_MS)

    def take(self, found: Sequence[UncertainObject]) -> None:
        """Show the list, without those done while it was made."""
        done = self._done
        if done:
            found = [x for x in found if (x.image, x.label) not in done]
        self._table.show_objects(self._jobs.series, found)
        if not self._starting:
            return
        self._starting = False
        first = self._table.first()
        if first is None:
            self._status.say(NO_OBJECT)
        else:
            self.show(first)

    # going through it

    def accept(self) -> None:
        """Mark the object under review as correct, and go to the next one.

        Without one, the review starts with the least certain object.
        """
        with self._status.errors():
            self._jobs.required  # noqa: B018 - raises if there is no series
            if not self._leave(self.accept):
                return
            shown, self._shown = self._shown, None
            if shown is None:
                self._begin()
                return
            self._jobs.review(shown.image, shown.label)
            self._go_on(shown)

    def delete(self) -> None:
        """Delete the object under review, and go to the next one."""
        with self._status.errors():
            self._jobs.required  # noqa: B018 - raises if there is no series
            shown, labels = self._shown, self._layers.labels
            if shown is None or labels is None or not self._layers.shown:
                self._status.say('Choose an object in the list first.')
                return
            editor = self._dock.session.editor
            objects = self._scene.objects_of(labels)
            record, options = self._record, editor.options
            if record is not None:
                objects.check_idle(record)
            if not editor.record.empty:
                editor.reject()
            self._deleted_in = shown.image
            if record is not None and (options.label or options.by_class):
                # others of its class have the same label
                objects.delete(record)
                self.show(shown)
                return
            delete_labels(labels, [shown.label], self._scene)
            self._shown = None
            self._go_on(shown)

    def undo(self) -> None:
        """Undo the last step in the labels of the open image."""
        with self._status.errors():
            series = self._jobs.required
            title = self._dock.session.navigation.undo()
            if title is not None:
                self._status.say(f'Undone: {title}.')
                return
            text = 'There is nothing to undo in this image'
            if self._deleted_in not in (-1, self._jobs.current):
                # the review has moved on to another image
                name = series[self._deleted_in].name
                text += f'; the last deletion was in {name}'
            self._status.say(f'{text}.')

    def _begin(self) -> None:
        self._starting = True
        self._status.say('Looking for the least certain object …', True)
        self.refresh(check=True)

    def _go_on(self, done: UncertainObject) -> None:
        self._done.add((done.image, done.label))
        following = self._table.take_out(done)
        if following is None:
            self.outline.hide()
            self._begin()
        else:
            self.show(following)

    def show(self, found: UncertainObject) -> None:
        """Show an object, opening its image if needed."""
        series = self._jobs.series
        if series is None:
            return
        self._table.choose(found)
        if found.image != self._jobs.current or not self._layers.shown:
            self._shown = None
            self._wanted = found
            self._go_to(found.image)
            return
        if not self._leave(lambda: self.show(found)):
            return
        self._wanted = None
        if not self._look_at(found):
            if found == self._shown:
                # the last object with its label was deleted
                self._shown = None
                self._go_on(found)
                return
            self._status.say(f'Object {found.label} no longer exists.')
            self._table.take_out(found)
            return
        self._shown = found
        score = '' if math.isinf(found.score) else f', score {found.score:.2f}'
        left = counted(len(self._table), 'object')
        self._status.say(
            f'Object {found.label} of {series[found.image].name}{score}. '
            f'{left} to review.'
        )

    def leaving(self, number: int) -> None:
        """End the review of an object when another image is opened."""
        self._shown = None
        self.outline.hide()
        if self._wanted is not None and self._wanted.image != number:
            self._wanted = None

    def image_shown(self) -> None:
        """Show the object for which an image was opened, or all of it.

        A view that the user has chosen since the last object is kept.
        """
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self.show(wanted)
            return
        view, self._view = self._view, None
        if view is not None and view == self._camera_view:
            self._dock.viewer.reset_view()

    def image_failed(self) -> None:
        """Drop the object whose image cannot be read."""
        self._wanted = None

    @property
    def _camera_view(self) -> tuple[Any, ...]:
        camera = camera_of(self._dock.viewer)
        return camera.zoom, *camera.center

    def _look_at(self, found: UncertainObject) -> bool:
        """Move the view to an object and open it; return False if gone."""
        labels, self._record = self._layers.labels, None
        assert labels is not None
        places = np.nonzero(np.asarray(labels.data) == found.label)
        if not len(places[0]):
            return False
        # for an object on many planes, the plane in the middle
        middle = len(places[0]) // 2
        low = [int(axis.min()) for axis in places]
        high = [int(axis.max()) for axis in places]
        for axis in range(labels.ndim - 2):
            low[axis] = high[axis] = int(places[axis][middle])
        look_at(self._dock.viewer, labels, low, high)
        self._view = self._camera_view
        labels.selected_label = found.label
        with contextlib.suppress(SegmentationError):
            shown = self._scene.shown()
            row, column = places[-2][middle], places[-1][middle]
            self._record = self._dock.session.navigation.open_at(
                shown.source, float(row), float(column)
            )
            if self._record is not None:
                objects = self._scene.objects_of(labels)
                self.outline.show(shown, objects, self._record)
        return True
