"""Procedural images: shapes, textures, rings, nested parts, touching objects.

They provide what a small collection of microscopy images lacks: varied
appearance, simple objects on any background, and ambiguity (a click on a
nested part means the part or the whole).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from napari_mobilesam.training.labelled_images import LabelledImage

SIDE = 256
Array = NDArray[np.float32]


def make_scene(rng: np.random.Generator) -> LabelledImage:
    """Draw one procedural image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random generator; the same state gives the same image.

    Returns
    -------
    LabelledImage
        (256, 256, 3) uint8, with one or two layers of labels: whole objects,
        and parts nested in them.
    """
    labels, depth, angle = _place(rng)
    canvas = _background(rng)
    flat = rng.random() < 0.3
    nested = rng.random() < 0.4
    parts = np.zeros_like(labels)
    look = _Look(rng)
    for label in range(1, int(labels.max()) + 1):
        inside = labels == label
        if not inside.any():
            continue
        look.paint(canvas, inside, depth, angle, flat)
        if nested:
            part = inside & (depth < look.part_radius)
            if part.sum() > 30:
                parts[part] = label
                look.paint_part(canvas, part)
    _outline(canvas, labels, rng)
    _debris(canvas, labels, rng)
    image = _record(canvas, rng)
    layers = np.stack([labels, parts] if parts.any() else [labels])
    return LabelledImage('procedural', image, layers, 'procedural')


def _place(
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], Array, Array]:
    """Return ids, relative depth (0 centre, 1 border) and light angle.

    Where objects would overlap, each pixel goes to the object in which it lies
    deeper, so that they touch along a sharp border like cells in a layer.
    """
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    depth = np.full((SIDE, SIDE), 1, dtype=np.float32)
    angle = np.zeros((SIDE, SIDE), dtype=np.float32)
    radius = float(np.exp(rng.uniform(np.log(7), np.log(60))))
    count = max(
        1, min(60, int(rng.uniform(0.1, 0.9) * (SIDE / radius) ** 2 / 4))
    )
    crowding = rng.uniform(0.5, 1.2)
    centres: list[NDArray[np.float64]] = []
    kind = int(rng.integers(5))
    for label in range(1, count + 1):
        size = radius * float(np.exp(rng.normal(0, 0.25)))
        centre = rng.uniform(0, SIDE, 2)
        near = [np.hypot(*(centre - c)) for c in centres]
        if near and min(near) < 2 * radius * crowding:
            continue
        centres.append(centre)
        _place_one(labels, depth, angle, label, centre, size, kind, rng)
    return labels, depth, angle


def _place_one(
    labels: NDArray[np.int32],
    depth: Array,
    angle: Array,
    label: int,
    centre: NDArray[np.float64],
    size: float,
    kind: int,
    rng: np.random.Generator,
) -> None:
    reach = int(size * 2.5) + 2
    low = np.maximum(0, centre.astype(int) - reach)
    high = np.minimum(SIDE, centre.astype(int) + reach)
    part = (slice(low[0], high[0]), slice(low[1], high[1]))
    row, column = np.mgrid[part].astype(np.float32)
    row, column = row - centre[0], column - centre[1]
    relative = _relative_depth(row, column, size, kind, rng)
    wins = (relative < 1) & (relative < depth[part])
    labels[part][wins] = label
    depth[part][wins] = relative[wins]
    angle[part][wins] = np.arctan2(row, column)[wins]


def _relative_depth(
    row: Array, column: Array, size: float, kind: int, rng: np.random.Generator
) -> Array:
    """Return the depth in a random shape, 0 at the centre, 1 at the border."""
    turn = rng.uniform(0, np.pi)
    x = column * np.cos(turn) + row * np.sin(turn)
    y = row * np.cos(turn) - column * np.sin(turn)
    if kind == 0:  # disc
        return np.hypot(x, y) / size
    stretch = np.exp(rng.uniform(0, 0.6))
    if kind == 1:  # ellipse
        return np.hypot(x / stretch, y * stretch) / size
    if kind == 2:  # rod
        along = np.maximum(np.abs(x) - size * stretch * 0.8, 0)
        return np.hypot(along, y) / (size * 0.55)
    theta = np.arctan2(y * stretch, x / stretch)
    distance = np.hypot(x / stretch, y * stretch)
    if kind == 3:  # polygon
        sides = int(rng.integers(3, 8))
        sector = np.pi / sides
        bent = np.cos((theta % (2 * sector)) - sector) / np.cos(sector)
        return distance * bent / size
    edge = np.ones_like(theta)  # blob: star-convex with waves
    for wave in range(2, 6):
        edge += rng.normal(0, 0.22 / wave) * np.cos(
            wave * theta + rng.uniform(0, 2 * np.pi)
        ).astype(np.float32)
    return distance / (size * np.maximum(edge, 0.3))


def _texture(rng: np.random.Generator) -> Array:
    """Return a smooth, grainy or striped pattern of unit scale."""
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    if kind == 1:
        row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
        turn, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
        phase = (row * np.sin(turn) + column * np.cos(turn)) / period
        return np.sin(2 * np.pi * phase).astype(np.float32)
    cells = int(np.exp(rng.uniform(np.log(4), np.log(128))))
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    field = zoom(coarse, SIDE / cells, order=1)
    return np.asarray(field[:SIDE, :SIDE], dtype=np.float32)


def _background(rng: np.random.Generator) -> Array:
    colour = rng.uniform(0, 1, 3).astype(np.float32)
    canvas = np.broadcast_to(colour, (SIDE, SIDE, 3)).copy()
    canvas += _texture(rng)[..., None] * np.float32(rng.uniform(0, 0.12))
    if rng.random() < 0.5:
        row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
        slope = rng.normal(0, 0.3, 2)
        canvas += (row * slope[0] + column * slope[1])[..., None].astype('f4')
    return canvas


class _Look:
    """Random style of the objects in a scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.colour = rng.uniform(0, 1, 3)
        self.variation = rng.uniform(0.02, 0.3)
        self.texture = _texture(rng) * np.float32(rng.uniform(0, 0.25))
        self.rim = float(rng.normal(0, 0.35))
        self.rim_width = float(rng.uniform(0.08, 0.4))
        self.shading = float(rng.normal(0, 0.2))
        self.light = float(rng.uniform(0, 2 * np.pi))
        self.relief = float(rng.normal(0, 0.2)) * (rng.random() < 0.4)
        self.part_radius = float(rng.uniform(0.35, 0.7))
        self.part_colour = rng.uniform(0, 1, 3)
        self.opacity = float(rng.uniform(0.4, 1))

    def paint(
        self,
        canvas: Array,
        inside: NDArray[np.bool_],
        depth: Array,
        angle: Array,
        flat: bool,
    ) -> None:
        """Fill one object with its shade, texture, rim and relief."""
        colour = self.colour + self.rng.normal(0, self.variation)
        value = np.broadcast_to(colour, (int(inside.sum()), 3)).copy()
        if not flat:
            deep = depth[inside][:, None]
            value += self.texture[inside][:, None]
            value += self.shading * (0.5 - deep)
            value += self.rim * (deep > 1 - self.rim_width)
            lit = np.cos(angle[inside] - self.light)[:, None] * deep
            value += self.relief * lit
        kept = canvas[inside] * (1 - self.opacity)
        canvas[inside] = kept + value * self.opacity

    def paint_part(self, canvas: Array, part: NDArray[np.bool_]) -> None:
        """Fill a nested part."""
        canvas[part] = 0.3 * canvas[part] + 0.7 * self.part_colour


