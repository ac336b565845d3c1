"""Prompts on the command line: options, box tables and segmentation."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.cli.exit_codes import InputError, UsageError
from napari_mobilesam.cli.parameter_options import refuse_idle
from napari_mobilesam.segmentation.prompt_checks import warn_beyond
from napari_mobilesam.types import PromptError, Prompts

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.cli.image_files import FilePlane
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.image import ContrastLimits


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--point``, ``--negative`` and ``--box``."""
    prompts = parser.add_argument_group(
        'prompts',
        'With any of these, only the objects they point at are labelled.',
    )
    for name, text in (
        ('--point', 'a pixel of the object; may be repeated'),
        ('--negative', 'a pixel outside the object; may be repeated'),
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
    prompts.add_argument(
        '--boxes',
        type=Path,
        metavar='TABLE.csv',
        help='a box around each object: table with columns row0, column0, '
        'row1, column1, or a Shapes layer saved by napari',
    )


def add_similar_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--like`` and ``--similarity``."""
    group = parser.add_argument_group(
        'find similar',
        'With --like, only objects similar to the examples are labelled; the '
        'options of segment everything apply.',
    )
    group.add_argument(
        '--like',
        type=Path,
        metavar='LABELS.tif',
        help='label image of the same plane with one or a few examples',
    )
    group.add_argument(
        '--similarity',
        type=float,
        metavar='S',
        help='minimum similarity; 1 means identical to an example (default: '
        '0.1)',
    )


def check_similar_options(options: argparse.Namespace, prompted: bool) -> None:
    """Refuse conflicting options."""
    if options.like is None:
        return refuse_idle(options, ['similarity'], 'without --like')
    if prompted:
        raise UsageError(
            '--like cannot be combined with prompts: leave out points, boxes '
            'and --text'
        )
    if options.output_kind in ('edges', 'proposals'):
        raise UsageError(
            f'--output-kind {options.output_kind} applies to the whole image: '
            'leave out --like'
        )


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--text``, ``--detector`` and ``--text-score``."""
    group = parser.add_argument_group(
        'text',
        'With --text, a detector draws boxes around objects that the text '
        'names, and each box is a prompt. The built-in detectors were trained '
        'on photographs, not on microscopy.',
    )
    group.add_argument(
        '--text', metavar='WORDS', help='what to find, such as "coin"'
    )
    group.add_argument(
        '--detector',
        metavar='NAME',
        help='a name listed by `detectors` (default: grounding_dino_tiny)',
    )
    group.add_argument(
        '--text-score',
        type=float,
        metavar='S',
        help='minimum score of a box, from 0 to 1 (default: 0.3)',
    )


def check_text_options(
    options: argparse.Namespace, otherwise_prompted: bool
) -> None:
    """Refuse conflicting options."""
    if options.text is None:
        return refuse_idle(
            options, ('detector', 'text_score'), 'without --text'
        )
    if not options.text.strip():
        raise UsageError('--text is empty: say what to find')
    if otherwise_prompted:
        raise UsageError(
            '--text cannot be combined with other prompts: leave out points '
            'and boxes'
        )


def prompts_of(options: argparse.Namespace) -> list[Prompts]:
    """Return the prompts of each object; empty for segment everything."""
    points = np.array(options.point + options.negative).reshape(-1, 2)
    labels = np.repeat([1, 0], [len(options.point), len(options.negative)])
    boxes = [np.array(box) for box in options.box]
    if options.boxes is not None and (len(points) or boxes):
        raise UsageError(
            '--boxes gives one object per box: leave out --point, --negative '
            'and --box'
        )
    if len(boxes) > 1 and len(points):
        raise UsageError(
            f'{len(boxes)} boxes together with points: give one --box with '
            'points for one object, or boxes alone for several'
        )
    if len(boxes) > 1:
        return [Prompts(box=box) for box in boxes]
    if options.negative and not (options.point or boxes):
        raise UsageError(
            '--negative alone selects no object: give a --point or a --box'
        )
    if not len(points) and not boxes:
        return []
    return [Prompts(points, labels, boxes[0] if boxes else None)]


def check_inside(options: argparse.Namespace, shape: tuple[int, int]) -> None:
    """Check that points and boxes are inside an image.

    Parameters
    ----------
    options : Namespace
        Options with points, negative points and boxes in (row, column) data
        pixels.
    shape : tuple of int
        (H, W) of the image.

    Raises
    ------
    InputError
        If a point or a box lies outside all pixels.

    Warns
    -----
    UserWarning
        If a box reaches beyond the image.
    """
    height, width = shape
    last = f'rows are 0 to {height - 1}, columns 0 to {width - 1}'
    for name in ('point', 'negative'):
        for row, column in getattr(options, name):
            # a pixel extends half a pixel around its centre
            if not (
                -0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5
            ):
                raise InputError(
                    f'--{name} {row:g},{column:g} is outside the image: {last}'
                )
    for row0, column0, row1, column1 in options.box:
        text = f'--box {row0:g},{column0:g},{row1:g},{column1:g}'
        if row0 >= row1 or column0 >= column1:
            raise InputError(
                f'{text} has no area: give first row, first column, last row, '
                'last column'
            )
        if row1 <= 0 or column1 <= 0 or row0 >= height or column0 >= width:
            raise InputError(f'{text} is outside the image: {last}')
        warn_beyond('--box', (row0, column0, row1, column1), shape)


def read_boxes(
    path: Path, plane: Sequence[int] | None, image: FilePlane
) -> pd.DataFrame:
    """Read a table of boxes.

    Parameters
    ----------
    path : Path
        CSV with row0, column0, row1, column1, or a Shapes layer saved by
        napari.
    plane : sequence of int, optional
        Plane of the image; of shapes with more axes, only those on it are
        read.
    image : FilePlane
        Image; shapes may lack an axis for its channels.

    Raises
    ------
    ImageError
        If the file is not a table.
    PromptError
        If it is not a table of boxes, has no rows, or no box is on the plane.
    """
    from napari_mobilesam.large.io.tables import read_table
    from napari_mobilesam.segmentation.box_tables import boxes_of_table

    table = read_table(path)
    count = sum(str(name).startswith('axis-') for name in table.columns)
    if plane is not None and len(image.plane) == count - 2:
        plane = tuple(image.plane.values())
    try:
        return boxes_of_table(table, plane)
    except PromptError as error:
        raise PromptError(f'{path}: {error}') from error


def segment_prompts(
    image: NDArray[Any],
    model: Sam,
    objects: Sequence[Prompts],
    diameter: float | None,
    contrast_limits: ContrastLimits | None = None,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Segment one object per element of ``objects``.

    Parameters
    ----------
    image : ndarray
        (H, W) or (H, W, 3 | 4) pixels.
    model : Sam
        Model.
    objects : sequence of Prompts
        Prompts of each object, in (row, column) data pixels.
    diameter : float or None
        Diameter of the objects in pixels; None tries several scales.
    contrast_limits : (low, high), optional
        Values shown as black and white; by default found from the image.

    Returns
    -------
    labels : ndarray
        (H, W) label image; object i has label i + 1.
    table : DataFrame
        One row per object with at least one pixel.
    """
    from napari_mobilesam.segmentation.painting import paint_objects
    from napari_mobilesam.segmentation.predictor import Predictor

    predictor = Predictor(model)
    embedding = predictor.embed(image, contrast_limits=contrast_limits)
    masks = [
        predictor.predict_at_scale(
            embedding, prompts, diameter=diameter
        ).mask()
        for prompts in objects
    ]
    return paint_objects(masks, embedding.image_shape)


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


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(',')]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f'{text!r} is not {form}')
    return values
