"""Kinds of output of ``segment``: labels, images and tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.image_files import (
    LABEL_SUFFIXES,
    LABEL_TIFF_SUFFIXES,
    FilePlane,
    check_labels_path,
    write_labels,
    write_tiff,
)
from napari_mobilesam.cli.parameter_options import refuse_idle
from napari_mobilesam.large.io.tables import write_table
from napari_mobilesam.text import counted

if TYPE_CHECKING:
    import pandas as pd

# Kind and its description in ``--help``.
KINDS = {
    'labels': 'one number per object (TIFF, PNG)',
    'semantic': '1 for objects, 0 elsewhere (TIFF, PNG)',
    'outlines': "polygons as in napari's Shapes files (CSV)",
    'edges': 'strength of edges from 0 to 1 (TIFF)',
    'proposals': 'boxes that may contain objects, most likely first (CSV)',
}
TABLES = ('outlines', 'proposals')
# Kinds that are not derived from labels.
UNLABELLED = ('edges', 'proposals')


class SegmentOutput(NamedTuple):
    """Output of one kind, ready to be written.

    Attributes
    ----------
    write : callable
        Writes the output to a path.
    table : DataFrame or None
        One row per object.
    summary : str
        Short description, such as ``'3 objects'``.
    channel : int or None
        Segmented channel of an image with several.
    unused : tuple of str
        Options of ``segment`` that would not have changed it.
    """

    write: Callable[[Path], None]
    table: pd.DataFrame | None
    summary: str
    channel: int | None = None
    unused: tuple[str, ...] = ()


def add_kind_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--output-kind``."""
    kinds = ', '.join(f'{kind}: {text}' for kind, text in KINDS.items())
    parser.add_argument(
        '--output-kind',
        choices=KINDS,
        default='labels',
        metavar='KIND',
        help=f'what to write: {kinds} (default: labels)',
    )


def check_kind(options: argparse.Namespace, prompted: bool) -> None:
    """Refuse a kind that does not suit the output or other options."""
    kind, output = options.output_kind, options.output
    if kind in TABLES:
        if output.suffix.lower() != '.csv':
            raise UsageError(
                f'--output-kind {kind} is a table: {output} must end in .csv'
            )
    elif kind == 'edges':
        check_labels_path(output, LABEL_TIFF_SUFFIXES)
        refuse_idle(options, ['skip'], 'with --output-kind edges')
    else:
        # tiled segmentation to zarr is checked elsewhere
        check_labels_path(output, (*LABEL_SUFFIXES, '.zarr'))
    if kind in UNLABELLED:
        if prompted:
            raise UsageError(
                f'--output-kind {kind} applies to the whole image: leave out '
                'points and boxes'
            )
        if options.table:
            raise UsageError(
                f'--table describes labels, but --output-kind {kind} has '
                'none: leave it out'
            )


def of_labels(
    kind: str, labels: NDArray[Any], table: pd.DataFrame, image: FilePlane
) -> SegmentOutput:
    """Return labels of an image, or output derived from them."""
    summary = counted(len(table), 'object')
    if kind == 'outlines':
        shapes = outline_table(labels)
        return SegmentOutput(
            lambda path: write_table(shapes, path), table, summary
        )
    if kind == 'semantic':
        labels = (labels > 0).astype(np.uint8)
    return SegmentOutput(
        lambda path: write_labels(path, labels, image), table, summary
    )


def of_edges(edges: NDArray[np.float32], image: FilePlane) -> SegmentOutput:
    """Return a picture of edges."""
    return SegmentOutput(
        lambda path: write_tiff(path, edges, image), None, 'edges'
    )


def of_proposals(boxes: pd.DataFrame) -> SegmentOutput:
    """Return a table of boxes."""
    summary = counted(len(boxes), 'box', 'boxes')
    return SegmentOutput(lambda path: write_table(boxes, path), None, summary)


def outline_table(labels: NDArray[Any]) -> pd.DataFrame:
    """Return outlines as a table that napari reads into a Shapes layer.

    Returns
    -------
    DataFrame
        Columns index (one per label), shape-type, vertex-index, axis-0,
        axis-1.
    """
    import pandas as pd

    from napari_mobilesam.segmentation.outlines import mask_outlines

    rows = [
        (index, 'polygon', vertex, row, column)
        for index, outline in enumerate(mask_outlines(labels))
        for vertex, (row, column) in enumerate(outline.tolist())
    ]
    columns = ['index', 'shape-type', 'vertex-index', 'axis-0', 'axis-1']
    return pd.DataFrame.from_records(rows, columns=columns)
