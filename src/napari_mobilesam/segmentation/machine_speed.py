"""Speed of a model on this machine, measured once a day."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_model
from napari_mobilesam.files import write_text_atomic
from napari_mobilesam.model.registry import cache_folder
from napari_mobilesam.segmentation.cost_history import Speed
from napari_mobilesam.segmentation.crops import point_grid
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

FILE = 'speed.json'
# Seconds after which the speed is measured again: the machine may have been
# busy.
FRESH_SECONDS = 86_400.0
# Prompts per measurement, and number of repeats, of which the fastest counts.
PROBES = 4
REPEATS = 2
# Relative cost of the steps on a machine that has not been measured.
USUAL_SPEED = Speed(embedding=0.3, prompt=0.007, mask=0.0015)


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
