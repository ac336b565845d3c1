"""Embeddings on disk: found again, bounded, whatever happens to the files."""

from __future__ import annotations

import io
import multiprocessing
import os

import numpy as np
import pytest
import torch
import xxhash

import napari_mobilesam as nm
from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.segmentation import embedding_cache
from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache
from napari_mobilesam.types import Frame, ModelRecord

FRAME = Frame.of((8, 8), (0, 0, 8, 8), 64)


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)


def features(seed):
    torch.manual_seed(seed)
    return torch.randn(1, 256, 4, 4)


def refused():
    raise AssertionError('the model was run')


def size_of_one(folder):
    cache = EmbeddingCache(folder)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    size = cache.use().size_bytes
    cache.clear()
    return size


def test_second_visit_gives_the_same_bits_without_the_model(tmp_path):
    first = EmbeddingCache(tmp_path).features(
        pixels(0), FRAME, 'm', lambda: features(0)
    )
    again = EmbeddingCache(tmp_path).features(pixels(0), FRAME, 'm', refused)
    assert torch.equal(first, again)


def test_blocks_and_windows_of_the_same_pixels_are_told_apart(tmp_path):
    model = build_sam(
        'vit_t', record=ModelRecord('tiny', input_size=64)
    ).eval()
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    predictor = nm.Predictor(model, nm.EmbeddingCache(tmp_path))
    predictor.embed(image).decoder_block((32, 32), 16)
    window = predictor.embed_window(image)
    assert window.features.dtype == torch.float32
    alone = nm.Predictor(model).embed_window(image)
    assert torch.equal(window.features, alone.features)


@pytest.mark.parametrize(
    'changed',
    [
        (pixels(1), FRAME, 'm'),
        (pixels(0), Frame.of((16, 8), (0, 0, 16, 8), 64), 'm'),
        (pixels(0), FRAME, 'another model'),
    ],
    ids=['pixels', 'frame', 'model'],
)
def test_anything_else_is_another_entry(tmp_path, changed):
    cache = EmbeddingCache(tmp_path)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    found = cache.features(*changed, lambda: features(1))
    assert torch.equal(found, features(1))
    assert cache.use().entries == 2


def test_predictor_embeds_an_image_once(tmp_path, monkeypatch):
    model = build_sam(
        'vit_t', record=ModelRecord('tiny', input_size=64)
    ).eval()
    image = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
    first = nm.Predictor(model, nm.EmbeddingCache(tmp_path)).embed_window(
        image
    )
    monkeypatch.setattr(model, 'encode', lambda batch: refused())
    again = nm.Predictor(model, nm.EmbeddingCache(tmp_path)).embed_window(
        image
    )
    assert torch.equal(first.features, again.features)
    assert first.frame == again.frame


@pytest.mark.parametrize('damage', ['cut', 'flip', 'empty'])
def test_damaged_entry_is_made_anew(tmp_path, damage):
    cache = EmbeddingCache(tmp_path)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == 'flip':
        content[-5] ^= 1
    path.write_bytes(
        {'cut': content[:-7], 'flip': content, 'empty': b''}[damage]
    )
    found = cache.features(pixels(0), FRAME, 'm', lambda: features(3))
    assert torch.equal(found, features(3))
    again = cache.features(pixels(0), FRAME, 'm', refused)
    assert torch.equal(again, features(3))


def test_least_recently_used_goes_first(tmp_path):
    cache = EmbeddingCache(tmp_path, 2 * size_of_one(tmp_path))
    for seed in (0, 1):
        cache.features(pixels(seed), FRAME, 'm', lambda: features(0))
        for age, path in enumerate(tmp_path.iterdir()):
            os.utime(path, (1000 + age, 1000 + age))
    cache.features(pixels(0), FRAME, 'm', refused)
    cache.features(pixels(2), FRAME, 'm', lambda: features(0))
    assert cache.use().entries == 2
    cache.features(pixels(0), FRAME, 'm', refused)
    with pytest.raises(AssertionError, match='model was run'):
        cache.features(pixels(1), FRAME, 'm', refused)


