"""Labels layers through napari's own *Save* and *Open*.

These are the writers and readers of the manifest: ImageJ ROIs, GeoJSON, COCO,
OME-Zarr.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_mobilesam.export.exported import ExportError, LabelsWithTable
from napari_mobilesam.export.formats import export_labels, read_labels
from napari_mobilesam.extra import MissingExtraError
from napari_mobilesam.series.series_files import RECORDS
from napari_mobilesam.settings import load_settings
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.units import is_time_axis
from napari_mobilesam.widgets.viewer.layers import (
    pixel_sizes,
    rows_by_label,
    unwrap,
    with_class_text,
)
from napari_mobilesam.widgets.viewer.measured_box import axes_without_channels

if TYPE_CHECKING:
    import napari.viewer
    import pandas as pd

    from napari_mobilesam.session import Session

LayerTuple = tuple[Any, dict[str, Any], str]
# key in the metadata of labels read from files: colours of their classes
CLASS_COLORS = 'class_colors'
SESSION = '.session'
# Length of the start of a JSON file that must reveal its kind.
HEAD = 4096
# Labels with more pixels are read when shown, and cannot be edited.
MOST_PIXELS = 1 << 28


def _write(
    path: str, data: Any, attributes: Mapping[str, Any], suffix: str
) -> list[str]:
    """Write a Labels layer.

    Parameters
    ----------
    path : str
        File to write; napari has already asked whether to replace it. If the
        suffix has to be added, existing files are not replaced.
    data : array or sequence of array
        Labels, or the levels of a pyramid, finest first.
    attributes : mapping
        Attributes of the layer.
    suffix : str
        Suffix of the format chosen in the dialog.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ExportError
        The file exists, belongs to the layer, or cannot be written.
    """
    asked = path.lower().endswith(suffix)
    if not asked:
        path += suffix
        if Path(path).exists():
            # napari asked about the typed name, which is unused
            raise ExportError(
                f'{path} exists: type the name with {suffix} to replace it.'
            )
    if isinstance(data, Sequence) or attributes.get('multiscale'):
        data = data[0]
    _refuse_own_file(data, Path(path))
    scale, origin = _placement(attributes, len(data.shape))
    units = _units(attributes.get('units'), len(scale))
    axes = list(range(len(data.shape)))
    if suffix != '.zarr':
        # opened in napari, labels in OME-Zarr lie on their image again
        data, axes = _without_channels(data)
    units = tuple(units[axis] for axis in axes) if units else ()
    names = attributes.get('axis_labels') or [''] * len(scale)
    unit = units[0] if units else None
    in_time = len(axes) == 3 and is_time_axis(str(names[axes[0]]), unit)
    image = LabelsWithTable(
        data,
        _table(attributes.get('features')),
        _class_colors(attributes),
        'tyx' if in_time else '',
        tuple(scale[axis] for axis in axes),
        units,
        str(attributes.get('name') or 'labels'),
        tuple(origin[axis] for axis in axes),
    )
    export_labels(image, path, overwrite=True)
    return [path]


# commands of the manifest
write_rois = partial(_write, suffix='.zip')
write_geojson = partial(_write, suffix='.geojson')
write_coco = partial(_write, suffix='.json')
write_ome_zarr = partial(_write, suffix='.zarr')


def _refuse_own_file(data: Any, path: Path) -> None:
    """Raise `ExportError` if lazily read labels lie at the path.

    The layer would continue reading from other chunks.
    """
    root = getattr(getattr(data, 'store', None), 'root', None)
    if root is None:
        return
    own = Path(root, str(getattr(data, 'path', ''))).resolve()
    if path.resolve() in own.parents:
        raise ExportError(
            f'{path} already contains the labels of this layer: give another '
            'name.'
        )


def _without_channels(data: Any) -> tuple[Any, list[int]]:
    """Labels, and which of their axes are left: all but that of channels.

    Of labels that are the same in every channel of the image.
    """
    from napari_mobilesam.widgets.viewer.viewer_scene import ViewerScene

    every = list(range(len(data.shape)))
    session = _current_session()
    if session is None or not isinstance(session.scene, ViewerScene):
        return data, every
    axes = axes_without_channels(tuple(data.shape), session.scene)
    if axes == every:
        return data, every
    (axis,) = set(every) - set(axes)
    channels = np.moveaxis(data, axis, 0)
    same = all(np.array_equal(channels[0], each) for each in channels[1:])
    return (channels[0], axes) if same else (data, every)


def _placement(
    attributes: Mapping[str, Any], ndim: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return pixel size and position of the first pixel in the world."""
    names = ('scale', 'translate', 'rotate', 'shear', 'affine')
    layer = Labels(
        np.zeros((1,) * ndim, np.uint8),
        **{name: attributes[name] for name in names if name in attributes},
    )
    origin = layer.data_to_world(np.zeros(ndim))
    return tuple(map(float, pixel_sizes(layer))), tuple(map(float, origin))


