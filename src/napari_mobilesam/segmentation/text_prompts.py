"""Text to masks (Segment Anything, 7.5): a detector's boxes are prompts.

SAM's own text encoder was never published. Here, a detector draws boxes around
what the text names, and each is a box prompt for the mask decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_model, check_number
from napari_mobilesam.segmentation.box_detectors import (
    DEFAULT_DETECTOR,
    BoxDetector,
    boxes_of_text,
    check_query,
    checked_detector,
    load_detector,
)
from napari_mobilesam.segmentation.box_prompts import masks_of_boxes
from napari_mobilesam.segmentation.candidates import Candidates, Selection
from napari_mobilesam.segmentation.image import as_rgb_plane
from napari_mobilesam.segmentation.image_embedding import (
    ImageEmbedding,
    embedding_of,
)
from napari_mobilesam.segmentation.scope import Scope, checked_scope
from napari_mobilesam.types import EverythingParameters, Mask, Progress

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam

# Default minimum score of a box, and minimum score of a candidate.
TEXT_SCORE, TEXT_FLOOR = 0.3, 0.1
NOWHERE = (float('nan'), float('nan'))


def text_selection(
    parameters: EverythingParameters, score: float = TEXT_SCORE
) -> Selection:
    """Return the selection for a text: by the detector's score."""
    return replace(
        Selection.of(parameters),
        predicted_iou=0.0,
        stability=0.0,
        similarity=score,
        max_area_fraction=1.0,
    )


def text_candidates(
    image: Any,
    model: Sam,
    *,
    text: str,
    detector: BoxDetector,
    region: Any = None,
    skip: Any = None,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    on_work: Callable[[int, int], None] | None = None,
    **shown: Any,
) -> Candidates:
    """Find candidates that a text names.

    Parameters
    ----------
    image, model, region, skip, parameters, embedding, progress, cancelled, \
on_masks, on_work, **shown
        As `generate_candidates`; with a region, only boxes whose middle lies
        in it are prompted. Channels, contrast limits and gamma are in
        ``shown``.
    text : str
        What to find.
    detector : BoxDetector
        Detector that draws the boxes.

    Returns
    -------
    Candidates
        Masks whose similarity is the score of the detector.

    Raises
    ------
    PromptError
        The text is empty.
    DetectorError
        The detector has failed, or what it returns are not boxes.
    ImageError, SegmentationError
        As `generate_candidates`.
    """
    rgb = as_rgb_plane(image, **shown)
    shape = rgb.shape[0], rgb.shape[1]
    scope = checked_scope(shape, region, skip)
    chosen = parameters or EverythingParameters()
    known = embedding_of(model, rgb, embedding)
    if progress is not None:
        progress(0, 1, 'Looking for boxes')
    boxes, scores = _boxes_in(scope, *boxes_of_text(detector, rgb, text))

    def finish(number: int, mask: Mask) -> Mask | None:
        # without a point, it is edited as a box
        scored = replace(mask, similarity=float(scores[number]), point=NOWHERE)
        return scope.trim(scored) if mask.area else None

    def tell(found: list[tuple[int, Mask]]) -> None:
        masks = [m for n, mask in found if (m := finish(n, mask)) is not None]
        if masks and on_masks is not None:
            on_masks(masks)

    answers, complete = masks_of_boxes(
        rgb,
        model,
        boxes,
        known,
        progress=progress,
        cancelled=cancelled,
        on_answers=tell,
        on_work=on_work,
    )
    finished = (finish(number, mask) for number, mask in enumerate(answers))
    return Candidates(
        tuple(mask for mask in finished if mask is not None),
        shape,
        model.record,
        complete,
        len(boxes),
        parameters=chosen,
        scope=scope,
        image=image,
        channels=shown.get('channels'),
    )


def _boxes_in(
    scope: Scope, boxes: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return boxes whose middle lies in scope, without the least certain."""
    middles = boxes.reshape(-1, 2, 2).mean(axis=1)
    kept = scope.admits(middles) & (scores >= TEXT_FLOOR)
    return boxes[kept], scores[kept]


def segment_text(
    image: Any,
    model: Sam,
    text: str,
    *,
    detector: str | BoxDetector = DEFAULT_DETECTOR,
    score: float = TEXT_SCORE,
    region: Any = None,
    skip: Any = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **shown: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Label what a text names.

    The detectors that can be downloaded were trained on photographs, not on
    microscopy.

    Parameters
    ----------
    image, model, region, skip, embedding, progress, cancelled, **shown
        As `text_candidates`.
    text : str
        What to find; several names are separated by dots.
    detector : str or BoxDetector
        Name of a detector (see `detector_names`), or any object with a method
        ``boxes(image, text)`` that returns (N, 4) boxes (row0, column0, row1,
        column1) in data pixels and (N,) scores.
        Detectors that can be downloaded run on the device of the model.
    score : float
        Minimum score of a box.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or int32 if there are more than 65535 labels.
    table : pandas.DataFrame
        As `segment_everything`, with the score of the box as ``similarity``.

    Raises
    ------
    PromptError
        The text is empty.
    DetectorError
        There is no such detector, it is not downloaded, or it has failed.
    ImageError, SegmentationError
        As `generate_candidates`.
    """
    check_model(model)
    check_number('score', score, 0, 1)
    check_query(text)
    loaded = (
        load_detector(detector, str(model.device))
        if isinstance(detector, str)
        else checked_detector(detector)
    )
    candidates = text_candidates(
        image,
        model,
        text=text,
        detector=loaded,
        region=region,
        skip=skip,
        embedding=embedding,
        progress=progress,
        cancelled=cancelled,
        **shown,
    )
    return candidates.label(text_selection(candidates.parameters, score))
