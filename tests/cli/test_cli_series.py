"""``napari-mobilesam segment`` on many images."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import signal
import sys
import time
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from napari_mobilesam.cli import (
    large_options,
    segment_many,
    series_tables,
)
from napari_mobilesam.cli.exit_codes import InputError
from napari_mobilesam.cli.image_files import FilePlane
from napari_mobilesam.cli.kinds import SegmentOutput
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.series.series import Series
from napari_mobilesam.series.series_files import (
    RECORDS,
    SEEN,
    series_lock,
)

from .conftest import Run

# one window: no search for the scale of the objects
OPTIONS = (
    '--whole-image', '--points-per-side', 4,
    '--predicted-iou', 0, '--stability', 0, '--quiet',
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, discs: np.ndarray) -> Path:
    """Three images, and a file that is none."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, name in enumerate(('a', 'b', 'c')):
        tifffile.imwrite(folder / f'{name}.tif', np.roll(discs, 9 * number, 1))
    (folder / 'notes.txt').write_text('no image', 'utf-8')
    return folder


@pytest.fixture
def go(run: Run, tiny_model: Path, tmp_path: Path) -> Any:
    def go(*arguments: object, output: str = 'out') -> Any:
        return run(
            'segment', *arguments, '-o', tmp_path / output,
            '--model', tiny_model, *OPTIONS,
        )  # fmt: skip

    return go


def threshold(options: Any, model: Any, cancelled: Any = None) -> Any:
    """Segment bright discs by a threshold."""
    from scipy.ndimage import label

    from napari_mobilesam.cli.image_files import read_image
    from napari_mobilesam.cli.kinds import SegmentOutput

    pixels = read_image(options.image, options.plane).pixels
    labels, count = label(pixels > 100)
    table = pd.DataFrame({'label': range(1, count + 1)})
    return SegmentOutput(
        lambda path: tifffile.imwrite(path, labels), table, f'{count} objects'
    )


