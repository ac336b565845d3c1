"""Segment one cell from a point.

python examples/prompt_one_cell.py
"""

from __future__ import annotations

import numpy as np

import napari_mobilesam as nm
from napari_mobilesam.sample_data import read_sample

image = read_sample('nuclei')[100:356, 100:356]
model = nm.load_model()
predictor = nm.Predictor(model)

# Lazy: questions embed what they need, and later ones nearby are quick.
embedding = predictor.embed(image)

# The brightest spot, where a nucleus surely is: (row, column).
row, column = np.unravel_index(int(image.argmax()), image.shape)
prediction = predictor.predict(embedding, points=[[row, column]], labels=[1])
mask = prediction.masks[prediction.best]
print(
    f'clicked ({row}, {column}): {mask.sum()} pixels, predicted IoU '
    f'{prediction.scores[prediction.best]:.2f}'
)

# A box asks less ambiguously: (row0, column0, row1, column1).
rows, columns = np.nonzero(mask)
box = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
boxed = predictor.predict(embedding, box=box)
print(f'box {[int(x) for x in box]}: {boxed.masks[0].sum()} pixels')
