"""Commands by example: find similar objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.everything.everything_output import (
    EverythingOutput,
)
from napari_mobilesam.session.everything.everything_runs import EverythingRuns
from napari_mobilesam.session.everything.examples import examples_on
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.waiting import Waiter
from napari_mobilesam.types import EverythingParameters, SegmentationError


class SimilarCommands:
    """Finds objects that are like those of the labels.

    Parameters
    ----------
    runs : EverythingRuns
        Does the search.
    model_name : callable
        Returns the name of the model.
    scene : callable
        Returns the `Scene` of the session.
    waiter : Waiter
        Waits for the answer.
    """

    def __init__(
        self,
        runs: EverythingRuns,
        model_name: Callable[[], str],
        scene: Callable[[], Scene],
        waiter: Waiter,
    ) -> None:
        self._runs = runs
        self._model_name = model_name
        self._scene = scene
        self._waiter = waiter

    def find_similar(
        self,
        labels: Sequence[int] | None = None,
        similarity: float | None = None,
        parameters: EverythingParameters | None = None,
    ) -> EverythingResult:
        """Add what is like some labelled objects to the labels, as one step.

        Labelled pixels are neither searched nor overwritten.

        Parameters
        ----------
        labels : sequence of int, optional
            Labels of the examples; by default all objects of the plane that
            is shown.
        similarity : float, optional
            Least similarity, 1 for what is just like an example.
        parameters : EverythingParameters, optional
            Parameters of the search; the diameter is that of the examples.

        Returns
        -------
        EverythingResult
            The objects, with a column ``similarity`` in the table.

        Raises
        ------
        SegmentationError
            There is no example, or the search failed.
        """
        scene = self._scene()
        objects, plane = scene.objects(False), scene.plane()
        if objects is None:
            raise SegmentationError(
                'There are no labels: accept at least one example first.'
            )
        target = objects.target
        examples = examples_on(target, plane, labels, similarity)
        height, width = plane.shape
        task = PlaneTask(
            plane,
            skip=lambda: target.picture(plane, (0, 0, height, width)) != 0,
        )

        def start() -> None:
            name = self._model_name()
            self._runs.start([task], parameters, name, examples=examples)

        result: EverythingResult = self._waiter.answer(
            self._runs.finished, start
        )
        if result.masks:
            output = EverythingOutput(objects, [plane])
            output.write(result)
            output.close()
        return result
