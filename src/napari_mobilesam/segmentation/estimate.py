"""Estimate of the duration of segment everything."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Hashable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_instance,
    check_model,
    check_number,
    check_plane_shape,
)
from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.model.registry import cache_folder
from napari_mobilesam.segmentation.cost_history import CostHistory, Work
from napari_mobilesam.segmentation.cost_history import Speed as Speed
from napari_mobilesam.segmentation.crops import point_grid
from napari_mobilesam.segmentation.embedding_grid import (
    BlockKey,
    EmbeddingGrid,
)
from napari_mobilesam.segmentation.everything_plan import (
    expected_prompts,
    inputs_of,
    plan_for_shape,
)
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.mask_generator import RUN_BYTES
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.scope import checked_scope
from napari_mobilesam.text import counted, duration
from napari_mobilesam.types import STRIDE, EverythingParameters, ModelRecord

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

FILE = 'speed.json'
# Seconds after which the speed is measured again: the machine may have been
# busy.
FRESH_SECONDS = 86_400.0
# Prompts per measurement, and number of repeats, of which the fastest counts.
PROBES = 4
REPEATS = 2
# Masks drawn per prompt, averaged over validation images of nuclei; most
# points of the full grid are background.
MASKS_PER_PROMPT = {
    'watershed': 0.0,
    'head': 2.5,
    'adaptive': 1.2,
    'grid': 0.2,
}
# Relative cost of the steps on a machine that has not been measured.
USUAL_SPEED = Speed(embedding=0.3, prompt=0.007, mask=0.0015)
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


def measure_speed(model: Sam, refresh: bool = False) -> Speed:
    """Measure the cost of embeddings, prompts and masks on this machine.

    The first call takes the time of a few embeddings and prompts. The result
    is stored for a day in the cache folder, for this machine, device and kind
    of model.

    Parameters
    ----------
    model : Sam
        Model that is going to be used.
    refresh : bool
        Measure again, for instance after other work on the machine has ended.

    Returns
    -------
    Speed
        Seconds of an embedding, a prompt and a mask.
    """
    check_model(model)
    path = cache_folder().parent / FILE
    key = _key(model)
    known = _read(path)
    if not refresh and key in known:
        when, speed = known[key]
        if abs(time.time() - when) < FRESH_SECONDS:
            return speed
    speed = _measure(model)
    _write(path, {**known, key: (time.time(), speed)})
    return speed


def known_speed(model: Sam) -> Speed | None:
    """Return the result of an earlier `measure_speed`, if any."""
    known = _read(cache_folder().parent / FILE).get(_key(model))
    return None if known is None else known[1]


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


def _key(model: Sam) -> str:
    record = model.record
    return ' '.join(
        [
            platform.node(),
            platform.machine(),
            str(model.device),
            f'torch-{torch.__version__}',
            record.architecture,
            str(record.input_size),
        ]
    )


def _measure(model: Sam) -> Speed:
    size = model.input_size
    rgb = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    window = (0, 0, size, size)
    points = point_grid(window, 2)[:PROBES]
    region = Region(window, points)

    def worker(floor: float) -> RegionWorker:
        return RegionWorker(
            ImageEmbedding.of_rgb(model, rgb),
            EverythingParameters(),
            Thresholds(floor, float('-inf')),
            region,
        )

    def ask(floor: float, points: NDArray[np.float64]) -> Callable[[], object]:
        return partial(worker(floor).divide, points)

    with model.threads():
        embedding = _seconds(lambda: worker(0.0))
        asked = _seconds(ask(float('inf'), points))
        drawn = _seconds(ask(float('-inf'), points))
    prompt = asked / len(points)
    return Speed(embedding, prompt, max(0.0, drawn - asked) / len(points) / 3)


def _seconds(work: Callable[[], object]) -> float:
    least = float('inf')
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        least = min(least, time.perf_counter() - start)
    return least


def _read(path: Path) -> dict[str, tuple[float, Speed]]:
    """Return when each speed was measured; none if the file is damaged."""
    try:
        known = json.loads(path.read_text('utf-8'))
        return {
            str(key): (float(when), Speed(*map(float, speed)))
            for key, (when, *speed) in known.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, known: dict[str, tuple[float, Speed]]) -> None:
    """Store speeds by rename; an unwritable folder is not an error."""
    rows = {
        key: (when, *astuple(speed)) for key, (when, speed) in known.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps(rows, indent=1))
    except OSError:
        return
