"""Export of labels to any format, and back: the suffix decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    check_number,
    check_path,
    check_sizes,
    check_text,
    quoted,
)
from napari_mobilesam.export.exported import ExportError, LabelsWithTable
from napari_mobilesam.files import atomic_path
from napari_mobilesam.palette import rgb
from napari_mobilesam.types import ImageError, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

# Format → what it is, for ``--help``.
FORMATS = {
    'roi': 'ROIs of ImageJ and Fiji (.zip)',
    'geojson': 'objects for QuPath (.geojson)',
    'coco': 'COCO instances (.json)',
    'ome-zarr': 'labels with colours and properties (.zarr)',
    'tiff': 'label image (.tif)',
    'png': 'label image of 16 bits (.png)',
}
SUFFIXES = {
    '.zip': 'roi',
    '.roi': 'roi',
    '.geojson': 'geojson',
    '.json': 'coco',
    '.zarr': 'ome-zarr',
    '.tif': 'tiff',
    '.tiff': 'tiff',
    '.png': 'png',
}
# Argument of `export_labels` → formats that it changes.
USED_BY = {
    'image': ('geojson', 'coco', 'ome-zarr'),
    'object_type': ('geojson',),
    'segmentation': ('coco',),
}
OBJECT_TYPE, SEGMENTATION = 'detection', 'rle'


class Exported(NamedTuple):
    """Summary of an export.

    Attributes
    ----------
    path : Path
        Where; of labels that are added to an OME-Zarr image, their folder.
    format : str
        A key of `FORMATS`.
    objects : int
        Objects, counted on each plane; of label images and OME-Zarr the
        number of labels.
    """

    path: Path
    format: str
    objects: int


def format_of(path: Path, name: str | None = None) -> str:
    """Format of a file by its suffix, or the one that is named.

    Raises
    ------
    ExportError
        If neither tells.
    """
    if name is not None:
        check_text('format', name)
        if name not in FORMATS:
            raise ExportError(
                f'There is no format {name!r}: choose {", ".join(FORMATS)}.'
            )
        return name
    if path.parent.name == 'labels' and path.parent.parent.suffix == '.zarr':
        return 'ome-zarr'
    known = SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise ExportError(
            f'{path} does not tell its format: end it in '
            f'{", ".join(SUFFIXES)}, or name one of {", ".join(FORMATS)}.'
        )
    return known


def check_used(
    kind: str,
    image: Any,
    object_type: str,
    segmentation: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Refuse what a format does not use.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`.
    image, object_type, segmentation
        As of `export_labels`.
    names : mapping, optional
        What the arguments are called, where it is not so.

    Raises
    ------
    ExportError
        One of them is given, and would change nothing.
    """
    given = {
        'image': image is not None,
        'object_type': object_type != OBJECT_TYPE,
        'segmentation': segmentation != SEGMENTATION,
    }
    for argument, formats in USED_BY.items():
        if given[argument] and kind not in formats:
            name = (names or {}).get(argument, argument)
            raise ExportError(
                f'{name} is of no use to the format {kind}, only to '
                f'{", ".join(formats)}: leave it out.'
            )


