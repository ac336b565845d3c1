"""Measure time and memory relative to the reference implementation.

Both run alternately in one process, with the same weights and number of
threads, so that other load affects both; ratios are more meaningful than
times. Weights are the pseudo-random ones of the tests and those of the bundled
model, both with inputs of 1024 pixels.

The reference is not part of this project and never copied into it:

git clone https://github.com/ChaoningZhang/MobileSAM
pip install timm torchvision
python benchmarks/reference.py --reference MobileSAM
python benchmarks/reference.py --reference MobileSAM --points 32

Without ``--reference``, only this project is measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam, build_sam

TESTS = Path(__file__).resolve().parents[1] / 'tests'
SIDE = 1024
WEIGHTS = ('pseudo-random', 'bundled')
# Thresholds of the golden outputs, as pseudo-random scores are low.
PSEUDO_RANDOM_THRESHOLDS = {'predicted_iou': 0.55, 'stability': 0.35}

Work = Callable[[], object]


class Ratio(NamedTuple):
    """One row of the table, in seconds or MB."""

    what: str
    reference: float | None
    ours: float
    unit: str

    def __str__(self) -> str:
        reference, ratio = 'not run', ''
        if self.reference is not None:
            reference = f'{self.reference:.3g} {self.unit}'
            ratio = f'{self.reference / self.ours:.1f}'
        return (
            f'| {self.what} | {reference} | {self.ours:.3g} {self.unit} | '
            f'{ratio} |'
        )


def image_and_weights(
    weights: str,
) -> tuple[NDArray[np.uint8], dict[str, torch.Tensor], dict[str, Any]]:
    """Return a 1024 x 1024 RGB image, a state dict and mask thresholds."""
    if weights == 'pseudo-random':
        sys.path.insert(0, str(TESTS))
        image = importlib.import_module('reference.image')
        filler = importlib.import_module('reference.weights')
        manifest = TESTS / 'reference' / 'state_dict_manifest.json'
        return (
            image.golden_image(SIDE, SIDE),
            filler.make_state_dict(manifest),
            PSEUDO_RANDOM_THRESHOLDS,
        )
    from napari_mobilesam.sample_data import read_sample

    model = nm.load_model('mobile_sam_cells', device='cpu')
    sample = read_sample('nuclei')
    repeats = [-(-SIDE // length) for length in sample.shape[:2]]
    gray = np.tile(sample.reshape(*sample.shape[:2], -1)[..., 0], repeats)
    rgb = np.repeat(gray[:SIDE, :SIDE, None], 3, axis=2)
    record = model.record
    model.remove_instance_head()  # the reference has none
    state = model.state_dict()
    return (
        np.ascontiguousarray(rgb.astype(np.uint8)),
        state,
        {'predicted_iou': record.predicted_iou, 'stability': record.stability},
    )


class Ours:
    """Measured operations of this project."""

    name = 'ours'

    def __init__(self, weights: str) -> None:
        self.image, state, self.thresholds = image_and_weights(weights)
        self.model: Sam = build_sam('vit_t', SIDE)
        self.model.load_state_dict(state)
        self.model.eval().requires_grad_(False)
        self.shipped = nm.load_model('mobile_sam_cells', device='cpu')
        self.predictor = nm.Predictor(self.model)
        self.embedding = self.predictor.embed_window(self.image)

    def embed(self) -> object:
        return self.predictor.embed_window(self.image)

    def click(self) -> object:
        return self.predictor.predict(
            self.embedding, points=[[SIDE / 2, SIDE / 2]]
        )

    def click_to_mask(self) -> object:
        return self.predictor.predict(
            self.embedding, points=[[SIDE / 2, SIDE / 2]]
        ).masks

    def everything(self, points: int, crop_layers: int) -> int:
        masks = nm.generate_masks(
            self.image,
            self.model,
            points_per_side=points,
            crop_layers=crop_layers,
            whole_image=True,
            adaptive=False,
            **self.thresholds,
        )
        return len(masks)

    def everything_as_shipped(self, points: int) -> int:
        """Use the bundled model with its instance head and all defaults."""
        return len(nm.generate_masks(self.image, self.shipped))


class Reference:
    """The same operations in a checkout of ChaoningZhang/MobileSAM."""

    name = 'reference'

    def __init__(self, weights: str, checkout: Path) -> None:
        self.image, state, thresholds = image_and_weights(weights)
        self.thresholds = {
            'pred_iou_thresh': thresholds['predicted_iou'],
            'stability_score_thresh': thresholds['stability'],
        }
        sys.path.insert(0, str(checkout))
        self.package = importlib.import_module('mobile_sam')
        self.model = self.package.sam_model_registry['vit_t']()
        self.model.load_state_dict(state)
        # eval() computes the attention biases, so call it after loading
        self.model.train()
        self.model.eval()
        self.predictor = self.package.SamPredictor(self.model)
        self.embed()
        self.point = np.array([[SIDE / 2, SIDE / 2]])

    def embed(self) -> object:
        return self.predictor.set_image(self.image)

    @torch.no_grad()
    def click(self) -> object:
        prompts = self.model.prompt_encoder
        points = torch.from_numpy(self.point)[None].float()
        sparse, dense = prompts(
            points=(points, torch.ones(1, 1)), boxes=None, masks=None
        )
        return self.model.mask_decoder(
            image_embeddings=self.predictor.features,
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

    def click_to_mask(self) -> object:
        return self.predictor.predict(self.point, np.ones(1))

    def everything(self, points: int, crop_layers: int) -> int:
        generator = self.package.SamAutomaticMaskGenerator(
            self.model,
            points_per_side=points,
            crop_n_layers=crop_layers,
            crop_n_points_downscale_factor=2,
            **self.thresholds,
        )
        return len(generator.generate(self.image))

    def everything_as_shipped(self, points: int) -> int:
        """Use the automatic mode, a grid of points."""
        return self.everything(points, 0)


def in_turns(
    works: dict[str, Work],
    repeats: int,
    warm_up: bool,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Return the median seconds of functions that run alternately."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + warm_up):
        for name, work in works.items():
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return {
        name: statistics.median(spent[int(warm_up) :])
        for name, spent in seconds.items()
    }


def compare(weights: str, options: argparse.Namespace) -> Iterator[Ratio]:
    """Measure with one set of weights."""
    sides: list[Any] = [Ours(weights)]
    if options.reference is not None:
        sides.insert(0, Reference(weights, options.reference))

    def row(what: str, method: str, repeats: int, *given: int) -> Ratio:
        works: dict[str, Work] = {
            side.name: partial(getattr(side, method), *given) for side in sides
        }
        # long runs need no warm-up
        spent = in_turns(works, repeats, not given, clock)
        return Ratio(
            f'{what}; {weights}', spent.get('reference'), spent['ours'], 's'
        )

    clock = time.process_time if options.cpu_time else time.perf_counter
    repeats, points = options.repeats, options.points
    yield row('image to embedding', 'embed', repeats)
    yield row('one click, logits', 'click', 3 * repeats)
    yield row('one click, three 1024² masks', 'click_to_mask', 3 * repeats)
    what = f'everything, {points} × {points}'
    for layers in sorted({0, options.crop_layers}):
        crops = f', {layers} crop layers' if layers else ''
        runs = max(1, repeats // 3)
        yield row(f'{what}{crops}', 'everything', runs, points, layers)
    if weights == 'bundled':
        what_shipped = f'everything, {points} × {points} against our default'
        yield row(what_shipped, 'everything_as_shipped', 1, points)
    peaks = {side.name: peak_memory(side.name, options) for side in sides}
    yield Ratio(
        f'peak memory, {what}', peaks.get('reference'), peaks['ours'], 'MB'
    )


def peak_memory(side: str, options: argparse.Namespace) -> float:
    """Return the peak resident MB of a process that segments everything."""
    command = [sys.executable, __file__, '--alone', side]
    command += ['--points', str(options.points)]
    if options.reference is not None:
        command += ['--reference', str(options.reference)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)['peak_mb'])


def run_alone(options: argparse.Namespace) -> None:
    """Segment everything once and print the peak memory as JSON."""
    side: Any = (
        Ours(WEIGHTS[0])
        if options.alone == 'ours'
        else Reference(WEIGHTS[0], options.reference)
    )
    side.everything(options.points, 0)
    print(json.dumps({'peak_mb': own_peak()}))


def own_peak() -> float:
    """Return the peak resident MB of this process."""
    status = Path('/proc/self/status')
    if status.exists():
        # not ru_maxrss, which starts with the peak of the parent process
        line = next(
            line
            for line in status.read_text().splitlines()
            if line.startswith('VmHWM')
        )
        return int(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in kilobytes, on macOS in bytes
    return peak / (1e6 if sys.platform == 'darwin' else 1e3)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--reference', type=Path, metavar='PATH')
    parser.add_argument(
        '--points', type=int, default=8, help='points per side (32 in SAM)'
    )
    parser.add_argument('--crop-layers', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='measure CPU time of all threads, for a machine with other load; '
        'set OMP_NUM_THREADS=1, or waiting threads count as well',
    )
    parser.add_argument('--weights', choices=WEIGHTS, action='append')
    parser.add_argument('--alone', help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.reference is not None:
        options.reference = options.reference.resolve()
        if not (options.reference / 'mobile_sam').is_dir():
            parser.error(f'{options.reference} has no folder mobile_sam')
    return options


def main() -> int:
    """Print a Markdown table."""
    options = parse_options()
    if options.alone:
        run_alone(options)
        return 0
    if options.reference is None:
        print(
            'No --reference PATH (a checkout of ChaoningZhang/MobileSAM): '
            'only this project is measured.\n'
        )
    print('| what | reference | ours | ratio |')
    print('|---|---|---|---|')
    for weights in options.weights or WEIGHTS:
        for row in compare(weights, options):
            print(row, flush=True)
    clock = 'Processor' if options.cpu_time else 'Wall clock'
    print(
        f'\n{clock} time, threads at hand: {torch.get_num_threads()}, torch '
        f'{torch.__version__}, {platform.machine()}'
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
