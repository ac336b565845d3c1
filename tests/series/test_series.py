"""Series of images: states, labels that are saved, bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from viewer.oracle import OracleSam

from napari_mobilesam.export.formats import read_labels
from napari_mobilesam.run_lock import OutputInUseError
from napari_mobilesam.series import series as series_module
from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import (
    RECORDS,
    SeriesError,
    distinct_names,
    output_name,
    series_lock,
)
from napari_mobilesam.series.series_images import ImageArray, read_image_array
from napari_mobilesam.series.series_segmentation import segment_series
from napari_mobilesam.types import (
    EverythingParameters,
    ImageError,
    SegmentationError,
)

QUICK = EverythingParameters(points_per_side=8, whole_image=True)


def squares(shift: int = 0) -> np.ndarray:
    image = np.full((96, 128), 10, np.uint8)
    image[16:40, 20:44] = 200
    image[56:80, 72:104] = 200
    return np.roll(image, shift, axis=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, and a file that is none."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, name in enumerate(('a', 'b', 'c')):
        tifffile.imwrite(folder / f'{name}.tif', squares(4 * number))
    (folder / 'notes.txt').write_text('no image', 'utf-8')
    return folder


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((96, 128), np.uint16)
    labels[16:40, 20:44] = 1
    labels[56:80, 72:104] = 4
    return labels


def test_a_folder_is_a_series(folder: Path) -> None:
    series = Series.open(folder)
    assert [entry.name for entry in series] == ['a.tif', 'b.tif', 'c.tif']
    assert series.folder == folder / 'labels'
    assert series.text == '3 images: 0 done, 3 to do, 0 flagged'
    # opening writes nothing
    assert not series.folder.exists()


def test_opening_asks_the_disk_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / Path(*'abcdefgh')
    folder.mkdir(parents=True)
    for number in range(50):
        (folder / f'{number}.tif').touch()
    calls = []
    for name in ('stat', 'lstat', 'readlink'):
        ask = getattr(os, name)

        def counted(*given: Any, ask: Any = ask, **options: Any) -> Any:
            calls.append(given)
            return ask(*given, **options)

        monkeypatch.setattr(os, name, counted)
    assert len(Series.open(folder)) == 50
    assert len(calls) < 50 * 10


def test_labels_are_saved_and_read_again(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    table = pd.DataFrame({'label': [1, 9], 'score': [0.9, 0.1]})
    path = series.save_labels(1, labels, table)
    assert path == folder / 'labels' / 'b_labels.tif'
    series.mark(1, 'done')
    series.mark(2, 'flagged')
    again = Series.open(folder)
    assert [entry.status for entry in again] == ['to do', 'done', 'flagged']
    assert [entry.objects for entry in again] == [None, 2, None]
    assert again.first_to_do() == 0
    saved = again.read_labels(1, (96, 128))
    assert saved is not None
    assert np.array_equal(saved.labels, labels)
    # a row for each label, and no others
    assert saved.table is not None
    assert saved.table['label'].tolist() == [1, 4]
    assert saved.table['score'].tolist()[0] == 0.9
    assert again.read_labels(0, (96, 128)) is None


def test_labels_of_other_images_are_refused(
    folder: Path, labels: np.ndarray, tmp_path: Path
) -> None:
    plates = tmp_path / 'labels'
    Series.open(folder, plates).save_labels(0, labels)
    other = tmp_path / 'plate 2'
    other.mkdir()
    tifffile.imwrite(other / 'a.tif', squares(7))
    with pytest.raises(SeriesError, match=r'a_labels.tif is for .*images'):
        Series.open(other, plates)
    # unless their image is gone
    (folder / 'a.tif').unlink()
    assert Series.open(other, plates)[0].labelled


@pytest.mark.parametrize('move', [True, False])
def test_images_are_moved_and_copied_with_their_labels(
    folder: Path, labels: np.ndarray, move: bool
) -> None:
    Series.open(folder).save_labels(0, labels)
    place = folder.with_name('elsewhere')
    shutil.copytree(folder, place, copy_function=shutil.copyfile)
    if move:
        shutil.rmtree(folder)
    series = Series.open(place)
    assert series[0].labelled
    # the copy has another time
    assert not series[0].image_replaced
    series.save_labels(0, labels)
    assert series[0].files.known()['made_of']['image'].startswith(str(place))


def test_an_image_that_was_replaced_is_noticed(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    series.save_labels(0, labels)
    assert not series[0].image_replaced
    tifffile.imwrite(folder / 'a.tif', squares(7))
    os.utime(folder / 'a.tif', (0, 0))
    # labels of the former image stay those of the former image
    assert series[0].image_replaced
    series.save_labels(0, labels, image=ImageArray(squares(), 'yx'))
    assert series[0].image_replaced
    again = Series.open(folder)
    assert [entry.image_replaced for entry in again] == [
        True,
        *[False] * (len(again) - 1),
    ]
    # until the new one was read, and labels were saved for it
    series.read_image(0)
    assert series[0].image_replaced
    series.save_labels(0, labels)
    assert not series[0].image_replaced
    assert not Series.open(folder)[0].image_replaced


def test_a_file_added_to_a_zarr_does_not_replace_the_image(
    tmp_path: Path,
) -> None:
    image = tmp_path / 'a.zarr'
    zarr.save(str(image), squares())
    series = Series.open([image])
    series.save_labels(0, np.ones(squares().shape, np.uint16))
    (image / '.DS_Store').write_text('of a file manager', 'utf-8')
    os.utime(image, (0, 0))
    assert not series[0].image_replaced


def test_saving_again_replaces_our_own_file(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    series.save_labels(0, labels)
    labels[0, 0] = 7
    assert series.save_labels(0, labels).name == 'a_labels.tif'
    assert Series.open(folder)[0].objects == 3
    assert sorted(p.name for p in series.folder.iterdir()) == [
        RECORDS,
        'a_labels.tif',
    ]


def test_foreign_labels_are_never_replaced(
    folder: Path, labels: np.ndarray
) -> None:
    theirs = folder / 'labels' / 'a_labels.tif'
    theirs.parent.mkdir()
    tifffile.imwrite(theirs, 3 * labels)
    content = theirs.read_bytes()
    series = Series.open(folder)
    # they are where the work begins
    saved = series.read_labels(0, (96, 128))
    assert saved is not None
    assert saved.labels.max() == 12
    path = series.save_labels(0, labels)
    assert path.name == 'a_labels.2.tif'
    assert theirs.read_bytes() == content
    again = Series.open(folder)
    assert again[0].labels == path
    assert again.save_labels(0, labels) == path
    assert again.kept(0) == (theirs, path)
    # of two foreign files, neither is
    for name in ('b_labels.tif', 'b_labels.2.tif'):
        tifffile.imwrite(theirs.with_name(name), labels)
    assert again.save_labels(1, labels).name == 'b_labels.3.tif'
    again.save_labels(2, labels)
    assert again.kept(2) is None


def test_a_read_only_file_is_kept(folder: Path, labels: np.ndarray) -> None:
    series = Series.open(folder)
    path = series.save_labels(0, labels)
    path.chmod(0o444)
    other = series.save_labels(0, 2 * labels)
    assert other.name == 'a_labels.2.tif'
    assert series.kept(0) == (path, other)
    assert np.array_equal(tifffile.imread(path), labels)
    assert series.save_labels(0, labels) == other


def test_labels_of_another_shape_are_refused(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    image = series.read_image(0)
    with pytest.raises(SeriesError, match=r'shape \(5, 5\)'):
        series.save_labels(0, labels[:5, :5], image=image)
    assert not series[0].labels.exists()


def test_labels_put_where_saving_failed_stay(
    folder: Path, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    series = Series.open(folder)
    with monkeypatch.context() as patch:
        patch.setattr(series_module, 'write_tiff', full)
        with pytest.raises(SeriesError):
            series.save_labels(0, labels)
    theirs = folder / 'labels' / 'a_labels.tif'
    tifffile.imwrite(theirs, 3 * labels)
    content = theirs.read_bytes()
    again = Series.open(folder)
    assert again.save_labels(0, labels).name == 'a_labels.2.tif'
    assert theirs.read_bytes() == content


def edit(path: Path, pixels: np.ndarray) -> bytes:
    tifffile.imwrite(path, pixels)
    os.utime(path, ns=(1, 1))
    return path.read_bytes()


def test_labels_that_another_program_edited(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    path = series.save_labels(0, labels)
    content = edit(path, 2 * labels)
    # not read since: they are kept
    other = series.save_labels(0, labels)
    assert other != path
    assert path.read_bytes() == content
    # read since: these labels go on from them
    path = series.save_labels(1, labels)
    edit(path, 2 * labels)
    series.read_labels(1, (96, 128))
    assert series.save_labels(1, labels) == path


def test_labels_among_the_images_are_no_images(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder, output=folder)
    path = series.save_labels(0, labels)
    edit(path, 2 * labels)
    assert series.save_labels(0, labels).name == 'a_labels.2.tif'
    again = Series.open(folder, output=folder)
    assert [entry.name for entry in again] == ['a.tif', 'b.tif', 'c.tif']


def test_labels_of_another_shape_are_kept(
    folder: Path, labels: np.ndarray
) -> None:
    theirs = folder / 'labels' / 'a_labels.tif'
    theirs.parent.mkdir()
    tifffile.imwrite(theirs, labels[:50])
    content = theirs.read_bytes()
    series = Series.open(folder)
    with pytest.raises(SeriesError, match=r'has the shape \(50, 128\)'):
        series.read_labels(0, (96, 128))
    series.save_labels(0, labels)
    assert theirs.read_bytes() == content


def test_a_shape_that_is_not_the_images(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    path = series.save_labels(0, labels)
    series.read_labels(0, labels.shape)
    with pytest.raises(SeriesError, match=r'shape is \(5, 5\).*\(96, 128\)'):
        series.read_labels(0, (5, 5))
    assert series.save_labels(0, 2 * labels) == path


def test_a_kill_while_saving_loses_nothing(
    folder: Path, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Series.open(folder)
    series.save_labels(0, labels)
    series.mark(0, 'flagged')
    path = series[0].labels
    before = path.read_bytes()

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    # while the label image is written: the old one is whole
    with monkeypatch.context() as patch:
        patch.setattr(series_module, 'write_tiff', killed)
        with pytest.raises(KeyboardInterrupt):
            series.save_labels(0, 2 * labels)
    assert path.read_bytes() == before
    again = Series.open(folder)
    assert again[0].status == 'flagged'
    assert again.save_labels(0, 2 * labels) == path
    # between the label image and its record: it is ours, and not foreign
    with monkeypatch.context() as patch:
        patch.setattr(Series, '_note', killed)
        with pytest.raises(KeyboardInterrupt):
            again.save_labels(0, 3 * labels)
    last = Series.open(folder)
    saved = last.read_labels(0, (96, 128))
    assert saved is not None
    assert saved.labels.max() == 12
    assert last.save_labels(0, labels) == path
    assert [p.name for p in last.folder.glob('.*.tif')] == []


def test_a_folder_that_cannot_be_written(
    folder: Path, labels: np.ndarray
) -> None:
    (folder / 'labels').write_text('a file', 'utf-8')
    with pytest.raises(SeriesError, match='is a file: give a folder'):
        Series.open(folder)
    series = Series.open(folder, folder / 'other')
    (folder / 'other').write_text('a file', 'utf-8')
    with pytest.raises(
        SeriesError, match=r'cannot be written \(.*\): choose another folder'
    ):
        series.save_labels(0, labels)
    with pytest.raises(SeriesError, match='cannot be written'):
        series.mark(0, 'done')
    assert series[0].status == 'to do'


def test_a_run_that_ends_meanwhile_removes_the_folder(
    folder: Path, labels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the folder is empty, which it is when saving begins."""
    series = Series.open(folder)
    lock = ExitStack()
    lock.enter_context(series_lock(series[0].files.labels.parent))
    real = series_module.write_tiff

    def write(*args: Any) -> None:
        lock.close()
        real(*args)

    monkeypatch.setattr(series_module, 'write_tiff', write)
    path = series.save_labels(0, labels)
    assert np.array_equal(tifffile.imread(path), labels)
    assert series[0].record['objects'] == np.count_nonzero(np.unique(labels))


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(SeriesError, match='is a folder without images'):
        Series.open(empty)
    with pytest.raises(SeriesError, match='There is no image'):
        Series.open([])
    with pytest.raises(SeriesError, match='There is no file or folder'):
        Series.open([folder / 'a.tif', folder / 'gone.tif'])
    with pytest.raises(SeriesError, match='are not a valid pattern'):
        Series.open(folder, names='{nmae}')
    with pytest.raises(SeriesError, match='are not a valid pattern'):
        Series.open(folder, names='{number:999999999999}')
    with pytest.raises(SeriesError, match='is an image of the series'):
        Series.open(folder, folder, '{name}')
    with pytest.raises(SeriesError, match="no status 'finished'"):
        Series.open(folder).mark(0, 'finished')


