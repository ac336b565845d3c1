from __future__ import annotations

import numpy as np
import pytest
from segmentation.helpers import assert_each_found_once, disc
from segmentation.oracle import Oracle

from napari_mobilesam.large import propose
from napari_mobilesam.large.contrast_and_size import (
    contrast_of,
    percentiles_of,
)
from napari_mobilesam.large.io.sources import open_source
from napari_mobilesam.large.large_plan import (
    LargeParameters,
    checked_large,
    make_plan,
)
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.large.scan import scan_blocks
from napari_mobilesam.segmentation.everything import segment_everything
from napari_mobilesam.types import ImageError, SegmentationError

from .images import (
    DIAMETER,
    INPUT_SIZE,
    Discs,
    drawn,
    field_of_discs,
    small_model,
    whole_model,
)

SHAPE = (300, 512)


def segmented(image, model=None, **options):
    options = {
        'diameter': DIAMETER,
        'executor': 'serial',
        'adaptive': False,
        **options,
    }
    return segment_large(image, model=model or small_model(), **options)


@pytest.mark.parametrize(
    'shape',
    [
        (150, 272),
        pytest.param((272, 100), marks=pytest.mark.slow),
        pytest.param((261, 272), marks=pytest.mark.slow),
    ],
)
def test_tiles_and_the_whole_agree_exactly(shape):
    image = drawn(shape, *field_of_discs(shape, seed=sum(shape)))
    tiled = segmented(image)
    whole = segmented(image, whole_model())
    assert whole.tiles == 1 < tiled.tiles
    np.testing.assert_array_equal(tiled.labels, whole.labels)
    same = [name for name in tiled.table if not name.startswith('tile_')]
    assert tiled.table[same].equals(whole.table[same])
    labels, table = segment_everything(
        image, whole_model(), diameter=DIAMETER, adaptive=False
    )
    np.testing.assert_array_equal(tiled.labels, labels)
    shared = ['label', 'area', 'row0', 'column1']
    assert (tiled.table[shared].values == table[shared].values).all()
    np.testing.assert_allclose(tiled.table['row'], table['row'])


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(4))
def test_crowded_places_agree_exactly(seed):
    random = np.random.default_rng(seed)
    discs = [
        (int(row), int(column), int(radius))
        for row, column, radius in zip(
            random.integers(0, 160, 30),
            random.integers(0, 256, 30),
            random.integers(5, 12, 30),
            strict=True,
        )
    ]
    # Discs that touch are one object, up to the size of a halo and beyond.
    # None reaches column 272, behind which a tile has padding and the whole
    # image has not.
    image = drawn((160, 272), *discs)
    image[:, ::48] = 0
    image[::48] = 0
    tiled = segmented(image)
    np.testing.assert_array_equal(
        tiled.labels, segmented(image, whole_model()).labels
    )
    assert not tiled.cut


@pytest.mark.slow
def test_the_result_says_what_was_found():
    image = drawn(SHAPE, (60, 60, 14), (150, 200, 12))
    result = segmented(image)
    assert result.labels.dtype == np.uint32
    assert result.complete
    assert result.failed == result.cut == ()
    table = result.table
    assert table['label'].tolist() == [1, 2]
    for row in table.itertuples():
        pixels = np.argwhere(result.labels == row.label)
        assert row.area == len(pixels)
        assert [row.row, row.column] == pixels.mean(axis=0).tolist()
        assert [row.row0, row.column0] == pixels.min(axis=0).tolist()
        assert [row.row1, row.column1] == (pixels.max(axis=0) + 1).tolist()
        assert row.plane == 0
        assert row.tile_row <= row.row0
        assert row.tile_column <= row.column0


SEAMS = {
    'four corners': [(160, 160, 20)],
    'larger than the halo': [(160, 200, 50)],
    'larger than a tile': [(150, 250, 110)],
    'touching neighbours': [(160, 160, 15), (160, 192, 15), (191, 160, 15)],
    'at the border': [(0, 250, 30), (299, 511, 25), (150, 0, 40)],
    'at every place': [(40 * i + 20, 55 * i + 25, 16) for i in range(7)],
}


