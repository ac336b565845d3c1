"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from dividing_cells import dividing_cells as dividing_cells
from hypothesis import settings

if TYPE_CHECKING:
    from napari_mobilesam.model.sam import Sam

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(
    os.environ.get('NAPARI_MOBILESAM_SHARED', ROOT.parent / 'shared')
)

# No deadline: how long an example takes says more of the machine than of us.
settings.register_profile('here', deadline=None, max_examples=40)
settings.load_profile('here')


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests, and leave what that makes out of garbage collection.

    It is millions of objects and little garbage: not looked through, neither
    while they are made nor during the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)


def load_script(path: Path) -> ModuleType:
    """Import a script that is part of no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # for the modules beside it
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope='session')
def isolated_folders(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Keep the tests out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ('CACHE', 'CONFIG', 'MODELS', 'SESSIONS'):
            if f'NAPARI_MOBILESAM_{name}' not in os.environ:
                folder = tmp_path_factory.mktemp(name.lower())
                patch.setenv(f'NAPARI_MOBILESAM_{name}', str(folder))
        yield


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder of data and reference outputs that lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f'needs {SHARED}, which is not beside the checkout')
    return SHARED


@pytest.fixture(scope='session')
def golden() -> dict[str, Any]:
    """Outputs of the reference implementation; see tests/reference."""
    with np.load(ROOT / 'tests' / 'reference' / 'golden.npz') as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope='session')
def golden_model() -> Sam:
    """Model with the weights that the golden outputs were computed with."""
    from reference.weights import make_state_dict

    from napari_mobilesam.model.sam import build_sam

    model = build_sam('vit_t', input_size=1024)
    manifest = ROOT / 'tests' / 'reference' / 'state_dict_manifest.json'
    model.load_state_dict(make_state_dict(manifest), strict=True)
    return model.eval()
