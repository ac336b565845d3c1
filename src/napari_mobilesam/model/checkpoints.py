"""Load and save checkpoints, with strict checks and without running code."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from napari_mobilesam.argument_checks import (
    quoted,
)
from napari_mobilesam.files import atomic_path
from napari_mobilesam.model.image_encoder_vit import PATCH_SIZE, VIT_CONFIGS
from napari_mobilesam.model.instance_head import PREFIX
from napari_mobilesam.model.record_text import input_size, record_to_json
from napari_mobilesam.model.registry import (
    METADATA_KEY,
    cached_path,
    check_file,
    default_model_name,
    download_model,
    find_record,
    is_path,
    read_record,
    registry,
    verify,
)
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.model.state_dicts import check_weights, read_state_dict
from napari_mobilesam.schema import SchemaError
from napari_mobilesam.types import (
    Architecture,
    CheckpointError,
    ModelRecord,
    Progress,
    SegmentationError,
)

Device = Literal['auto', 'cpu', 'cuda', 'mps']


def load_model(
    name_or_path: str | Path | None = None,
    device: Device | str | torch.device = 'auto',
    progress: Progress | None = None,
) -> Sam:
    """Load a model for inference.

    Parameters
    ----------
    name_or_path : str or Path, optional
        A name from `list_models`, downloaded if needed, or the path of a
        checkpoint (``.safetensors``, or any suffix for torch's format).
        By default, the official model if it is cached and not damaged, else
        the bundled one.
    device : str or torch.device
        ``'auto'`` chooses the first available of CUDA, MPS and CPU.
    progress : callable, optional
        Called as ``progress(done_bytes, total_bytes, message)`` while
        downloading.

    Returns
    -------
    Sam
        The model in inference mode, with its metadata in ``record``.

    Raises
    ------
    CheckpointError
        If the name is unknown, the download fails, or the file is missing,
        damaged, has a wrong hash or is not a SAM checkpoint; the message names
        the first keys that differ.
    ValueError
        If this machine does not have the device.
    """
    torch_device = choose_device(device)
    if name_or_path is None:
        name_or_path = default_model_name()
    if not isinstance(name_or_path, str | Path):
        raise CheckpointError(
            f'name_or_path is {quoted(name_or_path)}; give the name of a '
            'model, or the path of a checkpoint file'
        )
    if '://' in str(name_or_path):
        raise CheckpointError(
            f'{quoted(name_or_path)} is a URL: download the checkpoint and '
            'give the path of the file'
        )
    if is_path(name_or_path):
        sam = load_checkpoint(Path(name_or_path))
    else:
        sam = _load_by_name(str(name_or_path), progress)
    return sam.to(torch_device).eval().requires_grad_(False)


def available_devices() -> list[str]:
    """Return the kinds of devices of this computer, the fastest first."""
    there = {
        'cuda': torch.cuda.is_available(),
        'mps': torch.backends.mps.is_available(),
        'cpu': True,
    }
    return [kind for kind, is_there in there.items() if is_there]


def choose_device(device: Device | str | torch.device) -> torch.device:
    """Resolve ``'auto'`` and refuse devices that are not available.

    Raises
    ------
    SegmentationError
        If the device is unknown or not available.
    """
    if not isinstance(device, str | torch.device):
        raise SegmentationError(
            f'device is {quoted(device)}; choose auto, cpu, cuda or mps'
        )
    available = available_devices()
    if device == 'auto':
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SegmentationError(
            f'unknown device {str(device)!r}; choose auto, cpu, cuda or mps'
        ) from error
    if chosen.type not in available:
        raise SegmentationError(
            f'device {str(device)!r} is not available here; choose auto or '
            f'one of: {", ".join(available)}'
        )
    return chosen


def load_checkpoint(path: Path, record: ModelRecord | None = None) -> Sam:
    """Load a checkpoint file into a model on the CPU, in training mode.

    Parameters
    ----------
    path : Path
        State dict of SAM or MobileSAM, plain or wrapped, in torch's format
        (loaded with ``weights_only``) or safetensors.
    record : ModelRecord, optional
        Metadata of the file; by default the record in its header, or else
        derived from its tensors.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not a SAM checkpoint.
    """
    check_file(path)
    state = read_state_dict(path)
    if record is None:
        record = _record_of(path, state)
    has_head = any(key.startswith(PREFIX) for key in state)
    with _NoInitialization():
        sam = build_sam(record=replace(record, instance_head=has_head))
    check_weights(path, state, sam)
    sam.load_state_dict(
        {
            key: value.float() if value.is_floating_point() else value
            for key, value in state.items()
        }
    )
    return sam


def save_checkpoint(sam: Sam, path: Path, record: ModelRecord) -> None:
    """Write a checkpoint with its record, atomically.

    Matrices are stored as float16, vectors and positional frequencies as
    float32: 20 MB for MobileSAM.

    Raises
    ------
    OSError
        If the file cannot be written; an earlier file is kept.
    """
    record = replace(record, instance_head=sam.instance_head is not None)
    state = {
        key: value.detach()
        .to('cpu', _storage_dtype(key, value))
        .contiguous()
        .clone()
        for key, value in sam.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.touch()  # safetensors would make the file private
        mode = temporary.stat().st_mode
        try:
            save_file(state, temporary, {METADATA_KEY: record_to_json(record)})
        except SafetensorError as error:  # safetensors' own I/O errors
            full = 'No space left' in str(error)
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, str(error), str(path)) from error
        temporary.chmod(mode)


class _NoInitialization(TorchFunctionMode):
    """Skips the random initialisation of models that are built.

    It takes a third of the loading time, and every weight is read from the
    file anyway.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, '__module__', None) == torch.nn.init.__name__:
            return kwargs['tensor'] if 'tensor' in kwargs else args[0]
        return func(*args, **kwargs)


def _storage_dtype(key: str, value: Tensor) -> torch.dtype:
    if value.ndim < 2 or 'positional_encoding' in key:
        return value.dtype
    return torch.float16


def _load_by_name(name: str, progress: Progress | None) -> Sam:
    path = cached_path(name)
    if path is None:
        path = download_model(name, progress)
    elif not verify(path, name):
        raise CheckpointError(
            f'{path} does not have the hash of {name} '
            f'({registry()[name].hash}); delete it to download it again, or '
            'load it by its path if it is meant to differ'
        )
    record = registry().get(name) or replace(read_record(path), name=name)
    return load_checkpoint(path, record)


def _record_of(path: Path, state: Mapping[str, Tensor]) -> ModelRecord:
    """Return the record in the header of a file, or derive it from tensors."""
    if path.suffix == '.safetensors':
        record = find_record(path)
        if record is not None:
            return replace(record, name=path.stem)
    positions = state.get('image_encoder.pos_embed')
    if positions is None or positions.ndim != 4:
        return ModelRecord(path.stem, purpose=f'own file {path}')
    try:
        size = input_size(positions.shape[1] * PATCH_SIZE)
    except SchemaError as error:
        raise CheckpointError(
            f'{path} is not a SAM checkpoint: {error}, according to the shape '
            f'{tuple(positions.shape)} of image_encoder.pos_embed'
        ) from error
    architecture: Architecture = 'vit_t'
    for name, config in VIT_CONFIGS.items():
        if config.channels == positions.shape[-1]:
            architecture = name
    return ModelRecord(
        path.stem, architecture, size, purpose=f'own file {path}'
    )
