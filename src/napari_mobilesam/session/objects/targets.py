"""What objects are written to: an array of labels, wherever it lies.

The session writes through `LabelTarget` and knows no layer. A plane of an
image and the labels need not share their pixels: the target maps between
them, with whatever transform lies between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.types import Box, Mask, SegmentationError

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

Indices = tuple[NDArray[np.intp], ...]
WritePolicy = Literal['overwrite', 'keep']
# Side of the square in which the pixels of a label are looked for first.
FIRST_LOOK = 128
# Larger boxes than this are not looked through: as for masks of the model.
MOST_PIXELS = 1 << 26


@dataclass(frozen=True)
class WriteOptions:
    """How accepted objects are written.

    Attributes
    ----------
    policy : {'overwrite', 'keep'}
        ``'overwrite'``: over whatever is there. ``'keep'``: on background
        only; what is labelled already stays.
    label : int or None
        None gives each object the next free label (instance segmentation);
        a number gives all of them this label (semantic segmentation).
    class_name : str
        Class of new objects, or empty.
    refine : bool
        Feed the mask back to the model when prompts are added to it
        (Segment Anything, section 3).
    """

    policy: WritePolicy = 'overwrite'
    label: int | None = None
    class_name: str = ''
    refine: bool = True


class LabelsError(SegmentationError):
    """Labels cannot be written; the message says what to do."""


class Pixels(NamedTuple):
    """Pixels of a target and what shall be, or is, in them.

    Attributes
    ----------
    indices : tuple of ndarray
        One (N,) intp array per axis of the target; no pixel twice.
    values : ndarray
        (N,) of the target's dtype.
    """

    indices: Indices
    values: NDArray[Any]


class LabelTarget(Protocol):
    """An array of labels that objects are written to."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array; pixels are told by their index in it."""

    @property
    def limit(self) -> int:
        """Largest label that it holds."""

    @property
    def preserved(self) -> bool:
        """Whether labels that are there are to be kept, come what may."""

    def check(self) -> None:
        """Raise `LabelsError` if it cannot be written to."""

    def highest(self) -> int:
        """Return the largest label in it, 0 if it is empty."""

    def locate(
        self, plane: ImagePlane, picture: NDArray[Any], corner: tuple[int, int]
    ) -> Pixels:
        """Find the pixels that a picture covers.

        Parameters
        ----------
        plane : ImagePlane
            Plane that the picture lies on.
        picture : ndarray
            (h, w) integers; 0 where nothing is to be written.
        corner : tuple of int
            (row, column) of the picture's first pixel in the plane.
        """

    def picture(self, plane: ImagePlane, box: Box) -> NDArray[Any]:
        """Return the labels in a box of a plane, in the plane's pixels.

        Parameters
        ----------
        plane : ImagePlane
            Plane to look at.
        box : tuple of int
            (row0, column0, row1, column1), half open, inside the plane.

        Returns
        -------
        ndarray
            (h, w) integers, 0 beyond the target.
        """

    def read(self, indices: Indices) -> NDArray[Any]:
        """Return the values of pixels, (N,)."""

    def write(self, indices: Indices, values: NDArray[Any]) -> None:
        """Set the values of pixels and show them."""

    def row(self, pixels: int) -> NDArray[Any] | None:
        """Return all pixels as one row that shares their memory.

        What is written into it is shown by `refresh`. Large changes are made
        in it: whole parts are copied far faster than pixels are looked up.

        Parameters
        ----------
        pixels : int
            How many are going to be changed.

        Returns
        -------
        ndarray or None
            None if the pixels do not lie in memory one after the other, or
            if so few are better off with `write`.
        """

    def refresh(self, highest: int) -> None:
        """Show what was written into `row`: no label above ``highest``."""

    def features(self) -> pd.DataFrame:
        """Return the feature table, with the label in a column ``index``."""

    def set_features(self, table: pd.DataFrame) -> None:
        """Set the feature table."""

    def rows(self, labels: Collection[int]) -> pd.DataFrame:
        """Return what is known of labels: their rows of the table."""

    def set_rows(self, labels: Collection[int], rows: pd.DataFrame) -> None:
        """Replace the rows of these labels in the table."""


