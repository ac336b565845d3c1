"""Registry of checkpoints: names, files and downloads.

Importing this module does not load torch, so that models can be listed as
soon as a widget opens.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
import pooch
from safetensors import SafetensorError, safe_open

from napari_mobilesam.argument_checks import (
    check_text,
)
from napari_mobilesam.model.record_text import record_from_json
from napari_mobilesam.types import CheckpointError, ModelRecord, Progress

APP_NAME = 'napari-mobilesam'
METADATA_KEY = 'napari_mobilesam'
OFFICIAL = 'mobile_sam'
BUNDLED = 'mobile_sam_cells'
# Suffixes of checkpoint files; a name without one may name a model.
SUFFIXES = ('.pt', '.pth', '.ckpt', '.bin', '.safetensors')

_SAM_LICENCE = 'Apache-2.0'
_SAM_CITATION = 'Kirillov et al. 2023, Segment Anything'
_MICRO_SAM_LICENCE = 'CC-BY-4.0 (see the model page on bioimage.io)'
_MICRO_SAM_CITATION = 'Archit et al. 2025, Segment Anything for Microscopy'
_META_URL = 'https://dl.fbaipublicfiles.com/segment_anything'
_BIOIMAGE_URL = 'https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io'

# Files of micro-sam are verified with the xxh128 that micro-sam itself uses,
# which detects damage but not forgery. No SHA-256 of them is published by two
# independent projects.
_DOWNLOADS = (
    ModelRecord(
        OFFICIAL,
        purpose='Official MobileSAM: general, best for natural images',
        licence=_SAM_LICENCE,
        citation='Zhang et al. 2023, Faster Segment Anything',
        url='https://github.com/ChaoningZhang/MobileSAM/raw/'
        'f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt',
        hash='sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108db'
        'cdd4e37d6c2f',
        size_bytes=40_728_226,
    ),
    ModelRecord(
        'vit_t_lm',
        purpose='MobileSAM fine-tuned by micro-sam for light microscopy',
        licence=_MICRO_SAM_LICENCE,
        citation=_MICRO_SAM_CITATION,
        url=f'{_BIOIMAGE_URL}/faithful-chicken/1.1/files/vit_t.pt',
        hash='xxh128:72ec5074774761a6e5c05a08942f981e',
    ),
    ModelRecord(
        'vit_t_em_organelles',
        purpose='MobileSAM fine-tuned by micro-sam for organelles in EM',
        licence=_MICRO_SAM_LICENCE,
        citation=_MICRO_SAM_CITATION,
        url=f'{_BIOIMAGE_URL}/greedy-whale/1/files/vit_t.pt',
        hash='xxh128:253474720c497cce605e57c9b1d18fd9',
    ),
    ModelRecord(
        'vit_b',
        'vit_b',
        purpose='SAM with the ViT-B encoder: slower, more accurate',
        licence=_SAM_LICENCE,
        citation=_SAM_CITATION,
        url=f'{_META_URL}/sam_vit_b_01ec64.pth',
        hash='sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4f'
        'cbe91eb8c912',
        size_bytes=375_042_383,
    ),
    ModelRecord(
        'vit_l',
        'vit_l',
        purpose='SAM with the ViT-L encoder: for a GPU',
        licence=_SAM_LICENCE,
        citation=_SAM_CITATION,
        url=f'{_META_URL}/sam_vit_l_0b3195.pth',
        hash='sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed16'
        '93702a49a622',
        size_bytes=1_249_524_607,
    ),
    ModelRecord(
        'vit_h',
        'vit_h',
        purpose="SAM with the ViT-H encoder, MobileSAM's teacher: for a GPU",
        licence=_SAM_LICENCE,
        citation=_SAM_CITATION,
        url=f'{_META_URL}/sam_vit_h_4b8939.pth',
        hash='sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9'
        'f338c26f262e',
        size_bytes=2_564_550_879,
    ),
)


def bundled_path() -> Path:
    """Return the path of the checkpoint bundled with the package."""
    return Path(
        str(files('napari_mobilesam') / f'weights/{BUNDLED}.safetensors')
    )


def cache_folder() -> Path:
    """Return the folder of downloaded checkpoints, which may not exist yet.

    It is in the platform's cache folder, or in ``NAPARI_MOBILESAM_CACHE`` if
    that is set.
    """
    override = os.environ.get('NAPARI_MOBILESAM_CACHE')
    root = Path(override or platformdirs.user_cache_dir(APP_NAME, False))
    return root / 'models'


def user_models_folder() -> Path:
    """Return the folder of the user's checkpoints, which may not exist yet.

    It is in the platform's data folder, unless ``NAPARI_MOBILESAM_MODELS``
    gives the folder.
    """
    override = os.environ.get('NAPARI_MOBILESAM_MODELS')
    if override:
        return Path(override)
    return Path(platformdirs.user_data_dir(APP_NAME, False)) / 'models'


def registry() -> dict[str, ModelRecord]:
    """Return the records of the bundled and downloadable models."""
    bundled = replace(
        _bundled_record(),
        name=BUNDLED,
        size_bytes=bundled_path().stat().st_size,
    )
    return {record.name: record for record in (bundled, *_DOWNLOADS)}


def list_models() -> list[ModelRecord]:
    """Return all models that `load_model` knows by name, the user's last.

    Files in the user's folder without a valid record are skipped with a
    warning.

    Returns
    -------
    list of ModelRecord
        Records with name, architecture, licence, etc.
    """
    records = registry()
    for path in sorted(user_models_folder().glob('*.safetensors')):
        try:
            record = read_record(path)
        except CheckpointError as error:
            _warn_once(path, f'{path.name} is left out of the models: {error}')
            continue
        records.setdefault(path.stem, replace(record, name=path.stem))
    return list(records.values())


def cached_path(name: str) -> Path | None:
    """Return the file of a model if it is on this machine, else None.

    Raises
    ------
    CheckpointError
        If no model has this name.
    """
    check_text('name', name)
    if name == BUNDLED:
        return bundled_path()
    record = registry().get(name)
    path = (
        user_models_folder() / f'{name}.safetensors'
        if record is None
        else _download_path(record)
    )
    if path.is_file():
        return path
    if record is None:
        known = ', '.join(r.name for r in list_models())
        raise CheckpointError(
            f'no model is named {name!r}; choose one of {known}, or give the '
            'path of a checkpoint file'
        )
    return None


def is_path(name_or_path: str | Path) -> bool:
    """Return True for a path, False for the name of a model."""
    if isinstance(name_or_path, Path):
        return True
    if name_or_path in registry():
        return False
    path = Path(name_or_path)
    return path.suffix in SUFFIXES or len(path.parts) > 1 or path.is_file()


def check_file(path: Path) -> None:
    """Raise `CheckpointError` if there is no such file."""
    if not path.is_file():
        raise CheckpointError(
            f'there is no checkpoint file at {path}; check the path, or '
            'list the known models with "napari-mobilesam models"'
        )


def check_known(name_or_path: str | Path) -> None:
    """Raise `CheckpointError` for an unknown name or a missing file.

    Nothing is loaded or downloaded.
    """
    if not isinstance(name_or_path, Path):
        check_text('name', name_or_path)
    if is_path(name_or_path):
        check_file(Path(name_or_path))
    else:
        cached_path(str(name_or_path))


def default_model_name() -> str:
    """Return the official model if it is downloaded, else the bundled one.

    If the downloaded file is damaged, warn and return the bundled one.
    """
    path = cached_path(OFFICIAL)
    if path is None:
        return BUNDLED
    if verify(path, OFFICIAL):
        return OFFICIAL
    _warn_once(
        path,
        f'{path} is damaged: it does not have the hash of {OFFICIAL}. '
        f'{BUNDLED} is used instead. Delete the file, or download it again '
        f'with "napari-mobilesam models download {OFFICIAL}".',
    )
    return BUNDLED


def download_model(name: str, progress: Progress | None = None) -> Path:
    """Download a model into the cache folder, once.

    Parameters
    ----------
    name : str
        A name from `list_models`.
    progress : callable, optional
        Called as ``progress(done_bytes, total_bytes, message)``; an exception
        that it raises stops the download.

    Returns
    -------
    Path
        File with a verified hash.

    Raises
    ------
    CheckpointError
        If the name is unknown, or the download fails, is interrupted or has a
        wrong hash. No file is left behind.
    """
    path = cached_path(name)
    if path is not None and verify(path, name):
        return path
    record = registry()[name]
    path = _download_path(record)
    try:
        download_file(record.url, path, record.hash, name, progress)
    except ValueError as error:  # raised by pooch on a wrong hash
        raise CheckpointError(
            f'the download of {name} from {record.url} does not have the '
            f'expected hash {record.hash}; it was deleted. Try again, or '
            'download the file by other means and load it by its path.'
        ) from error
    except OSError as error:  # includes all errors of requests
        raise CheckpointError(
            f'{name} could not be downloaded from {record.url} to {path}: '
            f'{download_problem(error, record.url)}. Check the network and '
            'the free disk space, or download the file by other means and '
            'load it by its path.'
        ) from error
    return path


def download_file(
    url: str,
    path: Path,
    known_hash: str | None,
    name: str,
    progress: Progress | None,
) -> None:
    """Download a file; pooch raises `ValueError` for a wrong hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pooch.retrieve(
        url,
        known_hash,
        fname=path.name,
        path=path.parent,
        downloader=pooch.HTTPDownloader(
            progressbar=_ProgressAdapter(name, progress), timeout=30
        ),
    )


