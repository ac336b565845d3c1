"""How far runs of segment everything are, and what is learned from them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from napari_mobilesam.segmentation.cost_history import CostHistory, Work
from napari_mobilesam.session.everything.everything_messages import PlaneTask
from napari_mobilesam.types import EverythingParameters

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


def what_of(task: PlaneTask, parameters: EverythingParameters) -> Hashable:
    """Tell plane and parameters from others, without keeping either."""
    return hash((task.plane.place, parameters))


class PlaneWork:
    """Work on one plane of a run, as far as it is done.

    Parameters
    ----------
    experience : CostHistory
        What earlier runs have cost; learns from this one.
    task : PlaneTask
        The plane.
    skip : ndarray or None
        Pixels that are left alone.
    parameters : EverythingParameters
        Parameters of the run.
    model : Sam
        Model of the run.
    diameter : float or None
        Object diameter that is seen in the plane.
    """

    def __init__(
        self,
        experience: CostHistory,
        task: PlaneTask,
        skip: Any,
        parameters: EverythingParameters,
        model: Sam,
        diameter: float | None,
    ) -> None:
        from napari_mobilesam.segmentation.estimate import (
            USUAL_SPEED,
            expected_work,
            known_speed,
        )

        self._experience = experience
        self._what = what_of(task, parameters)
        self._measured = known_speed(model)
        self._speed = self._measured or USUAL_SPEED
        self._usual = expected_work(
            task.plane.shape,
            model.record,
            parameters,
            task.region,
            skip=skip,
            diameter=diameter,
        )
        self._expected = experience.work(self._usual, self._what)
        self._done = self._work(0, 0)

    def note(self, prompts: int, windows: int) -> None:
        """Note how many prompts and windows are done."""
        self._done = self._work(prompts, windows)

    @property
    def share(self) -> float:
        """Share of the time that the plane takes, from 0 to 1."""
        return self._done.share_of(self._expected, self._speed)

    def learn(self, seconds: float, complete: bool) -> None:
        """Let the experience learn from what was done.

        Parameters
        ----------
        seconds : float
            How long it took.
        complete : bool
            Whether that was all.
        """
        if complete:
            self._experience.learn_work(self._usual, self._done, self._what)
        if self._measured is not None and self._done.prompts:
            expected = self._done.seconds(self._measured)
            self._experience.learn_time(expected, seconds)

    def _work(self, prompts: int, windows: int) -> Work:
        return Work(prompts, windows, self._usual.masks_per_prompt)


class EmbeddingWatch:
    """Lets the experience learn from embeddings made for clicks.

    Parameters
    ----------
    experience : CostHistory
        What learns.
    """

    def __init__(self, experience: CostHistory) -> None:
        self._experience = experience
        self._warm = ''

    def __call__(self, model: Sam, seconds: float) -> None:
        """Note that an embedding took so many seconds."""
        from napari_mobilesam.segmentation.estimate import known_speed

        # the first one of a model takes longer, whatever else goes on
        warm, self._warm = self._warm == model.key, model.key
        speed = known_speed(model) if warm else None
        if speed is not None:
            self._experience.learn_embedding(speed.embedding, seconds)
