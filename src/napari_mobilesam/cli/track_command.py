"""``napari-mobilesam track``: track the objects of a time series."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_quiet
from napari_mobilesam.cli.exit_codes import (
    ExitCode,
    InputError,
    OutputError,
    UsageError,
    writing,
)
from napari_mobilesam.cli.export_commands import warn_of_mask
from napari_mobilesam.cli.image_files import check_folder
from napari_mobilesam.cli.parameter_options import add_options, given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.text import counted
from napari_mobilesam.tracking.pixel_size import NO_SIZE, PixelSize
from napari_mobilesam.tracking.track_formats import (
    FORMATS,
    export_tracks,
    track_format,
)
from napari_mobilesam.tracking.track_linking import (
    LinkingParameters,
    track_labels,
)

EXAMPLES = """\
examples:
  from a movie to labels of every frame, and to tracks
    napari-mobilesam segment movie.tif -o labels.ome.zarr --no-link
    napari-mobilesam track labels.ome.zarr -o tracks/
  a folder of the Cell Tracking Challenge
    napari-mobilesam track labels.tif -o tracks/
  TrackMate, for cells that move up to 40 pixels between frames
    napari-mobilesam track labels.tif -o tracks.xml --max-distance 40
  labels with one number per track, without divisions, and a table
    napari-mobilesam track labels.tif -o tracked.tif tracks.csv \\
        --no-divisions
  with trackastra, which compares the objects in the image
    napari-mobilesam track labels.tif -o tracks/ --linker trackastra \\
        --image movie.tif
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``track``."""
    formats = '; '.join(FORMATS.values())
    parser = commands.add_parser(
        'track',
        help='track the labelled objects of a time series',
        description='Link the objects of each frame to those of the next by '
        f'distance and overlap, with divisions. Output formats: {formats}.',
        epilog=EXAMPLES,
    )
    parser.add_argument(
        'labels',
        type=Path,
        metavar='LABELS',
        help='labels (frame, row, column) or (frame, plane, row, column)',
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        nargs='+',
        required=True,
        metavar='OUT',
        help='files or folders to write; each suffix determines the format',
    )
    add_options(parser, LinkingParameters)
    parser.add_argument(
        '--image',
        type=Path,
        metavar='IMAGE',
        help='image of the labels, of the same shape, for --linker trackastra',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing files'
    )
    add_quiet(parser)
    parser.set_defaults(run=track_command)


def track_command(options: argparse.Namespace) -> int:
    """Read the labels, link their objects, and write the tracks."""
    inputs = {
        path.resolve()
        for path in (options.labels, options.image)
        if path is not None
    }
    resolved = [path.resolve() for path in options.output]
    for number, path in enumerate(options.output):
        track_format(path)
        check_folder(path)
        if path.resolve() in resolved[:number]:
            raise OutputError(f'{path} is given twice')
        if path.resolve() in inputs:
            raise UsageError(f'{path} is an input: give another output')
        if path.exists() and not (options.overwrite and path.is_file()):
            hint = ', or give --overwrite' if path.is_file() else ''
            raise OutputError(
                f'{path} exists: remove it or choose another name{hint}'
            )
    parameters = LinkingParameters(**given_options(options, LinkingParameters))
    given = read_labels(options.labels, frames=True)
    if given.labels.ndim < 3:
        raise InputError(
            f'{options.labels} is a single label image {given.labels.shape}; '
            'give a time series, with frames along the first axis'
        )
    images = None
    if options.image is not None:
        images = open_pyramid(options.image, lazy=False).arrays[0]
    with ProgressLine(quiet=options.quiet) as progress:
        tracks = track_labels(given.labels, parameters, progress, images)
        for path in options.output:
            progress(0, 1, f'Writing {path.name}')
            _write(tracks, given, path, options.overwrite)
    warn_of_mask(options.labels, given.labels, set(tracks.labels.tolist()))
    divided = len(tracks.divisions)
    print(
        f'{counted(tracks.count, "track")} of {counted(len(tracks), "object")}'
        f', {counted(divided, "division")}: '
        + ', '.join(str(path) for path in options.output)
    )
    return ExitCode.OK


def _write(
    tracks: Any, given: LabelsWithTable, path: Path, overwrite: bool
) -> None:
    size = NO_SIZE
    if given.scale:
        size = PixelSize.of_axes(
            given.scale, given.units or [None] * len(given.scale)
        )
    with writing(path):
        export_tracks(
            tracks,
            path,
            given.labels,
            overwrite=overwrite,
            **size._asdict(),
        )
