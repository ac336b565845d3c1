"""Objects are counted once while a run goes on."""

from __future__ import annotations

import pytest

from napari_mobilesam.large.pipeline import segment_large

from .images import DIAMETER, drawn, field_of_discs, small_model


@pytest.mark.slow
def test_what_tiles_share_is_counted_once() -> None:
    discs = field_of_discs((300, 512))
    said: list[str] = []
    result = segment_large(
        drawn((300, 512), *discs),
        model=small_model(),
        diameter=DIAMETER,
        executor='serial',
        progress=lambda done, total, message: said.append(message),
    )
    assert result.tiles > 4
    counts = [
        int(text.rsplit(', ')[1].split()[0])
        for text in said
        if text.endswith('objects')
    ]
    assert counts == sorted(counts)
    assert counts[-1] == len(result.table) == len(discs)