def rows_of(table: pd.DataFrame, labels: Collection[int]) -> pd.DataFrame:
    """Return what a feature table says of labels."""
    return table[table['index'].isin(list(labels))]


def with_rows(
    table: pd.DataFrame, labels: Collection[int], rows: pd.DataFrame
) -> pd.DataFrame:
    """Return a feature table with other rows for labels."""
    import pandas as pd

    kept = table[~table['index'].isin(list(labels))]
    if not len(kept):
        table = rows
    elif len(rows):
        table = pd.concat([kept, rows], ignore_index=True)
    else:
        table = kept
    return table.reset_index(drop=True)


def label_at(
    target: LabelTarget, plane: ImagePlane, row: float, column: float
) -> int:
    """Return the label at a position of a plane, 0 for none.

    Parameters
    ----------
    target : LabelTarget
        Where to look.
    plane : ImagePlane
        Plane that the position is on.
    row, column : float
        Data pixels; pixel centres are integers.
    """
    at_row, at_column = round(row), round(column)
    height, width = plane.shape
    if not (0 <= at_row < height and 0 <= at_column < width):
        return 0
    box = (at_row, at_column, at_row + 1, at_column + 1)
    return int(target.picture(plane, box)[0, 0])


def mask_of_label(
    target: LabelTarget, plane: ImagePlane, row: float, column: float
) -> Mask | None:
    """Return the connected pixels of the label at a position.

    Only as much of the plane is read as the object covers.

    Returns
    -------
    Mask or None
        Its score is NaN; None if there is no label.

    Raises
    ------
    LabelsError
        It is too large to be held in memory as one object.
    """
    number = label_at(target, plane, row, column)
    if number == 0:
        return None
    at = round(row), round(column)
    box = _around(at, plane.shape)
    while True:
        same = target.picture(plane, box) == number
        data, tight = _connected(same, at, box)
        larger = _grown(box, tight, plane.shape)
        if larger == box:
            return Mask(data, tight, float('nan'))
        box = larger
        if (box[2] - box[0]) * (box[3] - box[1]) > MOST_PIXELS:
            raise LabelsError(
                f'What is connected to label {number} here on '
                f'“{target.name}” is too large to be edited or deleted as '
                f'one object: up to {MOST_PIXELS / 1e6:.0f} million pixels '
                'can be. Erase it by hand.'
            )


def _around(at: tuple[int, int], shape: tuple[int, int]) -> Box:
    """Box in which the pixels of a label are looked for first."""
    low = [max(0, place - FIRST_LOOK // 2) for place in at]
    high = [
        min(size, place + FIRST_LOOK // 2)
        for place, size in zip(at, shape, strict=True)
    ]
    return low[0], low[1], high[0], high[1]


def _connected(
    same: NDArray[np.bool_], at: tuple[int, int], box: Box
) -> tuple[NDArray[np.bool_], Box]:
    """Pixels of a box that are connected to one of them, and their box."""
    from scipy.ndimage import label as connected_components

    parts, _ = connected_components(same, np.ones((3, 3)))
    part = parts == parts[at[0] - box[0], at[1] - box[1]]
    return crop_to_mask(part, box[:2])


def _grown(box: Box, tight: Box, shape: tuple[int, int]) -> Box:
    """A box twice as large towards where its contents touch its edge.

    Only there: something long and thin would else need a square as wide as
    it is long.
    """
    grown = list(box)
    for axis, size in enumerate(shape):
        low, high = box[axis], box[axis + 2]
        length = high - low
        if tight[axis] == low:
            grown[axis] = max(0, low - length)
        if tight[axis + 2] == high:
            grown[axis + 2] = min(size, high + length)
    return grown[0], grown[1], grown[2], grown[3]