def _outline(
    canvas: Array, labels: NDArray[np.int32], rng: np.random.Generator
) -> None:
    """Draw borders of touching objects darker or brighter, or not at all."""
    if rng.random() < 0.4:
        return
    border = np.zeros(labels.shape, dtype=bool)
    border[1:] |= labels[1:] != labels[:-1]
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    if rng.random() < 0.5:  # only between objects
        border[1:] &= (labels[1:] > 0) & (labels[:-1] > 0)
    line = gaussian_filter(border.astype(np.float32), rng.uniform(0.3, 1.2))
    canvas += (np.float32(rng.normal(0, 0.5)) * np.minimum(line * 2, 1))[
        ..., None
    ]


def _debris(
    canvas: Array, labels: NDArray[np.int32], rng: np.random.Generator
) -> None:
    """Add specks and blurred patches that are not objects."""
    if rng.random() < 0.5:
        return
    specks = np.zeros((SIDE, SIDE), dtype=np.float32)
    where = rng.integers(0, SIDE, (int(rng.integers(3, 60)), 2))
    specks[where[:, 0], where[:, 1]] = rng.uniform(1, 8)
    specks = gaussian_filter(specks, rng.uniform(0.5, 2.5))
    outside = labels == 0
    canvas[outside] += np.clip(specks, 0, 0.5)[outside][:, None]


def _record(canvas: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate blur, grayness and noise of the recording."""
    if rng.random() < 0.6:
        mix = rng.dirichlet(np.ones(3)).astype(np.float32)
        canvas = np.repeat((canvas @ mix)[..., None], 3, axis=2)
    if rng.random() < 0.6:
        sigma = rng.uniform(0.3, 1.6)
        canvas = gaussian_filter(canvas, (sigma, sigma, 0))
    noise = rng.standard_normal((SIDE, SIDE, 1)).astype(np.float32)
    canvas = canvas + noise * np.float32(rng.uniform(0, 0.06))
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
