"""Export of tracks for other programs; the suffix determines the format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from napari_mobilesam.argument_checks import (
    check_instance,
    check_number,
    check_path,
    check_sizes,
    check_text,
    quoted,
)
from napari_mobilesam.export.formats import export_labels
from napari_mobilesam.files import atomic_path, new_folder
from napari_mobilesam.large.io.tables import write_table
from napari_mobilesam.tracking.ctc import write_ctc
from napari_mobilesam.tracking.geff_graph import write_geff
from napari_mobilesam.tracking.objects_in_time import (
    check_series,
    objects_in_time,
)
from napari_mobilesam.tracking.pixel_size import PixelSize
from napari_mobilesam.tracking.trackmate import write_trackmate
from napari_mobilesam.tracking.tracks import TrackError, Tracks
from napari_mobilesam.units import unit_name

# Format → description, for ``--help``.
FORMATS = {
    'ctc': 'Cell Tracking Challenge (a folder)',
    'trackmate': 'TrackMate in Fiji (.xml)',
    'geff': 'graph exchange file format (.geff)',
    'table': 'one row per object (.csv, .parquet)',
    'labels': 'one label per track (.tif)',
}
# Minimum seconds between frames.
SHORTEST = 1e-9
# Formats that store the labels, or the sizes of their objects.
USE_LABELS = ('ctc', 'labels', 'trackmate')
FILE_TYPE = re.compile(r'\.[a-z][a-z0-9]*')
SUFFIXES = {
    '': 'ctc',
    '.xml': 'trackmate',
    '.geff': 'geff',
    '.csv': 'table',
    '.parquet': 'table',
    '.tif': 'labels',
    '.tiff': 'labels',
}


def track_format(path: Path) -> str:
    """Return the format of a file or folder of tracks, by its suffix.

    Raises
    ------
    TrackError
        If no format has the suffix.
    """
    suffix = path.suffix.lower()
    # folder names may contain dots, as in 2026.11.29 or 0.5 uM
    known = SUFFIXES.get(suffix if FILE_TYPE.fullmatch(suffix) else '')
    if known is None:
        raise TrackError(
            f'{path.name}: tracks are written as .xml (TrackMate), .geff, '
            '.csv, .parquet, .tif, or a folder without suffix (Cell Tracking '
            'Challenge).'
        )
    return known


def export_tracks(
    tracks: Tracks,
    path: str | Path,
    labels: Any = None,
    *,
    scale: tuple[float, ...] | None = None,
    units: str | None = None,
    interval: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write tracks for another program.

    Parameters
    ----------
    tracks : Tracks
        Result of `track_labels`.
    path : path
        The suffix determines the format: ``.xml`` TrackMate, ``.geff``,
        ``.csv`` or ``.parquet`` a table, ``.tif`` labels with one number per
        track, no suffix a folder of the Cell Tracking Challenge, whose name
        may have dots before a digit.
    labels : array, optional
        (frame, row, column) or (frame, plane, row, column) labels that were
        tracked. Required for label images and the Cell Tracking Challenge;
        TrackMate takes the sizes of objects from them.
    scale : tuple of float, optional
        Pixel size along each spatial axis.
    units : str, optional
        Unit of the scale, such as ``'micrometer'`` or ``'µm'``.
    interval : float, optional
        Seconds between frames, for TrackMate, GEFF and labels. Tables and the
        Cell Tracking Challenge count frames.
    overwrite : bool
        Replace an existing file. Folders are never replaced.

    Returns
    -------
    Path
        File or folder that was written.

    Raises
    ------
    TrackError
        If the suffix is unknown, or the labels are required but missing or
        not those that were tracked.
    OSError
        If the file or folder exists or cannot be written.
    """
    check_path('path', path)
    check_instance('tracks', tracks, Tracks, optional=False)
    if scale is not None:
        _check_scale(scale, tracks.positions.shape[1])
    if units is not None:
        check_text('units', units)
        units = unit_name(units) or units
    if interval is not None:
        check_number('interval', interval, SHORTEST)
    size = PixelSize(scale, units, interval)
    path = Path(path)
    kind = track_format(path)
    if labels is None and kind in ('ctc', 'labels'):
        raise TrackError(f'{path.name} needs the labels that were tracked.')
    if labels is not None:
        check_series(labels)
        if kind in USE_LABELS:
            _check_tracked(tracks, labels)
    _check_place(path, overwrite and kind not in ('ctc', 'geff'))
    if kind == 'table':
        write_table(tracks.table(), path)
    elif kind == 'labels':
        _write_labels(tracks, path, labels, size, overwrite)
    elif kind == 'trackmate':
        sizes = None if labels is None else _diameters(tracks, labels)
        with atomic_path(path, keep_suffix=True) as temporary:
            write_trackmate(tracks, temporary, size=size, diameters=sizes)
    elif kind == 'geff':
        with new_folder(path) as temporary:
            write_geff(tracks, temporary, size=size)
    else:
        with new_folder(path) as temporary:
            write_ctc(tracks, labels, temporary)
    return path


