"""Model and caches of a session, for its worker thread only."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.session.images.plane_reader import PlaneReader
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.images.recent import (
    LeastRecentlyUsed,
)
from napari_mobilesam.types import (
    Embedding,
    Frame,
    Mask,
    PromptError,
    Prompts,
    Window,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.prediction import Prediction

Embed = Callable[['Sam', NDArray[np.uint8], Frame], Embedding]

# Gray levels by which a window may look different, on average and in its
# most different part, before it is embedded anew.
SAME_MEAN, SAME_PEAK = 1.0, 8
# Masks of more pixels are refused: a write takes some 50 bytes for each.
MOST_PIXELS = 1 << 26
# Side of such a part in pixels of the model's input.
PART = 8


class _Embedded(NamedTuple):
    """An embedding and a small picture of what was embedded."""

    embedding: Embedding
    picture: NDArray[np.uint8]
    not_finite: int


class Engine:
    """Predicts masks of prompts on planes, with caches.

    Not thread-safe: only the worker thread of a session uses it. Of large
    planes only samples and windows are read.

    Parameters
    ----------
    load_model : callable
        ``load_model(name) -> Sam``.
    embeddings, planes : int
        Number of embeddings and small planes that are cached. An embedding
        of a 1024 model takes 4 MB, a plane three bytes per pixel.
    embed : callable, optional
        ``embed(model, rgb, frame) -> Embedding`` of a window in the size of
        the model's input, for instance from a cache on disk; by default the
        model is run.

    Attributes
    ----------
    on_embedded : callable
        Called with the model and the seconds that an embedding took.
    """

    def __init__(
        self,
        load_model: Callable[[str], Sam],
        embeddings: int = 64,
        planes: int = 6,
        embed: Embed | None = None,
    ) -> None:
        self._load_model = load_model
        self.on_embedded: Callable[[Sam, float], None] = _ignore
        self._embed = embed or _run_encoder
        self._models: LeastRecentlyUsed[Sam] = LeastRecentlyUsed(1)
        self._reader = PlaneReader(planes)
        # by appearance, and by place whatever the appearance
        self._embeddings: LeastRecentlyUsed[_Embedded] = LeastRecentlyUsed(
            embeddings
        )
        self._newest: LeastRecentlyUsed[_Embedded] = LeastRecentlyUsed(
            embeddings
        )

    def clear(self) -> None:
        """Drop cached planes, sizes and embeddings, but not the model."""
        self._reader.clear()
        self._embeddings.clear()
        self._newest.clear()

    def model(self, name: str) -> Sam:
        """Return the model of a name, loading it if needed."""
        return self._models.get(name, lambda: self._load_model(name))

    def rgb(self, plane: ImagePlane) -> NDArray[np.uint8]:
        """Return a plane as shown, (H, W, 3) uint8, reading all of it."""
        return self._reader.rgb(plane)

    def diameter(self, plane: ImagePlane) -> float | None:
        """Return the typical object diameter in pixels, None if unknown."""
        return self._reader.diameter(plane)

    def prepare(self, plane: ImagePlane, model: Sam) -> float | None:
        """Embed a plane ahead of its first prompt.

        Small planes are embedded as a whole, others at the centre of the
        viewport, if that is known.

        Returns
        -------
        float or None
            Typical object diameter in data pixels.
        """
        diameter = self.diameter(plane)
        likely = self._likely(plane, model)
        if likely is not None:
            self.embedding(plane, likely, model)
        return diameter

    def prepared(self, plane: ImagePlane, model: Sam) -> bool:
        """Return whether `prepare` has nothing left to do."""
        if not self._reader.knows_diameter(plane):
            return False
        likely = self._likely(plane, model)
        return likely is None or self.has_embedding(plane, likely, model)

    def _likely(self, plane: ImagePlane, model: Sam) -> Prompts | None:
        """Return prompts whose window is likely to hold the first prompt."""
        from napari_mobilesam.segmentation.windows import window_side

        if plane.viewport is not None:
            last = np.subtract(plane.shape, 1)
            row, column = np.clip(plane.viewport.center, 0, last).tolist()
            return click((row, column))
        side = window_side(plane.shape, self.diameter(plane), model.record)
        whole = side == max(plane.shape) <= plane.longest_window
        return Prompts() if whole else None

    def embedding(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Embedding:
        """Return the embedding of the window that suits the prompts."""
        _, window, model_key = slot = self._slot(plane, prompts, model)
        embedded = self._embeddings.get(
            slot, lambda: self._embedded(plane, window, model)
        )
        self._newest.put((plane.place, window, model_key), embedded)
        return embedded.embedding

    def has_embedding(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> bool:
        """Return whether the prompts need no embedding."""
        return self._slot(plane, prompts, model) in self._embeddings

    def not_finite(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> int:
        """Return the number of NaN or infinite pixels in the embedded window.

        An estimate where a coarser level was read; 0 if the window is not
        embedded.
        """
        embedded = self._embeddings.peek(self._slot(plane, prompts, model))
        return 0 if embedded is None else embedded.not_finite

    def ready(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        model: Sam,
    ) -> bool:
        """Return whether a click at a position needs decoding only.

        Reads and computes nothing, for previews that must not lag.

        Parameters
        ----------
        plane : ImagePlane
            Plane under the cursor.
        point : tuple of float
            (row, column) in data pixels.
        model : Sam
            Model that would answer.
        """
        if not self._reader.knows_diameter(plane):
            return False
        return self.has_embedding(plane, click(point), model)

    def predict(
        self,
        plane: ImagePlane,
        prompts: Prompts,
        model: Sam,
        previous: Prediction | None = None,
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
            Answer to refine: its best mask is fed back.

        Returns
        -------
        Prediction
            See `Predictor.predict_object`.

        Raises
        ------
        PromptError
            The object is too large to be written at full resolution; and as
            `Predictor.predict` does.
        """
        from napari_mobilesam.segmentation.predictor import Predictor

        embedding = self.embedding(plane, prompts, model)
        if previous is not None:
            prompts = _refining(prompts, previous, embedding.frame)
        prediction = Predictor(model).predict_object(embedding, prompts)
        _check_size(prediction, plane.name)
        return prediction

    def mask(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Mask | None:
        """Return the best mask of one object, None if it has no pixel.

        See `Predictor.predict_object`.
        """
        mask = self.predict(plane, prompts, model).mask()
        return mask if mask.data.any() else None

    def _slot(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> tuple[Hashable, Window, str]:
        """Return the cache key of the embedding for prompts."""
        return plane.key, self._window(plane, prompts, model), model.key

    def _window(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Window:
        from napari_mobilesam.segmentation.windows import window_for_prompts

        window = window_for_prompts(
            plane.shape,
            prompts,
            self.diameter(plane),
            model.record,
            plane.viewport,
            plane.longest_window,
        )
        side = max(window[2] - window[0], window[3] - window[1])
        if side > plane.longest_window:
            raise PromptError(
                f'The prompts need a window of {side} pixels of '
                f'“{plane.name}”, which has no coarser level to read that '
                'from: keep the prompts of an object together, or save the '
                'image as a pyramid.'
            )
        return window

    def _embedded(
        self, plane: ImagePlane, window: Window, model: Sam
    ) -> _Embedded:
        """Embed a window, unless it looks the same as when embedded last."""
        from napari_mobilesam.segmentation.image import resize

        frame = Frame.of(plane.shape, window, model.input_size)
        rgb, not_finite = self._reader.pixels(plane, window, frame)
        height, width = (max(1, n // PART) for n in frame.input_shape)
        picture = resize(rgb, (height, width))
        newest = self._newest.peek((plane.place, window, model.key))
        if newest is not None and _alike(picture, newest.picture):
            return newest
        start = time.perf_counter()
        embedding = self._embed(model, rgb, frame)
        self.on_embedded(model, time.perf_counter() - start)
        return _Embedded(embedding, picture, not_finite)


def _ignore(model: Sam, seconds: float) -> None:
    """Default callback: does nothing."""


def _run_encoder(
    model: Sam, rgb: NDArray[np.uint8], frame: Frame
) -> Embedding:
    from napari_mobilesam.segmentation.predictor import Predictor

    return Predictor(model).embed_rgb(rgb, frame)


def _check_size(prediction: Prediction, name: str) -> None:
    """Raise `PromptError` for masks too large to be written."""
    frame = prediction.frame
    inside = prediction.logits[prediction.best] > prediction.threshold
    scale = max(frame.window_shape) / len(inside)
    pixels = np.count_nonzero(inside) * scale**2
    if pixels > MOST_PIXELS:
        raise PromptError(
            f'What is found here on “{name}” has {pixels / 1e6:.0f} million '
            f'pixels; objects of up to {MOST_PIXELS / 1e6:.0f} million can '
            'be written. Zoom in, or draw a smaller box.'
        )


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    difference = np.abs(one.astype(np.int16) - other)
    return bool(
        difference.mean() <= SAME_MEAN and difference.max() <= SAME_PEAK
    )


def click(point: tuple[float, float]) -> Prompts:
    """Return the prompts of one positive point at (row, column)."""
    return Prompts(np.array([point], np.float64), np.ones(1, np.int64))


def _refining(prompts: Prompts, previous: Prediction, frame: Frame) -> Prompts:
    """Add the best mask of an earlier answer to prompts."""
    if previous.frame == frame:
        return replace(prompts, mask_input=previous.logits[previous.best])
    mask = previous.mask()
    return replace(prompts, region=mask) if mask.data.size else prompts
