"""``napari-mobilesam measure``: measure the objects of a label image."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from napari_mobilesam.cli.command_parser import add_output, add_quiet
from napari_mobilesam.cli.exit_codes import ExitCode, InputError, UsageError
from napari_mobilesam.cli.export_commands import (
    add_labels_argument,
    warn_of_mask,
)
from napari_mobilesam.cli.image_files import output_file
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.export.exported import LabelsWithTable
from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.large.io.tables import (
    check_table_path,
    read_table,
    write_table,
)
from napari_mobilesam.readers.axes import read_axes
from napari_mobilesam.readers.open_image import open_pyramid
from napari_mobilesam.readers.unread_views import Reordered
from napari_mobilesam.text import counted
from napari_mobilesam.units import in_one_unit, symbol_of

PICTURES = ('.png', '.jpg', '.jpeg')

EXAMPLES = """\
examples:
  shapes and intensities, in pixels and in the units of the file
    napari-mobilesam measure labels.tif --image cells.tif -o cells.csv
  a pixel of 0.65 µm, classes and scores from another table
    napari-mobilesam measure labels.tif -o cells.csv --scale 0.65,0.65 \\
        --units µm --table objects.csv
  a large image, in parts
    napari-mobilesam measure cells.ome.zarr --image slide.ome.zarr \\
        -o cells.parquet
"""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``measure``."""
    parser = commands.add_parser(
        'measure',
        help='measure shapes and intensities of the objects of a label image',
        description='Measure every object: area, centroid, axes, '
        'eccentricity, solidity, perimeter, and mean, minimum, maximum and '
        'standard deviation of the intensity of each channel.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_labels_argument(parser)
    add_output(
        parser,
        'TABLE.csv|.parquet',
        'table to write, one row per object and plane',
        'an existing table',
    )
    parser.add_argument(
        '--image',
        type=Path,
        metavar='IMAGE',
        help='image in which to measure intensities, with the shape of the '
        'labels',
    )
    parser.add_argument(
        '--table',
        type=Path,
        metavar='TABLE.csv',
        help='table whose class, score and stability are added',
    )
    parser.add_argument(
        '--scale',
        type=pixel_sizes,
        metavar='S,S',
        help='pixel size along each axis (default: that of the labels)',
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


def measure_command(options: argparse.Namespace) -> int:
    """Read labels and image, measure, and write the table."""
    from napari_mobilesam.measure.object_table import measure_objects

    check_table_path(options.output)
    inputs = [
        path
        for path in (options.labels, options.image, options.table)
        if path is not None
    ]
    labels = read_labels(
        options.labels, shape=options.shape, channel=options.channel
    )
    labels = _with_axes(labels, 3)
    image = None
    if options.image is not None:
        image = open_image(options.image, labels.axes)
        if tuple(image.shape[:2]) == labels.shape[-2:]:
            labels = _with_axes(labels, 2)
    known = labels.table
    if options.table is not None:
        known = read_table(options.table)
    scale, units = _scale(options, labels)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(ProgressLine(quiet=options.quiet))
        commit = stack.enter_context(
            output_file(options.output, options.overwrite, inputs)
        )
        table = measure_objects(
            labels.labels,
            image,
            scale=scale,
            units=units,
            table=known,
            volumes=options.volumes,
            progress=progress,
        )
        commit(lambda path: write_table(table, path))
    warn_of_mask(options.labels, labels.labels, set(table['label']))
    print(f'{options.output}: {counted(len(table), "object")}')
    return ExitCode.OK


def _with_axes(labels: LabelsWithTable, most: int) -> LabelsWithTable:
    """Drop leading axes of length one while there are too many."""
    single = [axis for axis, size in enumerate(labels.shape[:-2]) if size == 1]
    left_out = single[: max(0, len(labels.shape) - most)]
    if not left_out:
        return labels
    kept = [n for n in range(len(labels.shape)) if n not in left_out]
    return LabelsWithTable(
        Reordered(labels.labels, kept),
        labels.table,
        axes=''.join(labels.axes[axis] for axis in kept),
        scale=tuple(labels.scale[axis] for axis in kept if labels.scale),
        units=tuple(labels.units[axis] for axis in kept if labels.units),
    )


def _scale(
    options: argparse.Namespace, labels: LabelsWithTable
) -> tuple[tuple[float, ...] | None, str | None]:
    """Return pixel size and unit, as given or stated in the file."""
    if options.scale:
        # the unit in the file belongs to the size that is replaced
        unit = symbol_of(options.units) if options.units else None
        return options.scale, unit
    scale, units = labels.scale, labels.units or ()
    if not scale:
        if options.units:
            raise UsageError(
                f'--units {options.units} needs a pixel size, which '
                f'{options.labels} does not have: give --scale'
            )
        return None, None
    if not any(units):
        if not options.units:
            return None, None
        return scale, symbol_of(options.units)
    # for planes, only the last two axes count
    first = 0 if options.volumes else len(scale) - 2
    sizes, symbol = in_one_unit(scale[first:], units[first:], options.units)
    if options.units and sizes is None:
        named = ', '.join(unit or 'no unit' for unit in units[first:])
        raise UsageError(
            f'--units {options.units}: {options.labels} has pixel sizes in '
            f'{named}; give --scale too'
        )
    return sizes and (*scale[:first], *sizes), symbol


def open_image(path: Path, wanted: str) -> Any:
    """Open an image with channels last, read in parts if possible.

    Parameters
    ----------
    path : Path
        File or folder of the image.
    wanted : str
        Axes of the labels; see `channels_last`.

    Raises
    ------
    InputError, ImageError
        If the image cannot be read.
    """
    if path.suffix.lower() in PICTURES:
        from napari_mobilesam.cli.image_files import read_image

        pixels = read_image(path, single=True).pixels
        # the fourth channel of a picture is alpha
        return pixels[..., :3] if pixels.ndim == 3 else pixels
    pyramid = open_pyramid(path)
    array = pyramid.arrays[0]
    names = pyramid.axes
    if names is None:
        axes = read_axes(array.shape)
        names = axes.names
    return channels_last(array, names, wanted)


def channels_last(array: Any, names: str, wanted: str) -> Reordered:
    """Return an array as (…, rows, columns[, channels]), without reading it.

    Unwanted axes of length one are left out.

    Parameters
    ----------
    array : array
        Array indexed like a NumPy array.
    names : str
        A letter from ``'tzcsyx'`` for each axis.
    wanted : str
        Letters of axes to keep in any case.

    Raises
    ------
    InputError
        If columns come before rows.
    """
    kept = [
        axis
        for axis, name in enumerate(names)
        if name in wanted or array.shape[axis] > 1
    ]
    order = [axis for axis in kept if names[axis] not in 'cs']
    order += [axis for axis in kept if names[axis] in 'cs']
    if [names[a] for a in order if names[a] in 'yx'] != ['y', 'x']:
        raise InputError(
            f'the axes {names} do not have rows before columns: save the '
            'image as (…, y, x)'
        )
    return Reordered(array, order)


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
