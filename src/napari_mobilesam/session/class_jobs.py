"""Classes proposed in the background and accepted as one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_mobilesam.argument_checks import check_instance
from napari_mobilesam.session.everything.rewrite import prompts_of
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectRecord,
    ObjectView,
)
from napari_mobilesam.session.objects.replay_code import ReplayCode
from napari_mobilesam.session.objects.targets import (
    classes_of,
    labels_in,
    whole_picture,
)
from napari_mobilesam.session.runtime.latest_run import (
    BackgroundRun,
    StoppedError,
)
from napari_mobilesam.session.runtime.services import Services
from napari_mobilesam.session.runtime.watched_jobs import WatchedJobs
from napari_mobilesam.text import counted
from napari_mobilesam.types import Mask, Progress, SegmentationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_mobilesam.segmentation.object_classes import ClassProposals


@dataclass(frozen=True, eq=False)
class ProposedClasses:
    """Classes proposed for the objects of a plane.

    Attributes
    ----------
    objects : Objects
        Objects of the labels.
    plane : ImagePlane
        Plane of the image.
    masks : dict of int to Mask
        Objects of the plane, by label.
    proposals : ClassProposals
        Classes for the objects without a class, least certain first.
    """

    objects: Objects
    plane: ImagePlane
    masks: dict[int, Mask]
    proposals: ClassProposals


class ClassJobs(WatchedJobs):
    """Propose classes on the worker thread; the newest request wins.

    `finished` emits `ProposedClasses`.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services.deliver, services.worker, 'classes')
        self._services = services

    def start(self, objects: Objects, plane: ImagePlane) -> None:
        """Propose classes for the objects of a plane that have none.

        Parameters
        ----------
        objects : Objects
            Objects of the labels; those with a class are the examples.
        plane : ImagePlane
            Plane of the image.

        Raises
        ------
        SegmentationError
            There are no labels on the plane.
        """
        target = objects.target
        picture = whole_picture(target, plane).copy()
        if not picture.any():
            raise SegmentationError(
                f'“{target.name}” has no object on {plane.name}: label '
                'objects first, and assign classes to a few of them.'
            )
        known = known_classes(objects, plane, picture)
        model_name, run = self._services.models.name, BackgroundRun()

        def propose(progress: Progress) -> ProposedClasses:
            from napari_mobilesam.segmentation.label_masks import (
                masks_of_labels,
            )
            from napari_mobilesam.segmentation.object_classes import (
                propose_for_masks,
            )

            engine = self._services.engine
            model = self._services.models.load(model_name, 'model')
            if model is None:
                raise StoppedError
            masks = masks_of_labels(picture, plane.shape)
            proposals = propose_for_masks(
                engine.image(plane, model),
                engine.rgb(plane),
                masks,
                known,
                progress,
                self._services.between_steps(run),
            )
            return ProposedClasses(objects, plane, masks, proposals)

        self.do(propose, run=run)


def known_classes(
    objects: Objects, plane: ImagePlane, picture: NDArray[Any]
) -> dict[int, str]:
    """Return the class of each label of a plane that has one.

    Labels without an object may have a class in the feature table.
    """
    import numpy as np

    there = set(np.unique(picture).tolist())
    return classes_of(objects.target, there) | {
        record.label: record.class_name
        for record in objects
        if record.class_name
        and record.view(plane) is not None
        and record.label in there
    }


def accept_classes(
    proposed: ProposedClasses, classes: Mapping[int, str] | None = None
) -> int:
    """Assign the proposed classes to the objects, as one step.

    Labels without an object become objects. Objects that were classified or
    erased since the proposal stay unchanged.

    Parameters
    ----------
    proposed : ProposedClasses
        The proposals.
    classes : mapping of int to str, optional
        Classes corrected by the user, by label; an empty name leaves an object
        unchanged.

    Returns
    -------
    int
        Number of objects that got a class.

    Raises
    ------
    LabelsError
        The labels are not editable.
    SegmentationError
        There are no proposals.
    """
    check_instance('proposed', proposed, ProposedClasses, optional=False)
    objects, plane = proposed.objects, proposed.plane
    chosen = proposed.proposals.proposed if classes is None else classes
    # several may share a label
    records: dict[int, list[ObjectRecord]] = {}
    for record in objects:
        if record.view(plane) is not None:
            records.setdefault(record.label, []).append(record)
    # labels without an object may have a class in the feature table
    others = classes_of(objects.target, chosen.keys() - records.keys())
    changed: list[ObjectRecord] = []
    code: list[str] = []
    for label, name in chosen.items():
        mask = proposed.masks.get(label)
        if not name or mask is None or label in others:
            continue
        if label not in labels_in(objects.target, plane, mask):
            continue
        for record in records.get(label) or [_from_labels(plane, label, mask)]:
            if record.class_name:
                continue
            if record.number:
                code.append(f'session.assign_class({name!r}, {record.number})')
            changed.append(replace(record, class_name=name))
    if not changed:
        return 0
    objects.target.check()
    with objects.step(
        f'the class of {counted(len(changed), "object")}'
    ) as step:
        step.replay_code = ReplayCode(tuple(code)) if code else None
        for record in changed:
            number = record.number or objects.number_for(record.label)
            step.put(replace(record, number=number))
    return len(changed)


def _from_labels(plane: ImagePlane, label: int, mask: Mask) -> ObjectRecord:
    """Return labelled pixels as an object without a number."""
    view = ObjectView(plane, prompts_of(mask), ObjectCandidates((mask,)))
    return ObjectRecord(0, label, {plane.place: view}, origin='labels')
