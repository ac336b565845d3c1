"""Tiles around objects that others cut off."""

from __future__ import annotations

import numpy as np

from napari_mobilesam.large.journal import Journal, Record
from napari_mobilesam.large.mask_table import gather
from napari_mobilesam.large.repair import fits, repair_tasks
from napari_mobilesam.large.tiling import Grid
from napari_mobilesam.types import Mask

GRID = Grid((400, 400), side=64, stride=32, spacing=4.0)


def test_neighbours_share_a_tile_and_each_object_has_one(tmp_path):
    boxes = {
        (100, 60, 106, 64): 0.9,
        (111, 60, 119, 64): 0.8,  # beside it
        (126, 60, 134, 64): 0.7,  # in the context of that tile
        (200, 214, 262, 264): 0.6,  # reaches into the context of its own
        (390, 300, 398, 304): 0.5,  # at the end of the plane
    }
    masks = [
        Mask(
            np.ones((box[2] - box[0], box[3] - box[1]), bool),
            box,
            score,
            1.0,
            (float(box[0]), float(box[1])),
        )
        for box, score in boxes.items()
    ]
    journal = Journal(tmp_path)
    journal.write('p0/a', Record.of(masks, np.ones(len(masks), bool)))
    cut = gather(journal, ['p0/a']).cut_ones()
    tasks = list(repair_tasks(cut, 0, GRID, 1))
    rows = [task.points[:, 0].tolist() for task in tasks]
    assert rows == [[100, 111], [126], [200], [390]]
    assert tasks[-1].window == (336, 270, 400, 334)
    assert fits(cut, GRID, 1).tolist() == [True, True, True, False, True]
