"""Plan of segment everything: regions to embed and points to prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.crops import crop_regions
from napari_mobilesam.segmentation.diameter import estimate_diameter
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.head_sizes import seen_density
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.lattice import (
    Lattice,
    grid_spacing,
    lattice_points,
)
from napari_mobilesam.segmentation.object_size import diameters_of, nothing
from napari_mobilesam.segmentation.region import DecoderBlock, Region, cut_edge
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.types import (
    STRIDE,
    Box,
    EverythingParameters,
    ModelRecord,
    SegmentationError,
)

# Share of the full grid that an adaptive run prompts: a sixth on validation
# images of cells.
ADAPTIVE_SHARE = 1 / 6
# Share of the full grid that an instance head prompts where it sees many
# objects, and prompts per object that it sees.
HEAD_SHARE = 1 / 16
PROMPTS_PER_OBJECT = 1.3
# Share of the points of the full grid that is prompted.
SHARES: dict[PointSource, float] = {
    'watershed': 0.0,
    'head': HEAD_SHARE,
    'adaptive': ADAPTIVE_SHARE,
    'grid': 1.0,
}

# Source of the points: the instance head, or all or part of a grid.
PointSource = Literal['watershed', 'head', 'adaptive', 'grid']


@dataclass(frozen=True, eq=False)
class Plan:
    """Regions and points of a run.

    Attributes
    ----------
    regions : list of Region
        Decoder blocks with the points of the full grid that are in scope.
    lattice : Lattice
        All points of the full grid.
    diameter : float or None
        Typical object diameter in data pixels, given or found.
    source : {'watershed', 'head', 'adaptive', 'grid'}
        Source of the points that are prompted. With an instance head, the full
        grid only determines the regions.
    inputs : int
        Pixels to embed, in units of the model's input.
    density : float or None
        Objects per data pixel that the instance head has seen.
    """

    regions: list[Region]
    lattice: Lattice
    diameter: float | None
    source: PointSource
    inputs: int = 0
    density: float | None = None

    @property
    def points(self) -> int:
        """Points of the full grid in scope."""
        return sum(len(region.points) for region in self.regions)


def plan_run(
    image: ImageEmbedding,
    rgb: NDArray[np.uint8],
    parameters: EverythingParameters,
    scope: Scope | None = None,
    between: Callable[[], None] = nothing,
) -> list[Plan]:
    """Decide what to embed and which points to prompt, by scale.

    A given diameter determines the scale; ``whole_image`` or crop layers
    select the procedure of the paper; otherwise the model is prompted in a few
    places to find out.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    rgb : ndarray
        (H, W, 3) uint8, its pixels.
    parameters : EverythingParameters
        Parameters of the run, checked.
    scope : Scope, optional
        Pixels to prompt; all if None.
    between : callable
        Called between steps; may raise to stop.

    Returns
    -------
    list of Plan
        One for each object size; two if the image has small and large objects.
    """
    seen: list[float | None] = [None]
    if not parameters.scale_given:
        found = diameters_of(image, lambda: estimate_diameter(rgb), between)
        seen = [*found] or seen
    record = image.model.record
    density = seen_density(image)
    return [
        plan_for_shape(
            image.image_shape,
            record,
            parameters,
            scope,
            diameter,
            density=density,
        )
        for diameter in seen
    ]


def plan_for_shape(
    image_shape: tuple[int, int],
    record: ModelRecord,
    parameters: EverythingParameters,
    scope: Scope | None = None,
    seen: float | None = None,
    embedded: Callable[[BlockKey], bool] | None = None,
    density: float | None = None,
) -> Plan:
    """Plan a run on an image of which only the shape is known.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    record : ModelRecord
        Model of the run.
    parameters : EverythingParameters
        Parameters of the run, checked.
    scope : Scope, optional
        Pixels to prompt; all if None.
    seen : float, optional
        Object diameter in data pixels, from `find_diameters`. It counts only
        if the parameters do not determine the scale.
    embedded : callable, optional
        ``embedded(key)`` tells which large blocks need no embedding.
    density : float, optional
        Objects per data pixel, from `seen_density`.
    """
    scope = scope or Scope()
    diameter = parameters.diameter
    if not parameters.scale_given:
        diameter = seen
    if diameter is None:
        regions = crop_regions(image_shape, parameters)
    else:
        grid = EmbeddingGrid(image_shape, record)
        regions = block_regions(grid, diameter, parameters)
    wanted = in_scope(regions, scope)
    return Plan(
        wanted,
        Lattice.of(regions),
        diameter,
        point_source(parameters, record, diameter),
        inputs_of(wanted, image_shape, record, embedded),
        density,
    )


def point_source(
    parameters: EverythingParameters,
    record: ModelRecord,
    diameter: float | None,
) -> PointSource:
    """Return the source of the points of a run.

    Raises
    ------
    SegmentationError
        If a watershed is requested but the model has no instance head, or the
        procedure of the paper is selected.
    """
    if parameters.watershed:
        check_watershed(parameters, record)
        if diameter is not None:
            return 'watershed'
    # The grids of crop layers do not form a lattice.
    if not parameters.adaptive or parameters.crop_layers:
        return 'grid'
    has_head = parameters.instance_head and record.instance_head
    return 'head' if has_head and diameter is not None else 'adaptive'


def check_watershed(
    parameters: EverythingParameters, record: ModelRecord
) -> None:
    """Raise `SegmentationError` if the model cannot do a watershed."""
    if not record.instance_head:
        raise SegmentationError(
            f'watershed: {record.name} has no instance head; choose a model '
            'that has one, such as mobile_sam_cells, or leave it out'
        )
    if parameters.as_in_paper:
        raise SegmentationError(
            'watershed cannot be combined with crop layers or the whole '
            'image; leave out one of them'
        )


def block_regions(
    grid: EmbeddingGrid, diameter: float, parameters: EverythingParameters
) -> list[Region]:
    """Return the decoder blocks for objects of a known size.

    One lattice of points covers the image, at least as fine as the grid of
    ``points_per_side`` and fine enough for the objects. Each decoder block is
    prompted with the points in its core.
    """
    pitch = grid.pitch_for(diameter)
    shape = grid.image_shape
    spacing = grid_spacing(shape, parameters.points_per_side, diameter)
    points = lattice_points(shape, spacing, (0, 0, *shape))
    side = grid.core * pitch
    cores, owner, counts = np.unique(
        np.floor(points / side).astype(int),
        axis=0,
        return_inverse=True,
        return_counts=True,
    )
    order = np.argsort(owner.reshape(-1), kind='stable')
    owned_points = np.split(points[order], np.cumsum(counts)[:-1])
    found: dict[tuple[BlockKey, Box], list[Region]] = {}
    for core, own in zip(cores, owned_points, strict=True):
        row, column = ((core + 0.5) * side).tolist()
        block = DecoderBlock((row, column), pitch, large=True)
        large = grid.large_block(block.center, pitch)
        window = grid.frame(large, block.center).window
        owned = *(core * side).tolist(), *((core + 1) * side).tolist()
        found.setdefault((large, window), []).append(
            Region(window, own, cut_edge(pitch), block, owned)
        )
    return [_joined(found[key]) for key in sorted(found)]


def _joined(regions: Sequence[Region]) -> Region:
    """Merge regions at an edge that have the same decoder block."""
    cores = np.array([region.core for region in regions])
    low, high = cores[:, :2].min(axis=0), cores[:, 2:].max(axis=0)
    return replace(
        regions[0],
        points=np.concatenate([region.points for region in regions]),
        core=(*low.tolist(), *high.tolist()),
    )


def inputs_of(
    regions: Sequence[Region],
    image_shape: tuple[int, int],
    record: ModelRecord,
    embedded: Callable[[BlockKey], bool] | None = None,
) -> int:
    """Return the pixels that regions embed, in model inputs, rounded up.

    Parameters
    ----------
    regions : sequence of Region
        Regions of a plan.
    image_shape : tuple of int
        (H, W).
    record : ModelRecord
        Model of the run.
    embedded : callable, optional
        ``embedded(key)`` tells which large blocks do not count.
    """
    grid = EmbeddingGrid(image_shape, record)
    cells = [
        math.prod(grid.canvas(key).cells)
        for key in blocks_of(regions, grid)
        if embedded is None or not embedded(key)
    ]
    whole = sum(region.decoder_block is None for region in regions)
    return whole + -(-sum(cells) * STRIDE**2 // record.input_size**2)


def blocks_of(
    regions: Sequence[Region], grid: EmbeddingGrid
) -> list[BlockKey]:
    """Return the large blocks that regions are cut from, in order."""
    return sorted(by_block(regions, grid))


def by_block(
    regions: Sequence[Region], grid: EmbeddingGrid
) -> dict[BlockKey, list[Region]]:
    """Group regions by the large block that they are cut from."""
    found: dict[BlockKey, list[Region]] = {}
    for region in regions:
        block = region.decoder_block
        if block is not None and block.large:
            key = grid.large_block(block.center, block.pitch)
            found.setdefault(key, []).append(region)
    return found


def expected_prompts(plan: Plan) -> int:
    """Return the expected number of prompts of a run."""
    share = SHARES[plan.source]
    if plan.source == 'head' and plan.density is not None:
        # a point of the full grid stands for this many pixels
        pixels = plan.lattice.spacing**2
        share = PROMPTS_PER_OBJECT * plan.density * pixels
    return max(1, round(share * plan.points))


def in_scope(regions: Sequence[Region], scope: Scope) -> list[Region]:
    """Return the regions with those points that are in scope, if any."""
    admitted = [
        replace(region, points=region.points[scope.admits(region.points)])
        for region in regions
    ]
    return [region for region in admitted if len(region.points)]
