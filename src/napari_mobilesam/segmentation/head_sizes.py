"""Object size of an image from the maps of the instance head.

At a scale that suits the objects, the instances in the maps are about as
large on the model's input as the objects that it was trained on. From any
scale at which the head sees instances, their median diameter tells the scale
that would suit, and a look there confirms it, or leads further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from napari_mobilesam.model.instance_head import MAP_PIXELS
from napari_mobilesam.segmentation.embedding_grid import (
    LARGE_SIDE,
    STRIDE,
    BlockKey,
)
from napari_mobilesam.segmentation.head_maps import maps_of
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding

# Mean height of the peaks from which on a size is taken at once, and from
# which on if no other start leads to a better one. On training and validation
# images of 13 kinds sizes of higher peaks were within a factor of 1.5 of the
# objects', those of lower ones often parts or groups of them.
CLEAR, SUFFICIENT = 0.7, 0.68
# A guess this close to what the head sees is taken: autocorrelation tells the
# size of alike objects better than maps do, whose pixels are large.
CONFIRMING = 1.3
# Scales from the one that suits at which a size is taken, in octaves.
CLOSE = 0.55
# Looks that follow each other.
STEPS = 5
# The whole image as one input costs little to look at, and shows objects of at
# least so many pixels of the input. It is looked at first where the guess is
# larger than that, and peaks of this mean height tell that objects are larger
# than the guess, which is often too small: on 92 images of 15 kinds less is
# embedded this way, and the sizes are the same.
VISIBLE, GLIMPSED = 14, 0.5
# Greatest side in cells of the overview from which a size is looked for.
OVERVIEW_SIDE = 36


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
    """Typical object diameter of an image, as the instance head sees it.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding by a model with an instance head; the large blocks that are
        embedded serve segment everything.
    guess : float, optional
        Guess in data pixels. Its scale is looked at, after the whole image
        if objects of this size can be seen there.
    lively : (row, column)
        Where to look at scales that are too fine to be looked at as a whole,
        in data pixels.
    between : callable
        Called before each look; may raise to stop.

    Returns
    -------
    float or None
        Diameter in data pixels; None if the head is not sure of what it sees.
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


def _starts(
    image: ImageEmbedding,
    guess: float | None,
    lively: tuple[float, float],
    between: Callable[[], None],
) -> Iterator[int]:
    """Scales to begin at, one after the other."""
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
    """Finest scale that shows the whole image on a small canvas."""
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
    """Go from scale to scale until the instances suit the scale."""
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
    """Size at a scale, in the whole image or in one block of it."""
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
