"""Measure memory, time, workers and seams of segmenting large images.

memory   peak memory for small and large images, each in its own process
cost     seconds per tile of a run, compared with single tiles
workers  two workers compared with one
field    time, memory and objects in mosaics of the nuclei sample
seams    F1 of the same objects on and off a seam, in mosaics of labelled
         images over which the grid is shifted

python benchmarks/large.py memory --sides 5000 20000
python benchmarks/large.py field --sides 2048 12000 --scale 0.5
python benchmarks/large.py seams --images 4 --shifts 3

Compare ratios, as seconds depend on the machine and its load.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import first_masks
import numpy as np
import pandas as pd
from labelled_data import DATA
from PIL import Image
from skimage.transform import rescale

from napari_mobilesam.large.io.interfaces import Level
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.large_plan import checked_large, make_plan
from napari_mobilesam.large.model_references import NamedModel
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.large.propose import Proposer, grid_task
from napari_mobilesam.large.tiling import TileBlock
from napari_mobilesam.sample_data import read_sample
from napari_mobilesam.types import Window

MODEL = 'mobile_sam_cells'
BLOCK = 1024
DEPTH = 5
RADIUS = 28


@dataclass(frozen=True)
class Wallpaper:
    """Image with discs in some blocks, and black elsewhere.

    Attributes
    ----------
    side : int
        Rows and columns of the image.
    every : int
        One in this many blocks has objects.
    """

    side: int
    every: int
    planes: int = 1
    rgb: bool = False
    dtype: Any = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        return self.side, self.side

    @property
    def levels(self) -> tuple[Level, ...]:
        return tuple(
            Level((2.0**n, 2.0**n), (-(-self.side // 2**n),) * 2)
            for n in range(DEPTH)
        )

    def fingerprint(self) -> str:
        return f'{self.side}/{self.every}'

    def read(self, plane: int, level: int, window: Window) -> np.ndarray:
        step = 2**level
        rows = np.arange(window[0], window[2]) * step
        columns = np.arange(window[1], window[3]) * step
        block = pattern()[rows % BLOCK][:, columns % BLOCK]
        number = (rows // BLOCK)[:, None] * 7 + (columns // BLOCK)[None] * 3
        return np.where(number % self.every == 0, block, np.uint8(0))


@lru_cache
def pattern() -> np.ndarray:
    """Return a block of bright discs of sizes around `RADIUS` on black."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((BLOCK, BLOCK))
    block = np.zeros((BLOCK, BLOCK), np.uint8)
    pitch = 4 * RADIUS
    for row in range(pitch // 2, BLOCK - pitch // 2, pitch):
        for column in range(pitch // 2, BLOCK - pitch // 2, pitch):
            radius = RADIUS + random.integers(-8, 9)
            away = (rows - row) ** 2 + (columns - column) ** 2
            block[away < radius**2] = random.integers(120, 256)
    return block


def segment(image: Any, **options: Any) -> tuple[Any, float]:
    """Segment into a temporary folder; return the result and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        result = segment_large(
            image,
            Path(folder) / 'labels.ome.zarr',
            MODEL,
            diameter=2.0 * RADIUS,
            **options,
        )
        return result, time.perf_counter() - begun


def one_run(options: argparse.Namespace) -> int:
    """Segment one image and print the peak memory, for `memory`."""
    image = Wallpaper(options.side, options.every)
    result, seconds = segment(image, executor='serial')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                'side': options.side,
                'peak_mb': round(peak),
                'seconds': round(seconds),
                'tiles': result.tiles,
                'with_objects': result.tiles - result.skipped,
                'objects': len(result.table),
            }
        )
    )
    return 0


def memory(options: argparse.Namespace) -> int:
    """Measure peak memory for images of several sizes."""
    print('| side | peak memory | tiles | of them not empty | objects |')
    print('|---|---|---|---|---|')
    peaks = []
    for side in options.sides:
        done = subprocess.run(
            [sys.executable, __file__, 'one-run', '--side', str(side)]
            + ['--every', str(options.every)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        run = json.loads(done.stdout.splitlines()[-1])
        peaks.append(run['peak_mb'])
        print(
            f'| {side} | {run["peak_mb"]} MB | {run["tiles"]} | '
            f'{run["with_objects"]} | {run["objects"]} |',
            flush=True,
        )
    print(f'\nLargest to smallest: {peaks[-1] / peaks[0]:.2f}.')
    return 0


def cost(options: argparse.Namespace) -> int:
    """Compare seconds per tile of a whole run with single tiles."""
    image = Wallpaper(options.side, 1)
    alone = [time_tiles(image, options.tiles)]
    result, seconds = segment(image, executor='serial')
    alone.append(time_tiles(image, options.tiles))
    per_tile, single = seconds / result.tiles, float(np.mean(alone))
    print(
        f'{result.tiles} tiles of {options.side} x {options.side} pixels: '
        f'{1000 * per_tile:.0f} ms each, cut objects, duplicates and writing '
        f'included; a tile by itself {1000 * single:.0f} ms: '
        f'{per_tile / single:.2f}.'
    )
    return 0


def time_tiles(image: Wallpaper, count: int) -> float:
    """Return the mean seconds of single inner tiles of an image."""
    load = NamedModel(MODEL)
    parameters = checked_large(None, {'diameter': 2.0 * RADIUS})
    model = load()
    plan = make_plan(image, model, parameters)
    rows, columns = plan.grid.tiles
    tiles = [(r, c) for r in range(1, rows - 1) for c in range(1, columns - 1)]
    step = max(1, len(tiles) // count)
    tasks = [
        grid_task(plan.grid, TileBlock(0, *tile, (tile,)))
        for tile in tiles[::step][:count]
    ]
    with tempfile.TemporaryDirectory() as folder:
        propose = Proposer(
            plan.view,
            plan.grid,
            plan.working_diameter,
            Path(folder),
            load,
            model.key,
            parameters.everything,
        )
        propose(tasks[0])
        begun = time.perf_counter()
        for task in tasks:
            propose(task)
        return (time.perf_counter() - begun) / len(tasks)


def workers(options: argparse.Namespace) -> int:
    """Compare two workers with one, each on one thread."""
    image = Wallpaper(options.side, 1)
    seconds: dict[int, float] = {}
    for count in (1, 2, 1, 2):
        _, taken = segment(image, executor=options.executor, workers=count)
        seconds[count] = min(taken, seconds.get(count, taken))
    print(
        f'{options.executor}: one {seconds[1]:.1f} s, two {seconds[2]:.1f} '
        f's: {seconds[1] / seconds[2]:.2f} times as fast, starting included.'
    )
    return 0


def field(options: argparse.Namespace) -> int:
    """Measure time, memory and objects in mosaics of the nuclei sample."""
    sample = rescale(read_sample('nuclei'), options.scale, preserve_range=True)
    print(
        '| side | objects | tiles | processor | per megapixel | clock | MB |'
    )
    print('|---|---|---|---|---|---|---|')
    for side in options.sides:
        image = first_masks.mosaic(side, sample.astype(np.uint8))
        begun, used = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / 'labels.ome.zarr'
            result = segment_large(image, output, MODEL)
        seconds = time.perf_counter() - begun
        used = time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f'| {side} | {len(result.table)} | {result.tiles} | {used:.0f} s '
            f'| {used / (side / 1000) ** 2:.1f} s | {seconds:.0f} s '
            f'| {peak:.0f} |',
            flush=True,
        )
    return 0


def seams(options: argparse.Namespace) -> int:
    """Compare how often objects are found on and off a seam.

    The grid is shifted over the same objects. Only objects count that are on
    a seam at one shift and off all seams at another, as large objects meet
    more seams and are easier to find.
    """
    image, truth = mosaic(options.data, options.split, options.images)
    count = int(truth.max()) + 1
    # For each object: counts off and on a seam, and times found there.
    seen, found = np.zeros((2, count)), np.zeros((2, count))
    false = total = 0
    for number in range(options.shifts):
        shift = number * options.step
        wide = np.pad(image, ((shift, 0), (shift, 0)), mode='reflect')
        result = segment_large(
            wide, model=MODEL, executor='threads', diameter=options.diameter
        )
        labels = np.asarray(result.labels)[shift:, shift:]
        near = seam_pixels(wide, options.diameter)[shift:, shift:]
        on_seam = np.bincount(truth[near], minlength=count) > 0
        hit, wrong, objects = match(truth, labels, count)
        for state, chosen in enumerate((~on_seam, on_seam)):
            seen[state] += chosen
            found[state] += chosen & hit
        false, total = false + wrong, total + objects
    both = (seen[0] > 0) & (seen[1] > 0)
    both[0] = False
    share = (found[:, both] / seen[:, both]).mean(axis=1)
    precision = 1 - false / total
    off, on = (2 * precision * r / (precision + r) for r in share)
    print(
        f'{options.images} images, {options.shifts} places of the grid, '
        f'{np.count_nonzero(both)} objects: found {share[0]:.3f} off and '
        f'{share[1]:.3f} on a seam; F1 {off:.3f} and {on:.3f}.'
    )
    return 0


def mosaic(
    data: Path, split: str, images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mosaic of fluorescence images of one size, and labels."""
    manifest = pd.read_csv(data / 'MANIFEST.csv')
    chosen = manifest[
        (manifest['dataset'] == 'dsb2018')
        & (manifest['split'] == split)
        & (manifest['modality'] == 'fluorescence')
        & (manifest['height'] == 256)
        & (manifest['width'] == 256)
    ]
    across = int(images**0.5)
    image = np.zeros((256 * across,) * 2, np.uint8)
    truth = np.zeros(image.shape, np.int64)
    for number, name in enumerate(chosen['id'].iloc[: across**2]):
        row, column = (256 * place for place in divmod(number, across))
        here = (slice(row, row + 256), slice(column, column + 256))
        stem = data / 'dsb2018' / name
        gray = np.asarray(
            Image.open(f'{stem}_image.png').convert('L'), np.float64
        )
        low, high = np.percentile(gray, [1, 99.8])
        image[here] = np.clip((gray - low) / (high - low) * 255, 0, 255)
        labels = np.asarray(Image.open(f'{stem}_labels.png'), np.int64)
        truth[here] = np.where(labels > 0, labels + truth.max(), 0)
    return image, truth


def seam_pixels(image: np.ndarray, diameter: float) -> np.ndarray:
    """Return the pixels where the cores of two tiles meet."""
    model = NamedModel(MODEL)()
    parameters = checked_large(None, {'diameter': diameter})
    grid = make_plan(open_source(image), model, parameters).grid
    near = np.zeros(image.shape, bool)
    for row in range(grid.tiles[0]):
        near[grid.core(row, 0)[0] - 1 : grid.core(row, 0)[0] + 1] |= row > 0
    for column in range(grid.tiles[1]):
        edge = grid.core(0, column)[1]
        near[:, max(0, edge - 1) : edge + 1] |= column > 0
    return near


def match(
    truth: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, int, int]:
    """Return which true objects are found, false labels and all labels."""
    size = int(labels.max()) + 1
    shared = np.bincount(
        (truth * size + labels).ravel(), minlength=count * size
    ).reshape(count, size)
    union = shared.sum(1)[:, None] + shared.sum(0)[None] - shared
    same = shared[1:, 1:] / np.maximum(union[1:, 1:], 1) > 0.5
    there = shared[:, 1:].sum(0) > 0
    false = np.count_nonzero(there & ~same.any(axis=0))
    hit = np.concatenate([[False], same.any(axis=1)])
    return hit, int(false), int(np.count_nonzero(there))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar='WHAT')
    command = commands.add_parser('memory', help=memory.__doc__)
    command.add_argument('--sides', type=int, nargs='+', default=[5000, 20000])
    command.add_argument('--every', type=int, default=40)
    command.set_defaults(run=memory)
    command = commands.add_parser('one-run', help=one_run.__doc__)
    command.add_argument('--side', type=int, required=True)
    command.add_argument('--every', type=int, default=40)
    command.set_defaults(run=one_run)
    command = commands.add_parser('cost', help=cost.__doc__)
    command.add_argument('--side', type=int, default=2048)
    command.add_argument('--tiles', type=int, default=20)
    command.set_defaults(run=cost)
    command = commands.add_parser('workers', help=workers.__doc__)
    command.add_argument('--side', type=int, default=2048)
    command.add_argument('--executor', default='processes')
    command.set_defaults(run=workers)
    command = commands.add_parser('field', help=field.__doc__)
    command.add_argument('--sides', type=int, nargs='+', default=[2048])
    command.add_argument(
        '--scale', type=float, default=0.5, help='scale of the nuclei sample'
    )
    command.set_defaults(run=field)
    command = commands.add_parser('seams', help=seams.__doc__)
    command.add_argument('--data', type=Path, default=DATA)
    command.add_argument('--split', default='test')
    command.add_argument('--images', type=int, default=4)
    command.add_argument('--shifts', type=int, default=3)
    command.add_argument(
        '--step', type=int, default=11, help='pixels between shifts'
    )
    command.add_argument('--diameter', type=float, default=18)
    command.set_defaults(run=seams)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one measurement."""
    options = build_parser().parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == '__main__':
    sys.exit(main())
