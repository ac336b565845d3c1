"""Labels as TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_mobilesam.large.io.label_tiff import write_label_tiff


@pytest.mark.parametrize('shape', [(700, 1100), (3, 40, 50), (1, 2, 30, 20)])
@pytest.mark.parametrize('largest', [200, 70_000])
def test_labels_come_back(
    tmp_path: Path, shape: tuple[int, ...], largest: int
) -> None:
    labels = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    labels %= largest + 1
    path = tmp_path / 'labels.tif'
    write_label_tiff(labels, path, largest)
    read = tifffile.imread(path, squeeze=False).reshape(shape)
    assert read.dtype == (np.uint16 if largest < 65536 else np.uint32)
    np.testing.assert_array_equal(read, labels)
