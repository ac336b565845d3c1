"""Write and read labels in any format, chosen by the file suffix."""

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
from napari_mobilesam.readers.open_image import is_zipped_zarr, unreadable
from napari_mobilesam.readers.tiff import is_tiff
from napari_mobilesam.types import ImageError, SegmentationError

if TYPE_CHECKING:
    import pandas as pd

# Format → description, for ``--help``.
FORMATS = {
    'roi': 'ROIs of ImageJ and Fiji (.zip)',
    'geojson': 'objects for QuPath (.geojson)',
    'coco': 'COCO instances (.json)',
    'ome-zarr': 'labels with colours and properties (.zarr)',
    'tiff': 'label image (.tif)',
    'png': '16-bit label image (.png)',
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
# Argument of `export_labels` → formats that use it.
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
        File or folder that was written; for labels added to an OME-Zarr
        image, their folder in it.
    format : str
        A key of `FORMATS`.
    objects : int
        Number of objects, counted per plane; for label images and OME-Zarr,
        the number of labels.
    """

    path: Path
    format: str
    objects: int


def format_of(path: Path, name: str | None = None) -> str:
    """Return the format that is named, or that of the suffix of a file.

    Raises
    ------
    ExportError
        If neither is known.
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
            f'{path} has no known suffix: end it in '
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
    """Raise an error for arguments that a format does not use.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`.
    image, object_type, segmentation
        As for `export_labels`.
    names : mapping, optional
        Argument to the name shown to the user, where they differ.

    Raises
    ------
    ExportError
        If one of them is given but has no effect.
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
                f'{name} has no effect on the format {kind}, only on '
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
        (H, W), (planes, H, W) or (T, Z, H, W) integers, 0 is background.
        Other arguments override the attributes of a `LabelsWithTable`.
    path : path
        File or folder to write; its suffix determines the format.
    table : DataFrame, optional
        One row per object, with its label in a column ``label`` or
        ``index``, its ``class``, ``score`` and measurements.
    class_colors : mapping, optional
        Class to colour, ``'#rrggbb'`` or a name such as ``'orange'``.
    axes : str, optional
        One letter per axis, such as ``'tyx'``.
    scale, units : tuple, optional
        Pixel size and its unit along each axis.
    name : str, optional
        Name of the image, for formats that store it.
    image : path, optional
        Image that was segmented, for GeoJSON, COCO and OME-Zarr. They store
        its name; OME-Zarr also its pixel sizes and a link to it. Labels added
        to an OME-Zarr image refer to that image by default.
    format : str, optional
        A key of `FORMATS`, if the suffix does not determine it.
    overwrite : bool
        Replace an existing file. Existing folders are only replaced if they
        are labels of this program.
    object_type : {'detection', 'annotation', 'cell'}
        Type of the objects in QuPath, for GeoJSON.
    segmentation : {'rle', 'polygons'}
        Encoding of the masks, for COCO.

    Returns
    -------
    Exported
        What was written.

    Raises
    ------
    ExportError
        If the labels or the table cannot be exported, or the format does not
        use a given image, object type or segmentation.
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
    """Return labels with the arguments of `export_labels` that are given."""
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
    """Raise an error if no file of this name can be written."""
    if path.suffix.lower() == '.roi':
        raise ExportError(
            f'{path} can hold only one ROI: give a .zip for the ROIs of all '
            'objects.'
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
    """Write OME-Zarr labels, creating a folder ``labels`` if needed."""
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
    """Read labels from files of this or other programs.

    Parameters
    ----------
    path : path
        ROI zip, GeoJSON, COCO, OME-Zarr, TIFF, PNG, or a NumPy file such as
        Cellpose's ``_seg.npy``.
    shape : tuple of int, optional
        Shape of the labels, for polygon files that do not store it. It must
        contain all polygons.
    channel : int, optional
        Channel to read from a TIFF with several.
    format : str, optional
        A key of `FORMATS`, if the suffix does not determine it.
    frames : bool
        Whether the labels are a time series; three or four planes of a TIFF
        are then not mistaken for colours.

    Returns
    -------
    LabelsWithTable
        Labels and the properties of the objects in the file.

    Raises
    ------
    ExportError, ImageError
        If the file holds no labels, or objects outside the shape.
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
    elif format or (path.is_file() and not is_zipped_zarr(path)):
        kind = format_of(path, format or _format_of_content(path))
    else:
        kind = 'ome-zarr'
    try:
        if kind in ('roi', 'geojson', 'coco'):
            return _read_objects(path, kind, shape)
        image = _read_pixels(path, kind, channel, frames)
    except OSError as error:
        raise ImageError(unreadable(path, error)) from error
    return _as_asked(image, path, shape, None if kind == 'tiff' else channel)


def _format_of_content(path: Path) -> str | None:
    """Return the format of a file whose suffix does not tell it.

    Raises
    ------
    ExportError
        If labels are not read from such files.
    """
    if path.suffix.lower() in SUFFIXES:
        return None
    if is_tiff(path):
        return 'tiff'
    raise ExportError(
        f'{path} is not a file of labels in a known format: give a TIFF, PNG, '
        '.npy, zarr, .zip or .roi (ImageJ), .geojson or .json (COCO).'
    )


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
    """Check that labels have the requested shape and channel.

    Raises
    ------
    ExportError
        If they do not.
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
