"""``napari-mobilesam segment`` from file to file."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli.conftest import Run
from napari_mobilesam.cli.parameter_options import given_options, option_name
from napari_mobilesam.cli.program import build_parser
from napari_mobilesam.parameter_fields import parameter_fields
from napari_mobilesam.types import EverythingParameters

QUICK = ('--points-per-side', 4, '--predicted-iou', 0, '--stability', 0)


@pytest.mark.slow
def test_everything(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output, table = tmp_path / 'labels.tif', tmp_path / 'table.csv'
    result = run(
        *('segment', image_path, '-o', output, '--table', table),
        *('--model', tiny_model, '--whole-image', *QUICK),
    )
    assert result.code == 0, result.err
    labels, rows = tifffile.imread(output), pd.read_csv(table)
    assert labels.shape == (96, 128)
    assert labels.dtype == np.uint16
    assert set(rows['label']) == set(np.unique(labels)) - {0}
    assert f'{len(rows)} object' in result.out
    # progress went to stderr, and no temporary file is left
    assert result.err
    assert {p.name for p in tmp_path.iterdir()} == {
        *('cells.tif', 'labels.tif', 'table.csv')
    }


def test_bundled_model_finds_the_discs(
    run: Run, image_path: Path, tmp_path: Path, discs: np.ndarray
) -> None:
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', image_path, '-o', output, '--model', 'mobile_sam_cells'),
        *('--box', '17,17,43,43', '--box', '17,77,43,103', '--quiet'),
    )
    assert (result.code, result.err) == (0, '')
    labels = tifffile.imread(output)
    assert labels[30, 30] == 1
    assert labels[30, 90] == 2
    for number, columns in ((1, slice(0, 60)), (2, slice(60, 128))):
        disc = np.zeros(discs.shape, bool)
        disc[:60, columns] = discs[:60, columns] > 100
        found = labels == number
        assert (disc & found).sum() / (disc | found).sum() > 0.6


def test_points_and_box_are_one_object(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', image_path, '-o', output, '--model', tiny_model),
        *('--point', '30,30', '--point', '34,30', '--negative', '70,60'),
        *('--box', '10,10,50,50', '--diameter', 24),
    )
    assert result.code == 0, result.err
    assert set(np.unique(tifffile.imread(output))) <= {0, 1}


def test_every_parameter_is_an_option() -> None:
    arguments = ['segment', 'a.tif', '-o', 'b.tif']
    expected: dict[str, object] = {}
    for field in fields(EverythingParameters):
        arguments.append(option_name(field.name))
        if isinstance(field.default, bool):
            expected[field.name] = True
        else:
            arguments.append('7')
            expected[field.name] = 7
    options = build_parser().parse_args(arguments)
    assert given_options(options, EverythingParameters) == expected
    options = build_parser().parse_args(arguments[:4])
    assert given_options(options, EverythingParameters) == {}


def test_help_says_default_and_meaning_of_each_parameter(run: Run) -> None:
    result = run('segment', '--help')
    # lines are broken at spaces and hyphens
    text = ''.join(result.out.split())
    assert result.code == 0
    for name, described in parameter_fields(EverythingParameters).items():
        assert option_name(name) in text
        assert ''.join(described.text.split()) in text
    assert '(default:0.7)' in text
    assert 'examples:' in text
    assert 'exitcodes:' in text


BAD_USAGE = {
    'no prompt number': (['--point', '1;2'], "'1;2' is not R,C"),
    'a point of three': (['--point', '1,2,3'], 'is not R,C'),
    'an infinite box': (['--box', '0,0,inf,5'], 'is not R0,C0,R1,C1'),
    'a plane that is none': (['--plane', 'first'], "'first' is not I"),
    'a plane too many': (['--plane', '3'], '0 axes besides rows and columns'),
    'a channel too many': (
        ['--channel', '7'],
        'no channel 7: it has one',
    ),
    'only negative': (['--negative', '3,3'], 'selects no object'),
    'boxes and points': (
        ['--box', '0,0,9,9', '--box', '5,5,20,20', '--point', '3,3'],
        '2 boxes together with points',
    ),
    'grid with a prompt': (
        ['--point', '3,3', '--points-per-side', '8'],
        '--points-per-side has no effect with prompts',
    ),
    'point outside': (['--point', '500,3'], 'outside the image'),
    'flat box': (['--box', '5,5,5,20'], 'has no area'),
    'unknown model': (['--model', 'nix'], "'nix'"),
    'missing checkpoint': (['--model', 'gone.pt'], 'no checkpoint file'),
    'unknown device': (['--device', 'abacus'], "'abacus'"),
    'no diameter': (['--diameter', '0'], 'diameter'),
    'no grid': (['--points-per-side', '0'], 'points_per_side'),
    'text for a number': (['--stability', 'high'], "'high'"),
}


@pytest.mark.parametrize('case', BAD_USAGE)
def test_bad_usage_is_one_line_and_code_2(
    case: str, run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options, message = BAD_USAGE[case]
    if '--model' not in options:
        options = ['--model', str(tiny_model), *options]
    output = tmp_path / 'labels.tif'
    result = run('segment', image_path, '-o', output, *options, '--quiet')
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert 'Traceback' not in result.err
    assert not output.exists()
    assert {p.name for p in tmp_path.iterdir()} == {'cells.tif'}


def empty_file(path: Path) -> None:
    path.write_bytes(b'')


def torn_png(path: Path) -> None:
    from skimage.io import imsave

    whole = path.with_name('whole.png')
    imsave(whole, np.zeros((64, 64), np.uint8), check_contrast=False)
    path.write_bytes(whole.read_bytes()[:40])


def nan_image(path: Path) -> None:
    tifffile.imwrite(path, np.full((32, 32), np.nan, np.float32))


def complex_image(path: Path) -> None:
    tifffile.imwrite(path, np.ones((32, 32), np.complex64))


BAD_IMAGES = {
    'missing.tif': (lambda path: None, 'There is no file'),
    'folder.tif': (Path.mkdir, 'is a folder'),
    'empty.tif': (empty_file, 'cannot be read'),
    'empty.png': (empty_file, 'cannot be read'),
    'torn.png': (torn_png, 'cannot be read'),
    'nan.tif': (nan_image, 'no finite pixel'),
    'complex.tif': (complex_image, 'complex'),
}


@pytest.mark.parametrize('name', BAD_IMAGES)
def test_bad_image_is_one_line_and_code_2(
    name: str, run: Run, tiny_model: Path, tmp_path: Path
) -> None:
    make, message = BAD_IMAGES[name]
    make(tmp_path / name)
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', tmp_path / name, '-o', output, '--model', tiny_model),
        *('--quiet', *QUICK),
    )
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not output.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ('shape', 'value'),
    [
        ((1, 1), np.uint8(7)),
        ((40, 30), np.float32(0.5)),
        pytest.param((1, 1), np.float32(0.5), marks=pytest.mark.slow),
        pytest.param((40, 30), np.uint8(7), marks=pytest.mark.slow),
    ],
    ids=['pixel-uint8', 'image-float32', 'pixel-float32', 'image-uint8'],
)
def test_constant_image_has_an_answer(
    value: np.generic,
    shape: tuple[int, int],
    run: Run,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """A constant image gives empty labels of its shape, not an error."""
    tifffile.imwrite(tmp_path / 'flat.tif', np.full(shape, value))
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', tmp_path / 'flat.tif', '-o', output),
        *('--model', tiny_model, '--points-per-side', 2),
    )
    assert result.code == 0, result.err
    assert tifffile.imread(output).shape == shape


@pytest.mark.slow
def test_some_nan_is_a_warning(
    run: Run, discs: np.ndarray, tiny_model: Path, tmp_path: Path
) -> None:
    image = discs.astype(np.float32)
    image[3, 4] = np.nan
    tifffile.imwrite(tmp_path / 'cells.tif', image)
    result = run(
        *('segment', tmp_path / 'cells.tif', '-o', tmp_path / 'labels.tif'),
        *('--model', tiny_model, '--point', '30,30', '--quiet'),
    )
    assert result.code == 0, result.err
    assert 'warning: 1 pixel is NaN' in result.err


class TestOutput:
    """Outputs that cannot be written: code 3, before any work is done."""

    @pytest.fixture(autouse=True)
    def no_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(*_: object) -> None:
            raise AssertionError('the output is checked first')

        monkeypatch.setattr(
            'napari_mobilesam.cli.segment.load_chosen_model', load
        )

    @pytest.mark.parametrize('option', ['--output', '--table'])
    def test_existing_output_is_kept(
        self, option: str, run: Run, image_path: Path, tmp_path: Path
    ) -> None:
        names = {'--output': 'labels.tif', '--table': 'table.csv'}
        existing = tmp_path / names[option]
        existing.write_text('precious')
        result = run(
            *('segment', image_path, '--output', tmp_path / 'labels.tif'),
            *('--table', tmp_path / 'table.csv'),
        )
        assert result.code == 3
        assert f'{existing} exists; --overwrite' in result.err
        assert existing.read_text() == 'precious'

    def test_missing_folder(
        self, run: Run, image_path: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / 'nowhere' / 'labels.tif'
        result = run('segment', image_path, '-o', output)
        assert result.code == 3
        assert f'cannot write {output}: there is no folder' in result.err

    def test_folder_as_output(
        self, run: Run, image_path: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / 'labels.tif'
        output.mkdir()
        result = run('segment', image_path, '-o', output, '--overwrite')
        assert result.code == 3
        assert 'it is a folder' in result.err

    @pytest.mark.skipif(
        not hasattr(os, 'geteuid') or os.geteuid() == 0,
        reason='root may write anywhere, Windows has no such permissions',
    )
    def test_read_only_folder(
        self, run: Run, image_path: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / 'locked'
        folder.mkdir(mode=0o500)
        result = run('segment', image_path, '-o', folder / 'labels.tif')
        assert result.code == 3
        assert 'Permission denied' in result.err

    def test_input_as_output(self, run: Run, image_path: Path) -> None:
        before = image_path.read_bytes()
        result = run('segment', image_path, '-o', image_path, '--overwrite')
        assert result.code == 2
        assert 'is an input' in result.err
        assert image_path.read_bytes() == before

    def test_same_file_twice(
        self, run: Run, image_path: Path, tmp_path: Path
    ) -> None:
        same = tmp_path / 'labels.tif'
        result = run('segment', image_path, '-o', same, '--table', same)
        assert result.code == 2
        assert 'are the same file' in result.err

    def test_suffix(self, run: Run, image_path: Path, tmp_path: Path) -> None:
        result = run('segment', image_path, '-o', tmp_path / 'labels.doc')
        assert result.code == 2
        assert 'ends in .tif, .tiff, .png or .zarr' in result.err

    def test_full_disk(
        self,
        run: Run,
        image_path: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A failure while writing keeps the earlier output, whole."""
        output = tmp_path / 'labels.tif'
        output.write_text('precious')
        labels, table = np.zeros((4, 4), np.uint16), pd.DataFrame()

        def full(path: Path, *content: object) -> None:
            path.write_text('half of')
            raise OSError(28, 'No space left on device')

        prefix = 'napari_mobilesam.cli'
        monkeypatch.setattr(
            f'{prefix}.segment.load_chosen_model', lambda *_: None
        )
        monkeypatch.setattr(
            f'{prefix}.segment_job.segment_prompts', lambda *_: (labels, table)
        )
        monkeypatch.setattr('napari_mobilesam.cli.kinds.write_labels', full)
        result = run(
            *('segment', image_path, '-o', output, '--overwrite'),
            *('--point', '3,3'),
        )
        assert result.code == 3
        assert 'No space left' in result.err
        assert output.read_text() == 'precious'
        assert {p.name for p in tmp_path.iterdir()} == {
            *('cells.tif', 'labels.tif')
        }