@pytest.fixture
def quick(go: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`go` with a threshold in place of the model."""
    monkeypatch.setattr(segment_many, 'segment_in_series', threshold)
    return go


def test_images_are_counted(
    quick: Any, run: Run, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    done = run('segment', folder, '-o', out, '--model', tiny_model)
    assert done.err.splitlines() == [
        f'Segmented {number} of 3 images' for number in range(4)
    ]


@pytest.mark.slow
def test_folder(
    go: Any, run: Run, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = go(folder, '--table', tmp_path / 'all.parquet')
    assert done.code == 0, done.err
    out = tmp_path / 'out'
    names = [f'{name}_labels.tif' for name in 'abc']
    assert sorted(p.name for p in out.glob('*.tif')) == names
    summary = pd.read_csv(out / 'summary.csv')
    assert summary['status'].tolist() == ['done'] * 3
    assert (summary['objects'] > 0).all()
    for _, row in summary.iterrows():
        one = tmp_path / 'one.tif'
        run('segment', row['image'], '-o', one, '--overwrite',
            '--model', tiny_model, *OPTIONS)  # fmt: skip
        labels = tifffile.imread(row['labels'])
        np.testing.assert_array_equal(labels, tifffile.imread(one))
        assert row['objects'] == len(np.unique(labels[labels > 0]))
    table = pd.read_parquet(tmp_path / 'all.parquet')
    assert len(table) == summary['objects'].sum()


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    done = run('segment', tmp_path / 'gone', '-o', tmp_path / 'out')
    assert done.code == 2
    assert f'There is no file or folder {tmp_path / "gone"}.' in done.err
    assert not (tmp_path / 'out').exists()


def test_a_table_of_an_image_that_is_damaged(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    quick(folder)
    table = tmp_path / 'out' / '.napari-mobilesam' / 'b_labels.tif.csv'
    table.write_bytes(b'')
    done = quick(folder, '--table', tmp_path / 'all.csv')
    assert done.code == 0
    assert f'{table} is empty' in done.err
    assert 'Its objects are not in' in done.err
    found = pd.read_csv(tmp_path / 'all.csv')
    assert not (found['image'] == str(folder / 'b.tif')).any()


def test_goes_on_where_it_was(
    quick: Any, folder: Path, tmp_path: Path, discs: np.ndarray
) -> None:
    quick(folder)
    out = tmp_path / 'out'
    before = {p: p.stat().st_mtime_ns for p in out.glob('*.tif')}
    # wherever the labels lie
    for record in (out / RECORDS).glob('*_labels.tif.json'):
        known = json.loads(record.read_text())
        known['made_of'][SEEN] = 'elsewhere'
        record.write_text(json.dumps(known))
    again = quick(folder)
    assert again.code == 0
    assert '3 images (3 were done before)' in again.out
    assert before == {p: p.stat().st_mtime_ns for p in out.glob('*.tif')}
    # one image is changed, the labels of another are gone
    tifffile.imwrite(folder / 'a.tif', discs[::-1])
    (out / 'b_labels.tif').unlink()
    assert '(1 was done before)' in quick(folder).out
    assert (out / 'b_labels.tif').exists()


@pytest.mark.slow
def test_labels_of_other_options_are_not_replaced_unasked(
    quick: Any, folder: Path, tmp_path: Path, tiny_model: Path
) -> None:
    quick(folder / 'a.tif', folder / 'b.tif', '--min-area', 20)
    out = tmp_path / 'out'
    before = {path: path.read_bytes() for path in out.glob('*.tif')}
    for given, said in (
        ([], '--min-area was 20 and is not given now'),
        (['--min-area', 20, '--plane', 0], '--plane has changed'),
        (['--min-area', 20, '--output-kind', 'semantic'], '--output-kind was'),
    ):
        refused = quick(folder, *given)
        assert refused.code == 3
        assert 'has the labels of 2 images from a run with' in refused.err
        assert said in refused.err
        assert {path: path.read_bytes() for path in before} == before
    # others may be added with the same ones
    assert '2 were done before' in quick(folder, '--min-area', 20).out
    assert quick(folder, '--overwrite').code == 0
    assert '3 were done before' in quick(folder).out


def test_failures_are_listed_at_the_end(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    (folder / 'b.tif').write_bytes(b'II*\x00 broken')
    tifffile.imwrite(folder / 'stack.tif', np.zeros((5, 40, 40), np.uint8))
    done = quick(folder, tmp_path / 'none.tif')
    assert done.code == 4
    lines = done.err.splitlines()
    assert '3 images failed:' in lines
    failed = lines[lines.index('3 images failed:') + 1 :]
    assert 'b.tif' in failed[0]
    assert '--plane' in failed[1]
    assert 'There is no file' in failed[2]
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['status'].value_counts()['failed'] == 3
    assert summary['status'].value_counts()['done'] == 2
    # mended: only this one is done
    shutil.copy(folder / 'a.tif', folder / 'b.tif')
    assert '(2 were done before)' in quick(folder / 'b.tif', folder).out


def test_files_named_as_labels_are_no_images(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    for name in ('a_cp_masks.png', 'b_labels.tif', 'c_flows.tif'):
        shutil.copy(folder / 'a.tif', folder / name)
    # of no image that is there
    shutil.copy(folder / 'a.tif', folder / 'd_masks.tif')
    # as Cellpose names images and labels
    (folder / 'c.tif').rename(folder / 'c_img.tif')
    done = quick(folder)
    assert done.code == 0, done.err
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    names = [Path(image).name for image in summary['image']]
    assert names == ['a.tif', 'b.tif', 'c_img.tif', 'd_masks.tif']
    assert (
        '3 files named as labels of another image left out: a_cp_masks.png, '
        'b_labels.tif, c_flows.tif'
    ) in done.err
    series = Series.open(folder)
    assert len(series) == 4
    assert '4 images (3 files named as labels left out)' in series.text
    # such files are images if they are given themselves
    given = [folder, folder / 'b_labels.tif']
    done = quick(*given)
    assert '2 files named as labels of another image left out' in done.err
    assert [path.name for path in Series.open(given).left_out] == [
        'a_cp_masks.png',
        'c_flows.tif',
    ]
    assert (tmp_path / 'out' / 'b_labels_labels.tif').exists()


def test_a_large_image_is_refused_whatever_the_series_of_others(
    quick: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_options, 'LARGE_PIXELS', 100)
    done = quick(folder, '--series', 1)
    assert done.code == 4
    assert 'a.tif has to be segmented tile by tile' in done.err


def test_foreign_files_stay(quick: Any, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'a_labels.tif').write_bytes(b'mine')
    done = quick(folder)
    assert done.code == 4
    assert 'a_labels.tif exists' in done.err
    assert (out / 'a_labels.tif').read_bytes() == b'mine'
    assert quick(folder, '--overwrite').code == 0
    (out / 'summary.csv').write_text('mine', 'utf-8')
    assert quick(folder).code == 3
    assert (out / 'summary.csv').read_text('utf-8') == 'mine'


def test_labels_edited_by_hand_are_kept(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    table, out = tmp_path / 'all.csv', tmp_path / 'out'
    quick(folder, '--table', table)
    edited = tifffile.imread(out / 'b_labels.tif')
    edited[edited == 2] = 0
    edited[:2, :3] = 9
    tifffile.imwrite(out / 'b_labels.tif', edited)
    (out / 'c_labels.tif').write_bytes(b'no labels any more')
    for _ in range(2):
        done = quick(folder, '--table', table)
        assert done.code == 0, done.err
        kept = '1 was done before, 2 were kept, edited by hand: --overwrite'
        assert f'6 objects in 3 images ({kept}' in done.out
        assert np.array_equal(tifffile.imread(out / 'b_labels.tif'), edited)
    summary = pd.read_csv(out / 'summary.csv')
    assert summary['status'].tolist() == ['skipped', 'edited', 'edited']
    assert summary['objects'].fillna(-1).tolist() == [3, 3, -1]
    found = pd.read_csv(table)
    found = found[found['image'] == str(folder / 'b.tif')]
    assert found['label'].tolist() == [1, 3, 9]
    assert found['area'].tolist()[-1] == 6


@pytest.mark.slow
def test_labels_of_other_images_stay(
    quick: Any, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    assert quick(folder)[0] == 0
    other = tmp_path / 'plate 2'
    other.mkdir()
    shutil.copyfile(folder / 'b.tif', other / 'a.tif')
    labels = (tmp_path / 'out' / 'a_labels.tif').read_bytes()
    code, _, error = quick(other)
    assert code == 2
    assert f'is for the labels of {folder / "a.tif"}' in error
    assert (tmp_path / 'out' / 'a_labels.tif').read_bytes() == labels
    assert quick(other, '--overwrite')[0] == 0
    assert (tmp_path / 'out' / 'a_labels.tif').read_bytes() != labels


@pytest.mark.slow
def test_labels_put_where_an_image_failed_stay(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    good = (folder / 'b.tif').read_bytes()
    (folder / 'b.tif').write_bytes(good[:200])
    assert quick(folder).code == 4
    theirs = tmp_path / 'out' / 'b_labels.tif'
    theirs.write_bytes(b'mine')
    (folder / 'b.tif').write_bytes(good)
    done = quick(folder)
    assert done.code == 4
    assert 'b_labels.tif exists' in done.err
    assert theirs.read_bytes() == b'mine'


@pytest.mark.slow
def test_a_table_of_others_stays(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'all.csv'
    table.write_text('mine', 'utf-8')
    done = quick(folder, '--table', table)
    assert done.code == 3
    assert 'all.csv exists' in done.err
    assert table.read_text('utf-8') == 'mine'
    assert quick(folder, '--table', table, '--overwrite').code == 0
    # its own table may grow
    assert quick(folder, '--table', table).code == 0


@pytest.mark.slow
def test_a_table_that_comes_meanwhile_stays(
    quick: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / 'all.csv'

    def slow(options: Any, model: Any, _: Any) -> Any:
        table.write_text('mine')
        return threshold(options, model)

    monkeypatch.setattr(segment_many, 'segment_in_series', slow)
    done = quick(folder, '--table', table)
    assert done.code == 3
    assert f'{table} exists and was not written by this command' in done.err
    assert table.read_text() == 'mine'
    # the labels are there
    assert quick(folder, '--table', tmp_path / 'other.csv').code == 0
    assert len(pd.read_csv(tmp_path / 'other.csv'))


def test_stopped_between_labels_and_record(
    quick: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException): ...

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(segment_many.SeriesImage, 'finish', killed)
        with pytest.raises(Killed):
            quick(folder)
    assert list((tmp_path / 'out').glob('*_labels.tif'))
    done = quick(folder)
    assert done.code == 0, done.err


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(
    quick: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = segment_many.segment_in_series
    calls = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(segment_many, 'segment_in_series', interrupted)
        assert quick(folder).code == 130
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['status'].tolist()[0] == 'done'
    assert 'to do' in summary['status'].tolist()
    assert quick(folder).code == 0


@pytest.mark.skipif(sys.platform == 'win32', reason='os.kill ends it there')
@pytest.mark.parametrize('presses', [1, 2])
def test_ctrl_c_is_answered_at_once(
    quick: Any,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    presses: int,
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    said = []

    def pressed(options: Any, model: Any, cancelled: Any) -> Any:
        for _ in range(presses):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        said.append(capsys.readouterr().err)
        assert cancelled() == (presses == 2)
        return threshold(options, model)

    with monkeypatch.context() as patch:
        patch.setattr(segment_many, 'segment_in_series', pressed)
        patch.setattr(segment_many, 'ProgressLine', lambda **_: ProgressLine())
        done = quick(folder)
    signal.signal(signal.SIGINT, before)
    assert done.code == 130
    assert 'stopping after the current images' in said[0]
    # the first one finishes the image, the second one drops it
    labels = list((tmp_path / 'out').glob('*_labels.tif'))
    assert len(labels) == len(said) - (presses - 1) == 2 - presses
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['status'].tolist().count('to do') == 1 + presses
    if presses == 1:
        assert 'stopped: 2 images to do; the same command' in done.err
        assert '1 was done before' in quick(folder).out


@pytest.mark.slow
def test_what_ends_after_ctrl_c_is_done(
    quick: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(tasks: Any) -> Any:
        wait(tasks)
        raise KeyboardInterrupt

    monkeypatch.setattr(segment_many, 'as_completed', stopped)
    assert quick(folder).code == 130
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['status'].tolist() == ['done'] * 3
    assert len(list((tmp_path / 'out').glob('*_labels.tif'))) == 3


@pytest.mark.slow
def test_names(quick: Any, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / 'other'
    other.mkdir()
    shutil.copy(folder / 'a.tif', other / 'a.tif')
    done = quick(folder, other)
    assert done.code == 2
    assert 'would both be written to' in done.err
    assert 'example {folder}_{name}.tif' in done.err
    assert not (tmp_path / 'out').exists()
    done = quick(folder, other, '--names', '{folder}-{name}-{number}.tif')
    assert done.code == 0, done.err
    names = sorted(p.name for p in (tmp_path / 'out').glob('*.tif'))
    assert names == [
        'images-a-1.tif',
        'images-b-2.tif',
        'images-c-3.tif',
        'other-a-4.tif',
    ]


@pytest.mark.slow
def test_one_name_with_two_suffixes(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / 'a.tif', folder / 'a.tiff')
    done = quick(folder)
    assert done.code == 2
    assert 'example {name}_{suffix}.tif' in done.err
    done = quick(folder, '--names', '{name}_{suffix}.tif')
    assert done.code == 0, done.err
    assert (tmp_path / 'out' / 'a_tiff.tif').exists()
    assert (tmp_path / 'out' / 'a_tif.tif').exists()


def test_no_output_is_an_image(
    quick: Any, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / 'b.tif', folder / 'a2.tif')
    before = {path: path.read_bytes() for path in folder.iterdir()}
    names = ('--names', '{name}2.tif', '--overwrite')
    done = quick(folder, *names, output='images')
    assert done.code == 2
    assert 'a2.tif is an input' in done.err
    done = quick(folder, '--table', folder / 'b.tif', '--overwrite')
    assert done.code == 2
    assert 'must end in .csv' in done.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize('table', ['summary.csv', 'a_outlines.csv'])
def test_a_table_is_a_file_of_its_own(
    quick: Any, folder: Path, tmp_path: Path, table: str
) -> None:
    done = quick(
        folder, '--output-kind', 'outlines', '--names', '{name}_outlines.csv',
        '--table', tmp_path / 'out' / table,
    )  # fmt: skip
    assert done.code == 2
    assert f'{table} is another output of this run' in done.err


@pytest.mark.slow
def test_labels_beside_their_images_are_no_images(
    quick: Any, folder: Path
) -> None:
    assert '9 objects in 3 images' in quick(folder, output='images').out
    (folder / 'b_labels.tif').unlink()
    shutil.copy(folder / 'c_labels.tif', folder / 'b_labels.tif')
    done = quick(folder, '--overwrite', output='images')
    assert '9 objects in 3 images' in done.out


@pytest.mark.skipif(
    sys.platform in ('darwin', 'win32'), reason='all names are Unicode there'
)
def test_names_that_are_no_text(
    quick: Any, run: Run, folder: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(b'odd\xff')
    shutil.copy(folder / 'a.tif', folder / f'{odd}.tif')
    (folder / f'{odd}2.tif').write_bytes(b'no image')
    done = quick(folder, '--table', tmp_path / f'{odd}.csv')
    assert '12 objects in 4 images' in done.out
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['image'].str.endswith(r'odd\udcff.tif').sum() == 1
    labels = tmp_path / 'out' / f'{odd}_labels.tif'
    for suffix in ('.geojson', '.json', '.zip', '.zarr'):
        outlines = tmp_path / f'{odd}{suffix}'
        assert run('export', labels, '-o', outlines).code == 0


@pytest.mark.slow
def test_the_channel_is_told(
    go: Any, folder: Path, discs: np.ndarray, tmp_path: Path
) -> None:
    tifffile.imwrite(
        folder / 'a.tif',
        np.stack([discs, discs // 2]),
        metadata={'axes': 'CYX'},
    )
    done = go(folder)
    assert done.code == 0, done.err
    told = 'of 1 image with several channels was segmented: --channel'
    assert f'Channel 0 {told}' in done.out
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['channel'].fillna(-1).tolist() == [0, -1, -1]
    # of a file with one channel, it is that one
    done = go(folder, '--channel', 1, '--overwrite')
    assert done.code == 0, done.err
    assert told not in done.out
    summary = pd.read_csv(tmp_path / 'out' / 'summary.csv')
    assert summary['channel'].fillna(-1).tolist() == [1, -1, -1]
    done = go(folder, '--channel', 2, '--overwrite')
    assert done.code == 4
    assert 'a.tif has no channel' in done.err
    done = go(folder, '--channel', 'x')
    assert done.code == 2
    assert "'x' is not a whole number, 0 or more" in done.err


@pytest.mark.parametrize(
    ('mode', 'channels'), [('L', 1), ('LA', 1), ('RGB', 3), ('RGBA', 4)]
)
def test_gray_and_colours_are_segmented_as_they_are(
    mode: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / 'a.png', []

    def job(_: object, image: FilePlane, *others: object, **more: Any) -> Any:
        seen.append(image)
        found = SegmentOutput(lambda path: None, None, '')
        return SimpleNamespace(everything=lambda: found)

    monkeypatch.setattr(segment_many, 'SegmentJob', job)
    Image.new(mode, (30, 20)).save(path)
    options = argparse.Namespace(
        image=path, plane=None, series=None, channel=1, contrast_limits=None
    )
    result = segment_many.segment_in_series(options, Any, lambda: False)
    assert result.channel is None
    shape = (20, 30) if channels == 1 else (20, 30, channels)
    assert seen[0].pixels.shape == shape


def test_a_plane_is_that_of_stacks_among_gray_images(
    discs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def job(_: object, image: FilePlane, *others: object, **more: Any) -> Any:
        seen.append(image.pixels)
        found = SegmentOutput(lambda path: None, None, '')
        return SimpleNamespace(everything=lambda: found)

    def segment_file(path: Path, plane: tuple[int, ...] | None) -> None:
        options = argparse.Namespace(
            image=path,
            plane=plane,
            series=None,
            channel=None,
            contrast_limits=None,
        )
        segment_many.segment_in_series(options, Any, lambda: False)

    monkeypatch.setattr(segment_many, 'SegmentJob', job)
    stack, gray = tmp_path / 'stack.tif', tmp_path / 'gray.png'
    planes = np.stack([discs, discs[::-1], discs[:, ::-1]])
    tifffile.imwrite(stack, planes, imagej=True, metadata={'axes': 'ZYX'})
    Image.fromarray(discs).save(gray)
    for path, expected in ((stack, planes[2]), (gray, discs)):
        segment_file(path, (2,))
        np.testing.assert_array_equal(seen[-1], expected)
    with pytest.raises(InputError, match='alone, with an output that ends in'):
        segment_file(stack, None)


def test_a_choice_may_be_given_once_images_have_failed(
    go: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(_: object, image: FilePlane, *others: object, **more: Any) -> Any:
        labels = (image.pixels > 100).astype(np.uint16)
        found = SegmentOutput(
            lambda path: tifffile.imwrite(path, labels), None, ''
        )
        return SimpleNamespace(everything=lambda: found)

    monkeypatch.setattr(segment_many, 'SegmentJob', job)
    planes = np.arange(2, dtype=np.uint8)[:, None, None] * np.full(
        (40, 40), 200, np.uint8
    )
    for name, axes in (('stack', 'ZYX'), ('channels', 'CYX')):
        tifffile.imwrite(
            folder / f'{name}.tif',
            planes,
            imagej=True,
            metadata={'axes': axes},
        )
    for plane in planes:
        tifffile.imwrite(folder / 'two.tif', plane[:, :-1], append=True)
        tifffile.imwrite(folder / 'two.tif', plane, append=True)
    failed = go(folder)
    assert failed.code == 4
    assert 'choose one with --plane 0' in failed.err
    assert '--series 0' in failed.err
    done = go(folder, '--plane', 1)
    assert done.code == 4
    assert '5 images (4 were done before)' in done.out
    done = go(folder, '--plane', 1, '--series', 1)
    assert done.code == 0, done.err
    assert '6 images (5 were done before)' in done.out
    out = tmp_path / 'out'
    assert tifffile.imread(out / 'stack_labels.tif').all()
    assert not tifffile.imread(out / 'channels_labels.tif').any()
    assert tifffile.imread(out / 'two_labels.tif').shape == (40, 40)
    # what they have changed is not replaced unasked
    same = {'--plane': 1, '--series': 1}
    for other in ({'--plane': 0}, {'--series': 3}, {'--channel': 1}):
        given = same | other
        refused = go(
            folder, *(part for item in given.items() for part in item)
        )
        assert refused.code == 3
        assert '1 image from a run with other options' in refused.err


@pytest.mark.slow
@pytest.mark.parametrize('workers', [1, 3])
def test_workers_make_no_difference(
    workers: int, go: Any, folder: Path, tmp_path: Path
) -> None:
    go(folder)
    out = tmp_path / 'out'
    expected = {p.name: tifffile.imread(p) for p in out.glob('*.tif')}
    shutil.rmtree(out)
    assert go(folder, '--workers', workers).code == 0
    for name, labels in expected.items():
        np.testing.assert_array_equal(tifffile.imread(out / name), labels)


def test_bad_usage(go: Any, folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / 'empty'
    empty.mkdir()
    for arguments, message in (
        ((folder, empty), 'is a folder without images'),
        ((folder, '--point', '3,4'), '--point is only for one image'),
        ((folder, '--channels', '0'), '--channels is only for one image'),
        ((folder, '--no-link'), '--no-link is only for one image'),
        ((folder, '--min-area', '-1'), 'min_area is -1'),
        ((folder, '--names', '{x}.tif'), 'are not a valid pattern'),
        ((folder, '--names', 'a/{name}.tif'), 'is not a valid file name'),
        ((folder, '--names', 'one.tif'), 'would both be written'),
        ((folder, '--names', '{name}.jpg'), 'give a file that ends in'),
        (
            (folder / 'a.tif', '--names', '{name}.tif'),
            '--names is for many images',
        ),
        ((folder / 'd', '--names', '{name}.tif'), 'no file or folder'),
    ):
        done = go(*arguments)
        assert done.code == 2
        assert message in done.err
        assert not (tmp_path / 'out').exists()
    done = go(folder, output='out.tif')
    assert done.code == 2
    assert 'is a file name: give a folder' in done.err
    assert not (tmp_path / 'out.tif').exists()
    (tmp_path / 'out').write_text('a file', 'utf-8')
    done = go(folder)
    assert done.code == 3
    assert 'is a file' in done.err


@pytest.mark.slow
@pytest.mark.parametrize('count', [100, 1000])
@pytest.mark.timeout(3600)
def test_many_images(
    quick: Any, tmp_path: Path, discs: np.ndarray, count: int
) -> None:
    """Three files are broken."""
    folder = tmp_path / 'many'
    folder.mkdir()
    broken = (17, 50, count - 1)
    for number in range(count):
        path = folder / f'{number:04}.tif'
        tifffile.imwrite(path, discs)
        if number in broken:
            os.truncate(path, 100)
    done = quick(folder, '--workers', 2)
    assert done.code == 4
    good = count - len(broken)
    assert f'{3 * good:,} objects in {good} images' in done.out
    assert '3 images failed' in done.err
    for number in broken:
        assert f'{number:04}.tif' in done.err
    labels = list((tmp_path / 'out').glob('*_labels.tif'))
    assert len(labels) == good
    assert f'({good} were done before)' in quick(folder, '--workers', 2).out


@pytest.mark.slow
def test_one_run_at_a_time(quick: Any, folder: Path, tmp_path: Path) -> None:
    with series_lock(tmp_path / 'out'):
        refused = quick(folder)
    assert refused.code == 3
    assert 'in use by another run' in refused.err
    assert quick(folder).code == 0


def test_what_was_written_is_told_though_the_disk_is_full(
    quick: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(series_tables, '_write_table', full)
        done = quick(folder)
    assert done.code == 3
    assert 'in 3 images' in done.out
    assert 'There is no space left' in done.err
    assert len(list((tmp_path / 'out').glob('*_labels.tif'))) == 3
    again = quick(folder)
    assert again.code == 0
    assert '3 were done before' in again.out
