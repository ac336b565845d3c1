"""What a run of segment everything embeds, and which points it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.crops import Region, crop_regions
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.lattice import Lattice
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.segmentation.windows import (
    plan_windows,
    window_regions,
)
from napari_mobilesam.types import EverythingParameters, ModelRecord

# Windows of the overview are this many times as long as the others, and
# looked through only if that saves this many times their number.
OVERVIEW = 2.0
WORTHWHILE = 3
# Points of the full grid that an adaptive run asks: on validation images of
# cells a sixth.
ADAPTIVE_SHARE = 1 / 6
# Windows that it embeds after an overview, likewise.
ADAPTIVE_WINDOWS = 3 / 4


@dataclass(frozen=True, eq=False)
class Plan:
    """Windows and points of a run.

    Attributes
    ----------
    regions : list of Region
        Windows with the points of the full grid that are in scope.
    overview : list of Region
        Larger windows with the same points, for an adaptive run; may be
        none.
    lattice : Lattice
        All points of the full grid.
    diameter : float or None
        Typical object diameter in data pixels, given or seen.
    adaptive : bool
        Only a part of the points is asked.
    """

    regions: list[Region]
    overview: list[Region]
    lattice: Lattice
    diameter: float | None
    adaptive: bool

    @property
    def points(self) -> int:
        """Points of the full grid in scope."""
        return sum(len(region.points) for region in self.regions)


def plan_run(
    rgb: NDArray[np.uint8],
    record: ModelRecord,
    parameters: EverythingParameters,
    scope: Scope | None = None,
) -> Plan:
    """Decide what is embedded and which points may be asked.

    A given diameter asks for windows; ``whole_image`` or crop layers for the
    procedure of the paper; otherwise a quick look at the image decides.
    """
    decided = parameters.whole_image or parameters.crop_layers > 0
    look = parameters.diameter is None and not (
        decided and not parameters.adaptive
    )
    seen = estimate_diameter(rgb) if look else None
    shape = (rgb.shape[0], rgb.shape[1])
    return plan_for_shape(shape, record, parameters, scope, seen)


def plan_for_shape(
    image_shape: tuple[int, int],
    record: ModelRecord,
    parameters: EverythingParameters,
    scope: Scope | None = None,
    seen: float | None = None,
) -> Plan:
    """Plan a run on an image of which only the shape is known.

    ``seen`` is the object diameter that `estimate_diameter` sees in it.
    """
    scope = scope or Scope()
    windows = parameters.diameter
    if windows is None and not (
        parameters.whole_image or parameters.crop_layers
    ):
        worthwhile = len(plan_windows(image_shape, seen, record)) > 1
        windows = seen if worthwhile else None
    if windows is None:
        regions = crop_regions(image_shape, parameters)
    else:
        regions = window_regions(image_shape, windows, record, parameters)
    # The grids of crop layers are no lattice.
    adaptive = parameters.adaptive and not parameters.crop_layers
    overview: list[Region] = []
    if windows is not None and adaptive:
        overview = _overview(image_shape, windows, record, parameters)
        if WORTHWHILE * len(overview) > len(regions):
            overview = []
    return Plan(
        in_scope(regions, scope),
        in_scope(overview, scope),
        Lattice.of(regions),
        seen if parameters.diameter is None else parameters.diameter,
        adaptive,
    )


def expected_prompts(plan: Plan) -> int:
    """How many prompts a run is likely to ask."""
    share = ADAPTIVE_SHARE if plan.adaptive else 1.0
    return max(1, round(share * plan.points))


def expected_windows(plan: Plan) -> int:
    """How many windows a run is likely to embed."""
    if not plan.overview:
        return len(plan.regions)
    return len(plan.overview) + round(ADAPTIVE_WINDOWS * len(plan.regions))


def _overview(
    image_shape: tuple[int, int],
    diameter: float,
    record: ModelRecord,
    parameters: EverythingParameters,
) -> list[Region]:
    """Windows in which objects are smaller than the model likes them."""
    sizes = record.object_diameter
    small = sizes._replace(best=sizes.best / OVERVIEW)
    return window_regions(
        image_shape,
        diameter,
        replace(record, object_diameter=small),
        parameters,
    )


def in_scope(regions: Sequence[Region], scope: Scope) -> list[Region]:
    """Regions with those of their points that may be asked, if any."""
    admitted = [
        replace(region, points=region.points[scope.admits(region.points)])
        for region in regions
    ]
    return [region for region in admitted if len(region.points)]
