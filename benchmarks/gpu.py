"""Measure times on a GPU: embed, click, segment everything.

The official model with 1024 pixel input has untrained weights, as times do not
depend on their values. Segment everything, where they do, uses the bundled
weights at that size.

python benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import napari_mobilesam as nm
from napari_mobilesam.model.precision import half_precision, products_in
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.sample_data import read_sample

SIDE = 1024


def median_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of ``work``, including GPU work."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


@torch.no_grad()
def encoder_rate(model: Sam, images: int, repeats: int) -> float:
    """Return images per second of the image encoder, in batches."""
    side, device = model.input_size, model.device
    batch = torch.randn(images, 3, side, side, device=device)
    half = half_precision(device)

    def encode() -> None:
        with products_in(half, device):
            model.image_encoder(batch)

    return 1000 * images / median_ms(encode, repeats)


def prompt_row(name: str, model: Sam, repeats: int) -> str:
    """Return a row with times to embed an input and to answer a click."""
    predictor = nm.Predictor(model)
    side = model.input_size
    image = np.random.default_rng(0).integers(
        0, 256, (side, side, 3), dtype=np.uint8
    )
    embedding = predictor.embed_window(image)
    place = [[side / 2, side / 2]]
    embed = median_ms(lambda: predictor.embed_window(image), repeats)
    click = median_ms(
        lambda: predictor.predict(embedding, points=place), repeats
    )
    batch = 16 * (SIDE // side) ** 2
    rate = encoder_rate(model, batch, repeats)
    return (
        f'| {name} | {side} | {embed:.1f} ms | {click:.1f} ms | '
        f'{rate:.0f} images/s in batches of {batch} |'
    )


def everything_rows(bundled: Sam, repeats: int) -> list[str]:
    """Return rows for segment everything on a mosaic of the nuclei sample."""
    sample = read_sample('nuclei')
    gray = sample.reshape(*sample.shape[:2], -1)[..., 0]
    tiles = [-(-SIDE // length) for length in gray.shape]
    mosaic = np.tile(gray, tiles)[:SIDE, :SIDE]
    official = build_sam(record=replace(bundled.record, input_size=SIDE))
    official.load_state_dict(bundled.state_dict())
    official.to(bundled.device).eval().requires_grad_(False)
    record = bundled.record
    found: list[int] = []

    def grid() -> None:
        masks = nm.generate_masks(
            mosaic,
            official,
            points_per_side=32,
            whole_image=True,
            adaptive=False,
            instance_head=False,
            predicted_iou=record.predicted_iou,
            stability=record.stability,
        )
        found.append(len(masks))

    def default() -> None:
        found.append(len(nm.segment_everything(mosaic, bundled)[1]))

    rows = []
    for what, work in (
        (f'32 x 32 points, input {SIDE}', grid),
        (f'default, input {record.input_size}', default),
    ):
        seconds = median_ms(work, repeats) / 1000
        rows.append(f'| {what} | {seconds:.2f} s | {found[-1]} |')
    return rows


def main() -> int:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--model', default='mobile_sam_cells')
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error('there is no CUDA device')
    print(torch.cuda.get_device_name())
    bundled = nm.load_model(options.model, 'cuda')
    official = build_sam('vit_t').to('cuda').eval().requires_grad_(False)
    print('| model | input | embed | click | encoder |\n|---|---|---|---|---|')
    print(prompt_row('mobile_sam', official, options.repeats))
    print(prompt_row(bundled.record.name, bundled, options.repeats))
    print(f'\n| everything, {SIDE} x {SIDE} | time | objects |\n|---|---|---|')
    print('\n'.join(everything_rows(bundled, max(1, options.repeats // 5))))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