def _table(features: Any) -> pd.DataFrame | None:
    """Return the feature table with the label of each row."""
    import pandas as pd

    if features is None or not len(features):
        return None
    table = rows_by_label(pd.DataFrame(features))
    # a column with another meaning must not be taken for the label
    return table.drop(columns='label', errors='ignore')


def _class_colors(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Colours of the classes in this viewer, or as they were last time."""
    known = dict(load_settings().class_colors)
    session = _current_session()
    if session is not None:
        known |= session.classes.colors
    return known | dict(attributes.get('metadata', {}).get(CLASS_COLORS, {}))


def _current_session() -> Session | None:
    import napari

    from napari_mobilesam.widgets.viewer.viewer_session import known_session

    viewer = napari.current_viewer()
    return None if viewer is None else known_session(viewer)


def _units(units: Any, count: int) -> tuple[str | None, ...]:
    """Return OME-NGFF unit names; napari's pixel is not a unit."""
    names = [str(unit) for unit in units or ()]
    if len(names) != count or 'pixel' in names:
        return ()
    return tuple(names)


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerTuple]] | None:
    """Return the reader for a file of objects; None for other files."""
    paths = [path] if isinstance(path, str) else path
    if not paths or not all(_is_ours(Path(each)) for each in paths):
        return None
    if any(_own_file(Path(each)) for each in paths):
        return refuse_own
    return read_layers


def read_layers(path: str | list[str]) -> list[LayerTuple]:
    """Read files of objects, each as a Labels layer."""
    paths = [path] if isinstance(path, str) else path
    return [_layer(read_labels(each)) for each in paths]


def refuse_own(path: str | list[str]) -> list[LayerTuple]:
    """Explain how to open a file of this plugin, which belongs to an image.

    Raises
    ------
    SegmentationError
        Always; napari shows the message.
    """
    paths = [path] if isinstance(path, str) else path
    texts = [_own_file(Path(each)) for each in paths]
    raise SegmentationError(next(filter(None, texts)))


def _own_file(path: Path) -> str:
    """Return how to open a file of this plugin; empty for other files."""
    suffix = path.suffix.lower()
    if suffix == SESSION:
        return (
            f'{path.name} is opened with the image it belongs to: open the '
            'image, then Segment by prompts, which offers its objects if the '
            'file is next to the image; or, in the console, session.load(…).'
        )
    if suffix == '.json' and path.parent.name == RECORDS:
        return (
            f'{path.name} is what “Series” notes about {path.stem}: open the '
            'folder of the images under “Series”, which reads it.'
        )
    return ''


def open_ome_zarr_labels(viewer: napari.viewer.Viewer) -> None:
    """Ask for a folder with OME-Zarr labels, and add them as a Labels layer.

    A folder reader would make napari ask which plugin to use for each opened
    folder.
    """
    from napari.utils.notifications import show_error
    from qtpy.QtWidgets import QFileDialog

    # in the colours of the window
    window = unwrap(unwrap(viewer).window)._qt_window
    path = QFileDialog.getExistingDirectory(window, 'Open OME-Zarr labels')
    if not path:
        return
    try:
        data, attributes, _ = _layer(read_labels(path, format='ome-zarr'))
    except (SegmentationError, MissingExtraError, OSError) as error:
        show_error(str(error))
        return
    viewer.add_labels(data, **attributes)


def _layer(image: LabelsWithTable) -> LayerTuple:
    attributes: dict[str, Any] = {
        'name': image.name,
        'metadata': {CLASS_COLORS: dict(image.class_colors)},
    }
    if image.scale:
        attributes['scale'] = image.scale
    if any(image.translation):
        attributes['translate'] = image.translation
    if image.units:
        attributes['units'] = image.units
    if 't' in image.axes:
        attributes['axis_labels'] = tuple(image.axes)
    if image.table is not None and len(image.table):
        table = image.table.rename(columns={'label': 'index'})
        if 'index' in table:
            # an object on several planes may have several rows
            table = table.drop_duplicates('index')
        attributes['features'] = with_class_text(table)
    labels = image.labels
    if math.prod(image.shape) > MOST_PIXELS:
        import dask.array

        lazy: Any = dask.array
        return lazy.from_array(labels), attributes, 'labels'
    return np.asarray(labels[...]), attributes, 'labels'


def _is_ours(path: Path) -> bool:
    """Return True if a file contains ROIs, GeoJSON or COCO instances."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return False
    if suffix in ('.roi', '.geojson') or _own_file(path):
        return True
    if suffix == '.zip':
        try:
            with zipfile.ZipFile(path) as file:
                names = file.namelist()
        except zipfile.BadZipFile:
            return False
        return bool(names) and all(n.lower().endswith('.roi') for n in names)
    if suffix == '.json':
        with path.open(encoding='utf-8', errors='replace') as file:
            head = file.read(HEAD)
        known = ('"annotations"', '"FeatureCollection"', '"Feature"')
        return any(name in head for name in known)
    return False
