"""Label images with everything that is hard to write down as polygons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from napari_mobilesam.export.exported import LabelsWithTable


def hard_labels() -> NDArray[np.uint16]:
    """(40, 48) holes, parts, parts in holes, borders, single pixels."""
    labels = np.zeros((40, 48), np.uint16)
    labels[0:6, 0:8] = 1  # in a corner, on two borders
    labels[10:26, 4:24] = 2
    labels[12:24, 6:22] = 0  # a hole …
    labels[14:20, 10:16] = 2  # … with a part of the same object in it …
    labels[16:18, 12:14] = 3  # … in whose hole there is another
    labels[30:34, 2:6] = 4
    labels[34:38, 6:10] = 4  # touches its other part at a corner
    labels[2, 30] = 5  # a single pixel
    labels[5:9, 30:40] = 6
    labels[6, 31], labels[7, 32] = 0, 0  # holes that touch at a corner
    labels[5, 39], labels[6, 38] = 0, 0  # a hole that touches the outside
    labels[20:40, 40:48] = 700  # on two borders; the numbers have gaps
    labels[20:30, 30:40] = 701  # beside it
    return labels


@pytest.fixture
def labels() -> NDArray[np.uint16]:
    return hard_labels()


@pytest.fixture
def stack() -> NDArray[np.uint16]:
    """(3, 40, 48): objects on several planes, one plane empty."""
    plane = hard_labels()
    return np.stack([plane, np.zeros_like(plane), np.where(plane == 2, 2, 0)])


@pytest.fixture
def table() -> pd.DataFrame:
    """Classes, scores and a measurement of some of the objects."""
    return pd.DataFrame(
        {
            'label': [1, 2, 5, 700],
            'class': ['nucleus', 'nucleus', None, 'cell “ä”'],
            'score': [0.5, 0.75, 0.25, np.nan],
            'mean intensity': [10.0, 20.5, 0.0, 3.0],
        }
    )


@pytest.fixture
def image(labels: NDArray[np.uint16], table: pd.DataFrame) -> LabelsWithTable:
    return LabelsWithTable(labels, table, {'nucleus': '#e69f00'}, name='a.tif')


@pytest.fixture
def volume(stack: NDArray[np.uint16], table: pd.DataFrame) -> LabelsWithTable:
    return LabelsWithTable(stack, table, {'nucleus': '#e69f00'}, name='a.tif')
