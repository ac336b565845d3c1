"""Options of ``segment`` for objects named by a text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.parameter_options import refuse_idle

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam


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


def segment_by_text(
    image: NDArray[Any],
    model: Sam,
    options: argparse.Namespace,
    **given: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Label objects named by ``--text``."""
    from napari_mobilesam.segmentation.box_detectors import DEFAULT_DETECTOR
    from napari_mobilesam.segmentation.text_prompts import (
        TEXT_SCORE,
        segment_text,
    )

    least = options.text_score
    return segment_text(
        image,
        model,
        options.text,
        detector=options.detector or DEFAULT_DETECTOR,
        score=TEXT_SCORE if least is None else least,
        **given,
    )