def test_two_files_of_one_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / 'more'
    other.mkdir()
    tifffile.imwrite(other / 'a.tif', squares())
    with pytest.raises(SeriesError, match=r'would both be saved to .*a_lab'):
        Series.open([folder, other])
    with pytest.raises(SeriesError, match='example {folder}_{name}_labels'):
        Series.open([folder, other])
    series = Series.open([folder, other], names='{folder}_{name}')
    names = [entry.labels.name for entry in series]
    assert names[0] == 'images_a.tif'
    assert names[-1] == 'more_a.tif'


def test_numbers_stay_when_images_are_added(
    folder: Path, labels: np.ndarray
) -> None:
    def names() -> dict[str, str]:
        series = Series.open(folder, names='{number:02}_{name}')
        return {entry.name: entry.labels.stem for entry in series}

    series = Series.open(folder, names='{number:02}_{name}')
    for number in (0, 2):
        series.save_labels(number, labels)
    for name in ('a0', 'b0'):
        tifffile.imwrite(folder / f'{name}.tif', squares())
    expected = ['01_a', '02_a0', '04_b', '05_b0', '03_c']
    assert list(names().values()) == expected
    # also with labels under other names, or when all are moved
    Series.open(folder, names='{name}_7').save_labels(0, labels)
    assert list(names().values()) == expected
    folder.rename(folder.with_name('moved'))
    folder = folder.with_name('moved')
    assert list(names().values()) == expected
    # without a name, no two images get the same number
    other = Series.open(folder, folder / 'other', '{number}')
    other.save_labels(1, labels)
    (folder / 'a.tif').unlink()
    again = Series.open(folder, folder / 'other', '{number}')
    found = [entry.labels.stem for entry in again]
    assert found == ['2', '3', '4', '5']


