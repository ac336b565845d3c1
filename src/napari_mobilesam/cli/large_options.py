"""Options of ``segment`` for large images."""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_mobilesam.cli.exit_codes import UsageError
from napari_mobilesam.cli.image_files import LABEL_SUFFIXES
from napari_mobilesam.cli.parameter_options import refuse_given, typed_options
from napari_mobilesam.cli.value_types import whole_number
from napari_mobilesam.readers.open_image import (
    ZIPPED_SUFFIXES,
    axis_names,
    is_url,
    open_pyramid,
)
from napari_mobilesam.readers.tiff import (
    holds_several,
    is_tiff,
    opened_series,
    plane_pixels,
)

# A plane with more pixels is segmented in tiles that are kept on disk.
LARGE_PIXELS = 64_000_000
# files that are read window by window
LAZY_SUFFIXES = ('.zarr', '.npy', *ZIPPED_SUFFIXES)
ZARR_FILES = ('zarr.json', '.zgroup', '.zarray')
GROUP_FILES = ('zarr.json', '.zgroup', '.zattrs')
# options of what is done in memory, a plane at a time
IN_MEMORY = (
    'point',
    'negative',
    'box',
    'boxes',
    'region',
    'skip',
    'like',
    'similarity',
    'text',
    'detector',
    'text_score',
)
# of options that imply tiles, those that both understand
ALSO_IN_MEMORY = ('channels', 'axes')
# options that imply tiles; the number of workers does not
ONLY_LARGE = (
    'executor',
    'scheduler',
    'planes',
    'channels',
    'axes',
    'select',
    'link',
    'resume',
    'restart',
)


