"""Tracks in the files of other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import dask.array
import numpy as np
import pandas as pd
import pytest
import tifffile

import napari_mobilesam as nm
from napari_mobilesam.cli import main
from napari_mobilesam.tracking.ctc import read_ctc
from napari_mobilesam.tracking.tracks import TrackError, Tracks
from napari_mobilesam.types import SegmentationError


@pytest.fixture(scope='module')
def tracks(dividing_cells):
    return nm.track_labels(dividing_cells.labels)


@pytest.mark.slow
def test_cell_tracking_challenge_round_trip(tracks, dividing_cells, tmp_path):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    names = sorted(file.name for file in folder.iterdir())
    assert names == [f'mask{n:03}.tif' for n in range(8)] + ['res_track.txt']
    labels, back = read_ctc(folder)
    assert ((labels > 0) == (dividing_cells.labels > 0)).all()
    assert back.parents == tracks.parents
    np.testing.assert_array_equal(np.sort(back.ids), np.sort(tracks.ids))
    first, last, parent = {
        int(line.split()[0]): tuple(map(int, line.split()[1:]))
        for line in (folder / 'res_track.txt').read_text().splitlines()
    }[min(tracks.parents)]
    assert (parent, last) == (tracks.parents[min(tracks.parents)], 7)
    assert first in (3, 5)


@pytest.mark.parametrize('name', ['tracks 2026.11.29', '0.5 uM', 'v1.2_a'])
def test_names_of_folders_with_dots(tracks, dividing_cells, tmp_path, name):
    folder = nm.export_tracks(tracks, tmp_path / name, dividing_cells.labels)
    assert folder == tmp_path / name
    assert (folder / 'res_track.txt').is_file()


@pytest.mark.parametrize(
    ('table', 'words'),
    [
        ('1 0 7\n', 'line 1: “1 0 7” is not four whole numbers'),
        # an empty line is none
        ('1 0 7 0\n\n', 'no line for label 2'),
    ],
)
def test_tables_that_do_not_agree_are_refused(
    tracks, dividing_cells, tmp_path, table, words
):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    (folder / 'res_track.txt').write_text(table)
    with pytest.raises(TrackError, match=words):
        read_ctc(folder)


def test_tracks_beyond_16_bits_are_refused(tmp_path):
    labels = np.ones((2, 9, 9), np.uint16)
    centres = [[4, 4], [4, 4]]
    many = Tracks.of([0, 1], [1, 1], centres, [-1, 0], [65_536] * 2)
    with pytest.raises(TrackError, match='Track 65536 is too large'):
        nm.export_tracks(many, tmp_path / 'res', labels)
    assert not list(tmp_path.iterdir())
    most = Tracks.of([0, 1], [1, 1], centres, [-1, 0], [65_535] * 2)
    nm.export_tracks(most, tmp_path / 'res', labels)
    found, back = read_ctc(tmp_path / 'res')
    assert (found == 65_535).all()
    assert back.ids.tolist() == [65_535] * 2


def test_frames_of_two_shapes_are_refused(tracks, dividing_cells, tmp_path):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    tifffile.imwrite(folder / 'mask003.tif', np.zeros((5, 7), np.uint16))
    with pytest.raises(TrackError, match=r'mask003\.tif has the shape'):
        read_ctc(folder)


def test_frames_are_in_the_order_of_their_numbers(
    tracks, dividing_cells, tmp_path
):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    labels, _ = read_ctc(folder)
    # as by programs that count on with more digits
    for frame in range(8):
        (folder / f'mask{frame:03}.tif').rename(folder / f'm{frame + 6}.tif')
    assert np.array_equal(read_ctc(folder)[0], labels)


@pytest.mark.parametrize(
    ('gone', 'words'),
    [(2, 'no label image for frame 2'), (7, 'ends at frame 7')],
)
def test_frames_that_are_missing_are_named(
    tracks, dividing_cells, tmp_path, gone, words
):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    (folder / f'mask{gone:03}.tif').unlink()
    with pytest.raises(TrackError, match=words):
        read_ctc(folder)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('mask002 - Copy', 'no frame number at the end'),
        ('mask002 (1)', 'no frame number at the end'),
        ('x2', r'mask002\.tif and x2\.tif are both frame 2'),
    ],
)
def test_copies_of_frames_are_refused(
    tracks, dividing_cells, tmp_path, name, words
):
    folder = nm.export_tracks(tracks, tmp_path / 'res', dividing_cells.labels)
    # it need not even be one that can be read
    (folder / f'{name}.tif').write_bytes(b'')
    with pytest.raises(TrackError, match=words):
        read_ctc(folder)


@pytest.mark.parametrize('planes', [3, 4])
def test_masks_of_few_planes_are_no_colours(tmp_path, planes):
    labels = np.zeros((2, planes, 20, 20), np.uint16)
    labels[:, 1:, 5:15, 5:15] = 1
    folder = nm.export_tracks(nm.track_labels(labels), tmp_path / 'r', labels)
    with tifffile.TiffFile(folder / 'mask000.tif') as file:
        assert len(file.pages) == planes
        assert file.pages[0].photometric.name == 'MINISBLACK'
    np.testing.assert_array_equal(read_ctc(folder)[0], labels)


def test_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(TrackError, match=r'res_track\.txt or man_track\.txt'):
        read_ctc(tmp_path)


def test_trackmate_has_every_spot_and_link(tracks, dividing_cells, tmp_path):
    path = nm.export_tracks(
        tracks,
        tmp_path / 'cells.xml',
        dividing_cells.labels,
        scale=(1.0, 0.25),
        units='µm',
    )
    root = ElementTree.parse(path).getroot()
    model = root.find('Model')
    assert model.get('spatialunits') == 'µm'
    spots = {spot.get('ID'): spot for spot in root.iter('Spot')}
    assert model.find('AllSpots').get('nspots') == str(len(tracks))
    spot = spots['0']
    assert float(spot.get('POSITION_Y')) == tracks.positions[0, 0]
    assert float(spot.get('POSITION_X')) == tracks.positions[0, 1] / 4
    # of a pixel of the same area
    assert float(spot.get('RADIUS')) == pytest.approx(6, abs=0.2)
    edges = {
        (int(e.get('SPOT_SOURCE_ID')), int(e.get('SPOT_TARGET_ID')))
        for e in root.iter('Edge')
    }
    linked = np.flatnonzero(tracks.previous >= 0)
    assert edges == {(int(tracks.previous[i]), int(i)) for i in linked}
    # a family of divisions is one track there
    assert len(list(root.iter('Track'))) == 9
    assert len(list(root.iter('TrackID'))) == 9
    # its reader takes these for given
    declared = {each.tag for each in model.find('FeatureDeclarations')}
    assert declared == {'SpotFeatures', 'EdgeFeatures', 'TrackFeatures'}
    settings = root.find('Settings')
    assert {each.tag for each in settings} == {
        'ImageData',
        'InitialSpotFilter',
        'SpotFilterCollection',
        'TrackFilterCollection',
        'AnalyzerCollection',
    }
    image = settings.find('ImageData')
    assert (image.get('filename'), image.get('pixelwidth')) == ('', '0.25')
    assert int(image.get('nframes')) == len(dividing_cells.labels)


def test_geff_is_valid_and_whole(tracks, tmp_path):
    geff = pytest.importorskip('geff')
    path = nm.export_tracks(
        tracks, tmp_path / 'cells.geff', scale=(0.5, 0.5), units='micrometer'
    )
    graph, metadata = geff.read(path)
    assert graph.number_of_nodes() == len(tracks)
    assert graph.number_of_edges() == (tracks.previous >= 0).sum()
    node = graph.nodes[5]
    assert (node['label'], node['track']) == (
        tracks.labels[5],
        tracks.ids[5],
    )
    assert [axis.name for axis in metadata.axes] == ['t', 'y', 'x']
    assert metadata.axes[1].scale == 0.5


def test_table_and_labels(tracks, dividing_cells, tmp_path):
    table = nm.export_tracks(tracks, tmp_path / 'cells.csv')
    assert len(pd.read_csv(table)) == len(tracks)
    path = nm.export_tracks(
        tracks, tmp_path / 'cells.tif', dividing_cells.labels
    )
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == 'TYX'
        pixels = file.asarray()
    assert set(np.unique(pixels)) == {0, *tracks.ids.tolist()}
    lazy = dask.array.from_array(dividing_cells.labels)
    nm.export_tracks(tracks, tmp_path / 'lazy.tif', lazy)
    again = tifffile.imread(tmp_path / 'lazy.tif')
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize(
    ('name', 'error', 'words'),
    [
        ('cells.docx', TrackError, r'written as \.xml'),
        ('cells.tif', TrackError, 'needs the labels'),
        ('none/cells.csv', OSError, 'no folder'),
        ('there.csv', FileExistsError, 'file .*there.csv already'),
    ],
)
def test_targets_that_cannot_be_are_refused(
    tracks, tmp_path, name, error, words
):
    (tmp_path / 'there.csv').write_text('mine')
    with pytest.raises(error, match=words):
        nm.export_tracks(tracks, tmp_path / name)
    assert (tmp_path / 'there.csv').read_text() == 'mine'


@pytest.mark.parametrize('name', ['a.xml', 'a.tif', 'a'])
@pytest.mark.parametrize(
    'other',
    [
        lambda labels: labels[:3],
        lambda labels: np.concatenate([labels, labels]),
        lambda labels: labels + 100 * (labels > 0).astype(labels.dtype),
        lambda labels: labels[:, None],
    ],
)
def test_other_labels_are_refused(
    tracks, dividing_cells, tmp_path, name, other
):
    with pytest.raises(TrackError, match='give the labels that were tracked'):
        nm.export_tracks(tracks, tmp_path / name, other(dividing_cells.labels))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    'odd',
    [
        {'scale': (float('nan'), 1)},
        {'scale': (0, 1)},
        {'scale': (-1, 1)},
        {'scale': (1,)},
        {'scale': 'a'},
        {'units': 5},
    ],
)
def test_odd_pixel_sizes_are_refused(tracks, tmp_path, odd):
    with pytest.raises(SegmentationError, match='is '):
        nm.export_tracks(tracks, tmp_path / 'a.xml', **odd)
    with pytest.raises(SegmentationError, match='tracks is None'):
        nm.export_tracks(None, tmp_path / 'a.xml')


def test_folders_are_never_replaced(tracks, dividing_cells, tmp_path):
    (tmp_path / 'res').mkdir()
    (tmp_path / 'res' / 'mine').write_text('mine')
    with pytest.raises(FileExistsError, match='folder .*already'):
        nm.export_tracks(
            tracks, tmp_path / 'res', dividing_cells.labels, overwrite=True
        )
    assert (tmp_path / 'res' / 'mine').read_text() == 'mine'


def test_command_writes_what_is_asked_for(dividing_cells, tmp_path, capsys):
    labels = tmp_path / 'labels.tif'
    tifffile.imwrite(
        labels, dividing_cells.labels, imagej=True, metadata={'axes': 'TYX'}
    )
    outputs = [str(tmp_path / name) for name in ('res', 'cells.csv')]
    assert main(['track', str(labels), '-o', *outputs, '--quiet']) == 0
    said = capsys.readouterr().out
    assert said.startswith('13 tracks of 80 objects, 2 divisions')
    assert (tmp_path / 'res' / 'res_track.txt').is_file()
    assert main(['track', str(labels), '-o', *outputs, '--quiet']) == 3
    assert 'exists' in capsys.readouterr().err
    other = str(tmp_path / 'whole.xml')
    options = ['--no-divisions', '--max-distance', '30', '--quiet']
    assert main(['track', str(labels), '-o', other, *options]) == 0
    assert '0 divisions' in capsys.readouterr().out


def test_command_names_the_extra_that_is_missing(
    dividing_cells, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'laptrack', None)
    labels = tmp_path / 'labels.tif'
    tifffile.imwrite(labels, dividing_cells.labels)
    assert main(['track', str(labels), '-o', str(tmp_path / 'out.csv')]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'pip install "napari-mobilesam[track]"' in said


def test_command_refuses_a_single_label_image(tmp_path, capsys):
    labels = tmp_path / 'labels.tif'
    tifffile.imwrite(labels, np.ones((8, 8), np.uint8))
    out = str(tmp_path / 'out.csv')
    assert main(['track', str(labels), '-o', out]) == 2
    assert 'frames along the first axis' in capsys.readouterr().err


def test_command_line_keeps_its_input(tmp_path, capsys):
    path = tmp_path / 'labels.tif'
    tifffile.imwrite(path, np.ones((5, 20, 20), np.uint8))
    before = path.read_bytes()
    given = ['track', str(path), '--quiet', '--overwrite', '-o']
    assert main([*given, str(path)]) == 2
    assert 'labels.tif is an input' in capsys.readouterr().err
    assert path.read_bytes() == before
    image = tmp_path / 'image.tif'
    image.write_bytes(before)
    assert main([*given, str(image), '--image', str(image)]) == 2
    assert 'image.tif is an input' in capsys.readouterr().err
    assert image.read_bytes() == before
    table = str(tmp_path / 'a.csv')
    assert main([*given, table, table]) == 3
    assert 'is given twice' in capsys.readouterr().err
    assert not Path(table).exists()


def test_the_time_between_frames(tmp_path):
    path = tmp_path / 'labels.tif'
    tifffile.imwrite(
        path,
        np.ones((5, 20, 20), np.uint16),
        imagej=True,
        resolution=(2, 2),
        metadata={'axes': 'TYX', 'unit': 'um', 'finterval': 30.0},
    )
    outputs = [str(tmp_path / name) for name in ('a.tif', 'a.xml')]
    assert main(['track', str(path), '-o', *outputs, '--quiet']) == 0
    found = nm.read_labels(outputs[0])
    assert found.scale == (30.0, 0.5, 0.5)
    assert found.units == ('second', 'micrometer', 'micrometer')
    root = ElementTree.parse(outputs[1]).getroot()
    model = root.find('Model')
    assert (model.get('spatialunits'), model.get('timeunits')) == ('µm', 'sec')
    times = [float(spot.get('POSITION_T')) for spot in root.iter('Spot')]
    assert times == [0, 30, 60, 90, 120]


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, 3, 4, 5])
def test_frames_that_look_like_colours_are_frames(tmp_path, capsys, count):
    path, output = tmp_path / 'labels.tif', tmp_path / 'tracks.csv'
    # tifffile takes three and four planes for colours
    tifffile.imwrite(path, np.ones((count, 20, 20), np.uint16))
    assert main(['track', str(path), '-o', str(output), '--quiet']) == 0
    assert f'1 track of {count} objects' in capsys.readouterr().out


def test_a_track_with_a_gap_is_two_of_the_challenge(tmp_path):
    labels = np.zeros((6, 40, 40), np.uint16)
    labels[[0, 1, 3, 4, 5], 5:15, 5:15] = 1
    labels[:, 25:35, 25:35] = 2
    tracks = nm.track_labels(labels, nm.LinkingParameters(gap=1))
    assert len(set(tracks.ids.tolist())) == 2
    folder = nm.export_tracks(tracks, tmp_path / 'res', labels)
    rows = [
        tuple(map(int, line.split()))
        for line in (folder / 'res_track.txt').read_text().splitlines()
    ]
    assert len(rows) == 3
    for number, first, last, _ in rows:
        for frame in range(6):
            there = (tifffile.imread(folder / f'mask{frame:03}.tif')) == number
            assert there.any() == (first <= frame <= last)
    ((parent, child),) = [(r[3], r) for r in rows if r[3]]
    assert child[1:3] == (3, 5)
    assert (parent, 0, 1, 0) in rows
