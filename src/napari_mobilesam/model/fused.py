"""A linear layer with its activation, in one pass over memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU of a linear layer: (..., C) to (..., D), without gradients."""
    y = functional.linear(x, weight, bias)
    return torch.ops.aten.gelu_(y)
