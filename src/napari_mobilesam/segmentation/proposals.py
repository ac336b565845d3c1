"""Object proposals (Segment Anything, section 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_mobilesam.argument_checks import check_number
from napari_mobilesam.segmentation.box_tables import BOX_COLUMNS
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam


def object_proposals(
    image: Any,
    model: Sam,
    *,
    points_per_side: int = 64,
    box_nms: float = 0.9,
    most: int = 1000,
    parameters: EverythingParameters | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return boxes that may contain objects, most likely first.

    The boxes are those of masks from a dense grid of prompts, parts of objects
    included, with fewer duplicates dropped than for labels (Segment Anything,
    7.3).

    Parameters
    ----------
    image, model, parameters, **options
        As `generate_candidates`.
    points_per_side : int
        Prompts along each side of the image; 64 in the paper.
    box_nms : float
        Box IoU above which the lower-scored mask is dropped, within a crop and
        between crops. Like ``points_per_side``, it overrides ``parameters``.
    most : int
        Maximum number of boxes.

    Returns
    -------
    pandas.DataFrame
        row0, column0, row1, column1 (half open, data pixels), score (mean of
        predicted IoU and stability, used for ranking), predicted_iou,
        stability, area (pixels).

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_candidates`.
    """
    import pandas as pd

    check_number('most', most, 1, whole=True)
    candidates = generate_candidates(
        image,
        model,
        parameters=parameters,
        points_per_side=points_per_side,
        box_nms=box_nms,
        **{'crop_nms': box_nms, 'adaptive': False, **options},
    )
    records = [
        (
            *mask.box,
            (mask.score + mask.stability) / 2,
            mask.score,
            mask.stability,
            mask.area,
        )
        for mask in candidates.select()
    ]
    columns = [*BOX_COLUMNS, 'score', 'predicted_iou', 'stability', 'area']
    table = pd.DataFrame.from_records(records, columns=columns)
    ranked = table.sort_values('score', ascending=False, kind='stable')
    return ranked.head(most).reset_index(drop=True)
