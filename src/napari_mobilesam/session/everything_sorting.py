"""From the candidates of a run to labels, again and again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.everything_messages import Extent
from napari_mobilesam.types import Mask

if TYPE_CHECKING:
    import pandas as pd

    from napari_mobilesam.segmentation.candidates import Candidates, Selection
    from napari_mobilesam.segmentation.parameters import Thresholds


class Sorter:
    """Labels the objects of a run; each keeps its label for good.

    Moving a slider then neither renumbers nor recolours what stays.

    Parameters
    ----------
    linked : bool
        Whether objects that overlap from plane to plane become one.
    """

    def __init__(self, linked: bool) -> None:
        self._linked = linked
        # masks are known by identity, and held so that it is not reused
        self._known: dict[int, _Known] = {}
        self._members: dict[int, frozenset[int]] = {}

    def sort(
        self,
        planes: Sequence[Candidates],
        selection: Selection,
        keep: Collection[int] = (),
    ) -> tuple[tuple[NDArray[Any], ...], pd.DataFrame]:
        """Select and label the objects of all planes.

        Parameters
        ----------
        planes : sequence of Candidates
            What was found on each plane.
        selection : Selection
            Which of it are objects.
        keep : collection of int
            Labels that are objects whatever the selection says.

        Returns
        -------
        pictures : tuple of ndarray
            (H, W) labels of each plane, uint16 or int32.
        table : pandas.DataFrame
            See `EverythingResult`.
        """
        import pandas as pd

        kept = {
            member
            for label in keep
            for member in self._members.get(label, {label})
        }
        pictures, tables = [], []
        for number, candidates in enumerate(planes):
            picture, table = self._plane(number, candidates, selection, kept)
            pictures.append(picture)
            tables.append(table.assign(plane=number, planes=1))
        if not tables:
            return (), _empty_table()
        table = pd.concat(tables, ignore_index=True)
        if self._linked and len(pictures) > 1:
            return self._link(pictures, table)
        return tuple(pictures), table

    def _plane(
        self,
        number: int,
        candidates: Candidates,
        selection: Selection,
        kept: set[int],
    ) -> tuple[NDArray[Any], pd.DataFrame]:
        from napari_mobilesam.segmentation.masks import (
            label_table,
            paint_labels,
        )

        masks = candidates.select(selection)
        if kept:
            there = {id(mask) for mask in masks}
            masks += [
                known.mask
                for known in self._known.values()
                if known.label in kept
                and known.plane == number
                and id(known.mask) not in there
            ]
        picture, painted = paint_labels(
            masks, candidates.image_shape, selection.overlap
        )
        labels = [self._label(mask, number) for mask in painted]
        table = label_table(picture, painted).assign(
            label=np.array(labels, np.int64),
            point_row=[mask.point[0] for mask in painted],
            point_column=[mask.point[1] for mask in painted],
        )
        return _as_labels(np.array([0, *labels]))[picture], table

    def _label(self, mask: Mask, plane: int) -> int:
        known = self._known.get(id(mask))
        if known is None:
            known = _Known(mask, plane, len(self._known) + 1)
            self._known[id(mask)] = known
        return known.label

    def _link(
        self, pictures: Sequence[NDArray[Any]], table: pd.DataFrame
    ) -> tuple[tuple[NDArray[Any], ...], pd.DataFrame]:
        """Give linked objects the lowest label of their members."""
        from napari_mobilesam.segmentation.linking import link_labels

        linked = link_labels(np.stack(pictures))
        groups = np.zeros(len(self._known) + 1, dtype=np.int64)
        for picture, link in zip(pictures, linked, strict=True):
            groups[picture.ravel()] = link.ravel()
        labels = np.flatnonzero(groups)
        lowest = np.full(int(groups.max(initial=0)) + 1, len(groups))
        np.minimum.at(lowest, groups[labels], labels)
        final = np.zeros(len(groups), dtype=np.int64)
        final[labels] = lowest[groups[labels]]
        self._members = {
            int(label): frozenset(labels[final[labels] == label].tolist())
            for label in np.unique(final[labels])
        }
        table = _one_row_each(table.assign(label=final[table['label']]))
        lookup = _as_labels(final)
        return tuple(lookup[picture] for picture in pictures), table


class _Known(NamedTuple):
    """A mask that has a label."""

    mask: Mask
    plane: int
    label: int


def _as_labels(values: NDArray[Any]) -> NDArray[Any]:
    small = values.max(initial=0) <= np.iinfo(np.uint16).max
    return values.astype(np.uint16 if small else np.int32)


def _empty_table() -> pd.DataFrame:
    from napari_mobilesam.segmentation.masks import label_table

    return label_table(np.zeros((0, 0), np.uint16), []).assign(
        point_row=0.0, point_column=0.0, plane=0, planes=1
    )


def _one_row_each(table: pd.DataFrame) -> pd.DataFrame:
    """Describe objects on several planes by their least certain one."""
    groups = table.groupby('label')
    weakest = table.sort_values(['score', 'plane']).drop_duplicates('label')
    label = weakest['label']
    weakest = weakest.assign(
        area=label.map(groups['area'].sum()), planes=label.map(groups.size())
    )
    return weakest.sort_values('label').reset_index(drop=True)


def extent_of(
    planes: Sequence[Candidates], floor: Thresholds | None
) -> Extent:
    """Return what filters of these candidates can reach over.

    Parameters
    ----------
    planes : sequence of Candidates
        With their images.
    floor : Thresholds or None
        What the run kept; None if it did not get as far.
    """
    areas = [mask.area for plane in planes for mask in plane.masks]
    values = [
        np.asarray(plane.intensity, dtype=float)
        for plane in planes
        if plane.masks
    ]
    ends = [(np.nanmin(v), np.nanmax(v)) for v in values]
    intensity = (
        (float(min(low for low, _ in ends)), float(max(h for _, h in ends)))
        if ends
        else Extent().intensity
    )
    return Extent(
        (float(min(areas, default=1)), float(max(areas, default=1))),
        intensity,
        *(floor or (0.0, 0.0)),
    )
