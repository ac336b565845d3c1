"""Accepted objects whose masks are still pending."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from psygnal import Signal

from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.edited_object import EditedObject
from napari_mobilesam.session.prompts.prompt_messages import PromptResult
from napari_mobilesam.session.prompts.prompting import Prompting
from napari_mobilesam.types import SegmentationError


class AcceptQueue:
    """Request the masks of accepted objects and write them, in order.

    Parameters
    ----------
    prompting : Prompting
        Answers prompts; used only by the queue.
    write : callable
        Writes an `EditedObject`; returns its record.

    Attributes
    ----------
    written : Signal(ObjectRecord)
        An object was written.
    failed : Signal(EditedObject, str)
        An object was not written, and why; empty if the session has
        reported the reason.
    """

    written = Signal(object)
    failed = Signal(object, str)

    def __init__(
        self,
        prompting: Prompting,
        write: Callable[[EditedObject], ObjectRecord],
    ) -> None:
        self._prompting = prompting
        self._write = write
        self._items: deque[EditedObject] = deque()
        prompting.answered.connect(self._take_answer)
        prompting.failed.connect(self._no_answer)
        prompting.cleaned.connect(self._go_on)

    def __len__(self) -> int:
        """Return the number of objects still to be written."""
        return len(self._items)

    @property
    def last(self) -> EditedObject | None:
        """Object that was added last; None if there is none."""
        return self._items[-1] if self._items else None

    def add(self, item: EditedObject) -> None:
        """Write an object after those before it."""
        self._items.append(item)
        if len(self._items) == 1:
            self._go_on()

    def release(self, gone: Objects) -> None:
        """Let objects whose labels are gone be written to other labels."""
        for item in self._items:
            item.release(gone)

    def take_back(self) -> EditedObject | None:
        """Remove the object that was added last; None if there is none."""
        if not self._items:
            return None
        if len(self._items) == 1:
            self._prompting.forget()
        return self._items.pop()

    def clear(self) -> None:
        """Drop all objects."""
        self._prompting.forget()
        self._items.clear()

    def _go_on(self) -> None:
        while self._items:
            first = self._items[0]
            for view in first.waiting.values():
                try:
                    self._prompting.ask(
                        view.plane, [view.prompts], [view.previous]
                    )
                except SegmentationError as error:
                    self._items.popleft()
                    self.failed.emit(first, str(error))
                    break
                return
            else:
                self._items.popleft()
                self._finish(first)

    def _finish(self, item: EditedObject) -> None:
        try:
            record = self._write(item)
        except SegmentationError as error:
            self.failed.emit(item, str(error))
        else:
            self.written.emit(record)

    def _take_answer(self, result: PromptResult) -> None:
        if self._items and self._items[0].take(result):
            self._go_on()

    def _no_answer(self, generation: int) -> None:
        if self._items:
            self.failed.emit(self._items.popleft(), '')
            self._go_on()