def test_one_name_with_two_suffixes(folder: Path) -> None:
    from PIL import Image

    Image.fromarray(squares()).save(folder / 'a.png')
    with pytest.raises(SeriesError, match='example {name}_{suffix}_labels'):
        Series.open(folder)
    series = Series.open(folder, names='{name}_{suffix}_labels')
    names = [entry.labels.name for entry in series]
    assert names[:2] == ['a_png_labels.tif', 'a_tif_labels.tif']


@pytest.mark.parametrize(
    ('first', 'second', 'pattern'),
    [
        ('x/a.tif', 'x/a.png', '{name}_{suffix}'),
        ('x/a.tif', 'y/a.tif', '{folder}_{name}'),
        ('x/a.tif', 'x/b.tif', '{name}'),
        ('x/a.tif', 'x/A.tif', '{number}_{name}'),
        ('z/x/a.tif', 'x/a.tif', '{number}_{name}'),
    ],
)
def test_names_that_differ(
    first: str, second: str, pattern: str, tmp_path: Path
) -> None:
    images = tmp_path / first, tmp_path / second
    assert distinct_names(*images, '') == pattern
    names = {
        output_name(pattern, image, number).casefold()
        for number, image in enumerate(images, start=1)
    }
    assert len(names) == 2


def test_damaged_records_and_tables(folder: Path, labels: np.ndarray) -> None:
    series = Series.open(folder)
    series.save_labels(0, labels)
    series[0].files.record.write_text('{"status": ', 'utf-8')
    series[0].files.table.write_bytes(b'\x00\xff')
    again = Series.open(folder)
    assert again[0].status == 'to do'
    saved = again.read_labels(0, (96, 128))
    assert saved is not None
    assert saved.table is None
    # nothing tells that the file is ours
    assert again.save_labels(0, labels).name == 'a_labels.2.tif'
    again[1].files.record.write_text(
        json.dumps(
            {'status': 3, 'objects': 'x', 'file': '../b', 'reviewed': 1}
        ),
        'utf-8',
    )
    odd = Series.open(folder)[1]
    assert (odd.status, odd.objects, odd.reviewed) == ('to do', None, set())
    assert odd.labels.name == 'b_labels.tif'


