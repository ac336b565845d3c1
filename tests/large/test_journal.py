from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mobilesam.large.journal import (
    Journal,
    JournalError,
    MaskRecordReader,
    Record,
    StorageError,
)
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.types import Mask

PLANE = hnp.arrays(
    bool, st.tuples(st.integers(1, 12), st.integers(1, 12))
).filter(np.any)
FRACTION = st.floats(0, 1)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    origin = draw(st.tuples(st.integers(0, 99), st.integers(0, 99)))
    data, box = crop_to_mask(draw(PLANE), origin)
    return Mask(
        data,
        box,
        draw(FRACTION),
        draw(FRACTION),
        (draw(FRACTION), draw(FRACTION)),
        (0, 0, 128, 128),
    )


def one_mask(area: int = 4) -> Mask:
    data = np.ones((1, area), bool)
    return Mask(data, (3, 5, 4, 5 + area), 0.5, 0.75, (3.0, 5.0), (0, 0, 9, 9))


def record_of(*found: Mask) -> Record:
    return Record.of(found, np.zeros(len(found), bool))


@pytest.mark.slow
@given(st.lists(masks(), max_size=5))
def test_records_come_back_as_they_were(found):
    cut = np.arange(len(found)) % 2 == 0
    record = Record.of(found, cut)
    back = Record.from_bytes(record.to_bytes())
    assert len(back) == len(found)
    np.testing.assert_array_equal(back.cut, cut)
    for index, mask in enumerate(found):
        same = back.mask(index)
        np.testing.assert_array_equal(same.data, mask.data)
        assert same.data.dtype == bool
        assert same.box == mask.box
        assert same.point == mask.point
        assert same.crop_box == mask.crop_box
        assert (same.score, same.stability) == (mask.score, mask.stability)
        assert back.areas[index] == mask.area


def test_equal_records_are_equal_bytes():
    assert record_of(one_mask()).to_bytes() == record_of(one_mask()).to_bytes()


def test_a_torn_or_damaged_record_is_as_if_not_there(tmp_path):
    journal = Journal(tmp_path)
    journal.write('p0/r0', record_of(one_mask()))
    path = journal.path('p0/r0')
    whole = path.read_bytes()
    assert journal.read('p0/r0') is not None
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place])
        assert journal.read('p0/r0') is None
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        assert journal.read('p0/r0') is None


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    manifest = {
        'model': 'a',
        'parameters': {'diameter': 30},
        'plan': {'grain': 25},
    }
    Journal(tmp_path).open(manifest)
    Journal(tmp_path).open(manifest)
    with pytest.raises(
        JournalError,
        match=r'run: diameter was 30 and is 40 now\. .* \(--restart\)',
    ):
        Journal(tmp_path).open(
            {**manifest, 'parameters': {'diameter': 40}, 'plan': {'grain': 22}}
        )
    with pytest.raises(JournalError, match='run: grain was 25 and is 22 now'):
        Journal(tmp_path).open({**manifest, 'plan': {'grain': 22}})
    with pytest.raises(JournalError, match="model was 'a' and is 'b' now"):
        Journal(tmp_path).open({**manifest, 'model': 'b'})


def test_a_damaged_manifest_is_told(tmp_path):
    Journal(tmp_path).open({'model': 'a'})
    (tmp_path / 'manifest.json').write_text('{"model":')
    with pytest.raises(JournalError, match='damaged'):
        Journal(tmp_path).open({'model': 'a'})


def test_a_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    journal = Journal(tmp_path / 'records')
    journal.open({'model': 'a'})
    journal.write('p0/a', record_of(one_mask()))

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(StorageError, match='No space left'):
        journal.write('p0/a', record_of())
    with pytest.raises(StorageError, match='No space left'):
        journal.write('p0/b', record_of())
    monkeypatch.undo()
    kept = journal.read('p0/a')
    assert kept is not None
    assert len(kept) == 1
    assert journal.read('p0/b') is None
    files = [p.name for p in tmp_path.rglob('*') if p.is_file()]
    assert sorted(files) == ['a.record', 'manifest.json']


FOREIGN = [
    'notes.txt',
    'p_mine/a.txt',
    'p00000/mine.txt',
    'p00000/mine.record',
    'p00000/mine/c00000.record',
    'p0mine/b.record',
]


@pytest.mark.parametrize('name', FOREIGN)
def test_removing_leaves_what_is_not_ours(tmp_path, name):
    folder = tmp_path / 'records'
    journal = Journal(folder)
    journal.open({'model': 'a'})
    journal.write('p00000/r00000/c00000', record_of(one_mask()))
    journal.write('p00000/again/0fe1', record_of(one_mask()))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('mine')
    journal.remove()
    left = [p for p in folder.rglob('*') if p.is_file()]
    assert left == [folder / name]
    (folder / name).unlink()
    journal.open({'model': 'a'})
    journal.write('p00000/r00000/c00000', record_of(one_mask()))
    journal.remove()
    assert not list(folder.rglob('*.record'))


@pytest.mark.skipif(os.name == 'nt', reason='links need a permission')
@pytest.mark.parametrize('name', ['p00001', 'p00000/r00000'])
def test_removing_follows_no_links(tmp_path, name):
    outside = tmp_path / 'r00000' / 'c00000.record'
    outside.parent.mkdir()
    outside.write_text('mine')
    journal = Journal(tmp_path / 'records')
    journal.open({'model': 'a'})
    link = tmp_path / 'records' / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path if name == 'p00001' else outside.parent)
    journal.remove()
    assert outside.read_text() == 'mine'


def test_a_reader_holds_few_records(tmp_path):
    journal = Journal(tmp_path)
    for number in range(20):
        journal.write(f'p0/{number}', record_of(one_mask(1000 + number)))
    reader = MaskRecordReader(journal, most_bytes=3000)
    for number in [*range(20), 3, 19, 3]:
        data = reader.pixels(f'p0/{number}', 0)
        assert data.shape == (1, 1000 + number)
        assert len(reader._kept) < 20
    journal.path('p0/5').unlink()
    with pytest.raises(JournalError, match='gone or damaged'):
        reader.pixels('p0/5', 0)
