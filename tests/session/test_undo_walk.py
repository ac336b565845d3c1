"""Random writes, alone and while jobs write: what undo and redo restore."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from fakes import FakeTarget, plane_at

from napari_mobilesam.segmentation.candidates import Selection
from napari_mobilesam.session import EverythingRequest, EverythingResult
from napari_mobilesam.session.everything.everything_messages import (
    Extent,
    PlaneMask,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.result_writer import ResultWriter
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.targets import LabelsError, WriteOptions
from napari_mobilesam.session.objects.writing import (
    assign_class,
    finished,
    reassign_class,
    write_object,
)
from napari_mobilesam.session.prompts.batch import (
    Batch,
    BatchItem,
    BatchSegmentation,
    _Answer,
)
from napari_mobilesam.session.prompts.propagation import PropagatedPlane
from napari_mobilesam.session.prompts.propagation_run import (
    Propagation,
    PropagationRun,
)
from napari_mobilesam.types import (
    EverythingParameters,
    Mask,
    Prompts,
    SegmentationError,
)

PLANES = [plane_at(z, (24, 28)) for z in range(3)]
SHAPE = (3, 24, 28)
# A label from another program. Lower ones are of the brush, higher ones of
# objects.
LEFT = 100
MASKS = 8


class HeldBackground:
    """Holds a job, for the test to take its results one by one."""

    def start(self, job, end):
        self.job = job
        self.end = end


class Walk:
    """A user who writes, while a batch and a slider may do so, too."""

    def __init__(self, seed):
        self.rng = random.Random(seed)  # noqa: S311 - chooses tests
        self.target = FakeTarget(SHAPE, np.uint16)
        # written in one go, or one by one
        self.target.few = self.rng.choice([0, 10**9])
        self.target.data[0, 2:6, 2:6] = LEFT
        self.target.table = pd.DataFrame({'index': [LEFT], 'area': [16]})
        self.start = self.target.data.copy()
        # as it would be if only the brush had painted
        self.brushed = self.target.data.copy()
        self.objects = Objects(self.target)
        overwrite = self.rng.random() < 0.5
        self.output = EverythingOutput(self.objects, PLANES, overwrite)
        self.writer = ResultWriter(self.output, self._apart)
        self.found = [self._mask() for _ in range(MASKS)]
        self.later = []
        self.jobs = []
        self.done = []

    def step(self, names):
        name = self.rng.choice(names)
        self.done.append(name)
        try:
            getattr(self, name)()
        except SegmentationError as error:
            self.done[-1] += f' ({error})'

    def _mask(self):
        height, width = self.rng.randint(2, 9), self.rng.randint(2, 9)
        row = self.rng.randint(0, SHAPE[1] - height)
        column = self.rng.randint(0, SHAPE[2] - width)
        data = np.ones((height, width), bool)
        data[0, : self.rng.randint(0, width - 1)] = False
        box = (row, column, row + height, column + width)
        return Mask(data, box, self.rng.uniform(0.5, 1), 0.9)

    def _view(self, plane=None):
        mask = self._mask()
        return ObjectView(
            plane or self.rng.choice(PLANES),
            Prompts(box=np.array(mask.box, float)),
            ObjectCandidates((mask,)),
        )

    def _options(self):
        policy = self.rng.choice(['overwrite', 'overwrite', 'keep'])
        return WriteOptions(policy)

    def _any(self):
        records = list(self.objects)
        if not records:
            raise LabelsError('none')
        return self.rng.choice(records)

    # what a user does

    def accept(self, view=None):
        options = self._options()
        record = ObjectRecord().with_view(view or self._view())
        record = finished(record, None, self.objects, options)
        write_object(self.objects, record, None, options.policy)

    def cover(self):
        """Accept what covers another object on a plane."""
        self.accept(self.rng.choice(list(self._any().views.values())))

    def correct(self):
        base, options = self._any(), self._options()
        plane = next(iter(base.views.values())).plane
        record = base.with_view(self._view(plane))
        if self.rng.random() < 0.3:
            record = record.with_view(self._view())
        record = finished(record, base, self.objects, options)
        write_object(self.objects, record, base, options.policy)

    def delete(self):
        self.objects.delete(self._any().number)

    def review(self):
        self.objects.review(self._any().number)

    def classify(self):
        name = self.rng.choice(['a', 'b'])
        assign_class(self.objects, self._any().number, name)

    def reclassify(self):
        reassign_class(self.objects, 'a', self.rng.choice(['', 'b']))

    def undo(self):
        self.objects.undo()

    def redo(self):
        self.objects.redo()

    def brush(self):
        """Paint a new label, or erase."""
        self._paint(self.rng.choice([0, self.done.count('brush')]))

    def paint_any(self):
        """Paint with the label of an object, also of one that was undone."""
        self._paint(self.rng.randint(0, self.objects.last_label + 1))

    def _paint(self, label):
        mask = self._mask()
        row0, column0, row1, column1 = mask.box
        part = np.s_[self.rng.randrange(3), row0:row1, column0:column1]
        before = self.target.data[part].copy()
        self.target.data[part] = self.brushed[part] = label
        labels, counts = np.unique(before, return_counts=True)
        grown = dict(zip(labels.tolist(), (-counts).tolist(), strict=True))
        grown[label] = grown.get(label, 0) + before.size
        grown.pop(0, None)
        self.objects.target.edited.emit(grown)

    # a run whose sliders are moved

    def _result(self):
        least = self.rng.choice([0.5, 0.6, 0.7, 0.8, 0.9])
        shown = {
            label: mask
            for label, mask in enumerate(self.found, start=1)
            if mask.score >= least
        }
        pictures = [np.zeros(SHAPE[1:], np.uint16) for _ in PLANES]
        for label, mask in sorted(
            shown.items(), key=lambda item: item[1].score
        ):
            row0, column0, row1, column1 = mask.box
            part = pictures[label % 2][row0:row1, column0:column1]
            part[mask.data] = label
        areas = {n: int((pictures[n % 2] == n).sum()) for n in shown}
        shown = {n: mask for n, mask in shown.items() if areas[n]}
        table = pd.DataFrame(
            {
                'label': list(shown),
                'score': [mask.score for mask in shown.values()],
                'area': [areas[n] for n in shown],
                'plane': 0,
                'planes': 1,
            }
        ).astype({'label': int})
        return EverythingResult(
            EverythingRequest(1, (), EverythingParameters(), 'x'),
            tuple(pictures),
            table,
            {n: (PlaneMask(n % 2, mask),) for n, mask in shown.items()},
            Selection(least),
            Extent(),
            MASKS,
            True,
            1.0,
        )

    def _key(self):
        return self.rng.choice([None, 'iou', 'iou', 'area'])

    def slide(self):
        if not self.output.undone:
            self.output.write(self._result(), self._key())

    def slide_later(self):
        """Move a slider; another thread computes what it changes."""
        if not self.output.undone:
            self.writer.write(self._result(), self._key())

    def _apart(self, job, then):
        self.later.append((job, then))

    def answer(self):
        if self.later:
            job, then = self.later.pop(0)
            job()
            then()

    # jobs that write for a while

    def batch(self):
        if len(self.jobs) < 1 + (self.rng.random() < 0.3):
            background = HeldBackground()
            view = self._view()
            item = BatchItem(view.plane, view.prompts)
            overlaps = self.rng.choice(['first', 'last', 'best'])
            BatchSegmentation(background).start(
                Batch([item] * 6, self.objects, self._options(), overlaps)
            )
            answers = [_Answer(n, self._view()) for n in range(6)]
            self.jobs.append([background, answers])

    def propagate(self):
        background = HeldBackground()
        record, policy = self._any(), self._options().policy
        Propagation(background).start(
            PropagationRun(record, self.objects, PLANES, policy=policy)
        )
        views = [record.view(plane) for plane in PLANES]
        asked = [z for z, view in enumerate(views) if not _prompted(view)]
        self.jobs.append(
            [
                background,
                [
                    PropagatedPlane(z, replace(view, automatic=True))
                    for z in asked
                    for view in [self._view(PLANES[z])]
                ],
            ]
        )

    def take(self):
        if self.jobs:
            background, answers = self.rng.choice(self.jobs)
            if answers:
                background.job.take(answers.pop())

    def end(self):
        if self.jobs:
            place = self.rng.randrange(len(self.jobs))
            background, _ = self.jobs.pop(place)
            background.end(self.rng.random() < 0.5)

    # what has to be true

    def state(self):
        table = self.target.table.sort_values('index')
        known = table[['index', 'area']].to_dict('list')
        return self.target.data.copy(), list(self.objects), known

    def check(self):
        """Check objects, rows and pixels, if nothing is being written."""
        if self.jobs:
            return
        labels, counts = np.unique(self.target.data, return_counts=True)
        pixels = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        pixels.pop(0, None)
        records = {record.label for record in self.objects}
        table = self.target.table
        areas = dict(zip(table['index'], table['area'], strict=True))
        others = range(1, LEFT + 1)
        assert set(areas) >= records, self.done
        assert set(areas) <= records | {LEFT}, self.done
        if 'paint_any' not in self.done:
            assert set(pixels) <= records.union(others), self.done
        if not {'brush', 'paint_any'} & set(self.done):
            assert records <= set(pixels), self.done
        counted = {label: pixels.get(label, 0) for label in areas}
        assert areas == counted, self.done


def _prompted(view):
    return view is not None and not view.automatic


def same(one, other):
    return (
        np.array_equal(one[0], other[0])
        and one[1] == other[1]
        and one[2] == other[2]
    )


USER = 'accept accept correct delete review classify reclassify undo redo'
RUN = ' slide slide slide_later slide_later answer answer answer'
JOBS = ' cover cover batch propagate take take take take take end'
KINDS = {
    'user': USER,
    'run': USER + RUN,
    'jobs': USER + JOBS,
    'run and jobs': USER + RUN + JOBS,
    'brush': USER + RUN + JOBS + ' brush brush',
    'any label': USER + RUN + JOBS + ' paint_any paint_any',
}


def walk_and_return(seed, kind, steps=40):
    walk = Walk(seed)
    names = KINDS[kind].split()
    for _ in range(walk.rng.randint(2, steps)):
        walk.step(names)
        walk.check()
    while walk.later:
        walk.answer()
    while walk.jobs:
        walk.end()
    walk.check()
    states = [walk.state()]
    while walk.objects.undo() is not None:
        walk.check()
        states.append(walk.state())
    walk.output.close()
    if 'paint_any' not in walk.done:
        # a pixel painted with the label of an object belongs to it
        assert np.array_equal(walk.target.data, walk.brushed), walk.done
    if not {'brush', 'paint_any'} & set(walk.done):
        assert not len(walk.objects)
        assert walk.state()[2] == {'index': [LEFT], 'area': [16]}
    for after, before in pairwise(reversed(states)):
        assert same(walk.state(), after), walk.done
        walk.objects.redo()
        walk.check()
        assert same(walk.state(), before), walk.done


SLOW = [*range(8), 11, 49, 209]
SEEDS = [
    9,
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW),
]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', SEEDS)
def test_undo_goes_back_to_the_start_and_redo_to_the_end(seed, kind):
    walk_and_return(seed, kind)
