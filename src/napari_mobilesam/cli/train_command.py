"""``napari-mobilesam train``: train a model on labelled images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.parameter_options import refuse_idle
from napari_mobilesam.cli.training_options import (
    add_budget,
    add_data,
    add_overwrite,
    input_size,
    train_config,
    training_parser,
)
from napari_mobilesam.cli.training_runs import (
    check_checkpoint,
    run_folder,
    training_run,
)
from napari_mobilesam.cli.value_types import share, whole_number
from napari_mobilesam.training.training_parameters import TrainConfig
from napari_mobilesam.types import Progress

# Options whose default is that of the `TrainJob` field with the same name.
NUMBERS = (
    'input_size',
    'first_size',
    'first_share',
    'threshold_images',
    'warped',
    'loaders',
)
# Options without effect if only an instance head is trained.
WHOLE_MODEL = (*NUMBERS, 'compile', 'decoder', 'workers')


def add_parser(commands: Any) -> None:
    """Add ``train``."""
    parser = training_parser(
        commands,
        'train',
        'train a model on a folder of labelled images',
        'train data/ -o cells.safetensors --base mobile_sam_cells '
        '--minutes 90 --workers 2',
        train_command,
    )
    add_data(parser)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, help='checkpoint to write'
    )
    parser.add_argument(
        '--run-folder',
        type=Path,
        help='folder of checkpoints and log; an interrupted run in it is '
        'resumed (default: OUTPUT with the suffix .run)',
    )
    parser.add_argument(
        '--base',
        help='model to start from (default: random weights; with --head-only '
        'the default model)',
    )
    parser.add_argument(
        '--decoder',
        help='model whose prompt encoder and mask decoder to start from, '
        'such as mobile_sam (default: those of --base)',
    )
    _add_inputs(parser)
    _add_scoring(parser)
    parser.add_argument(
        '--workers',
        type=whole_number(1, 1024),
        help='processes (default: 1)',
    )
    parser.add_argument(
        '--loaders',
        type=whole_number(0, 1024),
        help='processes that prepare samples during training, for a GPU: as '
        'many as there are cores (default: 0); not with --workers',
    )
    _add_head_options(parser)
    add_overwrite(parser)
    add_budget(parser, TrainConfig(minutes=60))


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for the model's inputs."""
    parser.add_argument(
        '--input-size',
        type=input_size,
        help='side of the model input in pixels (default: 256)',
    )
    parser.add_argument(
        '--first-size',
        type=input_size,
        help='side of the initial input, smaller than --input-size (default: '
        '--input-size)',
    )
    parser.add_argument(
        '--first-share',
        type=share,
        help='share of the budget for --first-size (default: 0.4)',
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        default=None,
        help='compile the image encoder',
    )
    parser.add_argument(
        '--procedural',
        type=share,
        default=0.15,
        help='share of procedural images (default: %(default)g)',
    )
    parser.add_argument(
        '--warped',
        type=share,
        help='share of crops that are rotated, stretched and warped '
        '(default: 0.5)',
    )
    parser.add_argument(
        '--incomplete',
        action='append',
        default=[],
        metavar='DATASET',
        help='data set in which not every object is labelled: its background '
        'is not trained on; may be repeated',
    )


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add the options for validation."""
    parser.add_argument(
        '--validation-crops',
        type=whole_number(1, 100_000),
        default=60,
        help='crops on which the model is scored (default: %(default)s)',
    )
    parser.add_argument(
        '--threshold-images',
        type=whole_number(0, 100_000),
        help='images for choosing the thresholds of segment everything; 0 '
        'keeps those of --base (default: 12)',
    )


def _add_head_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for training only an instance head."""
    group = parser.add_argument_group('instance head')
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        '--no-instance-head',
        action='store_true',
        help='train without an instance head',
    )
    choice.add_argument(
        '--head-only',
        action='store_true',
        help='train only an instance head, which locates objects, and leave '
        'the rest of --base unchanged (minutes)',
    )
    group.add_argument(
        '--crops',
        type=whole_number(1, 10**7),
        help='crops embedded once for the head (default: 2000)',
    )


def train_command(options: argparse.Namespace) -> int:
    """Train and write a checkpoint."""
    if options.head_only:
        refuse_idle(options, WHOLE_MODEL, 'with --head-only')
    else:
        refuse_idle(options, ['crops'], 'without --head-only')
    workers = options.workers or 1
    if options.loaders and workers > 1:
        raise UsageError(
            f'--loaders {options.loaders} and --workers {workers}: '
            'loaders work only with one training process; leave out one of '
            'the options'
        )
    check_checkpoint(options)
    shared: dict[str, Any] = {
        'data': options.data,
        'folder': run_folder(options),
        'output': options.output,
        'base': options.base,
        'incomplete': tuple(options.incomplete),
        'procedural': options.procedural,
        'config': train_config(options, TrainConfig()),
        'validation_crops': options.validation_crops,
        'device': options.device,
        'channel': options.channel,
    }
    run: Callable[[Progress], object]
    if options.head_only:
        from napari_mobilesam.training.head_job import HeadJob

        run = HeadJob(**shared, **_given(options, ['crops'])).run
    else:
        from napari_mobilesam.training.parallel import run_job
        from napari_mobilesam.training.train_job import TrainJob

        job = TrainJob(
            **shared,
            compiled=bool(options.compile),
            decoder=options.decoder,
            instance_head=not options.no_instance_head,
            **_given(options, NUMBERS),
        )
        run = partial(run_job, job, workers)
    with training_run(options) as progress:
        run(progress)
    print(options.output)
    return 0


def _given(
    options: argparse.Namespace, names: Iterable[str]
) -> dict[str, Any]:
    """Return the given options among these names."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