def export_labels(
    labels: Any,
    path: str | Path,
    *,
    table: pd.DataFrame | None = None,
    class_colors: Mapping[str, str] | None = None,
    axes: str = '',
    scale: tuple[float, ...] = (),
    units: tuple[str | None, ...] = (),
    name: str | None = None,
    image: str | Path | None = None,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
    object_type: str = OBJECT_TYPE,
    segmentation: str = SEGMENTATION,
) -> Exported:
    """Write labels in the format of another program.

    Parameters
    ----------
    labels : array or LabelsWithTable
        (H, W), (planes, H, W) or (T, Z, H, W) integers, 0 is background. What
        else is given goes before what they know.
    path : path
        File or folder to write; its suffix tells the format.
    table : DataFrame, optional
        A row per object: its label in a column ``label`` or ``index``, its
        ``class``, ``score``, and measurements.
    class_colors : mapping, optional
        Class to colour, ``'#rrggbb'`` or a name such as ``'orange'``.
    axes : str, optional
        A letter for each axis, such as ``'tyx'``.
    scale, units : tuple, optional
        Size of a pixel and its unit along each axis.
    name : str, optional
        Name of the image, for formats that mention it.
    image : path, optional
        Image that the labels are of: its name, and for OME-Zarr its pixel
        sizes and a link; labels that are added to an image are of that one by
        default. For GeoJSON, COCO and OME-Zarr.
    format : str, optional
        A key of `FORMATS`, where the suffix does not tell.
    overwrite : bool
        Replace a file that is there. Of folders, only labels of this program
        are replaced.
    object_type : {'detection', 'annotation', 'cell'}
        What QuPath makes of the objects of a GeoJSON.
    segmentation : {'rle', 'polygons'}
        How COCO masks are written.

    Returns
    -------
    Exported
        What was written.

    Raises
    ------
    ExportError
        If the labels or the table cannot be exported, or the format does not
        use an image, object type or segmentation that is given.
    OSError
        If the file exists or cannot be written.

    Examples
    --------
    >>> import napari_mobilesam as nm
    >>> nm.export_labels(labels, 'cells.geojson')  # doctest: +SKIP
    """
    check_path('path', path)
    path = Path(path)
    kind = format_of(path, format)
    check_text('name', '' if name is None else name)
    check_text('object_type', object_type)
    check_text('segmentation', segmentation)
    if image is not None:
        check_path('image', image)
    check_used(kind, image, object_type, segmentation)
    check_flag('overwrite', overwrite)
    given = _with_what_is_known(
        labels, table, class_colors, axes, scale, units
    )
    of = None if image is None else Path(image)
    if name or of is not None:
        given = replace(given, name=name or Path(str(image)).name)
    if kind == 'ome-zarr':
        return _write_zarr(given, path, of, overwrite)
    _check_place(path, overwrite)
    if of is not None:
        from napari_mobilesam.export.ome_zarr_labels import check_image

        check_image(given, of)
    with atomic_path(path, keep_suffix=True) as temporary:
        count = _write(given, temporary, kind, object_type, segmentation)
    return Exported(path, kind, count)


def _with_what_is_known(
    labels: Any,
    table: pd.DataFrame | None,
    class_colors: Mapping[str, str] | None,
    axes: str,
    scale: tuple[float, ...],
    units: tuple[str | None, ...],
) -> LabelsWithTable:
    """Labels with arguments of `export_labels`; empty ones tell nothing."""
    check_instance('class_colors', class_colors, Mapping)
    check_text('axes', axes)
    check_sizes('scale', scale, 4)
    _check_units(units)
    known: dict[str, Any] = {
        'table': table,
        'class_colors': dict(class_colors or {}),
        'axes': axes,
        'scale': tuple(scale),
        'units': tuple(units),
    }
    if not isinstance(labels, LabelsWithTable):
        given = LabelsWithTable(labels, **known)
    else:
        told = {
            name: value
            for name, value in known.items()
            if value is not None and len(value)
        }
        given = replace(labels, **told)
    for color in given.class_colors.values():
        rgb(color)  # before anything is written
    return given


def _check_units(units: Any) -> None:
    """Raise `SegmentationError` if a value is not a list of names."""
    if not isinstance(units, Sequence) or not all(
        unit is None or isinstance(unit, str) for unit in units
    ):
        raise SegmentationError(
            f'units is {quoted(units)}; give a name, or None, for each axis.'
        )


def _check_place(path: Path, overwrite: bool) -> None:
    """Raise `OSError` where no file can be written, or not of that name."""
    if path.suffix.lower() == '.roi':
        raise ExportError(
            f'{path} would hold one ROI; those of all objects are written to '
            'a .zip.'
        )
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder: give a file.')
    if path.exists() and not overwrite:
        raise FileExistsError(f'{path} exists: remove it, or overwrite it.')
    if not path.parent.is_dir():
        raise FileNotFoundError(f'There is no folder {path.parent}.')


def _write_zarr(
    given: LabelsWithTable, path: Path, image: Path | None, overwrite: bool
) -> Exported:
    """Write OME-Zarr labels, which may make a folder ``labels``."""
    from napari_mobilesam.export.ome_zarr_labels import (
        labels_folder,
        write_ome_zarr,
    )

    path = labels_folder(path, given.name)
    inside = path.parent.name == 'labels'
    folder = path.parent.parent if inside else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f'There is no folder {folder}.')
    count = write_ome_zarr(given, path, image, overwrite)
    return Exported(path, 'ome-zarr', count)


