"""What a person draws, as methods: clicks, boxes, scribbles, outlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from psygnal import Signal

from napari_mobilesam.segmentation.shapes import (
    box_of,
    points_along,
    region_of,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import ObjectCandidates
from napari_mobilesam.session.objects.scene import Scene
from napari_mobilesam.session.prompts.editor import Editor
from napari_mobilesam.session.prompts.prompting import Prompting
from napari_mobilesam.types import Prompts, SegmentationError

if TYPE_CHECKING:
    from psygnal import SignalInstance


class PromptCommands:
    """Prompts of the open object, for people who type.

    Positions are (row, column) in data pixels of the plane that is shown, or
    of the one that is given.
    """

    scene: Scene | None
    prompting: Prompting
    editor: Editor
    failed: ClassVar[Signal]

    @property
    def model_name(self) -> str:
        """Name or path of the model that answers."""
        raise NotImplementedError

    def finish(self, timeout: float | None = None) -> bool:
        """Block until all that was asked is answered."""
        raise NotImplementedError

    def click(
        self,
        row: float,
        column: float,
        positive: bool = True,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Add a point to the open object.

        Parameters
        ----------
        row, column : float
            Data pixels; pixel centres are integers.
        positive : bool
            On the object, or on what does not belong to it.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns
        -------
        ObjectCandidates or None
            Masks with scores, the best chosen; None if there is none.

        Raises
        ------
        SegmentationError
            There is no image, the point is outside it, or there is no
            positive prompt yet.
        """
        return self._add(
            plane,
            points=np.array([[row, column]], dtype=np.float64),
            labels=np.array([int(positive)]),
        )

    def box(
        self,
        row0: float,
        column0: float,
        row1: float,
        column1: float,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Give the open object a box, instead of the one it has.

        Parameters
        ----------
        row0, column0, row1, column1 : float
            Data pixels, half open: ``0, 0, 10, 10`` are 100 pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : what it returns, and its errors.
        """
        box = np.array([row0, column0, row1, column1], dtype=np.float64)
        return self._add(plane, box=box)

    def scribble(
        self,
        path: ArrayLike,
        positive: bool = True,
        plane: ImagePlane | None = None,
    ) -> ObjectCandidates | None:
        """Add points along a path to the open object.

        Parameters
        ----------
        path : array-like
            (N, 2) vertices in data pixels.
        positive : bool
            Over the object, or over what does not belong to it.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : what it returns, and its errors.
        """
        points = points_along(np.asarray(path, dtype=np.float64))
        labels = np.full(len(points), int(positive), dtype=np.int64)
        return self._add(plane, points=points, labels=labels)

    def outline(
        self, vertices: ArrayLike, plane: ImagePlane | None = None
    ) -> ObjectCandidates | None:
        """Give the open object a drawn outline: its box and its inside.

        Parameters
        ----------
        vertices : array-like
            (N, 2) vertices in data pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : what it returns, and its errors.
        """
        plane = plane or self._scene().plane()
        drawn = np.asarray(vertices, dtype=np.float64)
        prompts = Prompts(
            box=box_of(drawn, plane.shape),
            region=region_of(drawn, plane.shape),
        )
        return self.prompt(prompts, plane)

    def prompt(
        self, prompts: Prompts, plane: ImagePlane | None = None
    ) -> ObjectCandidates | None:
        """Give the open object these prompts, instead of those it has.

        Parameters
        ----------
        prompts : Prompts
            All prompts on the plane; none takes the object off the plane.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : what it returns, and its errors.
        """
        plane = plane or self._scene().plane()
        self.editor.ask(plane, prompts)
        return self._candidates(plane)

    def choose(self, index: int, plane: ImagePlane | None = None) -> None:
        """Choose the mask with this index of the candidates."""
        self.editor.choose(plane or self._scene().plane(), index)

    def _scene(self) -> Scene:
        if self.scene is None:
            raise SegmentationError(
                'This session has no viewer: give the plane.'
            )
        return self.scene

    def _add(
        self, plane: ImagePlane | None, **prompts: Any
    ) -> ObjectCandidates | None:
        plane = plane or self._scene().plane()
        self.editor.add(plane, **prompts)
        return self._candidates(plane)

    def _candidates(self, plane: ImagePlane) -> ObjectCandidates | None:
        self._finish()
        view = self.editor.view(plane)
        return None if view is None else view.candidates

    def _finish(self) -> None:
        """Wait for all answers, and raise what goes wrong meanwhile."""
        problems: list[str] = []

        def note(text: str, topic: str) -> None:
            problems.append(text)

        self.failed.connect(note)
        try:
            self.finish()
        finally:
            self.failed.disconnect(note)
        if problems:
            raise SegmentationError(problems[0])

    def _wait_for(
        self, signal: SignalInstance, start: Callable[[], None]
    ) -> Any:
        """Start something and wait for the answer that a signal brings."""
        answers: list[Any] = []
        signal.connect(answers.append)
        try:
            start()
            self._finish()
        finally:
            signal.disconnect(answers.append)
        return answers[0]
