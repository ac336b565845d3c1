"""Requests and answers for prompts, and checks of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mobilesam.segmentation.cleanup import CleanUp
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import ObjectCandidates
from napari_mobilesam.types import (
    Mask,
    PromptError,
    Prompts,
)


@dataclass(frozen=True, eq=False)
class PromptRequest:
    """Prompts of one or more objects on one plane.

    Attributes
    ----------
    generation : int
        Number of the request; answers to older ones are dropped.
    plane : ImagePlane
        Plane of the prompts.
    objects : tuple of Prompts
        One entry per object.
    model_name : str
        Name of the model.
    previous : tuple of (ObjectCandidates or None)
        Answer to refine, for each object.
    clean_up : CleanUp
        Clean-up of the masks.
    """

    generation: int
    plane: ImagePlane
    objects: tuple[Prompts, ...]
    model_name: str
    previous: tuple[ObjectCandidates | None, ...]
    clean_up: CleanUp


@dataclass(frozen=True, eq=False)
class PromptResult:
    """Answer to a `PromptRequest`.

    Attributes
    ----------
    request : PromptRequest
        The request.
    candidates : tuple of (ObjectCandidates or None)
        One per object; None if the model found no pixel.
    seconds : float
        Duration, embedding included.
    not_finite : int
        Number of NaN or infinite pixels in the window with the most.
    """

    request: PromptRequest
    candidates: tuple[ObjectCandidates | None, ...]
    seconds: float
    not_finite: int = 0

    @property
    def masks(self) -> tuple[Mask | None, ...]:
        """The chosen mask of each object; None if there is none."""
        return tuple(
            None if found is None else found.mask for found in self.candidates
        )


def check_prompts(shape: tuple[int, int], prompts: Prompts) -> None:
    """Raise `PromptError` if prompts cannot be used on a plane.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane in data pixels.
    prompts : Prompts
        Prompts of one object in (row, column) data pixels, pixel centres at
        integers for points.
    """
    height, width = shape
    for row, column in prompts.points:
        if not (-0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5):
            raise PromptError(
                f'The point at row {row:.0f}, column {column:.0f} is outside '
                f'the image ({height} × {width}): move or delete it.'
            )
    if prompts.box is not None:
        row0, column0, row1, column1 = prompts.box
        if row1 - row0 < 1 or column1 - column0 < 1:
            raise PromptError(
                'The box has no area inside the image: draw it around an '
                'object.'
            )
    if all(
        given is None
        for given in (prompts.box, prompts.mask_input, prompts.region)
    ):
        if len(prompts.points) == 0:
            raise PromptError(
                'There is no prompt: click an object or draw a box.'
            )
        if not np.any(prompts.labels == 1):
            raise PromptError(
                'All points are negative: click the object itself, too.'
            )
