"""Batch size for prompts, and recovery when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

# Image tokens decoded at once on a CPU: more do not fit into its caches. On
# two cores, prompts of a 1024 pixel input took 8 ms each in batches of 1 to 4,
# and 16 ms in batches of 16.
CPU_TOKENS = 4 * 64**2
# Maximum image tokens on a GPU; more are no faster.
GPU_TOKENS = 64 * 64**2
# Peak memory of a batch per image token: two images of 256 channels, their
# logits and, for masks, 16 pixels of 32 channels with intermediate results.
BYTES_PER_TOKEN = 12_000
# Part of the free memory is left for other programs and fragmentation.
SHARE_OF_FREE = 0.5

T = TypeVar('T')


def batch_size(device: torch.device, image_tokens: int) -> int:
    """Return the number of prompts to decode at once."""
    if device.type == 'cpu':
        tokens: float = CPU_TOKENS
    else:
        bytes_free = free_memory(device)
        tokens = min(GPU_TOKENS, SHARE_OF_FREE * bytes_free / BYTES_PER_TOKEN)
    return max(1, int(tokens / image_tokens))


def free_memory(device: torch.device) -> int:
    """Return the bytes that torch can still allocate on a GPU."""
    if device.type == 'mps':
        return int(
            torch.mps.recommended_max_memory()
            - torch.mps.driver_allocated_memory()
        )
    free, _ = torch.cuda.mem_get_info(device)
    # torch caches freed memory and reuses it first.
    idle = torch.cuda.memory_reserved(device)
    idle -= torch.cuda.memory_allocated(device)
    return int(free + idle)


def in_batches(
    work: Callable[[slice], T], count: int, size: int
) -> Iterator[T]:
    """Run ``work`` on slices of 0 … count, halved when memory runs out.

    Parameters
    ----------
    work : callable
        Called with one slice after the other, and again with a smaller one if
        memory runs out.
    count, size : int
        Number of prompts, and how many to decode at once.

    Raises
    ------
    RuntimeError
        From torch, if memory does not suffice for a slice of one.
    """
    start = 0
    while start < count:
        part = slice(start, min(start + size, count))
        try:
            result = work(part)
        except RuntimeError as error:
            if size == 1 or not ran_out_of_memory(error):
                raise
            size = max(1, (part.stop - start) // 2)
        else:
            yield result
            start = part.stop
            continue
        # Outside of the handler, as frames of the error keep the batch alive.
        release_memory()


def ran_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of torch means that memory ran out."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # MPS ("MPS backend out of memory") and CPU.
    message = str(error).lower()
    return 'out of memory' in message or "can't allocate memory" in message


def release_memory() -> None:
    """Release GPU memory cached by torch."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
