"""Measure prompts and *segment everything* on labelled images.

Reports mean IoU for the centre point and the box of each object, per data set,
and AP50 of segment everything on the requested data sets, measured by
`napari_mobilesam.training.evaluate`.

python benchmarks/accuracy.py --split test --markdown accuracy.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from labelled_data import DATA

import napari_mobilesam as nm
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.evaluate import Evaluation, evaluate
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.training_parameters import EvaluationOptions
from napari_mobilesam.types import EverythingParameters, SegmentationError

# Measure → heading in the table.
MEASURES = {
    'point': 'centre point, mIoU',
    'oracle': 'best of three, mIoU',
    'box': 'box, mIoU',
    'ap50': 'everything, AP50',
    'f1': 'everything, F1',
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
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
        '--model',
        action='append',
        metavar='NAME|FILE',
        help='may be repeated (default: the bundled model)',
    )
    parser.add_argument('--device', default='auto')
    parser.add_argument('--split', default='test')
    parser.add_argument(
        '--limit', type=int, help='images per data set and modality'
    )
    parser.add_argument(
        '--objects',
        type=int,
        default=40,
        help='prompted objects per image (default: %(default)s)',
    )
    parser.add_argument(
        '--everything',
        nargs='*',
        default=['dsb2018'],
        metavar='DATASET',
        help='data sets for segment everything (default: dsb2018)',
    )
    parser.add_argument('--json', type=Path, help='write all results')
    parser.add_argument('--markdown', type=Path, help='write the table')
    add_options(
        parser.add_argument_group('segment everything'), EverythingParameters
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each model and print a table."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    parameters = given_options(options, EverythingParameters)
    try:
        checked_parameters(None, parameters)
        images = read_folder(
            options.data, split=options.split, limit=options.limit
        )
        models = [
            nm.load_model(name, options.device)
            for name in options.model or ['mobile_sam_cells']
        ]
    except (SegmentationError, ValueError) as error:
        parser.error(str(error))
    wanted = EvaluationOptions(
        objects=options.objects, clicks=0, everything_parameters=parameters
    )
    results = [
        measure(model, images, wanted, options.everything) for model in models
    ]
    table = markdown(results, options)
    print(table)
    if options.markdown:
        options.markdown.write_text(table + '\n', 'utf-8')
    if options.json:
        options.json.write_text(as_json(results), 'utf-8')
    return 0


def measure(
    model: Sam,
    images: Sequence[LabelledImage],
    options: EvaluationOptions,
    everything: Sequence[str],
) -> tuple[Evaluation, float]:
    """Evaluate one model; return the results and the seconds it took."""
    started = time.perf_counter()
    rows = []
    with ProgressLine() as progress:
        for number, image in enumerate(images):
            progress(number, len(images), f'{model.record.name}: images')
            chosen = replace(options, everything=image.dataset in everything)
            rows += evaluate(model, [image], chosen).rows
    seconds = time.perf_counter() - started
    return Evaluation(rows, model.record.name, options), seconds


def per_dataset(evaluation: Evaluation) -> pd.DataFrame:
    """Return means over the images of each data set, (dataset, measure)."""
    frame = pd.DataFrame(evaluation.rows)
    groups = frame.groupby('dataset', sort=False)
    measures = [name for name in MEASURES if name in frame]
    means = groups[measures].mean()
    means.insert(0, 'images', groups.size())
    means.insert(1, 'objects', groups['objects'].sum())
    return means


def markdown(
    results: Sequence[tuple[Evaluation, float]], options: argparse.Namespace
) -> str:
    """Return a table of all models and data sets, with the options used."""
    lines = [
        '| model | data set | images | '
        + ' | '.join(MEASURES.values())
        + ' |',
        '|---' * (3 + len(MEASURES)) + '|',
    ]
    for evaluation, _ in results:
        for dataset, row in per_dataset(evaluation).iterrows():
            cells = [
                f'{row[name]:.3f}' if pd.notna(row.get(name)) else ''
                for name in MEASURES
            ]
            lines.append(
                f'| {evaluation.model} | {dataset} | {row["images"]:.0f} | '
                + ' | '.join(cells)
                + ' |'
            )
    given = given_options(options, EverythingParameters)
    limit = f', at most {options.limit} images each' if options.limit else ''
    changed = ', '.join(f'{k}={v}' for k, v in given.items()) or 'defaults'
    took = ', '.join(f'{r.model} {seconds:.0f} s' for r, seconds in results)
    how = (
        f'Split *{options.split}*{limit}, up to {options.objects} objects '
        f'per image; segment everything with {changed}. Took {took}.'
    )
    lines += ['', how]
    return '\n'.join(lines)


def as_json(results: Sequence[tuple[Evaluation, float]]) -> str:
    """Return all results as JSON, per image and per data set."""
    return json.dumps(
        [
            {
                'model': evaluation.model,
                'version': nm.__version__,
                'seconds': seconds,
                'datasets': json.loads(
                    per_dataset(evaluation).to_json(orient='index')
                ),
                'images': evaluation.rows,
            }
            for evaluation, seconds in results
        ],
        indent=1,
    )


if __name__ == '__main__':
    sys.exit(main())
