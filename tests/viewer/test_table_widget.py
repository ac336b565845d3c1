"""“Table” in a viewer: rows, canvas and histogram are linked."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QLabel

from napari_mobilesam.large.io.ome_zarr import LabelWriter, open_labels
from napari_mobilesam.large.run_folder import records_folder
from napari_mobilesam.measure.object_table import measure_objects
from napari_mobilesam.measure.table_columns import histogram
from napari_mobilesam.types import slices_of
from napari_mobilesam.widgets import open_form
from napari_mobilesam.widgets.everything.large_panel import is_finished_output
from napari_mobilesam.widgets.table.histogram_plot import axis_texts
from napari_mobilesam.widgets.table.marked_objects import (
    outlines_of,
    overlay_of,
)
from napari_mobilesam.widgets.table.measured_layers import merged, request_of
from napari_mobilesam.widgets.table.table_widget import SORT
from napari_mobilesam.widgets.viewer.layers import insert_below_prompts
from napari_mobilesam.widgets.viewer.look_at import canvas_size

LEFT = Qt.MouseButton.LeftButton


def squares():
    """(96, 128) labels 1 … 4 of 100, 144, 256 and 400 pixels."""
    labels = np.zeros((96, 128), np.uint16)
    places = [(5, 5), (5, 70), (50, 5), (50, 70)]
    sides = (10, 12, 16, 20)
    for number, ((row, column), side) in enumerate(
        zip(places, sides, strict=True), start=1
    ):
        labels[row : row + side, column : column + side] = number
    return labels


@pytest.fixture
def table_desk(desk, blobs):
    def make(labels=None, image=blobs, measured=True, **kwargs):
        images = () if image is None else (image,)
        d = desk(*images, widget='Table', **kwargs)
        d.labels = None
        if labels is not None:
            d.labels = d.viewer.add_labels(labels, name='cells', **kwargs)
        d.settle()
        if measured and labels is not None:
            QTest.mouseClick(d.widget.measure_button, LEFT)
            d.settle()
        return d

    return make


@pytest.mark.slow
def test_a_row_leaves_the_choice_of_labels(table_desk):
    """Other labels, which are active, are not chosen by what it outlines."""
    d = table_desk(squares())
    others = d.viewer.add_labels(squares() * 2, name='others')
    assert d.widget.labels_combo.layer is others
    d.widget.size_edit.setText('20 nm')
    d.widget.labels_combo.layer = d.labels
    assert not d.widget.size_edit.text()
    d.settle()
    d.widget.measure()
    d.settle()
    for number in (0, 1):
        QTest.keyClick(d.widget.rows, Qt.Key.Key_Down)
        d.settle()
        assert d.labels.selected_label == number + 1
        assert d.widget.labels_combo.layer is d.labels
        assert d.viewer.layers.selection.active is others
    assert '1 of 4 objects' in d.widget.count_label.text()
    d.viewer.layers.selection.active = d.image
    d.viewer.layers.selection.active = others
    assert d.widget.labels_combo.layer is others


def outlined(picture):
    return outlines_of(picture.astype(np.uint8))


def drag(plot, low, high):
    """Brush a range of values with the mouse."""
    first, last = (
        QPoint(round(plot.place_of(value)), 40) for value in (low, high)
    )
    QTest.mousePress(plot, LEFT, pos=first)
    for step in range(1, 6):
        QTest.mouseMove(plot, first + (last - first) * step / 5)
    QTest.mouseRelease(plot, LEFT, pos=last)


@pytest.mark.slow
def test_measurements_are_features(table_desk, blobs):
    d = table_desk(squares())
    expected = measure_objects(squares(), blobs)
    found = d.labels.features
    assert found['index'].tolist() == [1, 2, 3, 4]
    for name in ('area', 'row', 'solidity', 'intensity_mean'):
        assert found[name].tolist() == pytest.approx(expected[name].tolist())
    assert d.widget.status.text == '4 objects measured.'
    assert d.widget.rows.text(3, 'area') == '400'


@pytest.mark.slow
def test_measuring_does_not_move_the_view(table_desk):
    d = table_desk(squares(), measured=False)
    d.viewer.window._qt_window.activateWindow()
    d.viewer.camera.center, d.viewer.camera.zoom = (0, 30, 50), 3
    QTest.mouseClick(d.widget.measure_button, LEFT)
    d.settle()
    # what is disabled gives the focus to the table
    d.widget.rows.setFocus()
    d.settle()
    assert d.viewer.camera.center == (0, 30, 50)
    assert d.widget.rows.current == 0
    QTest.keyClick(d.widget.rows, Qt.Key.Key_Down)
    assert d.widget.rows.current == 1
    assert d.viewer.camera.center != (0, 30, 50)


def test_columns_may_have_any_name(table_desk, tmp_path):
    """Such as “label” beside “index”, as other plugins make them."""
    d = table_desk(squares(), measured=False)
    others = {'label': [1, 2, 3, 4], 'index': [1, 2, 3, 4], 0: [9, 8, 7, 6]}
    d.labels.features = pd.DataFrame(others)
    d.widget.measure()
    d.settle()
    assert d.widget.rows.text(0, '0') == '9'
    assert d.labels.features['label'].tolist() == [1, 2, 3, 4]
    d.widget.rows.choose(2)
    d.widget.copy()
    head, row = QApplication.clipboard().text().splitlines()
    assert head.split('\t')[:3] == ['label', '0', 'area']
    assert row.split('\t')[:3] == ['2', '8', '144']
    d.widget.exporting.save(tmp_path / 'cells.csv')
    d.settle()
    assert list(pd.read_csv(tmp_path / 'cells.csv'))[:2] == ['label', '0']
    # another column of this name is not taken for it
    d.labels.features = pd.DataFrame({'index': [2, 1], 'label': ['b', 'a']})
    d.settle()
    d.widget.exporting.save(tmp_path / 'cells.csv')
    d.settle()
    saved = pd.read_csv(tmp_path / 'cells.csv')
    assert saved.to_dict('list') == {'label': [1, 2], 'label_1': ['a', 'b']}


@pytest.mark.slow
def test_columns_of_others_are_kept(table_desk):
    d = table_desk(squares(), measured=False)
    d.labels.features = pd.DataFrame(
        {'index': [2, 1, 9], 'class': ['b', 'a', 'gone'], 'score': 0.5}
    )
    d.widget.measure()
    d.settle()
    d.widget.measure()
    d.settle()
    found = d.labels.features
    assert found['class'].tolist()[:2] == ['a', 'b']
    assert found['index'].tolist() == [1, 2, 3, 4]
    assert list(found.columns[:3]) == ['index', 'class', 'score']
    assert not [name for name in found.columns if name.endswith('_x')]


def test_columns_of_measurements_are_replaced_and_no_others():
    features = pd.DataFrame(
        {
            'index': [1, 2],
            'zone': ['a', 'b'],
            'z_score': [1.0, 2.0],
            'row name': ['C', 'D'],
            'area_ratio': [0.1, 0.2],
            'area': [0, 0],
            'row µm': [0.0, 0.0],
            'intensity_mean gone': [0.0, 0.0],
        }
    )
    measured = measure_objects(squares()[:, :64])
    found = merged(features, measured)
    assert set(found) - set(measured) == {
        'index',
        'zone',
        'z_score',
        'row name',
        'area_ratio',
    }
    assert found['area'].tolist() == measured['area'].tolist()


@pytest.mark.parametrize('labels', [{}, {'label': [1, 3, 5]}])
def test_features_without_an_index_are_kept(labels):
    """Rows are numbered by label then, as napari does."""
    names = ['none', 'control', 'drug']
    features = pd.DataFrame({**labels, 'treatment': names})
    measured = measure_objects(squares()[:, :64])
    assert measured['label'].tolist() == [1, 3]
    found = merged(features, measured).set_index('index')['treatment']
    expected = {1: 'none', 3: 'control'} if labels else {1: 'control'}
    assert found.dropna().to_dict() == expected


@pytest.mark.slow
@pytest.mark.window
def test_a_click_on_a_row_shows_the_object(table_desk):
    d = table_desk(squares())
    rows = d.widget.rows
    d.viewer.layers.selection.active = d.image
    cell = rows.visualRect(rows.model().index(3, 0)).center()
    QTest.mouseClick(rows.viewport(), LEFT, pos=cell)
    assert d.labels.selected_label == 4
    d.settle()
    assert np.array_equal(
        d.widget.marked.layer.data, outlined(2 * (squares() == 4))
    )
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    assert tuple(camera.center[-2:]) == pytest.approx((59.5, 79.5))
    # with the keys
    QTest.keyClick(rows, Qt.Key.Key_Up)
    assert d.labels.selected_label == 3


@pytest.mark.window
def test_the_zoom_changes_only_where_an_object_is_not_seen_well(table_desk):
    labels = np.zeros((400, 600), np.uint16)
    labels[10:390, 20:580] = 1
    labels[20:24, 30:34] = 0
    labels[20:24, 30:34] = 2
    labels[100:160, 200:280] = 3
    d = table_desk(labels, image=None)
    camera = getattr(d.viewer, 'scene', d.viewer).camera
    size = canvas_size(d.viewer)
    # larger than the canvas: all of it is shown, with a margin
    camera.zoom = 8
    d.widget.rows.chosen.emit(1)
    assert 380 * camera.zoom <= 0.8 * size[0] + 1
    assert 560 * camera.zoom <= 0.8 * size[1] + 1
    assert camera.zoom > 0.4 * min(size[0] / 380, size[1] / 560)
    # visible well: the zoom stays
    camera.zoom = 1.5
    d.widget.rows.chosen.emit(3)
    assert camera.zoom == 1.5
    assert tuple(camera.center[-2:]) == pytest.approx((129.5, 239.5))
    # a speck: magnified
    d.widget.rows.chosen.emit(2)
    assert 4 * camera.zoom >= 40


@pytest.mark.slow
def test_the_selected_labels_are_chosen_and_stay(desk, blobs):
    d = desk(blobs)
    ours = d.session.scene.add_labels('objects')
    theirs = d.viewer.add_labels(squares(), name='threshold')
    d.viewer.layers.selection.active = theirs
    _, table = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Table'
    )
    _, refine = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Refine labels'
    )
    for widget in (table, refine):
        assert widget.labels_combo.layer is theirs
    # another layer, such as the overlay of a row, changes no choice
    d.viewer.add_labels(np.zeros_like(squares()), name='more')
    d.viewer.layers.selection.active = d.image
    for widget in (table, refine):
        assert widget.labels_combo.layer is not ours
    table.labels_combo.layer = theirs
    d.viewer.add_image(blobs)
    assert table.labels_combo.layer is theirs


def test_labels_of_the_image_are_chosen_rather_than_others(desk, blobs):
    d = desk(blobs)
    d.viewer.add_labels(squares(), name='cells')
    image = d.viewer.add_image(blobs[:50, :60], name='small')
    found = Labels(squares()[:50, :60], name='small objects')
    found.features = {'index': [1], 'score': [0.5]}
    # not selected, like the labels of a run
    insert_below_prompts(d.viewer, found)
    d.viewer.layers.selection.active = image
    d.settle()
    _, table = d.viewer.window.add_plugin_dock_widget(
        'napari-mobilesam', 'Table'
    )
    assert table.image_combo.layer is image
    assert table.labels_combo.layer is found
    assert table.rows.text(0, 'score') == '0.5'
    assert table.status.text == SORT


def test_the_table_is_named_after_the_image(table_desk, tmp_path, blobs):
    d = table_desk(squares())
    assert d.widget.exporting.proposed_path() == f'{d.image.name}.csv'
    d.image.name = 'a/b: c'
    assert d.widget.exporting.proposed_path() == 'a_b_ c.csv'
    path = tmp_path / 'cells.tif'
    tifffile.imwrite(path, blobs)
    (layer,) = d.viewer.open(path, plugin='napari')
    d.widget.image_combo.layer = layer
    assert d.widget.exporting.proposed_path() == str(tmp_path / 'cells.csv')


@pytest.mark.slow
def test_a_label_picked_on_the_canvas_chooses_its_row(table_desk):
    d = table_desk(squares())
    d.viewer.layers.selection.active = d.labels
    d.labels.mode = 'pick'
    d.mouse.click(d.labels, (58, 12))
    assert d.labels.selected_label == 3
    assert d.widget.rows.current == 3
    assert d.widget.rows.currentIndex().row() == 2


def test_the_brush_selects_objects(table_desk):
    d = table_desk(squares())
    d.widget.column_combo.setCurrentText('area')
    drag(d.widget.plot, 130, 300)
    d.settle()
    assert d.widget.rows.marked.tolist() == [2, 3]
    assert d.widget.count_label.text().startswith('2 of 4 objects selected')
    overlay = d.widget.marked.layer
    assert np.array_equal(overlay.data, outlined(np.isin(squares(), [2, 3])))
    assert overlay.visible
    # no labels to write to
    assert d.widget.labels_combo.layers == [d.labels]
    # a click clears it
    QTest.mouseClick(d.widget.plot, LEFT, pos=QPoint(30, 40))
    d.settle()
    assert not len(d.widget.rows.marked)
    assert not overlay.visible
    assert not d.widget.delete_button.isEnabled()


def test_delete_selected_and_undo(table_desk):
    d = table_desk(squares())
    d.widget.select('area', 0, 150)
    QTest.mouseClick(d.widget.delete_button, LEFT)
    d.settle()
    assert set(np.unique(d.labels.data)) == {0, 3, 4}
    assert d.labels.features['index'].tolist() == [3, 4]
    assert d.widget.status.text == 'Deleted 2 objects.'
    QTest.mouseClick(d.widget.undo_button, LEFT)
    assert d.widget.status.text == 'Undone: deleting 2 objects.'
    assert np.array_equal(d.labels.data, squares())
    assert sorted(d.labels.features['index']) == [1, 2, 3, 4]
    assert d.labels.features['area'].notna().all()


def test_deleted_objects_of_the_session_come_back(table_desk):
    d = table_desk(image=None)
    image = np.where(squares() > 0, 220, 10).astype(np.uint8)
    d.viewer.add_image(image)
    d.session.click(10, 10)
    d.session.accept()
    d.settle()
    d.widget.measure()
    d.settle()
    area = float(d.session.scene.labels.features['area'].iloc[0])
    d.widget.select('area', area, area)
    d.widget.delete()
    assert len(d.session.scene.objects(False)) == 0
    assert 'session.delete()' in d.session.script()
    d.session.undo()
    assert d.session.open(1).prompts == 1


def test_sorting_puts_missing_values_last(table_desk):
    d = table_desk(squares(), measured=False)
    d.labels.features = pd.DataFrame(
        {'index': [1, 2, 3], 'score': [0.5, np.nan, 0.2]}
    )
    rows = d.widget.rows
    rows.sortByColumn(1, Qt.SortOrder.AscendingOrder)
    assert [rows.text(n, 'index') for n in range(3)] == ['3', '1', '2']
    rows.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert [rows.text(n, 'index') for n in range(3)] == ['1', '3', '2']
    assert rows.text(2, 'score') == ''
    # the order outlasts an empty table, and is what the header shows
    table, header = d.labels.features, rows.horizontalHeader()
    rows.show_table(table.iloc[:0, :0])
    rows.show_table(table[['index']])
    assert header.sortIndicatorSection() == 0
    rows.show_table(table)
    assert header.sortIndicatorSection() == 1
    assert [rows.text(n, 'index') for n in range(3)] == ['1', '3', '2']


def test_up_to_date_after_each_change(table_desk):
    d = table_desk(squares())
    d.widget.follow_box.setChecked(True)
    d.settle()
    d.labels.data_setitem((np.array([0]), np.array([0])), np.array([4]))
    d.labels.events.paint(value=[])
    d.settle()
    areas = d.labels.features.set_index('index')['area']
    assert areas[4] == 401
    # napari's own undo, by its key
    d.labels.undo()
    d.settle()
    areas = d.labels.features.set_index('index')['area']
    assert areas[4] == 400


@pytest.mark.slow
def test_double_click_opens_an_object(table_desk):
    d = table_desk(squares())
    d.widget.rows.edit_asked.emit(3)
    assert d.session.editor.record.label == 3
    d.session.reject()


@pytest.mark.slow
@pytest.mark.window
def test_double_click_shows_where_to_edit_the_object(table_desk):
    d = table_desk(squares())
    everything = open_form(d.viewer, 'everything')
    d.settle()
    window = d.widget.main_window
    (dock,) = (
        each
        for each in window.findChildren(QDockWidget)
        if each.isAncestorOf(everything)
    )
    window.tabifyDockWidget(dock, d.dock)
    d.dock.raise_()
    d.settle()
    assert dock.visibleRegion().isEmpty()
    d.widget.rows.edit_asked.emit(3)
    d.settle()
    assert not dock.visibleRegion().isEmpty()
    assert everything.visibleRegion().isEmpty()
    assert d.session.editor.record.label == 3
    assert d.widget.labels_combo.layer is d.labels
    d.session.reject()
    d.viewer.window.remove_dock_widget(dock)


@pytest.mark.slow
def test_an_object_opens_in_labels_of_other_pixels_on_any_plane(table_desk):
    stack = np.zeros((5, 96, 128), np.uint8)
    d = table_desk(image=stack)
    labels = np.zeros((5, 48, 64), np.uint16)
    labels[1:3] = squares()[::2, ::2]
    d.labels = d.viewer.add_labels(labels, scale=(1, 2, 2), name='coarse')
    d.settle()
    d.widget.image_combo.layer = None
    d.widget.measure()
    d.settle()
    # from the first plane before the object, and from a plane of it
    for step, seen in ((0, 1), (2, 2)):
        d.viewer.dims.set_current_step(0, step)
        d.widget.rows.edit_asked.emit(4)
        assert d.session.editor.record.label == 4
        assert d.viewer.dims.current_step[0] == seen
        d.session.reject()
    labels[labels == 4] = 0
    d.widget.rows.edit_asked.emit(4)
    assert 'no object 4 any more' in d.widget.status.text


@pytest.mark.slow
def test_double_click_opens_an_object_of_the_labels_of_the_table(table_desk):
    # another one is open, of other labels that have no object there
    d = table_desk(squares())
    d.widget.rows.edit_asked.emit(3)
    home = d.session.editor.objects
    moved = d.viewer.add_labels(np.roll(squares(), 30, axis=1), name='moved')
    QTest.mouseClick(d.widget.measure_button, LEFT)
    d.settle()
    assert d.widget.labels_combo.layer is moved
    d.widget.rows.edit_asked.emit(2)
    assert d.session.editor.record.label == 2
    assert d.session.editor.objects is not home
    assert d.session.accept().label == 2
    assert np.array_equal(d.labels.data, squares())
    assert np.array_equal(moved.data, np.roll(squares(), 30, axis=1))


@pytest.mark.slow
def test_the_object_of_a_row_is_deleted(table_desk):
    d = table_desk(squares())
    rows = d.widget.rows
    cell = rows.visualRect(rows.model().index(2, 0)).center()
    QTest.mouseClick(rows.viewport(), LEFT, pos=cell)
    d.settle()
    text = d.widget.count_label.text()
    assert text == '1 of 4 objects selected: object 3.'
    QTest.mouseClick(d.widget.delete_button, LEFT)
    d.settle()
    assert np.unique(d.labels.data).tolist() == [0, 1, 2, 4]
    assert not d.widget.delete_button.isEnabled()


def test_keys_in_the_table(table_desk):
    d = table_desk(squares())
    rows = d.widget.rows
    cell = rows.visualRect(rows.model().index(2, 0)).center()
    QTest.mouseClick(rows.viewport(), LEFT, pos=cell)
    QTest.keyClick(rows, Qt.Key.Key_Return)
    assert d.session.editor.record.label == 3
    QTest.keyClick(rows, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    head, *copied = QApplication.clipboard().text().splitlines()
    assert head.split('\t')[:2] == ['label', 'area']
    assert [line.split('\t')[:2] for line in copied] == [['3', '256']]
    # those of a range of the histogram, in the order of the table
    rows.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    d.widget.plot.brushed.emit((100, 200))
    d.widget.copy()
    _, *copied = QApplication.clipboard().text().splitlines()
    assert [line.split('\t')[0] for line in copied] == ['2', '1']
    QTest.keyClick(rows, Qt.Key.Key_Delete)
    d.settle()
    assert np.unique(d.labels.data).tolist() == [0, 3, 4]
    d.widget.undo()
    assert np.unique(d.labels.data).tolist() == [0, 1, 2, 3, 4]


def test_an_open_object_is_not_outlined_as_it_was(table_desk):
    d = table_desk(squares())
    d.widget.select('area', 300, 500)
    d.widget.rows.setCurrentIndex(d.widget.rows.model().index(2, 0))
    d.settle()
    assert set(np.unique(d.widget.marked.layer.data)) == {0, 1, 2}
    d.widget.rows.edit_asked.emit(3)
    d.settle()
    # the prompts show object 3; object 4 stays selected
    assert np.array_equal(d.widget.marked.layer.data, outlined(squares() == 4))
    d.session.reject()
    d.settle()
    assert np.array_equal(
        d.widget.marked.layer.data == 2, outlined(squares() == 3) > 0
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ['cells.csv', 'cells.parquet'])
def test_export(table_desk, tmp_path, name):
    if name.endswith('parquet'):
        pytest.importorskip('pyarrow')
    d = table_desk(squares())
    path = tmp_path / name
    d.widget.exporting.save(path)
    d.settle()
    read = pd.read_parquet if name.endswith('parquet') else pd.read_csv
    found = read(path)
    assert found['label'].tolist() == [1, 2, 3, 4]
    assert found['area'].tolist() == [100, 144, 256, 400]
    assert d.widget.status.text == f'4 rows saved to {path}.'


@pytest.mark.slow
def test_objects_of_others_leave_prompts_whole_and_classes_text(
    table_desk, tmp_path
):
    d = table_desk(squares(), measured=False)
    d.labels.features = pd.DataFrame(
        {'index': [0, 1], 'prompts': [0, 2], 'class': ['', 'nucleus']}
    )
    d.widget.measure()
    d.settle()
    features = d.labels.features
    assert features['class'].tolist()[-4:] == ['nucleus', '', '', '']
    d.widget.exporting.save(tmp_path / 'cells.csv')
    d.settle()
    lines = (tmp_path / 'cells.csv').read_text().splitlines()
    at = lines[0].split(',').index('prompts')
    assert [line.split(',')[at] for line in lines[1:]] == ['2', '', '', '']


@pytest.mark.slow
def test_units_and_colours(table_desk, blobs):
    d = table_desk(
        squares(), np.stack([blobs] * 3, -1), scale=(0.5, 0.5), units='um'
    )
    found = d.labels.features
    assert found['area µm²'].tolist() == [25, 36, 64, 100]
    assert 'intensity_mean red' in found


@pytest.mark.slow
def test_a_stack_is_measured_in_3d(table_desk, blobs):
    d = table_desk(np.stack([squares()] * 3), np.stack([blobs] * 3))
    assert d.labels.features['area'].tolist() == [300, 432, 768, 1200]
    d.widget.rows.chosen.emit(2)
    assert d.viewer.dims.current_step[0] == 1


@pytest.mark.slow
def test_a_stack_of_one_plane_is_a_plane(table_desk, blobs):
    d = table_desk(squares()[None], blobs[None])
    assert 'solidity' in d.labels.features
    d.widget.rows.chosen.emit(4)
    assert d.labels.selected_label == 4


@pytest.mark.slow
def test_large_labels_on_disk(table_desk, tmp_path):
    zarr = pytest.importorskip('zarr')
    array = zarr.create_array(
        str(tmp_path / 'a.zarr'), shape=(96, 128), chunks=(32, 32), dtype='u2'
    )
    array[...] = squares()
    d = table_desk(array)
    assert d.labels.features['area'].tolist() == [100, 144, 256, 400]
    d.widget.select('area', 0, 150)
    assert 'too large, or not in memory' in d.widget.count_label.text()
    d.widget.delete()
    assert set(np.unique(array[...])) == {0, 3, 4}


def shown_levels(path):
    """Return the labels that a level has, for each level on disk."""
    return [set(np.unique(level[...]).tolist()) for level in open_labels(path)]


@pytest.mark.slow
def test_objects_of_a_large_run_are_deleted_and_come_back(desk, tmp_path):
    path, rows = tmp_path / 'out.ome.zarr', []
    writer = LabelWriter.create(path, 1, (96, 128), (32, 32))
    for row in range(0, 96, 32):
        for column in range(0, 128, 32):
            window = row, column, row + 32, column + 32
            writer.write_chunk(0, window, squares()[slices_of(window)])
    for label in (1, 2, 3, 4):
        places = np.nonzero(squares() == label)
        (row0, row1), (column0, column1) = (
            (int(axis.min()), int(axis.max()) + 1) for axis in places
        )
        rows.append((label, 0, label / 8, row0, column0, row1, column1))
    names = ['label', 'plane', 'score', 'row0', 'column0', 'row1', 'column1']
    table = pd.DataFrame(rows, columns=names)
    writer.finish(table=table)

    def show():
        d = desk(np.zeros((96, 128), np.uint8), widget='Table')
        features = table.rename(columns={'label': 'index'})
        d.labels = d.viewer.add_labels(
            open_labels(path), multiscale=True, features=features
        )
        d.labels.editable = False
        d.widget.labels_combo.layer = d.labels
        d.settle()
        return d

    d = show()
    w, every = d.widget, {0, 1, 2, 3, 4}
    d.labels.features = d.labels.features.assign(mine=[9, 8, 7, 6])
    w.rows.choose(3)
    QTest.keyClick(w.rows, Qt.Key.Key_Delete)
    d.settle()
    assert w.status.text == 'Deleted 1 object.'
    assert shown_levels(path) == [every - {3}] * 3
    assert d.labels.get_value((58, 10), world=True)[1] == 0
    assert w.table['index'].tolist() == [1, 2, 4]
    assert not d.labels.editable
    QTest.mouseClick(w.undo_button, LEFT)
    d.settle()
    assert w.status.text == 'Restored 1 object.'
    assert shown_levels(path) == [every] * 3
    assert d.labels.get_value((58, 10), world=True)[1] == 3
    assert w.table.set_index('index').loc[3, 'mine'] == 7
    d.session.redo()
    d.settle()
    assert w.table['index'].tolist() == [1, 2, 4]
    # not measured half written
    written = threading.Event()
    d.session.erasing.do(lambda progress: str(written.wait(40)))
    w.measure()
    assert 'wait until' in w.status.text
    assert not w.measuring.running
    written.set()
    d.settle()
    # a lock of a process that was killed
    records_folder(path).mkdir()
    (records_folder(path) / 'lock').touch()
    assert is_finished_output(path)
    # a new session, with the scores as they were read
    table = table[table['label'] != 3]
    d = show()
    QTest.mouseClick(d.widget.undo_button, LEFT)
    d.settle()
    assert shown_levels(path) == [every] * 3
    assert sorted(d.widget.table['index']) == [1, 2, 3, 4]
    QTest.mouseClick(d.widget.undo_button, LEFT)
    d.settle()
    assert d.widget.status.text == 'Nothing to undo.'


# bad input


def test_without_labels(table_desk):
    d = table_desk()
    assert d.widget.status.text.startswith('There is no labels layer')
    d.widget.measure()
    assert d.widget.status.failed


def test_a_table_without_rows(table_desk, tmp_path):
    d = table_desk(np.zeros((96, 128), int))
    assert d.widget.status.text == (
        'The table has no rows: the labels have no object.'
    )
    assert not d.widget.exporting.button.isEnabled()
    d.widget.exporting.save(tmp_path / 'a.csv')
    assert 'nothing to save' in d.widget.status.text
    assert not (tmp_path / 'a.csv').exists()


def test_an_image_of_another_shape(table_desk):
    d = table_desk(squares()[:50], measured=False)
    d.widget.measure()
    assert 'has the shape (96, 128)' in d.widget.status.text
    d.widget.image_combo.setCurrentIndex(0)
    d.widget.measure()
    d.settle()
    assert len(d.labels.features) == 2


def test_a_target_that_cannot_be_written(table_desk, tmp_path):
    d = table_desk(squares())
    d.widget.exporting.save(tmp_path / 'gone' / 'a.csv')
    d.settle()
    # the path once
    assert d.widget.status.text.count(str(tmp_path / 'gone')) == 1
    d.widget.exporting.save(tmp_path / 'a.xls')
    d.settle()
    assert 'must end in' in d.widget.status.text


def test_labels_that_change_while_they_are_measured(table_desk):
    d = table_desk(squares(), measured=False)
    d.widget.measure()
    d.labels.data_setitem(np.nonzero(d.labels.data == 2), 0)
    d.settle()
    assert d.widget.status.text == '3 objects measured.'
    assert 2 not in d.labels.features['index'].tolist()


def test_labels_removed_while_they_are_measured(table_desk):
    d = table_desk(squares(), measured=False)
    d.widget.measure()
    d.viewer.layers.remove(d.labels)
    d.labels = None
    d.settle()
    assert d.widget.measure_button.isEnabled()


@pytest.mark.slow
def test_a_closed_dock_takes_its_layer_along(table_desk):
    d = table_desk(squares())
    d.widget.select('area', 0, 150)
    d.settle()
    assert len(d.viewer.layers) == 3
    d.viewer.window.remove_dock_widget(d.dock)
    assert d.viewer.layers == [d.image, d.labels]


def test_outlines_of_an_overlay():
    picture = np.zeros((2, 12, 16), np.uint8)
    picture[0, 2:9, 3:13] = 1
    picture[0, 4:, 13:] = 2
    expected = picture.copy()
    expected[0, 4:7, 5:11] = 0
    np.testing.assert_array_equal(outlines_of(picture), expected)


def test_an_overlay_of_labels_below_zero():
    labels = np.array([[-9, -1, 0], [1, 2, 2]])
    found = overlay_of(labels, np.array([2]), 1)
    np.testing.assert_array_equal(found, [[0, 0, 0], [2, 1, 1]])


def test_histogram_says_what_its_numbers_are():
    found = histogram(np.array([1, 2, 2, 1234]))
    assert axis_texts(found) == ('1', 'highest bar: 3 objects', '1,234')
    found = histogram(np.array([0.25, 0.98765]))
    assert axis_texts(found) == ('0.25', 'highest bar: 1 object', '0.9877')


@pytest.mark.slow
def test_units_of_time_are_no_lengths(table_desk, blobs, tmp_path):
    stacks = np.stack([squares()] * 2), np.stack([blobs] * 2)
    d = table_desk(*stacks, scale=(10, 0.5, 0.5), units=('s', 'um', 'um'))
    row = d.labels.features.iloc[0]
    assert row['area µm²'] == pytest.approx(row['area'] * 0.25)
    assert (row['times'], row['t0'], row['t1']) == (2, 0, 2)
    assert 'z0' not in row
    assert d.widget.exporting.button.menu() is not None
    path = tmp_path / 'frames.csv'
    d.widget.exporting.save_frames(path)
    d.settle()
    frames = pd.read_csv(path)
    assert frames['label'].tolist() == [1, 2, 3, 4] * 2
    assert frames['t'].tolist() == [0] * 4 + [1] * 4
    assert d.widget.status.text == f'8 rows saved to {path}.'
    # objects that are not as measured have neither means nor frames
    features = d.labels.features.iloc[1:].copy()
    features.loc[9, ['index', 'area']] = 5, 100
    d.labels.features = features
    assert d.widget.table['area'].isna().tolist() == [False] * 3 + [True]
    d.widget.exporting.save_frames(path)
    d.settle()
    assert pd.read_csv(path)['label'].tolist() == [2, 3, 4] * 2
    assert '1 object changed since' in d.widget.status.text
    before = path.read_bytes()
    d.labels.features = features.assign(area=np.nan)
    d.widget.exporting.save_frames(path)
    d.settle()
    assert 'all objects changed since' in d.widget.status.text
    assert path.read_bytes() == before
    d.labels.units = d.image.units = ('nm', 'um', 'um')
    d.widget.measure()
    d.settle()
    assert d.widget.exporting.button.menu() is None
    row = d.labels.features.iloc[0]
    assert row['area µm³'] == pytest.approx(row['area'] * 0.01 * 0.25)


def test_lazy_channels_are_measured_part_by_part(blobs):
    dask = pytest.importorskip('dask.array')
    read = []

    def block(part):
        read.append(part.shape)
        return part

    stack = dask.from_array(np.stack([blobs] * 2), chunks=(1, 16, 16))
    image = Image(stack.map_blocks(block, meta=np.zeros((0, 0, 0), 'uint8')))
    labels = Labels(squares())
    read.clear()
    scene = SimpleNamespace(image=image, composed=(), channel_axis=0)
    request = request_of(labels, image, scene)
    assert request.image.shape == (*blobs.shape, 2)
    assert not read


@pytest.mark.slow
@pytest.mark.parametrize(
    'place',
    [
        {},
        {'scale': (500, 500), 'units': ('nm', 'nm')},
        {'translate': (0, 3)},
        {'scale': (0.5, 0.6), 'units': ('um', 'um')},
    ],
)
def test_an_image_that_lies_elsewhere_is_told(table_desk, place):
    d = table_desk(squares(), measured=False)
    here = {'scale': (0.5, 0.5), 'units': ('um', 'um')}
    if 'units' in place:
        d.labels.scale, d.labels.units = here['scale'], here['units']
    other = d.viewer.add_image(d.image.data, **place, name='other')
    d.widget.image_combo.layer = other
    d.widget.measure()
    d.settle()
    told = d.widget.status.text
    assert told.startswith('4 objects measured.')
    elsewhere = place and 'nm' not in place.get('units', ())
    assert ('does not lie where “cells” lies' in told) == bool(elsewhere)


def test_labels_of_channels_between_planes_and_rows_are_measured(blobs):
    pixels = np.stack([np.stack([blobs, 2 * (blobs > 0)])] * 3)
    units = ('um', 'pixel', 'um', 'um')
    image = Image(pixels, scale=(2, 1, 0.5, 0.5), units=units)
    cells = np.broadcast_to(squares(), (3, 2, *squares().shape)).copy()
    labels = Labels(cells, scale=image.scale, units=units)
    viewer = ViewerModel()
    scene = SimpleNamespace(
        image=image, composed=(), channel_axis=1, viewer=viewer
    )
    viewer.add_layer(image)
    request = request_of(labels, image, scene)
    assert request.volumes
    assert np.array_equal(request.labels[0, :, :], squares())
    assert (request.scale, request.units) == ((2.0, 0.5, 0.5), 'µm')
    assert request.image[1, 20:40, 30].tolist() == [
        *pixels[1, :, 20:40, 30].T.tolist()
    ]
    assert request_of(labels, None, scene).labels.shape == cells[:, 0].shape
    viewer.dims.axis_labels = ('time', *'cyx')
    request = request_of(labels, image, scene)
    assert request.over_time
    assert (request.scale, request.units) == ((0.5, 0.5), 'µm')


def test_objects_that_are_not_in_memory_are_deleted(table_desk, blobs):
    dask = pytest.importorskip('dask.array')
    stack = np.stack([squares()] * 3)
    d = table_desk(dask.from_array(stack, chunks=(1, 32, 32)), image=None)
    d.widget.select('area', 400, 800)
    d.widget.delete()
    d.settle()
    assert set(np.unique(np.asarray(d.labels.data))) == {0, 1, 4}
    d.widget.undo()
    assert np.array_equal(np.asarray(d.labels.data), stack)


def test_the_open_object_stays_if_it_cannot_be_deleted(table_desk):
    d = table_desk(squares())
    d.widget.rows.edit_asked.emit(3)
    d.labels.editable = False
    d.widget.select('area', 256, 256)
    d.widget.delete()
    assert 'cannot be edited' in d.widget.status.text
    assert d.session.editor.base is not None
    assert (d.labels.data == 3).any()


@pytest.mark.slow
def test_the_open_object_is_closed_when_it_is_deleted(table_desk, blobs):
    d = table_desk(squares())
    d.widget.rows.edit_asked.emit(3)
    assert d.session.editor.base is not None
    d.widget.select('area', 256, 256)
    d.widget.delete()
    d.settle()
    assert d.session.editor.base is None
    assert d.session.editor.record.empty
    assert not (d.labels.data == 3).any()


@pytest.mark.slow
def test_the_open_object_stays_if_others_have_its_number(table_desk):
    d = table_desk(squares())
    d.widget.rows.edit_asked.emit(3)
    others = d.viewer.add_labels(np.roll(squares(), 30, 1), name='others')
    assert d.widget.labels_combo.layer is others
    QTest.mouseClick(d.widget.measure_button, LEFT)
    d.settle()
    d.widget.select('area', 256, 256)
    d.widget.delete()
    assert not (others.data == 3).any()
    assert d.session.editor.record.label == 3
    assert (d.labels.data == 3).any()


def test_a_column_that_is_not_there_selects_nothing(table_desk):
    d = table_desk(squares())
    d.widget.select('aera', 0, 150)
    assert d.widget.status.text == 'The table has no column “aera” of numbers.'
    assert not len(d.widget.rows.marked)


def test_a_range_may_end_far_beyond_the_objects(table_desk, qtbot):
    d = table_desk(squares())
    d.widget.show()
    d.widget.select('area', -1e12, 1e12)
    assert d.widget.rows.selected.tolist() == [1, 2, 3, 4]
    # drawn without an error
    assert not d.widget.plot.grab().isNull()


@pytest.mark.slow
@pytest.mark.window
def test_outlines_are_those_of_the_tab_in_front(table_desk):
    d = table_desk(squares())
    other = d.viewer.window.add_dock_widget(QLabel('another'), name='another')
    d.widget.main_window.tabifyDockWidget(d.dock, other)
    d.dock.raise_()
    d.settle()
    d.widget.select('area', 200, 300)
    d.settle()
    assert d.widget.marked.layer.visible
    other.raise_()
    d.settle()
    assert not d.widget.marked.layer.visible
    # such as by a click on an object
    d.widget.select('area', 100, 300)
    d.settle()
    assert not d.widget.marked.layer.visible
    d.dock.raise_()
    d.settle()
    assert d.widget.marked.layer.visible
    d.viewer.window.remove_dock_widget(other)