@pytest.mark.slow
@pytest.mark.parametrize('name', SEAMS)
def test_no_object_is_doubled_or_cut_at_a_seam(name):
    discs = SEAMS[name]
    result = segmented(drawn(SHAPE, *discs))
    planes = [
        disc(SHAPE, (row, column), radius) for row, column, radius in discs
    ]
    assert_each_found_once(result.labels, planes, 0.8)
    assert result.cut == ()


@pytest.mark.slow
def test_faint_masks_of_coarser_tiles_are_told_at_their_size(monkeypatch):
    told = set()

    def keeping(masks, rgb, diameter):
        told.add(diameter)
        return masks

    monkeypatch.setattr(propose, 'without_faint', keeping)
    segmented(drawn(SHAPE, *SEAMS['larger than a tile']))
    assert told == {DIAMETER, DIAMETER / 2, DIAMETER / 4}


@pytest.mark.slow
def test_no_object_vanishes_silently():
    image = drawn(SHAPE, (150, 250, 120), (20, 20, 14))
    result = segmented(image, coarser=0)
    assert result.labels.max() == 1
    assert len(result.cut) == 1
    box = result.cut[0].box
    assert box[0] <= 31 and box[1] <= 131 and box[2] >= 270 and box[3] >= 370
    assert result.complete


@pytest.mark.slow
def test_tiles_with_nothing_are_left_out_and_those_with_an_object_never():
    shape = (1000, 1200)
    discs = ((5, 5, 6), (500, 700, 15), (993, 1193, 6))
    source = Discs(shape, discs, depth=4)
    result = segmented(source)
    flat = segmented(Discs(shape, discs))
    assert result.labels.max() == 3
    np.testing.assert_array_equal(result.labels, flat.labels)
    assert result.skipped > 0.9 * result.tiles
    assert flat.skipped == 0


@pytest.mark.slow
@pytest.mark.parametrize('radius', [2, 3, 4, 6])
@pytest.mark.parametrize('place', [(127, 127), (64, 190), (97, 31)])
def test_no_tile_with_an_object_is_left_out(radius, place):
    source = Discs((384, 384), ((*place, radius),), depth=4)
    flat = segmented(Discs(source.shape, source.discs))
    result = segmented(source)
    assert result.skipped > 0 == flat.skipped
    np.testing.assert_array_equal(result.labels, flat.labels)


@pytest.mark.slow
def test_a_slide_starts_at_once():
    shape = (40_000, 40_000)
    reads = []

    class Watched(Discs):
        def read(self, plane, level, window):
            row0, column0, row1, column1 = window
            reads.append((row1 - row0) * (column1 - column0))
            return super().read(plane, level, window)

    source = Watched(shape, ((300, 24_000, 14),), depth=8)
    plan = make_plan(source, small_model(), checked_large(None, {}))
    assert plan.diameter is not None
    assert plan.tiles > 8_000
    first = next(block for block, _ in scan_blocks(plan) if block.tiles)
    window = plan.grid.window(*first.tiles[-1])
    factor = plan.view.factor[0]
    assert window[0] <= 300 / factor < window[2]
    assert window[1] <= 24_000 / factor < window[3]
    # Less than a hundredth of the slide, and no large part at once.
    assert max(reads) < 5e6
    assert sum(reads) < 1.6e7


@pytest.mark.parametrize(
    ('side', 'diameter', 'words'),
    [
        (10**9, None, 'too many for one run'),
        (10**9, DIAMETER, '1000000000 × 1000000000 pixels'),
        # few tiles, but none of them can be read
        (10**9, 10**5, 'too many for one run'),
        (10**7, DIAMETER, 'tiles, more than the 10,000,000 of one run'),
    ],
)
def test_an_image_of_more_tiles_than_one_run_is_refused(side, diameter, words):
    source = Discs((side, side), ((300, 60_000, 14),), depth=2)
    parameters = checked_large(None, {'diameter': diameter})
    with pytest.raises(ImageError, match=words):
        make_plan(source, small_model(), parameters)


