"""Propagation of an object from plane to plane, through z or t.

The innermost point of the mask on one plane is the prompt on the next. If the
resulting mask does not resemble the previous one, the point is tried again
with the mask fed back. Propagation continues until the model is no longer
confident about the object, or finds another one. A gap between two prompted
planes is filled from both ends, which meet in the middle.

The box of the mask is not a prompt: beyond the end of an object, a box would
still find something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from napari_mobilesam.argument_checks import check_choice, check_number
from napari_mobilesam.segmentation.masks import mask_iou
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import (
    ObjectCandidates,
    ObjectView,
)
from napari_mobilesam.types import (
    BlankImageError,
    Mask,
    Prompts,
    SegmentationError,
)

Direction = Literal['both', 'forward', 'backward']
# (plane, prompts, answer to refine) → candidates
Predict = Callable[
    [ImagePlane, Prompts, ObjectCandidates | None], ObjectCandidates | None
]


@dataclass(frozen=True)
class PropagationOptions:
    """Direction and stopping criteria of a propagation.

    Attributes
    ----------
    direction : {'both', 'forward', 'backward'}
        Direction beyond the prompted planes; gaps between those are always
        filled.
    min_score : float
        Predicted IoU below which the object ends.
    min_overlap : float
        IoU with the mask on the previous plane below which the object ends.
    max_change : float
        Factor by which the area may grow or shrink from plane to plane.
    most : int or None
        Maximum number of planes in each direction; None for all.
    """

    direction: Direction = 'both'
    min_score: float = 0.5
    min_overlap: float = 0.3
    max_change: float = 2.5
    most: int | None = None

    def __post_init__(self) -> None:
        check_choice('direction', self.direction, get_args(Direction))
        if self.most is not None:
            check_number('most', self.most, 0, whole=True)


class PropagatedPlane(NamedTuple):
    """The object on a plane that was reached.

    Attributes
    ----------
    number : int
        Index of the plane.
    view : ObjectView
        Prompts and mask.
    """

    number: int
    view: ObjectView


class SkippedPlane(NamedTuple):
    """A plane without a finite pixel; the object continues behind it.

    Attributes
    ----------
    number : int
        Index of the plane.
    """

    number: int


class PropagationEnd(NamedTuple):
    """The first plane on which the object was not found.

    Attributes
    ----------
    number : int
        Index of the plane.
    reason : str
        Reason: ``'no mask'``, or a value that is beyond its limit:
        ``'score 0.31, below 0.5'``.
    """

    number: int
    reason: str


class Limits(Protocol):
    """Other objects on the planes, which end a propagation there."""

    def bar(self, number: int) -> str:
        """Return why the object cannot be on a plane, or ''."""

    def meets(self, number: int, mask: Mask) -> str:
        """Return why it ends before a plane with this mask, or ''."""


PropagationStep = PropagatedPlane | SkippedPlane | PropagationEnd


def propagate(
    predict: Predict,
    planes: Sequence[ImagePlane],
    keys: Mapping[int, ObjectView],
    options: PropagationOptions | None = None,
    limits: Limits | None = None,
) -> Iterator[PropagationStep]:
    """Follow an object from the planes on which it was prompted.

    Parameters
    ----------
    predict : callable
        Predicts candidates; see `Predict`.
    planes : sequence of ImagePlane
        All planes, in order along the axis.
    keys : mapping
        Views with a mask, by plane index; they are kept.
    options : PropagationOptions, optional
        Direction and stopping criteria.
    limits : Limits, optional
        Further criteria for the planes.

    Yields
    ------
    PropagatedPlane, SkippedPlane or PropagationEnd
        One per plane tried, gaps first.

    Raises
    ------
    SegmentationError
        There is no mask to start from.
    """
    options = options or PropagationOptions()
    starts = sorted(n for n, view in keys.items() if view.mask is not None)
    if not starts:
        raise SegmentationError(
            'There is no mask to propagate: click the object on one plane '
            'first.'
        )
    walker = _Follower(predict, planes, options, limits)
    for low, high in zip(starts, starts[1:], strict=False):
        yield from walker.fill(low, keys[low], high, keys[high])
    first, last = _bounds(starts, len(planes), options)
    yield from walker.follow(keys[starts[-1]], range(starts[-1] + 1, last + 1))
    yield from walker.follow(
        keys[starts[0]], range(starts[0] - 1, first - 1, -1)
    )


def asked(
    keys: Iterable[int], count: int, options: PropagationOptions | None = None
) -> list[int]:
    """Return the indices of the planes that `propagate` may reach.

    Parameters
    ----------
    keys : iterable of int
        Indices of the planes to start from.
    count : int
        Number of planes.
    options : PropagationOptions, optional
        Direction and stopping criteria.
    """
    starts = sorted(keys)
    first, last = _bounds(starts, count, options or PropagationOptions())
    return [n for n in range(first, last + 1) if n not in starts]


def _bounds(
    starts: Sequence[int], count: int, options: PropagationOptions
) -> tuple[int, int]:
    """Return the first and last plane."""
    most = count if options.most is None else options.most
    first, last = starts[0], starts[-1]
    if options.direction != 'backward':
        last = min(last + most, count - 1)
    if options.direction != 'forward':
        first = max(first - most, 0)
    return first, last


@dataclass(frozen=True)
class _Follower:
    predict: Predict
    planes: Sequence[ImagePlane]
    options: PropagationOptions
    limits: Limits | None = None

    def follow(
        self, start: ObjectView, numbers: range
    ) -> Iterator[PropagationStep]:
        """Follow the object until it ends."""
        before = start
        for number in numbers:
            step = self._step(before, number, self.limits)
            yield step
            if isinstance(step, PropagationEnd):
                return
            if isinstance(step, PropagatedPlane):
                before = step.view

    def fill(
        self, low: int, first: ObjectView, high: int, last: ObjectView
    ) -> Iterator[PropagationStep]:
        """Fill a gap from both ends; each plane takes the nearer end.

        If one end is lost, the other one continues.
        """
        visited: set[int] = set()
        ends = [(first, low, 1), (last, high, -1)]
        while len(visited) < high - low - 1 and ends:
            view, number, by = ends.pop(0)
            number += by
            if number in visited:
                # the other end is beyond: they have met
                return
            # both ends are given: the gap between them is filled
            step = self._step(view, number, None)
            if not isinstance(step, PropagationEnd):
                visited.add(number)
                if isinstance(step, PropagatedPlane):
                    view = step.view
                ends.append((view, number, by))
                yield step
            elif not ends:
                yield step

    def _step(
        self, before: ObjectView, number: int, limits: Limits | None
    ) -> PropagationStep:
        """Predict the object on the next plane."""
        plane = self.planes[number]
        mask = before.mask
        assert mask is not None
        reason = '' if limits is None else limits.bar(number)
        if reason:
            return PropagationEnd(number, reason)
        for prompts, previous in _attempts(before, mask):
            try:
                found = self.predict(plane, prompts, previous)
            except BlankImageError:
                return SkippedPlane(number)
            reason = self._reason_to_end(mask, found)
            if found is not None and not reason and limits is not None:
                reason = limits.meets(number, found.mask)
                if reason:
                    break
            if found is not None and not reason:
                kept = found.for_keeps()
                return PropagatedPlane(
                    number, ObjectView(plane, prompts, kept, automatic=True)
                )
        return PropagationEnd(number, reason)

    def _reason_to_end(
        self, before: Mask, found: ObjectCandidates | None
    ) -> str:
        if found is None:
            return 'no mask'
        mask, options = found.mask, self.options
        if mask.score < options.min_score:
            return f'score {mask.score:.2f}, below {options.min_score:g}'
        overlap = mask_iou(before, mask)
        if overlap < options.min_overlap:
            return f'overlap {overlap:.2f}, below {options.min_overlap:g}'
        most, change = options.max_change, mask.area / before.area
        if change > most:
            return f'area × {change:.2g}, above × {most:g}'
        if change < 1 / most:
            return f'area × {change:.2g}, below × {1 / most:.2g}'
        return ''


def _attempts(
    before: ObjectView, mask: Mask
) -> Iterator[tuple[Prompts, ObjectCandidates | None]]:
    """Yield prompts to try, with the answer to feed back."""
    point = innermost_point(mask)
    prompts = Prompts(np.array([point]), np.ones(1, np.int64))
    yield prompts, None
    assert before.candidates is not None
    previous = before.candidates.only_chosen()
    if previous.as_prediction() is None:
        yield replace(prompts, region=mask), None
    else:
        yield prompts, previous


def innermost_point(mask: Mask) -> tuple[float, float]:
    """Return the (row, column) of the pixel farthest from a mask's edge."""
    from napari_mobilesam.segmentation.masks import innermost_pixel

    row, column = innermost_pixel(mask.data)
    return float(mask.box[0] + row), float(mask.box[1] + column)
