"""Model and caches of a session, used only on its worker thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.lru_cache import LeastRecentlyUsed
from napari_mobilesam.session.images.plane_reader import PlaneReader
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.images.seen_blocks import (
    LOOKS_KEPT,
    BlocksOfPlace,
    SeenBlocks,
)
from napari_mobilesam.types import (
    EverythingParameters,
    Frame,
    Mask,
    PromptError,
    Prompts,
    Window,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.embedding_grid import BlockKey
    from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
    from napari_mobilesam.segmentation.prediction import Prediction

# Number of image embeddings kept, of up to 64 MB each, and of small planes
# kept, of three bytes per pixel.
IMAGES_KEPT, PLANES_KEPT = 8, 6
# Bytes of features kept per image.
IMAGE_BYTES = 64 * 2**20
# Masks with more pixels are refused: a write takes some 50 bytes per pixel.
MOST_PIXELS = 1 << 26
# Planes of fewer pixels are embedded around their centre before the first
# click if the viewport is unknown.
SMALL_IMAGE = 1 << 20
# Number of cells embedded ahead of prompts in a view, before and after an
# answer there reveals the scale; each takes 0.1 to 0.3 ms of processor time.
AHEAD_AT_FIRST, AHEAD = 6_000, 40_000
# Screen pixels along a cell at the finest scale, which best suits objects of
# 12 screen pixels.
FINEST_SEEN = 3


class _EmbeddedPlane(NamedTuple):
    """A plane, from which blocks are read, and its embedding."""

    plane: ImagePlane
    embedding: ImageEmbedding


class Engine:
    """Predict masks from prompts on planes, with caches.

    Only the worker thread of a session uses it; the image embeddings that it
    returns are thread-safe. Of large planes, only samples and blocks are read.

    Parameters
    ----------
    load_model : callable
        ``load_model(name) -> Sam``.

    Attributes
    ----------
    blocks : SeenBlocks
        Features of blocks.
    """

    def __init__(self, load_model: Callable[[str], Sam]) -> None:
        self._load_model = load_model
        self.blocks = SeenBlocks()
        self._models: LeastRecentlyUsed[Sam] = LeastRecentlyUsed(1)
        self._reader = PlaneReader(PLANES_KEPT)
        # shared by the threads that embed blocks
        self._lock = threading.RLock()
        self._images = LeastRecentlyUsed[_EmbeddedPlane](IMAGES_KEPT)
        # scales of the newest answers, by place
        self._usual = LeastRecentlyUsed[int](LOOKS_KEPT)
        # pixels that are not finite, by appearance and window
        self._not_finite = LeastRecentlyUsed[int](8 * LOOKS_KEPT)

    def clear(self) -> None:
        """Drop cached planes, sizes and embeddings, but not the model."""
        for cache in (
            self._images,
            self._usual,
            self._not_finite,
            self.blocks,
        ):
            cache.clear()
        self._reader.clear()

    def forget(self, gone: Callable[[ImagePlane], bool]) -> None:
        """Drop the embeddings of planes, which keep their pixels in memory.

        May be called from any thread. Features of blocks are kept.
        """
        self._images.drop(lambda embedded: gone(embedded.plane))

    def model(self, name: str) -> Sam:
        """Return the model with a name, loading it if needed."""
        return self._models.get(name, lambda: self._load_model(name))

    def rgb(self, plane: ImagePlane) -> NDArray[np.uint8]:
        """Return a plane as shown, (H, W, 3) uint8, reading all of it."""
        return self._reader.rgb(plane)

    def working_diameter(
        self,
        plane: ImagePlane,
        parameters: EverythingParameters,
        model: Sam,
        between: Callable[[], None],
    ) -> float | None:
        """Return the object diameter in pixels that a run works at.

        As the model sees it, see `diameters_of`; None if the run works on the
        whole image, or no object is seen. ``between`` is called between the
        steps, and within an embedding; it may raise to stop.
        """
        from napari_mobilesam.segmentation.object_size import diameters_of

        if parameters.scale_given:
            return parameters.diameter
        with model.giving_way(between):
            found = diameters_of(
                self.image(plane, model),
                lambda: self._reader.diameter(plane),
                between,
            )
        return found[0] if found else None

    def image(self, plane: ImagePlane, model: Sam) -> ImageEmbedding:
        """Return the embedding of a plane, which is computed lazily."""
        from napari_mobilesam.segmentation.image_embedding import (
            ImageEmbedding,
        )

        def read(window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
            return self._read(plane, window, shape)

        def embedded() -> _EmbeddedPlane:
            cache = BlocksOfPlace(self.blocks, model, plane.pictures)
            return _EmbeddedPlane(
                plane,
                ImageEmbedding(model, plane.shape, read, cache, IMAGE_BYTES),
            )

        return self._images.get((plane.key, model.key), embedded).embedding

    def scales(self, plane: ImagePlane, model: Sam) -> list[int]:
        """Return the scales to try for a click, coarse to fine.

        They are limited to scales at which the plane can be read and objects
        are visible in the viewport.
        """
        from napari_mobilesam.segmentation.scale_choice import STEP

        image = self.image(plane, model)
        if plane.pitch in image.grid.pitches:
            return [plane.pitch]
        longest = plane.longest_window
        scales = [
            pitch
            for pitch in image.grid.pitches[::STEP]
            if _block_side(image, pitch) <= longest
        ]
        view = plane.viewport
        if view is None or not scales:
            return scales
        seen = [
            pitch
            for pitch in scales
            if FINEST_SEEN * view.pixel <= pitch
            and pitch * image.grid.cells < 2 * view.side
        ]
        nearest = min(
            scales, key=lambda p: abs(p * image.grid.cells - view.side)
        )
        return seen or [nearest]

    def prepare(
        self,
        plane: ImagePlane,
        model: Sam,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Embed a plane ahead of its first prompt.

        It is embedded at the centre of the viewport, or of a small plane. A
        large plane without a viewport is embedded at the scales at which it is
        one block.

        Parameters
        ----------
        plane : ImagePlane
            The plane.
        model : Sam
            Model that embeds it.
        interrupted : callable
            Called between blocks; True ends the preparation.

        Returns
        -------
        bool
            False if it was interrupted.
        """
        image = self.image(plane, model)
        for number, (center, pitch) in enumerate(self._likely(plane, model)):
            if number and interrupted():
                return False
            image.decoder_block(center, pitch)
        return True

    def prepared(self, plane: ImagePlane, model: Sam) -> bool:
        """Return whether `prepare` has nothing left to do."""
        return not self._unprepared(plane, model)

    def preparation_seconds(
        self, plane: ImagePlane, model: Sam
    ) -> float | None:
        """Return how long `prepare` takes if nothing is on disk.

        0 if it has nothing to do, None if the speed of the model is unknown.
        """
        from napari_mobilesam.segmentation.machine_speed import known_speed

        grid = self.image(plane, model).grid
        blocks = self._unprepared(plane, model)
        cells = sum(math.prod(grid.canvas(key).cells) for key in blocks)
        seconds = self.blocks.seconds.get(model.key)
        if cells and seconds is None:
            speed = known_speed(model)
            if speed is None:
                return None
            seconds = speed.embedding
        return cells / grid.cells**2 * (seconds or 0.0)

    def _unprepared(self, plane: ImagePlane, model: Sam) -> set[BlockKey]:
        """Return the blocks that `prepare` has yet to embed."""
        image = self.image(plane, model)
        blocks = {
            image.block_at(center, pitch)
            for center, pitch in self._likely(plane, model)
        }
        return {key for key in blocks if not image.knows(key)}

    def _likely(
        self, plane: ImagePlane, model: Sam
    ) -> list[tuple[tuple[float, float], int]]:
        """Return centres and scales of blocks that a prompt may need.

        They are in the order in which prompts use them.
        """
        from napari_mobilesam.segmentation.scale_choice import (
            in_order_of_search,
        )

        image = self.image(plane, model)
        scales = in_order_of_search(self.scales(plane, model))
        height, width = plane.shape
        if plane.viewport is None:
            center = (height - 1) / 2, (width - 1) / 2
            return [
                (center, pitch)
                for pitch in scales
                if plane.pixels <= SMALL_IMAGE
                or _block_side(image, pitch) >= max(plane.shape)
            ]
        row, column = plane.viewport.center
        inside = (
            float(np.clip(row, 0, height - 1)),
            float(np.clip(column, 0, width - 1)),
        )
        return [(inside, pitch) for pitch in scales]

    def embed_ahead(self, plane: ImagePlane, model: Sam) -> bool:
        """Embed a block that prompts in the view of a plane may need.

        This is the first missing block, from the middle of the view outwards,
        at the scale of the newest answer and those next to it, or at coarse
        scales if there is no answer yet. At most `AHEAD` cells are embedded.

        Returns
        -------
        bool
            False if nothing is missing.
        """
        image = self.image(plane, model)
        for key in self._ahead(plane, model):
            if not image.knows(key):
                image.block(key)
                return True
        return False

    def _ahead(self, plane: ImagePlane, model: Sam) -> Iterator[BlockKey]:
        """Yield large blocks that prompts in a view may need, best first."""
        grid = self.image(plane, model).grid
        window = _visible_window(plane)
        if window is None:
            return
        usual = self._usual.peek((plane.pictures, model.key))
        scales, left = self.scales(plane, model), AHEAD_AT_FIRST
        if usual is not None:
            # finer scales are only tried if this one finds nothing
            scales = [
                *sorted(pitch for pitch in scales if pitch >= usual),
                *(pitch for pitch in scales if usual / 2 <= pitch < usual),
            ]
            left = AHEAD
        for pitch in scales:
            for key in grid.large_blocks(window, pitch):
                left -= math.prod(grid.canvas(key).cells)
                if left < 0 or key.side * pitch > plane.longest_window:
                    return
                yield key

    def embedded_scales(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> list[int]:
        """Return those `scales` that are embedded around prompts."""
        from napari_mobilesam.segmentation.scale_choice import (
            center_of_prompts,
            prompt_corners,
        )

        image, scales = self.image(plane, model), self.scales(plane, model)
        if not len(prompt_corners(prompts)):
            return scales
        return [
            pitch
            for pitch in scales
            if image.has(center_of_prompts(prompts, image, pitch), pitch)
        ]

    def not_finite(
        self,
        plane: ImagePlane,
        prompts: Prompts,
        frame: Frame | None,
        model: Sam,
    ) -> int:
        """Return the number of NaN or infinite pixels behind an answer.

        This is an estimate if a coarser level was read. For prompts without an
        answer (``frame`` is None), the coarsest scale tried counts.
        """
        from napari_mobilesam.segmentation.scale_choice import (
            center_of_prompts,
            pitch_of,
            prompt_corners,
        )

        image = self.image(plane, model)
        scales = self.scales(plane, model) or image.grid.pitches
        pitch = scales[0] if frame is None else pitch_of(frame)
        if len(prompt_corners(prompts)):
            center = center_of_prompts(prompts, image, pitch)
        elif frame is not None:
            row0, column0, row1, column1 = frame.window
            center = (row0 + row1) / 2, (column0 + column1) / 2
        else:
            return 0
        block = image.block_at(center, pitch)
        window = image.grid.canvas(block).window
        return self._not_finite.peek((plane.key, window)) or 0

    def predict(
        self,
        plane: ImagePlane,
        prompts: Prompts,
        model: Sam,
        previous: Prediction | None = None,
        scales: Sequence[int] | None = None,
        diameter: float | None = None,
    ) -> Prediction:
        """Return all candidates of one object, with scores and logits.

        Parameters
        ----------
        plane : ImagePlane
            Plane of the prompts.
        prompts : Prompts
            Prompts of the object in data pixels.
        model : Sam
            Model that answers.
        previous : Prediction, optional
            Prediction to refine: its best mask is fed back.
        scales : sequence of int, optional
            Scales to try, coarse to fine; by default those of `scales`, whose
            answer determines the scale for `embed_ahead`.
        diameter : float, optional
            Diameter of the object in data pixels, which determines the scale;
            by default that of its box or region.

        Returns
        -------
        Prediction
            See `Predictor.predict_at_scale`.

        Raises
        ------
        PromptError
            The object is too large to be written at full resolution, or see
            `Predictor.predict`.
        """
        from napari_mobilesam.segmentation.predictor import Predictor
        from napari_mobilesam.segmentation.scale_choice import pitch_of

        prediction = Predictor(model).predict_at_scale(
            self.image(plane, model),
            prompts,
            previous=previous,
            scales=self.scales(plane, model) if scales is None else scales,
            diameter=diameter,
        )
        _check_size(prediction, plane.name)
        if scales is None and diameter is None:
            pitch = pitch_of(prediction.frame)
            self._usual.put((plane.pictures, model.key), pitch)
        return prediction

    def preview(
        self, plane: ImagePlane, point: tuple[float, float], model: Sam
    ) -> Mask | None:
        """Return the mask of a click if that needs no embedding.

        Only embedded scales are tried. None if no answer has a size that suits
        its scale, since a click would then find another mask.
        """
        from napari_mobilesam.segmentation.scale_choice import suits_scale

        prompts = click(point)
        scales = self.embedded_scales(plane, prompts, model)
        if not scales:
            return None
        found = self.predict(plane, prompts, model, scales=scales)
        if len(scales) < len(self.scales(plane, model)) and not suits_scale(
            found, model.record
        ):
            return None
        mask = found.mask()
        return mask if mask.data.any() else None

    def _read(
        self, plane: ImagePlane, window: Window, shape: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Read the pixels of a block that is about to be embedded."""
        side = max(window[2] - window[0], window[3] - window[1])
        if side > plane.longest_window:
            raise PromptError(
                f'The prompts span a window of {side} pixels of '
                f'“{plane.name}”, which has no coarser level to read: place '
                'the prompts of an object closer together, or save the image '
                'as a pyramid.'
            )
        frame = Frame(plane.shape, window, shape, max(shape))
        with self._lock:
            rgb, not_finite = self._reader.pixels(plane, window, frame)
            self._not_finite.put((plane.key, window), not_finite)
        return rgb


def _block_side(image: ImageEmbedding, pitch: int) -> int:
    """Return the longest side of a small block, in data pixels."""
    block = image.grid.small_block((0, 0), pitch)
    return min(block.side * pitch, max(image.image_shape))


def _visible_window(plane: ImagePlane) -> Window | None:
    """Return the visible window of a plane, or all of a small plane."""
    view, shape = plane.viewport, plane.shape
    if view is None:
        return (0, 0, *shape) if plane.pixels <= SMALL_IMAGE else None
    low = [math.floor(place - view.side / 2) for place in view.center]
    high = [math.ceil(place + view.side / 2) for place in view.center]
    row0, column0 = (max(0, first) for first in low)
    row1, column1 = map(min, high, shape)
    if row0 >= row1 or column0 >= column1:
        return None
    return row0, column0, row1, column1


def _check_size(prediction: Prediction, name: str) -> None:
    """Raise `PromptError` for masks too large to be written."""
    frame = prediction.frame
    scale = max(frame.window_shape) / prediction.logits.shape[-1]
    pixels = prediction.low_res_areas[prediction.best] * scale**2
    if pixels > MOST_PIXELS:
        raise PromptError(
            f'The object found here on “{name}” has {pixels / 1e6:.0f} '
            f'million pixels; at most {MOST_PIXELS / 1e6:.0f} million can be '
            'written. Zoom in, or draw a smaller box.'
        )


def click(point: tuple[float, float]) -> Prompts:
    """Return the prompts of a positive click at (row, column)."""
    return Prompts(np.array([point], np.float64), np.ones(1, np.int64))