def test_an_endless_image_is_refused_before_a_model_is_loaded(tmp_path):
    def load():
        raise AssertionError('a model is loaded')

    source = Discs((10**9, 10**9), ())
    with pytest.raises(ImageError, match='too many for one run'):
        segment_large(source, tmp_path / 'out.ome.zarr', load)
    assert not list(tmp_path.iterdir())


def test_a_run_over_empty_tiles_can_be_cancelled():
    source = Discs((3000, 3000), ((2900, 2900, 15),), depth=4)
    told = []
    result = segmented(
        source,
        progress=lambda done, total, message: told.append(done),
        cancelled=lambda: len(told) > 3,
    )
    assert not result.complete
    assert result.labels.max() == 0
    assert 0 < result.skipped < result.tiles / 2


@pytest.mark.slow
def test_large_objects_are_worked_through_at_a_coarser_level():
    shape = (900, 1100)
    discs = field_of_discs(shape, pitch=180)
    discs = tuple((r, c, 4 * radius) for r, c, radius in discs)
    source = Discs(shape, discs, depth=4)
    result = segmented(source, diameter=4 * DIAMETER)
    flat = segmented(Discs(shape, discs), diameter=4 * DIAMETER)
    planes = [
        disc(shape, (row, column), radius) for row, column, radius in discs
    ]
    for found in (result, flat):
        assert_each_found_once(found.labels, planes, 0.85)
        assert found.labels.shape == shape
        assert found.table['row1'].max() > 600


@pytest.mark.slow
def test_planes_are_linked():
    discs = field_of_discs((200, 260))
    stack = np.stack(
        [
            drawn((200, 260), *((r, c + 3 * z, rad) for r, c, rad in discs))
            for z in range(3)
        ]
    )
    linked = segmented(stack)
    assert linked.labels.shape == stack.shape
    for plane in linked.labels:
        assert len(np.unique(plane)) == len(discs) + 1
    assert linked.labels.max() == len(discs)
    assert linked.table.groupby('plane').size().tolist() == [len(discs)] * 3
    apart = segmented(stack, link=False)
    assert apart.labels.max() == 3 * len(discs)
    np.testing.assert_array_equal(apart.labels > 0, linked.labels > 0)


@pytest.mark.slow
def test_colours_and_bit_depths_do_not_matter():
    image = drawn(SHAPE, *field_of_discs(SHAPE))
    labels = segmented(image).labels
    for other in (
        image.astype(np.uint16) * 200 + 7,
        image / 255.0,
        np.stack([image] * 3, axis=-1),
    ):
        np.testing.assert_array_equal(segmented(other).labels, labels)


@pytest.mark.slow
def test_asking_less_finds_the_same():
    shape = (600, 700)
    image = drawn(shape, *field_of_discs(shape, pitch=70))
    full, less = (CountingModel() for _ in range(2))
    np.testing.assert_array_equal(
        segmented(image, less, adaptive=True).labels,
        segmented(image, full, adaptive=False).labels,
    )
    assert less.asked < 0.7 * full.asked


class CountingModel(Oracle):
    """A small model that counts its prompts."""

    def __init__(self) -> None:
        super().__init__(INPUT_SIZE, best=DIAMETER)
        self.asked = 0

    def image_decoder(self, features):
        decoder = super().image_decoder(features)
        attend = decoder.attend

        def counting(points, labels):
            self.asked += len(points)
            return attend(points, labels)

        decoder.attend = counting
        return decoder


@pytest.mark.slow
def test_one_contrast_for_all_tiles():
    # A dim object alone in its tile is as dim as anywhere.
    image = drawn(SHAPE, *field_of_discs(SHAPE)) // 2
    image[:, 300:] = drawn((300, 212), (150, 100, 14)) // 16
    image[0, :100] = 255
    labels = segmented(image, contrast_limits=((0, 100),)).labels
    assert labels[:, :280].max() > 10
    assert not labels[:, 310:].any()


