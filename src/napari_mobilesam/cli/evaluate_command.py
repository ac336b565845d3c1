"""``napari-mobilesam evaluate``: measure the quality of a model or labels."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.image_files import output_file
from napari_mobilesam.cli.parameter_options import (
    add_options,
    given_options,
    refuse_idle,
)
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.training_options import (
    add_data,
    add_overwrite,
    training_parser,
)
from napari_mobilesam.cli.value_types import whole_number
from napari_mobilesam.training.training_parameters import EvaluationOptions

if TYPE_CHECKING:
    from napari_mobilesam.training.labelled_images import LabelledImage

COLUMNS = """
columns, each a mean over the images; those of prompts, over the objects that
were prompted for in an image:
  objects/image       labelled objects in an image
  point, random_point, box
                      IoU of the preferred mask for a click in the middle of
                      an object, a click anywhere in it, a box around it
  oracle              IoU of the best of the three masks for the click in the
                      middle
  iou_error           difference of predicted IoU and IoU
  boundary_f          F1 of the outline for the click in the middle
  clicks_80, clicks_90
                      clicks until the IoU is 0.8, 0.9; --clicks if it never is
columns of segment everything, over all labelled objects:
  ap50                matched / (matched + wrong + missed) at an IoU of 0.5
  ap50_95             the same, mean over an IoU of 0.5, 0.55 … 0.95
  recall              share of the objects that are found, mean over the same:
                      lower than that at 0.5
  f1                  at an IoU of 0.5
  best_iou            IoU of an object with the found one that fits best
column with --teacher:
  agreement_10 …      IoU of both models for a click in the middle and a
                      negative one 10 … pixels away
--json has these numbers for each image.
"""
# Measures of a model, see `EvaluationOptions`.
MEASURED = ('objects', 'clicks', 'everything')


def add_parser(commands: Any) -> None:
    """Add ``evaluate``."""
    parser = training_parser(
        commands,
        'evaluate',
        'measure a model on labelled images',
        'evaluate data/ --split test --json scores.json',
        evaluate_command,
        COLUMNS,
    )
    add_data(parser)
    parser.add_argument(
        '--model', help='name or checkpoint file (default: the default model)'
    )
    parser.add_argument('--split', help='split in MANIFEST.csv, such as test')
    parser.add_argument('--dataset', action='append', help='only this one')
    parser.add_argument(
        '--limit',
        type=whole_number(1),
        help='maximum images per data set and modality (default: all)',
    )
    add_options(
        parser,
        EvaluationOptions,
        MEASURED,
        {
            'objects': whole_number(1, 10**6),
            'clicks': whole_number(0, 1000),
        },
    )
    parser.add_argument(
        '--teacher', help='also measure agreement with this model'
    )
    parser.add_argument(
        '--labels',
        type=Path,
        metavar='FOLDER',
        help='measure the label images in this folder, from any program, '
        'instead of a model',
    )
    parser.add_argument('--json', type=Path, help='also write all results')
    add_overwrite(parser)


def evaluate_command(options: argparse.Namespace) -> int:
    """Measure and print a table."""
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.evaluate import evaluate
    from napari_mobilesam.training.evaluate_labels import evaluate_labels

    if options.labels is not None:
        refuse_idle(
            options,
            ['model', 'teacher', *MEASURED],
            'with --labels, which measures label images, not a model',
        )
    with contextlib.ExitStack() as stack:
        commit = options.json and stack.enter_context(
            _json_file(options.json, options.overwrite)
        )
        teacher = None
        if options.teacher is not None:
            teacher = load_model(options.teacher, options.device)
        images = _chosen_images(options)
        if options.labels is not None:
            _refuse_truth(options.labels, options.data, images)
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        if options.labels is not None:
            result = evaluate_labels(options.labels, images, progress)
        else:
            result = evaluate(
                load_model(options.model, options.device),
                images,
                EvaluationOptions(**given_options(options, EvaluationOptions)),
                teacher=teacher,
                progress=progress,
            )
        if commit:
            commit(result.to_json)
    table = result.table().rename(columns={'objects': 'objects/image'})
    if len(table) == 2:  # of one data set, which is all
        table = table[:1] if table['dataset'][0] else table[1:]
    print(table.round(3).to_string(index=False))
    return 0


def _refuse_truth(
    labels: Path, data: Path, images: Sequence[LabelledImage]
) -> None:
    """Refuse to compare the ground truth with itself."""
    folders = {data, *(data / image.dataset for image in images)}
    folders |= {folder / 'labels' for folder in folders}
    if labels.resolve() in {folder.resolve() for folder in folders}:
        raise UsageError(
            f'--labels {labels} has the ground truth; give a separate folder '
            'with the labels that a program found'
        )


def _json_file(path: Path, overwrite: bool) -> Any:
    """Reserve the results file; no other file is replaced."""
    if path.suffix.lower() != '.json' and not path.is_dir():
        raise UsageError(f'--json {path} must end in .json')
    return output_file(path, overwrite)


def _chosen_images(options: argparse.Namespace) -> list[LabelledImage]:
    from napari_mobilesam.training.dataset import read_folder

    folder: Path = options.data
    manifest = folder / 'MANIFEST.csv'
    if options.split is not None and folder.is_dir() and not manifest.exists():
        raise UsageError(
            f'--split {options.split!r}: {folder} has no MANIFEST.csv with '
            'the split of each image; leave --split out'
        )
    return read_folder(
        folder,
        split=options.split,
        datasets=options.dataset,
        limit=options.limit,
        channel=options.channel,
    )
