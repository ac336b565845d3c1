"""Fast attention between tokens and thousands of image tokens.

The same functions as in `mask_decoder`, with the products computed in the
cheapest order. With X the image tokens, P their positions and q a query token,
per head:

* ``(X + P) Wk @ q = X @ (Wk q) + (P Wk) @ q``: keys of the many image tokens
  are not computed, and ``P Wk`` depends only on the weights.
* ``attention @ (X Wv) = (attention @ X) Wv``: neither are their values.
* The output projection is applied to the values of the few tokens before the
  image attends to them, not after.
* All prompts of an image share the image side of the first block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.mask_decoder import (
    NUM_HEADS,
    DecoderAttention,
    TwoWayAttentionBlock,
)

# Image tokens processed at once on a CPU: with 256 channels, 1 MB, which stays
# in a typical second-level cache from one product to the next. Measured: 1.4
# times as fast as whole images for four prompts, and no slower for one.
CPU_TILE = 1024
NEGLIGIBLE = 1e-30


def tiles(images: Tensor) -> Iterator[tuple[slice, slice]]:
    """Return the prompts and image tokens of (B, N, C) to process at once."""
    batch, tokens, _ = images.shape
    if images.device.type != 'cpu':
        yield slice(0, batch), slice(0, tokens)
        return
    for i in range(batch):
        for start in range(0, tokens, CPU_TILE):
            yield slice(i, i + 1), slice(start, start + CPU_TILE)


def by_head(x: Tensor) -> Tensor:
    """Rearrange (B, T, C) to (heads, B * T, C / heads)."""
    return x.flatten(0, 1).unflatten(-1, (NUM_HEADS, -1)).transpose(0, 1)


def by_prompt(x: Tensor, batch: int) -> Tensor:
    """Rearrange (heads, B * T, C) to (B, heads * T, C)."""
    return x.unflatten(1, (batch, -1)).transpose(0, 1).flatten(1, 2)


def weights_of(logits: Tensor, dim: int) -> Tensor:
    """Apply softmax, with denormal weights set to zero.

    Trained attention is sharp. A third of a per cent of its weights were
    denormal numbers, which a CPU multiplies a hundred times more slowly:
    decoding took twice as long. Compared to one they are zero.
    """
    weights = logits.softmax(dim)
    return functional.threshold(weights, NEGLIGIBLE, 0.0, inplace=True)


class Logits(NamedTuple):
    """Logits between tokens and images, completed as images are computed.

    Attributes
    ----------
    values : Tensor
        (B, heads * T, N) contributions of the positions of image tokens; the
        full logits once `see` has added the image tokens.
    folded : Tensor
        (B, heads * T, C) factors for image tokens.
    """

    values: Tensor
    folded: Tensor

    def see(self, prompts: slice, rows: slice, images: Tensor) -> Tensor:
        """Add some image tokens (b, n, C), giving (b, heads * T, n) logits."""
        values = self.values[prompts, :, rows]
        images = images.transpose(1, 2).to(values.dtype)
        return values.baddbmm_(self.folded[prompts], images)


class ImageProjection:
    """Projection of the image to queries or keys."""

    def __init__(self, linear: nn.Linear, positions: Tensor) -> None:
        scale = (linear.out_features // NUM_HEADS) ** -0.5
        self.weight = scale * linear.weight
        self.positions = torch.addmm(
            scale * linear.bias[:, None], self.weight, positions.T
        )

    def project(self, image: Tensor) -> Tensor:
        """Project an image (N, C) shared by many prompts to (heads, D, N)."""
        projected = torch.addmm(self.positions, self.weight, image.T)
        return projected.unflatten(0, (NUM_HEADS, -1))

    def meet(self, tokens: Tensor, batch: int) -> Logits:
        """Return logits with tokens (heads, B * T, D), without images."""
        heads = (NUM_HEADS, -1)
        positions = torch.bmm(tokens, self.positions.unflatten(0, heads))
        folded = torch.bmm(tokens, self.weight.unflatten(0, heads))
        return Logits(
            by_prompt(positions, batch).contiguous(),
            by_prompt(folded, batch),
        )


class SharedImage(NamedTuple):
    """Part of the first block that does not depend on the prompt.

    Attributes
    ----------
    image : Tensor
        (N, C) image tokens.
    keys, queries : Tensor
        (heads, D, N) projections of the image.
    values : Tensor
        (heads, N, D) projection of the image.
    """

    image: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


class TokensToImage:
    """Attention from tokens to the image."""

    def __init__(self, attention: DecoderAttention, positions: Tensor) -> None:
        self.layer = attention
        self.keys = ImageProjection(attention.k_proj, positions)

    def values(self, image: Tensor) -> Tensor:
        """Return (heads, N, D) values of an image (N, C), without the bias."""
        weight = self.layer.v_proj.weight
        return by_head(functional.linear(image, weight)[None])

    def ask(self, tokens: Tensor) -> Logits:
        """Return logits from (B, T, C) located tokens to later images."""
        query = by_head(self.layer.q_proj(tokens))
        return self.keys.meet(query, len(tokens))

    def answer(self, logits: Logits, images: Tensor) -> Tensor:
        """Return (B, T, C) from images (B, N, C) that the logits have seen."""
        weight = self.layer.v_proj.weight.unflatten(0, (NUM_HEADS, -1))
        seen = torch.bmm(weights_of(logits.values.float(), -1), images)
        by_head = seen.unflatten(1, (NUM_HEADS, -1)).transpose(0, 1)
        mixed = torch.bmm(by_head.flatten(1, 2), weight.transpose(1, 2))
        return self._join(mixed, len(images))

    def answer_shared(self, tokens: Tensor, shared: SharedImage) -> Tensor:
        """Return (B, T, C) from one image for (B, T, C) located tokens."""
        query = by_head(self.layer.q_proj(tokens))
        weights = weights_of(torch.bmm(query, shared.keys), -1)
        return self._join(torch.bmm(weights, shared.values), len(tokens))

    def _join(self, mixed: Tensor, batch: int) -> Tensor:
        joined = mixed.transpose(0, 1).flatten(1).unflatten(0, (batch, -1))
        # Attention weights sum to one, so the bias can be added afterwards.
        return self.layer.out_proj(joined + self.layer.v_proj.bias)


class ImageToTokens:
    """Attention from images to tokens, which updates the images."""

    def __init__(self, block: TwoWayAttentionBlock, positions: Tensor) -> None:
        self.layer = block.cross_attn_image_to_token
        self.norm = block.norm4
        self.queries = ImageProjection(self.layer.q_proj, positions)
        out = self.layer.out_proj
        self.out_weight = out.weight.T.unflatten(0, (NUM_HEADS, -1))
        # The weights of each head sum to one, so the heads share the bias.
        self.out_bias = out.bias / NUM_HEADS

    def __call__(
        self,
        located: Tensor,
        tokens: Tensor,
        image: Tensor | SharedImage,
        next_logits: Logits,
    ) -> Tensor:
        """Update images (B, N, C) by attention to (B, T, C) tokens.

        The images are changed in place, unless they are shared. The next
        logits see the result while it is in the cache.
        """
        batch = len(tokens)
        key = by_head(self.layer.k_proj(located))
        value = by_head(self.layer.v_proj(tokens))
        outcome = by_prompt(torch.bmm(value, self.out_weight), batch)
        outcome = outcome + self.out_bias
        if isinstance(image, SharedImage):
            shared = by_prompt(torch.bmm(key, image.queries), batch)
            images = image.image.expand(batch, -1, -1)
            result = torch.empty_like(images)
        else:
            logits = self.queries.meet(key, batch)
            images = result = image
        for prompts, rows in tiles(images):
            part = images[prompts, rows]
            if isinstance(image, SharedImage):
                seen = shared[prompts, :, rows]
            else:
                seen = logits.see(prompts, rows, part)
            weights = weights_of(seen.unflatten(1, (NUM_HEADS, -1)), 2)
            weights = weights.flatten(1, 2).transpose(1, 2)
            part = torch.baddbmm(part, weights, outcome[prompts])
            part = self.norm(part)
            result[prompts, rows] = part
            next_logits.see(prompts, rows, part)
        return result


class FoldedBlock:
    """A block of the two-way transformer."""

    def __init__(self, block: TwoWayAttentionBlock, positions: Tensor) -> None:
        self.block = block
        self.to_image = TokensToImage(
            block.cross_attn_token_to_image, positions
        )
        self.to_tokens = ImageToTokens(block, positions)

    def share(self, image: Tensor) -> SharedImage:
        """Compute the part shared by all prompts on an image (N, C)."""
        return SharedImage(
            image,
            self.to_image.keys.project(image),
            self.to_image.values(image),
            self.to_tokens.queries.project(image),
        )

    def update(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Update tokens (B, T, C) by attention to the image."""
        tokens = self.block.norm2(tokens + attended)
        return self.block.norm3(tokens + self.block.mlp(tokens))
