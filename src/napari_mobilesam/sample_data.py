"""Sample images for File ▸ Open Sample.

Packaged images are in ``samples``, with their licences; the coins come from
scikit-image. The stack, the series and the channels are synthetic.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mobilesam.drawn_samples import (
    SPACING,
    draw_channels,
    draw_series,
    draw_stack,
)

LayerData = tuple[NDArray[np.uint8], dict[str, Any], str]


def read_sample(name: str) -> NDArray[np.uint8]:
    """Read a packaged sample image.

    Parameters
    ----------
    name : {'nuclei', 'tissue', 'phase_contrast'}
        Name of the image.

    Returns
    -------
    ndarray
        (H, W) or (H, W, 3) uint8.
    """
    resource = files('napari_mobilesam') / 'samples' / f'{name}.png'
    with as_file(resource) as path, Image.open(path) as image:
        return np.asarray(image)


def nuclei() -> list[LayerData]:
    """Return fluorescent nuclei, (520, 696), CC0."""
    return [(read_sample('nuclei'), {'name': 'nuclei'}, 'image')]


def tissue() -> list[LayerData]:
    """Return purple-stained tissue, (256, 320) RGB, CC0."""
    return [(read_sample('tissue'), {'name': 'tissue'}, 'image')]


def phase_contrast() -> list[LayerData]:
    """Return cells in phase contrast, (440, 440), MIT."""
    image = read_sample('phase_contrast')
    return [(image, {'name': 'phase contrast'}, 'image')]


def coins() -> list[LayerData]:
    """Return Greek coins from Pompeii, (303, 384), from scikit-image."""
    from skimage import data

    return [(data.coins(), {'name': 'coins'}, 'image')]


def nuclei_stack() -> list[LayerData]:
    """Return synthetic nuclei in 3-D, (24, 256, 256), CC0."""
    place = {
        'name': 'nuclei in 3D',
        'scale': SPACING,
        'units': ('um', 'um', 'um'),
        'axis_labels': ('z', 'y', 'x'),
    }
    return [(draw_stack(), place, 'image')]


def nuclei_series() -> list[LayerData]:
    """Return synthetic nuclei that move and divide, (16, 256, 256), CC0."""
    place = {'name': 'nuclei over time', 'axis_labels': ('t', 'y', 'x')}
    return [(draw_series(), place, 'image')]


def cells_in_channels() -> list[LayerData]:
    """Return synthetic cells in two channels, as (256, 256) layers, CC0."""
    nuclei, bodies = draw_channels()
    shown = {'blending': 'additive', 'axis_labels': ('y', 'x')}
    return [
        (
            bodies,
            shown | {'name': 'cell bodies', 'colormap': 'green'},
            'image',
        ),
        (nuclei, shown | {'name': 'cell nuclei', 'colormap': 'blue'}, 'image'),
    ]
