"""Interface between a viewer and its session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.objects.history import Undoable
from napari_mobilesam.session.objects.objects import Objects


class Scene(Protocol):
    """Images, planes and labels of a viewer, or of a test."""

    def plane(self) -> ImagePlane:
        """Return the displayed plane.

        Raises
        ------
        ImageError
            There is none; the message says why.
        """

    def stack(self, axis: int | None = None) -> Sequence[ImagePlane]:
        """Return the planes parallel to the displayed one.

        Parameters
        ----------
        axis : int, optional
            Axis of the image along which the planes are ordered; by default
            the last one that is neither displayed nor the channel axis.

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
            Whether to create labels if there are none.

        Raises
        ------
        ImageError
            Labels cannot be created, because there is no image.
        """

    def undoables(self) -> Sequence[Undoable]:
        """Return the objects of all labels, and other undoable results.

        Their histories share a clock.
        """

    def show(self, plane: ImagePlane) -> None:
        """Show a plane in the viewer."""

    def is_of_image(self, plane: ImagePlane) -> bool:
        """Return whether a plane is one of the image that is worked on."""

    def has_pixels(self, plane: ImagePlane) -> bool:
        """Return whether the image of a plane still has its pixels."""

    def describe(self, plane: ImagePlane) -> dict[str, Any]:
        """Return the arguments of `find` for a plane, as plain values."""

    def find(self, *args: Any, **kwargs: Any) -> ImagePlane:
        """Return the plane for arguments from `describe`.

        Raises
        ------
        ImageError
            The selected image has no such plane.
        """

    def setup_code(self) -> list[str]:
        """Return the script lines that set ``session`` and ``scene``.

        They select the image, and new labels to write to.
        """


def find_code(scene: Scene, plane: ImagePlane) -> str:
    """Return the script expression that finds a plane."""
    arguments = scene.describe(plane).items()
    given = ', '.join(f'{name}={value!r}' for name, value in arguments)
    return f'scene.find({given})'
