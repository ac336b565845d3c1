"""Measure the time to embed, to answer a click, and to segment everything.

Ratios between the rows of one run are more meaningful than seconds, which
depend on the machine. The official size is timed with untrained weights, as
times do not depend on their values. Segment everything, which depends on the
number of masks that pass, is timed only with the bundled model.

python benchmarks/speed.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.sample_data import read_sample


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of ``work``, after a warm-up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def time_prompts(model: Sam, repeats: int) -> tuple[float, float]:
    """Return milliseconds to embed an input and to answer a click."""
    predictor = nm.Predictor(model)
    side = model.input_size
    image = np.random.default_rng(0).integers(
        0, 256, (side, side, 3), dtype=np.uint8
    )
    embedding = predictor.embed_window(image)
    return (
        median_ms(lambda: predictor.embed_window(image), repeats),
        median_ms(
            lambda: predictor.predict(
                embedding, points=[[side / 2, side / 2]]
            ).mask(),
            repeats,
        ),
    )


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=9)
    repeats = parser.parse_args().repeats
    bundled = nm.load_model('mobile_sam_cells')
    official = build_sam('vit_t').eval().requires_grad_(False)
    print('| model | input | embed | click to mask |')
    print('|---|---|---|---|')
    for name, model in (
        ('mobile_sam_cells', bundled),
        ('mobile_sam (untrained weights)', official),
    ):
        embed, click = time_prompts(model, repeats)
        print(
            f'| {name} | {model.input_size} | {embed:.0f} ms | '
            f'{click:.0f} ms |'
        )
    image = read_sample('nuclei')
    found = []

    def everything() -> None:
        found.append(len(nm.segment_everything(image, bundled)[1]))

    seconds = median_ms(everything, 1) / 1000
    print(
        f'\nSegment everything, {bundled.record.name}, the nuclei sample '
        f'({image.shape[0]} × {image.shape[1]}), defaults: {seconds:.1f} s, '
        f'{found[-1]} objects.'
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
