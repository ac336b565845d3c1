"""``napari-mobilesam segment``: segment image files into label images."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import fields
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.contrast_options import (
    add_contrast_option,
    chosen_limits,
)
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    ExitCode,
    InputError,
    UsageError,
)
from napari_mobilesam.cli.image_files import (
    check_table,
    output_file,
    read_labels_of,
)
from napari_mobilesam.cli.kinds import add_kind_option, check_kind
from napari_mobilesam.cli.large_options import add_large_options, wants_tiles
from napari_mobilesam.cli.model_commands import (
    add_model_options,
    load_chosen_model,
)
from napari_mobilesam.cli.parameter_options import (
    add_options,
    given_options,
    refuse_idle,
)
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.prompt_options import (
    add_prompt_options,
    add_similar_options,
    add_text_options,
    box_corners,
    check_inside,
    check_similar_options,
    check_text_options,
    prompts_of,
    read_boxes,
)
from napari_mobilesam.cli.segment_image import read_chosen
from napari_mobilesam.cli.segment_job import SegmentJob
from napari_mobilesam.cli.segment_large import segment_large_command
from napari_mobilesam.cli.segment_many import (
    add_series_options,
    is_series,
    segment_many_command,
)
from napari_mobilesam.cli.value_types import plane_indices, whole_number
from napari_mobilesam.large.io.tables import write_table
from napari_mobilesam.readers.open_image import is_url
from napari_mobilesam.types import EverythingParameters

EXAMPLES = f"""\
examples:
  every object of an image, and a table with one row per object
    napari-mobilesam segment cells.tif -o labels.tif --table cells.csv
  objects of about 30 pixels, with a denser grid of prompts
    napari-mobilesam segment cells.tif -o labels.tif --diameter 30 \\
        --points-per-side 64
  the object at row 120, column 85, without the part at row 140, column 90
    napari-mobilesam segment cells.tif -o one.tif --point 120,85 \\
        --negative 140,90
  the object in a box: first row, first column, last row, last column
    napari-mobilesam segment cells.tif -o one.tif --box 80,60,160,120
  an image of any size, tile by tile; the same command continues where it was
  stopped
    napari-mobilesam segment slide.ome.zarr -o cells.ome.zarr --workers 4
  objects in a part of the image, as polygons that napari opens
    napari-mobilesam segment cells.tif -o cells.csv --output-kind outlines \\
        --region 0,0,512,512
  one object per box of a table
    napari-mobilesam segment cells.tif -o labels.tif --boxes boxes.csv
  all objects that are similar to those of a label image
    napari-mobilesam segment cells.tif -o labels.tif --like examples.tif
  objects named by a text, in photographs rather than micrographs
    napari-mobilesam segment photo.jpg -o labels.tif --text "coin"
  all images of a folder, two at a time; the same command continues where it
  was stopped
    napari-mobilesam segment folder/ -o out/ --workers 2
  channel 1 of all images of a folder
    napari-mobilesam segment folder/ -o out/ --channel 1
  plane 4 of a stack
    napari-mobilesam segment stack.tif -o labels.tif --plane 4

