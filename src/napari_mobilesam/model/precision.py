"""Half precision, on devices where it is faster and safe."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

# Of NVIDIA's GPUs those since Volta have units for half precision.
LEAST_CAPABILITY = (7, 0)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Dtype of products in half precision; None where it is slower.

    On a CPU they are slower, or save time at the cost of more rounding than
    the parity with the reference allows. float16 rounds eight times finer
    than bfloat16; what exceeds its range is computed again, see `Sam.encode`.
    """
    if device.type == 'cuda':
        capability = torch.cuda.get_device_capability(device)
        return torch.float16 if capability >= LEAST_CAPABILITY else None
    if device.type == 'mps' and autocast_is_there('mps'):
        return torch.float16
    return None


def autocast_is_there(device_type: str) -> bool:
    """True if torch has autocast for a type of device."""
    try:
        torch.autocast(device_type, dtype=torch.float16)
    except RuntimeError:
        return False
    return True


def products_in(
    dtype: torch.dtype | None, device: torch.device
) -> AbstractContextManager[object]:
    """Context in which products are taken in ``dtype``, if any.

    Softmax and normalisation stay in float32.
    """
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
