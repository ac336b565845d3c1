"""Measurements: those of scikit-image, whatever the parts they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from skimage.measure import regionprops

import napari_mobilesam as nm
from napari_mobilesam.measure import object_table
from napari_mobilesam.measure.object_table import (
    MeasurementError,
    measure_objects,
)
from napari_mobilesam.readers.unread_views import Reordered, Stacked


@pytest.fixture
def labels() -> NDArray[np.uint32]:
    """(90, 130): ellipses, one cut by the border, one in two parts."""
    labels = np.zeros((90, 130), np.uint32)
    rows, columns = np.mgrid[:90, :130]
    for label, row, column, a, b in (
        (1, 5, 20, 12, 18),
        (3, 45, 40, 20, 9),
        (70_000, 60, 100, 15, 25),
        (4, 80, 10, 5, 5),
        (4, 70, 60, 4, 4),
    ):
        inside = ((rows - row) / a) ** 2 + ((columns - column) / b) ** 2 <= 1
        labels[inside] = label
    return labels


@pytest.fixture
def image(labels: NDArray[Any]) -> NDArray[np.uint16]:
    """(90, 130, 2) noise."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 60_000, (*labels.shape, 2)).astype(np.uint16)


def test_is_what_scikit_image_measures(
    labels: NDArray[Any], image: NDArray[Any]
) -> None:
    table = measure_objects(labels, image, channels=('DAPI', 'actin'))
    assert table['label'].tolist() == [1, 3, 4, 70_000]
    for region in regionprops(labels.astype(np.int32), image):
        row = table[table['label'] == region.label].iloc[0]
        assert row['area'] == (labels == region.label).sum()
        assert (row['row'], row['column']) == pytest.approx(region.centroid)
        box = tuple(row[['row0', 'column0', 'row1', 'column1']])
        assert box == region.bbox
        for name in (
            'axis_major_length',
            'axis_minor_length',
            'equivalent_diameter_area',
            'eccentricity',
            'solidity',
            'perimeter',
        ):
            assert row[name] == pytest.approx(getattr(region, name))
        values = image[labels == region.label].astype(float)
        for number, channel in enumerate(('DAPI', 'actin')):
            of = values[:, number]
            assert row[f'intensity_mean {channel}'] == pytest.approx(of.mean())
            assert row[f'intensity_min {channel}'] == of.min()
            assert row[f'intensity_max {channel}'] == of.max()
            assert row[f'intensity_sd {channel}'] == pytest.approx(of.std())


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['numpy', 'zarr', 'dask'])
@pytest.mark.parametrize('part', [(16, 16), (7, 200), (90, 130)])
def test_parts_make_no_difference(
    kind: str,
    part: tuple[int, int],
    labels: NDArray[Any],
    image: NDArray[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    expected = measure_objects(labels, image)
    monkeypatch.setitem(object_table.PART, 2, part)
    given: list[Any] = [labels, image]
    if kind == 'zarr':
        zarr = pytest.importorskip('zarr')
        given = [
            zarr.array(
                a, chunks=(32, 32, 1)[: a.ndim], store=str(tmp_path / n)
            )
            for a, n in zip(given, 'ab', strict=True)
        ]
    if kind == 'dask':
        dask_array = pytest.importorskip('dask.array')
        given = [dask_array.from_array(array, chunks=20) for array in given]
    found = measure_objects(*given)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_reads_no_more_than_parts(
    labels: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        shape, dtype = labels.shape, labels.dtype
        largest = 0

        def __getitem__(self, index: Any) -> Any:
            block = labels[index]
            self.largest = max(self.largest, block.size)
            return block

    monkeypatch.setitem(object_table.PART, 2, (16, 16))
    counting = Counting()
    measure_objects(counting)
    # the largest object's box, not the image
    assert counting.largest < labels.size / 2


def test_planes_and_volumes(labels: NDArray[Any]) -> None:
    stack = np.stack([labels, np.zeros_like(labels), labels])
    table = measure_objects(stack)
    assert table['plane'].tolist() == [0] * 4 + [2] * 4
    one = measure_objects(labels)
    pd.testing.assert_frame_equal(
        table[table['plane'] == 2]
        .drop(columns='plane')
        .reset_index(drop=True),
        one,
    )
    scaled = measure_objects(stack, scale=(2, 0.5, 0.25), units='µm')
    np.testing.assert_allclose(scaled['area µm²'], table['area'] / 8)
    np.testing.assert_allclose(scaled['column µm'], table['column'] / 4)
    volumes = measure_objects(stack, volumes=True, scale=(2, 0.5, 0.5))
    np.testing.assert_array_equal(volumes['area'], 2 * one['area'])
    np.testing.assert_allclose(volumes['area units³'], volumes['area'] * 0.5)
    assert (volumes['z'] == 1).all()
    assert (volumes[['z0', 'z1']] == [0, 3]).all(axis=None)
    for name in ('row', 'column', 'row0', 'row1', 'column0', 'column1'):
        np.testing.assert_allclose(volumes[name], one[name])


def test_units(labels: NDArray[Any]) -> None:
    table = measure_objects(labels, scale=(0.5, 0.5), units='µm')
    np.testing.assert_allclose(table['area µm²'], table['area'] / 4)
    np.testing.assert_allclose(table['row µm'], table['row'] / 2)
    np.testing.assert_allclose(table['perimeter µm'], table['perimeter'] / 2)
    # no perimeter where it depends on the direction
    assert 'perimeter µm' not in measure_objects(
        labels, scale=(1, 0.5), units='µm'
    )
    meters = measure_objects(labels, scale=(8e-9, 4e-9), units='m')
    assert 'perimeter m' not in meters


@pytest.mark.parametrize('shape', [(48, 30), (8, 48, 30)])
def test_axes_of_pixels_that_are_not_square(shape: tuple[int, ...]) -> None:
    """A ball, whose image is shorter along axes of larger pixels."""
    scale = (3.0, 0.5, 0.8)[-len(shape) :]
    grid = np.indices(shape).reshape(len(shape), -1).T * scale
    middle = (np.array(shape) - 1) / 2 * scale
    ball = np.linalg.norm(grid - middle, axis=1).reshape(shape) < 10
    given = {'scale': scale, 'units': 'µm', 'volumes': len(shape) == 3}
    (row,) = measure_objects(ball.astype(int), **given).to_dict('records')
    assert row['axis_major_length µm'] == pytest.approx(20, rel=0.06)
    assert row['axis_minor_length µm'] == pytest.approx(20, rel=0.06)
    assert row['axis_major_length'] > 1.2 * row['axis_minor_length']
    empty = measure_objects(np.zeros(shape, int), **given)
    assert list(empty) == list(row)


def test_keeps_class_and_score(labels: NDArray[Any]) -> None:
    known = pd.DataFrame(
        {'index': [3, 1], 'class': ['a', 'b'], 'score': [0.5, 0.75]}
    )
    table = measure_objects(labels, table=known).set_index('label')
    assert table.loc[3, 'class'] == 'a'
    assert table.loc[1, 'score'] == 0.75
    assert np.isnan(table.loc[4, 'score'])
    empty = measure_objects(labels, table=known.iloc[:0])
    assert empty['score'].isna().all()


def test_the_table_of_several_images_is_refused(labels: NDArray[Any]) -> None:
    """A label is an object of each of them."""
    rows = {'image': ['a.tif', 'b.tif'], 'label': [1, 1], 'score': [0.5, 0.9]}
    several = pd.DataFrame(rows)
    with pytest.raises(MeasurementError, match='objects of 2 images'):
        measure_objects(labels, table=several)
    found = measure_objects(labels, table=several[1:])
    assert found['score'][0] == 0.9


def test_no_objects_is_a_table_without_rows(image: NDArray[Any]) -> None:
    nothing = np.zeros(image.shape[:2], int)
    table = measure_objects(nothing, image, scale=(1, 1), units='µm')
    assert len(table) == 0
    assert 'intensity_sd channel 1' in table
    assert 'area µm²' in table
    assert len(measure_objects(np.zeros((2, 5, 5), int))) == 0


def test_progress_can_end_it(labels: NDArray[Any]) -> None:
    seen = []

    class Stop(Exception): ...

    def progress(done: int, total: int, text: str) -> None:
        seen.append((done, total))
        if done == 1:
            raise Stop

    with pytest.raises(Stop):
        measure_objects(labels, progress=progress)
    assert seen == [(0, 2), (1, 2)]


def test_progress_of_a_stack_only_rises(labels: NDArray[Any]) -> None:
    seen: list[float] = []
    measure_objects(
        np.stack([labels] * 3),
        progress=lambda done, total, text: seen.append(done / total),
    )
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'image': np.zeros((90, 131))}, 'same shape'),
        ({'image': np.zeros((2, 90, 130))}, 'same shape'),
        ({'image': np.zeros((90, 130, 0))}, 'same shape'),
        ({'scale': (1,)}, 'does not fit'),
        ({'scale': (1, 0)}, 'does not fit'),
        ({'channels': ['a']}, 'has 0'),
        ({'table': pd.DataFrame({'a': [1]})}, 'no column “label”'),
    ],
)
def test_bad_input(
    given: dict[str, Any], message: str, labels: NDArray[Any]
) -> None:
    with pytest.raises(MeasurementError, match=message):
        measure_objects(labels, **given)


