"""Compare the sources of prompts of *segment everything*.

Every image is segmented with prompts from each source in turn and compared
with its labels. Reports the number of prompts, CPU seconds, average precision,
F1 and recall. The target of the adaptive mode is 97 % of the full grid's
values with 20 % of its prompts.

python benchmarks/everything.py --split test --markdown everything.md
python benchmarks/everything.py --model my_model --mode adaptive head
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from labelled_data import DATA

import napari_mobilesam as nm
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.parameter_fields import parameter_fields
from napari_mobilesam.segmentation.parameters import checked_parameters
from napari_mobilesam.training.dataset import read_folder
from napari_mobilesam.training.evaluate import label_scores
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.types import EverythingParameters, SegmentationError

MODES: dict[str, dict[str, Any]] = {
    'grid': {'adaptive': False},
    'adaptive': {'instance_head': False},
    'head': {},
}
# Measure → heading in the table; means over images, except for prompts.
MEASURES = {
    'ap50': 'AP50',
    'f1': 'F1',
    'ap50_95': 'AP50:95',
    'recall': 'average recall',
    'objects': 'objects',
    'prompts': 'prompts',
    'seconds': 'CPU seconds',
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
        '--dataset',
        nargs='*',
        help='data sets (default: all in the split)',
    )
    parser.add_argument('--model', default='mobile_sam_cells')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--split', default='val')
    parser.add_argument(
        '--limit', type=int, help='images per data set and modality'
    )
    parser.add_argument(
        '--mode',
        nargs='+',
        choices=MODES,
        help='sources of prompts; ratios are relative to the first (default: '
        'grid and adaptive, and head if the model has one)',
    )
    parser.add_argument('--csv', type=Path, help='write a row per image')
    parser.add_argument('--markdown', type=Path, help='write the table')
    add_options(
        parser.add_argument_group('segment everything'),
        EverythingParameters,
        parameter_fields(EverythingParameters).keys()
        - {'adaptive', 'instance_head'},
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the modes and print a table."""
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
    modes = options.mode or list(MODES)[: 2 + model.record.instance_head]
    if 'head' in modes and not model.record.instance_head:
        parser.error(f'{options.model} has no instance head')
    rows = measure(model, images, parameters, modes)
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
    modes: Sequence[str],
) -> pd.DataFrame:
    """Return one row per image and mode."""
    rows = []
    with ProgressLine() as progress:
        for number, image in enumerate(images):
            progress(number, len(images), 'images')
            for mode in modes:
                # CPU time of this process only
                start = time.process_time()
                candidates = nm.generate_candidates(
                    image.image,
                    model,
                    parameters=parameters,
                    **MODES[mode],
                )
                labels, table = candidates.label()
                rows.append(
                    {
                        'dataset': image.dataset,
                        'modality': image.modality,
                        'image': image.name,
                        'mode': mode,
                        'prompts': candidates.prompts,
                        'seconds': time.process_time() - start,
                        'objects': len(table),
                        **label_scores(image.labels[0], labels),
                    }
                )
    return pd.DataFrame(rows)


def markdown(rows: pd.DataFrame, options: argparse.Namespace) -> str:
    """Return a table of all modes and their ratios to the first."""
    lines = [
        '| data set | images | prompts from | '
        + ' | '.join(MEASURES.values())
        + ' |',
        '|---' * (3 + len(MEASURES)) + '|',
    ]
    groups = [
        (' '.join(map(str, name)).strip(), part)
        for name, part in rows.groupby(['dataset', 'modality'], sort=False)
    ]
    if len(groups) > 1:
        groups.append(('all', rows))
    first, *others = rows['mode'].unique()
    for name, part in groups:
        means = part.groupby('mode')[list(MEASURES)].mean()
        count = part['image'].nunique()
        shown = {mode: means.loc[mode] for mode in (first, *others)}
        for mode in others:
            shown[f'{mode} / {first}'] = means.loc[mode] / means.loc[first]
        for mode, values in shown.items():
            cells = [
                f'{value:.3f}' if '/' in mode or value < 2 else f'{value:,.0f}'
                for value in values
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
