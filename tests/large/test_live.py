"""The picture of a run under way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_mobilesam.large.live import LivePicture
from napari_mobilesam.large.results import TileFound
from napari_mobilesam.types import Mask


def test_masks_are_seen_at_every_level(tmp_path: Path) -> None:
    picture = LivePicture(tmp_path, (2,), (1500, 3000))
    shapes = [level.shape for level in picture.levels]
    assert shapes == [(2, 1500, 3000), (2, 750, 1500), (2, 375, 750)]
    first = Mask(np.ones((41, 53), bool), (301, 401, 342, 454), 0.9)
    second = Mask(np.ones((20, 20), bool), (330, 440, 350, 460), 0.9)
    picture.paint(TileFound(1, (0, 0, 1024, 1024), [first, second]))
    picture.paint(TileFound(0, (0, 0, 1024, 1024), []))
    expected = np.zeros((1500, 3000), np.uint8)
    expected[301:342, 401:454] = 1
    expected[330:350, 440:460] = 2
    for number, level in enumerate(picture.levels):
        step = 2**number
        np.testing.assert_array_equal(level[1], expected[::step, ::step])
        assert not level[0].any()


def test_neighbours_are_kept(tmp_path: Path) -> None:
    picture = LivePicture(tmp_path, (), (100, 100))
    for column in (10, 30):
        mask = Mask(np.eye(20, dtype=bool), (10, column, 30, column + 20), 1.0)
        picture.paint(TileFound(0, (0, 0, 100, 100), [mask]))
    painted = picture.levels[0][:]
    assert np.count_nonzero(painted) == 40
    assert set(np.unique(painted)) == {0, 1, 2}
