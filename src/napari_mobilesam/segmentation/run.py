"""A run under way: windows are embedded and asked in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.argument_checks import (
    check_callable,
)
from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.embedding_grid import BlockKey
from napari_mobilesam.segmentation.everything_plan import blocks_of
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.types import EverythingParameters, Mask, Progress

# What regions that are asked in turns keep of their decoder blocks, in bytes.
BLOCK_BYTES = 1 << 27
# The features of a cell, and what prompts share of them in the decoder.
BYTES_PER_CELL = 4 * 4 * 256
# Regions of which what prompts share is kept at once, if it is small.
REGIONS_AT_ONCE = 64
# Prompts of different regions in one call of the model: more are no faster,
# and a run is cancelled between calls.
MOST_TOGETHER = 16

T = TypeVar('T')
W = TypeVar('W')

# Share of an image that tells how many prompts the rest will take.
LEAST_SHARE = 0.1
# Prompts in all, per prompt answered, once there are more than expected.
BEYOND_EXPECTED = 1.05


def batches(count: int, size: int) -> Iterator[slice]:
    """Divide a number of prompts into batches of few different sizes.

    The model keeps a recording of each size that it meets, up to 35 MB: what
    is left beside full batches is divided into powers of two.
    """
    start = 0
    while left := count - start:
        length = size if left >= size else 1 << (left.bit_length() - 1)
        yield slice(start, start + length)
        start += length


def _ignore(*_: object) -> None:
    """Do nothing: default of callbacks."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a run.

    Attributes
    ----------
    progress : callable
        Called with prompts done, prompts in all, and a line for people.
    cancelled : callable
        Asked between batches of prompts; True ends the run, and what was
        found is returned.
    on_masks : callable
        Called with the good masks of each batch of prompts.
    on_work : callable
        Called with prompts answered and inputs of the model embedded so far.
    """

    progress: Progress = _ignore
    cancelled: Callable[[], bool] = _never
    on_masks: Callable[[list[Mask]], None] = _ignore
    on_work: Callable[[int, int], None] = _ignore

    @classmethod
    def of(
        cls,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        on_masks: Callable[[list[Mask]], None] | None = None,
        on_work: Callable[[int, int], None] | None = None,
    ) -> Hooks:
        """Return hooks of which some may be None.

        Raises
        ------
        SegmentationError
            If one is not a function.
        """
        check_callable('progress', progress)
        check_callable('cancelled', cancelled)
        check_callable('on_masks', on_masks)
        check_callable('on_work', on_work)
        return cls(
            progress or _ignore,
            cancelled or _never,
            on_masks or _ignore,
            on_work or _ignore,
        )


class Collector:
    """Gathers the masks of a run and shows the good ones."""

    def __init__(
        self, scope: Scope, thresholds: Thresholds, hooks: Hooks
    ) -> None:
        self.scope = scope
        self.thresholds = thresholds
        self.hooks = hooks
        self.masks: list[Mask] = []
        self.cut: list[Mask] = []

    def add(
        self, proposed: Sequence[Mask], cut: Sequence[Mask] = ()
    ) -> list[Mask]:
        """Take masks; return those that the run is looking for.

        Good masks that a window cuts off are kept apart.
        """
        self.cut += self.good(cut)
        trimmed = [self.scope.trim(mask) for mask in proposed]
        masks = [mask for mask in trimmed if mask is not None]
        self.masks += masks
        good = self.good(masks)
        if good:
            self.hooks.on_masks(good)
        return good

    def good(self, masks: Sequence[Mask]) -> list[Mask]:
        """Those of some masks that reach the thresholds of the run."""
        return [
            mask
            for mask in masks
            if mask.score > self.thresholds.predicted_iou
            and mask.stability >= self.thresholds.stability
        ]


class Run:
    """Embeds windows and asks prompts until it is cancelled.

    Independent pieces are done at once where that pays; results come in the
    order in which they were asked for, and do not depend on it.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    rgb : ndarray
        (H, W, 3) uint8, what is embedded.
    parameters : EverythingParameters
        Batch size, and what `RegionWorker` needs.
    floor : Thresholds
        Below which masks are not kept.
    hooks : Hooks
        Who is told, and who may stop it.
    total : int
        Prompts expected in all.

    Attributes
    ----------
    prompts : int
        Prompts answered so far.
    complete : bool
        False once cancelled.
    """

    def __init__(
        self,
        image: ImageEmbedding,
        rgb: NDArray[np.uint8],
        parameters: EverythingParameters,
        floor: Thresholds,
        hooks: Hooks,
        total: int,
    ) -> None:
        self.image = image
        self.model = image.model
        self.rgb = rgb
        self.parameters = parameters
        self.floor = floor
        self.hooks = hooks
        self.total = total
        self.prompts = 0
        self.complete = True
        self._embedded_before = image.embedded_pixels

    def blocks(
        self, regions: Sequence[Region], most: int | None = None
    ) -> Iterator[Sequence[Region]]:
        """Divide regions so that what is shared in each can be kept."""
        cells = self.image.grid.cells**2
        size = max(1, BLOCK_BYTES // (BYTES_PER_CELL * cells))
        size = min(size, most or size)
        for start in range(0, len(regions), size):
            yield regions[start : start + size]

    def embed(
        self, regions: Sequence[Region], floor: Thresholds | None = None
    ) -> list[RegionWorker]:
        """Embed regions; of a cancelled run those that were done.

        Their workers answer above ``floor``, that of the run if None.
        """
        if not regions:
            return []
        self.embed_blocks(blocks_of(regions, self.image.grid))

        def worker(region: Region) -> RegionWorker:
            return RegionWorker(
                self.image, self.parameters, floor or self.floor, region
            )

        done: list[RegionWorker] = []
        cheap = all(region.cut is not None for region in regions)
        do = map if cheap or len(regions) == 1 else self.model.workers().map
        for made in do(worker, self._until_cancelled(regions)):
            done.append(made)
            if made.region.cut is None:
                self._tell('Embedding')
        return done

    def embed_blocks(self, keys: Sequence[BlockKey]) -> None:
        """Embed large blocks that are not, until the run is cancelled.

        Of many blocks the first may have been dropped again, and are embedded
        anew where they are needed.
        """
        missing = [key for key in keys if not self.image.knows(key)]
        if not missing:
            return
        self._tell('Embedding')
        # One alone is embedded by all threads that pay off.
        do = self.model.workers().map if len(missing) > 1 else map
        made = do(self.image.block, self._until_cancelled(missing))
        for _ in made:
            self._tell('Embedding')

    @property
    def embedded(self) -> int:
        """Pixels that this run has embedded, in inputs of the model."""
        pixels = self.image.embedded_pixels - self._embedded_before
        return -(-pixels // self.model.input_size**2)

    def ask(
        self,
        asked: Iterable[tuple[RegionWorker, NDArray[Any]]],
        how: Callable[[RegionWorker, NDArray[Any]], T],
    ) -> Iterator[tuple[NDArray[Any], T]]:
        """Yield batches of prompts with ``how(worker, prompts)``.

        Parameters
        ----------
        asked : iterable
            Workers with (N, …) prompts for each.
        how : callable
            Asks a batch, in any thread.
        """
        size = min(self.parameters.batch_size, self.model.batch_size)
        parts = (
            (worker, prompts[start : start + size])
            for worker, prompts in asked
            for start in range(0, len(prompts), size)
        )
        return self._answers(parts, how)

    def ask_together(
        self,
        workers: Sequence[RegionWorker],
        points: NDArray[np.float64],
        how: Callable[[Sequence[RegionWorker], NDArray[np.float64]], T],
    ) -> Iterator[T]:
        """Yield the answers of ``how(workers, points)``, batch by batch.

        Parameters
        ----------
        workers : sequence of RegionWorker
            Region of each point.
        points : ndarray
            (N, 2) row and column in data pixels.
        how : callable
            Asks a batch, in any thread.
        """
        size = self.parameters.batch_size
        size = min(size, self.model.batch_size, MOST_TOGETHER)
        parts = (
            (workers[part], points[part])
            for part in batches(len(points), size)
        )
        return (result for _, result in self._answers(parts, how))

    def _answers(
        self,
        parts: Iterable[tuple[W, NDArray[Any]]],
        how: Callable[[W, NDArray[Any]], T],
    ) -> Iterator[tuple[NDArray[Any], T]]:
        """Yield prompts with ``how(workers, prompts)``, and report."""

        def answer(part: tuple[W, NDArray[Any]]) -> tuple[NDArray[Any], T]:
            return part[1], how(*part)

        for prompts, result in self.model.workers().map(
            answer, self._until_cancelled(parts)
        ):
            self.prompts += len(prompts)
            yield prompts, result
            self._tell('Segmenting')

    def expect(self, prompts: int) -> None:
        """Announce how many prompts are left, once that is known."""
        self.total = max(self.total, self.prompts + prompts)

    def foresee(self, prompts: int, share: float) -> None:
        """Expect as many prompts in the rest as in the share that is done.

        Parameters
        ----------
        prompts : int
            Prompts answered in that share.
        share : float
            Above 0, up to 1.
        """
        if share >= LEAST_SHARE:
            self.total = self.prompts + round(prompts * (1 / share - 1))

    def finish(self) -> None:
        """Say that nothing more is asked, unless it was cancelled."""
        if self.complete:
            done = max(1, self.prompts)
            self.hooks.progress(done, done, 'Removing duplicates')

    def cancelled(self) -> bool:
        """Return whether to stop."""
        if self.complete and self.hooks.cancelled():
            self.complete = False
        return not self.complete

    def _until_cancelled(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self.cancelled():
                return
            yield item

    def _tell(self, doing: str) -> None:
        total = self.total
        if self.prompts > total:
            # More was asked than expected: the end is near, but not here.
            total = math.ceil(self.prompts * BEYOND_EXPECTED)
        self.hooks.on_work(self.prompts, self.embedded)
        self.hooks.progress(self.prompts, total, doing)
