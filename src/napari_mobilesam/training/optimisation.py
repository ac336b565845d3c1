"""Optimiser, schedule, averaged weights, and gradient exchange."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

#: Parameters without weight decay besides vectors: lookup tables.
_TABLES = ('token', 'embed', 'attention_biases')


def make_optimiser(
    modules: list[nn.Module], learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """Create an AdamW optimiser for all parameters that require gradients.

    Biases, norms and lookup tables are not decayed.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            table = any(part in name for part in _TABLES)
            plain = parameter.ndim < 2 or (table and parameter.ndim == 2)
            (free if plain else decayed).append(parameter)
    return torch.optim.AdamW(
        [
            {'params': decayed, 'weight_decay': weight_decay},
            {'params': free, 'weight_decay': 0.0},
        ],
        lr=learning_rate,
        fused=True,
    )


def schedule(step: int, fraction: float, warmup: int) -> float:
    """Return the learning-rate factor: linear warm-up, then half a cosine.

    Parameters
    ----------
    step : int
        Steps done.
    fraction : float
        Used share of the budget (steps or minutes).
    warmup : int
        Number of warm-up steps.
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fraction))))
    return rise * max(fall, 0.01)


@torch.no_grad()
def update_average(
    average: dict[str, Tensor], module: nn.Module, step: int, decay: float
) -> None:
    """Move the averaged weights towards the current ones, in place."""
    weight = 1 - min(decay, (step + 1) / (step + 10))
    state = module.state_dict()
    kept, new = [], []
    for name, value in average.items():
        if value.is_floating_point():
            kept.append(value)
            new.append(state[name])
        else:
            value.copy_(state[name])
    torch._foreach_lerp_(kept, new, weight)


class Exchange:
    """Average of gradients and buffers between processes, one call per step.

    On shared CPUs, two processes with one thread each are faster than one
    process with two threads, which waits at every small operation. Without a
    process group, nothing is exchanged.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        self.size = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.modules = modules

    @torch.no_grad()
    def average(self, number: float) -> float:
        """Average gradients, buffers and one number over the processes."""
        if self.size == 1:
            return number
        shared = [
            parameter.grad
            for module in self.modules
            for parameter in module.parameters()
            if parameter.grad is not None
        ]
        shared += [
            buffer
            for module in self.modules
            for buffer in module.buffers()
            if buffer.is_floating_point()
        ]
        flat = torch.cat(
            [value.reshape(-1) for value in shared]
            + [torch.tensor([number], device=shared[0].device)]
        )
        dist.all_reduce(flat)
        flat /= self.size
        start = 0
        for value in shared:
            part = flat[start : start + value.numel()]
            value.copy_(part.view_as(value))
            start += value.numel()
        return float(flat[-1])
