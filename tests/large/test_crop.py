"""A part of an image is read as an image of its own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.large.io.crop_source import GRAIN, CropSource
from napari_mobilesam.large.io.sources import Geometry, open_source

IMAGE = np.random.default_rng(0).integers(0, 255, (2, 150, 190), np.uint8)
PYRAMID = [IMAGE[:, ::step, ::step] for step in (1, 2, 4, 32)]


@given(
    rows=st.tuples(st.integers(0, 149), st.integers(1, 150)),
    columns=st.tuples(st.integers(0, 189), st.integers(1, 190)),
)
def test_every_level_shows_the_part(
    rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    row0, row1 = min(rows), max(rows[1], min(rows) + 1)
    column0, column1 = min(columns), max(columns[1], min(columns) + 1)
    part = CropSource.around(
        open_source(PYRAMID), (row0, column0, row1, column1)
    )
    top, left, bottom, right = part.window
    assert top <= row0 < top + GRAIN
    assert left <= column0 < left + GRAIN
    assert (bottom, right) == (row1, column1)
    assert len(part.levels) == 3
    expected = IMAGE[1, top:bottom, left:right]
    assert part.shape == expected.shape
    for number, level in enumerate(part.levels):
        step = 2**number
        np.testing.assert_array_equal(
            part.read(1, number, (0, 0, *level.shape)),
            expected[::step, ::step],
        )


def test_a_part_knows_where_it_lies_and_what_it_is() -> None:
    whole = open_source(IMAGE)
    part = CropSource(whole, (32, 48, 100, 100))
    assert isinstance(part.geometry, Geometry)
    assert part.geometry.translation == (0, 32, 48)
    other = CropSource(whole, (32, 48, 100, 101))
    assert part.fingerprint() != other.fingerprint()
    assert part.planes == 2
    assert not part.rgb