def _write(
    image: LabelsWithTable,
    path: Path,
    kind: str,
    object_type: str,
    segmentation: str,
) -> int:
    if kind == 'roi':
        from napari_mobilesam.export.roi_zip import write_roi_zip

        return write_roi_zip(image, path)
    if kind == 'geojson':
        from napari_mobilesam.export.geojson import write_geojson

        return write_geojson(image, path, object_type)
    if kind == 'coco':
        from napari_mobilesam.export.coco import write_coco

        return write_coco(image, path, segmentation)
    from napari_mobilesam.export import label_images

    if kind == 'png':
        return label_images.write_png(image, path)
    return label_images.write_tiff(image, path)


def read_labels(
    path: str | Path,
    *,
    shape: tuple[int, ...] | None = None,
    channel: int | None = None,
    format: str | None = None,  # noqa: A002
    frames: bool = False,
) -> LabelsWithTable:
    """Read labels of this program or of others.

    Parameters
    ----------
    path : path
        ROI zip, GeoJSON, COCO, OME-Zarr, TIFF, PNG, or NumPy such as the
        ``_seg.npy`` of Cellpose.
    shape : tuple of int, optional
        Shape of the labels, for polygons whose file does not tell it; it
        has to hold all of them.
    channel : int, optional
        Channel of a TIFF of several.
    format : str, optional
        A key of `FORMATS`, where the suffix does not tell.
    frames : bool
        The labels are a time series: three or four planes of a TIFF are not
        taken for colours.

    Returns
    -------
    LabelsWithTable
        The labels, and what the file tells of the objects.

    Raises
    ------
    ExportError, ImageError
        If the file holds no labels, or objects beyond the shape.
    """
    check_path('path', path)
    path = Path(path)
    if format is not None:
        check_text('format', format)
    if channel is not None:
        check_number('channel', channel, 0, whole=True)
    if shape is not None:
        check_sizes('shape', shape, 4)
        shape = tuple(map(int, shape))
    if not path.exists():
        raise ImageError(f'There is no file or folder {path}.')
    if format is None and path.suffix.lower() == '.npy' and path.is_file():
        kind = 'npy'
    elif format or path.is_file():
        kind = format_of(path, format)
    else:
        kind = 'ome-zarr'
    if kind in ('roi', 'geojson', 'coco'):
        return _read_objects(path, kind, shape)
    image = _read_pixels(path, kind, channel, frames)
    return _as_asked(image, path, shape, None if kind == 'tiff' else channel)


def _read_objects(
    path: Path, kind: str, shape: tuple[int, ...] | None
) -> LabelsWithTable:
    """Read labels from a file of polygons or run lengths."""
    if kind == 'roi':
        from napari_mobilesam.export.roi_zip import read_roi_zip

        return read_roi_zip(path, shape)
    from napari_mobilesam.export.geojson import is_geojson, read_geojson

    # QuPath may save GeoJSON as .json
    if kind == 'geojson' or is_geojson(path):
        return read_geojson(path, shape)
    from napari_mobilesam.export.coco import read_coco

    return read_coco(path, shape)


def _read_pixels(
    path: Path, kind: str, channel: int | None, frames: bool
) -> LabelsWithTable:
    """Read a label image."""
    if kind == 'npy':
        from napari_mobilesam.export.npy_labels import read_npy_labels

        return read_npy_labels(path)
    if kind == 'ome-zarr':
        from napari_mobilesam.export.ome_zarr_labels import read_ome_zarr

        return read_ome_zarr(path)
    from napari_mobilesam.export import label_images

    if kind == 'png':
        return label_images.read_png(path)
    return label_images.read_tiff(path, channel, frames)


def _as_asked(
    image: LabelsWithTable,
    path: Path,
    shape: tuple[int, ...] | None,
    channel: int | None,
) -> LabelsWithTable:
    """Return labels that have the shape, and the channel, that was given.

    Raises
    ------
    ExportError
        If they have not.
    """
    if channel:
        raise ExportError(
            f'{path} has no channel {channel}: it has no channels.'
        )
    if shape is not None and tuple(shape) != image.shape:
        raise ExportError(
            f'{path} holds labels of shape {image.shape}, not '
            f'{tuple(shape)}: leave the shape out.'
        )
    return image