Points, optionally with one box, describe one object, which gets label 1.
Several boxes without points are one object each, with labels 1, 2, …

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``segment``."""
    parser = commands.add_parser(
        'segment',
        help='label every object of an image, or only prompted ones',
        description='Label every object of an image, or only prompted ones. '
        'Coordinates are row,column in pixels, counted from 0 at the top '
        'left.',
        epilog=EXAMPLES,
    )
    _add_files(parser)
    add_contrast_option(parser)
    add_kind_option(parser)
    add_model_options(parser)
    add_prompt_options(parser)
    add_similar_options(parser)
    add_text_options(parser)
    everything = parser.add_argument_group(
        'segment everything', 'Options for finding all objects.'
    )
    add_scope_options(everything)
    add_options(everything, EverythingParameters)
    everything.add_argument(
        '--full-grid',
        action='store_false',
        dest='adaptive',
        default=argparse.SUPPRESS,
        help='the same as --no-adaptive',
    )
    add_series_options(parser)
    add_large_options(parser)
    parser.set_defaults(run=segment_command)


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the input and output options."""
    parser.add_argument(
        'images',
        type=Path,
        nargs='+',
        metavar='IMAGE',
        help='TIFF, PNG, JPEG, zarr or OME-Zarr; gray or RGB, any bit depth; '
        'the labels of several images or of folders are written to a folder',
    )
    add_output(
        parser,
        'LABELS.tif|.zarr|FOLDER',
        'label image to write, 0 is background; a folder for many images',
        'existing outputs',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv|.parquet',
        help='also write a table, one row per label: score, area, position',
    )
    parser.add_argument(
        '--plane',
        type=plane_indices,
        metavar='I[,J…]',
        help='plane of a stack: one index per axis before row '
        'and column, counted from 0; of many images, the plane of those with '
        'several',
    )
    parser.add_argument(
        '--channel',
        type=whole_number(0),
        metavar='C',
        help='channel, or colour, of a file with several, counted from 0; of '
        'many images, the channel of those with several, while gray and '
        'colour images are used as they are (default of many images: 0, '
        'which the summary reports); --channels for several at once',
    )
    parser.add_argument(
        '--series',
        type=int,
        metavar='N',
        help='image in a TIFF with several, counted from 0; of many images, '
        'that of those with several',
    )
    add_quiet(parser)


def add_scope_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--region`` and ``--skip``."""
    group.add_argument(
        '--region',
        type=box_corners,
        metavar='R0,C0,R1,C1',
        help='find objects only in this box',
    )
    group.add_argument(
        '--skip',
        type=Path,
        metavar='LABELS.tif',
        help='skip pixels that are labelled in this image',
    )


def segment_command(options: argparse.Namespace) -> int:
    """Segment one image, one in tiles, or many."""
    if is_series(options.images):
        return segment_many_command(options)
    (options.image,) = options.images
    if not options.image.exists() and not is_url(str(options.image)):
        # if its folder does not exist, the output is not a file either
        raise InputError(f'There is no file or folder {options.image}.')
    if options.names is not None:
        raise UsageError('--names is for many images: leave it out')
    if options.channel is not None and options.channels is not None:
        raise UsageError('--channel and --channels: give one of them')
    if wants_tiles(options):
        if options.channel is not None:
            options.channels = (options.channel,)
        return segment_large_command(options)
    return segment_one_command(options)


def segment_one_command(options: argparse.Namespace) -> int:
    """Segment one image; outputs are checked before the long part."""
    check_options(options)
    given = (options.image, options.skip, options.boxes, options.like)
    inputs = [path for path in given if path is not None]
    image = read_chosen(options)
    check_inside(options, image.pixels.shape[:2])
    limits = chosen_limits(options.contrast_limits, image)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        commit_table = options.table and stack.enter_context(
            output_file(options.table, options.overwrite, inputs)
        )
        boxes = options.boxes and read_boxes(
            options.boxes, options.plane, image
        )
        skip = options.skip and read_labels_of(options.skip, image, '--skip')
        like = options.like and read_labels_of(options.like, image, '--like')
        model = load_chosen_model(options, progress)
        job = SegmentJob(
            options, image, limits, model, progress, boxes, skip, like
        )
        result = job.run()
        commit(result.write)
        table = result.table
        if commit_table and table is not None:
            commit_table(lambda path: write_table(table, path))
    print(f'{options.output}: {result.summary}')
    return ExitCode.OK


def check_options(options: argparse.Namespace) -> None:
    """Refuse conflicting options, and values out of range."""
    from napari_mobilesam.segmentation.parameters import checked_parameters

    prompted = bool(prompts_of(options)) or options.boxes is not None
    check_text_options(options, prompted)
    prompted = prompted or options.text is not None
    check_kind(options, prompted)
    check_similar_options(options, prompted)
    check_table(options.table, options.output)
    if prompted:
        names = [field.name for field in fields(EverythingParameters)]
        names.remove('diameter')  # used by --point and --box
        if options.boxes is not None or options.text is not None:
            refuse_idle(options, ['diameter'], 'with --boxes or --text')
        refuse_idle(
            options,
            [*names, 'region', 'skip'],
            'with prompts: leave out --point, --negative, --box, --boxes and '
            '--text to use it',
        )
    checked_parameters(None, given_options(options, EverythingParameters))
