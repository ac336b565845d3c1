"""Frozen value types shared by every layer of the package.

Coordinates are ``(row, column)`` in data pixels everywhere; boxes are
``(row0, column0, row1, column1)``, half open for pixels. This module imports
neither torch nor Qt, so that importing the package stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.parameter_fields import documented, parameter

if TYPE_CHECKING:
    import torch

Architecture = Literal['vit_t', 'vit_b', 'vit_l', 'vit_h']
Ranking = Literal['predicted_iou', 'agreement']

# (row0, column0, row1, column1) in data pixels, half open: the bounding box
# of a mask, and a window of an image.
Box = tuple[int, int, int, int]
Window = tuple[int, int, int, int]
# Called with (steps done, total steps or 0 if unknown, name of the step).
Progress = Callable[[int, int, str], None]
# Runs a function on the thread that owns the viewer.
Deliver = Callable[[Callable[[], None]], None]

# Pixels of the model's input along a cell of the embedding, and along a pixel
# of the low-res logits.
STRIDE, LOW_RES_STRIDE = 16, 4


def slices_of(box: Box) -> tuple[slice, slice]:
    """Return the slices of a plane that select the pixels of a box."""
    row0, column0, row1, column1 = box
    return slice(row0, row1), slice(column0, column1)


def window_at(
    row: int, column: int, sides: tuple[int, int], shape: tuple[int, int]
) -> Window:
    """Return the window of these sides at a pixel, cut off at the ends."""
    row1, column1 = row + sides[0], column + sides[1]
    return row, column, min(row1, shape[0]), min(column1, shape[1])


def part_of_progress(
    progress: Progress | None, number: int, count: int
) -> Progress | None:
    """Return a progress function for part ``number`` (from 0) of ``count``.

    All parts are assumed to take the same number of steps.
    """
    if progress is None or count == 1:
        return progress

    def tell(done: int, total: int, text: str) -> None:
        total = max(total, 1)
        progress(number * total + done, count * total, text)

    return tell


class SegmentationError(ValueError):
    """An input or a model cannot be used; the message says what to do."""


class ImageError(SegmentationError):
    """The image cannot be segmented (empty, wrong ndim, no finite pixel)."""


class BlankImageError(ImageError):
    """The image, or the part that was read, has no finite pixel."""


class PromptError(SegmentationError):
    """A prompt cannot be used (outside the image, empty box, none given)."""


class CheckpointError(SegmentationError):
    """A checkpoint is missing, corrupt, incompatible or unknown."""


class ObjectDiameter(NamedTuple):
    """Object sizes a model was trained for, in pixels of the model's input.

    ``best`` is the size that objects are zoomed to when they fall outside
    ``smallest`` … ``largest``.
    """

    smallest: float
    best: float
    largest: float


@dataclass(frozen=True)
class ModelRecord:
    """Metadata of a checkpoint.

    Attributes
    ----------
    name : str
        Key in the registry, or the stem of the file for the user's own files.
    architecture : {'vit_t', 'vit_b', 'vit_l', 'vit_h'}
        Image encoder.
    input_size : int
        Side of the square model input in pixels (1024 for official weights).
    object_diameter : ObjectDiameter
        Object sizes in input pixels that the model segments well.
    purpose, licence, citation : str
        What the model is for, its licence and its source, shown to users.
    url : str
        Download URL; empty for bundled files and the user's own.
    hash : str
        ``'sha256:…'`` or ``'xxh128:…'`` of the file; empty for the user's own.
    size_bytes : int
        Size of the file; 0 if unknown.
    training : dict
        Training record stored in the file (data hashes, parameters, scores).
    predicted_iou, stability : float
        Default thresholds of segment everything for this model's scores.
    ranking : {'predicted_iou', 'agreement'}
        How to choose the best of three masks: by the highest predicted IoU
        (Segment Anything, section 3), or by the largest overlap with the
        others. The latter suits models whose masks are alternatives, not
        parts of each other.
    instance_head : bool
        Whether the file holds an instance head, which locates objects.
    """

    name: str
    architecture: Architecture = 'vit_t'
    input_size: int = 1024
    object_diameter: ObjectDiameter = ObjectDiameter(16, 96, 900)
    purpose: str = ''
    licence: str = ''
    citation: str = ''
    url: str = ''
    hash: str = ''
    size_bytes: int = 0
    training: dict[str, Any] = field(default_factory=dict)
    predicted_iou: float = 0.88
    stability: float = 0.95
    ranking: Ranking = 'predicted_iou'
    instance_head: bool = False

    @property
    def absolute_positions(self) -> bool:
        """True if the image encoder works at its own input size only.

        It adds a positional embedding for each cell, as SAM's ViT does;
        TinyViT has none.
        """
        return self.architecture != 'vit_t'

    def of_new_weights(self, **changes: Any) -> ModelRecord:
        """Return a changed record, for weights that are not published."""
        return replace(self, url='', hash='', size_bytes=0, **changes)


@dataclass(frozen=True)
class Frame:
    """Geometry of an image window on the model's square input.

    The window is resized so that its longer side is the input size, and
    padded with zeros at the bottom and right (Segment Anything, appendix A).

    Attributes
    ----------
    image_shape : tuple of int
        (H, W) of the whole image plane.
    window : tuple of int
        (row0, column0, row1, column1) of the embedded window, half open.
    input_shape : tuple of int
        (h, w) of the resized window, before padding.
    input_size : int
        Side of the padded square input.
    """

    image_shape: tuple[int, int]
    window: Window
    input_shape: tuple[int, int]
    input_size: int

    @classmethod
    def of(
        cls,
        image_shape: tuple[int, int],
        window: Window,
        input_size: int,
    ) -> Frame:
        """Fit a window of an image to an input of side ``input_size``."""
        height, width = window[2] - window[0], window[3] - window[1]
        scale = input_size / max(height, width)
        input_shape = (
            max(1, int(height * scale + 0.5)),
            max(1, int(width * scale + 0.5)),
        )
        return cls(image_shape, window, input_shape, input_size)

    @property
    def window_shape(self) -> tuple[int, int]:
        """(h, w) of the window in data pixels."""
        row0, column0, row1, column1 = self.window
        return row1 - row0, column1 - column0

    def to_input_xy(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Map (..., 2) row-column data coordinates to x-y input coordinates.

        napari and SAM both have pixel centres at integer coordinates. As in
        the reference implementation, coordinates are scaled about the origin,
        not about the corner of the first pixel.
        """
        points = np.asarray(points, dtype=np.float64)
        origin = np.asarray(self.window[:2], dtype=np.float64)
        scale = np.asarray(self.input_shape) / np.asarray(self.window_shape)
        return ((points - origin) * scale)[..., ::-1]


