"""A run in progress: windows are embedded and prompted in batches."""

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
from napari_mobilesam.segmentation.embedding_grid import BlockKey
from napari_mobilesam.segmentation.everything_plan import blocks_of
from napari_mobilesam.segmentation.image_embedding import ImageEmbedding
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region import Region
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.segmentation.scope import Scope
from napari_mobilesam.types import EverythingParameters, Mask, Progress

# Bytes that a group of embedded regions may keep.
GROUP_BYTES = 1 << 27
# Bytes of a cell of a region: its features, and what prompts share of them in
# the decoder.
BYTES_PER_CELL = 4 * 4 * 256
# Number of regions whose shared decoder part is kept at once, if it is small.
REGIONS_AT_ONCE = 64
# Prompts of different regions per model call: more are no faster, and a run
# can only be cancelled between calls.
MOST_TOGETHER = 16

T = TypeVar('T')
W = TypeVar('W')

# Share of an image after which the number of remaining prompts is
# extrapolated.
LEAST_SHARE = 0.1
# Total prompts per prompt answered, once there are more than expected.
BEYOND_EXPECTED = 1.05


def batches(count: int, size: int) -> Iterator[slice]:
    """Divide a number of prompts into batches of few different sizes.

    The model keeps a recording of up to 35 MB for each batch size. The
    remainder after full batches is therefore divided into powers of two.
    """
    start = 0
    while left := count - start:
        length = size if left >= size else 1 << (left.bit_length() - 1)
        yield slice(start, start + length)
        start += length


def _ignore(*_: object) -> None:
    """Do nothing; default for callbacks."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a run.

    Attributes
    ----------
    progress : callable
        Called with prompts done, total prompts, and a readable message.
    cancelled : callable
        Called between batches of prompts; if True, the run ends and returns
        the masks found so far.
    on_masks : callable
        Called with the good masks of each batch of prompts.
    on_work : callable
        Called with prompts answered and model inputs embedded so far.
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
        """Return hooks, some of which may be given as None.

        Raises
        ------
        SegmentationError
            If one is not callable.
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
    """Collect the masks of a run, and show the good ones."""

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
        """Add masks; return those that the run is looking for.

        Good masks that a window cuts off are kept separately.
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
        """Return the masks that reach the thresholds of the run."""
        return [
            mask
            for mask in masks
            if mask.score > self.thresholds.predicted_iou
            and mask.stability >= self.thresholds.stability
        ]


class Run:
    """Embed windows and prompt them until done or cancelled.

    Independent pieces run in parallel where that pays off. Results come in the
    order of the requests and do not depend on parallelism.

    Parameters
    ----------
    image : ImageEmbedding
        Embedding of the image.
    rgb : ndarray
        (H, W, 3) uint8, the embedded image.
    parameters : EverythingParameters
        Batch size and parameters of `RegionWorker`.
    floor : Thresholds
        Thresholds below which masks are not kept.
    hooks : Hooks
        Callbacks.
    total : int
        Total prompts expected.

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

    def groups(
        self, regions: Sequence[Region], most: int | None = None
    ) -> Iterator[Sequence[Region]]:
        """Divide regions into groups that can be kept embedded together.

        Parameters
        ----------
        regions : sequence of Region
            Regions in the order in which they are to be prompted.
        most : int, optional
            Maximum number of regions in a group; by default only memory
            limits it.

        Yields
        ------
        sequence of Region
            Consecutive regions.
        """
        cells = self.image.grid.cells**2
        size = max(1, GROUP_BYTES // (BYTES_PER_CELL * cells))
        size = min(size, most or size)
        for start in range(0, len(regions), size):
            yield regions[start : start + size]

    def embed(
        self, regions: Sequence[Region], floor: Thresholds | None = None
    ) -> list[RegionWorker]:
        """Embed regions; only those done so far if cancelled.

        Their workers answer above ``floor``, by default that of the run.
        """
        if not regions:
            return []
        self.embed_blocks(blocks_of(regions, self.image.grid))

        def worker(region: Region) -> RegionWorker:
            return RegionWorker(
                self.image, self.parameters, floor or self.floor, region
            )

        done: list[RegionWorker] = []
        cheap = all(region.decoder_block is not None for region in regions)
        do = map if cheap or len(regions) == 1 else self.model.workers().map
        for made in do(worker, self._until_cancelled(regions)):
            done.append(made)
            if made.region.decoder_block is None:
                self._tell('Embedding')
        return done

    def embed_blocks(self, keys: Sequence[BlockKey]) -> None:
        """Embed missing large blocks, until the run is cancelled.

        With many blocks, the first may be dropped again; they are embedded
        anew when needed.
        """
        missing = [key for key in keys if not self.image.knows(key)]
        if not missing:
            return
        self._tell('Embedding')
        # A single block is embedded by all threads that pay off.
        do = self.model.workers().map if len(missing) > 1 else map
        made = do(self.image.block, self._until_cancelled(missing))
        for _ in made:
            self._tell('Embedding')

    @property
    def embedded(self) -> int:
        """Pixels embedded by this run, in model inputs."""
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
        """Announce the number of prompts left, once known."""
        self.total = max(self.total, self.prompts + prompts)

    def foresee(self, prompts: int, share: float) -> None:
        """Extrapolate the number of prompts from the share that is done.

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
        """Report completion, unless the run was cancelled."""
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
            # More prompts than expected: the end is near, but not here.
            total = math.ceil(self.prompts * BEYOND_EXPECTED)
        self.hooks.on_work(self.prompts, self.embedded)
        self.hooks.progress(self.prompts, total, doing)
