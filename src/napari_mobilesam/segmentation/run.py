"""A run under way: windows are embedded in turn and asked in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mobilesam.segmentation.crops import Region
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.segmentation.region_worker import RegionWorker
from napari_mobilesam.types import EverythingParameters, Mask

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

Progress = Callable[[int, int, str], None]


def _ignore_progress(done: int, total: int, message: str) -> None:
    """Report to nobody."""


def _ignore_masks(masks: list[Mask]) -> None:
    """Show nobody."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """How a run talks to whoever started it.

    Attributes
    ----------
    progress : callable
        Called with prompts done, prompts in all, and a line for people.
    cancelled : callable
        Asked between batches of prompts; True ends the run, and what was
        found is returned.
    on_masks : callable
        Called with the good masks of each batch of prompts.
    """

    progress: Progress = field(default=_ignore_progress)
    cancelled: Callable[[], bool] = field(default=_never)
    on_masks: Callable[[list[Mask]], None] = field(default=_ignore_masks)

    @classmethod
    def of(
        cls,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        on_masks: Callable[[list[Mask]], None] | None = None,
    ) -> Hooks:
        """Hooks of which some are not wanted."""
        return cls(
            progress or _ignore_progress,
            cancelled or _never,
            on_masks or _ignore_masks,
        )


class Run:
    """Goes through windows and batches of prompts until it is cancelled.

    Parameters
    ----------
    model : Sam
        Model.
    rgb : ndarray
        (H, W, 3) uint8.
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
        model: Sam,
        rgb: NDArray[np.uint8],
        parameters: EverythingParameters,
        floor: Thresholds,
        hooks: Hooks,
        total: int,
    ) -> None:
        self.model = model
        self.rgb = rgb
        self.parameters = parameters
        self.floor = floor
        self.hooks = hooks
        self.total = total
        self.prompts = 0
        self.complete = True
        self._where = 'image'

    def workers(self, regions: Sequence[Region]) -> Iterator[RegionWorker]:
        """Embed one region after the other."""
        for number, region in enumerate(regions, start=1):
            if self.cancelled():
                return
            if len(regions) > 1:
                self._where = f'window {number} of {len(regions)}'
            self._tell('Embedding')
            yield RegionWorker(
                self.model, self.parameters, self.floor, region, self.rgb
            )

    def batches(
        self, prompts: NDArray[np.float64]
    ) -> Iterator[NDArray[np.float64]]:
        """Divide (N, …) prompts; each batch has to be asked before the next.

        Torch computes with as many threads as pay off meanwhile.
        """
        size = self.parameters.batch_size
        for start in range(0, len(prompts), size):
            if self.cancelled():
                return
            batch = prompts[start : start + size]
            with self.model.threads():
                yield batch
            self.prompts += len(batch)
            self._tell('Segmenting')

    def cancelled(self) -> bool:
        """Whether to stop; asked again and again."""
        if self.hooks.cancelled():
            self.complete = False
        return not self.complete

    def _tell(self, doing: str) -> None:
        done = min(self.prompts, self.total)
        self.hooks.progress(done, self.total, f'{doing} {self._where}')
