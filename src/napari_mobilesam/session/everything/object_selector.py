"""Selection and labelling of the candidates of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
    Extent,
    PlaneMask,
)

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.segmentation.candidates import Candidates, Selection
    from napari_mobilesam.segmentation.parameters import Thresholds


class SelectedObjects(NamedTuple):
    """Objects of a run; see `EverythingResult`.

    Attributes
    ----------
    pictures : tuple of ndarray
        (H, W) labels of each plane, uint16 or int32.
    table : pandas.DataFrame
        One row per label.
    masks : dict
        Masks of each label, one per plane.
    """

    pictures: tuple[NDArray[Any], ...]
    table: pd.DataFrame
    masks: dict[int, tuple[PlaneMask, ...]]


class ObjectSelector:
    """Select the objects of a run, and label them; each keeps its label.

    Moving a slider thus neither renumbers nor recolours the objects that stay.

    Parameters
    ----------
    linked : bool
        Whether objects that overlap from plane to plane become one.
    """

    def __init__(self, linked: bool) -> None:
        self._linked = linked
        # label n is at n - 1; kept alive, because labels are keyed by identity
        self._found: list[PlaneMask] = []
        self._labels: dict[int, int] = {}
        # labels of the masks of each object on several planes
        self._members: dict[int, list[int]] = {}

    def select(
        self,
        planes: Sequence[Candidates],
        selection: Selection,
    ) -> SelectedObjects:
        """Select and label the objects of all planes.

        Parameters
        ----------
        planes : sequence of Candidates
            Candidates of each plane.
        selection : Selection
            Criteria of objects.
        """
        import pandas as pd

        pictures, tables = [], [_empty_table()]
        for number, candidates in enumerate(planes):
            picture, table = self._plane(number, candidates, selection)
            pictures.append(picture)
            tables.append(table.assign(plane=number, planes=1))
        table = pd.concat(tables[len(pictures) > 0 :], ignore_index=True)
        order = table['label'].tolist()
        if self._linked and len(pictures) > 1:
            final = self._link(pictures)
            order = final[order].tolist()
            table = _one_row_each(table.assign(label=final[table['label']]))
            lookup = _as_labels(final)
            pictures = [lookup[picture] for picture in pictures]
        masks = {
            label: tuple(
                self._found[member - 1]
                for member in self._members.get(label, [label])
            )
            for label in order
        }
        return SelectedObjects(tuple(pictures), table, masks)

    def _plane(
        self,
        number: int,
        candidates: Candidates,
        selection: Selection,
    ) -> tuple[NDArray[Any], pd.DataFrame]:
        from napari_mobilesam.segmentation.painting import label_table

        picture, painted = candidates.paint(selection)
        labels = [self._label(PlaneMask(number, mask)) for mask in painted]
        table = label_table(picture, painted).assign(
            label=np.array(labels, np.int64),
            point_row=[mask.point[0] for mask in painted],
            point_column=[mask.point[1] for mask in painted],
        )
        if selection.similarity is not None:
            table['similarity'] = [mask.similarity for mask in painted]
        return _as_labels(np.array([0, *labels]))[picture], table

    def _label(self, found: PlaneMask) -> int:
        label = self._labels.get(id(found.mask))
        if label is None:
            self._found.append(found)
            label = self._labels[id(found.mask)] = len(self._found)
        return label

    def _link(self, pictures: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
        """Return the lowest label linked with each label."""
        from napari_mobilesam.segmentation.linking import link_labels

        linked = link_labels(np.stack(pictures))
        groups = np.zeros(len(self._found) + 1, dtype=np.int64)
        for picture, link in zip(pictures, linked, strict=True):
            groups[picture.ravel()] = link.ravel()
        labels = np.flatnonzero(groups)
        lowest = np.full(int(groups.max(initial=0)) + 1, len(groups))
        np.minimum.at(lowest, groups[labels], labels)
        final = np.zeros(len(groups), dtype=np.int64)
        final[labels] = lowest[groups[labels]]
        self._members = {}
        for label in labels.tolist():
            self._members.setdefault(int(final[label]), []).append(label)
        return final


def _as_labels(values: NDArray[Any]) -> NDArray[Any]:
    small = values.max(initial=0) <= np.iinfo(np.uint16).max
    return values.astype(np.uint16 if small else np.int32)


def _empty_table() -> pd.DataFrame:
    from napari_mobilesam.segmentation.painting import label_table

    return label_table(np.zeros((0, 0), np.uint16), []).assign(
        point_row=0.0, point_column=0.0, plane=0, planes=1
    )


def _one_row_each(table: pd.DataFrame) -> pd.DataFrame:
    """Describe objects on several planes by their lowest-scored plane."""
    groups = table.groupby('label')
    weakest = table.sort_values(['score', 'plane']).drop_duplicates('label')
    label = weakest['label']
    weakest = weakest.assign(
        area=label.map(groups['area'].sum()), planes=label.map(groups.size())
    )
    return weakest.sort_values('label').reset_index(drop=True)


def extent_of(
    planes: Sequence[Candidates],
    floor: Thresholds | None,
    request: EverythingRequest,
) -> Extent:
    """Return the filter ranges of candidates.

    Parameters
    ----------
    planes : sequence of Candidates
        Candidates of each plane.
    floor : Thresholds or None
        Lowest thresholds of the run; None if it ended before setting them.
    request : EverythingRequest
        The run.
    """
    from napari_mobilesam.segmentation.similar import SIMILARITY_FLOOR
    from napari_mobilesam.segmentation.text_prompts import TEXT_FLOOR

    areas = [mask.area for plane in planes for mask in plane.masks]
    values = [
        np.asarray(plane.intensity, dtype=float)
        for plane in planes
        if plane.masks
    ]
    intensity = Extent().intensity
    if values:
        lowest, highest = map(np.nanmin, values), map(np.nanmax, values)
        intensity = float(min(lowest)), float(max(highest))
    iou, stability = floor or (0.0, 0.0)
    similarity = -1.0
    if request.query is not None:
        iou, stability, similarity = 0.0, 0.0, TEXT_FLOOR
    elif request.examples is not None:
        similarity = request.examples.similarity - SIMILARITY_FLOOR
    return Extent(
        (float(min(areas, default=1)), float(max(areas, default=1))),
        intensity,
        iou,
        stability,
        similarity,
    )
