"""Measurements of objects of a time series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_mobilesam.measure.object_table import (
    MeasurementError,
    measure_objects,
)
from napari_mobilesam.measure.over_time import (
    means_over_time,
    measure_frames,
)
from napari_mobilesam.measure.table_columns import MEASURED


@pytest.fixture
def labels() -> np.ndarray:
    """Object 1 grows and moves in frames 0 and 1, 7 is in frame 2."""
    frames = np.zeros((3, 20, 30), np.uint16)
    frames[0, 2:4, 5:7] = 1
    frames[1, 3:7, 9:13] = 1
    frames[2, 10:13, 10:13] = 7
    return frames


def measure_over_time(*args, **options) -> pd.DataFrame:
    return means_over_time(measure_frames(*args, **options))


def test_rows_are_means_over_the_frames_of_an_object(labels):
    image = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    found = measure_over_time(labels, image, scale=(0.5, 0.5), units='µm')
    frames = [
        measure_objects(f, i) for f, i in zip(labels, image, strict=True)
    ]
    one = found.set_index('label').loc[1]
    assert (one['times'], one['t0'], one['t1']) == (2, 0, 2)
    for name in ('area', 'row', 'equivalent_diameter_area', 'eccentricity'):
        both = [frame[name][0] for frame in frames[:2]]
        assert one[name] == pytest.approx(np.mean(both)), name
    assert one['area µm²'] == one['area'] / 4 == 2.5
    assert list(one[['row0', 'column0', 'row1', 'column1']]) == [2, 5, 7, 13]
    assert one['intensity_min'] == image[0][2, 5]
    assert one['intensity_max'] == image[1][6, 12]
    seven = found.set_index('label').loc[7]
    assert (seven['times'], seven['t0'], seven['t1']) == (1, 2, 3)
    # a second measurement replaces these columns
    assert all(MEASURED.fullmatch(n) for n in found if n != 'label')


def test_volumes_over_time(labels):
    volumes = np.stack([labels, np.zeros_like(labels)], axis=1)
    volumes[1, 1] = volumes[1, 0]
    found = measure_over_time(volumes, scale=(2, 1, 1), units='µm')
    one = found.set_index('label').loc[1]
    assert one['area'] == (4 + 32) / 2
    assert one['area µm³'] == one['area'] * 2
    assert (one['z0'], one['z1']) == (0, 2)


def test_a_single_plane_over_time_is_no_volume(labels):
    flat = measure_over_time(labels, scale=(2, 2), units='µm')
    found = measure_over_time(labels[:, None], scale=(3, 2, 2), units='µm')
    assert (found['area µm²'] == flat['area µm²']).all()
    assert not any('³' in name for name in found)


def test_progress_goes_through_all_frames_and_ends_the_measurement(labels):
    told = []
    measure_over_time(labels, progress=lambda *a: told.append(a[:2]))
    assert {total for _, total in told} == {6}
    assert [done for done, _ in told] == list(range(6))

    def stop(*progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_over_time(labels, progress=stop)


def test_without_objects_there_are_no_rows(labels):
    full, empty = measure_over_time(labels), measure_over_time(labels * 0)
    assert not len(empty)
    assert list(empty) == list(full)
    assert isinstance(empty, pd.DataFrame)


def test_an_image_of_other_frames_is_refused(labels):
    with pytest.raises(MeasurementError, match='shape'):
        measure_over_time(labels, np.zeros((3, 20, 31)))
