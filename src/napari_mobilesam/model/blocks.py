"""Layers shared by the encoders and the decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def gelu_(x: Tensor) -> Tensor:
    """Apply GELU in place, which saves the memory of a copy."""
    return torch.ops.aten.gelu_(x)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear layer and GELU: (..., C) to (..., D), no gradients."""
    return gelu_(functional.linear(x, weight, bias))


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a (B, C, H, W) tensor."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the channels of each pixel."""
        return self.normalise(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise a channels-last tensor (..., C)."""
        return functional.layer_norm(
            x, self.weight.shape, self.weight, self.bias, self.eps
        )


class MLP(nn.Module):
    """Fully connected layers with ReLU between them."""

    def __init__(
        self, channels: int, hidden: int, out_channels: int, depth: int
    ) -> None:
        super().__init__()
        widths = [channels, *[hidden] * (depth - 1), out_channels]
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out)
            for n_in, n_out in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to (..., out_channels)."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


class MLPBlock(nn.Module):
    """The two linear layers of a transformer block."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., C)."""
        return self.lin2(self.activation(self.lin1(x)))


def neck(channels: int, out_channels: int) -> nn.Sequential:
    """Return the neck of an encoder (Segment Anything, appendix A)."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(
            out_channels, out_channels, kernel_size=3, padding=1, bias=False
        ),
        LayerNorm2d(out_channels),
    )


def partition_windows(x: Tensor, window: int) -> Tensor:
    """Split (B, H, W, C), zero-padded, into (B * n, window * window, C)."""
    batch, height, width, channels = x.shape
    pad_bottom, pad_right = -height % window, -width % window
    if pad_bottom or pad_right:
        x = functional.pad(x, (0, 0, 0, pad_right, 0, pad_bottom))
    rows = (height + pad_bottom) // window
    columns = (width + pad_right) // window
    x = x.view(batch, rows, window, columns, window, channels)
    return x.transpose(2, 3).reshape(-1, window * window, channels)


def merge_windows(x: Tensor, window: int, shape: tuple[int, int]) -> Tensor:
    """Undo `partition_windows` for an image of (H, W) = ``shape``."""
    height, width = shape
    rows, columns = -(-height // window), -(-width // window)
    x = x.view(-1, rows, columns, window, window, x.shape[-1])
    x = x.transpose(2, 3).reshape(
        x.shape[0], rows * window, columns * window, x.shape[-1]
    )
    return x[:, :height, :width]
