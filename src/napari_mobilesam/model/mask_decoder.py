"""Mask decoder: two-way transformer, mask and IoU heads.

See Segment Anything, section 3 and appendix A ("Lightweight mask decoder").
All prompts of an image share its embedding; values that depend only on the
embedding are computed once per image and then selected per prompt.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.blocks import MLP, LayerNorm2d, MLPBlock

NUM_MASK_TOKENS = 4  # one for single-mask output, three for ambiguity
NUM_HEADS = 8


def per_prompt(x: Tensor, index: Tensor | None) -> Tensor:
    """Select the row of the image for each prompt, if there are several."""
    return x if index is None else x[index]


class DecoderAttention(nn.Module):
    """Attention that may project to fewer channels."""

    def __init__(self, channels: int, downsample: int = 1) -> None:
        super().__init__()
        internal = channels // downsample
        self.q_proj = nn.Linear(channels, internal)
        self.k_proj = nn.Linear(channels, internal)
        self.v_proj = nn.Linear(channels, internal)
        self.out_proj = nn.Linear(internal, channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_index: Tensor | None = None,
        key_index: Tensor | None = None,
    ) -> Tensor:
        """Attend from query to key tokens, for B prompts.

        Both are projected before they are expanded to the prompts.

        Parameters
        ----------
        query : Tensor
            (B, Q, C); (1, Q, C) if all prompts share them, or with an index
            one row per image.
        key, value : Tensor
            (B, K, C), or fewer rows, as for ``query``.
        query_index, key_index : Tensor, optional
            (B,) row of each prompt.

        Returns
        -------
        Tensor
            (B, Q, C).
        """
        projected = [
            per_prompt(self.q_proj(query), query_index),
            per_prompt(self.k_proj(key), key_index),
            per_prompt(self.v_proj(value), key_index),
        ]
        batch = max(len(x) for x in projected)
        heads = [
            x.expand(batch, -1, -1)
            .unflatten(-1, (NUM_HEADS, -1))
            .transpose(1, 2)
            for x in projected
        ]
        out = functional.scaled_dot_product_attention(*heads)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class TwoWayAttentionBlock(nn.Module):
    """Block in which tokens and image attend to each other."""

    def __init__(self, channels: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = DecoderAttention(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = DecoderAttention(
            channels, downsample=2
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLPBlock(channels, hidden, functional.relu)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = DecoderAttention(
            channels, downsample=2
        )

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_positions: Tensor,
        image_positions: Tensor,
        index: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Update tokens and image tokens, for B prompts.

        Parameters
        ----------
        tokens : Tensor
            (B, T, C).
        image : Tensor
            (B, s * s, C) image tokens; (1, s * s, C) of one shared image, or
            (K, s * s, C) of the images of ``index``.
        token_positions : Tensor
            (B, T, C), added to the tokens.
        image_positions : Tensor
            (1, s * s, C), added to the image tokens.
        index : Tensor or None
            (B,) image of each prompt.

        Returns
        -------
        tokens : Tensor
            (B, T, C).
        image : Tensor
            (B, s * s, C).
        """
        tokens = self.attend_to_tokens(tokens, token_positions)
        located = image + image_positions
        attended = self.cross_attn_token_to_image(
            tokens + token_positions, located, image, key_index=index
        )
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))

        attended = self.cross_attn_image_to_token(
            located, tokens + token_positions, tokens, query_index=index
        )
        image = self.norm4(per_prompt(image, index) + attended)
        return tokens, image

    def attend_to_tokens(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Let (B, T, C) tokens attend to each other."""
        if self.first:
            # In the first block, the tokens are their own positions.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + positions
            tokens = tokens + self.self_attn(query, query, tokens)
        return self.norm1(tokens)


class TwoWayTransformer(nn.Module):
    """Two-way blocks and a final attention from tokens to the image."""

    def __init__(
        self, channels: int = 256, depth: int = 2, hidden: int = 2048
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(channels, hidden, first=i == 0)
            for i in range(depth)
        )
        self.final_attn_token_to_image = DecoderAttention(
            channels, downsample=2
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self,
        image: Tensor,
        image_positions: Tensor,
        tokens: Tensor,
        index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return updated tokens (B, T, C) and image tokens (B, s * s, C).

        The parameters are those of `TwoWayAttentionBlock.forward`; the
        positions of the tokens are the tokens themselves.
        """
        positions = tokens
        for layer in self.layers:
            tokens, image = layer(
                tokens, image, positions, image_positions, index
            )
            index = None  # each prompt now has its own image
        attended = self.final_attn_token_to_image(
            tokens + positions, image + image_positions, image
        )
        return self.norm_final_attn(tokens + attended), image


class MaskDecoder(nn.Module):
    """Decoder of low-res logits and predicted IoU."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(channels)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(channels, channels, channels // 8, 3)
            for _ in range(NUM_MASK_TOKENS)
        )
        self.iou_prediction_head = MLP(channels, channels, NUM_MASK_TOKENS, 3)

    def attend(
        self,
        features: Tensor,
        positions: Tensor,
        sparse: Tensor,
        dense: Tensor,
        index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer for B prompts on K images.

        Parameters
        ----------
        features : Tensor
            (K, C, s, s) image embeddings.
        positions : Tensor
            (1, C, s, s) positional encoding of the embedding.
        sparse : Tensor
            (B, N, C) prompt tokens.
        dense : Tensor
            (B, C, s, s) mask prompts, or (1, C, s, s) if there are none.
        index : Tensor, optional
            (B,) image of each prompt; required if there are several images.

        Returns
        -------
        tokens : Tensor
            (B, 5 + N, C): IoU token, mask tokens, prompt tokens.
        image : Tensor
            (B, s * s, C) image tokens after attending to the prompts.
        """
        batch = max(len(sparse), len(dense))
        if len(features) == 1:
            index = None
        if len(dense) > 1:
            features, index = per_prompt(features, index), None
        return self.transformer(
            (features + dense).flatten(2).transpose(1, 2),
            positions.flatten(2).transpose(1, 2),
            self.join_tokens(sparse.expand(batch, -1, -1)),
            index,
        )

    def join_tokens(self, sparse: Tensor) -> Tensor:
        """Return (B, 5 + N, C): IoU, mask and prompt tokens (B, N, C)."""
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        return torch.cat([output.expand(len(sparse), -1, -1), sparse], dim=1)

    def predict_iou(self, tokens: Tensor) -> Tensor:
        """Return the predicted IoU (B, 4) of four masks not yet drawn."""
        return self.iou_prediction_head(tokens[:, 0])

    def draw(self, tokens: Tensor, image: Tensor, masks: slice) -> Tensor:
        """Return low-res logits (B, M, 4s, 4s) of the chosen mask tokens."""
        size = round(image.shape[1] ** 0.5)
        grid = image.transpose(1, 2).unflatten(2, (size, size))
        upscaled = self.output_upscaling(grid)
        weights = self.mask_weights(tokens[:, 1:][:, masks], masks)
        return (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])

    def mask_weights(self, tokens: Tensor, masks: slice) -> Tensor:
        """Return weights (B, M, C / 8) of the channels that form each mask.

        ``tokens`` (B, M, C) are the mask tokens of the slice.
        """
        heads = self.output_hypernetworks_mlps[masks]
        return torch.stack(
            [head(tokens[:, i]) for i, head in enumerate(heads)], dim=1
        )

    def forward(
        self,
        features: Tensor,
        positions: Tensor,
        sparse: Tensor,
        dense: Tensor,
        multimask: bool,
        index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode B prompts on K images.

        Parameters
        ----------
        features, positions, sparse, dense, index
            As for `attend`.
        multimask : bool
            Whether to return M = 3 masks, for ambiguous prompts, else M = 1.

        Returns
        -------
        logits : Tensor
            (B, M, 4s, 4s) low-res logits.
        iou : Tensor
            (B, M) predicted IoU.
        """
        tokens, image = self.attend(features, positions, sparse, dense, index)
        masks = mask_slice(multimask)
        return (
            self.draw(tokens, image, masks),
            self.predict_iou(tokens)[:, masks],
        )


def mask_slice(multimask: bool) -> slice:
    """Return the mask tokens of a multimask or single-mask answer."""
    return slice(1, None) if multimask else slice(0, 1)
