"""Small model and images for the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
from zarr import create_array

from napari_mobilesam import export_labels
from napari_mobilesam.cli import main


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


# Shape of an array without a chunk that is written.
HUGE = (10**6, 10**6)
Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process."""

    def run(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope='session')
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of an untrained model with a small input, for speed."""
    import torch

    from napari_mobilesam.model.checkpoints import save_checkpoint
    from napari_mobilesam.model.sam import build_sam
    from napari_mobilesam.types import ModelRecord

    torch.manual_seed(0)
    record = ModelRecord('tiny', 'vit_t', input_size=128)
    path = tmp_path_factory.mktemp('model') / 'tiny.safetensors'
    save_checkpoint(build_sam(record=record), path, record)
    return path


@pytest.fixture(scope='session')
def discs() -> np.ndarray:
    """(96, 128) uint8: three bright discs of 24 pixels on noise."""
    rows, columns = np.mgrid[:96, :128]
    image = np.random.default_rng(0).integers(5, 20, (96, 128))
    for row, column in ((30, 30), (30, 90), (70, 60)):
        image[(rows - row) ** 2 + (columns - column) ** 2 <= 144] += 180
    return image.astype(np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    """(20, 30) uint16: objects 1 with a hole, 5 at a corner, 6 of a pixel."""
    labels = np.zeros((20, 30), np.uint16)
    labels[2:8, 3:9] = 1
    labels[4:6, 5:7] = 0
    labels[12:20, 20:30] = 5
    labels[15, 3] = 6
    return labels


@pytest.fixture
def labels_path(labels: np.ndarray, tmp_path: Path) -> Path:
    """The labels as a TIFF file with pixels of 0.5 µm."""
    path = tmp_path / 'labels.tif'
    units = ('micrometer', 'micrometer')
    export_labels(labels, path, scale=(0.5, 0.5), units=units)
    return path


@pytest.fixture
def refused(
    run: Run,
    labels_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Check that a command refuses its input in one sentence.

    ``{labels}`` in an argument is the file of labels; ``b.tif`` is an image
    of another shape; the others are named by what is in them.
    """
    others = {
        'text.csv': 'label,score\na,0.5\n',
        'half.csv': 'label,score\n1.5,0.5\n',
        'empty.csv': '',
        'empty.parquet': '',
        'torn.parquet': 'PAR1 and no more',
        'long.csv': 'label,score\n1,0.5,3\n',
        'latin.csv': 'label,class\n1,K\xe4fer\n',
        'quoted.csv': 'label,class\n1,"a\n',
        'deep.geojson': '[' * 200_000,
    }

    def refused(
        command: str, arguments: list[str], code: int, message: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        tifffile.imwrite('b.tif', np.zeros((5, 5), np.uint8))
        for name, text in others.items():
            (tmp_path / name).write_text(text, 'latin-1')
        create_array('huge.zarr', shape=HUGE, chunks=(4096, 4096), dtype='u2')
        given = [a.format(labels=labels_path) for a in arguments]
        done = run(command, *given)
        assert done.code == code
        assert message in done.err
        assert 'Traceback' not in done.err
        assert len(done.err.splitlines()) == 1
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {'b.tif', 'huge.zarr', 'labels.tif', *others}
        for name, text in others.items():
            assert (tmp_path / name).read_text('latin-1') == text

    return refused


@pytest.fixture
def image_path(tmp_path: Path, discs: np.ndarray) -> Path:
    """The discs as a TIFF file."""
    path = tmp_path / 'cells.tif'
    tifffile.imwrite(path, discs)
    return path