def _check_scale(scale: Any, axes: int) -> None:
    """Raise `SegmentationError` unless there is one size for each axis."""
    # a size of the frames may come first
    check_sizes('scale', scale, axes + 1)
    if len(scale) < axes:
        raise TrackError(
            f'scale is {quoted(scale)}; give {axes} numbers, one for each '
            'spatial axis.'
        )


def _check_tracked(tracks: Tracks, labels: Any) -> None:
    """Raise `TrackError` if labels are not those that were tracked.

    Fewer than half of the objects may have been drawn or erased since.
    """
    ndim = 1 + tracks.positions.shape[1]
    if len(labels.shape) != ndim:
        raise TrackError(
            f'labels has {len(labels.shape)} axes, but the tracked labels had '
            f'{ndim}: give the labels that were tracked.'
        )
    wanted = set(
        zip(tracks.frames.tolist(), tracks.labels.tolist(), strict=True)
    )
    there = {
        (frame, label)
        for frame in range(labels.shape[0])
        for label in np.unique(np.asarray(labels[frame])).tolist()
        if label
    }
    common = len(wanted & there)
    if 2 * common <= max(len(wanted), len(there)) and wanted != there:
        raise TrackError(
            f'{len(wanted):,} objects were tracked, but only {common:,} of '
            f'the {len(there):,} objects of labels are among them: give the '
            'labels that were tracked.'
        )


def _write_labels(
    tracks: Tracks,
    path: Path,
    labels: Any,
    size: PixelSize,
    overwrite: bool,
) -> None:
    frames = [
        tracks.relabelled(frame, np.asarray(labels[frame]))
        for frame in range(labels.shape[0])
    ]
    spatial = tracks.positions.shape[1]
    sizes, units = size.along(spatial)
    export_labels(
        np.stack(frames),
        path,
        axes='tzyx' if spatial == 3 else 'tyx',
        scale=sizes if size.known else (),
        units=units if size.known else (),
        overwrite=overwrite,
    )


def _diameters(tracks: Tracks, labels: Any) -> dict[int, float]:
    """Return the diameter of each object in pixels, by index."""
    objects = objects_in_time(labels)
    pairs = zip(objects.frames.tolist(), objects.labels.tolist(), strict=True)
    known = dict(zip(pairs, objects.diameters.tolist(), strict=True))
    wanted = zip(tracks.frames.tolist(), tracks.labels.tolist(), strict=True)
    return {
        index: known[pair]
        for index, pair in enumerate(wanted)
        if pair in known
    }


def _check_place(path: Path, overwrite: bool) -> None:
    if path.exists() and not (overwrite and path.is_file()):
        what = 'folder' if path.is_dir() else 'file'
        raise FileExistsError(
            f'The {what} {path} already exists: remove it, or choose another '
            'name.'
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f'There is no folder {path.parent}.')
