"""What the parts of a session use of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_mobilesam.session.images.engine import Engine
from napari_mobilesam.session.runtime.worker import LatestWorker
from napari_mobilesam.types import Deliver

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam


@dataclass(frozen=True)
class Services:
    """What a part uses of the session that it belongs to.

    Attributes
    ----------
    worker : LatestWorker
        Thread that everything is computed on.
    engine : Engine
        Models and planes; to be used on that thread only.
    load : callable
        ``load(name, whom)`` returns the model, or None after it has told
        why there is none.
    loaded : callable
        Returns the chosen model if it is loaded, else None.
    deliver : callable
        Runs a function on the thread that owns the viewer.
    fail : callable
        ``fail(error, whom)`` tells what went wrong.
    """

    worker: LatestWorker
    engine: Engine
    load: Callable[[str, str], Sam | None]
    loaded: Callable[[], Sam | None]
    deliver: Deliver
    fail: Callable[[BaseException, str], None]
