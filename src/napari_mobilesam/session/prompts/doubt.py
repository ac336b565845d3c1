"""Masks about which the model is uncertain."""

from __future__ import annotations

from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView

# Stricter thresholds, as a fraction of the way to a score of 1, for two kinds
# of masks. First, those of a box alone, because a box always shows something:
# on validation and training images, half of 279 boxes on background but only 3
# % of 361 boxes of objects score less. Second, corrections that lose most of
# the object.
MARGIN = 0.52
# share of pixels left of an object that has lost most of them
LEFT = 0.25


def is_doubtful(
    record: ObjectRecord, base: ObjectRecord | None, least_score: float
) -> bool:
    """Return whether the model is uncertain about an object on any plane.

    Parameters
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The object when opened; None if it is new.
    least_score : float
        Predicted IoU below which masks are doubtful; 0 if none are.
    """
    return any(
        is_doubtful_view(view, base, least_score)
        for view in record.views.values()
    )


def is_doubtful_view(
    view: ObjectView, base: ObjectRecord | None, least_score: float
) -> bool:
    """Return whether the model is uncertain about an object on a plane.

    The parameters are those of `is_doubtful`.
    """
    before = None if base is None else base.view(view.plane)
    if view.mask is None or view is before:
        return False
    prompts, old = view.prompts, None if before is None else before.mask
    box_alone = prompts.box is not None and not len(prompts.points)
    lost = old is not None and view.mask.area < LEFT * old.area
    if least_score and (box_alone or lost):
        least_score += MARGIN * (1 - least_score)
    # False for the NaN of masks that no model has scored
    return view.mask.score < least_score