def test_contrast_of_a_mosaic_with_little_in_it():
    image = np.full((2100, 2100), np.nan, np.float32)
    image[400:600, 400:600] = np.linspace(10, 20, 200)
    source = open_source(image)
    for limits in (contrast_of(source), percentiles_of(source, 0, 100)):
        assert limits[0] == pytest.approx((10, 20), abs=1)


def test_small_objects_go_and_holes_are_filled():
    image = drawn((300, 300), (100, 100, 16))
    image[95:100, 95:100] = 0
    holes = segmented(image)
    clean = segmented(image, min_area=80)
    assert clean.table['area'].sum() > holes.table['area'].sum()


def test_the_least_area_is_in_pixels_of_the_finest_level():
    image = drawn((300, 300), (100, 100, 16))
    image[95:100, 95:100] = 0
    fine = image.repeat(4, 0).repeat(4, 1)
    levels = [fine, fine[::2, ::2], image]
    kept, filled = (
        segmented(levels, diameter=4 * DIAMETER, min_area=area).table['area']
        for area in (160, 16 * 80)
    )
    assert filled.sum() > kept.sum()


@pytest.mark.slow
def test_what_a_tile_found_is_told_at_once():
    image = drawn(SHAPE, *field_of_discs(SHAPE))
    told = []
    result = segmented(image, on_tile=told.append)
    assert len(told) == result.tiles
    for tile in told:
        for mask in tile.masks:
            row0, column0, row1, column1 = mask.box
            assert image[row0:row1, column0:column1][mask.data].mean() > 250
    assert sum(len(tile.masks) for tile in told) >= len(result.table)


@pytest.mark.slow
def test_progress_counts_tiles_to_the_end():
    seen = []
    result = segmented(
        drawn(SHAPE, *field_of_discs(SHAPE)),
        progress=lambda *report: seen.append(report),
    )
    done = [report[0] for report in seen]
    assert done == sorted(done)
    assert done[0] == 0
    assert seen[-1][:2] == (result.tiles, result.tiles)
    assert f'{result.tiles} of {result.tiles} tiles' in seen[-2][2]


@pytest.mark.slow
def test_progress_does_not_move_its_goal():
    """Objects on the borders of tiles are counted for themselves."""
    seen = []
    large = (80, 190, 66)  # larger than a tile
    segmented(
        drawn((170, 272), *field_of_discs((170, 100)), large),
        progress=lambda *report: seen.append(report),
    )
    goals: dict[str, set[int]] = {}
    for _, total, message in seen:
        noun = message.split(',')[0].lstrip('0123456789 of')
        goals.setdefault(noun, set()).add(total)
    assert 'tiles' in goals
    assert any('borders' in noun for noun in goals)
    assert len(goals['tiles']) == 1
    of_tiles = [report for report in seen if ' tiles, ' in report[2]]
    done = [report[0] for report in of_tiles if 'borders' not in report[2]]
    assert done == sorted(done)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'crop_layers': 1, 'diameter': None}, 'crop_layers'),
        ({'whole_image': True, 'diameter': None}, 'whole_image'),
        ({'coarser': -1}, 'coarser'),
        ({'diameter': 0}, 'diameter'),
        ({'link_iou': 2}, 'link_iou'),
        ({'executor': 'magic', 'model': small_model}, 'executor'),
        ({'workers': 0, 'executor': 'threads'}, 'workers'),
        ({'executor': 'processes'}, 'name or its path'),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(SegmentationError, match=message):
        segmented(np.zeros((40, 40), np.uint8), **options)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(TypeError, match='diametre'):
        segmented(np.zeros((40, 40), np.uint8), diametre=3)


@pytest.mark.slow
def test_parameters_may_be_given_together():
    image = drawn(SHAPE, *field_of_discs(SHAPE))
    parameters = LargeParameters(coarser=0)
    result = segmented(image, parameters=parameters)
    np.testing.assert_array_equal(result.labels, segmented(image).labels)


@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (200, 2)])
def test_odd_and_empty_images_end_well(shape):
    result = segmented(np.zeros(shape, np.uint8), diameter=None)
    assert result.labels.shape == shape
    assert not result.labels.any()
    assert len(result.table) == 0
    assert result.complete
