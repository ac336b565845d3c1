"""``napari-mobilesam export``: convert labels to and from other formats."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_output
from napari_mobilesam.cli.exit_codes import (
    EXIT_CODES_HELP,
    ExitCode,
    InputError,
    OutputError,
    UsageError,
    writing,
)
from napari_mobilesam.cli.image_files import check_folder
from napari_mobilesam.export.coco import SEGMENTATIONS
from napari_mobilesam.export.formats import (
    FORMATS,
    OBJECT_TYPE,
    SEGMENTATION,
    check_used,
    export_labels,
    format_of,
    read_labels,
)
from napari_mobilesam.export.geojson import OBJECT_TYPES
from napari_mobilesam.large.io.tables import read_table
from napari_mobilesam.text import counted

EXPORT_EXAMPLES = f"""\
examples:
  ROIs for the ROI Manager of ImageJ and Fiji
    napari-mobilesam export labels.tif -o cells.zip
  objects for QuPath, with the columns of a table as measurements
    napari-mobilesam export labels.tif -o cells.geojson --table cells.csv
  COCO instances, as polygons
    napari-mobilesam export labels.tif -o cells.json --coco-masks polygons
  labels in the OME-Zarr image that they belong to
    napari-mobilesam export labels.tif -o image.ome.zarr/labels/cells
  back to a label image
    napari-mobilesam export cells.geojson -o labels.tif

exit codes:
{EXIT_CODES_HELP}
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``export``."""
    formats = ', '.join(f'{name}: {text}' for name, text in FORMATS.items())
    parser = commands.add_parser(
        'export',
        help='write labels for ImageJ, QuPath, COCO and others, or read them',
        description='Write labels in the format of another program, or read '
        'them back. The file suffixes determine the formats.',
        epilog=EXPORT_EXAMPLES,
    )
    add_labels_argument(parser)
    add_output(
        parser,
        'FILE',
        '.zip, .geojson, .json, .zarr, .tif or .png',
        'an existing output',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        metavar='FORMAT',
        help=f'format, if the suffix does not determine it; {formats}',
    )
    parser.add_argument(
        '--image',
        type=Path,
        metavar='IMAGE',
        help='image of the labels, for its name, and for OME-Zarr also its '
        'pixel sizes and a link to it; not for ROIs, TIFF and PNG',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv',
        help='one row per label with score, class and measurements, as '
        'written by `segment --table` and `measure`',
    )
    parser.add_argument(
        '--object-type',
        default=OBJECT_TYPE,
        choices=OBJECT_TYPES,
        help='type of the objects in QuPath (default: %(default)s)',
    )
    parser.add_argument(
        '--coco-masks',
        default=SEGMENTATION,
        choices=SEGMENTATIONS,
        help='encoding of masks for COCO (default: %(default)s)',
    )
    parser.set_defaults(run=export_command)


def add_labels_argument(parser: argparse.ArgumentParser) -> None:
    """Add the label image and how to read it."""
    parser.add_argument(
        'labels',
        type=Path,
        metavar='LABELS',
        help='label image (TIFF, PNG, OME-Zarr, Cellpose _seg.npy), ROI '
        'zip, GeoJSON or COCO',
    )
    parser.add_argument(
        '--channel',
        type=int,
        metavar='N',
        help='channel with the labels, from 0, in a TIFF with several',
    )
    parser.add_argument(
        '--shape',
        type=sizes,
        metavar='H,W',
        help='shape of the labels, for ROIs and polygons whose file does not '
        'contain it',
    )


def warn_of_mask(path: Path, pixels: Any, labels: set[int]) -> None:
    """Warn if all objects share one number, as in a binary mask.

    Parameters
    ----------
    path : Path
        File of the labels.
    pixels : array
        Pixels of the file.
    labels : set of int
        All labels in the file.
    """
    mask = pixels.dtype.kind == 'b' or labels <= {255, 65535}
    if len(labels) == 1 and mask:
        warnings.warn(
            f'{path} has only one object, with label {min(labels)}: if it is '
            'a mask, label its parts first, for example with '
            'skimage.measure.label(mask)',
            stacklevel=2,
        )


def export_command(options: argparse.Namespace) -> int:
    """Read labels, and write them in another format."""
    output = options.output
    kind = format_of(output, options.format)
    inputs = [options.labels, options.table]
    # labels may be written into the OME-Zarr image they belong to
    inputs += [options.image] if kind != 'ome-zarr' else []
    if output.resolve() in (path.resolve() for path in inputs if path):
        raise UsageError(f'{output} is an input: give another output')
    check_used(
        kind,
        options.image,
        options.object_type,
        options.coco_masks,
        {
            'image': '--image',
            'object_type': '--object-type',
            'segmentation': '--coco-masks',
        },
    )
    if kind != 'ome-zarr':
        # the folder “labels” of an image may be created
        check_folder(output)
    labels = read_labels(
        options.labels, shape=options.shape, channel=options.channel
    )
    if options.image is not None and not options.image.exists():
        raise InputError(f'there is no file {options.image}')
    if options.table is not None:
        labels = labels.with_table(read_table(options.table))
    with writing(output):
        try:
            done = export_labels(
                labels,
                output,
                image=options.image,
                format=options.format,
                overwrite=options.overwrite,
                object_type=options.object_type,
                segmentation=options.coco_masks,
            )
        except FileExistsError as error:
            # for labels added to an image, their folder
            there = str(error).rstrip('.')
            raise OutputError(f'{there} with --overwrite') from error
    print(f'{done.path}: {counted(done.objects, "object")}')
    return ExitCode.OK


def sizes(text: str) -> tuple[int, ...]:
    """Parse ``'512,512'`` or ``'10,512,512'``."""
    try:
        shape = tuple(int(part) for part in text.split(','))
    except ValueError:
        shape = ()
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not H,W, such as 512,512 or 10,512,512'
        )
    return shape
