"""Commands that find objects, write them, and filter what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    are_numbers,
    check_flag,
    check_instance,
    quoted,
)
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.queries import (
    examples_on,
    text_query,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    Mask,
    SegmentationError,
    slices_of,
)

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection

Region = NDArray[np.bool_] | Mask


class EverythingCommands:
    """Commands to find objects and write them to the labels."""

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        # output of the last run, and the number of that run
        self._output: EverythingOutput | None = None
        self._generation = 0

    def segment_everything(
        self,
        planes: ImagePlane | Sequence[ImagePlane] | None = None,
        parameters: EverythingParameters | None = None,
        *,
        regions: Sequence[Region | None] | None = None,
        linked: bool = False,
        overwrite: bool = False,
        semantic: bool = False,
    ) -> EverythingResult:
        """Add every object of the planes to the labels, as one step.

        Parameters
        ----------
        planes : ImagePlane or sequence of ImagePlane, optional
            By default the displayed plane; ``session.scene.stack()`` returns
            all planes of a stack.
        parameters : EverythingParameters, optional
            Parameters of the run; by default the standard ones.
        regions : sequence of ndarray, Mask or None, optional
            Where to search each plane: (H, W) bool, a mask, or None for
            everywhere.
        linked : bool
            Whether objects that overlap from plane to plane become one.
        overwrite : bool
            Whether labelled pixels are searched and overwritten, instead of
            left out.
        semantic : bool
            Whether all objects share one label.

        Returns
        -------
        EverythingResult
            The objects; empty masks if there are none.

        Raises
        ------
        SegmentationError
            There is no image, an argument is invalid, the model fails, or the
            labels cannot be written.
        """
        for name, value in (
            ('linked', linked),
            ('overwrite', overwrite),
            ('semantic', semantic),
        ):
            check_flag(name, value)
        checked_parameters(parameters, {})
        scene = self._parts.scene()
        chosen = _planes(planes, scene)
        objects = scene.objects(True)
        assert objects is not None
        target = None if overwrite else objects.target
        tasks = [
            PlaneTask.beside(plane, target, region)
            for plane, region in zip(
                chosen, _regions(regions, chosen), strict=True
            )
        ]
        return self._run(
            objects, tasks, parameters, overwrite, semantic, linked=linked
        )

    def find_similar(
        self,
        labels: Sequence[int] | None = None,
        similarity: float | None = None,
        parameters: EverythingParameters | None = None,
    ) -> EverythingResult:
        """Add objects similar to labelled ones to the labels, as one step.

        Labelled pixels are neither searched nor overwritten.

        Parameters
        ----------
        labels : sequence of int, optional
            Labels of the examples; by default all objects of the displayed
            plane.
        similarity : float, optional
            Minimum similarity; 1 means identical to an example.
        parameters : EverythingParameters, optional
            Parameters of the search; the diameter is that of the examples.

        Returns
        -------
        EverythingResult
            The objects, with a column ``similarity`` in the table.

        Raises
        ------
        SegmentationError
            There is no example, or the search failed.
        """
        if labels is not None and not are_numbers(labels):
            raise SegmentationError(
                f'labels is {quoted(labels)}; give the numbers of labelled '
                'objects, or None for all.'
            )
        checked_parameters(parameters, {})
        scene = self._parts.scene()
        objects, plane = scene.objects(False), scene.plane()
        if objects is None:
            raise SegmentationError(
                'There are no labels: accept at least one example first.'
            )
        examples = examples_on(objects.target, plane, labels, similarity)
        task = PlaneTask.beside(plane, objects.target)
        return self._run(objects, [task], parameters, examples=examples)

    def segment_text(
        self,
        text: str,
        detector: Any = None,
        score: float | None = None,
        parameters: EverythingParameters | None = None,
    ) -> EverythingResult:
        """Add objects named by a text to the labels, as one step.

        Labelled pixels are not overwritten. The detectors that can be
        downloaded were trained on photographs, not on microscopy.

        Parameters
        ----------
        text : str
            What to find.
        detector : str or BoxDetector, optional
            Name of a detector, or any object with a method
            ``boxes(image, text)``; Grounding DINO by default.
        score : float, optional
            Minimum score of a box.
        parameters : EverythingParameters, optional
            Parameters of the masks.

        Returns
        -------
        EverythingResult
            The objects; the column ``similarity`` of the table is the score
            of the box.

        Raises
        ------
        SegmentationError
            The text is empty, or the detector is invalid or failed.
        """
        checked_parameters(parameters, {})
        scene = self._parts.scene()
        plane, objects = scene.plane(), scene.objects(True)
        assert objects is not None
        query = text_query(text, detector, score)
        task = PlaneTask.beside(plane, objects.target)
        return self._run(objects, [task], parameters, query=query)

    def filter_everything(self, selection: Selection) -> EverythingResult:
        """Select again among all masks of the last run, as one step.

        Objects kept, corrected or deleted since then stay unchanged.

        Parameters
        ----------
        selection : Selection
            Thresholds and filters, see
            `napari_mobilesam.segmentation.candidates.Selection`.

        Returns
        -------
        EverythingResult
            The objects.

        Raises
        ------
        SegmentationError
            There was no run, or it was undone, or another one was started;
            or `selection` is not a `Selection`.
        """
        from napari_mobilesam.segmentation.candidates import Selection

        check_instance('selection', selection, Selection, optional=False)
        output = self._output
        if (
            output is None
            or output.undone
            or self._generation != self._parts.runs.generation
        ):
            raise SegmentationError(
                'There is no run to filter, or it was undone: run '
                'segment_everything, find_similar or segment_text first.'
            )
        result: EverythingResult = self._parts.waiter.answer(
            self._parts.runs.selected,
            lambda: self._parts.runs.select(selection),
        )
        output.write(result)
        return result

    def close(self) -> None:
        """Forget the last run; its objects stay unchanged."""
        if self._output is not None:
            self._output.close()
        self._output = None

    def _run(
        self,
        objects: Objects,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters | None,
        overwrite: bool = False,
        semantic: bool = False,
        **what: Any,
    ) -> EverythingResult:
        """Find objects and write them as one step.

        See `EverythingOutput` and `EverythingRuns.start`.
        """
        self.close()

        def start() -> None:
            self._generation = self._parts.runs.start(
                tasks, parameters, **what
            )

        result: EverythingResult = self._parts.waiter.answer(
            self._parts.runs.finished, start
        )
        planes = [task.plane for task in tasks]
        self._output = EverythingOutput(
            objects, planes, overwrite, semantic, self._parts.plane_code
        )
        if result.masks:
            self._output.write(result)
        return result


def _planes(
    given: ImagePlane | Sequence[ImagePlane] | None, scene: Scene
) -> list[ImagePlane]:
    if given is None:
        return [scene.plane()]
    if isinstance(given, ImagePlane):
        return [given]
    if (
        not isinstance(given, Sequence)
        or not given
        or not all(isinstance(plane, ImagePlane) for plane in given)
    ):
        raise SegmentationError(
            f'planes is {quoted(given)}; give planes, as returned by '
            'scene.stack(), or None for the displayed one.'
        )
    return list(given)


def _regions(
    given: Sequence[Region | None] | None, planes: Sequence[ImagePlane]
) -> list[NDArray[np.bool_] | None]:
    if given is None:
        return [None] * len(planes)
    if not isinstance(given, Sequence) or len(given) != len(planes):
        raise SegmentationError(
            f'regions is {quoted(given)}; give a list of {len(planes)}, one '
            'for each plane, with None for everywhere.'
        )
    return [
        None if region is None else _region(region, plane)
        for region, plane in zip(given, planes, strict=True)
    ]


def _region(region: Region, plane: ImagePlane) -> NDArray[np.bool_]:
    if isinstance(region, Mask):
        whole = np.zeros(plane.shape, dtype=bool)
        inside = whole[slices_of(region.box)]
        if inside.shape == region.data.shape:
            inside[...] = region.data
            return whole
    elif np.shape(region) == plane.shape:
        pixels = np.asarray(region)
        if pixels.dtype.kind in 'biu':
            return pixels.astype(bool)
    raise ImageError(
        f'A region is {quoted(region)}; give (H, W) bool of the shape '
        f'{plane.shape} of {plane.name}, a mask inside it, or None.'
    )
