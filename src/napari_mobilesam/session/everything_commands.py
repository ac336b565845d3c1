"""Commands that segment everything and filter what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    quoted,
)
from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.written_runs import WrittenRuns
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    Mask,
    SegmentationError,
)

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection

Region = NDArray[np.bool_] | Mask


class EverythingCommands:
    """Segments everything into the labels that are written to.

    Parameters
    ----------
    written : WrittenRuns
        Runs and writes.
    scene : callable
        Returns the `Scene` of the session.
    """

    def __init__(
        self, written: WrittenRuns, scene: Callable[[], Scene]
    ) -> None:
        self._written = written
        self._scene = scene

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
        """Add every object of planes to the labels, as one step.

        Parameters
        ----------
        planes : ImagePlane or sequence of ImagePlane, optional
            By default the plane that is shown; ``session.scene.stack()``
            has all planes of a stack.
        parameters : EverythingParameters, optional
            The defaults if None.
        regions : sequence of ndarray, Mask or None, optional
            For each plane where objects are searched: (H, W) bool, a mask,
            or None for everywhere.
        linked : bool
            Whether objects that overlap from plane to plane become one.
        overwrite : bool
            Whether labelled pixels are searched and overwritten; they are
            left out otherwise.
        semantic : bool
            Whether all objects share one label.

        Returns
        -------
        EverythingResult
            The objects; empty masks if there are none.

        Raises
        ------
        SegmentationError
            There is no image, an argument cannot be used, the model cannot
            answer, or the labels cannot be written.
        """
        for name, value in (
            ('linked', linked),
            ('overwrite', overwrite),
            ('semantic', semantic),
        ):
            check_flag(name, value)
        from napari_mobilesam.segmentation.parameters import checked_parameters

        check_instance('parameters', parameters, EverythingParameters)
        if parameters is not None:
            checked_parameters(parameters, {})
        scene = self._scene()
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
        return self._written.run(
            objects, tasks, parameters, overwrite, semantic, linked=linked
        )

    def filter_everything(self, selection: Selection) -> EverythingResult:
        """Select among all masks of the last run again, as one step.

        Objects that were kept, corrected or deleted since stay as they are.

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
        return self._written.filter(selection)


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
            f'planes is {quoted(given)}; give planes, such as scene.stack() '
            'returns, or None for the one that is shown.'
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
        row0, column0, row1, column1 = region.box
        inside = whole[row0:row1, column0:column1]
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
