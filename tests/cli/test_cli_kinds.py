"""Kinds of output of ``segment``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli.conftest import Run

QUICK = (
    *('--points-per-side', 4, '--predicted-iou', 0, '--stability', 0),
    *('--whole-image', '--quiet'),
)


@pytest.fixture
def segment(run: Run, image_path: Path, tiny_model: Path, tmp_path: Path):
    """Run the command; return the path of what it wrote."""

    def segment(*options: object, name: str = 'out.tif') -> Path:
        output = tmp_path / name
        result = run(
            *('segment', image_path, '-o', output, '--model', tiny_model),
            *options,
        )
        assert result.code == 0, result.err
        return output

    return segment


@pytest.mark.slow
def test_semantic_is_the_foreground_of_labels(segment) -> None:
    labels = tifffile.imread(segment(*QUICK))
    semantic = tifffile.imread(
        segment(*QUICK, '--output-kind', 'semantic', name='semantic.tif')
    )
    assert labels.max() > 0
    assert np.array_equal(semantic, labels > 0)


def test_outlines_are_read_by_napari(segment) -> None:
    from napari_builtins.io import csv_to_layer_data

    labels = tifffile.imread(segment(*QUICK))
    path = segment(*QUICK, '--output-kind', 'outlines', name='out.csv')
    polygons, attributes, kind = csv_to_layer_data(str(path))
    assert kind == 'shapes'
    assert len(polygons) == labels.max()
    assert set(attributes['shape_type']) == {'polygon'}


def test_edges_are_a_picture(segment) -> None:
    path = segment(*QUICK, '--output-kind', 'edges')
    edges = tifffile.imread(path)
    assert edges.shape == (96, 128)
    assert edges.dtype == np.float32
    assert 0 <= edges.min() <= edges.max() <= 1


def test_proposals_are_boxes_again_boxes_are_objects(segment) -> None:
    path = segment(*QUICK, '--output-kind', 'proposals', name='boxes.csv')
    boxes = pd.read_csv(path)
    assert len(boxes)
    labels = tifffile.imread(segment('--boxes', path, '--quiet'))
    assert 0 < labels.max() <= len(boxes)


def test_boxes_of_a_shapes_layer(segment, tmp_path: Path) -> None:
    path = tmp_path / 'shapes.csv'
    path.write_text(
        'index,shape-type,vertex-index,axis-0,axis-1\n'
        '0,rectangle,0,20,20\n0,rectangle,1,20,40\n'
        '0,rectangle,2,40,40\n0,rectangle,3,40,20\n'
    )
    labels = tifffile.imread(segment('--boxes', path, '--quiet'))
    assert set(np.unique(labels)) <= {0, 1}


@pytest.mark.slow
def test_the_full_grid_goes_by_two_names(
    segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mobilesam.segmentation import everything

    adaptive = []
    generate = everything.generate_candidates

    def noted(*args, **options):
        adaptive.append(options['adaptive'])
        return generate(*args, **options)

    monkeypatch.setattr(everything, 'generate_candidates', noted)
    for option in ('--full-grid', '--no-adaptive', '--adaptive'):
        segment(*QUICK, option, name=f'{option}.tif')
    assert adaptive == [False, False, True]


@pytest.mark.slow
def test_region_and_skip_leave_the_rest_alone(segment, tmp_path: Path) -> None:
    skip = np.zeros((96, 128), np.uint8)
    skip[:48] = 3
    tifffile.imwrite(tmp_path / 'done.tif', skip)
    options = ('--region', '0,64,96,128', '--skip', tmp_path / 'done.tif')
    path = segment(*QUICK, *options, '--table', tmp_path / 'table.csv')
    labels = tifffile.imread(path)
    assert not labels[:48].any()


def test_labels_that_are_skipped_are_not_overwritten(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done = tmp_path / 'done.tif'
    tifffile.imwrite(done, np.full((96, 128), 3, np.uint8))
    result = run(
        *('segment', image_path, '-o', done, '--skip', done, '--overwrite'),
        *('--model', tiny_model, '--quiet'),
    )
    assert result.code == 2
    assert 'done.tif is an input' in result.err
    assert (tifffile.imread(done) == 3).all()


BAD_USAGE = {
    'outlines in a TIFF': (['--output-kind', 'outlines'], 'end in .csv'),
    'proposals in a TIFF': (['--output-kind', 'proposals'], 'end in .csv'),
    'an unknown kind': (['--output-kind', 'lines'], "'lines'"),
    'edges of a point': (
        ['--output-kind', 'edges', '--point', '3,3'],
        'to the whole image',
    ),
    'a table of edges': (
        ['--output-kind', 'edges', '--table', 'edges.csv'],
        '--table describes labels',
    ),
    'boxes and a box': (
        ['--boxes', 'boxes.csv', '--box', '3,3,9,9'],
        'leave out --point, --negative and --box',
    ),
    'boxes in a region': (
        ['--boxes', 'boxes.csv', '--region', '0,0,9,9'],
        '--region has no effect with prompts',
    ),
    'the size of what boxes hold': (
        ['--boxes', 'boxes.csv', '--diameter', '9'],
        '--diameter has no effect with --boxes or --text',
    ),
    'the size of what a text names': (
        ['--text', 'cell', '--diameter', '9'],
        '--diameter has no effect with --boxes or --text',
    ),
    'edges beside objects': (
        ['--output-kind', 'edges', '--skip', 'labels.tif'],
        '--skip has no effect with --output-kind edges',
    ),
    'no file of boxes': (['--boxes', 'gone.csv'], 'no file gone.csv'),
    'a region elsewhere': (
        ['--region', '500,0,600,9'],
        'has no pixel of the image',
    ),
    'a region in tiles': (
        ['--region', '0,0,9,9', '--executor', 'threads'],
        '--executor is for images processed in tiles, where --region',
    ),
}


@pytest.mark.parametrize('case', BAD_USAGE)
def test_bad_usage_is_one_line_and_code_2(
    case: str, run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options, message = BAD_USAGE[case]
    output = tmp_path / 'out.tif'
    result = run(
        *('segment', image_path, '-o', output, '--model', tiny_model),
        *(*options, '--quiet'),
    )
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert not output.exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'boxes.csv is empty: not even the names of its columns'),
        ('row0,column0,row1,column1\n', 'The table of boxes has no rows.'),
        (
            'index,shape-type,vertex-index,axis-0,axis-1\n',
            'The table of boxes has no rows.',
        ),
    ],
)
def test_an_empty_table_of_boxes(
    text: str,
    message: str,
    run: Run,
    image_path: Path,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / 'boxes.csv'
    path.write_text(text)
    result = run(
        *('segment', image_path, '-o', tmp_path / 'out.tif'),
        *('--model', tiny_model, '--boxes', path, '--quiet'),
    )
    assert result.code == 2
    assert message in result.err.splitlines()[-1]


def test_a_table_without_boxes(
    run: Run, image_path: Path, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'boxes.csv'
    path.write_text('x,y\n1,2\n')
    result = run(
        *('segment', image_path, '-o', tmp_path / 'out.tif'),
        *('--model', tiny_model, '--boxes', path, '--quiet'),
    )
    assert result.code == 2
    assert 'row0, column0, row1, column1' in result.err
    assert 'It has x, y' in result.err