# review


def test_least_certain_objects_of_all_images(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    series.save_labels(
        0, labels, pd.DataFrame({'label': [1, 4], 'score': [0.9, np.nan]})
    )
    series.save_labels(
        2, labels, pd.DataFrame({'label': [1, 4], 'score': [0.5, 0.95]})
    )
    found = [(each.image, each.label) for each in series.uncertain()]
    assert found == [(2, 1), (0, 1), (2, 4), (0, 4)]
    series.review(2, [1])
    again = Series.open(folder)
    assert again.uncertain()[0].image == 0
    # saving the labels again keeps what was reviewed
    again.save_labels(2, labels)
    assert again[2].reviewed == {1}
    # only what was saved here is read again, unless others are looked for
    pd.DataFrame({'label': [1, 4], 'score': [0.1, 0.2]}).to_csv(
        series[0].files.table, index=False
    )
    for check, expected in ((False, [0.9, np.inf]), (True, [0.1, 0.2])):
        found = again.uncertain(check)
        assert [o.score for o in found if o.image == 0] == expected
        assert [o.score for o in found if o.image == 2] == [np.inf]
    # nor if the image is opened
    pd.DataFrame({'label': [1], 'score': [0.3]}).to_csv(
        series[0].files.table, index=False
    )
    again.read_labels(0, again.read_image(0).label_shape)
    found = again.uncertain(check=False)
    assert [o.score for o in found if o.image == 0] == [0.3]


# images


def test_kinds_of_images(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / 'rgb.png'
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path)
    image = read_image_array(path)
    assert (image.axes, image.label_shape, image.rgb) == ('yxs', (6, 8), True)
    path = tmp_path / 'channels.tif'
    tifffile.imwrite(
        path, np.zeros((2, 3, 6, 8), np.uint16), metadata={'axes': 'ZCYX'}
    )
    image = read_image_array(path)
    assert image.label_axes == 'zyx'
    assert image.label_shape == (2, 6, 8)
    assert [c.shape for c in image.channels] == [(2, 6, 8)] * 3
    # more samples than colours are channels
    pixels = np.arange(240, dtype=np.uint8).reshape(6, 8, 5)
    tifffile.imwrite(path, pixels, planarconfig='contig')
    image = read_image_array(path)
    assert (image.axes, image.label_shape) == ('cyx', (6, 8))
    np.testing.assert_array_equal(image.channel(4), pixels[..., 4])


def test_planes_before_frames(tmp_path: Path) -> None:
    """Some OME-TIFFs have all frames of a plane, then those of the next."""
    stack = np.arange(2 * 3 * 6 * 8, dtype=np.uint16).reshape(2, 3, 6, 8)
    path = tmp_path / 'a.ome.tif'
    tifffile.imwrite(path, stack, metadata={'axes': 'ZTYX'}, ome=True)
    series = Series.open(path)
    image = series.read_image(0)
    assert image.axes == 'tzyx'
    np.testing.assert_array_equal(image.pixels, stack.swapaxes(0, 1))
    written = series.save_labels(0, image.pixels)
    again = series.read_labels(0, image.label_shape)
    assert again is not None
    np.testing.assert_array_equal(again.labels, image.pixels)
    # label images of others, too
    found = read_labels(path)
    assert found.axes == read_labels(written).axes == 'tzyx'
    np.testing.assert_array_equal(found.labels, again.labels)


def test_a_time_series_of_one_frame_is_a_plane(tmp_path: Path) -> None:
    path = tmp_path / 'one.tif'
    tifffile.imwrite(
        path, np.zeros((1, 6, 8), np.uint16), metadata={'axes': 'TYX'}
    )
    assert read_image_array(path).axes == 'yx'


def test_a_file_can_be_shortened_while_its_image_is_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, squares())
    series = Series.open([path])
    image = series.read_image(0)
    saved = series.save_labels(0, squares().astype(np.uint16))
    labels = series.read_labels(0, squares().shape)
    assert labels is not None
    # in place: the system would end the program at the next look at it
    for each in (path, saved):
        os.truncate(each, 0)
    assert np.array_equal(image.pixels, squares())
    assert np.array_equal(labels.labels, squares())


