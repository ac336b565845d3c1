"""Input of the command line: each kind is taken rightly or refused plainly."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image

from napari_mobilesam.cli import model_commands
from napari_mobilesam.cli.contrast_options import (
    chosen_limits,
    contrast_option,
    limits_of_source,
)
from napari_mobilesam.cli.image_files import (
    FilePlane,
    read_image,
    write_labels,
)
from napari_mobilesam.cli.large_options import is_zarr
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.prompt_options import check_inside, read_boxes
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.model.checkpoints import load_model
from napari_mobilesam.segmentation.box_tables import boxes_of_table
from napari_mobilesam.segmentation.painting import paint_objects
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.types import PromptError, Prompts

from .conftest import Run

REFUSED = {
    'an unknown option': (['--colour', 'red'], 'there is no option --colour'),
    'an option misspelt': (
        ['--diamter', '5'],
        'did you mean --diameter? (see napari-mobilesam segment --help)',
    ),
    'a point of one number': (['--point', '26'], "'26' is not R,C such as"),
    'a point below': (['--point', '96,10'], 'rows are 0 to 95'),
    'a point far away': (['--point', '10,4000'], '--point 10,4000 is outside'),
    'a negative point outside': (
        ['--point', '3,3', '--negative', '-5,1'],
        '--negative -5,1 is outside the image',
    ),
    'a box outside': (['--box', '200,0,300,20'], 'is outside the image'),
    'a box turned round': (['--box', '20,20,5,5'], 'has no area'),
    'limits the wrong way': (['--contrast-limits', '9,2'], 'has to be below'),
    'limits of two kinds': (['--contrast-limits', '1%,9'], 'is not LOW,HIGH'),
    'more than all pixels': (['--contrast-limits', '1%,101%'], 'within 0%'),
}


@pytest.mark.slow
def test_prompts_on_a_plane_of_a_zarr(
    run: Run, tiny_model: Path, discs: np.ndarray, tmp_path: Path
) -> None:
    pixels = np.zeros((2, 2, 3, *discs.shape), discs.dtype)
    pixels[1, 1, 2] = discs
    zarr.create_array(
        str(tmp_path / 'a.zarr'), data=pixels, dimension_names=[*'tczyx']
    )
    tifffile.imwrite(tmp_path / 'a.tif', discs)
    given = ('--point', '30,30', '--model', tiny_model)
    for name, more in (
        ('a.tif', []),
        ('a.zarr', ['--channel', '1', '--plane', '1,2']),
    ):
        done = run(
            'segment', tmp_path / name, '-o', tmp_path / f'{name}.tif',
            *given, *more,
        )  # fmt: skip
        assert done.code == 0, done.err
    found, expected = (
        tifffile.imread(tmp_path / f'a.{kind}.tif') for kind in ('zarr', 'tif')
    )
    np.testing.assert_array_equal(found, expected)
    refused = run(
        'segment', tmp_path / 'a.zarr', '-o', tmp_path / 'b.tif', *given
    )
    assert '2 x 2 x 3 planes' in refused.err
    assert 'choose one with --channel 0 --plane 0,0' in refused.err


@pytest.mark.parametrize(('options', 'words'), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line_before_the_model_is_loaded(
    options: list[str], words: str, run: Run, image_path: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'labels.tif'
    result = run(
        *('segment', image_path, '-o', output, *options),
        *('--model', tmp_path / 'none.pt'),
    )
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize(
    ('box', 'told'), [((0, 60, 96, 200), True), ((0, 60, 96, 128.5), False)]
)
def test_a_box_that_reaches_beyond_the_image(
    box: tuple[float, ...], told: bool
) -> None:
    options = argparse.Namespace(point=[], negative=[], box=[box])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        check_inside(options, (96, 128))
    words = '--box (0, 60, 96, 200) reaches beyond the image of 96 × 128'
    assert len(seen) == told
    assert all(str(one.message).startswith(words) for one in seen)


def test_an_argument_too_many(run: Run) -> None:
    result = run('demo', 'cells.tif')
    assert result.code == 2
    assert 'too many arguments: cells.tif' in result.err
    assert len(result.err.splitlines()) == 1


def test_a_url_is_refused_by_its_name(run: Run, tmp_path: Path) -> None:
    for url in ('https://example.org/a.tif', 's3://bucket/a.zarr'):
        result = run('segment', url, '-o', tmp_path / 'labels.tif')
        assert result.code == 2
        assert f'{url} is a URL' in result.err


def test_help_on_a_terminal_of_ascii() -> None:
    for command in ([], ['segment']):
        done = subprocess.run(
            [sys.executable, '-m', 'napari_mobilesam', *command, '--help'],
            env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b'usage' in done.stdout


@pytest.mark.parametrize(
    ('name', 'zarr'),
    [
        ('labels/x.tif', False),
        ('labels/x.TIF', False),
        ('labels/o.csv', False),
        ('labels/x.png', False),
        ('labels/x', False),
        ('labels/x.zarr', True),
        ('image.zarr/labels/x', True),
        ('image.zarr/labels/x.tif', False),
    ],
)
def test_the_suffix_of_an_output_decides(
    name: str, zarr: bool, tmp_path: Path
) -> None:
    (tmp_path / 'image.zarr').mkdir()
    (tmp_path / 'image.zarr' / '.zattrs').write_text('{}')
    assert is_zarr(tmp_path / name) is zarr


def test_labels_as_png(tmp_path: Path) -> None:
    labels = np.arange(60_000, 60_012, dtype=np.int32).reshape(3, 4)
    write_labels(tmp_path / 'labels.png', labels)
    assert np.array_equal(Image.open(tmp_path / 'labels.png'), labels)


def image_with_size(path: Path, kind: str) -> None:
    image = np.zeros((20, 30), np.uint8)
    if kind == 'imagej':
        tifffile.imwrite(
            path,
            image,
            imagej=True,
            resolution=(4, 2),
            metadata={'unit': 'um'},
        )
    else:
        tifffile.imwrite(
            path,
            image,
            ome=True,
            metadata={
                'axes': 'YX',
                'PhysicalSizeX': 0.25,
                'PhysicalSizeXUnit': 'µm',
                'PhysicalSizeY': 0.5,
                'PhysicalSizeYUnit': 'µm',
            },
        )


@pytest.fixture
def two_channels(tmp_path: Path, discs: np.ndarray) -> np.ndarray:
    """Channels in a file that says so, and in one that does not."""
    pixels = np.stack([discs, discs[::-1] // 2])
    for name, axes in (('named.tif', 'CYX'), ('plain.tif', None)):
        tifffile.imwrite(
            tmp_path / name,
            pixels,
            photometric='minisblack',
            metadata=axes and {'axes': axes},
        )
    return pixels


def test_prompts_on_channels(
    run: Run, tiny_model: Path, two_channels: np.ndarray, tmp_path: Path
) -> None:
    model = load_model(tiny_model)
    embedding = Predictor(model).embed(two_channels, channels=(0, 1))
    predictor = Predictor(model)
    prompts = Prompts(box=np.array([16, 16, 44, 44]))
    mask = predictor.predict_at_scale(embedding, prompts).mask()
    expected, _ = paint_objects([mask], embedding.image_shape)
    output = tmp_path / 'labels.tif'
    for options in (['named.tif'], ['plain.tif', '--axes', 'cyx']):
        result = run(
            *('segment', tmp_path / options[0], *options[1:], '-o', output),
            *('--channels', '0,1', '--box', '16,16,44,44', '--overwrite'),
            *('--model', tiny_model, '--quiet'),
        )
        assert result.code == 0, result.err
        assert np.array_equal(tifffile.imread(output), expected)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['named.tif'], 'one with --channel 0 (counted from 0), or up to'),
        (['named.tif', '--channels', '0,2'], 'has no channel 2'),
        (['plain.tif'], 'if they are channels, give --axes cyx, and --chan'),
        (['plain.tif', '--axes', 'cyx'], 'choose one with --channel 0'),
        (['plain.tif', '--axes', 'yx'], "The axes 'yx' do not fit"),
        (
            ['named.tif', '--planes', '0:1'],
            '--planes is for images processed in tiles, where',
        ),
    ],
)
def test_what_chooses_a_channel_is_named(
    run: Run,
    two_channels: np.ndarray,
    tmp_path: Path,
    options: list[str],
    words: str,
) -> None:
    result = run(
        *('segment', tmp_path / options[0], *options[1:]),
        *('-o', tmp_path / 'labels.tif', '--point', '30,30'),
    )
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1


def test_what_segments_all_planes_is_named(run: Run, tmp_path: Path) -> None:
    movie = tmp_path / 'movie.tif'
    stack = np.zeros((4, 20, 30), np.uint8)
    tifffile.imwrite(movie, stack, metadata={'axes': 'TYX'})
    result = run('segment', movie, '-o', tmp_path / 'labels.tif')
    assert result.code == 2
    assert 'choose one with --plane 0' in result.err
    assert 'write to a name that ends in .ome.zarr' in result.err


@pytest.mark.parametrize('kind', ['imagej', 'ome'])
@pytest.mark.parametrize('output', ['labels.tif', 'labels.ome.tif'])
def test_labels_keep_the_pixel_size(
    kind: str, output: str, tmp_path: Path
) -> None:
    image_with_size(tmp_path / 'a.tif', kind)
    image = read_image(tmp_path / 'a.tif')
    labels = np.ones((20, 30), np.int32)
    write_labels(tmp_path / output, labels, image)
    written = read_image(tmp_path / output)
    assert np.array_equal(written.pixels, labels)
    assert written.scale == pytest.approx({'y': 0.5, 'x': 0.25})
    assert written.units == {'y': 'micrometer', 'x': 'micrometer'}


def shapes_table() -> pd.DataFrame:
    """Two boxes on plane 1, one on plane 3, and a path on plane 1."""
    rows = []
    for index, (plane, kind, corner) in enumerate(
        [
            (1, 'rectangle', 5),
            (1, 'ellipse', 40),
            (3, 'polygon', 20),
            (1, 'path', 60),
        ]
    ):
        for vertex, (row, column) in enumerate(
            [(0, 0), (0, 9), (9, 9), (9, 0)]
        ):
            rows.append(
                (index, kind, vertex, plane, corner + row, corner + column)
            )
    columns = ['index', 'shape-type', 'vertex-index']
    return pd.DataFrame(rows, columns=[*columns, 'axis-0', 'axis-1', 'axis-2'])


def test_boxes_of_the_plane_alone() -> None:
    table = shapes_table()
    with pytest.warns(UserWarning, match='1 shapes are paths or lines'):
        boxes = boxes_of_table(table, (1,))
    expected = np.array([[5, 5, 14, 14], [40, 40, 49, 49]]) + 0.5
    assert boxes.to_numpy().tolist() == expected.tolist()
    table = table[table['shape-type'] != 'path']
    assert len(boxes_of_table(table, (3,))) == 1
    for plane, words in (
        (None, r'lie on 2 planes \(1; 3\): choose one with plane'),
        ((2,), r'No shape lies on the plane \(2,\): they are on 1; 3'),
        ((0, 1), r'1 axes before rows and columns'),
    ):
        with pytest.raises(PromptError, match=words):
            boxes_of_table(table, plane)
    paths = shapes_table().query("`shape-type` == 'path'")
    with pytest.raises(PromptError, match='enclose nothing'):
        boxes_of_table(paths, (1,))


def test_shapes_have_no_axis_of_channels(tmp_path: Path) -> None:
    path, table = tmp_path / 'a.tif', tmp_path / 'shapes.csv'
    stack = np.zeros((4, 2, 9, 9), np.uint8)
    tifffile.imwrite(path, stack, imagej=True, metadata={'axes': 'ZCYX'})
    shapes_table().query("`shape-type` != 'path'").to_csv(table, index=False)
    plane = (3, 1)
    assert len(read_boxes(table, plane, read_image(path, plane))) == 1


def test_contrast_limits_as_asked() -> None:
    pixels = np.linspace(0, 1000, 1001).reshape(7, 143).astype(np.float32)
    image = FilePlane(pixels, {}, {})
    assert chosen_limits(contrast_option('100,4000'), image) == ((100, 4000),)
    ((low, high),) = chosen_limits(contrast_option('10%,90%'), image)
    assert (low, high) == pytest.approx((100, 900))


def test_pixels_within_a_few_gray_levels_are_told_of() -> None:
    pixels = np.random.default_rng(0).integers(90, 110, (50, 50), np.uint16)
    image = FilePlane(pixels, {}, {})
    with pytest.warns(UserWarning, match='within 1 of 256 gray levels'):
        chosen_limits(contrast_option('0,65535'), image)
    chosen_limits(None, image)


def test_per_cent_that_do_not_fall_where_the_total_moves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressLine() as progress:
        for done, total in ((1, 10), (6, 10), (7, 20), (20, 20)):
            progress(done, total, 'prompts')
    told = capsys.readouterr().err.splitlines()
    assert told[0] == 'prompts 1/10'
    assert told[-2:] == ['prompts 60 %', 'prompts 100 %']


def test_percentiles_of_a_large_image_are_those_of_a_sample(tmp_path) -> None:
    values = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    np.save(tmp_path / 'a.npy', values)
    source = open_source(tmp_path / 'a.npy')
    ((low, high),) = limits_of_source(contrast_option('10%,90%'), source)
    assert (low, high) == pytest.approx((1000, 9000), abs=20)
    option = contrast_option('5,70')
    assert limits_of_source(option, source) == ((5, 70),)


def test_a_warning_about_many_images_is_printed_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_models(options: argparse.Namespace) -> int:
        for image in range(3):
            # such as reading weights does
            with warnings.catch_warnings():
                pass
            warnings.warn('beyond', UserWarning, stacklevel=1)
            warnings.warn(f'{image} is black', UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(model_commands, 'list_command', list_models)
    done = run('models')
    told = [line.rpartition('warning: ')[2] for line in done.err.splitlines()]
    assert told == ['beyond', *(f'{image} is black' for image in range(3))]