def download_problem(error: Exception, url: str) -> str:
    """Say in a few words why a download failed."""
    from requests import exceptions

    host = urlsplit(url).hostname
    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        answer = error.response
        return f'{host} answers {answer.status_code} {answer.reason}'.rstrip()
    if 'certificate' in str(error).lower():
        return f'the certificate of {host} is not trusted'
    for kind, text in (
        (exceptions.SSLError, f'there is no secure connection to {host}'),
        (exceptions.Timeout, f'{host} does not answer'),
        (exceptions.ConnectionError, f'there is no connection to {host}'),
        (exceptions.RequestException, f'the connection to {host} broke'),
    ):
        if isinstance(error, kind):
            return text
    return str(error)


def verify(path: Path, name: str) -> bool:
    """Return whether a file has the hash of ``name`` in the registry."""
    record = registry().get(name)
    if record is None or not record.hash:
        return True
    state = path.stat()
    if record.size_bytes and state.st_size != record.size_bytes:
        return False
    algorithm, _, expected = record.hash.partition(':')
    return _file_hash(path, algorithm, state.st_mtime_ns) == expected


def read_record(path: Path) -> ModelRecord:
    """Read the record in the header of a checkpoint.

    Raises
    ------
    CheckpointError
        If it is not a safetensors file, or has no record or an invalid one.
    """
    record = find_record(path)
    if record is None:
        raise CheckpointError(f'{path} has no record of napari-mobilesam')
    return record