def add_large_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of large images."""
    large = parser.add_argument_group(
        'large images',
        'A zarr, OME-Zarr or .npy, a TIFF with more than '
        f'{LARGE_PIXELS // 1_000_000} million pixels per plane, and any '
        'output ending in .zarr, is processed tile by tile. Finished tiles '
        'are kept: the same command continues where it stopped.',
    )
    _add_workers(large)
    _add_parts(large)
    large.add_argument(
        '--link',
        action=argparse.BooleanOptionalAction,
        default=None,
        help='give an object one label through z or time (default: yes)',
    )
    again = large.add_mutually_exclusive_group()
    again.add_argument(
        '--resume',
        action='store_true',
        default=None,
        help='continue an unfinished run, and fail if there is none',
    )
    again.add_argument(
        '--restart',
        action='store_true',
        default=None,
        help='discard the tiles of an unfinished run and start over',
    )


def _add_workers(large: argparse._ArgumentGroup) -> None:
    large.add_argument(
        '--workers',
        type=whole_number(1),
        metavar='N',
        help='threads or processes (default: one per core)',
    )
    large.add_argument(
        '--executor',
        choices=('threads', 'processes', 'serial'),
        help='what processes the tiles (default: threads)',
    )
    large.add_argument(
        '--scheduler',
        metavar='ADDRESS',
        help='use a Dask cluster: tcp://host:8786',
    )


def _add_parts(large: argparse._ArgumentGroup) -> None:
    """Add options that select planes and channels."""
    large.add_argument(
        '--planes',
        type=plane_range,
        metavar='A:B',
        help='only planes A to B - 1 of a stack or time series',
    )
    large.add_argument(
        '--channels',
        type=channel_numbers,
        metavar='C[,C…]',
        help='one channel (gray), or up to three as red, green, blue; also '
        'of an image that is not large',
    )
    large.add_argument(
        '--axes',
        metavar='TZCYX',
        help='a letter for each axis, if the file does not specify them, '
        'such as cyx; also of an image that is not large',
    )
    large.add_argument(
        '--select',
        type=axis_index,
        action='append',
        metavar='AXIS=I',
        help='index along a time or z axis, such as t=0; may be repeated',
    )


def in_memory_options(options: argparse.Namespace) -> list[str]:
    """Return the given options that need the plane in memory."""
    given = typed_options(options, IN_MEMORY)
    kind = getattr(options, 'output_kind', 'labels')
    return given if kind == 'labels' else [*given, f'--output-kind {kind}']


def tile_options(options: argparse.Namespace) -> list[str]:
    """Return the given options that ask for tiles."""
    names = set(ONLY_LARGE)
    if in_memory_options(options):
        names -= set(ALSO_IN_MEMORY)
    return typed_options(options, sorted(names))


def wants_tiles(options: argparse.Namespace) -> bool:
    """Return whether an image is segmented in tiles kept on disk.

    Parameters
    ----------
    options : Namespace
        Options of ``segment``.
    """
    if is_zarr(options.output) or tile_options(options):
        return True
    path = options.image
    if (
        any((path / name).exists() for name in ZARR_FILES)
        or path.suffix.lower() in LAZY_SUFFIXES
    ):
        # other work needs the plane in memory
        return not in_memory_options(options) or (
            _array_pixels(path) > LARGE_PIXELS
        )
    return _tiff_pixels(path, options.series) > LARGE_PIXELS


def refuse_in_tiles(options: argparse.Namespace) -> None:
    """Refuse options that need the plane in memory.

    Raises
    ------
    UsageError
        If one is given.
    """
    given = in_memory_options(options)
    asked = tile_options(options)
    if given and asked:
        raise UsageError(
            f'{", ".join(asked)} is for images processed in tiles, where '
            f'{", ".join(given)} cannot be used: leave out one or the other. '
            '--plane chooses a plane'
        )
    refuse_given(
        given,
        'not for images processed in tiles',
        f'give an image of at most {LARGE_PIXELS:,} pixels per plane, and an '
        'output that ends in .tif',
    )


def is_zarr(path: Path) -> bool:
    """Return whether an output is a zarr, or labels inside one.

    This depends on the suffix; a name without one is a zarr if it is inside
    the ``labels`` folder of an OME-Zarr.
    """
    suffix = path.suffix.lower()
    if suffix == '.zarr':
        return True
    inside = path.parent.name == 'labels' and any(
        (path.parent.parent / name).exists() for name in GROUP_FILES
    )
    return inside and suffix not in (*LABEL_SUFFIXES, '.csv')


def _array_pixels(path: Path) -> int:
    """Return the number of pixels per plane of a zarr or .npy."""
    try:
        pyramid = open_pyramid(path)
        names, shape = axis_names(pyramid), pyramid.arrays[0].shape
        sizes = dict(zip(names, shape, strict=True))
    # errors are reported when the file is read
    except Exception:  # noqa: BLE001
        return 0
    return int(sizes.get('y', 1)) * int(sizes.get('x', 1))


def _tiff_pixels(path: Path, series: int | None) -> int:
    """Return the number of pixels per plane of a TIFF, 0 for other files."""
    if is_url(str(path)) or not is_tiff(path):
        return 0
    if series is not None and not holds_several(path):
        series = None
    try:
        with opened_series(path, series) as (_, chosen, _):
            return plane_pixels(chosen)
    # errors are reported when the file is read
    except Exception:  # noqa: BLE001
        return 0


def plane_range(text: str) -> tuple[int, int]:
    """Parse ``'10:20'``."""
    first, colon, last = text.partition(':')
    if not (colon and first.isdecimal() and last.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r} is not A:B such as 10:20')
    return int(first), int(last)


def channel_numbers(text: str) -> int | tuple[int, ...]:
    """Parse ``'1'`` or ``'2,0'``."""
    parts = text.split(',')
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not C or C,C…, such as 1 or 2,0'
        )
    numbers = tuple(map(int, parts))
    return numbers if len(numbers) > 1 else numbers[0]


def axis_index(text: str) -> tuple[str, int]:
    """Parse ``'t=0'``."""
    name, equals, index = text.partition('=')
    if not (name and equals and index.isdecimal()):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not AXIS=I, such as t=0'
        )
    return name, int(index)
