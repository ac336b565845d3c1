"""Status texts about objects: predicted, open, written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakSet

from napari.layers import Image

from napari_mobilesam.session import PromptResult
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.objects.writing import (
    covered_objects,
    is_unchanged,
    shrunken_labels,
)
from napari_mobilesam.text import counted, first_objects
from napari_mobilesam.types import Mask
from napari_mobilesam.widgets.parts.viewer_widget import ViewerWidget
from napari_mobilesam.widgets.prompts.doubtful import DoubtfulObjects
from napari_mobilesam.widgets.prompts.prompt_output import pixels_beyond
from napari_mobilesam.widgets.prompts.prompt_panel import PromptPanel
from napari_mobilesam.widgets.prompts.shapes_aside import ShapesAside

NOTHING = 'The model found nothing here: add a point or draw a box.'


class ObjectTexts:
    """Describe objects for the status line.

    Parameters
    ----------
    dock : ViewerWidget
        Gives the open object, image and labels.
    panel : PromptPanel
        Names of the buttons.
    doubtful : DoubtfulObjects
        Describes objects about which the model is uncertain.
    shapes_aside : ShapesAside
        Shapes that wait while an object is edited.
    """

    def __init__(
        self,
        dock: ViewerWidget,
        panel: PromptPanel,
        doubtful: DoubtfulObjects,
        shapes_aside: ShapesAside,
    ) -> None:
        self._editor = dock.session.editor
        self._buttons = panel.buttons
        self._scene = dock.scene
        self._doubtful = doubtful
        self._shapes_aside = shapes_aside
        # images whose non-finite pixels were already reported
        self._reported: WeakSet[Image] = WeakSet()

    def answered(
        self,
        masks: Sequence[Mask | None],
        result: PromptResult,
        waiting: int,
        hidden: str = '',
    ) -> str:
        """Describe the answer to prompts.

        Parameters
        ----------
        masks : sequence of Mask or None
            The mask of each requested object.
        result : PromptResult
            The answer.
        waiting : int
            Number of shapes that wait for the next object.
        hidden : str
            Name of the layer that shows the masks, if it is hidden.
        """
        text = self._describe(masks, result, waiting)
        if hidden and any(mask is not None for mask in masks):
            text += f' The layer “{hidden}” is hidden.'
        return text + self._not_finite(result)

    def chosen(self, mask: Mask) -> str:
        """Describe a mask chosen among the candidates."""
        if self._editor.doubtful:
            return self._doubtful.text
        accept = self._buttons['accept'].text()
        return f'{_size_and_score(mask)}. {accept} keeps it.'

    def _describe(
        self, masks: Sequence[Mask | None], result: PromptResult, waiting: int
    ) -> str:
        found = [mask for mask in masks if mask is not None]
        if not found:
            return NOTHING
        if len(masks) == 1 and self._editor.doubtful:
            return self._doubtful.text
        if len(masks) > 1:
            objects = counted(len(found), 'object')
            text = f'{objects} for {len(masks)} shapes'
            waiting = 0
        else:
            text = _size_and_score(found[0])
        keep = 'them all' if len(found) > 1 else 'it'
        accept = self._buttons['accept'].text()
        text += f', {_duration(result.seconds)}. {accept} keeps {keep}.'
        if waiting:
            noun = 'box waits' if waiting == 1 else 'boxes wait'
            text += f' {waiting} older {noun} for the next object.'
        return text

    def _not_finite(self, result: PromptResult) -> str:
        """Report pixels that are NaN or infinite, once per image."""
        image = self._scene.image
        if not result.not_finite or image is None or image in self._reported:
            return ''
        self._reported.add(image)
        pixels = counted(
            result.not_finite, 'pixel near here is', 'pixels near here are'
        )
        return (
            f' {pixels} NaN or infinite; the '
            'model sees them as black (+∞ as white).'
        )

    def written(self, record: ObjectRecord) -> str:
        """Describe the object written by the last step."""
        # an edited object stays in its labels, whichever are selected
        labels = self._scene.labels_with(record)
        undo = self._buttons['undo'].text()
        name = record.text.capitalize()
        if not record.number:
            # labelled pixels that were not changed
            return f'{name} is left as it is.'
        if labels is None:
            return f'{name} written. {undo} takes it back.'
        objects = self._scene.objects_of(labels)
        if is_unchanged(objects, record):
            return f'{name} is left as it is.'
        where = f' to “{labels.name}”'
        if not labels.visible:
            where += ', which is hidden'
        beyond = pixels_beyond(record, labels)
        if beyond:
            area = sum(mask.area for mask in record.masks)
            where += f'; {beyond} of its {area} pixels lie outside that layer'
        for part, others in (
            ('all', covered_objects(objects)),
            ('most', shrunken_labels(objects)),
        ):
            if others:
                where += f', over {part} of {first_objects(others)}'
        return f'{name} written{where}. {undo} takes it back.'

    def left(self, record: ObjectRecord, plane: str) -> str:
        """Describe an open object removed from a plane; '' if none is left.

        Parameters
        ----------
        record : ObjectRecord
            The object, without that plane.
        plane : str
            Name of the plane.
        """
        if record.empty:
            return ''
        others = counted(len(record.views), 'other plane')
        return (
            f'{record.text.capitalize()} is no longer on {plane}, but on '
            f'{others}: {self._buttons["accept"].text()} or '
            f'{self._buttons["reject"].text()}.'
        )

    def opened(self, record: ObjectRecord) -> str:
        """Describe an open object, and how to continue."""
        known = [
            f'{name} {value:.2f}'
            for name, value in (
                ('score', record.score),
                ('stability', record.stability),
            )
            if not math.isnan(value)
        ]
        about = ''.join(f', {each}' for each in known)
        buttons = self._buttons
        text = (
            f'Editing {record.text}{about}. Add points, then '
            f'{buttons["accept"].text()} or {buttons["reject"].text()}.'
        )
        aside = self._editor.aside
        kept = []
        if aside:
            kept.append(aside[-1].record.text)
        if len(self._shapes_aside):
            kept.append(counted(len(self._shapes_aside), 'box', 'boxes'))
        if kept:
            text += f' Kept aside until then: {" and ".join(kept)}.'
        return text


def _size_and_score(mask: Mask) -> str:
    return f'{counted(mask.area, "pixel")}, score {mask.score:.2f}'


def _duration(seconds: float) -> str:
    return f'{seconds * 1e3:.0f} ms' if seconds < 1 else f'{seconds:.1f} s'
