"""What a session asks of the viewer it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from napari_mobilesam.session.engine import ImagePlane
from napari_mobilesam.session.objects import Objects


class Scene(Protocol):
    """Images, planes and labels of a viewer, or of a test."""

    def plane(self) -> ImagePlane:
        """Return the plane that is shown.

        Raises
        ------
        ImageError
            There is none; the message says why.
        """

    def stack(self, axis: int | None = None) -> Sequence[ImagePlane]:
        """Return the planes parallel to the one that is shown.

        Parameters
        ----------
        axis : int, optional
            Axis of the image that they follow each other along; by default
            the last one that is neither shown nor of channels.

        Raises
        ------
        ImageError
            There is no such axis.
        """

    def objects(self, create: bool) -> Objects | None:
        """Return the objects of the labels that are written to.

        Parameters
        ----------
        create : bool
            Whether to make labels where there are none.

        Raises
        ------
        ImageError
            Labels are to be made, and there is no image to make them for.
        """

    def show(self, plane: ImagePlane) -> None:
        """Let the viewer show a plane."""
