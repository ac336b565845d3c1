"""Masks that the model is not certain of."""

from __future__ import annotations

from napari_mobilesam.session.objects.records import ObjectRecord, ObjectView

# Of what is missing to certainty, so much more is asked of some masks: those
# of a box alone, because a box always shows something (on validation and
# training images, half of 279 boxes on background have less, and 3 % of 361
# boxes of objects), and corrections that lose most of the object.
MARGIN = 0.52
# share of its pixels that is left of an object that has lost most of them
LEFT = 0.25


def is_doubtful(
    record: ObjectRecord, base: ObjectRecord | None, least_score: float
) -> bool:
    """Return whether the model is not certain of an object on some plane.

    Parameters
    ----------
    record : ObjectRecord
        The object.
    base : ObjectRecord or None
        The object when it was opened; None if it is new.
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
    """Return whether the model is not certain of an object on a plane.

    Parameters as of `is_doubtful`.
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