@dataclass(frozen=True)
class Embedding:
    """Image embedding of one window, complete for decoding prompts on it.

    Attributes
    ----------
    features : torch.Tensor
        (1, 256, s, s) float, ``s = input_size // 16``.
    frame : Frame
        Geometry of the embedded window.
    model_key : str
        ``Sam.key`` of the model that made it; other models refuse it.
    """

    features: torch.Tensor = field(repr=False)
    frame: Frame
    model_key: str


@dataclass(frozen=True, eq=False)
class DrawnShape:
    """A shape as the user drew it, kept to be shown again.

    Attributes
    ----------
    kind : str
        ``'rectangle'``, ``'ellipse'``, ``'polygon'``, ``'path'`` or
        ``'line'``, as in a Shapes layer of napari.
    vertices : ndarray
        (N, 2) float64 row and column; an ellipse has four corners.
    positive : bool
        Whether a scribble marks the object rather than the background.
    first, count : int
        Range of the prompts' points that lie along a scribble.
    """

    kind: str
    vertices: NDArray[np.float64]
    positive: bool = True
    first: int = 0
    count: int = 0


@dataclass(frozen=True)
class Prompts:
    """Prompts of one object, in (row, column) data pixels.

    Attributes
    ----------
    points : ndarray
        (N, 2) float64.
    labels : ndarray
        (N,) int64: 1 positive, 0 negative.
    box : ndarray or None
        (4,) float64 (row0, column0, row1, column1).
    mask_input : ndarray or None
        (s, s) float32 low-res logits, ``s = input_size // 4``.
    region : Mask or None
        A drawn region or existing mask in data pixels. It is resampled to the
        ``mask_input`` of the embedded window, unless that is given.
    drawn : tuple of DrawnShape
        Shapes drawn for the box, region and points. The model does not see
        them.
    """

    points: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((0, 2))
    )
    labels: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )
    box: NDArray[np.float64] | None = None
    mask_input: NDArray[np.float32] | None = None
    region: Mask | None = None
    drawn: tuple[DrawnShape, ...] = ()

    @property
    def clicked(self) -> NDArray[np.bool_]:
        """(N,) bool; False for points that lie along a scribble."""
        clicked = np.ones(len(self.points), dtype=bool)
        for shape in self.drawn:
            clicked[shape.first : shape.first + shape.count] = False
        return clicked

    @property
    def ambiguous(self) -> bool:
        """Return whether the prompts may mean a whole, a part or a subpart.

        Only a single point is ambiguous; with more prompts, the single mask
        is better (Segment Anything, section 3, "Resolving ambiguity").
        """
        return (
            self.box is None
            and self.mask_input is None
            and self.region is None
            and len(self.points) == 1
        )


@dataclass(frozen=True)
class Mask:
    """One mask, cropped to its box.

    Attributes
    ----------
    data : ndarray
        (row1 - row0, column1 - column0) bool.
    box : tuple of int
        (row0, column0, row1, column1), half open, tight around the mask.
    score : float
        Predicted IoU.
    stability : float
        Stability score: IoU of the mask at a higher and a lower threshold
        (Segment Anything, appendix B).
    point : tuple of float
        (row, column) of the point prompt; NaN if there was none.
    crop_box : tuple of int
        Crop or window of the image in which it was found.
    similarity : float
        Similarity to example objects, or score of the box that a detector
        drew for a text, at most 1; NaN if neither applies.
    """

    data: NDArray[np.bool_]
    box: Box
    score: float
    stability: float = float('nan')
    point: tuple[float, float] = (float('nan'), float('nan'))
    crop_box: Box = (0, 0, 0, 0)
    similarity: float = float('nan')

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.data))


