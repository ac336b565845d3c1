"""``napari-mobilesam segment``: an image file in, a label image out."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.cli.errors import (
    EXIT_CODES_HELP,
    ExitCode,
    UsageError,
)
from napari_mobilesam.cli.files import (
    check_labels_path,
    output_file,
    read_image,
    write_labels,
)
from napari_mobilesam.cli.large_options import add_large_options, wants_tiles
from napari_mobilesam.cli.models import add_model_options, load_chosen_model
from napari_mobilesam.cli.parameters import (
    add_options,
    given_options,
    option_name,
)
from napari_mobilesam.cli.progress import Progress
from napari_mobilesam.cli.segment_large import segment_large_command
from napari_mobilesam.types import EverythingParameters, Prompts

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.types import Embedding

EXAMPLES = f"""\
examples:
  every object of an image, and a table with one row per object
    napari-mobilesam segment cells.tif -o labels.tif --table cells.csv
  objects of about 30 pixels, a denser grid of prompts
    napari-mobilesam segment cells.tif -o labels.tif --diameter 30 \\
        --points-per-side 64
  the object at row 120, column 85, without what is at row 140, column 90
    napari-mobilesam segment cells.tif -o one.tif --point 120,85 \\
        --negative 140,90
  the object in a box: first row, first column, last row, last column
    napari-mobilesam segment cells.tif -o one.tif --box 80,60,160,120
  an image of any size, tile by tile; the same command goes on where it was
  stopped
    napari-mobilesam segment slide.ome.zarr -o cells.ome.zarr --workers 4
  plane 4 of a stack
    napari-mobilesam segment stack.tif -o labels.tif --plane 4

Points, and one box beside them, describe one object, which gets label 1.
Several boxes, without points, are one object each: labels 1, 2, …

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``segment``."""
    parser = commands.add_parser(
        'segment',
        help='label every object of an image, or those prompted for',
        description='Label every object of an image, or those prompted for. '
        'Coordinates are row,column in pixels, counted from 0 at the top '
        'left.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'image',
        type=Path,
        metavar='IMAGE',
        help='TIFF, PNG, JPEG, zarr or OME-Zarr; gray or RGB, any bit depth',
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        required=True,
        metavar='LABELS.tif|.zarr',
        help='label image to write: 0 is background',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv',
        help='also write one row per label: score, area, position',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing outputs'
    )
    parser.add_argument(
        '--plane',
        type=plane_indices,
        metavar='I[,J…]',
        help='plane of a multi-plane file: one index per axis before row '
        'and column, counted from 0',
    )
    parser.add_argument(
        '--quiet', action='store_true', help='no progress on stderr'
    )
    add_model_options(parser)
    add_prompt_options(parser)
    everything = parser.add_argument_group(
        'segment everything', 'Options of the search for all objects.'
    )
    add_options(everything, EverythingParameters)
    add_large_options(parser)
    parser.set_defaults(run=segment_command)


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--point``, ``--negative`` and ``--box``."""
    prompts = parser.add_argument_group(
        'prompts', 'With any of these, only what they point at is labelled.'
    )
    for name, text in (
        ('--point', 'a pixel of the object; may be repeated'),
        ('--negative', 'a pixel that is not of the object; may be repeated'),
    ):
        prompts.add_argument(
            name,
            type=row_column,
            action='append',
            default=[],
            metavar='R,C',
            help=text,
        )
    prompts.add_argument(
        '--box',
        type=box_corners,
        action='append',
        default=[],
        metavar='R0,C0,R1,C1',
        help='a box around the object; may be repeated',
    )


