"""Progress of runs of segment everything, and timings learned from them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_mobilesam.segmentation.cost_history import CostHistory, Work
from napari_mobilesam.session.everything.everything_messages import PlaneTask
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.image_embedding import ImageEmbedding


def what_of(task: PlaneTask, parameters: EverythingParameters) -> Hashable:
    """Return a key of plane and parameters that keeps neither alive."""
    return hash((task.plane.place, parameters))


class PlaneWork:
    """Progress on one plane of a run.

    Parameters
    ----------
    experience : CostHistory
        Measured cost of earlier runs; updated by this one.
    task : PlaneTask
        The plane.
    skip : ndarray or None
        Pixels to leave out.
    parameters : EverythingParameters
        Parameters of the run.
    image : ImageEmbedding
        Embedding of the plane by the model of the run.
    diameter : float or None
        Object diameter estimated from the plane.
    """

    def __init__(
        self,
        experience: CostHistory,
        task: PlaneTask,
        skip: Any,
        parameters: EverythingParameters,
        image: ImageEmbedding,
        diameter: float | None,
    ) -> None:
        from napari_mobilesam.segmentation.estimate import expected_work
        from napari_mobilesam.segmentation.head_sizes import seen_density
        from napari_mobilesam.segmentation.machine_speed import (
            USUAL_SPEED,
            known_speed,
        )

        self._experience = experience
        self._what = what_of(task, parameters)
        self._measured = known_speed(image.model)
        self._speed = self._measured or USUAL_SPEED
        self._usual = expected_work(
            task.plane.shape,
            image.model.record,
            parameters,
            task.region,
            skip=skip,
            diameter=diameter,
            density=seen_density(image),
            embedded=image.knows,
        )
        self._expected = experience.work(self._usual, self._what)
        self._done = self._work(0, 0)

    def note(self, prompts: int, windows: int) -> None:
        """Set the number of prompts and windows done."""
        self._done = self._work(prompts, windows)

    @property
    def share(self) -> float:
        """Share of the expected time of the plane, from 0 to 1."""
        return self._done.share_of(self._expected, self._speed)

    def learn(self, seconds: float, complete: bool) -> None:
        """Update the measured cost of runs.

        Parameters
        ----------
        seconds : float
            Duration.
        complete : bool
            Whether the plane was completed.
        """
        if complete:
            self._experience.learn_work(self._usual, self._done, self._what)
        if self._measured is not None and self._done.prompts:
            looked_at = self._usual.looked_at if complete else 0
            done = replace(self._done, looked_at=looked_at)
            expected = done.seconds_of_run(self._measured)
            self._experience.learn_time(expected, seconds)

    def _work(self, prompts: int, windows: int) -> Work:
        return Work(prompts, windows, self._usual.masks_per_prompt)


class EmbeddingWatch:
    """Update the measured cost from embeddings made for clicks.

    Parameters
    ----------
    experience : CostHistory
        Measured cost of earlier runs.
    """

    def __init__(self, experience: CostHistory) -> None:
        self._experience = experience
        self._warm = ''

    def __call__(self, model: Sam, seconds: float) -> None:
        """Note the duration of an embedding."""
        from napari_mobilesam.segmentation.machine_speed import known_speed

        # the first embedding of a model takes longer
        warm, self._warm = self._warm == model.key, model.key
        speed = known_speed(model) if warm else None
        if speed is not None:
            self._experience.learn_embedding(speed.embedding, seconds)
