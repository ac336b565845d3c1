"""Plan of a run, made before it starts and written to its manifest.

A plan depends only on the image, the model and the parameters. All records
depend on the plan; its manifest shows whether they can be reused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from napari_mobilesam.argument_checks import check_instance
from napari_mobilesam.large.contrast_and_size import contrast_of, diameter_of
from napari_mobilesam.large.image_view import ImageView
from napari_mobilesam.large.io.interfaces import Source
from napari_mobilesam.large.run_size import (
    LARGEST_RUN,
    LONGEST_SIDE,
    check_size,
)
from napari_mobilesam.large.tiling import Grid, plan_grid
from napari_mobilesam.parameter_fields import documented, parameter
from napari_mobilesam.segmentation.image import Limits, checked_limits
from napari_mobilesam.segmentation.object_size import nothing
from napari_mobilesam.segmentation.parameters import (
    check_fields,
    check_names,
    checked_parameters,
    thresholds_for,
)
from napari_mobilesam.segmentation.windows import window_side
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    ModelRecord,
    SegmentationError,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


TILES_AND_LINKS = 'Tiles and links'


@documented
@dataclass(frozen=True)
class LargeParameters:
    """Parameters of segmenting a large image."""

    everything: EverythingParameters = parameter(
        default_factory=EverythingParameters,
        description='Parameters of each tile. Their diameter, in level-0 '
        'pixels, determines the pyramid level and the tile size.',
    )
    contrast_limits: tuple[Limits, ...] | None = parameter(
        None,
        'Contrast limits of all tiles, one (low, high) or one per channel.',
        automatic='measured.',
    )
    gamma: float = parameter(
        1.0, 'Exponent applied after the contrast limits.'
    )
    coarser: int = parameter(
        2,
        'How often the tile size is doubled for objects too large for a tile.',
        label='Coarser levels',
        maximum=8,
        group=TILES_AND_LINKS,
    )
    link: bool = parameter(
        True,
        'Give overlapping objects of neighbouring planes the same label.',
    )
    link_iou: float = parameter(
        0.3,
        'Minimum IoU of linked objects in neighbouring planes.',
        label='Link at IoU ≥',
        maximum=1,
        step=0.05,
        group=TILES_AND_LINKS,
    )
    link_gap: int = parameter(
        1,
        'Maximum number of planes from which a linked object may be missing.',
        label='Link across gaps',
        maximum=20,
        group=TILES_AND_LINKS,
    )


def checked_large(
    parameters: LargeParameters | None, overrides: Mapping[str, Any]
) -> LargeParameters:
    """Apply overrides of either kind of parameters, and check values.

    Raises
    ------
    TypeError
        If an override is not a parameter.
    SegmentationError
        If a value is out of range or makes no sense for tiles.
    """
    check_instance('parameters', parameters, LargeParameters)
    check_names(overrides, EverythingParameters, LargeParameters)
    chosen = parameters or LargeParameters()
    names = {item.name for item in fields(LargeParameters)}
    own = {name: overrides[name] for name in overrides if name in names}
    rest = {name: overrides[name] for name in overrides if name not in names}
    chosen = replace(chosen, **own)
    check_fields(chosen)
    if chosen.contrast_limits is not None:
        limits = checked_limits(chosen.contrast_limits)
        chosen = replace(chosen, contrast_limits=limits)
    everything = checked_parameters(chosen.everything, rest)
    for name in ('crop_layers', 'whole_image'):
        if getattr(everything, name):
            raise SegmentationError(
                f'{name}={getattr(everything, name)} embeds the image as a '
                'whole, which is impossible for a large image: leave it out. '
                'Tiles are chosen by diameter.'
            )
    return replace(chosen, everything=everything)


@dataclass(frozen=True, eq=False)
class LargePlan:
    """Tiles, scale and limits of a run on one image.

    Attributes
    ----------
    view : ImageView
        The image as the model sees it.
    grid : Grid
        Tiles of every plane.
    diameter : float or None
        Typical object diameter in level-0 pixels, given or measured.
    parameters : LargeParameters
        Parameters as given.
    """

    view: ImageView
    grid: Grid
    diameter: float | None
    parameters: LargeParameters

    @property
    def working_diameter(self) -> float | None:
        """The diameter in pixels of the working plane."""
        if self.diameter is None:
            return None
        return self.diameter / self.view.factor[0]

    @property
    def tiles(self) -> int:
        """Tiles of all planes."""
        rows, columns = self.grid.tiles
        return self.view.source.planes * rows * columns

    def manifest(self, record: ModelRecord, model_key: str) -> dict[str, Any]:
        """Return everything that affects the records, in readable form."""
        source = self.view.source
        thresholds = thresholds_for(self.parameters.everything, record)
        linking = {'link', 'link_iou', 'link_gap'}
        return {
            'image': {
                'fingerprint': source.fingerprint(),
                'shape': [source.planes, *source.shape],
            },
            'model': model_key,
            'parameters': {
                name: value
                for name, value in asdict(self.parameters).items()
                if name not in linking
            },
            'thresholds': thresholds._asdict(),
            'plan': {
                'level': self.view.level,
                'step': self.view.step,
                'contrast_limits': self.view.limits,
                'diameter': self.diameter,
                'grid': asdict(self.grid),
            },
        }


def make_plan(
    source: Source,
    model: Sam,
    parameters: LargeParameters,
    measured: float | None = None,
    between: Callable[[], None] = nothing,
) -> LargePlan:
    """Measure unset parameters, and choose level and grid.

    Parameters
    ----------
    source : Source
        The image.
    model : Sam
        Model that determines the object size if no diameter is given.
    parameters : LargeParameters
        Parameters of the run.
    measured : float, optional
        Diameter from an earlier plan of the same run, to avoid measuring
        again.
    between : callable
        Called before each window is read; may raise to stop.

    Raises
    ------
    ImageError
        If no sampled pixel is finite, or the image exceeds `LARGEST_RUN`
        tiles.
    """
    # before anything is read
    check_size(source)
    diameter = parameters.everything.diameter
    if diameter is not None:
        _check_tiles(source, _grid(source, diameter, model.record, parameters))
    limits = parameters.contrast_limits or contrast_of(source, between)
    if diameter is None:
        diameter = measured
    if diameter is None:
        seen = diameter_of(source, limits, parameters.gamma, model, between)
        # Further digits are noise, and differ between machines.
        diameter = None if seen is None else float(f'{seen:.2g}')
    level, step = _resolution(source, diameter, model.record)
    grid = _grid(source, diameter, model.record, parameters)
    _check_tiles(source, grid)
    view = ImageView(source, level, step, limits, parameters.gamma)
    return LargePlan(view, grid, diameter, parameters)


def _grid(
    source: Source,
    diameter: float | None,
    record: ModelRecord,
    parameters: LargeParameters,
) -> Grid:
    """Return the tiles of the working plane."""
    level, step = _resolution(source, diameter, record)
    view = ImageView(source, level, step, ((0.0, 1.0),), parameters.gamma)
    return plan_grid(
        view.shape,
        None if diameter is None else diameter / view.factor[0],
        record,
        parameters.everything,
    )


def _check_tiles(source: Source, grid: Grid) -> None:
    """Refuse a plan with more tiles than a run may have."""
    tiles = source.planes * math.prod(grid.tiles)
    if tiles > LARGEST_RUN:
        planes, (rows, columns) = source.planes, source.shape
        raise ImageError(
            f'The image of {planes} × {rows} × {columns} pixels (planes, '
            f'rows, columns) has {tiles:.1e} tiles, more than the '
            f'{LARGEST_RUN:,} of one run: give a part of it, or a larger '
            'diameter.'
        )


def _resolution(
    source: Source, diameter: float | None, record: ModelRecord
) -> tuple[int, int]:
    """Return level and step of the working plane."""
    if diameter is None:
        return 0, 1
    side = window_side(source.shape, diameter, record)
    coarsest = side / record.input_size
    level = max(
        index
        for index, described in enumerate(source.levels)
        if index == 0 or max(described.factor) <= coarsest
    )
    across = side / max(source.levels[level].factor)
    return level, max(1, -(-int(across) // LONGEST_SIDE))
