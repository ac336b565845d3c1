"""Labels through napari's own *Save* and *Open*."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels

from napari_mobilesam import get_session, read_labels
from napari_mobilesam.export.exported import ExportError
from napari_mobilesam.export.formats import export_labels
from napari_mobilesam.types import SegmentationError
from napari_mobilesam.widgets.viewer.layer_files import (
    read_layers,
    write_ome_zarr,
)

PLUGIN = 'napari-mobilesam'


@pytest.fixture
def labels():
    labels = np.zeros((3, 30, 40), np.uint8)
    labels[0, 2:10, 3:12] = 1
    labels[0, 4:6, 5:7] = 0
    labels[1:, 15:30, 20:40] = 7
    return labels


def open_ome_zarr(viewer, path, monkeypatch):
    """*File ▸ IO Utilities ▸ Open OME-Zarr labels …*; return the new layer."""
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QFileDialog

    app, name = get_app_model(), f'{PLUGIN}.open_ome_zarr_labels'
    items = app.menus.get_menu('napari/file/io_utilities')
    assert name in [item.command.id for item in items]
    monkeypatch.setattr(
        QFileDialog, 'getExistingDirectory', lambda *args: str(path)
    )
    before = list(viewer.layers)
    app.commands.execute_command(name).result()
    (layer,) = [each for each in viewer.layers if each not in before] or [None]
    return layer


def test_a_folder_without_labels_is_refused(
    take_viewer, tmp_path, monkeypatch
):
    viewer = take_viewer()
    told = []
    monkeypatch.setattr('napari.utils.notifications.show_error', told.append)
    for folder in (tmp_path, ''):
        assert open_ome_zarr(viewer, folder, monkeypatch) is None
    (message,) = told
    assert str(tmp_path) in message


# The formats themselves are tested without a viewer, in tests/export.
def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    'suffix', ['.zip', '.zarr', slow('.geojson'), slow('.json')]
)
def test_save_and_open(take_viewer, labels, tmp_path, monkeypatch, suffix):
    viewer = take_viewer()
    get_session(viewer).classes.update({'a': '#123456'})
    features = pd.DataFrame(
        {'index': [1, 7], 'class': ['a', None], 'score': [0.5, 0.25]}
    )
    layer = viewer.add_labels(
        labels,
        name='cells',
        features=features,
        scale=(2, 0.5, 0.5),
        units=('um', 'um', 'um'),
    )
    viewer.layers.selection = {layer}
    path = str(tmp_path / f'cells{suffix}')
    assert viewer.layers.save(path, selected=True) == [path]
    # again: napari asks before, and then the file is replaced
    viewer.layers.save(path, selected=True)
    if suffix == '.zarr':
        again = open_ome_zarr(viewer, path, monkeypatch)
    else:
        (again,) = viewer.open(path, plugin=PLUGIN)
    assert type(again) is type(layer)
    np.testing.assert_array_equal(again.data, labels)
    # on the image that the labels are of
    assert tuple(again.scale) == (2, 0.5, 0.5)
    assert again.units == layer.units
    rows = again.features.set_index('index')
    assert rows['class'].to_dict() == {1: 'a', 7: ''}
    assert rows.loc[7, 'score'] == 0.25
    assert again.metadata['class_colors'] == {'a': '#123456'}


@pytest.mark.parametrize(
    'told',
    [{'axis_labels': ('t', 'y', 'x')}, {'units': ('ms', 'um', 'um')}],
)
def test_a_time_series_stays_one(labels, tmp_path, told):
    path = tmp_path / 'cells.geojson'
    Labels(labels, scale=(2, 0.5, 0.5), **told).save(str(path))
    planes = [
        each['geometry']['plane']
        for each in json.loads(path.read_text('utf-8'))['features']
    ]
    assert {(plane['t'], plane['z']) for plane in planes} == {
        (0, 0),
        (1, 0),
        (2, 0),
    }
    ((data, attributes, _),) = read_layers(str(path))
    again = Labels(data, **attributes)
    assert again.axis_labels == ('t', 'y', 'x')
    assert tuple(again.scale) == (2, 0.5, 0.5)


@pytest.mark.parametrize('suffix', ['.zip', slow('.geojson'), slow('.json')])
def test_channels_are_no_planes(take_viewer, labels, tmp_path, suffix):
    viewer = take_viewer()
    scene = get_session(viewer).scene
    scene.image = viewer.add_image(np.zeros((3, 2, 30, 40)), rgb=False)
    scene.channel_axis = 1
    layer = viewer.add_labels(
        np.stack([labels, labels], 1), scale=(4, 1, 0.5, 0.5)
    )
    path = str(tmp_path / f'cells{suffix}')
    layer.save(path)
    again = read_labels(path)
    assert again.axes == 'zyx'
    assert again.scale in ((4, 0.5, 0.5), ())
    np.testing.assert_array_equal(again.labels, labels)
    # labels of another image of this shape, with planes for channels
    layer.data[:, 1] = 0
    layer.save(path)
    assert read_labels(path).shape == layer.data.shape


def test_ome_zarr_keeps_the_position(labels, tmp_path):
    path = tmp_path / 'cells.zarr'
    place = {'scale': (2, 0.5, 0.5), 'translate': (0, 100, 200)}
    write_ome_zarr(str(path), labels, place)
    ((_, attributes, _),) = read_layers(str(path))
    assert {name: attributes[name] for name in place} == place


def test_features_without_an_index_are_numbered_by_label(
    take_viewer, labels, tmp_path
):
    viewer = take_viewer()
    layer = viewer.add_labels(
        np.minimum(labels, 2), features={'size': [0.0, 10.0, 20.0]}
    )
    path = tmp_path / 'cells.geojson'
    layer.save(str(path))
    features = json.loads(path.read_text('utf-8'))['features']
    sizes = {
        f['properties']['measurements']['Label']: f['properties'][
            'measurements'
        ]['size']
        for f in features
    }
    assert sizes == {1: 10.0, 2: 20.0}


@pytest.mark.parametrize(
    ('name', 'how'),
    [
        ('cells.tif.session', 'open the image'),
        ('.napari-mobilesam/a_labels.tif.json', 'a_labels.tif: open the fold'),
    ],
)
def test_files_of_the_plugin_say_how_they_are_opened(
    take_viewer, tmp_path, name, how
):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{}')
    viewer = take_viewer()
    with pytest.raises(SegmentationError, match=how):
        viewer.open(str(path), plugin='napari-mobilesam')
    assert not viewer.layers


def test_other_files_are_left_to_others(tmp_path):
    from napari_mobilesam.widgets.viewer.layer_files import get_reader

    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('readme.txt', 'no ROI')
    assert get_reader(str(path)) is None
    path.write_bytes(b'no zip')
    assert get_reader(str(path)) is None
    path = tmp_path / 'x.json'
    path.write_text('{"a": 1}', 'utf-8')
    assert get_reader(str(path)) is None
    assert get_reader(str(tmp_path / 'none.geojson')) is None
    assert get_reader([]) is None


@pytest.mark.parametrize(
    ('title', 'suffix'),
    [
        ('ROIs for ImageJ', '.zip'),
        slow('GeoJSON', '.geojson'),
        slow('COCO', '.json'),
        ('OME-Zarr', '.zarr'),
    ],
)
def test_the_save_dialog_offers_the_formats(
    take_viewer, labels, tmp_path, monkeypatch, title, suffix
):
    """*File ▸ Save Selected Layers*, with what is chosen in its dialog."""
    from qtpy.QtWidgets import QFileDialog

    viewer = take_viewer()
    layer = viewer.add_labels(labels, name='cells')
    viewer.layers.selection = {layer}
    typed = 'cells'

    def choose(*_, **options):
        filters = options['filter'].split(';;')
        (mine,) = [text for text in filters if title in text]
        return str(tmp_path / typed), mine

    monkeypatch.setattr(QFileDialog, 'getSaveFileName', choose)
    # a name without a suffix, as most people type it, gets that of the filter
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    path = tmp_path / f'cells{suffix}'
    assert sorted(tmp_path.glob('cells*')) == [path]
    np.testing.assert_array_equal(read_labels(path).labels[...], labels)
    # the dialog has not asked about this one
    layer.data = labels[::-1].copy()
    with pytest.raises(ExportError, match='exists'):
        viewer.window._qt_viewer._save_layers_dialog(selected=True)
    np.testing.assert_array_equal(read_labels(path).labels[...], labels)
    # but about this one
    typed += suffix
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    np.testing.assert_array_equal(read_labels(path).labels[...], layer.data)


def test_labels_that_are_read_as_needed_are_not_saved_over_themselves(
    labels, tmp_path
):
    zarr = pytest.importorskip('zarr')
    path = tmp_path / 'cells.ome.zarr'
    export_labels(labels, path)
    data = zarr.open_group(str(path), mode='r')['0']
    with pytest.raises(ExportError, match='the labels of this layer'):
        write_ome_zarr(str(path), data, {'name': 'cells'})
    with pytest.raises(ExportError, match='the labels of this layer'):
        write_ome_zarr(str(path), [data], {'name': 'cells'})
    np.testing.assert_array_equal(read_labels(path).labels[...], labels)
    write_ome_zarr(str(tmp_path / 'b.zarr'), data, {'name': 'cells'})
    found = read_labels(tmp_path / 'b.zarr')
    np.testing.assert_array_equal(found.labels[...], labels)
