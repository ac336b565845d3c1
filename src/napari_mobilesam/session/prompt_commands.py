"""Commands that prompt: clicks, boxes, scribbles, outlines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_mobilesam.argument_checks import (
    check_flag,
    check_instance,
    check_number,
)
from napari_mobilesam.segmentation.prompt_checks import checked_path
from napari_mobilesam.segmentation.shapes import (
    box_of,
    points_along,
    region_of,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.records import ObjectCandidates
from napari_mobilesam.session.session_parts import SessionParts
from napari_mobilesam.types import DrawnShape, PromptError, Prompts


class PromptCommands:
    """Prompts of the open object.

    Each command returns when the model has answered. Positions are (row,
    column) in data pixels of the displayed plane, unless another plane is
    given.
    """

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts

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
            Whether the point is on the object, else on the background.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Returns
        -------
        ObjectCandidates or None
            Masks with scores, with the best one chosen; None if no mask was
            found.

        Raises
        ------
        SegmentationError
            There is no image, the point is outside it, or there is no
            positive prompt yet.
        """
        check_number('row', row, -math.inf)
        check_number('column', column, -math.inf)
        check_flag('positive', positive)
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
        """Set the box of the open object.

        Parameters
        ----------
        row0, column0, row1, column1 : float
            Data pixels, half open: ``0, 0, 10, 10`` are 100 pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : return value and errors.
        """
        box = {
            'row0': row0,
            'column0': column0,
            'row1': row1,
            'column1': column1,
        }
        for name, value in box.items():
            check_number(name, value, -math.inf)
        return self._add(plane, box=np.array([*box.values()], np.float64))

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
            Whether the path is on the object, else on the background.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : return value and errors.
        """
        drawn = checked_path(path, 'path')
        check_flag('positive', positive)
        points = points_along(drawn)
        labels = np.full(len(points), int(positive), dtype=np.int64)
        return self._add(plane, points=points, labels=labels, path=drawn)

    def outline(
        self, vertices: ArrayLike, plane: ImagePlane | None = None
    ) -> ObjectCandidates | None:
        """Prompt with the box and the inside of a drawn outline.

        Parameters
        ----------
        vertices : array-like
            (N, 2) vertices in data pixels.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Raises
        ------
        PromptError
            The outline has no area inside the image.

        See Also
        --------
        click : return value and further errors.
        """
        drawn = checked_path(vertices, 'vertices')
        plane = plane or self._parts.scene().plane()
        box = box_of(drawn, plane.shape)
        flat = np.linalg.matrix_rank(drawn - drawn[0]) < 2
        if flat or (box[2:] - box[:2] < 1).any():
            raise PromptError(
                'The outline has no area inside the image: give at least '
                'three points around an object.'
            )
        prompts = Prompts(
            box=box,
            region=region_of(drawn, plane.shape),
            drawn=(DrawnShape('polygon', drawn),),
        )
        return self.prompt(prompts, plane)

    def prompt(
        self, prompts: Prompts, plane: ImagePlane | None = None
    ) -> ObjectCandidates | None:
        """Set all prompts of the open object on a plane.

        Parameters
        ----------
        prompts : Prompts
            Empty prompts remove the object from the plane.
        plane : ImagePlane, optional
            By default the plane that is shown.

        See Also
        --------
        click : return value and errors.
        """
        check_instance('prompts', prompts, Prompts, optional=False)
        plane = plane or self._parts.scene().plane()
        self._parts.editor.ask(plane, prompts)
        return self._candidates(plane)

    def choose(self, index: int, plane: ImagePlane | None = None) -> None:
        """Choose one of the candidate masks.

        Parameters
        ----------
        index : int
            From 0, in the order of the candidates.
        plane : ImagePlane, optional
            By default the plane that is shown.

        Raises
        ------
        SegmentationError
            There is no mask, or none with this index.
        """
        plane = plane or self._parts.scene().plane()
        view = self._parts.editor.view(plane)
        count = len(view.candidates.masks) if view and view.candidates else 1
        check_number('index', index, 0, count - 1, whole=True)
        self._parts.editor.choose(plane, index)

    def _add(
        self, plane: ImagePlane | None, **prompts: Any
    ) -> ObjectCandidates | None:
        plane = plane or self._parts.scene().plane()
        self._parts.editor.add(plane, **prompts)
        return self._candidates(plane)

    def _candidates(self, plane: ImagePlane) -> ObjectCandidates | None:
        self._parts.waiter.finish()
        view = self._parts.editor.view(plane)
        return None if view is None else view.candidates
