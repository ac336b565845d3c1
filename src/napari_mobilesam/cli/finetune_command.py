"""``napari-mobilesam finetune``: fine-tune a model on labels."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

from napari_mobilesam.cli.exit_codes import ExitCode
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.training_options import (
    add_budget,
    add_data,
    train_config,
    training_parser,
)
from napari_mobilesam.text import counted
from napari_mobilesam.training.training_parameters import FineTuneConfig


def add_parser(commands: Any) -> None:
    """Add ``finetune``."""
    parser = training_parser(
        commands,
        'finetune',
        'fine-tune a model on your labels',
        'finetune labelled/ --base mobile_sam_cells --name my_cells',
        finetune_command,
    )
    add_data(parser)
    parser.add_argument(
        '--base', help='model to start from (default: the default model)'
    )
    parser.add_argument(
        '--name',
        help='name of the new model (default: derived from the base model)',
    )
    parser.add_argument(
        '--all',
        action='store_true',
        help='also train the image encoder, not only the decoder',
    )
    add_options(parser, FineTuneConfig, ('complete',))
    add_budget(parser, FineTuneConfig().config)


def finetune_command(options: argparse.Namespace) -> int:
    """Fine-tune a model and add it to the user's models if it is better.

    Ctrl-C ends the training and keeps the best model so far.
    """
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.dataset import manifest_splits, read_folder
    from napari_mobilesam.training.finetune import finetune
    from napari_mobilesam.training.interrupts import interrupt_noted

    defaults = FineTuneConfig()
    config = replace(
        defaults,
        **given_options(options, FineTuneConfig),
        decoder_only=not options.all,
        config=train_config(options, defaults.config),
    )
    model = load_model(options.base, options.device)
    # the test data of evaluate are not used for training
    has_splits = 'train' in manifest_splits(options.data)
    images = read_folder(
        options.data,
        split='train' if has_splits else None,
        channel=options.channel,
    )
    with (
        interrupt_noted() as interrupted,
        ProgressLine(quiet=options.quiet) as progress,
    ):
        result = finetune(
            model,
            images,
            config,
            name=options.name,
            progress=progress,
            cancelled=interrupted,
        )
    change = 'better' if result.improved else 'no better than before'
    if not result.improved and result.score > result.base_score:
        change = f'within the noise of ±{result.noise:.3f}'
    print(
        f'{result.path or "no new model"}: validation IoU of prompts '
        f'{result.base_score:.3f} -> {result.score:.3f} on '
        f'{counted(result.validation_objects, "object")} held back: {change}'
    )
    if math.isfinite(result.base_f1 + result.f1):
        print(
            f'segment everything on them: F1 {result.base_f1:.3f} -> '
            f'{result.f1:.3f}'
        )
    else:
        then = f', then --model {result.path.stem}' if result.path else ''
        print(
            'segment everything was not compared (no time in --minutes): do '
            'so on other labelled images with napari-mobilesam evaluate '
            f'FOLDER --model {options.base or model.record.name}{then}'
        )
    return ExitCode.INTERRUPTED if interrupted() else ExitCode.OK
