"""Label a lazy stack plane by plane, holding one plane in memory.

python examples/stack_plane_by_plane.py
"""

from __future__ import annotations

import dask.array as da
import numpy as np

import napari_mobilesam as nm
from napari_mobilesam.sample_data import read_sample

plane = read_sample('nuclei')[:160, 440:690]
stack = da.stack([da.from_array(np.roll(plane, 5 * i, 1)) for i in range(3)])

model = nm.load_model()
labels = np.zeros(stack.shape, np.uint16)
for z, image in enumerate(stack):
    labels[z], _ = nm.segment_everything(image, model, diameter=60)
    print(f'plane {z}: {labels[z].max()} nuclei')
