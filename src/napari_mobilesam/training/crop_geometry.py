"""From a window of an image to the crop that a model sees, and back.

Pixels, labels and maps are transformed alike: cut out, resized, warped and
turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mobilesam.training.augment import augment, scale_intensities
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.warp import Warp
from napari_mobilesam.types import Frame, Window, slices_of


def choose_window(
    image: LabelledImage,
    target: float | None,
    input_size: int,
    rng: np.random.Generator,
) -> Window:
    """Choose a window in which a random object has diameter ``target``.

    Parameters
    ----------
    image : LabelledImage
        Image to cut the window from.
    target : float or None
        Diameter in input pixels; None for the whole image.
    input_size : int
        Side of the model's input.
    rng : numpy.random.Generator
        Draws the object and its place in the window.

    Returns
    -------
    tuple of int
        (row0, column0, row1, column1) within the image.
    """
    height, width = image.image.shape[:2]
    if target is None:
        return 0, 0, height, width
    chosen = int(rng.integers(len(image.objects)))
    side = max(8, round(input_size * image.diameters[chosen] / target))
    rows, columns = min(side, height), min(side, width)
    box = image.objects[chosen, 2:]
    centre = (box[:2] + box[2:]) / 2
    start = []
    for middle, length, limit in zip(
        centre, (rows, columns), (height, width), strict=True
    ):
        first = int(middle - length * rng.uniform(0.15, 0.85))
        start.append(min(max(0, first), limit - length))
    return start[0], start[1], start[0] + rows, start[1] + columns


class Orientation(NamedTuple):
    """One of the eight orientations of a crop."""

    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Orientation:
        """Draw one of the eight orientations."""
        return cls(*(bool(rng.random() < 0.5) for _ in cls._fields))

    def turn(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Turn the last two axes."""
        if self.flip_rows:
            planes = planes[..., ::-1, :]
        if self.flip_columns:
            planes = planes[..., ::-1]
        return planes.swapaxes(-1, -2) if self.transpose else planes


@dataclass(frozen=True)
class CropGeometry:
    """Transform from a window of an image to a crop.

    Attributes
    ----------
    image_shape : tuple of int
        (H, W) of the image.
    window : tuple of int
        (row0, column0, row1, column1) in data pixels.
    canvas : int
        Longer side of the crop, in input pixels.
    warp : Warp, optional
        Rotation, stretch and elastic warp.
    orientation : Orientation
        Mirroring and rotation by multiples of 90°, applied last.
    """

    image_shape: tuple[int, int]
    window: Window
    canvas: int
    warp: Warp | None = None
    orientation: Orientation = Orientation()

    @classmethod
    def of(
        cls,
        image: LabelledImage,
        window: Window,
        canvas: int,
        rng: np.random.Generator | None = None,
        warp: Warp | None = None,
    ) -> CropGeometry:
        """Create the geometry of a window of an image.

        Parameters
        ----------
        image : LabelledImage
            Image of which the shape is taken.
        window, canvas, warp
            As the attributes.
        rng : numpy.random.Generator, optional
            Chooses the orientation; without it, the crop is not turned.
        """
        height, width = image.image.shape[:2]
        orientation = Orientation() if rng is None else Orientation.draw(rng)
        return cls((height, width), window, canvas, warp, orientation)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the crop, before it is turned."""
        frame = Frame.of(self.image_shape, self.window, self.canvas)
        rows, columns = frame.input_shape
        return rows, columns

    def pixels(
        self, image: LabelledImage, rng: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """Return the pixels of the crop; with ``rng``, intensities vary.

        Returns
        -------
        ndarray
            (h, w, 3) uint8, longer side ``canvas``.
        """
        window = image.image[slices_of(self.window)]
        values = scale_intensities(window, image, rng)
        as_bytes = (values * 255 + 0.5).astype(np.uint8)
        picture = Image.fromarray(as_bytes).resize(
            self.shape[::-1], Image.Resampling.BILINEAR
        )
        if self.warp is not None:
            picture = self.warp.image(picture, self.shape)
        rgb = np.asarray(picture)
        if rng is not None:
            varied = augment(rgb.astype(np.float32) / np.float32(255), rng)
            rgb = (varied * 255 + 0.5).astype(np.uint8)
        turned = self.orientation.turn(rgb.transpose(2, 0, 1))
        return np.ascontiguousarray(turned.transpose(1, 2, 0))

    def labels(self, labels: NDArray[Any], stride: int) -> NDArray[Any]:
        """Return labels (L, H, W) on a grid of ``stride`` input pixels.

        Returns
        -------
        ndarray
            (L, g, g) of the same dtype, padded with 0.
        """
        row0, column0, row1, column1 = self.window
        rows, columns = self.shape
        row = nearest(row0, row1, rows, stride)[:, None]
        column = nearest(column0, column1, columns, stride)[None]
        if self.warp is not None:
            places = self.warp.places(
                (np.arange(len(row)) + 0.5) * stride / rows,
                (np.arange(column.size) + 0.5) * stride / columns,
                self.shape,
            )
            row = _at(places[..., 0], row0, row1)
            column = _at(places[..., 1], column0, column1)
        return self._padded(labels[:, row, column], stride)

    def planes(self, planes: NDArray[np.uint8], stride: int) -> NDArray[Any]:
        """Return planes (N, H, W) resampled to a grid, (N, g, g) uint8.

        Shrinking averages pixels; the padding is 0.
        """
        shape = (
            max(1, round(self.shape[0] / stride)),
            max(1, round(self.shape[1] / stride)),
        )
        inner = np.empty((len(planes), *shape), np.uint8)
        for number, plane in enumerate(planes):
            part = np.ascontiguousarray(plane[slices_of(self.window)])
            picture = Image.fromarray(part).resize(
                shape[::-1], Image.Resampling.BILINEAR
            )
            if self.warp is not None:
                picture = self.warp.image(picture, shape)
            inner[number] = np.asarray(picture)
        return self._padded(inner, stride)

    def _padded(self, inner: NDArray[Any], stride: int) -> NDArray[Any]:
        side = self.canvas // stride
        turned = self.orientation.turn(inner)
        planes = np.zeros((len(inner), side, side), inner.dtype)
        planes[:, : turned.shape[1], : turned.shape[2]] = turned
        return planes


def _at(
    fractions: NDArray[np.float64], start: int, stop: int
) -> NDArray[np.int64]:
    """Return data pixels at fractions of one axis of a window."""
    positions = start + fractions * (stop - start)
    return np.clip(positions.astype(np.int64), start, stop - 1)


def nearest(
    start: int, stop: int, length: int, stride: int
) -> NDArray[np.int64]:
    """Return data pixels under the centres of the grid pixels of one axis.

    Parameters
    ----------
    start, stop : int
        Range of the window in data pixels, half open.
    length : int
        Input pixels that the window takes.
    stride : int
        Input pixels per grid pixel.

    Returns
    -------
    ndarray
        (g,) int, ascending.
    """
    count = max(1, round(length / stride))
    centres = (np.arange(count) + 0.5) * stride / length
    return np.minimum(start + centres * (stop - start), stop - 1).astype(int)
