"""State of a run of segment everything."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_mobilesam.session.everything.everything_messages import (
    EverythingRequest,
)
from napari_mobilesam.session.everything.object_selector import ObjectSelector
from napari_mobilesam.session.runtime.latest_run import BackgroundRun
from napari_mobilesam.types import Mask, ModelRecord

if TYPE_CHECKING:
    from napari_mobilesam.segmentation.box_detectors import BoxDetector
    from napari_mobilesam.segmentation.candidates import Candidates
    from napari_mobilesam.segmentation.parameters import Thresholds
    from napari_mobilesam.segmentation.similar import Examples


@dataclass(eq=False)
class EverythingRun(BackgroundRun):
    """A run, in progress or settled (when no more masks are added)."""

    request: EverythingRequest
    selector: ObjectSelector
    record: ModelRecord | None = None
    floor: Thresholds | None = None
    examples: Examples | None = None
    detector: BoxDetector | None = None
    planes: list[Candidates] = field(default_factory=list)
    # the current plane, and its masks so far
    current: Candidates | None = None
    fresh: list[Mask] = field(default_factory=list)
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
        """Add the candidates of the finished plane."""
        with self.lock:
            if not self.settled:
                self.planes.append(candidates)
                self.current = None

    def settle(self) -> bool:
        """Settle the run; return False if it was already settled."""
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
