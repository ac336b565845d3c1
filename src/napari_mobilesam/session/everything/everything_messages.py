"""Requests and results of segment everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.targets import (
    LabelTarget,
    whole_picture,
)
from napari_mobilesam.types import EverythingParameters, Mask

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.segmentation.candidates import Selection

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class PlaneTask:
    """One plane to segment, or a part of it.

    Attributes
    ----------
    plane : ImagePlane
        The plane.
    region : ndarray or None
        (H, W) bool, where to place prompts; None for everywhere.
    skip : callable or None
        Returns the (H, W) bool pixels to leave out; called on the worker
        thread before the plane is segmented.
    """

    plane: ImagePlane
    region: NDArray[np.bool_] | None = None
    skip: Callable[[], NDArray[np.bool_]] | None = None

    @classmethod
    def beside(
        cls,
        plane: ImagePlane,
        target: LabelTarget | None,
        region: NDArray[np.bool_] | None = None,
    ) -> PlaneTask:
        """Return a task that leaves out already labelled pixels, if any."""
        if target is None:
            return cls(plane, region)
        return cls(plane, region, lambda: whole_picture(target, plane) != 0)


@dataclass(frozen=True, eq=False)
class ExampleObjects:
    """Example objects of which a run searches similar ones.

    Attributes
    ----------
    plane : ImagePlane
        Plane of the examples.
    masks : tuple of Mask
        The examples.
    similarity : float
        Minimum similarity of the objects.
    labels : tuple of int
        Labels of the examples.
    """

    plane: ImagePlane
    masks: tuple[Mask, ...]
    similarity: float
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class TextQuery:
    """A text, and the detector that draws boxes around what it names.

    Attributes
    ----------
    text : str
        What to find.
    detector : str or BoxDetector
        Name of a detector, or a detector object.
    score : float
        Minimum score of a box.
    """

    text: str
    detector: Any
    score: float


@dataclass(frozen=True, eq=False)
class EverythingRequest:
    """One run of segment everything.

    Attributes
    ----------
    generation : int
        Number of the run; only the newest is answered.
    tasks : tuple of PlaneTask
        The planes, in stack order.
    parameters : EverythingParameters
        Parameters of all planes.
    model_name : str
        Name of the model.
    linked : bool
        Whether objects that overlap from plane to plane become one.
    outlined : bool
        Whether to compute outlines.
    examples : ExampleObjects or None
        Find only objects similar to these.
    query : TextQuery or None
        Find only what a text names.
    """

    generation: int
    tasks: tuple[PlaneTask, ...]
    parameters: EverythingParameters
    model_name: str
    linked: bool = False
    outlined: bool = False
    examples: ExampleObjects | None = None
    query: TextQuery | None = None

    @property
    def plane(self) -> ImagePlane:
        """The first plane."""
        return self.tasks[0].plane


class Extent(NamedTuple):
    """Ranges of filters.

    Attributes
    ----------
    area, intensity : tuple of float
        Smallest and largest value of the masks, in pixels and in image
        values.
    predicted_iou, stability : float
        Thresholds below which the run kept no mask.
    similarity : float
        Same for the similarity to examples.
    """

    area: Range = (1.0, 10_000.0)
    intensity: Range = (0.0, 255.0)
    predicted_iou: float = 0.0
    stability: float = 0.0
    similarity: float = -1.0


class PlaneMask(NamedTuple):
    """A mask and the index of its plane."""

    plane: int
    mask: Mask


@dataclass(frozen=True, eq=False)
class EverythingResult:
    """Objects of a run.

    Attributes
    ----------
    request : EverythingRequest
        The request.
    pictures : tuple of ndarray
        (H, W) labels of each plane, 0 is background. An object has the same
        label in every selection.
    table : pandas.DataFrame
        One row per label: label, plane (index among the tasks), planes (how
        many it is on), score, stability, area, row, column, box (row0,
        column0, row1, column1, half open), and point_row and point_column, the
        prompt it came from. For an object on several planes, area is the sum,
        and the other values are those of its least certain plane.
    masks : dict
        `PlaneMask` of all planes of each label, before better masks cover
        parts of it; in plane order, best first on each plane.
    selection : Selection
        Criteria of objects.
    extent : Extent
        Ranges of other selections.
    found : int
        Number of masks to select from.
    complete : bool
        False if cancelled; masks found so far are kept.
    seconds : float
        Duration of the run.
    problem : str
        Error message if the run ended before all planes were done, else empty.
    outlines : tuple of list
        For each plane, the outlines of its labels in ascending order, see
        `mask_outlines`; empty if not requested.
    """

    request: EverythingRequest
    pictures: tuple[NDArray[Any], ...]
    table: pd.DataFrame
    masks: dict[int, tuple[PlaneMask, ...]]
    selection: Selection
    extent: Extent
    found: int
    complete: bool
    seconds: float
    problem: str = ''
    outlines: tuple[list[NDArray[np.float64]], ...] = ()

    @property
    def labels(self) -> NDArray[Any]:
        """Labels of the first plane."""
        return self.pictures[0]
