"""What a run looks for: objects similar to examples, or named by a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_mobilesam.session.everything.everything_messages import (
    ExampleObjects,
    TextQuery,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.targets import (
    LabelTarget,
    whole_picture,
)
from napari_mobilesam.types import PromptError

# More examples take longer and add hardly any variety.
MOST_EXAMPLES = 50


def examples_on(
    target: LabelTarget,
    plane: ImagePlane,
    labels: Sequence[int] | None = None,
    similarity: float | None = None,
) -> ExampleObjects:
    """Return the labelled objects of a plane as examples.

    Parameters
    ----------
    target : LabelTarget
        Labels.
    plane : ImagePlane
        Plane of the image.
    labels : sequence of int, optional
        Labels that are examples; by default all labels of the plane, at most
        `MOST_EXAMPLES`.
    similarity : float, optional
        Minimum similarity of the objects.

    Raises
    ------
    PromptError
        The plane has no such object.
    """
    from napari_mobilesam.segmentation.label_masks import masks_of_labels
    from napari_mobilesam.segmentation.similar import SIMILARITY

    picture = whole_picture(target, plane)
    masks = masks_of_labels(picture, plane.shape, name=f'“{target.name}”')
    if labels is not None:
        masks = {n: masks[n] for n in labels if n in masks}
    if not masks:
        which = 'no object' if labels is None else 'no such object'
        raise PromptError(
            f'“{target.name}” has {which} on {plane.name}: label or accept '
            'at least one example there first.'
        )
    if len(masks) > MOST_EXAMPLES:
        step, names = len(masks) / MOST_EXAMPLES, list(masks)
        kept = [names[int(n * step)] for n in range(MOST_EXAMPLES)]
        masks = {name: masks[name] for name in kept}
    return ExampleObjects(
        plane,
        tuple(masks.values()),
        SIMILARITY if similarity is None else similarity,
        tuple(masks),
    )


def text_query(
    text: str, detector: Any = None, score: float | None = None
) -> TextQuery:
    """Return a query, with defaults for missing values.

    Raises
    ------
    PromptError
        The text is empty.
    SegmentationError
        The score is not between 0 and 1.
    """
    from napari_mobilesam.argument_checks import check_number
    from napari_mobilesam.segmentation.box_detectors import (
        DEFAULT_DETECTOR,
        check_query,
    )
    from napari_mobilesam.segmentation.text_prompts import TEXT_SCORE

    check_query(text)
    if score is not None:
        check_number('score', score, 0, 1)
    return TextQuery(
        text.strip(),
        DEFAULT_DETECTOR if detector is None else detector,
        TEXT_SCORE if score is None else score,
    )
