"""Random sequences of commands: what has to be true after each of them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from fakes import oracle_session

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.segmentation.filters import ObjectFilters
from napari_mobilesam.types import EverythingParameters, SegmentationError

# at which the oracle sees squares of 10 to 22 pixels
PARAMETERS = EverythingParameters(diameter=20.0)
AREAS = (None, (0.0, 200.0), (150.0, 9999.0), (0.0, 300.0), (250.0, 9999.0))
SIDE = 6


def squares(seed):
    rng = np.random.default_rng(seed)
    image = np.full((96, 128), 10, np.uint8)
    for row in (8, 40, 70):
        for column in (8, 50, 92):
            side = int(rng.integers(10, 22))
            image[row : row + side, column : column + side] = 200
    return image


IMAGES = [squares(1), squares(2)]


class Walk:
    """A user who does anything in any order."""

    def __init__(self, seed, session, painting):
        self.rng = random.Random(seed)  # noqa: S311 - chooses tests
        self.session = session
        self.painting = painting
        self.painted = []
        self.done = []

    def step(self):
        names = 'run filter filter filter slide click edit keep delete'
        names += ' undo redo similar turn' + ' paint' * self.painting
        name = self.rng.choice(names.split())
        self.done.append(name)
        try:
            getattr(self, name)()
        except SegmentationError:
            self.session.reject()

    def run(self):
        scene = self.session.scene
        planes = self.rng.choice([None, scene.stack()])
        linked = self.rng.random() < 0.3
        self.session.segment_everything(planes, PARAMETERS, linked=linked)

    def selection(self):
        filters = ObjectFilters(area=self.rng.choice(AREAS))
        least = self.rng.choice([None, 0.5, 0.8])
        return Selection(predicted_iou=least, filters=filters)

    def filter(self):
        self.session.filter_everything(self.selection())

    def slide(self):
        """Move a slider: its positions are one step."""
        commands = self.session._everything_commands
        self.filter()
        for _ in range(self.rng.randint(1, 3)):
            chosen = self.selection()
            result = commands._parts.waiter.answer(
                self.session.runs.selected,
                lambda c=chosen: self.session.runs.select(c),
            )
            commands._output.write(result, 'slider')

    def place(self):
        return self.rng.uniform(2, 93), self.rng.uniform(2, 125)

    def click(self):
        self.session.click(*self.place())
        self.session.accept()

    def open(self):
        objects = self.session.scene.objects(False) or ()
        numbers = [record.number for record in objects]
        if not numbers:
            raise SegmentationError('nothing')
        self.session.open(self.rng.choice(numbers))

    def edit(self):
        self.open()
        positive = self.rng.random() < 0.5
        self.session.click(*self.place(), positive=positive)
        self.session.accept()

    def keep(self):
        self.open()
        self.session.accept()

    def delete(self):
        self.open()
        self.session.delete()

    def undo(self):
        self.session.undo()

    def redo(self):
        self.session.redo()

    def similar(self):
        self.session.find_similar()

    def turn(self):
        self.session.scene.shown = 1 - self.session.scene.shown

    def paint(self):
        """Paint a square with a new label, as with napari's brush."""
        target = self.session.scene.target
        if target is not None:
            label = int(target.data.max()) + 1
            row, column = self.rng.randint(0, 80), self.rng.randint(0, 100)
            part = np.s_[
                self.session.scene.shown,
                row : row + SIDE,
                column : column + SIDE,
            ]
            target.data[part] = label
            self.painted.append((part, label))

    def check(self):
        objects = self.session.scene.objects(False)
        if objects is None:
            return
        labels = [record.label for record in objects]
        assert len(labels) == len(set(labels)), self.done
        self.check_table(set(labels))
        for part, label in self.painted:
            # written over by an object at most
            assert self.session.scene.target.data[part].all(), self.done
            assert label not in labels, self.done

    def check_table(self, labels):
        """Check that objects, rows and pixels are of the same labels."""
        target = self.session.scene.target
        found, counts = np.unique(target.data, return_counts=True)
        pixels = dict(zip(found.tolist(), counts.tolist(), strict=True))
        others = {0, *(label for _, label in self.painted)}
        assert pixels.keys() - others == labels, self.done
        table = target.table
        assert set(table['index']) == labels, self.done
        if 'area' in table and not self.painted:
            # those from before the first run were not measured
            areas = table.set_index('index')['area'].dropna().to_dict()
            assert areas == {n: pixels[n] for n in areas}, self.done


@pytest.fixture
def sessions():
    made = []

    def make():
        made.append(oracle_session(IMAGES))
        return made[-1]

    yield make
    for session in made:
        session.close()


SEEDS = [
    *range(6),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 120)),
]


@pytest.mark.slow
@pytest.mark.parametrize('seed', SEEDS)
def test_painted_pixels_stay_and_labels_are_not_shared(sessions, seed):
    walk = Walk(seed, sessions(), painting=True)
    for _ in range(walk.rng.randint(4, 16)):
        walk.step()
        walk.check()


@pytest.mark.slow
@pytest.mark.parametrize('seed', SEEDS)
def test_the_script_undo_and_redo_repeat_it(sessions, seed):
    walk = Walk(seed, sessions(), painting=False)
    for _ in range(walk.rng.randint(4, 16)):
        walk.step()
        walk.check()
    session = walk.session
    names = {'new_session': sessions}
    exec(compile(session.script(), 'script.py', 'exec'), names)  # noqa: S102
    target = session.scene.target
    if target is None:
        return
    again = names['session'].scene.target
    data = np.zeros_like(target.data) if again is None else again.data
    assert np.array_equal(data, target.data), walk.done
    end, steps = target.data.copy(), 0
    while session.undo() is not None:
        steps += 1
        walk.check()
    assert not target.data.any(), walk.done
    for _ in range(steps):
        session.redo()
        walk.check()
    assert np.array_equal(target.data, end), walk.done
