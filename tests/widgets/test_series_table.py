"""The table of the images of a series, without a viewer."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTableView

from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_entry import UncertainObject
from napari_mobilesam.widgets.series.series_table import SeriesTable
from napari_mobilesam.widgets.series.uncertain_table import UncertainTable

pytest.importorskip('pytestqt')


def in_view(table: QTableView) -> bool:
    row = table.visualRect(table.currentIndex())
    return row.top() >= 0 and row.bottom() <= table.viewport().height()


def test_the_chosen_row_stays_in_view_beside_a_long_message(qtbot, tmp_path):
    for number in range(40):
        (tmp_path / f'{number:02}.tif').touch()
    table = SeriesTable()
    qtbot.addWidget(table)
    table.resize(300, 400)
    table.show_series(Series.open(tmp_path))
    with qtbot.waitExposed(table):
        table.show()
    table.choose(20)
    assert in_view(table)
    table.resize(300, 330)
    qtbot.waitUntil(lambda: table.viewport().height() < 320)
    assert in_view(table)
    # where others are looked at, they stay in view
    table.scrollToTop()
    table.resize(300, 200)
    qtbot.waitUntil(lambda: table.viewport().height() < 200)
    assert not in_view(table)


def test_the_chosen_object_stays_in_view_as_others_are_found(qtbot, tmp_path):
    (tmp_path / 'a.tif').touch()
    series = Series.open(tmp_path)
    objects = [UncertainObject(n / 1000, 0, n, 0.5) for n in range(1, 900)]
    table = UncertainTable()
    qtbot.addWidget(table)
    table.resize(300, 200)
    table.show_objects(series, objects[600:650])
    with qtbot.waitExposed(table):
        table.show()
    table.choose(objects[620])
    table.show_objects(series, objects)
    qtbot.wait(50)
    assert in_view(table)


def test_a_change_measures_no_row_out_of_view(qtbot, tmp_path):
    for number in range(400):
        (tmp_path / f'{number:03}.tif').touch()
    table, asked = SeriesTable(), set()
    qtbot.addWidget(table)
    table.resize(300, 200)
    table.show_series(Series.open(tmp_path))
    with qtbot.waitExposed(table):
        table.show()
    model = table.model()
    data = model.data

    def watched(index, role=0):
        asked.add(index.row())
        return data(index, role)

    model.data = watched
    table.choose(200)
    table.show_failure(200, 'It is damaged.')
    table.resize(320, 220)
    qtbot.wait(50)
    assert table.text(200, 2) == 'failed'
    assert 200 in asked
    assert len(asked) < 60


def test_columns_leave_room_for_their_texts(qtbot, tmp_path):
    (tmp_path / 'a.tif').touch()
    table = SeriesTable()
    qtbot.addWidget(table)
    table.show_series(Series.open(tmp_path))
    advance = table.fontMetrics().horizontalAdvance
    for column, text in (1, '12,345'), (2, 'flagged'):
        assert table.columnWidth(column) > advance(text)


def test_a_list_that_has_not_changed_stays_as_it_is(qtbot, tmp_path):
    (tmp_path / 'a.tif').touch()
    series, table, resets = Series.open(tmp_path), UncertainTable(), []
    qtbot.addWidget(table)
    table.model().modelReset.connect(lambda: resets.append(len(table)))
    found = [UncertainObject(0.5, 0, 7), UncertainObject(0.6, 0, 3)]
    table.show_objects(series, found)
    table.show_objects(series, found)
    assert resets == [2]
    assert table.take_out(found[0]) == found[1]
    # it has not been reviewed after all
    table.show_objects(series, found)
    assert resets == [2, 1, 2]
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert table.text(0)[2] == '3'
