"""Label every nucleus, and print the largest ones.

python examples/segment_everything.py
"""

from __future__ import annotations

import napari_mobilesam as nm
from napari_mobilesam.sample_data import read_sample

image = read_sample('nuclei')[100:356, 100:356]
labels, table = nm.segment_everything(
    image,
    nm.load_model(),
    diameter=60,  # typical size of a nucleus, in pixels
    min_area=20,
)
print(f'{labels.max()} nuclei')
print(table.nlargest(5, 'area').round(2).to_string(index=False))
