"""Detectors of boxes around objects named by a text.

A detector is any object with a `BoxDetector.boxes` method. Other packages
register theirs in the entry-point group ``napari_mobilesam.detectors``, as a
callable without arguments (for example a class) that returns a detector.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mobilesam.argument_checks import quoted
from napari_mobilesam.model.text_detectors import (
    RECORDS,
    DetectorError,
    load_downloaded,
)
from napari_mobilesam.text import counted, explain
from napari_mobilesam.types import PromptError

GROUP = 'napari_mobilesam.detectors'
DEFAULT_DETECTOR = 'grounding_dino_tiny'
# Only this many of the best boxes are kept.
MOST_BOXES = 10_000


class BoxDetector(Protocol):
    """Detector that draws boxes around what a text names."""

    def boxes(
        self, image: NDArray[np.uint8], text: str
    ) -> tuple[ArrayLike, ArrayLike]:
        """Find boxes.

        Parameters
        ----------
        image : ndarray
            (H, W, 3) uint8 RGB, as shown to the model.
        text : str
            What to find, as typed by the user.

        Returns
        -------
        boxes : array-like
            (N, 4) row0, column0, row1, column1 in data pixels, half open.
        scores : array-like
            (N,) from 0 to 1.
        """


def detector_names() -> list[str]:
    """Return the names of all detectors, built-in ones first."""
    return [*RECORDS, *sorted(set(_entry_points()) - set(RECORDS))]


def load_detector(name: str, device: str = 'cpu') -> BoxDetector:
    """Load a detector by its name.

    Parameters
    ----------
    name : str
        One of `detector_names`.
    device : str
        Torch device for the built-in detectors.

    Raises
    ------
    DetectorError
        There is no such detector, its weights are not on this machine, or
        it cannot be loaded.
    MissingExtraError
        transformers is not installed.
    """
    if name in RECORDS:
        return load_downloaded(name, device)
    point = _entry_points().get(name)
    if point is None:
        raise DetectorError(
            f'There is no detector {quoted(name)}; there is '
            f'{", ".join(detector_names())}.'
        )
    try:
        made = point.load()()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever another package raises
        raise DetectorError(
            f'The detector {name} ({point.value}) cannot be loaded: '
            f'{explain(error)}'
        ) from error
    return checked_detector(made)


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def checked_detector(detector: Any) -> BoxDetector:
    """Return a detector if it is one.

    Raises
    ------
    DetectorError
        It has no method ``boxes``.
    """
    if not callable(getattr(detector, 'boxes', None)):
        raise DetectorError(
            f'{quoted(detector)} is not a detector: it needs a method '
            'boxes(image, text).'
        )
    return detector


def check_query(text: Any) -> None:
    """Raise `PromptError` if a value is not text that names something."""
    if not isinstance(text, str):
        raise PromptError(f'text is {quoted(text)}; give words for a thing.')
    if not text.strip():
        raise PromptError('The text is empty: say what to find.')


def boxes_of_text(
    detector: BoxDetector, image: NDArray[np.uint8], text: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run a detector and check its answer.

    Parameters
    ----------
    detector : BoxDetector
        The detector.
    image : ndarray
        (H, W, 3) uint8.
    text : str
        What to find.

    Returns
    -------
    boxes : ndarray
        (N, 4) float64, cut to the image; boxes outside of it are left out.
    scores : ndarray
        (N,) float64, the highest first.

    Raises
    ------
    PromptError
        The text is empty.
    DetectorError
        The detector has failed, or what it returns are not boxes.
    """
    check_query(text)
    name = type(detector).__name__
    try:
        answer = checked_detector(detector).boxes(image, text)
    except (DetectorError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever a detector raises
        raise DetectorError(
            f'The detector {name} has failed: {explain(error)}'
        ) from error
    boxes, scores = _checked_answer(name, answer)
    height, width = image.shape[:2]
    limits = np.array([height, width, height, width], np.float64)
    given, boxes = boxes, np.clip(boxes, 0, limits)
    inside = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
    if len(boxes) and not inside.any():
        first = ', '.join(f'{value:g}' for value in given[0])
        count = counted(len(boxes), 'box', 'boxes')
        raise DetectorError(
            f'The detector {name} returns {count} such as ({first}), and none '
            f'covers a pixel of the image of {height} × {width}: boxes are '
            'row0, column0, row1, column1 in pixels, with row0 < row1.'
        )
    boxes, scores = boxes[inside], scores[inside]
    order = np.argsort(-scores, kind='stable')[:MOST_BOXES]
    return boxes[order], scores[order]


def _checked_answer(
    name: str, answer: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wanted = '(N, 4) boxes row0, column0, row1, column1, and (N,) scores'
    try:
        boxes, scores = answer
        boxes = np.asarray(boxes, np.float64)
        scores = np.asarray(scores, np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise DetectorError(
            f'The detector {name} returns {quoted(answer)}; it has to return '
            f'{wanted}.'
        ) from None
    if boxes.size == 0 and scores.size == 0:
        return np.zeros((0, 4)), np.zeros(0)
    if (
        boxes.ndim != 2
        or boxes.shape[1] != 4
        or scores.shape != boxes.shape[:1]
    ):
        raise DetectorError(
            f'The detector {name} returns boxes of shape {boxes.shape} and '
            f'scores of shape {scores.shape}; it has to return {wanted}.'
        )
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise DetectorError(
            f'The detector {name} returns boxes or scores that are not finite.'
        )
    return boxes, scores
