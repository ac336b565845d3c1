"""Check of *segment everything* on held-out objects."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.segmentation.everything import segment_everything
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.metrics import iou_matrix, match
from napari_mobilesam.types import Window, slices_of, window_at

SIDE = 320  # data pixels; of a larger image, a window is used
IMAGES = 2


class EverythingCheck:
    """F1 at an IoU of 0.5 of segment everything, on held-out objects.

    Objects found on other labelled objects are not counted, nor those on the
    background if not every object is labelled.

    Parameters
    ----------
    images, held_back : sequence of LabelledImage
        Images with all labels, and images with held-out objects, with only
        these labelled. The first few are used, or a window of large ones.
    complete : bool
        Whether every object of the images is labelled.
    seconds : float
        Time limit for one check. If the first takes longer, there is no check.
    cancelled : callable, optional
        Ends the check.

    Attributes
    ----------
    seconds : float
        Duration of the next check, 0 if there is none.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        held_back: Sequence[LabelledImage],
        complete: bool,
        seconds: float = math.inf,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        whole = {id(image.image): image for image in images}
        self._pairs = [
            (whole[id(held.image)], held) for held in held_back[:IMAGES]
        ]
        self._complete = complete
        self._limit = seconds
        self._cancelled = cancelled or (lambda: False)
        self.seconds = 0.0

    def __call__(self, sam: Sam) -> float:
        """Return the mean F1 of the images; NaN if cancelled or too slow."""
        begun, self.seconds = time.monotonic(), 0.0

        def ended() -> bool:
            late = time.monotonic() - begun > self._limit
            return late or self._cancelled()

        scores = []
        for image, held in self._pairs:
            part = slices_of(_window(held))
            colour = image.image.ndim == 3
            found, _ = segment_everything(
                image.image[part],
                sam,
                contrast_limits=None if colour else image.limits['product'],
                cancelled=ended,
            )
            if ended():
                # there is no time for a second check either
                self._pairs = []
                return math.nan
            labels, wanted = image.labels[0][part], held.labels[0][part]
            scores.append(judged_f1(found, labels, wanted, self._complete))
        self.seconds = time.monotonic() - begun
        return float(np.mean(scores)) if scores else math.nan


def _window(held: LabelledImage) -> Window:
    """Return a window around the first held-out object."""
    box, shape = held.objects[0, 2:], held.image.shape[:2]
    row, column = (
        min(max(0, int((first + last) / 2) - SIDE // 2), max(0, length - SIDE))
        for first, last, length in zip(box[:2], box[2:], shape, strict=True)
    )
    return window_at(row, column, (SIDE, SIDE), shape)


def judged_f1(
    found: NDArray[np.integer],
    labels: NDArray[np.integer],
    held_back: NDArray[np.integer],
    complete: bool,
) -> float:
    """Compute the F1 of objects, each judged by the label it mostly covers.

    Parameters
    ----------
    found : ndarray
        (H, W) labels to judge.
    labels, held_back : ndarray
        (H, W) all labels, and held-out labels.
    complete : bool
        Whether objects found on the background are wrong.
    """
    judged = held_back > 0
    if complete:
        judged |= labels == 0
    areas = np.bincount(found.ravel())
    on_judged = np.bincount(found[judged], minlength=len(areas))
    kept = 2 * on_judged > areas
    kept[0] = False
    chosen = np.where(kept[found], found, 0)
    return match(iou_matrix(held_back, chosen)).f1
