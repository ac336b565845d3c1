"""Prompt encoder: points, boxes and masks (Segment Anything, appendix A)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_mobilesam.model.blocks import LayerNorm2d
from napari_mobilesam.types import STRIDE

#: Label of the padding point that replaces a missing box.
PADDING = -1


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of normalised positions (Tancik et al.)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer(
            'positional_encoding_gaussian_matrix', torch.randn(2, num_features)
        )

    def forward(self, positions: Tensor) -> Tensor:
        """Encode (..., 2) x-y positions in [0, 1] as (..., C)."""
        # In half precision, the high frequencies would shift prompts by
        # pixels.
        with torch.autocast(positions.device.type, enabled=False):
            matrix = self.positional_encoding_gaussian_matrix.float()
            phase = 2 * math.pi * ((2 * positions.float() - 1) @ matrix)
            return torch.cat([phase.sin(), phase.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Encoder of prompts to sparse and dense embeddings.

    Parameters
    ----------
    channels : int
        Width of the embeddings.
    input_size : int
        Side of the model's input; positions are normalised by it.
    """

    def __init__(self, channels: int = 256, input_size: int = 1024) -> None:
        super().__init__()
        self.input_size = input_size
        self.embedding_size = input_size // STRIDE
        self.pe_layer = PositionEmbeddingRandom(channels // 2)
        # negative point, positive point, first and second corner of a box
        self.point_embeddings = nn.ModuleList(
            nn.Embedding(1, channels) for _ in range(4)
        )
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, channels, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def dense_positions(self) -> Tensor:
        """Return the positional encoding of the embedding, (1, C, s, s)."""
        size = self.embedding_size
        device = self.no_mask_embed.weight.device
        centre = (torch.arange(size, device=device) + 0.5) / size
        y, x = torch.meshgrid(centre, centre, indexing='ij')
        return self.pe_layer(torch.stack([x, y], -1)).permute(2, 0, 1)[None]

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed the prompts of B objects.

        Parameters
        ----------
        points : Tensor, optional
            (B, N, 2) x-y positions in input pixels.
        labels : Tensor, optional
            (B, N): 1 positive, 0 negative, -1 padding.
        boxes : Tensor, optional
            (B, 4) x0, y0, x1, y1 in input pixels.
        masks : Tensor, optional
            (B, 1, S/4, S/4) logits of a previous answer.

        Returns
        -------
        sparse : Tensor
            (B, N', C); a padding point is added if there are no boxes.
        dense : Tensor
            (B, C, s, s), or (1, C, s, s) if no mask is given.
        """
        sparse = []
        if points is not None and labels is not None:
            if boxes is None:
                points = torch.cat(
                    [points, torch.zeros_like(points[:, :1])], 1
                )
                labels = torch.cat(
                    [labels, torch.full_like(labels[:, :1], PADDING)], 1
                )
            sparse.append(self.embed_points(points, labels))
        if boxes is not None:
            corners = self._embed_positions(boxes.unflatten(1, (2, 2)))
            sparse.append(corners + self._kinds()[3:])
        dense = self._embed_masks(masks)
        if not sparse:
            empty = dense.new_zeros(dense.shape[0], 0, dense.shape[1])
            return empty, dense
        return torch.cat(sparse, dim=1), dense

    def _kinds(self) -> Tensor:
        # (5, C): padding, negative, positive, first and second corner
        embeddings = [self.not_a_point_embed, *self.point_embeddings]
        return torch.cat([e.get_parameter('weight') for e in embeddings])

    def _embed_positions(self, points: Tensor) -> Tensor:
        # pixel centres are half a pixel from the corner of the image
        return self.pe_layer((points + 0.5) / self.input_size)

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed (B, N, 2) x-y positions with labels (B, N).

        Labels are -1 for padding, 0 and 1 for negative and positive points,
        2 and 3 for the first and second corner of a box.
        """
        kinds = self._kinds()[labels.long() - PADDING]
        is_padding = (labels == PADDING)[..., None]
        return kinds + self._embed_positions(points).masked_fill(is_padding, 0)

    def _embed_masks(self, masks: Tensor | None) -> Tensor:
        if masks is not None:
            return self.mask_downscaling(masks)
        size = self.embedding_size
        return self.no_mask_embed.weight[:, :, None, None].expand(
            -1, -1, size, size
        )
