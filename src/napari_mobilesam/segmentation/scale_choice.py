"""Choose the scale at which the prompts of one object are answered.

A box, an outline or a mask tells the size of the object; a click does not. A
click is tried at several scales, and the answers are compared, since a model
is confident about masks of the size it was trained on. The worth of an answer
is its predicted IoU, minus a penalty for each factor of two between the size
of its mask on the model's input and the size that suits the model best, plus a
bonus if the answers at neighbouring scales show the same object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.embedding_grid import (
    EmbeddingGrid,
    on_input,
    pitches,
)
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.prediction import Prediction
from napari_mobilesam.types import (
    LOW_RES_STRIDE,
    STRIDE,
    Embedding,
    Frame,
    ModelRecord,
    PromptError,
    Prompts,
)

# (row0, column0, row1, column1) in data pixels
FloatBox = tuple[float, float, float, float]
# ask(embeddings, prompts) answers the same prompts on each of them
Ask = Callable[[Sequence[Embedding], Prompts], list[Prediction]]


class ScaleWeights(NamedTuple):
    """Weights in the comparison of answers at several scales.

    Attributes
    ----------
    size : float
        Penalty, in predicted IoU, per factor of two between the size of a mask
        and the preferred size.
    agreement : float
        Bonus for IoU with the answers at neighbouring scales: a mask seen at
        several scales is an object.
    wanted : float
        Preferred size of a mask on the model's input, as a multiple of the
        model's best object diameter.
    """

    size: float
    agreement: float
    wanted: float


# For clicks; chosen on 604 objects in 21 kinds of images at three sizes, none
# of them test images, and confirmed on 695 others. At scales that are too
# coarse, masks come out too small or cover groups of objects; hence the
# preferred masks are larger than suits the model best.
OF_CLICKS = ScaleWeights(0.1, 0.5, 1.25)
# The search begins at most this many scales below the coarsest one. It goes
# coarser while the best answer is that of the coarsest scale so far, or the
# mask there is larger than this, in octaves from the preferred size.
FIRST, COARSER_SIZE = 2, -1.0
# An answer of this size and predicted IoU, with this IoU with an answer at the
# coarser scale, ends the search: finer scales show parts of the object.
ENDING_SIZE, ENDING_SCORE, ENDING_AGREEMENT = -0.25, 0.5, 0.4
# Octaves between neighbouring scales.
NEIGHBOURS = 1.25
# Scales are tried in steps of two.
STEP = 2
# Diameter of an object relative to the geometric mean of its box's sides; on
# validation images 0.6 and 1 were worse by 0.01 of IoU.
BOX_DIAMETER = 0.8
# Margin in cells of a decoder block that prompts are kept away from.
EDGE = 1.0


class ScaleAnswers:
    """Answers to the same prompts at several scales.

    Parameters
    ----------
    record : ModelRecord
        Record of the model, with its best object size.
    weights : ScaleWeights
        Weights of the comparison.

    Attributes
    ----------
    predictions : dict of int to Prediction
        Answers by pitch.
    """

    def __init__(
        self, record: ModelRecord, weights: ScaleWeights = OF_CLICKS
    ) -> None:
        self.record, self.weights = record, weights
        self.predictions: dict[int, Prediction] = {}
        self._values: dict[int, float] = {}
        self._boxes: dict[int, list[FloatBox]] = {}

    def add(self, pitch: int, prediction: Prediction) -> None:
        """Add the answer at a scale."""
        self.predictions[pitch] = prediction
        values = worths(prediction, self.record, self.weights)
        self._values[pitch] = float(values.max())
        self._boxes[pitch] = _boxes(prediction)

    def worth(self, pitch: int) -> float:
        """Return the worth of an answer, with agreement of near scales."""
        agreed = [
            self._agreement(pitch, other)
            for other in self.predictions
            if other != pitch and _octaves(other, pitch) <= NEIGHBOURS
        ]
        mean = sum(agreed) / len(agreed) if agreed else 0.0
        return self._values[pitch] + self.weights.agreement * mean

    def best(self) -> tuple[float, int]:
        """Return worth and pitch of the best answer, coarsest on ties."""
        return max((self.worth(pitch), pitch) for pitch in self.predictions)

    def end_at(self, pitch: int) -> bool:
        """Return whether finer scales would only show parts of the object."""
        answer = self.predictions[pitch]
        coarser = [other for other in self.predictions if other > pitch]
        if not coarser or answer.scores[answer.best] < ENDING_SCORE:
            return False
        if _size_octaves(answer, self.record)[answer.best] < ENDING_SIZE:
            return False
        return self._agreement(pitch, min(coarser)) >= ENDING_AGREEMENT

    def go_coarser(self, pitch: int) -> bool:
        """Return whether the object may be too large for the coarsest scale.

        ``pitch`` is that scale.
        """
        answer = self.predictions[pitch]
        size = _size_octaves(answer, self.record)[answer.best]
        return self.best()[1] == pitch or bool(size > COARSER_SIZE)

    def _agreement(self, pitch: int, other: int) -> float:
        """Return the largest IoU of the best mask's box at another scale."""
        best = self._boxes[pitch][self.predictions[pitch].best]
        return max(_overlap(best, box) for box in self._boxes[other])


