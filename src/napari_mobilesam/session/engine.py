"""Model and caches of a session, used by its worker thread only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.types import (
    Embedding,
    Frame,
    Mask,
    Prompts,
)

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam
    from napari_mobilesam.segmentation.predictor import Prediction

Value = TypeVar('Value')
Window = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class ImagePlane:
    """One plane of an image and how it is shown.

    Attributes
    ----------
    key : hashable
        Identity of image, plane, channels and contrast: two planes with the
        same key have the same embedding.
    read : callable
        Returns the (H, W) or (H, W, 3 | 4) array; called on the worker
        thread, so that lazy data is read there.
    shape : tuple of int
        (H, W) in data pixels.
    contrast_limits : tuple of float or None
        Values shown as black and white; None where colours are shown as
        they are.
    gamma : float
        Exponent applied between the limits.
    channels : tuple of int or None
        Channels of the last axis shown as red, green and blue; None for
        gray and RGB planes.
    name : str
        What people call it, for messages: ``'nuclei'``.
    place : hashable
        Which plane of which image it is, however it is shown; the key if
        None is given.
    geometry : object
        Where the plane lies, for those who write labels onto it; nothing
        below the widgets looks into it.
    """

    key: Hashable
    read: Callable[[], Any]
    shape: tuple[int, int]
    contrast_limits: tuple[float, float] | None = None
    gamma: float = 1.0
    channels: tuple[int, ...] | None = None
    name: str = 'image'
    place: Hashable = None
    geometry: Any = None

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, 'place', self.key)


class LeastRecentlyUsed(Generic[Value]):
    """A small dictionary that forgets what was not used for longest."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of ``key``, made by ``make`` if not known."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key]
        value = make()
        self._items[key] = value
        while len(self._items) > self._capacity:
            self._items.popitem(last=False)
        return value


class Engine:
    """From planes and prompts to masks, remembering what is expensive.

    Nothing here is safe to call from two threads: a session gives it to its
    worker thread.

    Parameters
    ----------
    load_model : callable
        ``load_model(name) -> Sam``.
    embeddings, planes : int
        How many embeddings and prepared planes are remembered. An embedding
        of a 1024 model is 4 MB, a prepared plane three bytes per pixel.
    """

    def __init__(
        self,
        load_model: Callable[[str], Sam],
        embeddings: int = 64,
        planes: int = 3,
    ) -> None:
        self._load_model = load_model
        self._models: LeastRecentlyUsed[Sam] = LeastRecentlyUsed(1)
        self._planes: LeastRecentlyUsed[NDArray[np.uint8]] = LeastRecentlyUsed(
            planes
        )
        self._diameters: LeastRecentlyUsed[float | None] = LeastRecentlyUsed(
            256
        )
        self._embeddings: LeastRecentlyUsed[Embedding] = LeastRecentlyUsed(
            embeddings
        )

    def clear(self) -> None:
        """Forget planes, sizes and embeddings, not the model."""
        for cache in (self._planes, self._diameters, self._embeddings):
            cache.clear()

    def model(self, name: str) -> Sam:
        """Return the model of that name, loading it if it is another."""
        return self._models.get(name, lambda: self._load_model(name))

    def rgb(self, plane: ImagePlane) -> NDArray[np.uint8]:
        """Return the plane as shown, (H, W, 3) uint8."""
        from napari_mobilesam.segmentation.image import as_rgb_plane

        return self._planes.get(
            plane.key,
            lambda: as_rgb_plane(
                plane.read(),
                channels=plane.channels,
                contrast_limits=plane.contrast_limits,
                gamma=plane.gamma,
            ),
        )

    def diameter(self, plane: ImagePlane) -> float | None:
        """Return the typical object diameter in pixels, None if unknown."""
        from napari_mobilesam.segmentation.diameter import estimate_diameter

        return self._diameters.get(
            plane.key, lambda: estimate_diameter(self.rgb(plane))
        )

    def prepare(self, plane: ImagePlane, model: Sam) -> float | None:
        """Do what any first prompt on a plane will need.

        The plane is embedded if it suits the model as a whole; otherwise
        the window depends on the prompt.

        Returns
        -------
        float or None
            Typical object diameter in data pixels.
        """
        from napari_mobilesam.segmentation.windows import plan_windows

        diameter = self.diameter(plane)
        if len(plan_windows(plane.shape, diameter, model.record)) == 1:
            self.embedding(plane, Prompts(), model)
        return diameter

    def embedding(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Embedding:
        """Return the embedding of the window that suits the prompts."""
        from napari_mobilesam.segmentation.predictor import Predictor

        window = self._window(plane, prompts, model)
        return self._embeddings.get(
            (plane.key, window, model.key),
            lambda: Predictor(model).embed(self.rgb(plane), window=window),
        )

    def has_embedding(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> bool:
        """Tell whether the prompts can be answered without embedding."""
        window = self._window(plane, prompts, model)
        return (plane.key, window, model.key) in self._embeddings

    def ready(
        self,
        plane: ImagePlane,
        point: tuple[float, float],
        model: Sam,
    ) -> bool:
        """Tell whether a click at a place is answered by decoding alone.

        Reads and computes nothing, for previews that must never lag.

        Parameters
        ----------
        plane : ImagePlane
            Plane that is pointed at.
        point : tuple of float
            (row, column) in data pixels.
        model : Sam
            Model that would answer.
        """
        if plane.key not in self._diameters:
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
            Where the prompts lie.
        prompts : Prompts
            Prompts of the object in data pixels.
        model : Sam
            Model that answers.
        previous : Prediction, optional
            Answer to be refined: its best mask is fed back, wherever its
            window was.

        Returns
        -------
        Prediction
            See `Predictor.predict_object`.
        """
        from napari_mobilesam.segmentation.predictor import Predictor

        embedding = self.embedding(plane, prompts, model)
        if previous is not None:
            prompts = _refining(prompts, previous, embedding.frame)
        return Predictor(model).predict_object(embedding, prompts)

    def mask(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Mask | None:
        """Return the best mask of one object, None if it has no pixel.

        See `Predictor.predict_object`.
        """
        mask = self.predict(plane, prompts, model).mask()
        return mask if mask.data.any() else None

    def _window(
        self, plane: ImagePlane, prompts: Prompts, model: Sam
    ) -> Window:
        from napari_mobilesam.segmentation.windows import window_for_prompts

        return window_for_prompts(
            plane.shape, prompts, self.diameter(plane), model.record
        )


def click(point: tuple[float, float]) -> Prompts:
    """Return the prompts of one positive point at (row, column)."""
    return Prompts(np.array([point], np.float64), np.ones(1, np.int64))


def _refining(prompts: Prompts, previous: Prediction, frame: Frame) -> Prompts:
    """Put the best mask of an earlier answer to prompts."""
    if previous.frame == frame:
        return replace(prompts, mask_input=previous.logits[previous.best])
    mask = previous.mask()
    return replace(prompts, region=mask) if mask.data.size else prompts
