"""Half precision on devices where it is faster and safe."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

# NVIDIA GPUs have units for half precision since Volta.
LEAST_CAPABILITY = (7, 0)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return the half-precision dtype for products, or None if unsuitable.

    On a CPU, half precision is slower, or rounds more than parity with the
    reference allows. float16 rounds eight times finer than bfloat16; values
    that exceed its range are computed again, see `Sam.encode`.
    """
    if device.type == 'cuda':
        capability = torch.cuda.get_device_capability(device)
        return torch.float16 if capability >= LEAST_CAPABILITY else None
    if device.type == 'mps' and autocast_is_there('mps'):
        return torch.float16
    return None


def autocast_is_there(device_type: str) -> bool:
    """Return whether torch has autocast for a type of device."""
    try:
        torch.autocast(device_type, dtype=torch.float16)
    except RuntimeError:
        return False
    return True


def products_in(
    dtype: torch.dtype | None, device: torch.device
) -> AbstractContextManager[object]:
    """Return a context in which products are computed in ``dtype``, if any.

    Softmax and normalisation stay in float32.
    """
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
