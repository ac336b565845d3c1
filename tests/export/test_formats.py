"""Round trips of every format, checked with the format's own library."""

from __future__ import annotations

import errno
import json
import math
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray

import napari_mobilesam as nm
from napari_mobilesam.export import ome_zarr_labels
from napari_mobilesam.export.exported import (
    UNKNOWN,
    ExportError,
    LabelsWithTable,
    objects_of,
)
from napari_mobilesam.export.formats import export_labels, read_labels
from napari_mobilesam.export.polygon_file import (
    PolygonObject,
    labels_from_polygons,
    with_free_labels,
)
from napari_mobilesam.large.io import ome_zarr
from napari_mobilesam.types import ImageError, SegmentationError

NAMES = ('x.zip', 'x.geojson', 'x.json', 'x.ome.zarr', 'x.tif', 'x.ome.tif')
POLYGONS = ('x.zip', 'x.geojson', 'x.json', 'x.ome.zarr')


def same(found: LabelsWithTable, labels: NDArray[Any]) -> None:
    np.testing.assert_array_equal(np.asarray(found.labels[...]), labels)


@pytest.mark.parametrize('background', [0, 3])
def test_labels_of_any_size_are_found(background: int) -> None:
    labels = np.full((4, 5), background, np.int64)
    labels[1:3, 2], labels[3, 4] = 2_000_000, 7
    found, areas, boxes = objects_of(labels)
    first = int(background == 0)
    assert found.tolist() == [3, 7, 2_000_000][first:]
    assert areas.tolist() == [17, 1, 2][first:]
    every = [np.s_[0:4, 0:5], np.s_[3:4, 4:5], np.s_[1:3, 2:3]]
    assert boxes == every[first:]
    with pytest.raises(SegmentationError, match='too large: number'):
        objects_of(np.full((4, 5), 1 << 63, np.uint64))


