"""Names of units as people and files write them."""

from __future__ import annotations

import numpy as np
import pytest

import napari_mobilesam as nm
from napari_mobilesam.units import SECONDS, TIMES, unit_name


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('µm', 'micrometer'),
        ('\u03bcm', 'micrometer'),
        ('um', 'micrometer'),
        ('microns', 'micrometer'),
        ('micrometre', 'micrometer'),
        ('micrometers', 'micrometer'),
        ('Å', 'angstrom'),
        ('ms', 'millisecond'),
        ('s', 'second'),
        ('secs', 'second'),
        ('hours', 'hour'),
        ('pixel', None),
        ('', None),
    ],
)
def test_units_have_one_name(text, name):
    assert unit_name(text) == name


def test_every_time_is_known_in_seconds():
    assert SECONDS.keys() == TIMES.keys()


@pytest.mark.parametrize('suffix', ['.tif', '.ome.tif', '.zarr', '.zip'])
@pytest.mark.parametrize('largest', [3, 70_000])
def test_symbols_of_units_are_kept_by_exports(tmp_path, suffix, largest):
    labels = np.zeros((3, 9, 9), np.uint32)
    labels[:, 2:5, 2:5] = largest
    path = tmp_path / f'labels{suffix}'
    given = {'axes': 'tyx', 'scale': (120.0, 0.25, 0.5)}
    nm.export_labels(labels, path, units=('s', 'µm', 'um'), **given)
    back = nm.read_labels(path)
    assert back.units == ('second', 'micrometer', 'micrometer')
    assert back.scale == pytest.approx(given['scale'])


def test_times_are_seconds_in_imagej(tmp_path):
    labels = np.ones((2, 4, 5), np.uint8)
    given = {'axes': 'tyx', 'units': ('min', 'nm', 'nm')}
    path = tmp_path / 'labels.tif'
    nm.export_labels(labels, path, scale=(2.0, 1.0, 1.0), **given)
    assert nm.read_labels(path).scale == (120.0, 1.0, 1.0)
