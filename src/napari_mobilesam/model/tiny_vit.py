"""TinyViT image encoder of MobileSAM (Zhang et al. 2023; Wu et al. 2022).

Feature maps are (B, C, H, W) in the convolutional stage and (B, H, W, C) in
the transformer stages. In channels-last memory format, both have the same
layout, so that conversion needs no copy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.blocks import (
    merge_windows,
    neck,
    partition_windows,
)

EMBED_DIMS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
NUM_HEADS = (2, 4, 5, 10)
WINDOW_SIZES = (7, 7, 14, 7)
MLP_RATIO = 4
# In MobileSAM, the last stage keeps the resolution of the third, so that the
# embedding has a stride of 16 pixels, like SAM's ViT.
DOWNSAMPLING_STRIDES = (2, 2, 1)


class ConvBN(nn.Module):
    """Convolution and batch normalisation, folded in inference."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise (B, C, H, W)."""
        if self.training:
            return self.bn(self.c(x))
        # Folding at each call costs a thousandth of the convolution and is
        # never stale after loading or training.
        return functional.conv2d(
            x,
            *self.folded(),
            self.c.stride,
            self.c.padding,
            self.c.dilation,
            self.c.groups,
        )

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the folded convolution for inference."""
        scale = self.bn.weight * torch.rsqrt(
            self.bn.get_buffer('running_var') + self.bn.eps
        )
        return (
            self.c.weight * scale[:, None, None, None],
            self.bn.bias - self.bn.get_buffer('running_mean') * scale,
        )


class ConvPatchEmbed(nn.Module):
    """Two strided convolutions: (B, 3, S, S) to (B, C, S/4, S/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvBN(3, channels // 2, 3, 2, 1),
            nn.GELU(),
            ConvBN(channels // 2, channels, 3, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed patches of four pixels."""
        return self.seq(x)


class MBConv(nn.Module):
    """Inverted residual block of the first, convolutional stage."""

    def __init__(self, channels: int, expand_ratio: int = 4) -> None:
        super().__init__()
        hidden = channels * expand_ratio
        self.conv1 = ConvBN(channels, hidden)
        self.conv2 = ConvBN(hidden, hidden, 3, 1, 1, groups=hidden)
        self.conv3 = ConvBN(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        hidden = functional.gelu(self.conv1(x))
        hidden = functional.gelu(self.conv2(hidden))
        return functional.gelu(self.conv3(hidden) + x)


class PatchMerging(nn.Module):
    """Widen the channels and, with stride 2, halve the resolution."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, out_channels)
        self.conv2 = ConvBN(
            out_channels, out_channels, 3, stride, 1, groups=out_channels
        )
        self.conv3 = ConvBN(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        x = functional.gelu(self.conv1(x))
        x = functional.gelu(self.conv2(x))
        return self.conv3(x)


class WindowAttention(nn.Module):
    """Window attention with a learned bias per relative position."""

    bias_index: Tensor

    def __init__(self, channels: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(
            torch.zeros(num_heads, window * window)
        )
        row, column = torch.meshgrid(
            torch.arange(window), torch.arange(window), indexing='ij'
        )
        row, column = row.flatten(), column.flatten()
        offset = (row[:, None] - row).abs() * window + (
            column[:, None] - column
        ).abs()
        self.register_buffer('bias_index', offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within (B * windows, tokens, C)."""
        return self.proj(self.mix(self.norm(x), self.position_bias()))

    def position_bias(self) -> Tensor:
        """Return the (heads, tokens, tokens) bias of the logits."""
        return self.attention_biases[:, self.bias_index]

    def mix(self, x: Tensor, bias: Tensor) -> Tensor:
        """Apply attention to normalised tokens, without the projection."""
        batch, tokens, channels = x.shape
        # in checkpoints, query, key and value are grouped by head
        qkv = self.qkv(x).view(batch, tokens, self.num_heads, 3, -1)
        query, key, value = qkv.transpose(1, 2).unbind(3)
        x = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias[None].to(query.dtype)
        )
        return x.transpose(1, 2).reshape(batch, tokens, channels)


class Mlp(nn.Module):
    """Normalised two-layer perceptron of a transformer block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels * MLP_RATIO)
        self.fc2 = nn.Linear(channels * MLP_RATIO, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., C)."""
        return self.fc2(functional.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Window attention, depthwise convolution and MLP."""

    def __init__(self, channels: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, num_heads, window)
        self.mlp = Mlp(channels)
        self.local_conv = ConvBN(channels, channels, 3, 1, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, H, W, C)."""
        shape = (x.shape[1], x.shape[2])
        windows = self.attn(partition_windows(x, self.window))
        x = x + merge_windows(windows, self.window, shape)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)


class Stage(nn.Module):
    """One stage of the encoder: its blocks and the downsampling after it."""

    def __init__(self, index: int) -> None:
        super().__init__()
        channels = EMBED_DIMS[index]
        blocks: list[nn.Module] = [
            MBConv(channels)
            if index == 0
            else TinyViTBlock(channels, NUM_HEADS[index], WINDOW_SIZES[index])
            for _ in range(DEPTHS[index])
        ]
        self.convolutional = index == 0
        self.blocks = nn.ModuleList(blocks)
        self.downsample = (
            PatchMerging(
                channels, EMBED_DIMS[index + 1], DOWNSAMPLING_STRIDES[index]
            )
            if index < len(DEPTHS) - 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        if not self.convolutional:
            x = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        if not self.convolutional:
            x = x.permute(0, 3, 1, 2)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """TinyViT-5M with SAM's neck: (B, 3, S, S) to (B, 256, S/16, S/16).

    The official checkpoint includes the classification head of the ImageNet
    model; it is kept for strict loading but never used.
    """

    def __init__(self, out_channels: int = 256) -> None:
        super().__init__()
        self.patch_embed = ConvPatchEmbed(EMBED_DIMS[0])
        self.layers = nn.ModuleList(Stage(i) for i in range(len(DEPTHS)))
        self.norm_head = nn.LayerNorm(EMBED_DIMS[-1])
        self.head = nn.Linear(EMBED_DIMS[-1], 1000)
        self.neck = neck(EMBED_DIMS[-1], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed preprocessed images."""
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)
