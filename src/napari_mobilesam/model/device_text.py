"""Description of the device of a model."""

from __future__ import annotations

import torch

from napari_mobilesam.text import counted

NO_GPU_BUILD = 'this build of torch has no GPU support'


def describe_device(device: torch.device, threads: int) -> str:
    """Return the name of a device, with the threads of a CPU.

    Parameters
    ----------
    device : torch.device
        Device of a model.
    threads : int
        CPU threads that torch may use.
    """
    if device.type == 'cuda':
        return f'{torch.cuda.get_device_name(device)} ({device.type})'
    if device.type == 'mps':
        return 'Apple GPU (mps)'
    return f'CPU, {counted(threads, "thread")}'


def why_no_gpu() -> str:
    """Return why torch has no GPU; empty if it has one."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return ''
    if not (torch.backends.cuda.is_built() or torch.backends.mps.is_built()):
        return NO_GPU_BUILD
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        # such as: no driver, driver too old, no GPU
        reason = str(error).split('.')[0].strip()
        return reason[:1].lower() + reason[1:]
    return 'torch finds no GPU'
