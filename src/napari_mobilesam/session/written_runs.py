"""Runs of commands: started, awaited, and written to the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.everything_runs import EverythingRuns
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.replay_code import PlaneCode
from napari_mobilesam.session.waiting import Waiter
from napari_mobilesam.types import EverythingParameters, SegmentationError

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Selection


class WrittenRuns:
    """Runs whose objects go into labels, one run at a time.

    Parameters
    ----------
    runs : EverythingRuns
        Does the search.
    waiter : Waiter
        Waits for the answer.
    plane_code : callable
        Returns the expression that finds a plane.
    """

    def __init__(
        self, runs: EverythingRuns, waiter: Waiter, plane_code: PlaneCode
    ) -> None:
        self._runs = runs
        self._waiter = waiter
        self._plane_code = plane_code
        # output of the last run, and the number of that run
        self._output: EverythingOutput | None = None
        self._generation = 0

    def run(
        self,
        objects: Objects,
        tasks: Sequence[PlaneTask],
        parameters: EverythingParameters | None,
        overwrite: bool = False,
        semantic: bool = False,
        **what: Any,
    ) -> EverythingResult:
        """Find objects and write them as one step.

        Parameters
        ----------
        objects : Objects
            Objects of the labels.
        tasks : sequence of PlaneTask
            Planes.
        parameters : EverythingParameters or None
            The defaults if None.
        overwrite, semantic : bool
            See `EverythingOutput`.
        **what
            Further arguments of `EverythingRuns.start`.

        Raises
        ------
        SegmentationError
            The search has failed, or the labels cannot be written.
        """
        self.close()

        def start() -> None:
            self._generation = self._runs.start(tasks, parameters, **what)

        result: EverythingResult = self._waiter.answer(
            self._runs.finished, start
        )
        planes = [task.plane for task in tasks]
        self._output = EverythingOutput(
            objects, planes, overwrite, semantic, self._plane_code
        )
        if result.masks:
            self._output.write(result)
        return result

    def filter(self, selection: Selection) -> EverythingResult:
        """Select objects of the last run again, and write them as one step.

        Raises
        ------
        SegmentationError
            There was no run, or it was undone, or another one was started.
        """
        output = self._output
        if (
            output is None
            or output.undone
            or self._generation != self._runs.generation
        ):
            raise SegmentationError(
                'There is no run to filter: segment_everything, find_similar '
                'or segment_text has to be the last run, and not undone.'
            )
        result: EverythingResult = self._waiter.answer(
            self._runs.selected, lambda: self._runs.select(selection)
        )
        output.write(result)
        return result

    def close(self) -> None:
        """Forget the last run; its objects stay as they are."""
        if self._output is not None:
            self._output.close()
        self._output = None
