"""Objects of slides: opened, edited, deleted, undone on sparse pyramids."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from endless import Endless
from fakes import FakeTarget
from viewer.oracle import OracleSam

from napari_mobilesam.session import ImagePlane, Session
from napari_mobilesam.session.images.planes import PlaneLevel, PlaneView
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.sparse_labels import (
    PLANE_PIXELS,
    label_pyramid,
    write_levels,
)
from napari_mobilesam.session.objects.targets import (
    LabelsError,
    Pixels,
    mask_of_label,
)

SIDE = 40_960
# a bright square is every 40 pixels, 16 wide
HERE, BESIDE = (20_008, 20_008), (20_048, 20_008)


class SparseTarget(FakeTarget):
    """Labels of one plane larger than memory."""

    def __init__(self):
        super().__init__((1, 1, 1), np.uint16)
        self.levels = label_pyramid((SIDE, SIDE))
        self.data = self.levels[0]

    @property
    def limit(self):
        return 65_535

    def locate(self, plane, picture, corner):
        rows, columns = np.nonzero(picture)
        where = rows + corner[0], columns + corner[1]
        return Pixels(where, picture[rows, columns])

    def picture(self, plane, box, data=None):
        data = self.data if data is None else data
        return data[box[0] : box[2], box[1] : box[3]]

    def write(self, indices, values):
        write_levels(self.levels, indices, values)

    def array(self):
        return None

    def row(self, pixels):
        return None

    def paint(self, rows, columns, label):
        """Paint a box, not as part of a step."""
        where = np.indices((rows.stop - rows.start, len(range(*columns))))
        indices = (
            where[0].ravel() + rows.start,
            where[1].ravel() + columns[0],
        )
        self.write(indices, np.full(len(indices[0]), label, np.uint16))


class SlideScene:
    """A lazy slide, and labels for it."""

    def __init__(self):
        levels = [
            PlaneView(array, (0, 0), (0, 1))
            for array in Endless.pyramid(SIDE, 6)
        ]
        coarser = [PlaneLevel(a.shape, lambda a=a: a) for a in levels[1:]]
        self._plane = ImagePlane(
            'slide',
            lambda: levels[0],
            (SIDE, SIDE),
            (0, 255),
            coarser=tuple(coarser),
        )
        self.target = SparseTarget()
        self._objects = Objects(self.target)

    def plane(self):
        return self._plane

    def objects(self, create):
        return self._objects

    def undoables(self):
        return [self._objects]

    def has_pixels(self, plane):
        return True

    def describe(self, plane):
        return {}


@pytest.fixture
def slide():
    model = OracleSam()
    session = Session(
        load_model=lambda name: model, model_name='oracle', scene=SlideScene()
    )
    session.target = session.scene.target
    yield session
    session.close()


def seen(session, place=HERE, side=40):
    """Return the labels around a position, checked on all levels."""
    levels = session.target.levels
    row, column = (n - side for n in place)
    row, column = row // 32 * 32, column // 32 * 32
    finest = np.asarray(
        levels[0][row : row + 4 * side, column : column + 4 * side]
    )
    for step, level in enumerate(levels):
        part = finest[:: 1 << step, :: 1 << step]
        top, left = row >> step, column >> step
        coarse = level[top : top + part.shape[0], left : left + part.shape[1]]
        assert np.array_equal(np.asarray(coarse), part), f'level {step}'
    return finest


def test_planes_as_large_as_this_get_a_pyramid():
    assert SIDE**2 > PLANE_PIXELS


@pytest.mark.slow
def test_object_is_opened_corrected_deleted_and_undone(slide):
    slide.click(*HERE)
    slide.accept()
    whole = seen(slide)
    assert (whole == 1).sum() == pytest.approx(16**2, rel=0.3)
    record = slide.open(at=HERE)
    assert record.number == 1
    assert record.prompts == 1
    slide.click(20_012, 20_012, positive=False)
    slide.accept()
    part = seen(slide)
    assert 0 < (part == 1).sum() < (whole == 1).sum()
    assert slide.undo() == 'change of object 1'
    assert np.array_equal(seen(slide), whole)
    slide.open(1)
    slide.delete()
    assert not seen(slide).any()
    assert slide.target.data.max() == 0
    slide.undo()
    assert np.array_equal(seen(slide), whole)
    slide.redo()
    assert not seen(slide).any()
    # numbers go on, pixels of the neighbour are its own
    slide.undo()
    slide.click(*BESIDE)
    assert slide.accept().label == 2
    slide.open(1)
    slide.delete()
    assert set(np.unique(seen(slide, BESIDE))) == {0, 2}


@pytest.mark.slow
def test_label_of_somebody_else_is_edited_and_deleted(slide):
    rows, columns = slice(20_000, 20_016), (20_000, 20_016)
    slide.target.paint(rows, columns, 7)
    before = seen(slide)
    record = slide.open(at=HERE)
    assert (record.label, record.origin) == (7, 'labels')
    assert record.masks[0].area == 16**2
    slide.click(*HERE)
    slide.click(20_001, 20_001, positive=False)
    slide.accept()
    corrected = seen(slide)
    assert set(np.unique(corrected)) == {0, 7}
    assert slide.target.data[20_001, 20_001] == 0
    assert not np.array_equal(corrected, before)
    slide.undo()
    assert np.array_equal(seen(slide), before)
    slide.open(at=HERE)
    slide.delete()
    assert not seen(slide).any()
    slide.undo()
    assert np.array_equal(seen(slide), before)


@pytest.mark.parametrize('corner', [(0, 0), (SIDE - 20, SIDE - 30)])
def test_label_at_the_edge_of_the_plane(slide, corner):
    row, column = corner
    slide.target.paint(slice(row, row + 20), (column, column + 30), 3)
    mask = mask_of_label(slide.target, slide.scene.plane(), row, column)
    assert mask.box == (row, column, row + 20, column + 30)
    assert mask.data.all()
    slide.open(at=(row + 5, column + 5))
    slide.delete()
    assert slide.target.data.max() == 0


@pytest.mark.slow
def test_something_long_and_thin_is_found_without_reading_the_plane(slide):
    """A long thin object, such as a vessel, needs no square box."""
    slide.target.paint(slice(900, 904), (0, SIDE), 5)
    tracemalloc.start()
    mask = mask_of_label(slide.target, slide.scene.plane(), 901, 30_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.box == (900, 0, 904, SIDE)
    assert peak < 200e6
    slide.open(at=(901, 30_000))
    slide.delete()
    assert slide.target.data.max() == 0


def test_what_is_too_large_to_be_one_object_says_so(slide, monkeypatch):
    monkeypatch.setattr(
        'napari_mobilesam.session.objects.targets.MOST_PIXELS', 400**2
    )
    slide.target.paint(slice(1000, 1600), (1000, 1600), 4)
    with pytest.raises(LabelsError, match='too large to be edited'):
        slide.open(at=(1300, 1300))
    assert slide.editor.record.empty


@pytest.mark.slow
def test_large_object_is_deleted_and_comes_back(slide, monkeypatch):
    """Written in many parts, none of which holds all pixels."""
    monkeypatch.setattr(
        'napari_mobilesam.session.objects.sparse_labels.AT_ONCE', 10_000
    )
    slide.target.paint(slice(1000, 2200), (1100, 2500), 4)
    place = (1000, 1100)
    before = seen(slide, place, 400)
    slide.open(at=(1500, 1500))
    slide.delete()
    assert slide.target.data.max() == 0
    slide.undo()
    assert np.array_equal(seen(slide, place, 400), before)
    assert np.count_nonzero(slide.target.data[1000:2200, 1100:2500]) == (
        1200 * 1400
    )