def segment_command(options: argparse.Namespace) -> int:
    """Read, segment, write; outputs are reserved before the long part."""
    if wants_tiles(options):
        return segment_large_command(options)
    from napari_mobilesam.segmentation.parameters import checked_parameters

    check_labels_path(options.output)
    if options.table == options.output:
        raise UsageError('--table and --output are the same file')
    prompts = prompts_of(options)
    given = given_options(options, EverythingParameters)
    if prompts:
        refuse_everything_options(given)
    parameters = checked_parameters(None, given)
    inputs = [options.image]
    image = read_image(options.image, options.plane)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(quiet=options.quiet))
        commit_labels = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        commit_table = options.table and stack.enter_context(
            output_file(options.table, options.overwrite, inputs)
        )
        model = load_chosen_model(options, progress)
        if prompts:
            labels, table = segment_prompts(
                image, model, prompts, parameters.diameter
            )
        else:
            from napari_mobilesam.segmentation.everything import (
                segment_everything,
            )

            labels, table = segment_everything(
                image, model, parameters=parameters, progress=progress
            )
        commit_labels(lambda path: write_labels(path, labels))
        if commit_table:
            commit_table(lambda path: table.to_csv(path, index=False))
    count = len(table)
    print(f'{options.output}: {count} object{"" if count == 1 else "s"}')
    return ExitCode.OK


def segment_prompts(
    image: NDArray[Any],
    model: Sam,
    objects: Sequence[Prompts],
    diameter: float | None,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Segment one object per element of ``objects``.

    Parameters
    ----------
    image : ndarray
        (H, W) or (H, W, 3 | 4).
    model : Sam
        Model.
    objects : sequence of Prompts
        Prompts of each object, in (row, column) data pixels.
    diameter : float or None
        Typical object diameter in pixels; None to look at the image.

    Returns
    -------
    labels : ndarray
        (H, W) label image; object i has label i + 1.
    table : DataFrame
        One row per object that has a pixel.
    """
    from napari_mobilesam.segmentation.diameter import estimate_diameter
    from napari_mobilesam.segmentation.image import as_rgb_plane
    from napari_mobilesam.segmentation.masks import paint_objects
    from napari_mobilesam.segmentation.predictor import Predictor
    from napari_mobilesam.segmentation.windows import window_for_prompts

    rgb = as_rgb_plane(image)
    if diameter is None:
        diameter = estimate_diameter(rgb)
    predictor = Predictor(model)
    embeddings: dict[tuple[int, int, int, int], Embedding] = {}
    masks = []
    for prompts in objects:
        window = window_for_prompts(
            rgb.shape[:2], prompts, diameter=diameter, record=model.record
        )
        if window not in embeddings:
            embeddings[window] = predictor.embed(rgb, window=window)
        prediction = predictor.predict_object(embeddings[window], prompts)
        masks.append(prediction.mask())
    return paint_objects(masks, rgb.shape[:2])


def prompts_of(options: argparse.Namespace) -> list[Prompts]:
    """Prompts of each object that was asked for; empty for everything."""
    points = np.array(options.point + options.negative).reshape(-1, 2)
    labels = np.repeat([1, 0], [len(options.point), len(options.negative)])
    boxes = [np.array(box) for box in options.box]
    if len(boxes) > 1 and len(points):
        raise UsageError(
            f'{len(boxes)} boxes together with points: give one --box with '
            'points for one object, or boxes alone for several'
        )
    if len(boxes) > 1:
        return [Prompts(box=box) for box in boxes]
    if options.negative and not (options.point or boxes):
        raise UsageError(
            '--negative alone points at no object: give a --point or a --box'
        )
    if not len(points) and not boxes:
        return []
    return [Prompts(points, labels, boxes[0] if boxes else None)]


def refuse_everything_options(given: dict[str, Any]) -> None:
    """Complain of options that a prompt would silently ignore."""
    idle = [
        option_name(field.name)
        for field in fields(EverythingParameters)
        if field.name in given and field.name != 'diameter'
    ]
    if idle:
        raise UsageError(
            f'{", ".join(idle)} has no effect with prompts: leave it out, '
            'or leave out --point, --negative and --box'
        )


def row_column(text: str) -> tuple[float, float]:
    """Parse ``'120,85'``."""
    row, column = _numbers(text, 2, 'R,C such as 120,85')
    return row, column


def box_corners(text: str) -> tuple[float, float, float, float]:
    """Parse ``'80,60,160,120'``."""
    row0, column0, row1, column1 = _numbers(
        text, 4, 'R0,C0,R1,C1 such as 80,60,160,120'
    )
    return row0, column0, row1, column1


def plane_indices(text: str) -> tuple[int, ...]:
    """Parse ``'3'`` or ``'0,3'``."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not I or I,J…, such as 4 or 0,4'
        ) from error


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(',')]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f'{text!r} is not {form}')
    return values
