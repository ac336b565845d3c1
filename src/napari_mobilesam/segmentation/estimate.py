"""Estimate of the duration of segment everything."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from napari_mobilesam.argument_checks import (
    check_instance,
    check_number,
    check_plane_shape,
)
from napari_mobilesam.segmentation.cost_history import CostHistory, Speed, Work
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.everything_plan import (
    expected_prompts,
    inputs_of,
    plan_for_shape,
)
from napari_mobilesam.segmentation.mask_generator import RUN_BYTES
from napari_mobilesam.segmentation.scope import checked_scope
from napari_mobilesam.text import counted, duration
from napari_mobilesam.types import STRIDE, EverythingParameters, ModelRecord

# Masks drawn per prompt, averaged over validation images of nuclei; most
# points of the full grid are background.
MASKS_PER_PROMPT = {
    'watershed': 0.0,
    'head': 2.5,
    'adaptive': 1.2,
    'grid': 0.2,
}
# Peak memory: Python with torch, working memory of encoder and decoder per
# pixel of a block, features kept, and the image with its derived arrays.
BASE_BYTES = 350_000_000
BYTES_PER_INPUT_PIXEL = {'vit_t': 160}
BYTES_PER_INPUT_PIXEL_OF_VIT = 1600
BYTES_PER_CELL = 2 * 256
BYTES_PER_IMAGE_PIXEL = 16


@dataclass(frozen=True)
class Estimate:
    """Expected cost of a run; ``str`` gives a readable line.

    Attributes
    ----------
    prompts : int
        Prompts asked; 0 for a watershed.
    windows : int
        Pixels embedded, in units of the model's input.
    seconds : float
        Time.
    memory_bytes : int
        Peak memory of the process.
    diameter : float or None
        Object diameter in data pixels that the run is scaled for; None if it
        works on the whole image.
    """

    prompts: int
    windows: int
    seconds: float
    memory_bytes: int
    diameter: float | None = None

    def __str__(self) -> str:
        prompts = (
            counted(self.prompts, 'prompt') if self.prompts else 'No prompts'
        )
        return (
            f'{prompts}, '
            f'about {duration(self.seconds)}, '
            f'{self.memory_bytes / 1e9:.1f} GB'
        )


def expected_work(
    image_shape: tuple[int, int],
    record: ModelRecord,
    parameters: EverythingParameters,
    region: Any = None,
    *,
    skip: Any = None,
    diameter: float | None = None,
    density: float | None = None,
    embedded: Callable[[BlockKey], bool] | None = None,
) -> Work:
    """Return the average work of runs like this; see `estimate_run`."""
    check_plane_shape('image_shape', image_shape)
    check_instance('record', record, ModelRecord, optional=False)
    check_instance(
        'parameters', parameters, EverythingParameters, optional=False
    )
    if diameter is not None:
        check_number('diameter', diameter, 1e-6, 1e9)
    scope = checked_scope(image_shape, region, skip)
    plan = plan_for_shape(
        image_shape, record, parameters, scope, diameter, embedded, density
    )
    return Work(
        expected_prompts(plan),
        plan.inputs,
        MASKS_PER_PROMPT[plan.source],
        inputs_of(plan.regions, image_shape, record),
    )


def estimate_run(
    image_shape: tuple[int, int],
    record: ModelRecord,
    parameters: EverythingParameters,
    speed: Speed,
    region: Any = None,
    *,
    skip: Any = None,
    diameter: float | None = None,
    density: float | None = None,
    experience: CostHistory | None = None,
    what: Hashable = None,
    embedded: Callable[[BlockKey], bool] | None = None,
) -> Estimate:
    """Estimate time and memory of a run without reading the image.

    Parameters
    ----------
    image_shape : tuple of int
        (H, W).
    record : ModelRecord
        Model that is going to be used.
    parameters : EverythingParameters
        Parameters of the run.
    speed : Speed
        Of `measure_speed`.
    region, skip : optional
        As in `generate_candidates`.
    diameter : float, optional
        Object diameter in data pixels found by `find_diameters`; without it,
        windows are planned only for a diameter given in the parameters.
    density : float, optional
        Objects per data pixel, from `seen_density`; without it, a model with
        an instance head is expected to see many.
    experience : CostHistory, optional
        Cost of earlier runs.
    what : hashable
        Identifies image and parameters; see `CostHistory.work`.
    embedded : callable, optional
        ``embedded(block)`` tells whether a large block is embedded already.

    Returns
    -------
    Estimate
        Prompts, windows, seconds and bytes.

    Raises
    ------
    SegmentationError
        If the shape is not (H, W), or region or skip do not suit it.
    """
    check_instance('speed', speed, Speed, optional=False)
    work = expected_work(
        image_shape,
        record,
        parameters,
        region,
        skip=skip,
        diameter=diameter,
        density=density,
        embedded=embedded,
    )
    memory = _peak_bytes(image_shape, record, work.looked_at)
    pace = 1.0
    if experience is not None:
        work, pace = experience.work(work, what), experience.pace
    seconds = pace * work.seconds_of_run(speed)
    return Estimate(
        0 if parameters.watershed else work.prompts,
        work.windows,
        seconds,
        memory,
        diameter or parameters.diameter,
    )


def _peak_bytes(
    image_shape: tuple[int, int], record: ModelRecord, inputs: int
) -> int:
    """Return the peak memory of a run over this many model inputs."""
    grid = EmbeddingGrid(image_shape, record)
    cells = inputs * grid.cells**2
    block = min(cells, grid.most_cells**2) * STRIDE**2
    per_pixel = BYTES_PER_INPUT_PIXEL.get(
        record.architecture, BYTES_PER_INPUT_PIXEL_OF_VIT
    )
    return (
        BASE_BYTES
        + record.size_bytes
        + per_pixel * block
        + min(BYTES_PER_CELL * cells, RUN_BYTES)
        + BYTES_PER_IMAGE_PIXEL * image_shape[0] * image_shape[1]
    )