def worths(
    prediction: Prediction,
    record: ModelRecord,
    weights: ScaleWeights = OF_CLICKS,
) -> NDArray[np.float64]:
    """Return (M,) predicted IoU minus the size penalty of each mask."""
    octaves = np.abs(_size_octaves(prediction, record, weights.wanted))
    return prediction.scores.astype(np.float64) - weights.size * octaves


def suits_scale(prediction: Prediction, record: ModelRecord) -> bool:
    """Return whether the best mask has a suitable size for its scale."""
    octaves = _size_octaves(prediction, record)
    return bool(abs(octaves[prediction.best]) <= NEIGHBOURS)


def _size_octaves(
    prediction: Prediction,
    record: ModelRecord,
    wanted: float = OF_CLICKS.wanted,
) -> NDArray[np.float64]:
    """Return (M,) octaves from the preferred size to that of each mask."""
    areas = prediction.low_res_areas * LOW_RES_STRIDE**2
    diameters = 2 * np.sqrt(np.maximum(areas, 1) / math.pi)
    return np.log2(diameters / (wanted * record.object_diameter.best))


def answer_at_scale(
    ask: Ask,
    image: ImageEmbedding,
    prompts: Prompts,
    *,
    previous: Prediction | None = None,
    diameter: float | None = None,
    scales: Sequence[int] | None = None,
) -> Prediction:
    """Answer the prompts of one object at a suitable scale.

    Parameters
    ----------
    ask : callable
        ``ask(embeddings, prompts)`` answers prompts on decoder blocks.
    image : ImageEmbedding
        Embedding of the image.
    prompts : Prompts
        Prompts in data pixels, checked.
    previous : Prediction, optional
        Answer that the prompts correct: its best mask is fed back, and its
        scale is kept if its block holds all prompts.
    diameter : float, optional
        Diameter of the object in data pixels; by default derived from the
        prompts.
    scales : sequence of int, optional
        Scales to try, coarse to fine; by default every other scale of the
        image.

    Returns
    -------
    Prediction
        Masks at one scale.
    """
    if previous is not None:
        return _correct(ask, image, prompts, previous)
    known = known_diameter(prompts) if diameter is None else diameter
    if known is None:
        ladder = image.grid.pitches[::STEP] if scales is None else scales
        return _search(ask, image, prompts, ladder)
    pitch = holding_pitch(image.grid, prompts, image.grid.pitch_for(known))
    embedding = image.decoder_block(
        center_of_prompts(prompts, image, pitch), pitch
    )
    return ask([embedding], prompts)[0]


def _correct(
    ask: Ask,
    image: ImageEmbedding,
    prompts: Prompts,
    previous: Prediction,
) -> Prediction:
    """Feed a mask back, at its scale if that holds the prompts."""
    frame = previous.frame
    if _in_window(prompt_corners(prompts), frame):
        row0, column0, row1, column1 = frame.window
        center = (row0 + row1) / 2, (column0 + column1) / 2
        embedding = image.decoder_block(center, pitch_of(frame))
        if embedding.frame == frame:
            logits = previous.logits[previous.best]
            refined = replace(prompts, mask_input=logits)
            return ask([embedding], refined)[0]
    mask = previous.mask()
    if mask.data.size:
        prompts = replace(prompts, region=mask)
    pitch = holding_pitch(image.grid, prompts, pitch_of(frame))
    embedding = image.decoder_block(
        center_of_prompts(prompts, image, pitch), pitch
    )
    return ask([embedding], prompts)[0]


def _search(
    ask: Ask,
    image: ImageEmbedding,
    prompts: Prompts,
    scales: Sequence[int],
) -> Prediction:
    """Return the best answer of several scales.

    The search goes from the first scale to finer ones, then to coarser ones if
    necessary.
    """
    grid = image.grid
    ladder = [p for p in scales if _holds(grid, prompts, p)]
    if not ladder:
        ladder = [holding_pitch(grid, prompts, grid.pitches[-1])]
    centers = {p: center_of_prompts(prompts, image, p) for p in ladder}
    asked: dict[int, Prediction] = {}

    def ask_at(pitches: Sequence[int]) -> None:
        blocks = [
            image.decoder_block(centers[pitch], pitch) for pitch in pitches
        ]
        asked.update(zip(pitches, ask(blocks, prompts), strict=True))

    start = first_scale(ladder)
    # in one call, which is faster, as far as nothing has to be embedded
    embedded = takewhile(lambda p: image.has(centers[p], p), ladder[start:])
    if known := list(embedded):
        ask_at(known)
    while True:
        answers = ScaleAnswers(image.model.record)
        for pitch in ladder[start:]:
            if pitch not in asked:
                ask_at([pitch])
            answers.add(pitch, asked[pitch])
            if answers.end_at(pitch):
                break
        if start == 0 or not answers.go_coarser(ladder[start]):
            return answers.predictions[answers.best()[1]]
        start -= 1