def test_an_entry_larger_than_the_cache_is_not_kept(tmp_path):
    cache = EmbeddingCache(tmp_path, 100)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    assert cache.use().entries == 0


def test_clear_empties_it_and_leaves_other_files(tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    (tmp_path / 'notes.txt').write_text('mine', 'utf-8')
    cache.clear()
    assert cache.use() == (embedding_cache.CacheUse(0, 0))
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_file_of_a_killed_process_is_swept(tmp_path):
    part = tmp_path / 'x.part'
    part.write_bytes(b'half')
    os.utime(part, (1, 1))
    fresh = tmp_path / 'y.part'
    fresh.write_bytes(b'being written')
    EmbeddingCache(tmp_path).use()
    assert not part.exists()
    assert fresh.exists()


def test_full_disk_is_told_once_and_does_not_stop_anything(
    tmp_path, monkeypatch
):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(embedding_cache.os, 'replace', full)
    told = []
    cache = EmbeddingCache(tmp_path, on_problem=told.append)
    for seed in (0, 1):
        found = cache.features(
            pixels(seed), FRAME, 'm', lambda seed=seed: features(seed)
        )
        assert torch.equal(found, features(seed))
    assert len(told) == 1
    assert 'No space left' in told[0]
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_a_warning(tmp_path):
    blocker = tmp_path / 'file'
    blocker.write_text('', 'utf-8')
    cache = EmbeddingCache(blocker / 'below')
    with pytest.warns(UserWarning, match='Embeddings cannot be kept'):
        cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    assert cache.use().entries == 0
    cache.clear()


def _write_many(folder, seed):
    cache = EmbeddingCache(folder, 3 * 17_000)
    for turn in range(30):
        number = (turn + seed) % 5
        found = cache.features(
            pixels(number), FRAME, 'm', lambda number=number: features(number)
        )
        assert torch.equal(found, features(number))


@pytest.mark.slow
def test_two_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context('spawn')
    processes = [
        context.Process(target=_write_many, args=(tmp_path, seed))
        for seed in (0, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert 1 <= EmbeddingCache(tmp_path).use().entries <= 4


@pytest.mark.parametrize(
    'wrong',
    [
        torch.zeros(1, 256, 4, 4, dtype=torch.int64),
        torch.zeros(1, 256, 3, 3),
        torch.zeros(256, 4, 4),
        torch.full((1, 256, 4, 4), torch.nan),
        torch.zeros(1, 256, 4, 4, dtype=torch.float64),
        torch.zeros(1, 7, 4, 4),
    ],
    ids=['integers', 'size', 'dimensions', 'not finite', 'doubles', 'few'],
)
def test_wrong_content_with_a_valid_checksum_is_made_anew(tmp_path, wrong):
    cache = EmbeddingCache(tmp_path)
    cache.features(pixels(0), FRAME, 'm', lambda: wrong)
    found = cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    assert torch.equal(found, features(0))
    again = cache.features(pixels(0), FRAME, 'm', refused)
    assert torch.equal(again, features(0))


@pytest.mark.parametrize('kind', ['>f4', np.longdouble, object, None])
def test_content_that_is_no_array_of_torch_is_made_anew(tmp_path, kind):
    cache = EmbeddingCache(tmp_path)
    cache.features(pixels(0), FRAME, 'm', lambda: features(0))
    (file,) = tmp_path.iterdir()
    buffer = io.BytesIO(b'no array')
    if kind is not None:
        np.save(buffer, np.zeros((1, 256, 4, 4), kind))
    body = buffer.getvalue()
    digest = xxhash.xxh3_128_digest(body)
    file.write_bytes(embedding_cache.FORMAT + digest + body)
    found = cache.features(pixels(0), FRAME, 'm', lambda: features(1))
    assert torch.equal(found, features(1))
