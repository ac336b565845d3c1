"""``napari-mobilesam detectors``: list and download box detectors."""

from __future__ import annotations

import argparse
from typing import Any

from napari_mobilesam.cli.command_parser import add_quiet
from napari_mobilesam.cli.exit_codes import (
    DownloadError,
    ExitCode,
    UsageError,
)
from napari_mobilesam.cli.progress import ProgressLine

ABOUT = (
    'Detectors draw boxes around objects that a text names (segment --text). '
    'The downloadable ones were trained on photographs, not on microscopy. '
    'Other packages add detectors through the entry-point group '
    'napari_mobilesam.detectors.'
)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``detectors``."""
    parser = commands.add_parser(
        'detectors',
        help='list and download detectors for segment --text',
        description=ABOUT,
    )
    parser.set_defaults(run=list_command)
    actions = parser.add_subparsers(title='actions', metavar='ACTION')
    listing = actions.add_parser('list', help='list the detectors')
    listing.set_defaults(run=list_command)
    download = actions.add_parser(
        'download', help='download the weights of a detector'
    )
    download.add_argument('name', metavar='NAME')
    add_quiet(download)
    download.set_defaults(run=download_command)


def list_command(options: argparse.Namespace) -> int:
    """Print one line per detector."""
    from napari_mobilesam.model.text_detectors import RECORDS
    from napari_mobilesam.segmentation.box_detectors import detector_names

    names = detector_names()
    width = max(map(len, names))
    for name in names:
        record = RECORDS.get(name)
        if record is None:
            print(f'{name:<{width}}  from another package')
            continue
        here = 'ready' if record.here else 'to download'
        print(f'{name:<{width}}  {here:<11}  {record.text}')
    return ExitCode.OK


def download_command(options: argparse.Namespace) -> int:
    """Download one detector and print its location."""
    from napari_mobilesam.model.text_detectors import (
        RECORDS,
        DetectorError,
        download_detector,
    )

    record = RECORDS.get(options.name)
    if record is None:
        raise UsageError(
            f'no detector named {options.name!r} can be downloaded; choose '
            f'from {", ".join(RECORDS)}'
        )
    with ProgressLine(quiet=options.quiet) as progress:
        progress(0, 1, f'{options.name}: {record.text}')
        try:
            path = download_detector(options.name, progress)
        except DetectorError as error:
            raise DownloadError(str(error)) from error
    print(path)
    return ExitCode.OK
