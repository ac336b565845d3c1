"""``napari-mobilesam refine``: better masks for labels from any program."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_pixels
from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.contrast_options import (
    add_contrast_option,
    chosen_limits,
)
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    ExitCode,
    UsageError,
)
from napari_mobilesam.cli.export_commands import add_labels_argument
from napari_mobilesam.cli.image_files import (
    LABEL_SUFFIXES,
    check_labels_path,
    check_table,
    output_file,
    read_image,
    write_labels,
)
from napari_mobilesam.cli.model_commands import (
    add_model_options,
    load_chosen_model,
)
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.value_types import plane_indices
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.large.io.tables import write_table
from napari_mobilesam.segmentation.refinement import RefineParameters
from napari_mobilesam.text import counted

if TYPE_CHECKING:
    from napari_mobilesam.export.exported import LabelsWithTable

EXAMPLES = f"""\
examples:
  Cellpose labels, with a table of the changes
    napari-mobilesam refine cells.tif cells_cp_masks.tif -o better.tif \\
        --table changes.csv
  the file saved by the Cellpose GUI
    napari-mobilesam refine cells.tif cells_seg.npy -o better.tif
  InstanSeg cells, the second channel
    napari-mobilesam refine cells.tif instanseg.tif --channel 1 -o better.tif
  the connected components of a threshold
    napari-mobilesam refine cells.tif threshold.png -o better.tif

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``refine``."""
    parser = commands.add_parser(
        'refine',
        help='refine the objects of a label image from any program',
        description='Give each object of a label image to the model, as its '
        'box and with its mask, and keep the better answer by predicted IoU. '
        'An object stays unchanged if the answer is a different object, or '
        'the model is not confident enough.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        'image', type=Path, metavar='IMAGE', help='image of the labels'
    )
    add_labels_argument(parser)
    add_output(
        parser,
        'LABELS.tif',
        'label image to write (TIFF, PNG)',
        'existing outputs',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv|.parquet',
        help='also write one row per object: whether it was refined, its '
        'predicted IoU, its overlap with the original object, and both areas',
    )
    parser.add_argument(
        '--plane',
        type=plane_indices,
        metavar='I[,J…]',
        help='plane of a stack: one index per axis before row '
        'and column, counted from 0; from a stack of labels, the same plane '
        '(without a channel index) is read',
    )
    add_quiet(parser)
    add_contrast_option(parser)
    add_model_options(parser)
    group = parser.add_argument_group('refinement')
    add_options(group, RefineParameters)
    parser.set_defaults(run=refine_command)


def refine_command(options: argparse.Namespace) -> int:
    """Read image and labels, refine them, and write."""
    from napari_mobilesam.segmentation.refinement import refine_labels

    check_labels_path(options.output, LABEL_SUFFIXES)
    check_table(options.table, options.output)
    parameters = RefineParameters(**given_options(options, RefineParameters))
    inputs = [options.image, options.labels]
    image = read_image(options.image, options.plane)
    given = read_labels(
        options.labels, shape=options.shape, channel=options.channel
    )
    labels = plane_of_labels(given, image.chosen)
    limits = chosen_limits(options.contrast_limits, image)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        commit_table = options.table and stack.enter_context(
            output_file(options.table, options.overwrite, inputs)
        )
        model = load_chosen_model(options, progress)
        refined, table = refine_labels(
            image.pixels,
            labels,
            model,
            contrast_limits=limits,
            scores=known_scores(given),
            parameters=parameters,
            progress=progress,
        )
        commit(lambda path: write_labels(path, refined, image))
        if commit_table:
            commit_table(lambda path: write_table(table, path))
    count = int(table['refined'].sum())
    print(
        f'{options.output}: {count:,} of {counted(len(table), "object")} '
        'refined'
    )
    return ExitCode.OK


def plane_of_labels(
    given: LabelsWithTable, chosen: Mapping[str, int]
) -> NDArray[Any]:
    """Return the labels of the chosen plane of the image, of any channel.

    Unnamed axes of the labels are taken to be those of the image.

    Raises
    ------
    UsageError
        The labels are a stack with different planes.
    """
    axes = given.axes[:-2]
    counts = dict(zip(axes, given.shape, strict=False))
    leading = {name: count for name, count in counts.items() if count > 1}
    at = dict.fromkeys(axes, 0)
    if leading:
        known = leading if set(leading) == set(chosen) else chosen
        plane = [chosen[name] for name in known]
        sizes = ' x '.join(map(str, leading.values()))
        if len(plane) != len(leading):
            raise UsageError(
                f'the labels are a stack of {sizes} planes, which does not '
                'match the image: give a matching stack, or the labels of '
                'one plane'
            )
        at |= zip(leading, plane, strict=True)
        if any(not 0 <= at[name] < leading[name] for name in leading):
            raise UsageError(
                f'the labels have no plane {",".join(map(str, plane))}: '
                f'there are {sizes}, counted from 0'
            )
    check_pixels(given.shape[-2:], 'The label image')
    return np.asarray(given.labels[tuple(at.values())])


def known_scores(given: LabelsWithTable) -> dict[int, float]:
    """Return the predicted IoU of objects, where stored in a file."""
    table = given.table
    if table is None or 'score' not in table:
        return {}
    column = 'label' if 'label' in table else 'index'
    known = table[table['score'].notna()]
    return {
        int(label): float(score)
        for label, score in zip(known[column], known['score'], strict=True)
    }
