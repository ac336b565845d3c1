"""Targets for writing: arrays of labels.

A session writes through `LabelTarget` and knows no layer. Image and labels
may have different pixel grids: the target maps between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    get_args,
)

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_choice,
    check_class_name,
    check_number,
)
from napari_mobilesam.segmentation.upscaling import crop_to_mask
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.types import Box, Mask, SegmentationError

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

Indices = tuple[NDArray[np.intp], ...]
WritePolicy = Literal['overwrite', 'keep']
# Side of the square first searched for connected pixels.
FIRST_LOOK = 128
# Largest box searched, as for masks of the model.
MOST_PIXELS = 1 << 26


@dataclass(frozen=True)
class WriteOptions:
    """Options for writing accepted objects.

    Attributes
    ----------
    policy : {'overwrite', 'keep'}
        ``'overwrite'``: over existing labels. ``'keep'``: on background
        only.
    label : int or None
        None gives each object the next free label (instance segmentation);
        a number gives all of them this label (semantic segmentation).
    class_name : str
        Class of new objects, or empty for none.
    by_class : bool
        Whether the label is the number of the class. An object without a
        class, or with a label used by objects of another class, is refused.
    refine : bool
        Feed the mask back to the model when prompts are added to it
        (Segment Anything, section 3).
    """

    policy: WritePolicy = 'overwrite'
    label: int | None = None
    class_name: str = ''
    refine: bool = True
    by_class: bool = False

    def __post_init__(self) -> None:
        check_choice('policy', self.policy, get_args(WritePolicy))
        check_class_name('class_name', self.class_name)
        if self.label is not None:
            check_number('label', self.label, -math.inf, whole=True)


class LabelsError(SegmentationError):
    """Labels cannot be written; the message says how to fix it."""


class Pixels(NamedTuple):
    """Pixels of a target and their values.

    Attributes
    ----------
    indices : tuple of ndarray
        One (N,) intp array per axis of the target, without duplicates.
    values : ndarray
        (N,) of the target's dtype.
    """

    indices: Indices
    values: NDArray[Any]


class LabelTarget(Protocol):
    """An array of labels that objects are written to.

    Attributes
    ----------
    edited : Signal(dict of int to int)
        Emitted when others change pixels, for example with a brush, with the
        number of pixels by which each label has grown.
    """

    edited: Any

    @property
    def name(self) -> str:
        """Name for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""

    @property
    def limit(self) -> int:
        """Largest label that the dtype holds."""

    @property
    def preserved(self) -> bool:
        """True if existing labels are always preserved."""

    def check(self) -> None:
        """Raise `LabelsError` if the labels are not editable."""

    def highest(self) -> int:
        """Return the largest label, 0 if there is none."""

    def present(self, labels: Collection[int]) -> set[int]:
        """Return which of some labels have pixels."""

    def locate(
        self, plane: ImagePlane, picture: NDArray[Any], corner: tuple[int, int]
    ) -> Pixels:
        """Return the pixels that a picture covers.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the picture.
        picture : ndarray
            (h, w) integers; pixels of value 0 are skipped.
        corner : tuple of int
            (row, column) of the picture's first pixel in the plane.
        """

    def channels(self, plane: ImagePlane) -> int:
        """Return the number of image channels that share the labels.

        `locate` returns the pixels in each of them; areas are those of one
        channel.
        """

    def picture(
        self, plane: ImagePlane, box: Box, data: Any = None
    ) -> NDArray[Any]:
        """Return the labels in a box of a plane, in the plane's pixels.

        Parameters
        ----------
        plane : ImagePlane
            Plane to read.
        box : tuple of int
            (row0, column0, row1, column1), half open, inside the plane.
        data : array, optional
            Array of the same shape that is read instead of the labels.

        Returns
        -------
        ndarray
            (h, w) integers, 0 outside the labels.
        """

    def read(self, indices: Indices) -> NDArray[Any]:
        """Return the values of pixels, (N,)."""

    def write(self, indices: Indices, values: NDArray[Any]) -> None:
        """Set the values of pixels and show them."""

    def array(self) -> NDArray[Any] | None:
        """Return all pixels; None if they are not a single array in memory."""

    def row(self, pixels: int) -> NDArray[Any] | None:
        """Return a flat view of all pixels, for large changes.

        Copying contiguous parts is far faster than indexing pixels. Call
        `refresh` after writing.

        Parameters
        ----------
        pixels : int
            Number of pixels that will be changed.

        Returns
        -------
        ndarray or None
            None if the memory is not contiguous, or if `write` is faster for
            this few pixels.
        """

    def refresh(self, highest: int) -> None:
        """Show changes made through `row`, with labels up to ``highest``."""

    def features(self) -> pd.DataFrame:
        """Return the feature table, with the label in a column ``index``."""

    def set_features(self, table: pd.DataFrame) -> None:
        """Set the feature table."""


