"""Requests and results of fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.text import counted
from napari_mobilesam.training.training_parameters import (
    MIN_AREA,
    FineTuneConfig,
    held_back_count,
)


@dataclass(frozen=True, eq=False)
class LabelledPlane:
    """One plane of an image and the labels drawn on it.

    Attributes
    ----------
    image : ImagePlane
        The plane; its pixels are read when needed.
    labels : ndarray
        (H, W) integer ids, 0 is background.
    """

    image: ImagePlane
    labels: NDArray[Any]


Planes = Callable[[], Iterable[LabelledPlane]]


@dataclass(frozen=True)
class Survey:
    """Counts of labelled objects.

    Attributes
    ----------
    objects, planes : int
        Number of objects that are large enough, and of planes that have some.
    small : int
        Objects of fewer than `MIN_AREA` pixels, which are left out.
    """

    objects: int
    planes: int
    small: int = 0

    @property
    def held_back(self) -> int:
        """Number of objects held out for validation; 0 if too few."""
        return held_back_count(self.objects, FineTuneConfig().held_back)

    @property
    def text(self) -> str:
        """Summary for the user."""
        left_out = (
            f' {self.small} smaller than {MIN_AREA} pixels left out.'
            if self.small
            else ''
        )
        if self.objects == 0:
            return f'No object is labelled yet: label about ten.{left_out}'
        if self.objects == 1:
            return f'1 object: label at least two, preferably ten.{left_out}'
        where = f' on {self.planes} planes' if self.planes > 1 else ''
        return (
            f'{self.objects} objects{where}, of which {self.held_back} will '
            f'be held back for validation.{left_out}'
        )


@dataclass(frozen=True, eq=False)
class FineTuneRequest:
    """Request for a training run.

    Attributes
    ----------
    planes : callable
        Returns the labelled planes; called on the worker thread.
    base : str
        Name or path of the model to start from.
    name : str
        Name of the new model.
    options : FineTuneConfig
        Parameters.
    """

    planes: Planes
    base: str
    name: str
    options: FineTuneConfig = field(default_factory=FineTuneConfig)


@dataclass(frozen=True, eq=False)
class FineTuneResult:
    """Outcome of a run.

    Attributes
    ----------
    request : FineTuneRequest
        The request.
    base_score, score : float
        Mean IoU on held-out objects, before and after; NaN if cancelled before
        the first step.
    held_back : int
        Number of these objects.
    complete : bool
        False if cancelled; the best model so far is kept.
    path : Path or None
        File of the new model; None if it was not better than the base, and not
        written.
    noise : float
        Change of the IoU that chance explains.
    base_f1, f1 : float
        F1 of segment everything on these objects, before and after; NaN if not
        measured.
    """

    request: FineTuneRequest
    base_score: float
    score: float
    held_back: int
    complete: bool
    path: Path | None
    noise: float = 0.0
    base_f1: float = math.nan
    f1: float = math.nan

    @property
    def text(self) -> str:
        """Summary for the user."""
        if math.isnan(self.score):
            return 'Stopped before the training began; nothing was changed.'
        stopped = '' if self.complete else 'Stopped. '
        base = Path(self.request.base).name
        if self.path is None:
            return (
                f'{stopped}No improvement; keeping {base}. {self._clicks}. '
                f'{self._everything} Label more objects, especially those it '
                'gets wrong, or train longer.'
            )
        compare = ''
        if not self.f1 >= self.base_f1:
            compare = f' Compare its results with those of {base}.'
        return (
            f'{stopped}{self._clicks}. {self._everything}{compare} '
            f'{self.request.name} is selected now.'
        )

    @property
    def _clicks(self) -> str:
        """What was measured with prompts, without a full stop."""
        digits = 2 if abs(self.score - self.base_score) >= 0.01 else 3
        change, why = f'{self.base_score:.{digits}f}', ''
        if self.score > self.base_score:
            change += f' → {self.score:.{digits}f}'
            if self.path is None:
                why = f', within the noise of ±{self.noise:.{digits}f}'
        objects = counted(self.held_back, 'object')
        return f'Clicks and boxes: IoU {change} on {objects} held back{why}'

    @property
    def _everything(self) -> str:
        """What was measured without prompts."""
        if not math.isfinite(self.base_f1 + self.f1):
            why = ', for lack of time' if self.complete else ''
            return f'Segment everything was not measured{why}.'
        worse = ', which is worse' if self.f1 < self.base_f1 else ''
        return (
            f'Segment everything: F1 {self.base_f1:.2f} → {self.f1:.2f} '
            f'around them{worse}.'
        )


def survey(planes: Iterable[LabelledPlane]) -> Survey:
    """Count the objects of planes."""
    objects = small = holding = 0
    for plane in planes:
        ids = plane.labels[plane.labels != 0]
        areas = np.unique(ids, return_counts=True)[1]
        large = int(np.count_nonzero(areas >= MIN_AREA))
        objects += large
        small += len(areas) - large
        holding += large > 0
    return Survey(objects, holding, small)
