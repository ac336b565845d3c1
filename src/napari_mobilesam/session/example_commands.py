"""Commands by example and by words: similar objects, classes, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from napari_mobilesam.argument_checks import are_numbers, quoted
from napari_mobilesam.session.class_jobs import (
    ClassJobs,
    ProposedClasses,
    accept_classes,
)
from napari_mobilesam.session.everything.everything_messages import (
    EverythingResult,
    PlaneTask,
)
from napari_mobilesam.session.everything.examples import (
    examples_on,
    text_query,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.objects import Objects
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.waiting import Waiter
from napari_mobilesam.session.written_runs import WrittenRuns
from napari_mobilesam.types import EverythingParameters, SegmentationError


class ExampleCommands:
    """Finds objects by examples or by text, and proposes their classes.

    Parameters
    ----------
    written : WrittenRuns
        Does the search, and writes what is found.
    class_jobs : ClassJobs
        Proposes classes.
    scene : callable
        Returns the `Scene` of the session.
    waiter : Waiter
        Waits for the answer.
    """

    def __init__(
        self,
        written: WrittenRuns,
        class_jobs: ClassJobs,
        scene: Callable[[], Scene],
        waiter: Waiter,
    ) -> None:
        self._written = written
        self._class_jobs = class_jobs
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
        if labels is not None and not are_numbers(labels):
            raise SegmentationError(
                f'labels is {quoted(labels)}; give the numbers of labelled '
                'objects, or None for all.'
            )
        scene = self._scene()
        objects, plane = scene.objects(False), scene.plane()
        if objects is None:
            raise SegmentationError(
                'There are no labels: accept at least one example first.'
            )
        examples = examples_on(objects.target, plane, labels, similarity)
        return self._run(objects, plane, parameters, examples=examples)

    def segment_text(
        self,
        text: str,
        detector: Any = None,
        score: float | None = None,
        parameters: EverythingParameters | None = None,
    ) -> EverythingResult:
        """Add what a text names to the labels, as one step.

        Labelled pixels are not overwritten. The detectors that can be
        downloaded were trained on photographs, not on microscopy.

        Parameters
        ----------
        text : str
            What to find.
        detector : str or BoxDetector, optional
            Name of a detector, or any object with a method
            ``boxes(image, text)``; Grounding DINO by default.
        score : float, optional
            Least score of a box.
        parameters : EverythingParameters, optional
            Parameters of the masks.

        Returns
        -------
        EverythingResult
            The objects; the column ``similarity`` of the table is the score
            of the box.

        Raises
        ------
        SegmentationError
            The text is empty, or the detector cannot be used or has failed.
        """
        scene = self._scene()
        plane, objects = scene.plane(), scene.objects(True)
        assert objects is not None
        query = text_query(text, detector, score)
        return self._run(objects, plane, parameters, query=query)

    def _run(
        self,
        objects: Objects,
        plane: ImagePlane,
        parameters: EverythingParameters | None,
        **what: Any,
    ) -> EverythingResult:
        """Search a plane around its labels, and write what was found."""
        task = PlaneTask.beside(plane, objects.target)
        return self._written.run(objects, [task], parameters, **what)

    def propose_classes(self) -> ProposedClasses:
        """Propose classes for the objects of the plane that have none.

        The objects that have a class are the examples: a few of each of at
        least two classes. Nothing is changed, see `accept_classes`. Needs
        scikit-learn: ``pip install "napari-mobilesam[classify]"``.

        Returns
        -------
        ProposedClasses
            ``proposals.table()`` has a row per object, the least certain
            first.

        Raises
        ------
        SegmentationError
            There are no labels, or fewer than two classes.
        """
        objects = self._scene().objects(False)
        if objects is None:
            raise SegmentationError(
                'There are no labels: label objects, then assign classes to a '
                'few of them.'
            )
        plane = self._scene().plane()
        found: ProposedClasses = self._waiter.answer(
            self._class_jobs.finished,
            lambda: self._class_jobs.start(objects, plane),
        )
        return found

    def accept_classes(
        self,
        proposed: ProposedClasses,
        classes: Mapping[int, str] | None = None,
    ) -> int:
        """Assign proposed classes to the objects, as one step.

        Parameters
        ----------
        proposed : ProposedClasses
            Result of `propose_classes`.
        classes : mapping of int to str, optional
            Classes by label, where the proposals were corrected.

        Returns
        -------
        int
            Number of objects that got a class.
        """
        return accept_classes(proposed, classes)
