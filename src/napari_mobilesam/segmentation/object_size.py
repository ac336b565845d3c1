"""Sizes of the objects of an image, as the model sees them.

The model is prompted with a few clicks spread over the image, at several
scales, and each click takes the scale that `scale_choice` would take. Only
confident answers with which neighbouring scales agree reveal a size.

Autocorrelation guesses a size within milliseconds. The scale of the guess is
tried first, since it is usually right; all scales are tried, from coarse to
fine, only if the answers do not confirm it.

A model with an instance head needs no clicks if the head is confident; see
`head_sizes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.embedding_grid import LARGE_SIDE
from napari_mobilesam.segmentation.head_sizes import head_diameter
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import NO_THRESHOLDS
from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.segmentation.region import DecoderBlock, Region
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.scale_choice import (
    STEP,
    ScaleAnswers,
    ScaleWeights,
)
from napari_mobilesam.types import (
    LOW_RES_STRIDE,
    STRIDE,
    EverythingParameters,
    Prompts,
)

# Number of points prompted, and of points drawn for each, of which those with
# the strongest contrast are used.
POINTS = 16
DRAWN = 2
# Number of points prompted at a scale too fine to be embedded as a whole.
FEW = 8
# The thresholds below apply to answers of at least this worth.
WEIGHTS = ScaleWeights(0.15, 0.5, 1.0)
# Once this many model inputs are embedded, a known size is accepted.
ENOUGH = 24
# An answer of less worth, agreement included, reveals no size. On training
# images, answers above were right, and most below were wrong.
TELLING = 0.75
# This many answers of this worth overrule a guess that was not confirmed.
STRONG = 0.9
OVERRULING = 3
# Number of such answers that form a second size, and octaves between two
# sizes.
SECOND = 2
OCTAVES = 1.0
# Number of confident answers that confirm a guess, and how far off it may be.
CONFIRMING = 2
CLOSE = 1.5
# Half side of the neighbourhood in which contrast is measured, in overview
# pixels.
NEAR = 8
# Plastic number: its powers spread points evenly over a square.
PLASTIC = 1.32471795724474602596


@dataclass
class _Point:
    """A point and the answers to it."""

    place: tuple[float, float]
    answers: ScaleAnswers

    @property
    def pitches(self) -> Collection[int]:
        """Scales at which the point was prompted."""
        return self.answers.predictions

    @property
    def diameter(self) -> float:
        """Diameter of the best mask in data pixels."""
        _, pitch = self.answers.best()
        answer = self.answers.predictions[pitch]
        area = max(1, int(answer.low_res_areas[answer.best]))
        return 2 * LOW_RES_STRIDE * pitch / STRIDE * math.sqrt(area / math.pi)


def nothing() -> None:
    """Do nothing between two steps."""


def diameters_of(
    image: ImageEmbedding,
    guess: Callable[[], float | None],
    between: Callable[[], None] = nothing,
) -> list[float]:
    """Return the diameters from `find_diameters`, cached per image."""
    if image.diameters is None:
        image.diameters = find_diameters(image, guess(), between)
    return image.diameters


def find_diameters(
    image: ImageEmbedding,
    guess: float | None = None,
    between: Callable[[], None] = nothing,
) -> list[float]:
    """Find the typical object diameters of an image.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image; blocks embedded here serve later prompts.
    guess : float, optional
        Guess from `estimate_diameter` in data pixels.
    between : callable
        Called before each step, of a fraction of a second to a few seconds;
        may raise to stop.

    Returns
    -------
    list of float
        Diameters in data pixels, most likely first; the guess, if there is
        one, if no answer is confident.
    """
    record = image.model.record
    places = _places(image)
    if record.instance_head:
        seen = head_diameter(image, guess, places[0], between)
        if seen is not None:
            return [seen]
    points = [_Point(place, ScaleAnswers(record, WEIGHTS)) for place in places]
    ask = partial(_ask, image, between)
    ladder = image.grid.pitches[::STEP]
    if guess is not None:
        pitch = image.grid.pitch_for(guess)
        for scale in sorted({pitch, min(2 * pitch, ladder[0])}):
            near = min(image.grid.pitches, key=lambda p: abs(p - scale))
            whole = max(image.grid.shape(near)) <= LARGE_SIDE
            ask(points if whole else points[:FEW], near)
        found = _diameters(points, TELLING)
        if (
            len(found) >= CONFIRMING
            and 1 / CLOSE < _typical(found) / guess < CLOSE
        ):
            return [guess]
    start = image.embedded_pixels
    for pitch in ladder:
        inputs = (image.embedded_pixels - start) / image.model.input_size**2
        if inputs >= ENOUGH and len(_diameters(points, STRONG)) >= OVERRULING:
            break
        if max(image.grid.shape(pitch)) <= LARGE_SIDE:
            ask(points, pitch)
            continue
        rising = _rising(points, pitch)
        if not rising:
            break
        ask(rising[:FEW], pitch)
    strong = _diameters(points, STRONG)
    if guess is not None and len(strong) < OVERRULING:
        return [guess]
    return _modes(strong if len(strong) else _diameters(points, TELLING))


def _diameters(points: Sequence[_Point], least: float) -> NDArray[np.float64]:
    """Return the diameters of the best answers of sufficient worth."""
    return np.array(
        [
            point.diameter
            for point in points
            if point.pitches and point.answers.best()[0] >= least
        ]
    )


def _modes(diameters: NDArray[np.float64]) -> list[float]:
    """Return the one or two sizes that diameters cluster around."""
    if not len(diameters):
        return []
    first = _typical(diameters)
    others = diameters[np.abs(np.log2(diameters / first)) > OCTAVES]
    if len(others) < SECOND:
        return [first]
    return [first, _typical(others)]


def _typical(diameters: NDArray[np.float64]) -> float:
    """Return the median size; points hit large objects more often."""
    order = np.argsort(diameters, kind='stable')
    share = np.cumsum(1 / diameters[order])
    return float(diameters[order][np.searchsorted(share, share[-1] / 2)])


def _rising(points: Sequence[_Point], pitch: int) -> list[_Point]:
    """Return the points that may find something better at this finer scale.

    These are the points whose best scale is the next coarser one: the
    confident ones, or else the others.
    """
    coarser = [p for p in points if any(q > pitch for q in p.pitches)]
    if not coarser:
        return list(points)
    finest = min(min(p.pitches) for p in coarser)
    rising = [p for p in coarser if p.answers.best()[1] == finest]
    unsure = [p for p in coarser if p.answers.best()[0] < TELLING]
    if len(unsure) < len(coarser) / 2:
        return rising
    return rising + [p for p in unsure if p not in rising]


def _places(image: ImageEmbedding) -> list[tuple[float, float]]:
    """Return (row, column) of points, strongest contrast first."""
    gray = image.overview().mean(axis=2)
    number = np.arange(1, DRAWN * POINTS + 1)[:, None]
    unit = (0.5 + number * (PLASTIC ** np.array([-1.0, -2.0]))) % 1
    at = (unit * gray.shape).astype(int)
    contrast = [
        gray[
            max(0, row - NEAR) : row + NEAR + 1,
            max(0, column - NEAR) : column + NEAR + 1,
        ].std()
        for row, column in at
    ]
    order = np.argsort(-np.array(contrast), kind='stable')[:POINTS]
    places = unit[order] * (np.array(image.image_shape) - 1)
    return [(float(row), float(column)) for row, column in places]


def _ask(
    image: ImageEmbedding,
    between: Callable[[], None],
    points: Sequence[_Point],
    pitch: int,
) -> None:
    """Click at a scale."""
    large = max(image.grid.shape(pitch)) <= LARGE_SIDE
    for point in points:
        if pitch not in point.pitches:
            between()
            answer = _answer(image, DecoderBlock(point.place, pitch, large))
            point.answers.add(pitch, answer)


def _answer(image: ImageEmbedding, block: DecoderBlock) -> Prediction:
    """Return the answer to a click in the middle of a decoder block."""
    window = image.grid.frame_at(*block).window
    region = Region(window, np.array([block.center]), -1.0, block)
    worker = RegionWorker(image, EverythingParameters(), NO_THRESHOLDS, region)
    masks = worker.ask_points(region.points)
    return Prediction(
        np.array([mask.score for mask in masks], np.float32),
        np.stack([mask.logits for mask in masks]),
        worker.embedding.frame,
        Prompts(region.points, np.ones(1, np.int64)),
        image.model.mask_threshold,
        image.model.record.ranking,
    )
