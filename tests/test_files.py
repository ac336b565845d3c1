"""Files are written all or nothing."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from napari_mobilesam.files import (
    atomic_path,
    new_folder,
    write_atomic,
    write_text_atomic,
)


def test_content_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_atomic(path, b'old')
    write_atomic(path, b'new', memoryview(b' and more'))
    assert path.read_bytes() == b'new and more'
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    write_text_atomic(path, 'µm')
    assert path.read_bytes() == 'µm'.encode()


@pytest.mark.parametrize('error', [OSError, ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_earlier_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / 'a.json'
    path.write_bytes(b'old')
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_bytes(b'half of')
        raise error
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.json'
    path.write_bytes(b'old')

    def full(source: Path, target: Path) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space left') as raised:
        write_atomic(path, b'new')
    # not that of the temporary file
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_a_writer_that_made_the_path_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(OSError, match='No space') as raised,
        atomic_path(Path('a.tif')) as temporary,
    ):
        raise OSError(28, 'No space left', str(temporary.absolute()))
    assert raised.value.filename == 'a.tif'


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path) -> None:
    folder = tmp_path / 'folder'
    folder.mkdir()
    with pytest.raises(OSError, match='folder') as raised:
        write_atomic(folder, b'new')
    assert raised.value.filename == str(folder)
    assert raised.value.filename2 is None
    with (
        pytest.raises(FileNotFoundError) as missing,
        new_folder(tmp_path / 'new') as temporary,
    ):
        (temporary / 'missing' / 'a').write_bytes(b'')
    assert missing.value.filename == str(tmp_path / 'new')


def test_the_temporary_file_is_a_hidden_neighbour(tmp_path: Path) -> None:
    path = tmp_path / 'a.csv'
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith('.a.csv.')
        assert temporary.suffix == '.part'
        assert not temporary.exists()
        temporary.touch()
    with atomic_path(path, keep_suffix=True) as temporary:
        assert temporary.suffix == '.csv'
        temporary.touch()


@pytest.mark.skipif(os.name == 'nt', reason='permissions of POSIX')
def test_a_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    path, other = tmp_path / 'a', tmp_path / 'b'
    write_atomic(path, b'')
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(
        other.stat().st_mode
    )


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / 'none' / 'a', b'')


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """The last writer wins, with its whole content."""
    path = tmp_path / 'a'
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [
        threading.Thread(target=write_atomic, args=(path, content))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
