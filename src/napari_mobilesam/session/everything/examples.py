"""Example objects of labels, for runs that look for others like them."""

from __future__ import annotations

from collections.abc import Sequence

from napari_mobilesam.session.everything.everything_messages import (
    ExampleObjects,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.targets import LabelTarget
from napari_mobilesam.types import PromptError

# Further examples add time and hardly any appearance.
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
        Labels that are examples; by default all of the plane, at most
        `MOST_EXAMPLES` of them.
    similarity : float, optional
        Least similarity of the objects wanted.

    Raises
    ------
    PromptError
        The plane has no such object.
    """
    from napari_mobilesam.segmentation.label_masks import masks_of_labels
    from napari_mobilesam.segmentation.similar import SIMILARITY

    height, width = plane.shape
    picture = target.picture(plane, (0, 0, height, width))
    masks = masks_of_labels(picture, plane.shape, name=f'“{target.name}”')
    if labels is not None:
        masks = {n: masks[n] for n in labels if n in masks}
    if not masks:
        which = 'no object' if labels is None else 'no such object'
        raise PromptError(
            f'“{target.name}” has {which} on {plane.name}: label or accept '
            'at least one example there, then find what is similar.'
        )
    if len(masks) > MOST_EXAMPLES:
        step = len(masks) / MOST_EXAMPLES
        names = list(masks)
        masks = {
            names[int(n * step)]: masks[names[int(n * step)]]
            for n in range(MOST_EXAMPLES)
        }
    return ExampleObjects(
        plane,
        tuple(masks.values()),
        SIMILARITY if similarity is None else similarity,
    )
