"""Models by reference: workers receive a name, never the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeGuard

from napari_mobilesam.argument_checks import check_model
from napari_mobilesam.large.io.image_identity import file_state

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

ModelLoader = Callable[[], 'Sam']

# Threads of a worker that start together must not each load the model.
_loading = Lock()


@dataclass(frozen=True)
class NamedModel:
    """Model by name or path, loaded once per process.

    Attributes
    ----------
    name : str
        Name in the registry or path of a checkpoint.
    device : str
        As in `napari_mobilesam.load_model`.
    state : str
        State of the file; a replaced file is loaded again.
    """

    name: str
    device: str = 'auto'
    state: str = ''

    def __call__(self) -> Sam:
        with _loading:
            return _load(self)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Model of this process, for workers that are its threads."""

    model: Sam

    def __call__(self) -> Sam:
        return self.model


@lru_cache(maxsize=1)
def _load(named: NamedModel) -> Sam:
    from napari_mobilesam.model.checkpoints import load_model

    return load_model(named.name, device=named.device)


def model_loader(
    model: Sam | ModelLoader | str | Path | None, device: str = 'auto'
) -> ModelLoader:
    """Return a loader for a model given as name, path, model or callable.

    Parameters
    ----------
    model : Sam, callable, str, Path or None
        A model, a picklable callable that returns one, a name or a path; None
        for the default.
    device : str
        Device of a named model.
    """
    if model is None or isinstance(model, str | Path):
        from napari_mobilesam.model.checkpoints import choose_device
        from napari_mobilesam.model.registry import (
            cached_path,
            default_model_name,
            is_path,
        )

        choose_device(device)
        name = str(model or default_model_name())
        path = Path(name) if is_path(name) else cached_path(name)
        state = file_state(path) if path and path.is_file() else ''
        return NamedModel(name, device, state)
    if _is_model(model):
        return LoadedModel(model)
    if not callable(model) or hasattr(model, 'state_dict'):
        check_model(model)
    return model


def _is_model(model: Sam | ModelLoader) -> TypeGuard[Sam]:
    # A class that makes models has the attributes of its instances, too.
    return hasattr(model, 'record') and not isinstance(model, type)
