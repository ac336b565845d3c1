"""SAM's ViT image encoders B, L and H (Segment Anything, appendix A).

A plain ViT with window attention, a few blocks with global attention, and
decomposed relative positions (Li et al. 2022, ViTDet).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.blocks import (
    MLPBlock,
    merge_windows,
    neck,
    partition_windows,
)
from napari_mobilesam.types import Architecture

PATCH_SIZE = 16
WINDOW_SIZE = 14


@dataclass(frozen=True)
class ViTConfig:
    """Width, depth and global-attention blocks of one encoder size."""

    channels: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]


VIT_CONFIGS: dict[Architecture, ViTConfig] = {
    'vit_b': ViTConfig(768, 12, 12, (2, 5, 8, 11)),
    'vit_l': ViTConfig(1024, 24, 16, (5, 11, 17, 23)),
    'vit_h': ViTConfig(1280, 32, 16, (7, 15, 23, 31)),
}


class ViTPatchEmbed(nn.Module):
    """Embedding of 16 x 16 pixel patches as tokens (B, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH_SIZE, PATCH_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (B, 3, S, S)."""
        return self.proj(x).permute(0, 2, 3, 1)


class ViTAttention(nn.Module):
    """Multi-head attention with decomposed relative positions."""

    def __init__(self, channels: int, num_heads: int, side: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.side = side
        self.qkv = nn.Linear(channels, channels * 3)
        self.proj = nn.Linear(channels, channels)
        head_dim = channels // num_heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within (B, side * side, C)."""
        batch, tokens, channels = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self._position_bias(query)
        )
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, channels))

    def _position_bias(self, query: Tensor) -> Tensor:
        side = self.side
        index = torch.arange(side, device=query.device)
        index = index[:, None] - index + side - 1
        grid = query.unflatten(2, (side, side))
        rows = torch.einsum('bnhwc,hkc->bnhwk', grid, self.rel_pos_h[index])
        columns = torch.einsum('bnhwc,wkc->bnhwk', grid, self.rel_pos_w[index])
        bias = rows[..., :, None] + columns[..., None, :]
        return bias.flatten(4).flatten(2, 3)


class ViTBlock(nn.Module):
    """Transformer block on windows or on the whole image."""

    def __init__(
        self, channels: int, num_heads: int, grid: int, window: int | None
    ) -> None:
        super().__init__()
        self.window = window or grid
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = ViTAttention(channels, num_heads, self.window)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MLPBlock(channels, channels * 4, functional.gelu)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, H, W, C)."""
        shape = (x.shape[1], x.shape[2])
        windows = self.attn(partition_windows(self.norm1(x), self.window))
        x = x + merge_windows(windows, self.window, shape)
        return x + self.mlp(self.norm2(x))


class ImageEncoderViT(nn.Module):
    """ViT encoder of SAM: (B, 3, S, S) to (B, 256, S/16, S/16)."""

    def __init__(
        self,
        config: ViTConfig,
        input_size: int = 1024,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        grid = input_size // PATCH_SIZE
        self.patch_embed = ViTPatchEmbed(config.channels)
        self.pos_embed = nn.Parameter(
            torch.zeros(1, grid, grid, config.channels)
        )
        self.blocks = nn.ModuleList(
            ViTBlock(
                config.channels,
                config.num_heads,
                grid,
                None if i in config.global_blocks else WINDOW_SIZE,
            )
            for i in range(config.depth)
        )
        self.neck = neck(config.channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed preprocessed images."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
