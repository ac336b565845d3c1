"""Segment everything into a label image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mobilesam.segmentation.image import ContrastLimits
from napari_mobilesam.segmentation.layout import Channels
from napari_mobilesam.segmentation.mask_generator import generate_candidates
from napari_mobilesam.types import EverythingParameters, Mask, Progress

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.image_embedding import ImageEmbedding


def segment_everything(
    image: Any,
    model: Sam,
    *,
    region: Any = None,
    skip: Any = None,
    channels: Channels | None = None,
    contrast_limits: ContrastLimits | None = None,
    gamma: float = 1.0,
    parameters: EverythingParameters | None = None,
    embedding: ImageEmbedding | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_masks: Callable[[list[Mask]], None] | None = None,
    **overrides: Any,
) -> tuple[NDArray[Any], pd.DataFrame]:
    """Label all objects of an image.

    The masks found by `generate_candidates` are painted best first; a mask of
    which less than 70 % stays visible gets no label.

    Parameters
    ----------
    image : array
        (H, W), (H, W, 3 or 4), or with ``channels`` (C, H, W) or (H, W, C).
    model : Sam
        Model, see `napari_mobilesam.load_model`.
    region : box or (H, W) bool, optional
        Part of the image to search for objects.
    skip : (H, W) bool, optional
        Pixels to exclude from the search.
    channels, contrast_limits, gamma
        What the model sees of the image, see `Predictor.embed`.
    parameters : EverythingParameters, optional
        All parameters of the run; the defaults if None.
    embedding, progress, cancelled, on_masks, **overrides
        As in `generate_masks`.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or int32 if there are more than 65535 labels; 0 is
        background, 1 the label with the highest predicted IoU.
    table : pandas.DataFrame
        One row per label: label, score (predicted IoU), stability, area
        (pixels), row and column (centroid), row0, column0, row1 and column1
        (box, half open).

    Raises
    ------
    ImageError, SegmentationError, TypeError
        As `generate_candidates`.
    """
    candidates = generate_candidates(
        image,
        model,
        region=region,
        skip=skip,
        channels=channels,
        contrast_limits=contrast_limits,
        gamma=gamma,
        parameters=parameters,
        embedding=embedding,
        progress=progress,
        cancelled=cancelled,
        on_masks=on_masks,
        **overrides,
    )
    return candidates.label()
