"""Commands to embed planes in advance and to keep embeddings on disk."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from psygnal import Signal

from napari_mobilesam.segmentation.embedding_cache import EmbeddingCache
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.session.session_parts import SessionParts


class EmbeddingCommands:
    """Embed planes before the first prompt, and cache embeddings.

    Attributes
    ----------
    embedding : Signal(ImagePlane, float or None)
        A plane is being embedded, which takes so many seconds.
    ready : Signal(ImagePlane)
        A plane can be clicked.
    """

    embedding = Signal(object, object)
    ready = Signal(object)

    def __init__(self, parts: SessionParts) -> None:
        self._parts = parts
        self._services = parts.services
        self._worker = parts.services.worker
        self._engine = parts.services.engine

    def prepare(
        self, plane: ImagePlane, neighbours: Sequence[ImagePlane] = ()
    ) -> None:
        """Load the model and embed a plane before the first prompt.

        Parameters
        ----------
        plane : ImagePlane
            Plane that is shown.
        neighbours : sequence of ImagePlane
            Planes likely to be shown next, most likely first. They are
            embedded when the worker is idle, followed by the rest of the
            visible part of the plane.
        """
        name = self._services.models.name
        self._worker.submit('prepare', lambda: self._prepare(plane, name))
        self._parts.prefetch.want(neighbours, plane)

    def use_cache(
        self, max_mb: int, folder: str | PathLike[str] | None = None
    ) -> None:
        """Keep embeddings on disk, so that known images open at once.

        Parameters
        ----------
        max_mb : int
            Size in megabytes; 0 turns the cache off.
        folder : path, optional
            See `EmbeddingCache`.
        """
        self._engine.blocks.cache = (
            EmbeddingCache(
                folder,
                max_mb * 2**20,
                lambda text: self._parts.models.say(text, 'prompts'),
            )
            if max_mb > 0
            else None
        )

    def clear_cache(self) -> None:
        """Delete all embeddings, including those on disk.

        Needed after the pixels of an image were changed in place, which is not
        detected.
        """
        self._worker.submit('clear', self._clear)

    # below: on the worker thread

    def _clear(self) -> None:
        self._engine.clear()
        # also entries of earlier sessions, if the cache is turned off
        (self._engine.blocks.cache or EmbeddingCache(max_bytes=0)).clear()

    def _prepare(self, plane: ImagePlane, name: str) -> None:
        model = self._services.models.load(name, 'prompts')
        if model is None:
            return
        try:
            seconds = self._engine.preparation_seconds(plane, model)
            if seconds != 0:
                self._services.deliver(
                    lambda: self.embedding.emit(plane, seconds)
                )
            done = self._engine.prepare(
                plane, model, lambda: self._worker.waits(1)
            )
        except Exception as error:  # noqa: BLE001
            self._services.models.fail(error, 'prompts')
            return
        if not done:
            # after waiting prompts, or another view
            self._worker.resume('prepare', lambda: self._prepare(plane, name))
            return
        self._services.deliver(lambda: self.ready.emit(plane))
