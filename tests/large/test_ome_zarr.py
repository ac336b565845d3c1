"""Labels as OME-Zarr: valid, where the image is, whole or not there."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_zarr_models import v04, v05

from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.large.io import ome_zarr
from napari_mobilesam.large.io.object_columns import read_objects
from napari_mobilesam.large.io.ome_zarr import (
    LabelWriter,
    check_replaceable,
    is_begun,
    is_finished,
    open_labels,
    remove_labels,
)
from napari_mobilesam.large.io.sources import ArraySource, open_source
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.types import ImageError, SegmentationError

from .images import small_model

VERSIONS = ('0.4', '0.5')
MODELS: dict[str, Any] = {'0.4': v04, '0.5': v05}
LABELS = np.kron(
    np.arange(1, 13, dtype=np.uint32).reshape(3, 4),
    np.ones((50, 50), dtype=np.uint32),
)[:140, :190]


def write(writer: LabelWriter, planes: int = 1) -> None:
    """Write `LABELS` into every plane, plus its number."""
    rows, columns = writer.array.chunks[-2:]
    for plane, row, column in itertools.product(
        range(planes), range(0, 140, rows), range(0, 190, columns)
    ):
        part = LABELS[row : row + rows, column : column + columns] + plane
        window = (
            row,
            column,
            row + part.shape[0],
            column + part.shape[1],
        )
        writer.write_chunk(plane, window, part)


def make_image(path: Path, version: str, **metadata: Any) -> Path:
    """An OME-Zarr image of (t, c, y, x), with units and a position."""
    group = zarr.create_group(
        str(path), zarr_format={'0.4': 2, '0.5': 3}[version]
    )
    values = np.arange(2 * 3 * 140 * 190).reshape(2, 3, 140, 190) % 251
    for level, step in enumerate((1, 2)):
        small = values[..., ::step, ::step].astype(np.uint8)
        array = group.create_array(
            str(level),
            shape=small.shape,
            chunks=(1, 1, 64, 64),
            dtype=small.dtype,
        )
        array[:] = small
    axes = [
        {'name': 't', 'type': 'time', 'unit': 'second'},
        {'name': 'c', 'type': 'channel'},
        {'name': 'y', 'type': 'space', 'unit': 'micrometer'},
        {'name': 'x', 'type': 'space', 'unit': 'micrometer'},
    ]
    datasets = [
        {
            'path': str(level),
            'coordinateTransformations': [
                {'type': 'scale', 'scale': [30, 1, size, size]},
                {'type': 'translation', 'translation': [0, 0, 7, 9]},
            ],
        }
        for level, size in enumerate((0.5, 1.0))
    ]
    image: dict[str, Any] = {'axes': axes, 'datasets': datasets}
    attributes: dict[str, Any] = {'multiscales': [image], **metadata}
    if version == '0.4':
        image['version'] = version
        group.attrs.update(attributes)
    else:
        group.attrs['ome'] = {'version': version, **attributes}
    return path


def check_valid(path: Path, version: str) -> Any:
    """Read the metadata as the specification says; raises if it is not."""
    group = zarr.open_group(str(path), mode='r')
    read = MODELS[version].ImageLabel.from_zarr(group)
    return read.attributes if version == '0.4' else read.ome_attributes


@pytest.mark.parametrize('version', VERSIONS)
def test_labels_are_valid_and_come_back(tmp_path: Path, version: str) -> None:
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 2, (140, 190), (64, 64), version=version)
    write(pickle.loads(pickle.dumps(writer)), planes=2)
    assert is_begun(path)
    assert not is_finished(path)
    writer.finish()
    assert is_finished(path)
    attributes = check_valid(path, version)
    assert len(attributes.multiscales[0].datasets) == 3
    finest, half, quarter = open_labels(path)
    np.testing.assert_array_equal(finest[:], np.stack([LABELS, LABELS + 1]))
    np.testing.assert_array_equal(half[1], LABELS[::2, ::2] + 1)
    np.testing.assert_array_equal(quarter[0], LABELS[::4, ::4])
    assert finest.dtype == np.uint32


TABLE = pd.DataFrame(
    {
        'label': np.array([1, 1, 2], np.uint32),
        'plane': [0, 1, 1],
        'score': [0.9, 0.8, 0.7],
    }
)


@pytest.mark.parametrize('version', VERSIONS)
def test_scores_come_back(tmp_path: Path, version: str) -> None:
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 2, (140, 190), (64, 64), version=version)
    write(writer, planes=2)
    assert read_objects(path) is None
    writer.finish(table=TABLE)
    writer.finish(table=TABLE)
    check_valid(path, version)
    assert len(open_labels(path)) == 3
    pd.testing.assert_frame_equal(read_objects(path), TABLE)
    opened = read_labels(path, format='ome-zarr')
    pd.testing.assert_frame_equal(opened.table, TABLE)


def test_labels_with_a_damaged_table_are_read_without_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 2, (140, 190), (64, 64))
    write(writer, planes=2)
    writer.finish(table=TABLE)
    (path / 'objects' / 'score' / '0').write_bytes(b'damaged')
    assert read_objects(path) is None
    assert read_labels(path, format='ome-zarr').table is None
    shutil.rmtree(path / 'objects' / 'score')
    assert read_objects(path) is None


@pytest.mark.slow
@pytest.mark.parametrize('version', VERSIONS)
def test_labels_lie_where_the_image_is(tmp_path: Path, version: str) -> None:
    image = make_image(tmp_path / 'image.ome.zarr', version)
    source = open_source(image, channels=1)
    assert (source.planes, source.shape) == (2, (140, 190))
    path = tmp_path / 'labels.ome.zarr'
    writer = LabelWriter.create(path, 2, (140, 190), (64, 64), like=source)
    write(writer, planes=2)
    writer.finish()
    read = check_valid(path, version)
    assert read.image_label.source.image == '../image.ome.zarr'
    assert [axis.name for axis in read.multiscales[0].axes] == ['t', 'y', 'x']
    units = [axis.unit for axis in read.multiscales[0].axes]
    assert units == ['second', 'micrometer', 'micrometer']
    labels = open_source(path)
    assert isinstance(labels, ArraySource)
    assert labels.geometry.scale == (30, 0.5, 0.5)
    assert labels.geometry.translation == (0, 7, 9)
    assert labels.geometry.version == version
    _, second = read.multiscales[0].datasets[1].coordinateTransformations
    assert list(second.translation) == [0, 7, 9]


@pytest.mark.parametrize('version', VERSIONS)
def test_labels_inside_an_image(tmp_path: Path, version: str) -> None:
    image = make_image(tmp_path / 'image.ome.zarr', version)
    for name in ('cells', 'nuclei', 'cells2'):
        path = image / 'labels' / name
        writer = LabelWriter.create(
            path, 2, (140, 190), (64, 64), like=open_source(image, channels=0)
        )
        write(writer, planes=2)
        writer.finish()
        read = check_valid(path, version)
        assert read.image_label.source.image == '../../'
        # as many levels as the image, though they are of several chunks
        assert len(read.multiscales[0].datasets) == 2
    group = zarr.open_group(str(image / 'labels'), mode='r')
    read = MODELS[version].Labels.from_zarr(group)
    listed = read.attributes if version == '0.4' else read.ome_attributes
    assert listed.labels == ['cells', 'nuclei', 'cells2']
    other = VERSIONS[1 - VERSIONS.index(version)]
    with pytest.raises(ImageError, match=f'cannot be version {other}'):
        LabelWriter.create(
            image / 'labels' / 'x', 2, (140, 190), (64, 64), version=other
        )


def test_labels_inside_an_image_have_any_name(tmp_path: Path) -> None:
    image = make_image(tmp_path / 'image.ome.zarr', '0.4')
    labels = image / 'labels' / 'cells v1.2'
    source = open_source(image, channels=0)
    segment_large(source, labels, small_model, executor='serial', diameter=30)
    assert is_finished(labels)
    with pytest.raises(SegmentationError, match=r'ends in \.2'):
        segment_large(source, tmp_path / 'cells v1.2', small_model)


def test_unfinished_labels_are_no_image_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / 'out.ome.zarr'
    first = LabelWriter.create(path, 1, (140, 190), (64, 64))
    first.write_chunk(0, (0, 0, 64, 64), LABELS[:64, :64])
    assert 'multiscales' not in json.loads((path / '.zattrs').read_text())
    again = LabelWriter.create(path, 1, (140, 190), (64, 64))
    np.testing.assert_array_equal(again.array[:64, :64], LABELS[:64, :64])
    assert [level.shape for level in open_labels(path)] == [(140, 190)]
    with pytest.raises(ImageError, match='holds unfinished labels of shape'):
        LabelWriter.create(path, 1, (140, 191), (64, 64))


def test_finishing_again_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 1, (140, 190), (64, 64))
    write(writer)
    writer.finish()
    before = {p: p.read_bytes() for p in path.rglob('*') if p.is_file()}
    writer.finish()
    assert before == {
        p: p.read_bytes() for p in path.rglob('*') if p.is_file()
    }


def test_an_empty_folder_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'a.ome.zarr'
    path.mkdir()
    check_replaceable(path)
    LabelWriter.create(path, 1, (64, 64), (32, 32)).finish()
    assert is_finished(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_stop_while_labels_are_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ome_zarr, 'progress_mark', stop)
    path = tmp_path / 'a.ome.zarr'
    with pytest.raises(KeyboardInterrupt):
        LabelWriter.create(path, 1, (64, 64), (32, 32))
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    image = make_image(tmp_path / 'image.ome.zarr', '0.4')
    with pytest.raises(ImageError, match='exists'):
        LabelWriter.create(image, 1, (140, 190), (64, 64))
    with pytest.raises(ImageError, match='not a label image of this program'):
        remove_labels(image)
    finished = tmp_path / 'out.ome.zarr'
    LabelWriter.create(finished, 1, (5, 7), (64, 64)).finish()
    with pytest.raises(ImageError, match='exists'):
        LabelWriter.create(finished, 1, (5, 7), (64, 64))
    remove_labels(finished)
    assert not finished.exists()
    remove_labels(finished)


def test_labels_are_removed_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'out.ome.zarr'
    LabelWriter.create(path, 1, (5, 7), (64, 64)).finish()

    def interrupt(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'rmtree', interrupt)
        with pytest.raises(KeyboardInterrupt):
            remove_labels(path)
    assert not path.exists()


def test_chunks_have_one_writer(tmp_path: Path) -> None:
    writer = LabelWriter.create(tmp_path / 'o.zarr', 1, (99, 99), (64, 64))
    with pytest.raises(ValueError, match='share a chunk'):
        writer.write_chunk(0, (0, 32, 64, 96), LABELS[:64, :64])


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r'there are 0\.4, 0\.5'):
        LabelWriter.create(
            tmp_path / 'o.zarr', 1, (99, 99), (64, 64), version='0.3'
        )


def test_empty_chunks_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / 'out.ome.zarr'
    writer = LabelWriter.create(path, 1, (640, 640), (64, 64))
    writer.write_chunk(0, (128, 64, 192, 128), LABELS[:64, :64])
    writer.finish()
    # metadata begins with a dot; the coarsest level is one chunk
    for level in map(str, range(5)):
        chunks = [p for p in (path / level).rglob('[!.]*') if p.is_file()]
        assert len(chunks) == 1


@pytest.mark.slow
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    chunk=st.integers(1, 40),
)
def test_levels_halve_until_one_chunk(
    tmp_path_factory: pytest.TempPathFactory,
    height: int,
    width: int,
    chunk: int,
) -> None:
    path = tmp_path_factory.mktemp('labels') / 'x.zarr'
    shape = (height, width)
    LabelWriter.create(path, 1, shape, (chunk, chunk)).finish()
    levels = open_labels(path)
    assert levels[0].shape == shape
    for finer, coarser in itertools.pairwise(levels):
        assert coarser.shape == tuple((n + 1) // 2 for n in finer.shape)
    assert max(levels[-1].shape) <= max(levels[-1].chunks)


@pytest.mark.parametrize('version', VERSIONS)
def test_channels_of_an_image_have_to_be_chosen(
    tmp_path: Path, version: str
) -> None:
    names = {'channels': [{'label': x} for x in ('DAPI', 'actin', 'GFP')]}
    image = make_image(tmp_path / 'i.zarr', version, omero=names)
    with pytest.raises(ImageError, match=r'\(0 DAPI, 1 actin, 2 GFP\)'):
        open_source(image)
    assert open_source(image, channels=(2, 0)).read(
        1, 1, (0, 0, 9, 8)
    ).shape == (9, 8, 2)


@pytest.mark.slow
def test_red_green_blue_channels_are_a_photograph(tmp_path: Path) -> None:
    names = {
        'channels': [{'color': x} for x in ('FF0000', '00FF00', '0000FF')]
    }
    source = open_source(make_image(tmp_path / 'i.zarr', '0.5', omero=names))
    assert source.rgb
    assert source.read(1, 1, (0, 0, 9, 8)).shape == (9, 8, 3)


@pytest.mark.parametrize(
    ('metadata', 'message'),
    [
        (
            {'plate': {'wells': [{'path': 'A/1'}, {'path': 'B/2'}]}},
            r'plate with 2 wells.*A.1.0',
        ),
        ({'well': {'images': [{'path': '0'}]}}, 'well with 1 fields'),
        ({'labels': ['cells']}, 'group of labels of an image'),
        ({}, 'without an OME-Zarr image'),
    ],
)
@pytest.mark.parametrize('version', VERSIONS)
def test_what_holds_many_images_is_refused_with_the_way_on(
    tmp_path: Path, version: str, metadata: dict[str, Any], message: str
) -> None:
    path = tmp_path / 'many.zarr'
    group = zarr.create_group(
        str(path), zarr_format={'0.4': 2, '0.5': 3}[version]
    )
    group.create_group('0')
    group.attrs.update(metadata if version == '0.4' else {'ome': metadata})
    with pytest.raises(ImageError, match=message):
        open_source(path)


def test_the_only_image_of_a_collection_is_opened(tmp_path: Path) -> None:
    path = tmp_path / 'one.zarr'
    group = zarr.create_group(str(path), zarr_format=2)
    group.attrs['bioformats2raw.layout'] = 3
    group.create_group('OME')
    make_image(path / '0', '0.4')
    found, inside = (
        open_source(each, channels=1, select={'t': 0}).read(0, 0, (0, 0, 9, 8))
        for each in (path, path / '0')
    )
    assert np.array_equal(found, inside)


@pytest.mark.parametrize('named', [False, True])
def test_old_metadata_is_read(tmp_path: Path, named: bool) -> None:
    """Before 0.4 axes were plain names, before 0.3 there were none."""
    group = zarr.create_group(str(tmp_path / 'old.zarr'), zarr_format=2)
    group.create_array('0', shape=(1, 2, 3, 40, 50), dtype=np.uint8)
    image: dict[str, Any] = {'datasets': [{'path': '0'}]}
    if named:
        image['axes'] = list('tczyx')
    group.attrs['multiscales'] = [image]
    source = open_source(tmp_path / 'old.zarr', channels=1)
    assert isinstance(source, ArraySource)
    assert source.planes == 3
    assert source.geometry.axes == 'tzyx'
    assert source.geometry.scale == (1, 1, 1, 1)


def test_a_field_of_a_plate_opens(tmp_path: Path) -> None:
    make_image(tmp_path / 'plate.zarr' / 'A' / '1' / '0', '0.4')
    source = open_source(tmp_path / 'plate.zarr/A/1/0', channels=2)
    assert source.planes == 2


def test_an_array_inside_an_image_opens(tmp_path: Path) -> None:
    image = make_image(tmp_path / 'i.zarr', '0.5')
    source = open_source(image / '1', axes='tcyx', channels=0)
    assert source.shape == (70, 95)