def test_bad_labels(
    labels: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bad in (np.zeros((4, 4)), np.zeros(4, int), np.zeros((0, 3), int)):
        with pytest.raises(MeasurementError, match='cannot be measured'):
            measure_objects(bad)
    monkeypatch.setattr(object_table, 'MOST_BOX_PIXELS', 1000)
    with pytest.raises(MeasurementError, match='extends over .* pixels'):
        measure_objects(labels)


def test_objects_of_a_pixel_or_a_line() -> None:
    labels = np.zeros((6, 7), np.uint8)
    labels[0, 0], labels[2, 1:5], labels[4, 3:5] = 1, 2, 3
    table = measure_objects(labels, labels)
    assert table['area'].tolist() == [1, 4, 2]
    assert table['intensity_mean'].tolist() == [1, 2, 3]


def test_means_of_large_objects_are_not_rounded() -> None:
    image = np.full((300, 300, 2), 60_000.3, np.float32)
    table = measure_objects(np.ones(image.shape[:2], np.uint8), image)
    assert table['intensity_mean channel 0'][0] == pytest.approx(
        float(image[0, 0, 0]), rel=1e-9
    )


def test_public_name(labels: NDArray[Any]) -> None:
    assert len(nm.measure_objects(labels)) == 4


def test_a_volume_has_the_lowest_score_of_its_planes() -> None:
    stack = np.ones((4, 5, 6), np.uint8)
    known = pd.DataFrame(
        {
            'label': 1,
            'plane': range(4),
            'score': [0.7, 0.5, 0.9, np.nan],
            'stability': [0.8, 0.6, 1.0, np.nan],
        }
    )
    table = measure_objects(stack, table=known, volumes=True)
    assert table[['score', 'stability']].to_numpy().tolist() == [[0.5, 0.6]]
    planes = measure_objects(stack, table=known)
    assert planes['score'].tolist()[:3] == [0.7, 0.5, 0.9]


def test_two_classes_of_a_label_are_refused(labels: NDArray[Any]) -> None:
    known = pd.DataFrame({'label': [3, 3], 'class': ['a', 'b']})
    with pytest.raises(MeasurementError, match='label 3 several classes'):
        measure_objects(labels, table=known)
    for classes in ('a', ['a', None], ['a', ''], ['', 'a']):
        known['class'] = classes
        table = measure_objects(labels, table=known)
        assert table.set_index('label').loc[3, 'class'] == 'a'


def test_an_ellipsis_stands_for_axes_of_a_view() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    view, expected = Reordered(array, [2, 1]), array[0].T
    assert view.size == expected.size
    for index in (..., (..., 1), (2, ...), (slice(1, 3), ..., 1), (1, 2, ...)):
        np.testing.assert_array_equal(view[index], expected[index])


def test_channels_are_read_where_objects_are(
    labels: NDArray[Any], image: NDArray[Any]
) -> None:
    moved = np.moveaxis(image, -1, 0)
    expected = measure_objects(labels, image)
    for view in (Reordered(moved, [1, 2, 0]), Stacked(list(moved))):
        assert view.shape == image.shape
        pd.testing.assert_frame_equal(measure_objects(labels, view), expected)


def test_pixels_that_are_not_finite_are_told() -> None:
    labels = np.zeros((20, 20), np.int32)
    image = np.ones((20, 20))
    for number, place in enumerate((2, 8, 14), start=1):
        labels[place : place + 4, place : place + 4] = number
    image[3, 3], image[9, 9], image[19, 0] = np.nan, np.inf, np.nan
    with pytest.warns(
        UserWarning, match='NaN or infinite in 2 objects'
    ) as seen:
        table = measure_objects(labels, image)
    assert len(seen) == 1
    assert table['intensity_mean'].tolist()[2] == 1
