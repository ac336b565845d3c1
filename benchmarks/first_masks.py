"""Measure the time to the first masks of *segment everything*.

A mosaic of the nuclei sample, as a large image in memory, is segmented block
by block, and with all blocks embedded before the first prompt, alternating in
one run.

python benchmarks/first_masks.py --side 3000 4096
python benchmarks/first_masks.py --side 4096 --watershed
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.sample_data import read_sample
from napari_mobilesam.segmentation import plan_parts
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.training.metrics import iou_matrix, match

WAYS = {'by blocks': plan_parts.WHOLE_CELLS, 'as a whole': sys.maxsize}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--side', type=int, nargs='+', default=[3000, 4096])
    parser.add_argument('--watershed', action='store_true')
    parser.add_argument('--model', default='mobile_sam_cells')
    return parser


def mosaic(
    side: int, sample: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return a (side, side) mosaic of the randomly flipped nuclei sample."""
    if sample is None:
        sample = np.asarray(read_sample('nuclei'))
    height, width = sample.shape[:2]
    rng = np.random.default_rng(0)
    image = np.zeros((side, side), sample.dtype)
    for row in range(0, side, height):
        for column in range(0, side, width):
            tile = sample[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
            part = image[row : row + height, column : column + width]
            part[:] = tile[: part.shape[0], : part.shape[1]]
    return image


def measure(
    model: Sam, image: NDArray[np.uint8], watershed: bool
) -> tuple[dict[str, float], NDArray[np.int32]]:
    """Return seconds to the first masks and in total, and the labels."""
    started = time.perf_counter()
    first: list[float] = []

    def on_masks(masks: object) -> None:
        first.append(time.perf_counter() - started)

    candidates = generate_candidates(
        image, model, on_masks=on_masks, watershed=watershed
    )
    seconds = time.perf_counter() - started
    labels, _ = candidates.paint()
    row = {
        'first masks': first[0] if first else float('nan'),
        'seconds': seconds,
        'objects': int(labels.max()),
    }
    return row, labels.astype(np.int32)


def compare(model: Sam, side: int, watershed: bool) -> pd.DataFrame:
    """Return one row per way, with F1 relative to the other way."""
    image = mosaic(side)
    rows, found = [], []
    for name, cells in WAYS.items():
        plan_parts.WHOLE_CELLS = cells
        row, labels = measure(model, image, watershed)
        rows.append({'side': side, 'way': name, **row})
        found.append(labels)
    plan_parts.WHOLE_CELLS = WAYS['by blocks']
    same = match(iou_matrix(*found)).f1
    return pd.DataFrame(rows).assign(F1=same)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    options = build_parser().parse_args(arguments)
    model = nm.load_model(options.model)
    # warm up: the decoder is recorded once
    measure(model, mosaic(400), options.watershed)
    tables = [compare(model, side, options.watershed) for side in options.side]
    print(pd.concat(tables).round(2).to_string(index=False))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
