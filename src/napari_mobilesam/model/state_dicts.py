"""Read state dicts from files without running code, and check them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import (
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.types import CheckpointError

# Keys under which training programs store the state dict of SAM.
_WRAPPERS = ('model_state', 'model_state_dict', 'state_dict', 'model')
_PREFIXES = ('module.', 'sam.', 'model.')
# Parts of names of weights added by parameter-efficient fine-tuning, from
# micro-sam (LoRA, FacT) and peft.
_ADDED = ('.w_a_linear_', '.w_b_linear_', '.FacT', '_FacTs', 'peft_', 'lora_')
# First bytes of torch files: a zip archive or a pickle.
_SIGNATURES = (b'PK', b'\x80')


class _Dropped:
    """Replaces objects stored with the weights, such as NumPy scalars."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# Harmless objects that training codes store with the weights. Their own
# constructors are not called.
_DROPPED: list[Any] = [
    (_Dropped, name)
    for name in (
        'argparse.Namespace',
        'numpy.core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy._core.multiarray._reconstruct',
        'numpy._core.multiarray.scalar',
        'numpy.dtype',
        'numpy.ndarray',
        'pathlib.PosixPath',
        'pathlib.WindowsPath',
        # as Python 3.13 names them
        'pathlib._local.PosixPath',
        'pathlib._local.WindowsPath',
    )
]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a SAM checkpoint, plain or wrapped.

    Parameters
    ----------
    path : Path
        File in safetensors or torch format. No code in it is run.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint, is damaged, or has no state dict.
    """
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        with safe_globals(_DROPPED):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises errors of any type
        raise CheckpointError(
            f'{path} cannot be read as a checkpoint: {_reason(path, error)}'
        ) from error
    return _unwrap(path, content)


def check_weights(path: Path, state: Mapping[str, Tensor], sam: Sam) -> None:
    """Check that weights have the names, shapes and types of a model.

    Raises
    ------
    CheckpointError
        If they do not match the model; the message names the first keys.
    """
    _check_added(path, state)
    _check_keys(path, state, sam)
    _check_types(path, state, sam)
    # a sum is finite only if all terms are
    broken = [
        key
        for key, value in state.items()
        if not torch.isfinite(value.sum(dtype=torch.float64))
    ]
    if broken:
        raise CheckpointError(
            f'{path} holds NaN or infinite weights in {len(broken)} tensors, '
            f'first {broken[0]}; it is damaged or its training failed'
        )


def _reason(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, and what to do."""
    first_line = (str(error).splitlines() or [''])[0][:200]
    if path.suffix == '.safetensors':
        return (
            f'it is not a safetensors file, damaged or truncated '
            f'({first_line}). Download or export it again.'
        )
    with path.open('rb') as file:
        start = file.read(2)
    if not start.startswith(_SIGNATURES):
        return (
            'it is not in torch format. Choose a file with weights '
            '(.pt, .pth or .safetensors).'
        )
    try:
        foreign = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - the file is damaged
        foreign = []
    dropped = {name for _, name in _DROPPED}
    foreign = [name for name in foreign if name not in dropped]
    if foreign:
        return (
            f'it holds more than weights ({", ".join(foreign[:3])}), and '
            'reading that could run code. Save only the weights: '
            'torch.save(model.state_dict(), path).'
        )
    return 'it is damaged or truncated. Download or export it again.'


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(
            content.get(wrapper), Mapping
        ):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f'{path} holds a {type(content).__name__}, not the state dict of '
            'a SAM model'
        )
    state = {
        str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)
    }
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {k[len(prefix) :]: v for k, v in state.items()}
    return state


def _check_added(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise an error for weights of parameter-efficient fine-tuning."""
    added = [key for key in state if any(part in key for part in _ADDED)]
    if added:
        raise CheckpointError(
            f'{path} was fine-tuned with LoRA or another parameter-efficient '
            f'method (PEFT): it has {len(added)} weights, such as '
            f'{added[0]}, that are not part of SAM. Merge them into the model '
            'with the program that made the file, and save all weights.'
        )


def _check_keys(path: Path, state: Mapping[str, Tensor], sam: Sam) -> None:
    expected = sam.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    reshaped = [
        f'{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}'
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    problems = [
        f'{len(keys)} {kind}, first {", ".join(keys[:3])}'
        for kind, keys in (
            ('missing', missing),
            ('unexpected', unexpected),
            ('with another shape', reshaped),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(
            f'{path} is not a checkpoint for {sam.record.architecture} '
            f'({sam.record.name}): of {len(expected)} tensors, '
            f'{"; ".join(problems)}'
        )


def _check_types(path: Path, state: Mapping[str, Tensor], sam: Sam) -> None:
    kinds = {key: _kind(value) for key, value in state.items()}
    wrong = [
        f'{key} is {kinds[key]} instead of {_kind(value)}'
        for key, value in sam.state_dict().items()
        if kinds[key] != _kind(value)
    ]
    if wrong:
        raise CheckpointError(
            f'{path} has no usable weights: of {len(state)} tensors, '
            f'{len(wrong)} have another type, first {wrong[0]}'
        )


def _kind(value: Tensor) -> str:
    """Return a short description of the kind of a tensor."""
    if value.is_meta:
        return 'without values'
    if value.layout != torch.strided:
        return 'sparse'
    if value.is_quantized:
        return 'quantised'
    if value.is_floating_point():
        return 'floating point'
    if value.dtype == torch.bool or value.is_complex():
        return str(value.dtype).removeprefix('torch.')
    return 'integer'