MORE_PARAMETERS = 'More parameters'


# Maximum point prompts along each side of the image.
MOST_POINTS_PER_SIDE = 256


@documented
@dataclass(frozen=True)
class EverythingParameters:
    """Parameters of segment everything (Segment Anything, appendix B).

    The Python API, the command line and the form of the widget share this
    class; defaults and descriptions are defined only here.
    """

    diameter: float | None = parameter(
        None,
        'Typical object diameter in data pixels. Small objects are '
        'segmented in overlapping windows that are magnified to suit the '
        'model.',
        label='Diameter (px)',
        minimum=1,
        maximum=100_000,
        automatic='estimated from the image.',
        typical=30.0,
    )
    points_per_side: int = parameter(
        32,
        'Point prompts along each side of the image; each crop layer has '
        'fewer.',
        label='Points per side',
        minimum=1,
        maximum=MOST_POINTS_PER_SIDE,
    )
    predicted_iou: float | None = parameter(
        None,
        'Minimum predicted IoU; masks below it are dropped.',
        label='Predicted IoU ≥',
        maximum=1,
        step=0.01,
        automatic='the default of the model, 0.88 for SAM.',
        typical=0.88,
    )
    stability: float | None = parameter(
        None,
        'Minimum stability score (IoU of the mask at a higher and a lower '
        'threshold); masks below it are dropped.',
        label='Stability ≥',
        maximum=1,
        step=0.01,
        automatic='the default of the model, 0.95 for SAM.',
        typical=0.95,
    )
    min_area: int = parameter(
        0,
        'Holes and islands of a mask with a smaller area, in pixels, are '
        'removed.',
        label='Min. area (px)',
        maximum=10_000_000,
    )
    adaptive: bool = parameter(
        True,
        'Prompt a coarse part of the grid first, and the rest only where '
        'more objects are likely: about a sixth of the prompts for the same '
        'objects. If off, or with crop layers: the full grid, as in the '
        'paper.',
        label='Adaptive grid',
    )
    instance_head: bool = parameter(
        True,
        'Prompt each object detected by the instance head of the model '
        'instead of a grid, if the model has one and the grid is adaptive.',
        label='Instance head',
    )
    watershed: bool = parameter(
        False,
        'Take the objects from the instance head, without the mask decoder: '
        'fastest, but with coarser borders. The model needs an instance '
        'head.',
        label='Watershed only (fastest)',
    )
    crop_layers: int = parameter(
        0,
        'Additional layers of crops, for small objects: layer i has 2^i × 2^i '
        'overlapping crops.',
        label='Crop layers',
        maximum=4,
        group=MORE_PARAMETERS,
    )
    crop_overlap: float = parameter(
        512 / 1500,
        'Overlap of neighbouring crops of the first layer, as a fraction of '
        "the image's shorter side.",
        label='Crop overlap',
        maximum=1,
        step=0.05,
        group=MORE_PARAMETERS,
    )
    crop_points_downscale: int = parameter(
        2,
        'Factor by which the grid of points shrinks per crop layer.',
        label='Points reduction',
        minimum=1,
        maximum=8,
        group=MORE_PARAMETERS,
    )
    stability_offset: float = parameter(
        1.0,
        'Offset of the thresholds of the stability score, in logits.',
        label='Stability offset',
        maximum=10,
        step=0.1,
        group=MORE_PARAMETERS,
    )
    max_area_fraction: float = parameter(
        0.95,
        'Maximum area of a mask, as a fraction of the image; larger masks '
        'are dropped.',
        label='Max. area (fraction)',
        maximum=1,
        step=0.01,
        group=MORE_PARAMETERS,
    )
    box_nms: float = parameter(
        0.7,
        'Box IoU above which the lower-scored mask is dropped (NMS), '
        'within a crop.',
        label='NMS in a crop',
        maximum=1,
        step=0.05,
        group=MORE_PARAMETERS,
    )
    crop_nms: float = parameter(
        0.7,
        'Box IoU above which the mask from the larger crop is dropped (NMS), '
        'between crops.',
        label='NMS between crops',
        maximum=1,
        step=0.05,
        group=MORE_PARAMETERS,
    )
    whole_image: bool = parameter(
        False,
        'Embed the whole image at once regardless of object size, as in the '
        'paper.',
        label='Whole image',
        group=MORE_PARAMETERS,
    )
    batch_size: int = parameter(
        64,
        'Maximum prompts decoded at once; on a CPU, small batches are faster.',
        label='Batch size',
        minimum=1,
        maximum=1024,
        group=MORE_PARAMETERS,
    )

    @property
    def as_in_paper(self) -> bool:
        """Return whether windows and masks are those of the paper."""
        return self.whole_image or self.crop_layers > 0

    @property
    def scale_given(self) -> bool:
        """Return whether the object size is known without the image."""
        return self.as_in_paper or self.diameter is not None
