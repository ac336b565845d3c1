"""Cached images open without running the image encoder."""

from __future__ import annotations

import pytest
from fakes import FIRST, blobs, oracle_session

from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache


@pytest.fixture
def sessions(tmp_path):
    made = []

    def make(folder=tmp_path / 'embeddings', max_mb=10):
        session = oracle_session([blobs()])
        session.use_cache(max_mb, folder)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


def encoded(session):
    return session._engine.model('oracle').encoded


@pytest.mark.slow
def test_second_session_embeds_nothing_and_finds_the_same(sessions):
    first, second = sessions(), sessions()
    before = first.click(*FIRST)
    after = second.click(*FIRST)
    assert encoded(first) > 0
    assert encoded(second) == 0
    assert before.mask.box == after.mask.box
    assert (before.mask.data == after.mask.data).all()
    assert before.mask.score == after.mask.score


@pytest.mark.slow
def test_cleared_cache_is_empty_on_the_disk_too(sessions, tmp_path):
    session = sessions()
    session.click(*FIRST)
    once = encoded(session)
    session.clear_cache()
    session.finish(20)
    assert EmbeddingCache(tmp_path / 'embeddings').use().entries == 0
    session.reject()
    session.click(*FIRST)
    assert encoded(session) == 2 * once


def test_no_cache_writes_nothing(sessions, tmp_path):
    session = sessions(max_mb=0)
    session.click(*FIRST)
    assert not (tmp_path / 'embeddings').exists()


@pytest.mark.slow
def test_disk_that_cannot_be_written_is_said_and_clicks_go_on(
    sessions, tmp_path
):
    (tmp_path / 'file').write_text('', 'utf-8')
    session = sessions(tmp_path / 'file')
    said = []
    session.status.connect(lambda text, whom: said.append(text))
    assert session.click(*FIRST) is not None
    assert any('Embeddings cannot be kept' in text for text in said)