def first_scale(ladder: Sequence[int]) -> int:
    """Return the index of the scale at which a search begins."""
    return max(0, min(FIRST, len(ladder) - 2))


def in_order_of_search(ladder: Sequence[int]) -> list[int]:
    """Return the scales in the order in which a search tries them."""
    start = first_scale(ladder)
    return [*ladder[start:], *reversed(ladder[:start])]


def _octaves(one: float, other: float) -> float:
    return abs(math.log2(one / other))


def _boxes(prediction: Prediction) -> list[FloatBox]:
    """Return the approximate tight box of each mask in data pixels."""
    row, column = prediction.frame.window[:2]
    pixels = LOW_RES_STRIDE * pitch_of(prediction.frame) / STRIDE
    masks = prediction.low_res_masks
    # all masks at once: each step may wait for Python's lock
    rows, columns = np.asarray(masks.any(axis=2)), np.asarray(masks.any(1))
    boxes = []
    for index in range(len(masks)):
        row0, row1 = _first_to_last(rows[index])
        column0, column1 = _first_to_last(columns[index])
        boxes.append(
            (
                row + pixels * row0,
                column + pixels * column0,
                row + pixels * row1,
                column + pixels * column1,
            )
        )
    return boxes


def _first_to_last(inside: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the half-open range of true values; (0, 0) if none."""
    found = np.flatnonzero(inside)
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, 0)


def _overlap(one: FloatBox, other: FloatBox) -> float:
    """Return the IoU of two boxes."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(height, 0.0) * max(width, 0.0)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return shared / max(areas - shared, 1e-9)


def _box_of(prompts: Prompts) -> NDArray[np.float64] | None:
    """Return the (4,) box of the object, or of its region, if any."""
    if prompts.box is not None or prompts.region is None:
        return prompts.box
    return np.asarray(prompts.region.box, np.float64)


def known_diameter(prompts: Prompts) -> float | None:
    """Return the diameter implied by box or region, if any."""
    box = _box_of(prompts)
    if box is None:
        return None
    height, width = box[2:] - box[:2]
    return BOX_DIAMETER * math.sqrt(max(height, 1) * max(width, 1))


def prompt_corners(prompts: Prompts) -> NDArray[np.float64]:
    """Return (N, 2) points, and corners of box and region, in data pixels."""
    corners = [prompts.points]
    if prompts.box is not None:
        corners.append(prompts.box.reshape(2, 2))
    if prompts.region is not None:
        region = np.asarray(prompts.region.box, np.float64)
        corners.append(region.reshape(2, 2))
    return np.concatenate(corners)


def anchor_of(prompts: Prompts) -> NDArray[np.float64]:
    """Return the prompted (row, column): box, region or first point."""
    box = _box_of(prompts)
    if box is not None:
        return box.reshape(2, 2).mean(axis=0)
    positive = prompts.points[prompts.labels == 1]
    points = positive if len(positive) else prompts.points
    if not len(points):
        raise PromptError(
            'There is no prompt: give at least a point, a box or a mask.'
        )
    return points[0]


def center_of_prompts(
    prompts: Prompts, image: ImageEmbedding, pitch: int
) -> tuple[float, float]:
    """Return the middle of the decoder block for the prompts.

    The object is centred, shifted as far as the other prompts require.
    """
    corners = prompt_corners(prompts)
    half = _room(image.grid) / 2 * pitch
    low, high = corners.max(axis=0) - half, corners.min(axis=0) + half
    middle = (low + high) / 2
    fits = low <= high
    center = np.where(
        fits, np.clip(anchor_of(prompts), low, np.maximum(low, high)), middle
    )
    return float(center[0]), float(center[1])


def pitch_of(frame: Frame) -> int:
    """Return the pitch of a decoder block, exact for scales of the image."""
    for pitch in pitches(frame.image_shape, frame.input_size // STRIDE):
        if on_input(frame.window, pitch) == frame.input_shape:
            return pitch
    sides = zip(frame.window_shape, frame.input_shape, strict=True)
    length, shown = max(sides)
    return max(1, round(length * STRIDE / shown))


def holding_pitch(grid: EmbeddingGrid, prompts: Prompts, pitch: int) -> int:
    """Return the scale, or the next coarser one that holds all prompts."""
    for candidate in reversed([p for p in grid.pitches if p >= pitch]):
        if _holds(grid, prompts, candidate):
            return candidate
    return grid.pitches[0]


def _holds(grid: EmbeddingGrid, prompts: Prompts, pitch: int) -> bool:
    corners = prompt_corners(prompts)
    extent = corners.max(axis=0) - corners.min(axis=0)
    whole = np.asarray(grid.image_shape) <= grid.cells * pitch
    return bool(((extent <= _room(grid) * pitch) | whole).all())


def _room(grid: EmbeddingGrid) -> float:
    """Return the number of cells that prompts may span in a block."""
    return grid.cells - 2 * (EDGE + grid.slack)


def _in_window(corners: NDArray[np.float64], frame: Frame) -> bool:
    low, high = np.array(frame.window[:2]), np.array(frame.window[2:])
    return bool(((corners >= low - 0.5) & (corners <= high)).all())