@pytest.mark.slow
def test_overwrite_replaces(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'labels.tif'
    output.write_text('old')
    result = run(
        *('segment', image_path, '-o', output, '--overwrite'),
        *('--model', tiny_model, '--point', '30,30'),
    )
    assert result.code == 0, result.err
    assert tifffile.imread(output).shape == (96, 128)


def test_interrupt_leaves_nothing(
    run: Run,
    image_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        'napari_mobilesam.cli.segment.load_chosen_model', interrupt
    )
    result = run('segment', image_path, '-o', tmp_path / 'labels.tif')
    assert result.code == 130
    assert 'interrupted' in result.err
    assert {p.name for p in tmp_path.iterdir()} == {'cells.tif'}


@pytest.mark.parametrize(
    'error', [MemoryError(), RuntimeError('out of memory: 3 GB')], ids=repr
)
def test_failure_while_running_is_code_1(
    error: Exception,
    run: Run,
    image_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr('napari_mobilesam.cli.segment.load_chosen_model', fail)
    arguments = ('segment', image_path, '-o', tmp_path / 'labels.tif')
    result = run(*arguments)
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert (str(error) or 'MemoryError') in result.err
    assert 'Traceback' in run('--traceback', *arguments).err


@pytest.mark.slow
def test_a_name_of_ome_tiff_makes_one(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'labels.ome.tif'
    result = run(
        *('segment', image_path, '-o', output, '--point', '40,40'),
        *('--model', tiny_model),
    )
    assert result.code == 0, result.err
    again = tmp_path / 'again.ome.tif'
    assert run('export', output, '-o', again).code == 0
    for path in (output, again):
        with tifffile.TiffFile(path) as file:
            assert file.is_ome


def test_a_table_is_written_to_no_other_file(
    run: Run, image_path: Path, tmp_path: Path
) -> None:
    table = tmp_path / 'truth.tif'
    table.write_bytes(b'mine')
    result = run(
        *('segment', image_path, '-o', tmp_path / 'labels.tif'),
        *('--table', table, '--overwrite'),
    )
    assert result.code == 2
    assert 'must end in .csv' in result.err
    assert table.read_bytes() == b'mine'
