"""Options of ``segment`` for objects similar to examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.parameter_options import refuse_idle

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam


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


def segment_similar(
    image: NDArray[Any],
    model: Sam,
    examples: NDArray[Any],
    least: float | None,
    **given: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Label objects similar to the examples of ``--like``.

    See `find_similar`; `least` is the minimum similarity, None for the
    default.
    """
    from napari_mobilesam.segmentation.similar import SIMILARITY, find_similar

    return find_similar(
        image,
        model,
        examples,
        similarity=SIMILARITY if least is None else least,
        **given,
    )