@pytest.mark.parametrize('name', ['a.zip', 'a.geojson'])
def test_too_large_labels_on_disk_are_refused(
    name: str, tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    if name.endswith('.zip'):
        pytest.importorskip('roifile')
    zarr.save_array(
        str(tmp_path / 'a.zarr'), np.full((4, 5), (1 << 63) + 7, np.uint64)
    )
    labels = zarr.open_array(str(tmp_path / 'a.zarr'), mode='r')
    with pytest.raises(ExportError, match=r'too large ones \(9.*5815\)'):
        export_labels(labels, tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize('name', [*NAMES, 'x.png'])
def test_round_trip(
    name: str, image: LabelsWithTable, labels: NDArray[Any], tmp_path: Path
) -> None:
    export_labels(image, tmp_path / name)
    same(read_labels(tmp_path / name), labels)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('axes', ['zyx', 'tyx'])
def test_round_trip_of_planes(
    name: str,
    axes: str,
    volume: LabelsWithTable,
    stack: NDArray[Any],
    tmp_path: Path,
) -> None:
    export_labels(replace(volume, axes=axes), tmp_path / name)
    same(read_labels(tmp_path / name), stack)


@pytest.mark.parametrize('name', NAMES)
def test_round_trip_of_a_series_of_stacks(
    name: str, stack: NDArray[Any], tmp_path: Path
) -> None:
    series = np.stack([stack, stack[::-1]])
    export_labels(series, tmp_path / name)
    same(read_labels(tmp_path / name), series)


@pytest.mark.slow
@pytest.mark.parametrize('name', POLYGONS)
def test_round_trip_of_what_is_known(
    name: str, image: LabelsWithTable, table: pd.DataFrame, tmp_path: Path
) -> None:
    export_labels(image, tmp_path / name)
    found = read_labels(tmp_path / name)
    assert found.table is not None
    rows = found.table.set_index('label')
    for _, row in table.iterrows():
        known = rows.loc[row['label']]
        if isinstance(row['class'], str):
            assert known['class'] == row['class']
        if not np.isnan(row['score']):
            assert known['score'] == row['score']
        assert known['mean intensity'] == row['mean intensity']
    assert found.class_colors['nucleus'] == '#e69f00'
    assert found.class_colors['cell “ä”'].startswith('#')


@pytest.mark.parametrize('name', POLYGONS)
def test_rows_of_planes(
    name: str, stack: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame(
        {
            'label': [1, 2, 2],
            'plane': [0, 0, 2],
            'class': ['a', 'a', 'b'],
            'length': [1.0, 2.0, 3.0],
        }
    )
    given = LabelsWithTable(stack, table)
    if name.endswith('.zarr'):
        with pytest.warns(UserWarning, match='1 label has other values'):
            export_labels(given, tmp_path / name)
        return
    export_labels(given, tmp_path / name)
    found = read_labels(tmp_path / name).table
    assert found is not None
    found = found.dropna(subset='class')
    assert found[table.columns].to_dict('list') == table.to_dict('list')


@pytest.mark.parametrize('name', POLYGONS)
def test_names_that_formats_use_themselves(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame(
        {'label': [1, 2], 'class': ['object', 'no class'], 'Label': [7.0, 8.0]}
    )
    export_labels(LabelsWithTable(labels, table), tmp_path / name)
    found = read_labels(tmp_path / name)
    same(found, labels)
    assert found.table is not None
    rows = found.table.set_index('label')['class'].dropna()
    assert rows.to_dict() == {1: 'object', 2: 'no class'}


def test_coco_has_no_category_for_no_class_without_need(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    path = tmp_path / 'x.json'
    for classes, expected in (
        (['a', 'b'], ['a', 'b']),
        (['a', None], ['a', 'object']),
        ([None, None], ['object']),
    ):
        table = pd.DataFrame({'label': [1, 2], 'class': classes})
        few = np.where(labels < 3, labels, 0)
        export_labels(few, path, table=table, overwrite=True)
        categories = json.loads(path.read_text('utf-8'))['categories']
        assert [each['name'] for each in categories] == expected
    export_labels(0 * labels, path, overwrite=True)
    categories = json.loads(path.read_text('utf-8'))['categories']
    assert [each['name'] for each in categories] == ['object']


@pytest.mark.parametrize('name', POLYGONS)
def test_classes_that_are_numbers(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame({'label': [1, 2, 5], 'class': [3, np.nan, 1.5]})
    export_labels(labels, tmp_path / name, table=table)
    found = read_labels(tmp_path / name)
    assert found.table is not None
    rows = found.table.set_index('label')['class']
    assert rows.replace('', np.nan).dropna().to_dict() == {1: '3', 5: '1.5'}
    assert set(found.class_colors) == {'3', '1.5'}


def test_columns_that_rois_have_no_place_for_are_told(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame({'label': [1], 'shape': [3.0], 'length': [2.0]})
    with pytest.warns(UserWarning, match='ROIs use the names shape'):
        export_labels(LabelsWithTable(labels, table), tmp_path / 'x.zip')
    found = read_labels(tmp_path / 'x.zip').table
    assert found is not None
    assert found['length'].tolist()[0] == 2.0


@pytest.mark.parametrize('name', ['x.tif', 'x.ome.tif'])
@pytest.mark.parametrize(
    'shape', [(3, 9, 1), (2, 3, 1, 9), (4, 1, 1), (5, 6, 3), (5, 6, 4)]
)
def test_planes_of_few_columns(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape) % 7
    export_labels(labels, tmp_path / name)
    same(read_labels(tmp_path / name), labels)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(
    ('units', 'scale'),
    [
        (('second', 'micrometer', 'micrometer'), (30.0, 0.5, 0.25)),
        (('second', 'nanometer', 'nanometer'), (2.5, 100.0, 100.0)),
        ((None, 'millimeter', 'millimeter'), (1.0, 0.5, 0.5)),
        ((), (1.0, 0.5, 0.5)),
    ],
)
def test_pixel_sizes_and_the_time_between_frames(
    name: str,
    units: tuple[str | None, ...],
    scale: tuple[float, ...],
    stack: NDArray[Any],
    tmp_path: Path,
) -> None:
    given = LabelsWithTable(stack, axes='tyx', scale=scale, units=units)
    export_labels(given, tmp_path / name)
    found = read_labels(tmp_path / name)
    assert found.axes == 'tyx'
    assert found.scale == pytest.approx(scale)
    told = found.units or (None,) * 3
    assert told[1:] == (units or (None,) * 3)[1:]
    assert told[0] in ('second', units[0] if units else None)


@pytest.mark.parametrize('name', NAMES)
def test_labels_without_objects(name: str, tmp_path: Path) -> None:
    nothing = np.zeros((7, 9), np.int64)
    assert export_labels(nothing, tmp_path / name).objects == 0
    found = read_labels(tmp_path / name)
    same(found, nothing)
    assert found.table is None or not len(found.table)


@pytest.mark.parametrize('name', NAMES)
def test_labels_above_16_bits(name: str, tmp_path: Path) -> None:
    labels = np.zeros((7, 9), np.int64)
    labels[2:5, 3:6] = 70_000
    export_labels(labels, tmp_path / name)
    same(read_labels(tmp_path / name), labels)


# each format with its own library


def test_roi_zip_as_roifile_reads_it(
    image: LabelsWithTable, labels: NDArray[Any], tmp_path: Path
) -> None:
    roifile = pytest.importorskip('roifile')
    shapely = pytest.importorskip('shapely')
    path = tmp_path / 'x.zip'
    count = export_labels(image, path).objects
    rois = roifile.roiread(path)
    assert len(rois) == count == 8
    for roi in rois:
        label = int(roi.name)
        rings = [np.asarray(r) for r in roi.coordinates(multi=True)]
        area = sum(
            # holes run the other way around
            -_signed_area(ring)
            for ring in rings
        )
        assert area == (labels == label).sum()
        ys, xs = np.nonzero(labels == label)
        assert (roi.top, roi.left) == (ys.min(), xs.min())
        assert (roi.bottom, roi.right) == (ys.max() + 1, xs.max() + 1)
        if label == 1:
            assert roi.roitype == roifile.ROI_TYPE.TRACED
            assert shapely.Polygon(rings[0]).area == 48
            assert roi.stroke_color == bytes([255, 0xE6, 0x9F, 0])
            assert 'class: nucleus\n' in roi.props
        assert roi.composite == (label in (2, 4, 6))


def _signed_area(ring: NDArray[Any]) -> float:
    x, y = np.asarray(ring, float).T
    return float(-0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def test_roi_positions(volume: LabelsWithTable, tmp_path: Path) -> None:
    roifile = pytest.importorskip('roifile')
    export_labels(volume, tmp_path / 'x.zip')
    rois = roifile.roiread(tmp_path / 'x.zip')
    assert {roi.position for roi in rois} == {1, 3}
    series = np.stack([volume.labels, volume.labels[::-1]])
    export_labels(series, tmp_path / 'y.zip')
    rois = roifile.roiread(tmp_path / 'y.zip')
    assert {(r.t_position, r.z_position) for r in rois} == {
        (1, 1),
        (1, 3),
        (2, 1),
        (2, 3),
    }
    # a slice number says less than time and depth
    for roi in rois:
        roi.position = 1
    roifile.roiwrite(tmp_path / 'z.zip', rois)
    same(read_labels(tmp_path / 'z.zip'), series)


def test_roi_properties_are_those_of_java(
    image: LabelsWithTable, tmp_path: Path
) -> None:
    """A key ends at its first space, colon or = that is not escaped."""
    roifile = pytest.importorskip('roifile')
    export_labels(image, tmp_path / 'x.zip')
    props = {r.name: r.props for r in roifile.roiread(tmp_path / 'x.zip')}
    assert 'mean\\ intensity: 3.0\n' in props['000700']
    assert 'class: cell \\u201c\\u00e4\\u201d\n' in props['000700']
    # ImageJ writes them without escapes
    roi = roifile.roiread(tmp_path / 'x.zip')[0]
    roi.props = 'label: 9\nmean intensity: 4\nclass: a: b\n'
    roi.tofile(tmp_path / 'x.roi')
    found = read_labels(tmp_path / 'x.roi', shape=(40, 48))
    assert found.table is not None
    assert found.table['label'].tolist() == [9]
    assert found.table['mean intensity'].tolist() == [4]
    assert found.table['class'].tolist() == ['a: b']
    # a digit, but not a number
    roi.props = 'label: ²\n'
    roi.tofile(tmp_path / 'y.roi')
    assert read_labels(tmp_path / 'y.roi', shape=(40, 48)).labels.max() == 1


def test_roi_zip_is_written_anew(
    image: LabelsWithTable, tmp_path: Path
) -> None:
    path = tmp_path / 'x.zip'
    export_labels(image, path)
    export_labels(image, path, overwrite=True)
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) == len(set(file.namelist())) == 8


def test_roi_beyond_integers(tmp_path: Path) -> None:
    labels = np.zeros((3, 70_000), np.uint8)
    labels[1:3, 65_000:66_000] = 1
    labels[0, 10:60_000] = 2
    export_labels(labels, tmp_path / 'x.zip')
    same(read_labels(tmp_path / 'x.zip'), labels)


def test_geojson_as_qupath_reads_it(
    image: LabelsWithTable, labels: NDArray[Any], tmp_path: Path
) -> None:
    shapely = pytest.importorskip('shapely')
    path = tmp_path / 'x.geojson'
    export_labels(image, path, object_type='annotation')
    content = json.loads(path.read_text('utf-8'))
    assert content['type'] == 'FeatureCollection'
    assert len({f['id'] for f in content['features']}) == 8
    for feature in content['features']:
        assert feature['type'] == 'Feature'
        told = feature['properties']
        label = told['measurements']['Label']
        shape = shapely.geometry.shape(feature['geometry'])
        assert shape.is_valid
        assert shape.area == (labels == label).sum()
        ys, xs = np.nonzero(labels == label)
        assert shape.bounds == (
            xs.min(),
            ys.min(),
            xs.max() + 1,
            ys.max() + 1,
        )
        assert feature['geometry']['plane'] == {'c': -1, 'z': 0, 't': 0}
        assert told['objectType'] == 'annotation'
        assert told['isLocked'] is False
        assert all(
            isinstance(value, int | float)
            for value in told['measurements'].values()
        )
        if label in (1, 2):
            assert told['classification'] == {
                'name': 'nucleus',
                'color': [0xE6, 0x9F, 0],
            }
        if label == 5:
            assert 'classification' not in told
    kinds = {
        f['properties']['measurements']['Label']: f['geometry']['type']
        for f in content['features']
    }
    assert kinds[1] == 'Polygon'
    assert kinds[4] == 'MultiPolygon'


def test_geojson_planes(volume: LabelsWithTable, tmp_path: Path) -> None:
    for axes, key in (('zyx', 'z'), ('tyx', 't')):
        path = tmp_path / f'{key}.geojson'
        export_labels(replace(volume, axes=axes), path)
        content = json.loads(path.read_text('utf-8'))
        planes = [f['geometry']['plane'] for f in content['features']]
        assert {plane[key] for plane in planes} == {0, 2}
        # as QuPath writes it again
        del content['napari-mobilesam']
        path.write_text(json.dumps(content), 'utf-8')
        assert read_labels(path).axes == axes


def test_geojson_of_qupath(tmp_path: Path) -> None:
    """A list of features drawn by hand, with measurements of QuPath 0.3."""
    path = tmp_path / 'x.json'
    ring = [[1.5, 2], [6.5, 2], [6.5, 5], [1.5, 5], [1.5, 2]]
    feature = {
        'type': 'Feature',
        'geometry': {'type': 'Polygon', 'coordinates': [ring]},
        'properties': {
            'objectType': 'annotation',
            'classification': {'name': 'Tumor', 'color': [200, 0, 0]},
            'measurements': [{'name': 'Area', 'value': 15.0}],
        },
    }
    path.write_text(json.dumps([feature]), 'utf-8')
    found = read_labels(path, shape=(8, 9))
    expected = np.zeros((8, 9))
    expected[2:5, 1:6] = 1
    # half of a pixel decides: the centre is inside, or on the edge
    same(found, expected)
    assert found.table is not None
    assert found.table['class'].tolist() == ['Tumor']
    assert found.table['Area'].tolist() == [15.0]
    assert found.class_colors == {'Tumor': '#c80000'}
    # a subclass of QuPath 0.4, a colour with alpha, and corners with a height
    ring[:] = [[*corner, 7] for corner in ring]
    feature['properties']['classification'] = {
        'names': ['Tumor', 'Positive'],
        'color': [200, 0, 0, 128],
    }
    path.write_text(json.dumps([feature]), 'utf-8')
    found = read_labels(path, shape=(8, 9))
    assert found.table is not None
    same(found, expected)
    assert found.table['class'].tolist() == ['Tumor: Positive']
    assert found.class_colors == {'Tumor: Positive': '#c80000'}


@pytest.mark.parametrize('segmentation', ['rle', 'polygons'])
def test_coco_as_pycocotools_reads_it(
    segmentation: str,
    image: LabelsWithTable,
    labels: NDArray[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    coco = pytest.importorskip('pycocotools.coco')
    path = tmp_path / 'x.json'
    export_labels(image, path, segmentation=segmentation)
    data = coco.COCO(str(path))
    assert len(data.anns) == 8
    assert (data.imgs[1]['width'], data.imgs[1]['height']) == (48, 40)
    for entry in data.anns.values():
        # run lengths are a dictionary, polygons a list
        rle = isinstance(entry['segmentation'], dict)
        assert rle == (segmentation == 'rle')
        mask = labels == entry['label']
        np.testing.assert_array_equal(data.annToMask(entry), mask)
        assert entry['area'] == mask.sum()
        ys, xs = np.nonzero(mask)
        assert entry['bbox'] == [
            xs.min(),
            ys.min(),
            np.ptp(xs) + 1,
            np.ptp(ys) + 1,
        ]
    names = {c['id']: c['name'] for c in data.cats.values()}
    classes = {a['label']: names[a['category_id']] for a in data.anns.values()}
    assert classes[1] == 'nucleus'
    assert classes[3] == 'object'
    same(read_labels(path), labels)


def test_run_lengths_are_those_of_pycocotools(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    mask_of = pytest.importorskip('pycocotools.mask')
    from napari_mobilesam.export.run_lengths import (
        decompress,
        encode_objects,
    )

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 3, (300, 200))
    full = np.ones((30, 20), int)
    for image in (labels, noise, full):
        for label, counts in encode_objects(image).items():
            mask = np.asfortranarray(image == label, np.uint8)
            theirs = mask_of.encode(mask)['counts']
            assert counts.encode() == theirs
            assert decompress(counts).sum() <= image.size


@pytest.mark.parametrize('name', ['x.geojson', 'x.json', 'x.zip'])
def test_objects_added_by_others_leave_labels_as_they_are(
    name: str, volume: LabelsWithTable, tmp_path: Path
) -> None:
    """As in Fiji and QuPath: the new objects have no label."""
    path = tmp_path / name
    expected = volume.labels.astype(int)
    export_labels(volume, path)
    ring = [[1, 31], [4, 31], [4, 34], [1, 34], [1, 31]]
    if name == 'x.zip':
        roifile = pytest.importorskip('roifile')
        roi = roifile.ImagejRoi.frompoints(ring[:-1])
        roi.position = 1
        # a colour does not need a class
        roi.stroke_color = b'\xff\xff\x00\x00'
        # lines and points have no area
        point = roifile.ImagejRoi.frompoints(ring[:3])
        point.roitype = roifile.ROI_TYPE.POLYLINE
        roifile.roiwrite(path, [roi, point], mode='a')
    else:
        content = json.loads(path.read_text('utf-8'))
        if name == 'x.json':
            added = {'segmentation': [sum(ring, [])]}
            added['image_id'] = content['images'][0]['id']
            content['annotations'].append(added)
        else:
            geometry = {'type': 'Polygon', 'coordinates': [ring]}
            added = {'type': 'Feature', 'geometry': geometry}
            content['features'].append({**added, 'properties': {}})
        path.write_text(json.dumps(content), 'utf-8')
    expected[0, 31:34, 1:4] = expected.max() + 1
    np.testing.assert_array_equal(read_labels(path).labels, expected)


def test_coco_of_others(tmp_path: Path) -> None:
    """Uncompressed run lengths and polygons, no labels, no categories."""
    path = tmp_path / 'x.json'
    content = {
        'images': [{'id': 7, 'width': 5, 'height': 4, 'file_name': 'a'}],
        'annotations': [
            {
                'id': 1,
                'image_id': 7,
                'segmentation': {'size': [4, 5], 'counts': [0, 4, 16]},
            },
            {
                'id': 2,
                'image_id': 7,
                # a line beside the polygon encloses nothing
                'segmentation': [[2, 1, 4, 1, 4, 3, 2, 3], [0, 0, 1, 1]],
                'score': 0.75,
            },
        ],
    }
    path.write_text(json.dumps(content), 'utf-8')
    expected = np.zeros((4, 5))
    expected[:, 0] = 1
    expected[1:3, 2:4] = 2
    found = read_labels(path)
    same(found, expected)
    assert found.table is not None
    assert found.table['score'].tolist()[1] == 0.75


def test_coco_has_an_image_for_each_plane(
    volume: LabelsWithTable, tmp_path: Path
) -> None:
    path = tmp_path / 'x.json'
    export_labels(volume, path)
    images = json.loads(path.read_text('utf-8'))['images']
    names = [each['file_name'] for each in images]
    assert names == ['a.tif-0', 'a.tif-1', 'a.tif-2']
    export_labels(volume.labels[0], path, name='b.tif', overwrite=True)
    (only,) = json.loads(path.read_text('utf-8'))['images']
    assert only['file_name'] == 'b.tif'


@pytest.mark.parametrize('version', ['0.4', '0.5'])
def test_ome_zarr_in_the_image_they_belong_to(
    version: str,
    image: LabelsWithTable,
    labels: NDArray[Any],
    tmp_path: Path,
) -> None:
    models = pytest.importorskip('ome_zarr_models')
    zarr = pytest.importorskip('zarr')
    path = write_image(tmp_path / 'image.ome.zarr', labels.shape, version)
    done = export_labels(image, path, name='a/b')
    assert done.objects == 8
    assert done.path == path / 'labels' / 'a_b'
    group = zarr.open_group(str(path / 'labels'), mode='r')
    attributes = dict(group.attrs)
    assert attributes.get('ome', attributes)['labels'] == ['a_b']
    export_labels(image, path / 'labels' / 'more')
    folder = path / 'labels' / 'more'
    group = zarr.open_group(str(folder), mode='r')
    models.open_ome_zarr(group)
    found = read_labels(folder)
    same(found, labels)
    attributes = dict(group.attrs)
    (step,) = attributes.get('ome', attributes)['multiscales'][0]['datasets'][
        0
    ]['coordinateTransformations']
    assert step['scale'] == [0.5, 0.25]  # of the image
    told = attributes.get('ome', attributes)['image-label']
    assert told['source'] == {'image': '../../'}
    assert {'label-value': 1, 'rgba': [0xE6, 0x9F, 0, 255]} in told['colors']
    known = {entry['label-value']: entry for entry in told['properties']}
    assert known[2]['score'] == 0.75
    zipped = shutil.make_archive(str(tmp_path / 'a.ome.zarr'), 'zip', folder)
    again = read_labels(zipped)
    same(again, labels)
    assert again.name == 'a'
    assert again.scale == found.scale
    assert again.class_colors == found.class_colors
    whole = shutil.make_archive(str(tmp_path / 'b'), 'zip', path)
    with pytest.raises(ExportError, match='with labels .*unzip it'):
        read_labels(whole)
    with pytest.raises(ExportError, match='2 label images'):
        read_labels(path)
    with pytest.raises(ExportError, match='image that they belong'):
        export_labels(labels[:9], path / 'labels' / 'cut')


def write_image(path: Path, shape: tuple[int, ...], version: str) -> Path:
    import zarr

    formats = {'0.4': 2, '0.5': 3}
    group = zarr.create_group(str(path), zarr_format=formats[version])
    group.create_array('0', shape=shape, dtype='uint8')
    scale = {'type': 'scale', 'scale': [0.5, 0.25]}
    image = {
        'axes': [
            {'name': a, 'type': 'space', 'unit': 'micrometer'} for a in 'yx'
        ],
        'datasets': [{'path': '0', 'coordinateTransformations': [scale]}],
    }
    if version == '0.4':
        group.attrs['multiscales'] = [{**image, 'version': '0.4'}]
    else:
        group.attrs['ome'] = {'version': '0.5', 'multiscales': [image]}
    return path


def test_ome_zarr_of_others_may_have_labels_without_a_colour(
    image: LabelsWithTable, tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    path = tmp_path / 'cells.ome.zarr'
    export_labels(image, path)
    group = zarr.open_group(str(path), mode='r+')
    told = dict(group.attrs['image-label'])
    told['colors'] = [{'label-value': 1}, *told['colors'][1:]]
    group.attrs['image-label'] = told
    found = read_labels(path)
    assert found.table is not None
    # older versions of pandas read a missing class as NaN instead of None
    classes, expected = (
        t['class'].fillna('') for t in (found.table, image.table)
    )
    assert classes.tolist() == expected.tolist()


def test_ome_zarr_gets_the_scale_of_its_image(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    source = write_image(tmp_path / 'image.ome.zarr', labels.shape, '0.4')
    path = tmp_path / 'cells.ome.zarr'
    export_labels(labels, path, image=source)
    found = read_labels(path)
    assert found.scale == (0.5, 0.25)
    assert found.units == ('micrometer', 'micrometer')
    assert found.translation == (0, 0)
    with pytest.raises(ExportError, match='image that they belong'):
        export_labels(labels[:20], tmp_path / 'y.zarr', image=source)


def test_the_image_of_a_stack_may_have_channels(
    stack: NDArray[Any], tmp_path: Path
) -> None:
    source = tmp_path / 'image.ome.tif'
    metadata = {'axes': 'ZCYX', 'PhysicalSizeX': 0.25, 'PhysicalSizeY': 0.5}
    tifffile.imwrite(
        source, np.zeros((3, 2, 40, 48), np.uint8), metadata=metadata, ome=True
    )
    path = tmp_path / 'cells.ome.zarr'
    export_labels(stack, path, image=source)
    assert read_labels(path).scale == (1, 0.5, 0.25)
    with pytest.raises(ExportError, match='has 3 planes of 40 × 48 pixels'):
        export_labels(stack[:2], tmp_path / 'y.zarr', image=source)


@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 1, 3)])
def test_the_only_channel_of_ome_zarr_is_left_out(
    shape: tuple[int, ...],
    labels: NDArray[Any],
    tmp_path: Path,
) -> None:
    zarr = pytest.importorskip('zarr')
    group = zarr.create_group(str(tmp_path / 'x.zarr'), zarr_format=2)
    stack = np.broadcast_to(labels, (*shape, *labels.shape))
    group.create_array('0', data=stack, chunks=(1, 1, 1, 8, 16))
    step = {'type': 'scale', 'scale': [9, 9, 4, 2, 1]}
    group.attrs['multiscales'] = [
        {
            'version': '0.4',
            'axes': [{'name': name} for name in 'tczyx'],
            'datasets': [{'path': '0', 'coordinateTransformations': [step]}],
        }
    ]
    found = read_labels(tmp_path / 'x.zarr')
    assert found.axes == 'tzyx'
    assert found.scale == (9, 4, 2, 1)
    assert found.labels.chunks == (1, 1, 8, 16)
    expected = stack.reshape(found.shape)
    same(found, expected)
    np.testing.assert_array_equal(np.asarray(found.labels), expected)
    assert len(nm.measure_objects(found.labels[0])) > 0
    group.create_array('1', data=stack.repeat(2, axis=1))
    datasets = [{'path': '1', 'coordinateTransformations': [step]}]
    image = {**group.attrs['multiscales'][0], 'datasets': datasets}
    group.attrs['multiscales'] = [image]
    with pytest.raises(ExportError, match=r'have the shape \(1, 2,'):
        read_labels(tmp_path / 'x.zarr')


def test_a_zarr_array_takes_no_labels(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    path = tmp_path / 'image.zarr'
    zarr.create_array(str(path), data=np.zeros(labels.shape, 'u1'))
    (path / 'labels').mkdir()
    for place in (path, path / 'labels' / 'cells'):
        with pytest.raises(ExportError, match=r'image\.zarr is a zarr array'):
            export_labels(labels, place)


@pytest.mark.parametrize(
    'name',
    ['x.tif', 'x.ome.tif', 'x.ome.zarr', 'x.geojson', 'x.json', 'x.zip'],
)
def test_pixel_sizes(name: str, stack: NDArray[Any], tmp_path: Path) -> None:
    scale, units = (2.0, 0.5, 0.25), ('micrometer',) * 3
    export_labels(stack, tmp_path / name, scale=scale, units=units)
    found = read_labels(tmp_path / name)
    assert found.scale == pytest.approx(scale)
    assert found.units == units


@pytest.mark.parametrize(
    'scale', [3, [0.5], [0, 1], ['a', 1], [1, 1e999], None, {}]
)
def test_damaged_pixel_sizes(
    scale: Any, labels: NDArray[Any], tmp_path: Path
) -> None:
    path = tmp_path / 'x.geojson'
    export_labels(labels, path, scale=(2.0, 0.5))
    content = json.loads(path.read_text('utf-8'))
    content['napari-mobilesam']['scale'] = scale
    path.write_text(json.dumps(content), 'utf-8')
    found = read_labels(path)
    same(found, labels)
    assert found.scale == ()
    path.write_text(json.dumps(content | {'napari-mobilesam': scale}), 'utf-8')
    same(read_labels(path), labels)


def test_png_has_one_plane_of_16_bits(
    stack: NDArray[Any], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match='one plane'):
        export_labels(stack, tmp_path / 'x.png')
    with pytest.raises(ExportError, match='Label 70000'):
        export_labels(np.full((3, 3), 70_000), tmp_path / 'x.png')
    assert not list(tmp_path.iterdir())


def test_png_stores_the_pixel_size(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    from PIL import Image

    path = tmp_path / 'x.png'
    units = ('micrometer', 'micrometer')
    export_labels(labels, path, scale=(0.5, 0.25), units=units)
    with Image.open(path) as picture:
        # pixels per inch, of columns and rows
        assert picture.info['dpi'] == pytest.approx((101_600, 50_800))
    for unknown in ({'units': units}, {'scale': (0.5, 0.25)}):
        export_labels(labels, path, overwrite=True, **unknown)
        with Image.open(path) as picture:
            assert 'dpi' not in picture.info


def test_tiff_is_of_the_kind_that_its_name_tells(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    for name, kind in (('a.TIF', 'imagej'), ('a.OME.tif', 'ome')):
        # without a length of y in the unit of x, no resolution is written
        given = LabelsWithTable(
            labels, scale=(2.0, 0.5), units=('second', 'micrometer')
        )
        export_labels(given, tmp_path / name)
        with tifffile.TiffFile(tmp_path / name) as file:
            assert kind in file.flags
        found = read_labels(tmp_path / name)
        assert found.name == 'a'
        same(found, labels)


def test_labels_too_large_for_a_tiff_are_refused(tmp_path: Path) -> None:
    vast = np.broadcast_to(np.uint16(1), (1 << 16, (1 << 15) + 1))
    for name in ('x.tif', 'x.png'):
        with pytest.raises(ExportError, match='write an OME-Zarr'):
            export_labels(vast, tmp_path / name)


# other people's labels


@pytest.mark.filterwarnings('ignore:.*data with shape')
@pytest.mark.parametrize('count', [1, 2, 3, 4])
@pytest.mark.parametrize('pages', [(), (1,), (1, 1)])
def test_planes_that_tifffile_does_not_name(
    count: int, pages: tuple[int, ...], tmp_path: Path
) -> None:
    """It takes three or four planes for colours."""
    path = tmp_path / 'a.tif'
    labels = np.arange(count * 30, dtype=np.uint8).reshape(count, 5, 6)
    tifffile.imwrite(path, labels.reshape(*pages, count, 5, 6))
    expected = labels if count > 1 else labels[0]
    same(read_labels(path), expected)
    frames = read_labels(path, frames=True)
    same(frames, expected)
    if count > 2:
        assert frames.axes == 'tyx'
    if count > 1:
        same(read_labels(path, channel=count - 1), labels[-1])


def test_labels_as_others_write_them(
    labels: NDArray[np.uint16], tmp_path: Path
) -> None:
    from PIL import Image

    # Cellpose: TIFF and PNG of 16 bits
    path = tmp_path / 'a_cp_masks.tif'
    tifffile.imwrite(path, labels)
    same(read_labels(path), labels)
    path = tmp_path / 'a_cp_masks.png'
    Image.fromarray(labels).save(path)
    same(read_labels(path), labels)
    # StarDist: TIFF for ImageJ, int32 as float32
    path = tmp_path / 'stardist.tif'
    tifffile.imwrite(
        path, labels.astype(np.float32), imagej=True, metadata={'axes': 'YX'}
    )
    same(read_labels(path), labels)
    # InstanSeg: nuclei and cells as two channels of int32
    path = tmp_path / 'instanseg.tif'
    both = np.stack([labels, labels[::-1]]).astype(np.int32)
    tifffile.imwrite(path, both, metadata={'axes': 'CYX'}, ome=True)
    same(read_labels(path, channel=1), labels[::-1])
    with pytest.raises(ExportError, match='2 channels'):
        read_labels(path)
    with pytest.raises(ExportError, match='no channel 2'):
        read_labels(path, channel=2)
    # a threshold: 8 bits, 255 on objects
    path = tmp_path / 'threshold.png'
    Image.fromarray(np.where(labels, 255, 0).astype(np.uint8)).save(path)
    same(read_labels(path), np.where(labels, 255, 0))


# bad input


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.zeros((4, 4)), 'float64'),
        (np.zeros(4, int), r'shape \(4,\)'),
        (np.zeros((0, 4), int), r'shape \(0, 4\)'),
        (np.zeros((1, 1, 1, 4, 4), int), r'shape \(1, 1, 1, 4, 4\)'),
    ],
)
def test_no_labels(labels: NDArray[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export_labels(labels, tmp_path / 'x.zip')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', [*NAMES, 'x.png'])
def test_masks_and_negative_labels(name: str, tmp_path: Path) -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:5] = True
    export_labels(mask, tmp_path / name)
    same(read_labels(tmp_path / name), mask)
    negative = np.where(mask, 2, -1)
    with pytest.raises(ExportError, match='negative'):
        export_labels(negative, tmp_path / f'y{name}')
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('name', [*NAMES, 'x.png'])
def test_negative_labels_on_disk(name: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip('zarr')
    labels = np.zeros((6, 8), np.int32)
    labels[1:4, 2:5], labels[5, 7] = 3, -1
    array = zarr.create_array(str(tmp_path / 'a.zarr'), data=labels)
    with pytest.raises(SegmentationError, match='negative'):
        export_labels(array, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ['a.zarr']
    array[5, 7] = 1
    export_labels(array, tmp_path / name)
    same(read_labels(tmp_path / name), array[:])


@pytest.mark.parametrize('segmentation', ['rle', 'polygons'])
def test_coco_of_noise(
    segmentation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Holes in parts in holes, all touching at corners."""
    coco = pytest.importorskip('pycocotools.coco')
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (30, 41))
    export_labels(labels, tmp_path / 'x.json', segmentation=segmentation)
    data = coco.COCO(str(tmp_path / 'x.json'))
    for entry in data.anns.values():
        np.testing.assert_array_equal(
            data.annToMask(entry), labels == entry['label']
        )
    same(read_labels(tmp_path / 'x.json'), labels)


def test_the_content_tells_the_format_of_labels(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    path = tmp_path / 'a.lbl'
    tifffile.imwrite(path, labels)
    same(read_labels(path), labels)
    path.write_bytes(b'\x89HDF')
    with pytest.raises(ExportError, match='not a file of labels in a known'):
        read_labels(path)


def test_bad_tables_and_names(labels: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match='no column “label”'):
        export_labels(
            labels, tmp_path / 'x.zip', table=pd.DataFrame({'a': [1]})
        )
    with pytest.raises(ExportError, match='has no known suffix'):
        export_labels(labels, tmp_path / 'x.txt')
    with pytest.raises(ExportError, match="no format 'svg'"):
        export_labels(labels, tmp_path / 'x', format='svg')
    with pytest.raises(ExportError, match="type 'tile'"):
        export_labels(labels, tmp_path / 'x.geojson', object_type='tile')
    with pytest.raises(ExportError, match="segmentation 'png'"):
        export_labels(labels, tmp_path / 'x.json', segmentation='png')
    several = {'label': [1, 1], 'score': [0.5, 0.25]}
    for more, where in (({}, ''), ({'plane': [2, 2]}, ' of plane 2')):
        table = pd.DataFrame({**several, **more})
        with pytest.raises(ExportError, match=f'label 1{where} twice'):
            export_labels(labels, tmp_path / 'x.geojson', table=table)
    # a table without rows, and one without columns
    export_labels(
        labels, tmp_path / 'x.zip', table=pd.DataFrame({'label': []})
    )
    export_labels(labels, tmp_path / 'y.zip', table=pd.DataFrame())
    same(read_labels(tmp_path / 'y.zip'), labels)


@pytest.mark.parametrize('name', [*NAMES, 'x.png'])
def test_nothing_is_written_over_what_is_there(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    path = tmp_path / name
    if name.endswith('.zarr'):
        path.mkdir()
        (path / 'mine').write_text('mine', 'utf-8')
        with pytest.raises(ImageError, match='exists'):
            export_labels(labels, path, overwrite=True)
        assert (path / 'mine').read_text('utf-8') == 'mine'
        return
    path.write_text('mine', 'utf-8')
    with pytest.raises(FileExistsError, match='exists'):
        export_labels(labels, path)
    assert path.read_text('utf-8') == 'mine'
    with pytest.raises(FileNotFoundError, match='no folder'):
        export_labels(labels, tmp_path / 'nowhere' / name)
    with pytest.raises(IsADirectoryError, match='is a folder'):
        (tmp_path / 'folder').mkdir()
        (tmp_path / 'folder' / name).mkdir()
        export_labels(labels, tmp_path / 'folder' / name)


@pytest.mark.parametrize(
    'name', ['x.zip', 'x.geojson', 'x.json', 'x.tif', 'x.png']
)
@pytest.mark.parametrize(
    'content',
    [b'', b'not what it should be', b'\xff\xd8', b'{"images": 3}', b'[[1]]'],
)
def test_damaged_files(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=name):
        read_labels(tmp_path / name)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.json', [], 'not a file of COCO instances: its content does not'),
        ('a.json', {'images': []}, '“annotations” is missing'),
        (
            'a.json',
            {
                'images': [{'id': 1, 'height': 4, 'width': 4}],
                'annotations': [{'image_id': 2, 'segmentation': []}],
            },
            'a.json has an annotation of image 2, which it lacks',
        ),
        (
            'a.json',
            {
                'images': [
                    {'id': n, 'height': 4, 'width': 3 + n} for n in (1, 2)
                ],
                'annotations': [],
            },
            'a.json has 2 images of 2 sizes',
        ),
        (
            'a.json',
            {
                'images': [{'id': 1, 'height': 4, 'width': 4}] * 2,
                'annotations': [],
            },
            'a.json has 2 images with 1 different ids',
        ),
        (
            'a.json',
            {
                'images': [{'id': 1, 'height': 4, 'width': 4}],
                'annotations': [{'image_id': '1', 'segmentation': []}],
            },
            "an annotation of image '1', which it lacks",
        ),
        (
            'a.json',
            {
                'images': [{'id': 1, 'height': 4, 'width': 4}],
                'annotations': [
                    {
                        'id': 7,
                        'image_id': 1,
                        'segmentation': [],
                        'bbox': [0, 0, 2, 2],
                    }
                ],
            },
            'a.json has no mask for annotation 7, only a box',
        ),
        (
            'a.geojson',
            {'features': [{}]},
            'feature 0 .* “geometry” is missing',
        ),
        ('a.geojson', {'features': [3]}, 'its content does not have'),
        (
            'a.geojson',
            {
                'features': [
                    {
                        'geometry': {
                            'type': 'GeometryCollection',
                            'geometries': [],
                        }
                    }
                ]
            },
            'it is a GeometryCollection, not a Polygon',
        ),
        (
            'a.json',
            {
                'images': [{'id': 1, 'height': 4, 'width': 4}],
                'annotations': [
                    {'id': 7, 'image_id': 1, 'segmentation': [[0, 0, 2, 2]]}
                ],
            },
            'no polygon has three corners',
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_plainly(
    name: str, content: Any, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(content), 'utf-8')
    with pytest.raises(ExportError, match=message) as failure:
        read_labels(tmp_path / name)
    assert 'Error' not in str(failure.value)


def test_careless_geojson(tmp_path: Path) -> None:
    """Rings that are not closed, a byte order mark, useless properties."""
    feature = {
        'type': 'Feature',
        'geometry': {
            'type': 'Polygon',
            'coordinates': [[[1, 2], [6, 2], [6, 5], [1, 5]]],
        },
        'properties': {
            'classification': {'name': 'A', 'color': [300, 0, 0]},
            'measurements': {
                'Area': 'x',
                'Round': math.nan,
                'Long': 10**30,
                'Huge': 10**400,
                'Flag': True,
            },
        },
    }
    path = tmp_path / 'x.geojson'
    path.write_text(json.dumps([feature]), 'utf-8-sig')
    found = read_labels(path, shape=(8, 9))
    expected = np.zeros((8, 9))
    expected[2:5, 1:6] = 1
    same(found, expected)
    assert found.class_colors == {}
    assert found.table is not None
    assert list(found.table) == ['label', 'class', 'Long', 'Flag']
    numbers = found.table[['Long', 'Flag']]
    assert numbers.to_numpy().tolist() == [[1e30, 1]]
    # which Parquet can hold
    assert [dtype.kind for dtype in numbers.dtypes] == ['f', 'f']


BROKEN = [
    [3],
    {'properties': [{'class': 'A'}, 3]},
    {'properties': [{'label-value': 1}], 'colors': [{'rgba': [0, 0, 0, 0]}]},
]


@pytest.mark.parametrize('told', BROKEN)
def test_broken_properties_of_ome_zarr(
    told: Any, labels: NDArray[Any], tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    path = tmp_path / 'x.zarr'
    export_labels(labels, path)
    group = zarr.open_group(str(path))
    group.attrs['image-label'] = told
    with pytest.raises(ExportError, match='“image-label” of .* cannot be'):
        read_labels(path)


def test_careless_properties_of_ome_zarr(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    zarr = pytest.importorskip('zarr')
    path = tmp_path / 'x.zarr'
    export_labels(labels, path)
    group = zarr.open_group(str(path))
    group.attrs['image-label'] = {
        'properties': [{'label-value': 1, 'class': 'A', 'box': [1, 2]}],
        'colors': [{'label-value': 1, 'rgba': 'red'}],
    }
    found = read_labels(path)
    assert found.table is not None
    assert list(found.table) == ['label', 'class']
    assert found.class_colors == {}


def test_files_that_may_not_be_read(
    labels: NDArray[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'x.geojson'
    export_labels(labels, path)

    def forbidden(*args: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'read_text', forbidden)
    with pytest.raises(ImageError, match='cannot be read: .* denied'):
        read_labels(path)


def test_careless_coco(tmp_path: Path) -> None:
    corners = [1, 2, 6, 2, 6, 5, 1, 5]
    content = {
        'images': [{'id': 1, 'height': 8, 'width': 9}],
        'annotations': [
            {
                'image_id': 1,
                'category_id': 1,
                'segmentation': [corners],
                'score': None,
                'measurements': {'a': 'x', 'b': 2},
            }
        ],
        'categories': [
            {'id': 1, 'name': 'A', 'color': 'red'},
            {'id': 2, 'name': 'B', 'color': [255.0, 0, 16]},
        ],
    }
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content), 'utf-8')
    found = read_labels(path)
    assert found.class_colors == {'B': '#ff0010'}
    assert found.table is not None
    assert list(found.table) == ['label', 'class', 'b']


def test_texts_of_imagej_are_no_objects(tmp_path: Path) -> None:
    roifile = pytest.importorskip('roifile')
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT)
    roi.top, roi.left, roi.bottom, roi.right = 1, 2, 5, 6
    path = tmp_path / 'x.roi'
    for subtype, count in (('UNDEFINED', 16), ('TEXT', 0), ('IMAGE', 0)):
        roi.subtype = roifile.ROI_SUBTYPE[subtype]
        path.write_bytes(roi.tobytes())
        found = read_labels(path, shape=(8, 9))
        assert np.count_nonzero(found.labels) == count


@pytest.mark.parametrize('last', [False, True])
def test_regions_of_qupath_are_no_objects(last: bool, tmp_path: Path) -> None:
    def feature(kind: str, x: int, size: int) -> dict[str, Any]:
        y, far, low = 2, x + size, 2 + size
        ring = [[x, y], [far, y], [far, low], [x, low], [x, y]]
        geometry = {'type': 'Polygon', 'coordinates': [ring]}
        told = {'objectType': kind}
        return {'type': 'Feature', 'geometry': geometry, 'properties': told}

    found = [feature('detection', x, 4) for x in (2, 10)]
    # around one, drawn as a better outline
    found.append(feature('annotation', 9, 6))
    region = feature('annotation', 0, 17)
    features = [*found, region] if last else [region, *found]
    path = tmp_path / 'a.geojson'
    path.write_text(json.dumps({'features': features}), 'utf-8')
    with pytest.warns(UserWarning, match='1 annotation around several'):
        labels = read_labels(path, shape=(20, 20)).labels
    assert np.unique(labels).tolist() == [0, 1, 3]
    assert np.count_nonzero(labels) == 16 + 36


def test_points_and_lines_of_qupath_are_no_objects(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    path = tmp_path / 'x.geojson'
    export_labels(labels, path)
    content = json.loads(path.read_text('utf-8'))
    point = {'type': 'Point', 'coordinates': [3, 4]}
    content['features'].insert(0, {'type': 'Feature', 'geometry': point})
    content['features'].append({'type': 'Feature', 'geometry': None})
    path.write_text(json.dumps(content), 'utf-8')
    same(read_labels(path), labels)


@pytest.mark.parametrize(
    'comment', [b'', b'by another program', b'3', b'{"napari-mobilesam": 3}']
)
def test_a_zip_without_a_roi_and_its_shape(
    comment: bytes, tmp_path: Path
) -> None:
    pytest.importorskip('roifile')
    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w') as file:
        file.comment = comment
    with pytest.raises(ExportError, match='no object, and no shape'):
        read_labels(path)
    same(read_labels(path, shape=(7, 9)), np.zeros((7, 9)))


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'scale': (1, 1, 1)}, 'scale is .*for 3 axes, but the labels have 2'),
        ({'units': ('micrometer',)}, 'units is .*for 1 axes'),
        ({'class_colors': {'a': 'reddish'}}, '“reddish” is not a colour'),
        ({'class_colors': {'a': '#12345'}}, 'for instance #e69f00'),
    ],
)
@pytest.mark.parametrize('name', NAMES)
def test_what_cannot_be_written_is_refused(
    name: str, given: Any, message: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    with pytest.raises(SegmentationError, match=message):
        export_labels(labels, tmp_path / name, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', NAMES)
def test_no_folder_is_made(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match='no folder'):
        export_labels(labels, tmp_path / 'mistyped' / name)
    assert not list(tmp_path.iterdir())


def test_a_colour_may_be_a_name(labels: NDArray[Any], tmp_path: Path) -> None:
    table = pd.DataFrame({'label': [1], 'class': ['a']})
    path = tmp_path / 'x.geojson'
    export_labels(labels, path, table=table, class_colors={'a': 'orange'})
    assert read_labels(path).class_colors == {'a': '#ffa500'}


def test_label_images_are_counted_by_their_labels(tmp_path: Path) -> None:
    labels = np.zeros((3, 4), np.uint32)
    labels[0, 0], labels[1, 1] = 7, 9
    for name in ('x.tif', 'x.png'):
        assert export_labels(labels, tmp_path / name).objects == 2
    labels[1, 1] = 2**31
    assert export_labels(labels, tmp_path / 'y.tif').objects == 2


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    from PIL import Image

    with pytest.raises(ImageError, match='no file'):
        read_labels(tmp_path / 'none.tif')
    path = tmp_path / 'x.tif'
    tifffile.imwrite(path, np.full((4, 4), 0.5, np.float32))
    with pytest.raises(ExportError, match='fractions'):
        read_labels(path)
    tifffile.imwrite(path, np.full((4, 4), -1, np.int16))
    with pytest.raises(ExportError, match='negative'):
        read_labels(path)
    path = tmp_path / 'x.png'
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    with pytest.raises(ExportError, match='colours'):
        read_labels(path)


def test_public_names(labels: NDArray[Any], tmp_path: Path) -> None:
    nm.export_labels(labels, tmp_path / 'x.zip')
    same(nm.read_labels(tmp_path / 'x.zip'), labels)


@pytest.mark.parametrize(
    'name', ['a.zip', 'a.geojson', 'a.json', 'a.ome.zarr', 'a.tif', 'a.png']
)
def test_labels_above_32_bits_are_refused(name: str, tmp_path: Path) -> None:
    labels = np.zeros((8, 8), np.int64)
    labels[2:5, 2:5] = 5_000_000_000
    path = tmp_path / name
    with pytest.raises(ExportError, match='5000000000'):  # noqa: PT012
        export_labels(labels, path)
        read_labels(path)


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e30, 0.5])
def test_images_are_no_labels(value: float, tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, np.array([[value, 1], [2, 3]], np.float32))
    with pytest.raises(ExportError, match='it is an image, not labels'):
        read_labels(path)


@pytest.mark.parametrize('name', ['x.zip', 'x.geojson'])
def test_objects_beyond_the_shape_are_refused(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    labels = np.zeros((60, 60), int)
    labels[5:15, 5:25], labels[40:50, 40:50], labels[2:4, 2:4] = 1, 2, 3
    export_labels(labels, path)
    for small, count in ((20, '2 objects'), (30, '1 object ')):
        with pytest.raises(ExportError, match='at least') as failure:
            read_labels(path, shape=(small, small))
        assert f'has {count}' in str(failure.value)
        assert '(50, 50)' in str(failure.value)
    same(read_labels(path, shape=(50, 50)), labels[:50, :50])
    with pytest.raises(ExportError, match='1 object beyond'):
        read_labels(path, shape=(49, 49))


def test_half_a_pixel_beyond_the_shape_cuts_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'x.geojson'
    ring = [[1, 2], [9.5, 2], [9.5, 8.5], [1, 8.5], [1, 2]]
    feature = {
        'type': 'Feature',
        'geometry': {'type': 'Polygon', 'coordinates': [ring]},
    }
    path.write_text(json.dumps([feature]), 'utf-8')
    expected = np.zeros((8, 9))
    expected[2:, 1:] = 1
    same(read_labels(path, shape=(8, 9)), expected)


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ((8, 12), None),
        ((-3, 4), None),
        ((10, 12), 'beyond'),
        ((-3, 0), 'negat'),
    ],
)
def test_objects_at_the_edge_of_the_image_are_cut(
    rows: tuple[int, int], message: str | None, tmp_path: Path
) -> None:
    """Other programs draw beyond an image whose shape the file tells."""
    path = tmp_path / 'x.geojson'
    export_labels(np.ones((10, 10), int), path)
    content = json.loads(path.read_text('utf-8'))
    top, bottom = rows
    content['features'][0]['geometry']['coordinates'] = [
        [[2, top], [5, top], [5, bottom], [2, bottom], [2, top]]
    ]
    path.write_text(json.dumps(content), 'utf-8')
    if message:
        with pytest.raises(ExportError, match=f'1 object .*{message}'):
            read_labels(path)
        return
    expected = np.zeros((10, 10))
    expected[max(0, top) : bottom, 2:5] = 1
    same(read_labels(path), expected)


def painted(
    planes: list[tuple[int, int]],
    shape: tuple[int, ...] | None = None,
    corner: int = 0,
    labels: tuple[int | None, ...] = (),
) -> LabelsWithTable:
    """Paint an object of 4 × 5 pixels on each plane (t, z)."""
    ring = corner + np.array([[0, 0], [0, 5], [4, 5], [4, 0]])
    objects = [
        PolygonObject([[ring]], label, t, z, UNKNOWN)
        for (t, z), label in zip(
            planes, labels or [None] * len(planes), strict=True
        )
    ]
    return labels_from_polygons(objects, shape, {}, Path('a.zip'))


@pytest.mark.parametrize(
    ('plane', 'shape', 'axes'),
    [
        ((0, 0), (4, 5), 'yx'),
        ((0, 1), (2, 4, 5), 'zyx'),
        ((2, 0), (3, 4, 5), 'tyx'),
        ((2, 1), (3, 2, 4, 5), 'tzyx'),
    ],
)
def test_without_a_shape_labels_contain_the_objects(
    plane: tuple[int, int], shape: tuple[int, ...], axes: str
) -> None:
    found = painted([plane])
    assert (found.shape, found.axes) == (shape, axes)
    expected = np.zeros(shape)
    expected.reshape(-1, 4, 5)[-1] = 1
    same(found, expected)
    same(painted([plane], shape), expected)


@pytest.mark.parametrize(
    ('plane', 'shape'),
    [
        ((0, 1), (4, 5)),
        ((1, 0), (4, 5)),
        ((0, 2), (2, 4, 5)),
        ((0, -1), (2, 4, 5)),
        ((2, 0), (2, 4, 5)),
        ((1, 1), (2, 4, 5)),
        ((0, 3), (2, 3, 4, 5)),
        ((2, 0), (2, 3, 4, 5)),
        ((-1, 0), (2, 3, 4, 5)),
    ],
)
def test_an_object_on_a_plane_that_labels_lack(
    plane: tuple[int, int], shape: tuple[int, ...]
) -> None:
    t, z = plane
    with pytest.raises(ExportError, match=f'plane z={z}, t={t}, which'):
        painted([plane], shape)


def test_objects_without_a_label_get_the_next_free_ones() -> None:
    planes = [(0, z) for z in range(4)]
    found = painted(planes, labels=(None, -3, 5, 0))
    assert found.labels[:, 0, 0].tolist() == [6, 7, 5, 8]


def test_labels_with_fractions_are_none() -> None:
    given = [3.2, 3.7, 5.0, float('nan'), float('inf')]
    assert with_free_labels(given) == [6, 7, 5, 8, 9]


def test_rows_and_columns_beyond_the_shape_are_refused() -> None:
    same(painted([(0, 0)], (4, 9), labels=(1,)), np.arange(9) < [[5]] * 4)
    for shape in ((3, 9), (9, 4)):
        with pytest.raises(ExportError, match='1 object beyond'):
            painted([(0, 0)], shape)
    with pytest.raises(ExportError, match='2 objects at negative'):
        painted([(0, 0), (0, 0)], (4, 9), corner=-5)
    with pytest.raises(ExportError, match='a.zip has objects far outside'):
        painted([(0, 0)], corner=1_000_000)


def test_damaged_polygons(tmp_path: Path) -> None:
    path = tmp_path / 'a.geojson'
    corners = [[0, 0], [float('nan'), 5], [5, 5], [0, 0]]
    feature = {
        'type': 'Feature',
        'geometry': {'type': 'Polygon', 'coordinates': [corners]},
    }
    empty = {'type': 'Polygon', 'coordinates': []}
    line = {'type': 'Polygon', 'coordinates': [[[0, 0], [5, 5], [0, 0]]]}
    circle = {'type': 'Circle', 'coordinates': [corners]}
    square = [[0, 0], [0, 5], [5, 5], [0, 0]]
    half = {'type': 'MultiPolygon', 'coordinates': [[square], []]}
    for content in (
        {'features': [feature]},
        {'features': [{**feature, 'geometry': empty}]},
        {'features': [{**feature, 'geometry': line}]},
        {'features': [{**feature, 'geometry': circle}]},
        {'features': [{**feature, 'geometry': half}]},
        {'napari-mobilesam': {'shape': ['a', 2]}, 'features': []},
        {'napari-mobilesam': {'shape': 5}, 'features': []},
    ):
        path.write_text(json.dumps(content), 'utf-8')
        with pytest.raises(ExportError, match='not GeoJSON with objects'):
            read_labels(path)
    path = tmp_path / 'a.json'
    image = {'id': 1, 'height': 500_000_000, 'width': 5_000_000}
    path.write_text(
        json.dumps({'images': [image], 'annotations': []}), 'utf-8'
    )
    with pytest.raises(ExportError, match='too large'):
        read_labels(path)
    odd = {'image_id': 1, 'category_id': 1, 'segmentation': [[1, 2, 3]]}
    small = {'id': 1, 'height': 9, 'width': 9}
    path.write_text(
        json.dumps({'images': [small], 'annotations': [odd]}), 'utf-8'
    )
    with pytest.raises(ExportError, match='odd number'):
        read_labels(path)


@pytest.mark.parametrize(
    ('size', 'counts', 'message'),
    [
        ([4, 5], 'p', 'not a list of compressed counts'),
        ([4, 5], '0/', 'not a list of compressed counts'),
        # a count that is continued beyond the end
        ([4, 5], '04P', 'not a list of compressed counts'),
        ([5, 4], [0, 4, 16], 'its size is'),
        ([4, 5], [0, 4, 17], 'go beyond the image'),
        ([4, 5], [5, -1, 3], 'go beyond the image'),
    ],
)
def test_damaged_run_lengths(
    size: list[int], counts: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / 'a.json'
    mask = {'size': [4, 5], 'counts': ''}
    content = {
        'images': [{'id': 1, 'width': 5, 'height': 4}],
        'annotations': [{'image_id': 1, 'segmentation': mask}],
    }
    path.write_text(json.dumps(content), 'utf-8')
    same(read_labels(path), np.zeros((4, 5)))
    mask |= {'size': size, 'counts': counts}
    path.write_text(json.dumps(content), 'utf-8')
    with pytest.raises(ExportError, match=message):
        read_labels(path)


@pytest.mark.parametrize('name', [*NAMES, 'x.png'])
def test_a_series_of_one_frame(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    export_labels(labels[None], tmp_path / name, axes='tyx')
    found = np.asarray(read_labels(tmp_path / name).labels[...])
    # label images of one frame are read as a plane
    np.testing.assert_array_equal(np.squeeze(found), labels)


@pytest.mark.parametrize('name', POLYGONS)
def test_infinite_values_are_left_out_with_a_warning(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    table = pd.DataFrame(
        {
            # a row without a label is of no object
            'label': [1, 2, 5, None],
            'ratio': [np.inf, 2.0, -np.inf, 1.0],
            'mean': [np.nan, 1.0, np.nan, 1.0],
            'length': pd.array([None, 3.0, 4.0, 1.0], 'Float64'),
            # no measurements
            'note': ['7', '8', None, None],
            'seen': [True, False, True, True],
        }
    )
    with pytest.warns(UserWarning, match='2 infinite values .*ratio:'):
        export_labels(labels, tmp_path / name, table=table)
    found = read_labels(tmp_path / name).table
    assert found is not None
    # the rows stay
    assert {1, 2, 5} <= set(found['label'])
    ratios = found.set_index('label')['ratio']
    assert ratios[2] == 2
    assert ratios[[1, 5]].isna().all()
    lengths = found.set_index('label')['length']
    assert lengths[[2, 5]].tolist() == [3, 4]
    assert not {'note', 'seen'} & set(found)


@pytest.mark.parametrize(
    ('name', 'unused'),
    [
        ('x.zip', ('image', 'object_type', 'segmentation')),
        ('x.geojson', ('segmentation',)),
        ('x.json', ('object_type',)),
        ('x.ome.zarr', ('object_type', 'segmentation')),
        ('x.tif', ('image', 'object_type', 'segmentation')),
        ('x.png', ('image', 'object_type', 'segmentation')),
    ],
)
def test_what_a_format_does_not_use_is_refused(
    name: str,
    unused: tuple[str, ...],
    labels: NDArray[Any],
    tmp_path: Path,
) -> None:
    tifffile.imwrite(tmp_path / 'image.tif', labels)
    given: dict[str, Any] = {
        'image': tmp_path / 'image.tif',
        'object_type': 'annotation',
        'segmentation': 'polygons',
    }
    for argument, value in given.items():
        if argument in unused:
            with pytest.raises(ExportError, match=f'^{argument} has no'):
                export_labels(labels, tmp_path / name, **{argument: value})
            assert not (tmp_path / name).exists()
    used = {key: given[key] for key in given if key not in unused}
    export_labels(labels, tmp_path / name, **used)


@pytest.mark.parametrize('before', [True, False])
@pytest.mark.parametrize(
    'step', [(ome_zarr_labels, '_write_plane'), (ome_zarr, 'create_level')]
)
def test_ome_zarr_that_cannot_be_written_leaves_what_was_there(
    labels, tmp_path, monkeypatch, before, step
):
    pytest.importorskip('zarr')
    path = tmp_path / 'x.ome.zarr'
    if before:
        export_labels(labels, path)

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(*step, full)
        with pytest.raises(OSError, match='No space') as raised:
            export_labels(labels, path, overwrite=True)
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path][:before]
    if before:
        assert np.array_equal(read_labels(path).labels, labels)
        export_labels(labels > 0, path, overwrite=True)
        assert read_labels(path).labels[:].max() == 1
        assert list(tmp_path.iterdir()) == [path]


def test_ome_zarr_of_several_chunks(stack, tmp_path, monkeypatch):
    zarr = pytest.importorskip('zarr')
    monkeypatch.setattr(ome_zarr_labels, 'CHUNK', 16)
    path = tmp_path / 'x.ome.zarr'
    path.mkdir()  # an empty folder is no obstacle
    table = pd.DataFrame({'label': [1, 701], 'score': [0.5, 0.25]})
    given = LabelsWithTable(stack, table, translation=(3.0, 0.5, 2.0))
    export_labels(given, path)
    found = read_labels(path)
    same(found, stack)
    assert found.translation == (3.0, 0.5, 2.0)
    assert found.labels.chunks == (1, 16, 16)
    told = dict(zarr.open(str(path), mode='r').attrs)['image-label']
    # without a class, there are no colours
    assert 'colors' not in told
    assert [entry['score'] for entry in told['properties']] == [0.5, 0.25]


@pytest.mark.parametrize('lazy', [True, False])
def test_ome_zarr_over_itself(labels, tmp_path, lazy):
    pytest.importorskip('zarr')
    path = tmp_path / 'x.ome.zarr'
    export_labels(labels, path)
    with pytest.raises(FileExistsError, match='exists'):
        export_labels(labels, path)
    found = read_labels(path).labels
    if lazy:
        found = pytest.importorskip('dask.array').from_array(found)
    export_labels(found, path, overwrite=True)
    assert np.array_equal(read_labels(path).labels, labels)
    assert list(tmp_path.iterdir()) == [path]


def test_unfinished_ome_zarr_is_neither_read_nor_replaced(labels, tmp_path):
    pytest.importorskip('zarr')
    from napari_mobilesam.large.io.ome_zarr import LabelWriter

    path = tmp_path / 'x.ome.zarr'
    LabelWriter.create(path, 1, labels.shape, (16, 16))
    with pytest.raises(ExportError, match='is unfinished'):
        read_labels(path)
    with pytest.raises(FileExistsError, match='exists'):
        export_labels(labels, path)
    export_labels(labels, path, overwrite=True)
    assert np.array_equal(read_labels(path).labels, labels)


@pytest.mark.parametrize('name', ['x.geojson', 'x.json', 'x.ome.zarr'])
def test_an_image_of_another_shape(
    name: str, labels: NDArray[Any], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / 'image.tif', labels[:-1])
    with pytest.raises(ExportError, match='image that they belong'):
        export_labels(labels, tmp_path / name, image=tmp_path / 'image.tif')
    assert not (tmp_path / name).exists()


def test_of_an_image_that_cannot_be_read_the_name_is_used(
    labels: NDArray[Any], tmp_path: Path
) -> None:
    (tmp_path / 'slide.svs').write_bytes(b'of a scanner')
    path = tmp_path / 'x.json'
    export_labels(labels, path, image=tmp_path / 'slide.svs')
    content = json.loads(path.read_text('utf-8'))
    assert content['images'][0]['file_name'] == 'slide.svs'


def test_many_objects_are_no_roi_file(tmp_path):
    with pytest.raises(ExportError, match='give a .zip'):
        export_labels(np.ones((5, 6), int), tmp_path / 'a.roi')
    assert not (tmp_path / 'a.roi').exists()


def test_coco_of_rows_and_columns_in_turn_is_refused(tmp_path: Path) -> None:
    labels = np.zeros((30, 40), np.uint8)
    labels[3:9, 20:33] = 1
    path = tmp_path / 'a.json'
    export_labels(labels, path)
    with pytest.raises(ExportError, match='not labels of shape'):
        read_labels(path, shape=(40, 30))
    assert np.array_equal(read_labels(path, shape=(30, 40)).labels, labels)


def test_what_is_given_goes_before_what_labels_know(
    image: LabelsWithTable, tmp_path: Path
) -> None:
    path = tmp_path / 'a.ome.tif'
    units = ('nanometer',) * len(image.shape)
    scale = (3.0,) * len(image.shape)
    export_labels(image, path, scale=scale, units=units)
    found = read_labels(path)
    assert (found.scale, found.units) == (scale, units)
    table = pd.DataFrame({'label': [1], 'class': ['new']})
    export_labels(image, tmp_path / 'a.geojson', table=table)
    found = read_labels(tmp_path / 'a.geojson', shape=image.shape)
    assert set(found.table['class'].dropna()) <= {'new', ''}


def test_channels_that_instanseg_does_not_name(tmp_path: Path) -> None:
    both = np.zeros((2, 30, 40), np.int32)
    both[0, 3:9, 3:9], both[1, 2:12, 2:12] = 1, 1
    path = tmp_path / 'instanseg.tif'
    tifffile.imwrite(path, both, photometric='minisblack')
    for channel in (0, 1):
        found = read_labels(path, channel=channel)
        assert np.array_equal(found.labels, both[channel])
    with pytest.raises(ExportError, match='no channel 2'):
        read_labels(path, channel=2)
