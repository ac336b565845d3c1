"""Masks found by segment everything, to be filtered again and again.

Prompts take seconds; thresholds, duplicate removal and filters take
milliseconds. A run therefore keeps everything it found, and
`Candidates.select` picks from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import check_instance, check_number
from napari_mobilesam.segmentation.filters import (
    ObjectFilters,
    measure,
    touches_border,
)
from napari_mobilesam.segmentation.layout import Channels, plane_layout
from napari_mobilesam.segmentation.nms import (
    BoxOverlaps,
    boxes_of,
    suppress_cleaned,
)
from napari_mobilesam.segmentation.painting import (
    VISIBLE_FRACTION,
    by_score,
    label_table,
    paint_labels,
    worth,
)
from napari_mobilesam.segmentation.parameters import thresholds_for
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.segmentation.small_regions import remove_small_regions
from napari_mobilesam.text import counted
from napari_mobilesam.types import EverythingParameters, Mask, ModelRecord

if TYPE_CHECKING:
    import pandas as pd

# Pairs with a lower IoU are looked up only if a threshold requires them.
LEAST_OVERLAP = 0.25


@dataclass(frozen=True)
class Selection:
    """Criteria by which candidates become objects.

    Attributes
    ----------
    predicted_iou, stability : float or None
        Masks with lower values are dropped; None takes the model's default.
        Values below the floor of the run find nothing more.
    box_nms : float
        Box IoU above which the lower-scored of two masks of a window is
        dropped.
    crop_nms : float
        Box IoU above which duplicates between windows are dropped.
    max_area_fraction : float
        Masks covering more of the image than this are dropped.
    min_area : int
        Holes and islands smaller than this many pixels are removed.
    overlap : float
        A mask gets a label only if at least this share of it is not covered by
        better masks.
    filters : ObjectFilters
        Shape and intensity filters, applied last.
    similarity : float or None
        Minimum similarity to examples; None if there are no examples.
    """

    predicted_iou: float | None = None
    stability: float | None = None
    box_nms: float = 0.7
    crop_nms: float = 0.7
    max_area_fraction: float = 0.95
    min_area: int = 0
    overlap: float = VISIBLE_FRACTION
    filters: ObjectFilters = field(default_factory=ObjectFilters)
    similarity: float | None = None

    def __post_init__(self) -> None:
        check_instance('filters', self.filters, ObjectFilters, optional=False)
        check_number('min_area', self.min_area, 0)
        for name in ('box_nms', 'crop_nms', 'max_area_fraction', 'overlap'):
            check_number(name, getattr(self, name), 0, 1)
        for name, least in (
            ('predicted_iou', 0),
            ('stability', 0),
            ('similarity', -math.inf),
        ):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), least, 1)

    @classmethod
    def of(cls, parameters: EverythingParameters) -> Selection:
        """Return the selection that corresponds to the parameters of a run."""
        return cls(
            parameters.predicted_iou,
            parameters.stability,
            parameters.box_nms,
            parameters.crop_nms,
            parameters.max_area_fraction,
            parameters.min_area,
        )


@dataclass(frozen=True, eq=False)
class Candidates:
    """Everything a run found.

    Attributes
    ----------
    masks : tuple of Mask
        All masks above the floor of the run, duplicates included, in the
        order in which they were found.
    image_shape : tuple of int
        (H, W).
    record : ModelRecord
        Model that found them.
    complete : bool
        False if the run was cancelled.
    prompts : int
        Prompts asked.
    parameters : EverythingParameters
        Parameters of the run.
    scope : Scope
        Region and skipped pixels of the run.
    image : array or None
        The image, for filters by intensity.
    channels : int or sequence of int or None
        Channels of ``image`` that were shown to the model.
    windows : int
        Pixels embedded, in units of the model's input, rounded up.
    """

    masks: tuple[Mask, ...]
    image_shape: tuple[int, int]
    record: ModelRecord
    complete: bool
    prompts: int
    parameters: EverythingParameters = field(
        default_factory=EverythingParameters
    )
    scope: Scope = field(default_factory=Scope)
    image: Any = None
    channels: Channels | None = None
    windows: int = 0

    def __repr__(self) -> str:
        height, width = self.image_shape
        stopped = '' if self.complete else ', stopped'
        return (
            f'<Candidates: {counted(len(self.masks), "mask")} of {height} × '
            f'{width} pixels by {self.record.name}, '
            f'{counted(self.prompts, "prompt")}{stopped}>'
        )

    def select(self, selection: Selection | None = None) -> list[Mask]:
        """Return the selected objects, highest predicted IoU first.

        Parameters
        ----------
        selection : Selection, optional
            Thresholds and filters; by default those of the run, which gives
            the result of `generate_masks`.

        Raises
        ------
        SegmentationError
            If `selection` is not a `Selection`.
        """
        check_instance('selection', selection, Selection)
        chosen = selection or Selection.of(self.parameters)
        kept = self._without_duplicates(self._passing(chosen), chosen)
        masks = [self.masks[index] for index in kept]
        if chosen.min_area > 0:
            masks = self._clean(masks, chosen)
        return by_score([m for m in masks if self._fits(m, chosen.filters)])

    def paint(
        self, selection: Selection | None = None
    ) -> tuple[NDArray[Any], list[Mask]]:
        """Paint the selected objects into a label image; see `paint_labels`.

        Returns
        -------
        labels : ndarray
            (H, W) uint16, or int32 above 65535 labels.
        painted : list of Mask
            ``painted[i]`` is label ``i + 1``; `label_table` describes them.
        """
        masks = self.select(selection)
        chosen = selection or Selection.of(self.parameters)
        return paint_labels(masks, self.image_shape, chosen.overlap)

    def label(
        self, selection: Selection | None = None
    ) -> tuple[NDArray[Any], pd.DataFrame]:
        """Return label image and table as `segment_everything` does.

        The table has a column ``similarity`` if the selection uses it.
        """
        labels, painted = self.paint(selection)
        table = label_table(labels, painted)
        if selection is not None and selection.similarity is not None:
            table['similarity'] = [mask.similarity for mask in painted]
        return labels, table

    def _passing(self, selection: Selection) -> NDArray[np.intp]:
        """Return the indices of masks that reach the thresholds."""
        least = thresholds_for(
            replace(
                self.parameters,
                predicted_iou=selection.predicted_iou,
                stability=selection.stability,
            ),
            self.record,
        )
        most = selection.max_area_fraction * np.prod(self.image_shape)
        passing = (
            (self._scores > least.predicted_iou)
            & (self._stabilities >= least.stability)
            & (self._areas <= most)
        )
        if selection.similarity is not None:
            passing &= self._similarities >= selection.similarity
        return np.flatnonzero(passing)

    def _without_duplicates(
        self, chosen: NDArray[np.intp], selection: Selection
    ) -> NDArray[np.intp]:
        """Drop duplicates within windows, then between windows.

        Of two duplicates the higher-scored one stays; of duplicates between
        crops, the one from the smaller crop.
        """
        threshold = min(selection.box_nms, selection.crop_nms)
        overlaps = self._overlaps(threshold)
        kept = overlaps.suppress(
            chosen, [self._worths], selection.box_nms, self._windows
        )
        if not self._windows.any():
            return kept
        keys = [self._worths]
        if self.parameters.crop_layers:
            boxes = np.array([mask.crop_box for mask in self.masks])
            areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
            # Crops of a layer go column by column.
            keys = [-areas, -boxes[:, 1], -boxes[:, 0], self._worths]
        return overlaps.suppress(kept, keys, selection.crop_nms)

    def _overlaps(self, threshold: float) -> BoxOverlaps:
        known = self._cache.get('overlaps')
        if known is None or known.least > threshold:
            least = min(LEAST_OVERLAP, threshold)
            known = BoxOverlaps(boxes_of(self.masks), least)
            self._cache['overlaps'] = known
        return known

    def _clean(
        self, masks: Sequence[Mask], selection: Selection
    ) -> list[Mask]:
        """Remove small regions, then any duplicates this creates."""
        pairs = [(m, self._cleaned(m, selection.min_area)) for m in masks]
        return suppress_cleaned(
            [(old, new) for old, new in pairs if new is not None],
            max(selection.box_nms, selection.crop_nms),
        )

    def _cleaned(self, mask: Mask, min_area: int) -> Mask | None:
        key = (id(mask), min_area)
        if key not in self._cache:
            cleaned, _ = remove_small_regions(mask, min_area, self.image_shape)
            # A filled hole may contain a skipped pixel.
            self._cache[key] = self.scope.trim(cleaned)
        return self._cache[key]

    def _fits(self, mask: Mask, filters: ObjectFilters) -> bool:
        if not filters.border and touches_border(mask, self.image_shape):
            return False
        return all(
            least <= self._measured(mask, name) <= most
            for name, (least, most) in filters.ranges.items()
        )

    def _measured(self, mask: Mask, name: str) -> float:
        key = (id(mask), name)
        if key not in self._cache:
            self._cache[key] = measure(mask, name, lambda: self.intensity)
        return self._cache[key]

    @cached_property
    def intensity(self) -> NDArray[Any]:
        """(H, W) intensity, averaged over channels.

        Raises
        ------
        ValueError
            If the candidates were kept without their image.
        """
        if self.image is None:
            raise ValueError(
                'These candidates have no image to measure intensities in.'
            )
        layout = plane_layout(self.image, self.channels)
        values = np.asarray(self.image)
        if layout.channels is None or layout.channel_axis is None:
            return values
        shown = np.take(values, layout.channels, axis=layout.channel_axis)
        return shown.mean(axis=layout.channel_axis)

    @cached_property
    def _cache(self) -> dict[Any, Any]:
        """Cached measurements of masks, by identity."""
        return {}

    @cached_property
    def _scores(self) -> NDArray[np.float32]:
        # As the model predicted them, so that thresholds keep their meaning.
        return np.array([mask.score for mask in self.masks], np.float32)

    @cached_property
    def _stabilities(self) -> NDArray[np.float64]:
        return np.array([mask.stability for mask in self.masks], np.float64)

    @cached_property
    def _worths(self) -> NDArray[np.float32]:
        return np.array([worth(mask) for mask in self.masks], np.float32)

    @cached_property
    def _similarities(self) -> NDArray[np.float64]:
        return np.array([mask.similarity for mask in self.masks], np.float64)

    @cached_property
    def _areas(self) -> NDArray[np.int64]:
        return np.array([mask.area for mask in self.masks], np.int64)

    @cached_property
    def _windows(self) -> NDArray[np.intp]:
        """(N,) window number of each mask."""
        if not self.masks:
            return np.zeros(0, np.intp)
        boxes = np.array([mask.crop_box for mask in self.masks])
        _, numbers = np.unique(boxes, axis=0, return_inverse=True)
        return numbers.reshape(-1)
