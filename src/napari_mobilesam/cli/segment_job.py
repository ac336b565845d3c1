"""Segmentation of one image that fits in memory."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_mobilesam.cli.image_files import FilePlane
from napari_mobilesam.cli.kinds import (
    SegmentOutput,
    of_edges,
    of_labels,
    of_proposals,
)
from napari_mobilesam.cli.parameter_options import given_options
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.prompt_options import prompts_of, segment_prompts
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.image import Limits


@dataclass(frozen=True)
class SegmentJob:
    """Segmentation of one image according to the options of ``segment``.

    Attributes
    ----------
    options : Namespace
        Validated options.
    image : FilePlane
        Image.
    limits : tuple of (low, high)
        Contrast limits.
    model : Sam
        Model.
    progress : callable
        Called with steps done, total steps, and a readable message.
    boxes : DataFrame, optional
        Boxes, in each of which one object is segmented.
    skip : ndarray, optional
        (H, W) label image; its objects are skipped by segment everything.
    like : ndarray, optional
        (H, W) label image of examples; similar objects are labelled.
    cancelled : callable, optional
        Asked while everything is segmented; True ends it.
    """

    options: argparse.Namespace
    image: FilePlane
    limits: tuple[Limits, ...]
    model: Sam
    progress: ProgressLine
    boxes: pd.DataFrame | None = None
    skip: NDArray[Any] | None = None
    like: NDArray[Any] | None = None
    cancelled: Callable[[], bool] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of segment everything that were given."""
        return given_options(self.options, EverythingParameters)

    def run(self) -> SegmentOutput:
        """Segment by boxes, points, text or examples, or everything."""
        options, pixels, model = self.options, self.image.pixels, self.model
        reported: dict[str, Any] = {
            'contrast_limits': self.limits,
            'progress': self.progress,
        }
        if self.boxes is not None:
            from napari_mobilesam.segmentation.box_prompts import segment_boxes

            found = segment_boxes(pixels, model, self.boxes, **reported)
        elif prompts := prompts_of(options):
            diameter = self.parameters.get('diameter')
            found = segment_prompts(
                pixels, model, prompts, diameter, self.limits
            )
        elif options.text is not None:
            from napari_mobilesam.segmentation.text_prompts import segment_text

            chosen = _given(
                detector=options.detector, score=options.text_score
            )
            found = segment_text(
                pixels, model, options.text, **chosen, **reported
            )
        elif self.like is not None:
            from napari_mobilesam.segmentation.similar import find_similar

            found = find_similar(
                pixels,
                model,
                self.like,
                **_given(similarity=options.similarity),
                region=options.region,
                skip=self.skip,
                **reported,
                **self.parameters,
            )
        else:
            return self.everything()
        return of_labels(options.output_kind, *found, self.image)

    def everything(self) -> SegmentOutput:
        """Find all objects, edges, or object proposals."""
        from napari_mobilesam.segmentation.edges import edge_map
        from napari_mobilesam.segmentation.everything import segment_everything
        from napari_mobilesam.segmentation.proposals import object_proposals

        kind, pixels = self.options.output_kind, self.image.pixels
        given: dict[str, Any] = {
            'region': self.options.region,
            'contrast_limits': self.limits,
            'progress': self.progress,
            'cancelled': self.cancelled,
            **self.parameters,
        }
        if kind == 'edges':
            return of_edges(edge_map(pixels, self.model, **given), self.image)
        given['skip'] = self.skip
        if kind == 'proposals':
            return of_proposals(object_proposals(pixels, self.model, **given))
        found = segment_everything(pixels, self.model, **given)
        return of_labels(kind, *found, self.image)


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given; others keep their defaults."""
    return {name: it for name, it in options.items() if it is not None}
