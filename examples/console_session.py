"""Click, correct, propagate and undo from a script, as from the buttons.

In napari's console ``viewer`` is there already; here it is a viewer without a
window.

python examples/console_session.py
"""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel

import napari_mobilesam as nm
from napari_mobilesam.sample_data import read_sample

plane = read_sample('nuclei')[:160, 440:690]
stack = np.stack([np.roll(plane, 3 * z, axis=1) for z in range(6)])

viewer = ViewerModel()
viewer.add_image(stack, name='nuclei')
viewer.dims.set_point(0, 2)

session = nm.get_session(viewer)
masks = session.click(50, 104)  # row, column on the plane that is shown
assert masks is not None
print('scores:', [f'{mask.score:.2f}' for mask in masks.masks])
session.click(20, 120, positive=False)
print(session.propagate().text)

labels = viewer.layers['objects'].data
filled = [z for z in range(len(stack)) if (labels[z] == 1).any()]
print('filled planes:', filled)
print('undone:', session.undo())  # the click's own plane stays
print('filled planes:', [z for z in filled if (labels[z] == 1).any()])
session.close()
