"""Object size of an image from the maps of the instance head.

At a suitable scale, the instances in the maps have about the size, on the
model's input, of the objects it was trained on. From any scale at which the
head sees instances, their median diameter points to the suitable scale, and a
look there confirms it or leads further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.instance_head import MAP_PIXELS
from napari_mobilesam.segmentation.diameter import shrink
from napari_mobilesam.segmentation.embedding_grid import LARGE_SIDE, BlockKey
from napari_mobilesam.segmentation.head_maps import maps_of
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.types import STRIDE

# Mean peak height at which a size is accepted at once, and at which it is
# accepted if no other start gives a better one. On training and validation
# images of 13 kinds, sizes from higher peaks were within a factor of 1.5 of
# the true size; those from lower peaks were often of parts or groups of
# objects.
CLEAR, SUFFICIENT = 0.7, 0.68
# A guess this close to the head's size is preferred: for uniform objects,
# autocorrelation is more precise than maps with their large pixels.
CONFIRMING = 1.3
# Distance from the suitable scale at which a size is accepted, in octaves.
CLOSE = 0.55
# Maximum number of looks in a row.
STEPS = 5
# The whole image as one input is cheap to analyse, and shows objects of at
# least this many input pixels. It is analysed first if the guess is larger
# than that; peaks of this mean height then tell that the objects are larger
# than the guess, which is often too small. On 92 images of 15 kinds this
# embeds less and gives the same sizes.
VISIBLE, GLIMPSED = 14, 0.5
# Maximum side in cells of the overview used to search for a size.
OVERVIEW_SIDE = 36
# Side of the squares in which contrast is measured, in overview pixels.
SQUARE = 8


class SizeAtScale(NamedTuple):
    """Size of the instances that the head sees at a scale.

    Attributes
    ----------
    diameter : float
        Median diameter in data pixels.
    height : float
        Mean height of their peaks, from 0 to 1.
    """

    diameter: float
    height: float


def head_diameter(
    image: ImageEmbedding,
    guess: float | None,
    lively: tuple[float, float],
    between: Callable[[], None],
) -> float | None:
    """Return the typical object diameter as the instance head sees it.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding by a model with an instance head; segment everything reuses
        the large blocks embedded here.
    guess : float, optional
        Guess in data pixels. Its scale is analysed, after the whole image if
        objects of this size are visible there.
    lively : (row, column)
        Where to look, in data pixels, at scales too fine to be analysed as a
        whole.
    between : callable
        Called before each look; may raise to stop.

    Returns
    -------
    float or None
        Diameter in data pixels; None if the head is not confident.
    """
    best = None
    for pitch in _starts(image, guess, lively, between):
        found = _follow(image, pitch, lively, between)
        if found is None:
            continue
        if guess is not None and _confirms(found, guess):
            return guess
        if best is None or found.height > best.height:
            best = found
        if best.height >= CLEAR:
            break
    if best is None or best.height < SUFFICIENT:
        return None
    return best.diameter


def seen_density(image: ImageEmbedding) -> float | None:
    """Return the objects per data pixel, as the instance head sees them.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image. If the head looked last at a part of it, the
        rest is taken to have objects in proportion to its contrast.

    Returns
    -------
    float or None
        None if the head has not looked, or sees little clearly.
    """
    maps = image.kept_maps.newest
    if maps is None or not len(maps.instances.seeds):
        return None
    if maps.unclear > maps.likely:
        # a run does not follow the head either
        return None
    scale = maps.pitch / MAP_PIXELS
    low = np.multiply(maps.first, scale)
    high = low + np.multiply(maps.values.shape[1:], scale)
    high = np.minimum(high, image.image_shape)
    density = len(maps.instances.seeds) / math.prod((high - low).tolist())
    return density * _relative_contrast(image, low, high)


def _relative_contrast(
    image: ImageEmbedding, low: NDArray[Any], high: NDArray[Any]
) -> float:
    """Return the contrast of an image divided by that of a part, up to 1.

    Contrast is what small squares have beyond the flattest one.
    """
    if np.array_equal(high - low, image.image_shape):
        return 1.0
    gray = image.overview().astype(np.float32).mean(axis=2)
    variance = shrink(gray * gray, SQUARE) - shrink(gray, SQUARE) ** 2
    contrast = np.sqrt(np.maximum(variance, 0))
    contrast -= contrast.min()
    scale = np.divide(contrast.shape, image.image_shape)
    row0, column0 = np.floor(low * scale).astype(int)
    row1, column1 = np.ceil(high * scale).astype(int)
    part = float(contrast[row0:row1, column0:column1].mean())
    return min(1.0, float(contrast.mean()) / max(part, 1e-6))


def _starts(
    image: ImageEmbedding,
    guess: float | None,
    lively: tuple[float, float],
    between: Callable[[], None],
) -> Iterator[int]:
    """Yield the scales to begin at, one after the other."""
    whole = image.grid.pitches[0]
    if guess is None:
        yield whole
    else:
        if STRIDE * guess / whole >= VISIBLE:
            between()
            seen = _size_at(image, whole, lively)
            if (
                seen is not None
                and seen.height >= GLIMPSED
                and seen.diameter >= CONFIRMING * guess
            ):
                yield image.grid.pitch_for(seen.diameter)
        yield image.grid.pitch_for(guess)
    yield _overview(image)


def _confirms(found: SizeAtScale, guess: float) -> bool:
    return (
        found.height >= CLEAR
        and 1 / CONFIRMING < found.diameter / guess < CONFIRMING
    )


def _overview(image: ImageEmbedding) -> int:
    """Return the finest scale that shows the whole image on a small canvas."""
    fitting = [
        pitch
        for pitch in image.grid.pitches
        if max(image.grid.shape(pitch)) <= OVERVIEW_SIDE
    ]
    return min(fitting, default=image.grid.pitches[0])


def _follow(
    image: ImageEmbedding,
    pitch: int,
    lively: tuple[float, float],
    between: Callable[[], None],
) -> SizeAtScale | None:
    """Move from scale to scale until the instances suit the scale."""
    visited = set()
    for _ in range(STEPS):
        between()
        found = _size_at(image, pitch, lively)
        if found is None:
            return None
        visited.add(pitch)
        suiting = image.grid.pitch_for(found.diameter)
        if abs(math.log2(suiting / pitch)) <= CLOSE or suiting in visited:
            return found
        pitch = suiting
    return None


def _size_at(
    image: ImageEmbedding, pitch: int, lively: tuple[float, float]
) -> SizeAtScale | None:
    """Return the size at a scale, from the whole image or one block."""
    maps = maps_of(image, pitch, sorted(_blocks(image, pitch, lively)))
    seeds, heights, labels = maps.instances
    if not len(seeds):
        return None
    areas = np.bincount(labels.ravel())[1 : len(seeds) + 1]
    diameters = 2 * np.sqrt(areas / math.pi)
    return SizeAtScale(
        float(np.median(diameters)) * pitch / MAP_PIXELS,
        float(heights.mean()),
    )


def _blocks(
    image: ImageEmbedding, pitch: int, lively: tuple[float, float]
) -> Iterator[BlockKey]:
    grid = image.grid
    if max(grid.shape(pitch)) > LARGE_SIDE:
        yield grid.large_block(lively, pitch)
    else:
        height, width = image.image_shape
        yield from set(grid.large_blocks((0, 0, height, width), pitch))
