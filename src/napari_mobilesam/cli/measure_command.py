"""``napari-mobilesam measure``: measure the objects of a label image."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    ExitCode,
    InputError,
    UsageError,
)
from napari_mobilesam.cli.export_commands import add_labels_argument
from napari_mobilesam.cli.image_files import output_file
from napari_mobilesam.cli.measure_file import measured
from napari_mobilesam.cli.measure_folder import measure_folder_command
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.value_types import plane_indices
from napari_mobilesam.large.io.tables import (
    check_table_path,
    read_table,
    write_table,
)
from napari_mobilesam.series.series_files import is_image_folder
from napari_mobilesam.text import counted

EXAMPLES = f"""\
examples:
  shapes and intensities, in pixels and in the units of the file
    napari-mobilesam measure labels.tif --image cells.tif -o cells.csv
  a pixel of 0.65 µm, classes and scores from another table
    napari-mobilesam measure labels.tif -o cells.csv --scale 0.65,0.65 \\
        --units µm --table objects.csv
  a large image, in parts
    napari-mobilesam measure cells.ome.zarr --image slide.ome.zarr \\
        -o cells.parquet
  labels of plane 4 of a stack, with the intensities of that plane
    napari-mobilesam measure labels.tif --image stack.tif --plane 4 \\
        -o cells.csv
  all label images of a folder, with their images, in one table
    napari-mobilesam measure labels/ --image images/ -o cells.csv

A folder of labels is measured into one table, with the columns “image” and
“labels”. The labels of A.tif are those that segment or “Series” has saved for
it; else A_labels.tif, A_cp_masks.tif, A_masks.tif, A_mask.tif, A_seg.tif or
A.tif, also as PNG, or A_seg.npy of Cellpose; --names gives other names. Labels
of A_image.tif and A_img.tif may be named after A. What has no labels or cannot
be measured is listed at the end.

The intensities of a gray image are in intensity_mean, those of colours in
“intensity_mean red” and so on, those of channels in “intensity_mean channel
0” and so on. In one table of both, the columns of the other images are empty.

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``measure``."""
    parser = commands.add_parser(
        'measure',
        help='measure shapes and intensities of the objects of a label image',
        description='Measure every object: area, centroid, axes, '
        'equivalent diameter, eccentricity, solidity, perimeter, and mean, '
        'minimum, maximum and standard deviation of the intensity of each '
        'channel.',
        epilog=EXAMPLES,
    )
    add_labels_argument(parser)
    add_output(
        parser,
        'TABLE.csv|.parquet',
        'table to write, one row per object and plane',
        'an existing table',
    )
    _add_inputs(parser)
    parser.add_argument(
        '--scale',
        type=pixel_sizes,
        metavar='S,S',
        help='pixel size along each axis (default: that of the labels, or '
        'of the image)',
    )
    parser.add_argument(
        '--units',
        metavar='UNIT',
        help='unit of the table, such as µm: the unit of --scale (by default '
        '“units”); without --scale, the unit to which the pixel size of the '
        'file is converted',
    )
    parser.add_argument(
        '--volumes',
        action='store_true',
        help='measure objects of a stack in 3D, not plane by plane',
    )
    add_quiet(parser)
    parser.set_defaults(run=measure_command)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--image',
        type=Path,
        metavar='IMAGE',
        help='image in which to measure intensities, with the shape of the '
        'labels; for a folder of labels, the folder of the images',
    )
    parser.add_argument(
        '--plane',
        type=plane_indices,
        metavar='I[,J…]',
        help='measure only this plane of the labels and of the image: one '
        'index per axis before row and column, counted from 0; a file with '
        'one plane is used as it is (default: every plane, each object of it '
        'with its “plane”, and “t” if there is time and depth)',
    )
    parser.add_argument(
        '--names',
        metavar='PATTERN',
        help='names of the label images in a folder, as for segment: {name} '
        'is the image name without suffix, {suffix}, {folder}, {number} '
        '(default: {name}_labels.tif and others, see below)',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv',
        help='table whose class, score and stability are added',
    )


def measure_command(options: argparse.Namespace) -> int:
    """Measure one label image, or those of a folder."""
    check_table_path(options.output)
    if options.plane is not None and options.volumes:
        raise UsageError(
            '--volumes measures all planes together: leave out --plane'
        )
    if is_image_folder(options.labels):
        return measure_folder_command(options)
    if options.names is not None:
        raise UsageError('--names is for a folder of labels: leave it out')
    if not options.labels.exists():
        raise InputError(f'there is no file or folder {options.labels}')
    if options.image is not None and is_image_folder(options.image):
        raise UsageError(
            f'--image {options.image} is a folder: give the image of '
            f'{options.labels}, or a folder of labels, too'
        )
    inputs = [
        path
        for path in (options.labels, options.image, options.table)
        if path is not None
    ]
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        known = options.table and read_table(options.table)
        table = measured(
            options, options.labels, options.image, known, progress
        )
        commit(lambda path: write_table(table, path))
    print(f'{options.output}: {counted(len(table), "object")}')
    return ExitCode.OK


def pixel_sizes(text: str) -> tuple[float, ...]:
    """Parse ``'0.65,0.65'`` or ``'2,0.65,0.65'``."""
    try:
        found = tuple(float(part) for part in text.split(','))
    except ValueError:
        found = ()
    if not 2 <= len(found) <= 3 or not all(0 < s < 1e12 for s in found):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not S,S, such as 0.65,0.65 or 2,0.65,0.65'
        )
    return found