def find_record(path: Path) -> ModelRecord | None:
    """Read the record in the header of a checkpoint, if there is one.

    Raises
    ------
    CheckpointError
        If it is not a safetensors file, or has an invalid record.
    """
    try:
        with safe_open(str(path), framework='np') as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f'{path} is not a safetensors file, or is damaged: {error}'
        ) from error
    if METADATA_KEY not in metadata:
        return None
    try:
        return record_from_json(metadata[METADATA_KEY])
    except CheckpointError as error:
        raise CheckpointError(f'{path} cannot be used: {error}') from error


def _download_path(record: ModelRecord) -> Path:
    return cache_folder() / f'{record.name}{Path(record.url).suffix}'


@lru_cache(maxsize=1)
def _bundled_record() -> ModelRecord:
    return read_record(bundled_path())


@lru_cache(maxsize=16)
def _file_hash(path: Path, algorithm: str, modified: int) -> str:
    """Return the hash of a file, cached until it is modified."""
    return str(pooch.file_hash(str(path), alg=algorithm))


def _warn_once(path: Path, message: str) -> None:
    """Warn about a file, once until it is modified."""
    try:
        modified = path.stat().st_mtime_ns
    except OSError:
        modified = 0
    _warn(message, modified)


@lru_cache(maxsize=256)
def _warn(message: str, modified: int) -> None:
    warnings.warn(message, stacklevel=4)


class _ProgressAdapter:
    """Progress bar for pooch that calls ``progress``."""

    def __init__(self, name: str, progress: Progress | None) -> None:
        self.name = name
        self.progress = progress
        self.total: Any = 0
        self.done = 0

    def update(self, size: int) -> None:
        self.done += size
        if self.progress is not None:
            self.progress(
                self.done, int(self.total or 0), f'downloading {self.name}'
            )

    def reset(self) -> None:
        # pooch resets and then adds the total again, to end at 100 %
        self.done = 0

    def close(self) -> None:
        pass
