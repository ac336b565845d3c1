"""Refine the objects of a label image with a model.

Labels from another program or a threshold serve as prompts: the model gets
each object once as a box and once as a box with a mask. The answer with the
higher predicted IoU becomes the refined object, provided it is still the same
object and the model is confident enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.parameter_fields import documented, parameter
from napari_mobilesam.segmentation.image import ContrastLimits
from napari_mobilesam.segmentation.label_masks import ObjectMasks
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.segmentation.parameters import (
    check_fields,
    with_overrides,
)
from napari_mobilesam.segmentation.shapes import part_of
from napari_mobilesam.types import (
    ImageError,
    Mask,
    ModelRecord,
    Progress,
    Prompts,
    SegmentationError,
    slices_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

NOTHING_FOUND = 'the model found nothing'
COLUMNS = (
    'label',
    'refined',
    'score',
    'overlap',
    'area_before',
    'area',
    'reason',
)
# Minimum predicted IoU of an answer that replaces an object. On validation
# images, labels two pixels too small or too large gained 0.004 and 0.016 of
# IoU with 0.8, and hand-drawn labels lost 0.055; lower values lost more for
# all of them, and with 0.9 nothing changed (benchmarks/refinement.py).
SURE = 0.8


@documented
@dataclass(frozen=True)
class RefineParameters:
    """Parameters of the refinement of labels.

    One instance serves the Python API, the command line and the widget.
    """

    least_overlap: float = parameter(
        0.5,
        'Minimum IoU of the refined object with the original; with less, it '
        'is a different object, and the original stays.',
        label='Overlap ≥',
        minimum=0.05,
        maximum=1,
        step=0.05,
    )
    least_score: float | None = parameter(
        None,
        'Minimum predicted IoU of the refined object; with less, the '
        'original stays. An object with a known score is only replaced by a '
        'better one.',
        label='Predicted IoU ≥',
        maximum=1,
        step=0.01,
        automatic='0.8, or the threshold of segment everything that suits '
        'the model if that is higher.',
        typical=0.8,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def threshold(self, record: ModelRecord) -> float:
        """Return the minimum predicted IoU for a model."""
        if self.least_score is not None:
            return self.least_score
        return max(SURE, record.predicted_iou)


class Refinement(NamedTuple):
    """One object before and after refinement.

    Attributes
    ----------
    label : int
        Label of the object.
    before : Mask
        Original object; its score is NaN if unknown.
    after : Mask or None
        Answer of the model; None if it found nothing.
    refined : bool
        Whether the answer replaces the object.
    overlap : float
        IoU of both; 0 without an answer.
    reason : str
        Why the object stays unchanged; empty if it is refined.
    """

    label: int
    before: Mask
    after: Mask | None
    refined: bool
    overlap: float
    reason: str = ''

    @property
    def now(self) -> Mask:
        """The answer if it replaces the object, else the original."""
        return self.after if self.refined and self.after else self.before


def prompts_of_mask(mask: Mask) -> tuple[Prompts, Prompts]:
    """Return the prompts for an object: box, and box with mask."""
    box = np.asarray(mask.box, dtype=np.float64)
    return Prompts(box=box), Prompts(box=box, region=mask)


def judge(
    label: int,
    before: Mask,
    after: Mask | None,
    parameters: RefineParameters,
    record: ModelRecord,
) -> Refinement:
    """Decide whether an answer of the model replaces an object.

    Parameters
    ----------
    label : int
        Label of the object.
    before : Mask
        Original object, with its score if known.
    after : Mask or None
        The better of the two answers.
    parameters : RefineParameters
        Thresholds.
    record : ModelRecord
        The model.
    """
    if after is None or not after.data.any():
        return Refinement(label, before, None, False, 0.0, NOTHING_FOUND)
    overlap = mask_iou(before, after)
    reason = ''
    least = parameters.threshold(record)
    if overlap < parameters.least_overlap:
        reason = f'the answer is a different object (IoU {overlap:.2f})'
    elif after.score < least:
        reason = f'its predicted IoU of {after.score:.2f} is below {least:.2f}'
    elif before.score >= after.score:
        score = f'{before.score:.2f}'
        reason = f'the original has the better predicted IoU, {score}'
    return Refinement(label, before, after, not reason, overlap, reason)


def repaint(
    labels: NDArray[Any], refinements: Sequence[Refinement]
) -> NDArray[Any]:
    """Return labels with objects replaced by their refinements.

    A refined object keeps the original pixels that its answer contains. In
    addition it takes background, and pixels that another refined object has
    given up; contested pixels go to the object with the higher predicted IoU.
    So no object disappears, and the order does not matter.

    Parameters
    ----------
    labels : ndarray
        (H, W) integers.
    refinements : sequence of Refinement
        Refinements; objects that are not refined stay.
    """
    painted = labels.copy()
    chosen = [each for each in refinements if each.refined]
    for each in chosen:
        part = painted[slices_of(each.before.box)]
        gone = each.before.data & ~part_of(each.now, each.before.box)
        part[gone & (part == each.label)] = 0
    for each in sorted(chosen, key=lambda e: (-e.now.score, e.label)):
        part = painted[slices_of(each.now.box)]
        part[each.now.data & (part == 0)] = each.label
    return painted


def refinement_table(
    refinements: Sequence[Refinement], painted: NDArray[Any]
) -> pd.DataFrame:
    """Return one row per object of `repaint`, in label order.

    Returns
    -------
    pandas.DataFrame
        label, refined (bool), score (current predicted IoU; NaN if unknown),
        overlap (IoU of the answer with the original), area_before, area
        (pixels), reason (why it stays).
    """
    import pandas as pd

    # pixels of an answer that other objects keep do not belong to it
    numbers, counts = np.unique(painted, return_counts=True)
    areas = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    rows = [
        (
            each.label,
            each.refined,
            each.now.score,
            each.overlap,
            each.before.area,
            areas.get(each.label, 0),
            each.reason,
        )
        for each in sorted(refinements, key=lambda each: each.label)
    ]
    return pd.DataFrame.from_records(rows, columns=list(COLUMNS))


def refine_labels(
    image: Any,
    labels: Any,
    model: Sam,
    *,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    scores: Mapping[int, float] | None = None,
    parameters: RefineParameters | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **overrides: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Refine every object of a label image.

    Parameters
    ----------
    image : array
        (H, W) or (H, W, 3 or 4), or with ``channels``; see
        `Predictor.embed`.
    labels : array
        (H, W) labels from any program: integers, whole floats, or a binary
        mask (bool, or 0 and 255), of which each connected component is an
        object. Leading axes of length 1 are dropped.
    model : Sam
        Model, see `load_model`.
    channels, contrast_limits, gamma
        As in `Predictor.embed`.
    scores : mapping of int to float, optional
        Predicted IoU of objects, where known; only better answers replace
        them.
    parameters : RefineParameters, optional
        Thresholds; ``overrides`` sets single fields.
    progress : callable, optional
        Called with objects done, total objects, and a message.
    cancelled : callable, optional
        Called after each object; if True, refinement stops, and objects so far
        are refined.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or int32 if there is a label above 65535.
    table : pandas.DataFrame
        One row per object, see `refinement_table`.

    Raises
    ------
    ImageError
        If `labels` is not a label image, or its shape differs from the
        image's.
    SegmentationError
        If a parameter or score is invalid.
    TypeError
        If an override is not a parameter.

    Examples
    --------
    >>> import napari_mobilesam as nm
    >>> model = nm.load_model()  # doctest: +SKIP
    >>> better, table = nm.refine_labels(image, labels, model)
    ... # doctest: +SKIP
    """
    from napari_mobilesam.segmentation.predictor import Predictor

    chosen = with_overrides(parameters, RefineParameters, overrides)
    _check_scores(scores)
    predictor = Predictor(model)
    embedding = predictor.embed(
        image,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
    )
    objects = ObjectMasks.of(labels, scores)
    check_shapes(objects.labels.shape, embedding.image_shape)
    refinements: list[Refinement] = []
    for number, (label, before) in enumerate(objects.masks.items(), start=1):
        answers = [
            predictor.predict_at_scale(embedding, prompts).mask()
            for prompts in prompts_of_mask(before)
        ]
        found = [mask for mask in answers if mask.data.any()]
        after = max(found, key=lambda mask: mask.score, default=None)
        refinements.append(judge(label, before, after, chosen, model.record))
        if progress is not None:
            total = len(objects.masks)
            progress(number, total, f'Object {number} of {total}')
        if cancelled is not None and cancelled():
            break
    painted = repaint(objects.labels, refinements)
    table = refinement_table(refinements, painted)
    if painted.max(initial=0) <= np.iinfo(np.uint16).max:
        painted = painted.astype(np.uint16)
    return painted, table


def _check_scores(scores: Any) -> None:
    """Check that scores are numbers by label, or None."""
    if scores is None:
        return
    if not isinstance(scores, Mapping):
        raise SegmentationError(
            f'scores is {quoted(scores)}; give a mapping of labels to '
            'predicted IoU, such as {1: 0.9}.'
        )
    for label, score in scores.items():
        if not isinstance(score, Real) or isinstance(score, bool):
            raise SegmentationError(
                f'The score of label {quoted(label)} is {quoted(score)}; it '
                'has to be a number, NaN if unknown.'
            )


def check_shapes(labels: Sequence[int], image: Sequence[int]) -> None:
    """Check that labels have the shape of the image.

    Raises
    ------
    ImageError
        If the shapes differ.
    """
    if tuple(labels) != tuple(image):
        raise ImageError(
            f'The labels have {labels[0]} × {labels[1]} pixels, the image '
            f'has {image[0]} × {image[1]}: give labels of this image.'
        )