def test_unreadable_images(tmp_path: Path) -> None:
    path = tmp_path / 'a.tif'
    path.write_bytes(b'no tiff')
    with pytest.raises(ImageError, match='a.tif is not a TIFF'):
        read_image_array(path)
    path.write_bytes(b'')
    with pytest.raises(ImageError, match='a.tif.*the file is empty'):
        read_image_array(path)
    tifffile.imwrite(path, squares())
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ImageError, match='damaged or incomplete'):
        read_image_array(path)


def test_pixel_sizes_go_to_the_labels(
    tmp_path: Path, labels: np.ndarray
) -> None:
    tifffile.imwrite(
        tmp_path / 'a.tif',
        squares(),
        imagej=True,
        resolution=(2, 4),
        metadata={'unit': 'um'},
    )
    series = Series.open([tmp_path / 'a.tif'])
    image = series.read_image(0)
    assert image.scale == (0.25, 0.5)
    path = series.save_labels(0, labels, image=image)
    assert read_image_array(path).scale == (0.25, 0.5)


# segment everything


def test_segment_all_images_but_those_with_labels(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    series.save_labels(1, labels)
    model = OracleSam()
    steps: list[tuple[int, int]] = []
    result = segment_series(
        series,
        model,
        QUICK,
        progress=lambda done, total, text: steps.append((done, total)),
    )
    assert result.done == [0, 2]
    assert result.skipped == [1]
    assert result.text == (
        '4 objects in 2 images. 1 image skipped: labelled, done or flagged.'
    )
    images = [done // 1000 for done, _ in steps]
    assert images == sorted(images)
    assert {total for _, total in steps} == {3000}
    found = series.read_labels(2, (96, 128))
    assert found is not None
    assert found.table is not None
    assert len(np.unique(found.labels)) == 3
    assert found.table['score'].notna().all()
    # nothing is left to do for another run
    assert segment_series(series, model, QUICK).done == []


def test_the_channel_is_told(tmp_path: Path) -> None:
    empty = np.zeros_like(squares())
    tifffile.imwrite(
        tmp_path / 'a.tif',
        np.stack([squares(), empty]),
        metadata={'axes': 'CYX'},
    )
    tifffile.imwrite(tmp_path / 'b.tif', squares())
    series = Series.open(tmp_path)
    failed = segment_series(series, OracleSam(), QUICK, channel=2)
    assert failed.done == [1]
    assert failed.failed == {
        0: 'The image has no channel 2: it has 2, counted from 0.'
    }
    result = segment_series(series, OracleSam(), QUICK)
    assert result.done == [0]
    assert result.text == (
        '2 objects in 1 image. Channel 0 was segmented in 1 image with '
        'several channels. 1 image skipped: labelled, done or flagged.'
    )
    result.leave_out(0, 2)
    assert result.text == (
        '0 objects in 0 images. 2 images skipped: labelled, done or flagged.'
    )


def test_broken_images_do_not_stop_the_others(folder: Path) -> None:
    (folder / 'b.tif').write_bytes(b'broken')
    series = Series.open(folder)
    result = segment_series(series, OracleSam(), QUICK)
    assert result.done == [0, 2]
    assert list(result.failed) == [1]
    assert 'b.tif' in result.failed[1]
    assert '1 image failed' in result.text


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_images_of_which_three_are_broken(tmp_path: Path) -> None:
    broken = (3, 500, 999)
    for number in range(1000):
        path = tmp_path / f'{number:04}.tif'
        tifffile.imwrite(path, squares(number % 7))
        if number in broken:
            os.truncate(path, 100)
    series = Series.open(tmp_path)
    result = segment_series(series, OracleSam(), QUICK)
    assert sorted(result.failed) == list(broken)
    assert len(result.done) == 997
    assert result.objects == 2 * 997
    again = Series.open(tmp_path)
    assert len(again.uncertain()) == 2 * 997
    assert segment_series(again, OracleSam(), QUICK).done == []


def test_a_model_that_raises_is_told(folder: Path) -> None:
    model = OracleSam()

    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    model.encode = fail  # type: ignore[method-assign,assignment]
    result = segment_series(Series.open(folder), model, QUICK)
    assert sorted(result.failed) == [0, 1, 2]
    assert not (folder / 'labels').exists()


def test_cancelling_keeps_finished_images(folder: Path) -> None:
    series = Series.open(folder)
    finished: list[int] = []
    result = segment_series(
        series,
        OracleSam(),
        QUICK,
        on_image=finished.append,
        cancelled=lambda: len(finished) == 1,
    )
    assert not result.complete
    assert result.done == [0]
    assert result.text.startswith('Stopped. 2 objects in 1 image.')
    # the same again goes on
    assert segment_series(series, OracleSam(), QUICK).done == [1, 2]


def test_planes_of_a_stack(tmp_path: Path) -> None:
    path = tmp_path / 'stack.tif'
    stack = np.stack([squares(), squares(8)])
    tifffile.imwrite(path, stack, metadata={'axes': 'ZYX'})
    series = Series.open([path])
    assert segment_series(series, OracleSam(), QUICK).objects == 4
    found = series.read_labels(0, (2, 96, 128))
    assert found is not None
    assert [len(np.unique(plane)) for plane in found.labels] == [3, 3]
    assert len(np.unique(found.labels)) == 5
    assert found.table is not None
    assert found.table['plane'].tolist() == [0, 0, 1, 1]


def test_planes_without_a_finite_pixel_have_no_objects(tmp_path: Path) -> None:
    plane = squares().astype(np.float32)
    blank = np.full_like(plane, np.nan)
    for name, stack in {'a': [blank, plane], 'b': [blank, blank]}.items():
        tifffile.imwrite(
            tmp_path / f'{name}.tif', np.stack(stack), metadata={'axes': 'ZYX'}
        )
    series = Series.open(tmp_path)
    result = segment_series(series, OracleSam(), QUICK)
    assert (result.done, result.objects) == ([0], 2)
    assert 'no finite pixel' in result.failed[1]
    found = series.read_labels(0, (2, 96, 128))
    assert found is not None
    assert not found.labels[0].any()


def test_the_command_line_leaves_edited_labels_alone(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open(folder)
    series.save_labels(0, labels)
    again = Series.open(folder)
    assert again[0].files.done() is not None
    edit(again[0].labels, labels)
    assert again[0].files.done() is None


# several windows, and files that change meanwhile


def test_two_windows_never_replace_the_labels_of_each_other(
    folder: Path, labels: np.ndarray
) -> None:
    Series.open(folder).save_labels(0, labels)
    one, other = Series.open(folder), Series.open(folder)
    one.read_labels(0, (96, 128))
    other.read_labels(0, (96, 128))
    theirs = other.save_labels(0, 2 * labels)
    os.utime(theirs)
    other.read_labels(0, (96, 128))
    other.mark(0, 'flagged')
    path = one.save_labels(0, 3 * labels)
    assert path.name == 'a_labels.2.tif'
    assert tifffile.imread(theirs).max() == 8
    assert tifffile.imread(path).max() == 12
    # what the other window noted is kept
    assert Series.open(folder)[0].status == 'flagged'
    # each goes on with its own file
    assert other.save_labels(0, labels) == theirs
    assert one.save_labels(0, labels) == path


def test_labels_made_by_another_window_meanwhile(
    folder: Path, labels: np.ndarray
) -> None:
    one, other = Series.open(folder), Series.open(folder)
    assert one.read_labels(0, (96, 128)) is None
    theirs = other.save_labels(0, labels)
    content = theirs.read_bytes()
    assert one.save_labels(0, 2 * labels) != theirs
    assert theirs.read_bytes() == content
    # labels of another window that were read are gone on with
    other.save_labels(1, labels)
    assert one.read_labels(1, (96, 128)) is not None
    assert one.save_labels(1, labels).name == 'b_labels.tif'


def test_labels_are_kept_if_the_image_is_replaced(
    folder: Path, labels: np.ndarray
) -> None:
    path = Series.open(folder).save_labels(0, labels)
    content = path.read_bytes()
    tifffile.imwrite(folder / 'a.tif', squares()[:64])
    series = Series.open(folder)
    with pytest.raises(SeriesError, match='the file is kept, and new'):
        series.read_labels(0, (64, 128))
    assert series.save_labels(0, labels[:64]).name == 'a_labels.2.tif'
    assert path.read_bytes() == content


def test_broken_links_and_folders_among_images(folder: Path) -> None:
    (folder / 'd.tif').symlink_to(folder / 'gone.tif')
    (folder / 'e.tif').mkdir()
    # as macOS leaves on other disks
    (folder / '._a.tif').write_bytes(b'no image')
    series = Series.open(folder)
    assert [entry.name for entry in series][3:] == ['d.tif']
    with pytest.raises(ImageError, match=r'd\.tif'):
        series.read_image(3)
    with pytest.raises(SeriesError, match='There is no file'):
        Series.open([folder / 'a.tif', folder / 'x.tif'])


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ('{name.x}', 'a valid pattern'),
        ('{name[x]}', 'a valid pattern'),
        ('{}', 'a valid pattern'),
        ('{', 'a valid pattern'),
        ('{x}', 'a valid pattern'),
        ('a/{name}', 'a valid file name'),
        ('', 'a valid file name'),
    ],
)
def test_patterns_that_are_none(
    folder: Path, names: str, message: str
) -> None:
    with pytest.raises(SeriesError, match=f'not {message}'):
        Series.open(folder, names=names)


def test_arguments_of_another_kind(folder: Path) -> None:
    with pytest.raises(SeriesError, match='images is 3: give files'):
        Series.open(3)  # type: ignore[arg-type]
    series = Series.open(folder)
    labels = squares()
    with pytest.raises(SeriesError, match='no column “label”'):
        series.save_labels(0, labels, pd.DataFrame({'score': [1.0]}))
    assert not (folder / 'labels').exists()


def test_one_run_at_a_time_writes_to_a_folder(folder: Path) -> None:
    series = Series.open(folder)
    with (
        series_lock(series.folder),
        pytest.raises(OutputInUseError, match=f'process {os.getpid()}'),
    ):
        segment_series(series, OracleSam(), QUICK)
    assert segment_series(series, OracleSam(), QUICK).done == [0, 1, 2]


def test_a_run_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    output = tmp_path / 'new' / 'out'
    with pytest.raises(KeyboardInterrupt), series_lock(output):
        raise KeyboardInterrupt
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    series = Series.open(folder, tmp_path / 'out')
    (tmp_path / 'out').write_text('a file', 'utf-8')
    with pytest.raises(SeriesError, match='cannot write to'):
        segment_series(series, OracleSam(), QUICK)


@pytest.mark.parametrize('number', [-1, 3, 1.0, 'a', None])
def test_images_that_are_not_there(folder: Path, number: object) -> None:
    series = Series.open(folder)
    for command in (
        lambda: series[number],
        lambda: series.mark(number, 'done'),
        lambda: series.read_image(number),
        lambda: series.save_labels(number, squares()),
    ):
        with pytest.raises(SegmentationError, match='number is'):
            command()


def test_labels_of_another_shape_are_not_saved(folder: Path) -> None:
    series = Series.open(folder)
    with pytest.raises(SeriesError, match=r'\(5, 5\), but the image'):
        series.save_labels(0, np.ones((5, 5), np.int32))
    # those of an image that is gone are
    (folder / 'a.tif').unlink()
    assert series.save_labels(0, np.ones((5, 5), np.int32)).exists()


def test_what_another_window_noted_is_left_as_it_is(folder: Path) -> None:
    one, other = Series.open(folder), Series.open(folder)
    other.mark(1, 'flagged')
    result = segment_series(one, OracleSam(), QUICK)
    assert 1 in result.skipped
    assert 1 not in result.done
    assert one[1].status == 'flagged'
    # without a record in the folder, the one read before is left
    one[1].files.record.unlink()
    assert one[1].newest_record['status'] == 'flagged'


def test_reviewed_numbers_are_those_of_objects_that_are_there(
    folder: Path, labels: np.ndarray
) -> None:
    series = Series.open([folder])
    numbers = [n for n in np.unique(labels).tolist() if n]
    table = pd.DataFrame({'label': numbers, 'score': 0.5})
    series.save_labels(0, labels, table)
    series.review(0, numbers)
    assert series.uncertain() == []
    last = numbers[-1]
    series.save_labels(0, np.where(labels == last, 0, labels), table[:-1])
    # another object gets the number
    series.save_labels(0, labels, table)
    assert [each.label for each in series.uncertain()] == [last]
    # segmented anew
    series.review(0, [last])
    series[0].labels.unlink()
    again = Series.open([folder])
    again.save_labels(0, labels, table)
    assert [each.label for each in again.uncertain()] == numbers
