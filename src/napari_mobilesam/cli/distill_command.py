"""``napari-mobilesam distill``: train a student from a SAM."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.training_options import (
    add_budget,
    add_data,
    add_overwrite,
    train_config,
    training_parser,
)
from napari_mobilesam.cli.training_runs import (
    check_checkpoint,
    run_folder,
    training_run,
)
from napari_mobilesam.cli.value_types import positive_number, whole_number
from napari_mobilesam.training.training_parameters import DistillConfig


def add_parser(commands: Any) -> None:
    """Add ``distill``."""
    parser = training_parser(
        commands,
        'distill',
        "distil a teacher's image encoder into a TinyViT",
        'distill data/ --teacher vit_b -o student.safetensors '
        '--crops 2000 --minutes 60',
        distill_command,
    )
    add_data(parser)
    parser.add_argument(
        '-o', '--output', type=Path, required=True, help='checkpoint to write'
    )
    parser.add_argument(
        '--teacher', required=True, help='name or file of a SAM'
    )
    add_options(
        parser,
        DistillConfig,
        ('mode', 'crops'),
        {'crops': whole_number(1, 10**7)},
    )
    parser.set_defaults(mode=DistillConfig.mode)
    parser.add_argument(
        '--max-gigabytes',
        type=positive_number(1e6),
        help='maximum gigabytes of embeddings on disk (default: no limit)',
    )
    parser.add_argument(
        '--run-folder',
        type=Path,
        help='as in train; also holds the embeddings',
    )
    add_overwrite(parser)
    add_budget(parser, replace(DistillConfig().config, minutes=60))


def distill_command(options: argparse.Namespace) -> int:
    """Distil and write the student."""
    from napari_mobilesam.model.checkpoints import load_model
    from napari_mobilesam.training.distill import distill
    from napari_mobilesam.training.train_job import read_split, write_result

    check_checkpoint(options)
    defaults = DistillConfig()
    limit = options.max_gigabytes
    config = replace(
        defaults,
        **given_options(options, DistillConfig),
        max_bytes=int(limit * 1e9) if limit else None,
        config=train_config(options, defaults.config),
    )
    teacher = load_model(options.teacher, options.device)
    with training_run(options) as progress:
        result = distill(
            teacher,
            read_split(options.data, 'train', options.channel),
            run_folder(options),
            config,
            progress=progress,
        )
        write_result(result.student, options.output, result.student.record)
    print(
        f'{options.output}: embedding error {result.error:.4f}, agreement '
        f'with {teacher.record.name} {result.agreement:.3f}'
    )
    return 0
