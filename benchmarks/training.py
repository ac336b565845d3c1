"""Measure images and prompts per second in training, and time per stage.

Uses procedural images, which need no download, in one process with torch's
default number of threads.

python benchmarks/training.py
OMP_NUM_THREADS=1 python benchmarks/training.py --half
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.training.interactive import answer_of
from napari_mobilesam.training.procedural import make_scene
from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.step_tasks import InteractiveTask
from napari_mobilesam.training.tensor_batch import (
    SampleBatch,
    collate,
    normalise,
)
from napari_mobilesam.training.train import TrainingRun
from napari_mobilesam.training.training_parameters import TrainConfig


def seconds_of(work: Callable[[], object], repeats: int) -> float:
    """Return the mean seconds of ``work``, after a warm-up."""
    work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def encoder_pass(sam: Sam, batch: SampleBatch, half: bool) -> None:
    """Run the image encoder forward and backward."""
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
        features = sam.encode(normalise(sam, batch))
    features.float().square().mean().backward()


def decoder_pass(sam: Sam, batch: SampleBatch, half: bool) -> None:
    """Decode the first point of every object, forward and backward."""
    size = sam.embedding_size
    features = torch.randn(
        len(batch.images), 256, size, size, requires_grad=True
    )
    points = batch.points[:, None]
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=half):
        prompts = sam.embed_prompts(points, torch.ones_like(points[..., 0]))
        answer = answer_of(sam, features, *prompts, batch.image_index)
    answer.logits.float().square().mean().backward()


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--input-size', type=int, default=256)
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--half', action='store_true', help='bfloat16')
    options = parser.parse_args()
    torch.manual_seed(0)
    sam = build_sam('vit_t', options.input_size)
    source = SampleSource((), options.input_size, 1.0, make_scene)
    count, repeats = options.batch_size, options.repeats
    samples = [source[i] for i in range(count)]
    batch = collate(samples, options.input_size)
    config = TrainConfig(
        steps=10**6, batch_size=count, half=options.half, warmup=1
    )
    run = TrainingRun(InteractiveTask(sam, source, corrections=0), config)
    parts = {
        'samples': seconds_of(
            lambda: [source[i] for i in range(count)], repeats
        ),
        'encoder': seconds_of(
            lambda: encoder_pass(sam, batch, options.half), repeats
        ),
        'decoder': seconds_of(
            lambda: decoder_pass(sam, batch, options.half), repeats
        ),
    }
    step = seconds_of(run.take_step, repeats)
    prompts = len(batch.label)
    print(
        f'{count / step:.1f} images and {prompts / step:.0f} prompts per '
        f'second: {step:.2f} s for a step of {count} images and {prompts} '
        f'objects, input {options.input_size}, {torch.get_num_threads()} '
        f'threads, {"bfloat16" if options.half else "float32"}.\n'
    )
    print('| part | s per step | share |')
    print('|---|---|---|')
    for name, seconds in parts.items():
        print(f'| {name} | {seconds:.2f} | {100 * seconds / step:.0f} % |')
    rest = max(0.0, step - sum(parts.values()))
    print(f'| losses, optimiser | {rest:.2f} | {100 * rest / step:.0f} % |')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
