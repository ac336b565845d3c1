"""Rows of the Table dock."""

from __future__ import annotations

import pandas as pd
from qtpy.QtCore import Qt

from napari_mobilesam.widgets.table.object_rows import ObjectRows


def test_areas_in_units_are_seen_without_scrolling(qtbot):
    rows = ObjectRows()
    qtbot.addWidget(rows)
    names = ['score', 'index', 'class', 'area', 'row', 'area mm²']
    rows.show_table(pd.DataFrame({name: [1] for name in names}))
    title, across = rows.model().headerData, Qt.Orientation.Horizontal
    assert [title(n, across) for n in range(len(names))] == [
        'label',
        'area mm²',
        'area',
        'class',
        'score',
        'row',
    ]