def rows_of(target: LabelTarget, labels: Collection[int]) -> pd.DataFrame:
    """Return the rows of labels in the feature table of a target."""
    table = target.features()
    return table[table['index'].isin(list(labels))]


def column_of(rows: pd.DataFrame, name: str) -> dict[int, Any]:
    """Return the values of a column by label, without missing values."""
    if name not in rows:
        return {}
    known = rows[rows[name].notna()]
    return dict(zip(known['index'].tolist(), known[name], strict=True))


def classes_of(target: LabelTarget, labels: Collection[int]) -> dict[int, str]:
    """Return the classes of labels in the feature table, where set.

    Labels from another program, or of a closed image, have no object.
    """
    classes = column_of(rows_of(target, labels), 'class')
    return {label: str(name) for label, name in classes.items() if name}


def set_rows(
    target: LabelTarget, labels: Collection[int], rows: pd.DataFrame
) -> None:
    """Replace the rows of labels in the feature table of a target."""
    target.set_features(with_rows(target.features(), labels, rows))


def with_rows(
    table: pd.DataFrame, labels: Collection[int], rows: pd.DataFrame
) -> pd.DataFrame:
    """Return a feature table with the rows of labels replaced."""
    import pandas as pd

    kept = table[~table['index'].isin(list(labels))]
    if not len(kept):
        table = rows
    elif len(rows):
        table = pd.concat([kept, rows], ignore_index=True)
    else:
        table = kept
    return table.reset_index(drop=True)


def whole_picture(target: LabelTarget, plane: ImagePlane) -> NDArray[Any]:
    """Return the labels of an entire plane, (H, W)."""
    height, width = plane.shape
    return target.picture(plane, (0, 0, height, width))


def labels_in(
    target: LabelTarget, plane: ImagePlane, mask: Mask
) -> NDArray[Any]:
    """Return the (N,) labels that the pixels of a mask have now."""
    labels: NDArray[Any] = target.picture(plane, mask.box)[mask.data]
    return labels


def label_at(
    target: LabelTarget, plane: ImagePlane, row: float, column: float
) -> int:
    """Return the label at a position of a plane, 0 for none.

    Parameters
    ----------
    target : LabelTarget
        Labels to read.
    plane : ImagePlane
        Plane of the position.
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

    Only a neighbourhood of the object is read.

    Returns
    -------
    Mask or None
        Mask with a NaN score; None if there is no label.

    Raises
    ------
    LabelsError
        The object is too large to be held in memory.
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
                f'The connected area of label {number} here on '
                f'“{target.name}” is too large to be edited or deleted as '
                f'one object: at most {MOST_PIXELS / 1e6:.0f} million pixels '
                'can be. Erase it by hand.'
            )


def _around(at: tuple[int, int], shape: tuple[int, int]) -> Box:
    """Return the box first searched for connected pixels."""
    low = [max(0, place - FIRST_LOOK // 2) for place in at]
    high = [
        min(size, place + FIRST_LOOK // 2)
        for place, size in zip(at, shape, strict=True)
    ]
    return low[0], low[1], high[0], high[1]


def _connected(
    same: NDArray[np.bool_], at: tuple[int, int], box: Box
) -> tuple[NDArray[np.bool_], Box]:
    """Return the connected pixels at a position, and their box."""
    from scipy.ndimage import label as connected_components

    parts, _ = connected_components(same, np.ones((3, 3)))
    part = parts == parts[at[0] - box[0], at[1] - box[1]]
    return crop_to_mask(part, box[:2])


def _grown(box: Box, tight: Box, shape: tuple[int, int]) -> Box:
    """Return a box doubled on the sides that its contents touch.

    Other sides stay, so a long thin object does not need a square.
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
