"""Names of units as people and files write them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import napari_mobilesam as nm
from napari_mobilesam.large.io.label_tiff import write_label_tiff
from napari_mobilesam.large.io.sources import Geometry
from napari_mobilesam.units import converted, in_one_unit, unit_name


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


@pytest.mark.parametrize(
    ('size', 'unit', 'to', 'expected'),
    [
        (500, 'nanometer', 'µm', 0.5),
        (2, 'min', 'second', 120),
        (3, 'pixel', 'pixel', 3),
        (1, 'second', 'µm', None),
        (1, 'pixel', 'µm', None),
        (1, None, 'µm', None),
    ],
)
def test_sizes_in_other_units(size, unit, to, expected):
    assert converted(size, unit, to) == (expected and pytest.approx(expected))


def test_lengths_in_one_unit():
    units = ('nm', 'micrometer', 'um')
    sizes, symbol = in_one_unit((500, 0.25, 0.25), units)
    assert (sizes, symbol) == (pytest.approx((0.5, 0.25, 0.25)), 'µm')
    for first in ('s', 'pixel', None):
        units = (first, 'µm', 'µm')
        assert in_one_unit((1, 2, 2), units) == (None, None)


@pytest.mark.parametrize('large', [False, True])
def test_depth_is_in_the_unit_of_x_in_imagej(tmp_path, large):
    labels = np.ones((2, 4, 5), np.uint16)
    path = tmp_path / 'labels.tif'
    units, scale = ('nanometer', 'micrometer', 'micrometer'), (500, 0.25, 0.5)
    if large:
        write_label_tiff(
            labels, path, 1, Geometry('zyx', (2,), scale, (0.0,) * 3, units)
        )
    else:
        nm.export_labels(labels, path, axes='zyx', scale=scale, units=units)
    back = nm.read_labels(path)
    assert back.scale == pytest.approx((0.5, 0.25, 0.5))
    assert set(back.units) == {'micrometer'}


def test_times_of_imagej_have_their_own_unit(tmp_path):
    path = tmp_path / 'labels.tif'
    told = {'axes': 'TYX', 'finterval': 5.0, 'tunit': 'min', 'unit': 'um'}
    labels = np.ones((2, 4, 5), np.uint16)
    tifffile.imwrite(path, labels, imagej=True, metadata=told)
    back = nm.read_labels(path)
    assert (back.scale[0], back.units[0]) == (5, 'minute')
