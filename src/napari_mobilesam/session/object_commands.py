"""Commands on objects: accept, open, propagate, batch, refine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from napari_mobilesam.argument_checks import (
    check_choice,
    check_instance,
    check_number,
    quoted,
)
from napari_mobilesam.segmentation.prompt_checks import checked_path
from napari_mobilesam.segmentation.refinement import RefineParameters
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.object_jobs import ObjectJobs
from napari_mobilesam.session.objects.records import ObjectRecord
from napari_mobilesam.session.prompts.batch import (
    BatchItem,
    BatchResult,
    Overlaps,
)
from napari_mobilesam.session.prompts.propagation import (
    Direction,
    PropagationOptions,
)
from napari_mobilesam.session.prompts.propagation_run import PropagationResult
from napari_mobilesam.session.prompts.refine_all import RefineResult
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.types import Mask, Prompts, SegmentationError


class ObjectCommands:
    """Commands to accept, open, propagate, batch and refine.

    Each command returns when it is done, so that a script is a list of lines.
    The widgets use the parts of the session instead and never block.

    Parameters
    ----------
    parts : SessionParts
        Parts of the session.
    jobs : ObjectJobs
        Propagation, batches and refinement.
    """

    def __init__(self, parts: SessionParts, jobs: ObjectJobs) -> None:
        self._parts = parts
        self._jobs = jobs

    def accept(self, label: int | None = None) -> ObjectRecord:
        """Write the open object as one step and open a new one.

        Parameters
        ----------
        label : int, optional
            Label of a new object; see `WriteOptions` for the default. Objects
            with one label share a row of the feature table, with the class of
            the first and the lowest score.

        Returns
        -------
        ObjectRecord
            The object as written. Labelled pixels that were opened but not
            changed are not written and have no number.

        Raises
        ------
        SegmentationError
            There is no mask, or the labels cannot be written.
        """
        if label is not None:
            check_number('label', label, 1, whole=True)
        self._parts.waiter.finish()
        before = self._parts.editor.options
        if label is not None:
            self._parts.editor.options = replace(before, label=label)
        try:
            record = self._parts.editor.accept()
        finally:
            self._parts.editor.options = before
        assert record is not None, 'nothing was awaited'
        return record

    def open(
        self,
        number: int | None = None,
        at: tuple[float, float] | None = None,
    ) -> ObjectRecord | None:
        """Open an object of the labels, by its number or a position.

        Parameters
        ----------
        number : int, optional
            Number of the object.
        at : (row, column), optional
            Position on the object, on the displayed plane.

        Returns
        -------
        ObjectRecord or None
            None if there is no object at the position.

        Raises
        ------
        LabelsError
            There is no object with this number.
        """
        if number is not None:
            check_number('number', number, 0, whole=True)
            return self._parts.navigation.open(number)
        if at is None:
            raise SegmentationError(
                'Which object? Give its number, or a position: open(5) or '
                'open(at=(row, column)).'
            )
        ((row, column),) = checked_path([at], 'at')
        return self._parts.navigation.open_at(
            self._parts.scene().plane(), row, column
        )

    def propagate(
        self,
        /,
        direction: Direction = 'both',
        axis: int | None = None,
        **options: Any,
    ) -> PropagationResult:
        """Follow the open object through z or t, as one step.

        A new object is accepted first. It stays open afterwards, for
        corrections.

        Parameters
        ----------
        direction : {'both', 'forward', 'backward'}
            Direction beyond the planes with prompts.
        axis : int, optional
            Axis of the image; by default the last one that is not displayed
            and does not look like channels.
        **options
            Further fields of `PropagationOptions`.

        Returns
        -------
        PropagationResult
            Planes that were reached, and why propagation ended.

        Raises
        ------
        SegmentationError
            No object is open, the image is a single plane, or the model fails.
        """
        self._parts.waiter.finish()
        chosen = PropagationOptions(direction=direction, **options)
        return self._parts.waiter.answer(
            self._parts.propagation.finished,
            lambda: self._jobs.start_propagation(chosen, axis),
        )

    def batch(
        self,
        prompts: Sequence[Prompts | BatchItem],
        overlaps: Overlaps = 'best',
        first_label: int | None = None,
    ) -> BatchResult:
        """Segment one object for each item of a list of prompts, as one step.

        Parameters
        ----------
        prompts : sequence of Prompts or BatchItem
            Prompts on the displayed plane, or on the plane of the item.
        overlaps : {'best', 'first', 'last'}
            Which object gets a pixel covered by several.
        first_label : int, optional
            Label of the first prompt, followed by the others; by default the
            next free one.

        Returns
        -------
        BatchResult
            Objects, and prompts that gave none.

        Raises
        ------
        SegmentationError
            There is no image, an item has the wrong type, or a label is not
            free.
        """
        if not isinstance(prompts, Iterable):
            raise SegmentationError(
                f'prompts is {quoted(prompts)}; give a list of Prompts.'
            )
        items = list(prompts)
        for item in items:
            if not isinstance(item, BatchItem):
                check_instance('an item of prompts', item, Prompts, False)
        check_choice('overlaps', overlaps, get_args(Overlaps))
        if first_label is not None:
            check_number('first_label', first_label, 1, whole=True)
        return self._parts.waiter.answer(
            self._parts.batching.finished,
            lambda: self._jobs.start_batch(items, overlaps, first_label),
        )

    def refine(
        self,
        /,
        plane: ImagePlane | None = None,
        before: Mapping[int, Mask] | None = None,
        **parameters: Any,
    ) -> RefineResult:
        """Refine all objects of the labels with the model, as one step.

        The labels may come from any program.

        Parameters
        ----------
        plane : ImagePlane, optional
            Plane whose labels are refined; by default the displayed one.
        before : mapping of int to Mask, optional
            Objects to start from, drawn over the labels.
        **parameters
            Fields of `RefineParameters`.

        Returns
        -------
        RefineResult
            Objects before and after, and the pixels that changed.

        Raises
        ------
        SegmentationError
            There are no labels, or no object in them.
        """
        check_instance('plane', plane, ImagePlane)
        self._parts.waiter.finish()
        chosen = RefineParameters(**parameters)
        return self._parts.waiter.answer(
            self._parts.refining.finished,
            lambda: self._jobs.start_refinement(
                chosen, None if plane is None else [plane], before
            ),
        )
