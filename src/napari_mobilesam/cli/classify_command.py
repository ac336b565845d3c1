"""``napari-mobilesam classify``: classify objects from a few examples."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.contrast_options import (
    add_contrast_option,
    chosen_limits,
)
from napari_mobilesam.cli.exit_codes import ExitCode, InputError
from napari_mobilesam.cli.image_files import output_file, read_single_plane
from napari_mobilesam.cli.model_commands import (
    add_model_options,
    load_chosen_model,
)
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.large.io.tables import check_table_path, write_table
from napari_mobilesam.text import counted

EXAMPLES = """\
examples:
  classes.csv has the columns label and class, with a few rows per class
    napari-mobilesam classify cells.tif labels.tif --classes classes.csv \\
        -o all.csv

The table written has one row per object: label, class, probability, and
whether the class was given; least certain first.
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``classify``."""
    parser = commands.add_parser(
        'classify',
        help='propose classes for labelled objects from a few examples',
        description='Propose a class for each labelled object, based on '
        'objects of known class and on the image embedding, size, shape and '
        'intensity. Needs scikit-learn: pip install '
        '"napari-mobilesam[classify]".',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        'image', type=Path, metavar='IMAGE', help='image of the objects'
    )
    parser.add_argument(
        'labels', type=Path, metavar='LABELS', help='label image'
    )
    parser.add_argument(
        '--classes',
        type=Path,
        required=True,
        metavar='TABLE.csv',
        help='table with columns label and class: a few objects per class',
    )
    add_output(
        parser, 'TABLE.csv|.parquet', 'table to write', 'an existing table'
    )
    add_quiet(parser)
    add_contrast_option(parser)
    add_model_options(parser)
    parser.set_defaults(run=classify_command)


def classify_command(options: argparse.Namespace) -> int:
    """Read image, labels and classes; propose classes; write them."""
    from napari_mobilesam.segmentation.object_classes import propose_classes

    check_table_path(options.output)
    known = read_classes(options.classes)
    inputs = [options.image, options.labels, options.classes]
    image = read_single_plane(options.image)
    labels = read_single_plane(options.labels, labels=True).pixels
    limits = chosen_limits(options.contrast_limits, image)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        model = load_chosen_model(options, progress)
        proposals = propose_classes(
            image.pixels,
            model,
            labels,
            known,
            contrast_limits=limits,
            progress=progress,
        )
        import pandas as pd

        given = pd.DataFrame(
            {
                'label': list(known),
                'class': list(known.values()),
                'probability': 1.0,
                'given': True,
            }
        )
        table = pd.concat(
            [proposals.table().assign(given=False), given], ignore_index=True
        )
        commit(lambda path: write_table(table, path))
    print(
        f'{options.output}: {counted(len(proposals.labels), "object")} got '
        f'one of {counted(len(proposals.classes), "class", "classes")}'
    )
    return ExitCode.OK


def read_classes(path: Path) -> dict[int, str]:
    """Read the class of each label.

    Raises
    ------
    InputError
        The table lacks a column, has no rows, or a label is not an integer or
        has two classes.
    """
    from napari_mobilesam.large.io.tables import read_table

    table = read_table(path)
    missing = [name for name in ('label', 'class') if name not in table]
    if missing:
        raise InputError(
            f'{path} has no column {" and no column ".join(missing)}; it '
            'needs label and class'
        )
    table = table[table['class'].notna()]
    if not len(table):
        raise InputError(f'{path} has no row with a class')
    labels: list[int] = []
    try:
        for value in table['label']:
            if int(value) != float(value):
                raise ValueError
            labels.append(int(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f'{path} has the label {value!r}, which is not a whole number'
        ) from error
    classes: dict[int, str] = {}
    names = table['class'].astype(str).str.strip()
    for label, name in zip(labels, names, strict=True):
        if classes.setdefault(label, name) != name:
            raise InputError(
                f'{path} gives label {label} two classes, {classes[label]} '
                f'and {name}'
            )
    return classes
