"""Measuring in the background, with the pixel size that a file states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_mobilesam.readers.stated_size import SizedFile
from napari_mobilesam.session.measuring import (
    MeasureRequest,
    Measuring,
    with_entered_scale,
    with_stated_scale,
)
from napari_mobilesam.types import SegmentationError

PIXELS = np.arange(8 * 9, dtype=np.uint16).reshape(8, 9)
OME = {'PhysicalSizeX': 0.5, 'PhysicalSizeY': 0.25}


def write(path, pixels=PIXELS, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


def request(path, shape=PIXELS.shape, axes=(0, 1), **options):
    labels = np.zeros(tuple(shape[axis] for axis in axes), int)
    labels[..., 2:5, 3:7] = 1
    files = [SizedFile(path, shape, axes)]
    return MeasureRequest(labels, files=files, **options)


def test_the_table_has_the_units_that_the_file_states(tmp_path):
    path = write(tmp_path / 'a.ome.tif', metadata={'axes': 'YX', **OME})
    told = []
    measuring = Measuring(lambda function: function())
    measuring.finished.connect(lambda *found: told.append(found))
    measuring.start(request(path))
    assert measuring.wait(20)
    measuring.close()
    ((used, table, _),) = told
    assert table['area µm²'].tolist() == [12 * 0.125]
    assert used.note == 'Pixel size of a.ome.tif: 0.25 × 0.5 µm.'


def test_sizes_of_imagej_and_of_channels(tmp_path):
    path = write(
        tmp_path / 'a.tif',
        imagej=True,
        resolution=(2, 2),
        metadata={'unit': 'um'},
    )
    assert with_stated_scale(request(path)).scale == (0.5, 0.5)
    channels = np.stack([PIXELS, PIXELS])
    known = {'axes': 'CYX', **OME}
    path = write(
        tmp_path / 'c.ome.tif',
        channels,
        metadata=known,
        photometric='minisblack',
    )
    found = with_stated_scale(request(path, channels.shape, (1, 2)))
    assert (found.scale, found.units) == ((0.25, 0.5), 'µm')


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('plain.tif', {}),
        ('dpi.tif', {'resolution': (72, 72), 'resolutionunit': 'INCH'}),
        # a stack without the distance of its planes
        ('z.ome.tif', {'metadata': {'axes': 'ZYX', **OME}}),
        ('t.ome.tif', {'metadata': {'axes': 'TYX', **OME}}),
    ],
)
def test_files_without_a_size_are_measured_in_pixels(tmp_path, name, options):
    stack = 'axes' in options.get('metadata', {})
    pixels = np.stack([PIXELS] * 3) if stack else PIXELS
    path = write(tmp_path / name, pixels, photometric='minisblack', **options)
    axes = tuple(range(pixels.ndim))
    asked = request(path, pixels.shape, axes)
    assert with_stated_scale(asked) is asked


def test_other_files_and_a_known_scale_are_left_alone(tmp_path):
    path = write(tmp_path / 'a.ome.tif', metadata={'axes': 'YX', **OME})
    known = request(path, scale=(2.0, 2.0), units='nm')
    # an image of another shape was read from it, or it has gone
    for asked in (
        known,
        request(path, (9, 8)),
        request(tmp_path / 'gone.tif'),
        request(write(tmp_path / 'a.txt.tif').with_suffix('.txt')),
    ):
        assert with_stated_scale(asked) is asked


@pytest.mark.parametrize(
    ('text', 'ndim', 'scale', 'unit'),
    [
        ('20.2 nm', 2, (20.2, 20.2), 'nm'),
        (' 0,5um ', 2, (0.5, 0.5), 'µm'),
        ('0,125 µm', 2, (0.125, 0.125), 'µm'),
        ('0.25 × 0.5 µm', 2, (0.25, 0.5), 'µm'),
        ('0.8, 0.2, 0.2 µm', 3, (0.8, 0.2, 0.2), 'µm'),
        ('1 2 2 microns', 3, (1, 2, 2), 'µm'),
    ],
)
def test_an_entered_pixel_size_replaces_any_other(text, ndim, scale, unit):
    known = MeasureRequest(np.zeros((3,) * ndim), scale=(9,) * ndim, units='m')
    used = with_entered_scale(known, text)
    assert (used.scale, used.units) == (scale, unit)
    assert with_entered_scale(known, '  ') is known


@pytest.mark.parametrize(
    'text',
    [
        '20',
        'nm',
        '20 s',
        '0 nm',
        '-1 nm',
        '1 2 3 nm',
        'a nm',
        '2 nm²',
        '1,000 nm',
    ],
)
def test_what_is_no_pixel_size_is_refused(text):
    with pytest.raises(SegmentationError, match='such as 20.2 nm'):
        with_entered_scale(MeasureRequest(np.zeros((3, 3))), text)
    # the planes of a stack, or times, are not as far apart as pixels
    request = MeasureRequest(np.zeros((3, 3, 3)))
    with pytest.raises(SegmentationError, match='such as 0.8 0.2 0.2 µm'):
        with_entered_scale(request, '20 nm')
    sized = with_entered_scale(replace(request, over_time=True), '20 nm')
    assert sized.scale == (20, 20)
