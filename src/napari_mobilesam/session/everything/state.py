"""What there is of a run of segment everything at any moment."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
)
from napari_mobilesam.session.everything.sorting import Sorter
from napari_mobilesam.types import Mask, ModelRecord

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.candidates import Candidates
    from napari_mobilesam.segmentation.parameters import Thresholds


@dataclass(eq=False)
class EverythingRun:
    """A run: under way, or settled once nothing more is added to it."""

    request: EverythingRequest
    sorter: Sorter
    record: ModelRecord | None = None
    floor: Thresholds | None = None
    planes: list[Candidates] = field(default_factory=list)
    # the plane that is worked on, and its good masks so far
    current: Candidates | None = None
    fresh: list[Mask] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    settled: bool = False
    problem: str = ''

    def begin(self, template: Candidates) -> None:
        """Start with the next plane."""
        with self.lock:
            self.current, self.fresh = template, []

    def end(self, candidates: Candidates) -> None:
        """Keep all that was found on the plane."""
        with self.lock:
            if not self.settled:
                self.planes.append(candidates)
                self.current = None

    def settle(self) -> bool:
        """Add nothing more; False if that was so before."""
        with self.lock:
            if self.settled:
                return False
            self.settled = True
            self.seconds = time.perf_counter() - self.started
            if self.current is not None:
                self.planes.append(
                    replace(self.current, masks=tuple(self.fresh))
                )
            return True
