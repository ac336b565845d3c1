"""Comparison of the full and the adaptive grid of prompts.

Every image is segmented both ways, one after the other, and compared with
its labels: prompts asked, seconds of the processor, average precision and
recall. The aim of the adaptive mode is 97 % of the full grid's at 20 % of its
prompts.

python benchmarks/everything.py --split test --markdown everything.md
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import napari_mobilesam as nm
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.parameter_fields import parameter_fields
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.training.dataset import LabelledImage, read_folder
from napari_mobilesam.training.metrics import THRESHOLDS, iou_matrix, match
from napari_mobilesam.types import EverythingParameters, SegmentationError

ROOT = Path(__file__).resolve().parents[1]
DATA = (
    Path(os.environ.get('NAPARI_MOBILESAM_SHARED', ROOT.parent / 'shared'))
    / 'data'
)
MODES = {'full grid': False, 'adaptive': True}
# Measure → its heading in the table; means over images, but for the prompts.
MEASURES = {
    'ap50': 'AP50',
    'ap50_95': 'AP50:95',
    'recall': 'average recall',
    'objects': 'objects',
    'prompts': 'prompts',
    'seconds': 'CPU seconds',
}


def build_parser() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--data',
        type=Path,
        default=DATA,
        help='folder of data sets with a MANIFEST.csv (default: %(default)s)',
    )
    parser.add_argument(
        '--dataset',
        nargs='*',
        help='data sets (default: all that the split has)',
    )
    parser.add_argument('--model', default='mobile_sam_cells')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--split', default='val')
    parser.add_argument(
        '--limit', type=int, help='images per data set and modality'
    )
    parser.add_argument('--csv', type=Path, help='write a row per image')
    parser.add_argument('--markdown', type=Path, help='write the table')
    add_options(
        parser.add_argument_group('segment everything'),
        EverythingParameters,
        parameter_fields(EverythingParameters).keys() - {'adaptive'},
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both modes and print a table."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        parameters = checked_parameters(
            None, given_options(options, EverythingParameters)
        )
        images = read_folder(
            options.data, split=options.split, limit=options.limit
        )
        model = nm.load_model(options.model, options.device)
    except (SegmentationError, ValueError) as error:
        parser.error(str(error))
    if options.dataset:
        images = [i for i in images if i.dataset in options.dataset]
    rows = measure(model, images, parameters)
    table = markdown(rows, options)
    print(table)
    if options.markdown:
        options.markdown.write_text(table + '\n', 'utf-8')
    if options.csv:
        rows.to_csv(options.csv, index=False)
    return 0


def measure(
    model: Sam,
    images: Sequence[LabelledImage],
    parameters: EverythingParameters,
) -> pd.DataFrame:
    """One row per image and mode."""
    rows = []
    with ProgressLine() as progress:
        for number, image in enumerate(images):
            progress(number, len(images), 'images')
            for mode, adaptive in MODES.items():
                # Of this process alone: other work does not count.
                start = time.process_time()
                candidates = nm.generate_candidates(
                    image.image,
                    model,
                    parameters=parameters,
                    adaptive=adaptive,
                )
                labels, table = candidates.label()
                rows.append(
                    {
                        'dataset': image.dataset,
                        'image': image.name,
                        'mode': mode,
                        'prompts': candidates.prompts,
                        'seconds': time.process_time() - start,
                        'objects': len(table),
                        **scores(image.labels[0], labels),
                    }
                )
    return pd.DataFrame(rows)


def scores(truth: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Average precision and recall of one label image."""
    matrix = iou_matrix(truth, labels)
    found = [match(matrix, threshold) for threshold in THRESHOLDS]
    return {
        'ap50': found[0].average_precision,
        'ap50_95': float(np.mean([one.average_precision for one in found])),
        'recall': float(np.mean([one.recall for one in found])),
    }


def markdown(rows: pd.DataFrame, options: argparse.Namespace) -> str:
    """Both modes and their ratio, per data set and for all images."""
    lines = [
        '| data set | images | grid | ' + ' | '.join(MEASURES.values()) + ' |',
        '|---' * (3 + len(MEASURES)) + '|',
    ]
    groups = [(name, part) for name, part in rows.groupby('dataset')]
    if len(groups) > 1:
        groups.append(('all', rows))
    for name, part in groups:
        means = part.groupby('mode')[list(MEASURES)].mean()
        means.loc['ratio'] = means.loc['adaptive'] / means.loc['full grid']
        count = part['image'].nunique()
        for mode in [*MODES, 'ratio']:
            cells = [
                f'{value:.3f}'
                if mode == 'ratio' or value < 2
                else f'{value:,.0f}'
                for value in means.loc[mode]
            ]
            lines.append(
                f'| {name} | {count} | {mode} | ' + ' | '.join(cells) + ' |'
            )
    limit = f', at most {options.limit} images each' if options.limit else ''
    given = given_options(options, EverythingParameters)
    changed = ', '.join(f'{k}={v}' for k, v in given.items()) or 'defaults'
    how = (
        f'Split *{options.split}*{limit}, {options.model}, {changed}; means '
        'of the images.'
    )
    lines += ['', how]
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
