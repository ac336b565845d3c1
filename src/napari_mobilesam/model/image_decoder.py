"""The mask decoder of one embedded image, for inference.

The same function as `mask_decoder`, which is the one to read first, with the
products taken in the order that costs least. With X the image tokens, P
their positions and q a query token, per head:

* ``(X + P) Wk @ q = X @ (Wk q) + (P Wk) @ q``: no keys are made of thousands
  of image tokens, and ``P Wk`` follows from the weights alone.
* ``attention @ (X Wv) = (attention @ X) Wv``: no values either.
* Values of the few tokens are taken through the output projection before
  the image attends to them, not after.
* All prompts of an image share the image side of the first block.
* The IoU head needs one token only: the others attend for the last time,
  and masks are drawn, for prompts whose predicted IoU is good enough.
* Transposed convolutions whose stride is their kernel are products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.layers import LayerNorm2d, gelu_, linear_gelu
from napari_mobilesam.model.mask_decoder import (
    NUM_HEADS,
    NUM_MASK_TOKENS,
    Attention,
    MaskDecoder,
    TwoWayAttentionBlock,
    mask_slice,
)
from napari_mobilesam.model.prompt_encoder import PromptEncoder


def _by_head(x: Tensor) -> Tensor:
    """(B, T, C) to (heads, B * T, C / heads)."""
    return x.flatten(0, 1).unflatten(-1, (NUM_HEADS, -1)).transpose(0, 1)


def _by_prompt(x: Tensor, batch: int) -> Tensor:
    """(heads, B * T, C) to (B, heads * T, C)."""
    return x.unflatten(1, (batch, -1)).transpose(0, 1).flatten(1, 2)


class _ImageProjection:
    """Queries or keys of the image, met by keys or queries of tokens."""

    def __init__(self, linear: nn.Linear, positions: Tensor) -> None:
        scale = (linear.out_features // NUM_HEADS) ** -0.5
        self.weight = scale * linear.weight
        self.positions = torch.addmm(
            scale * linear.bias[:, None], self.weight, positions.T
        )

    def project(self, image: Tensor) -> Tensor:
        """(heads, D, N) of an image (N, C) that many prompts share."""
        projected = torch.addmm(self.positions, self.weight, image.T)
        return projected.unflatten(0, (NUM_HEADS, -1))

    def meet(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Logits (B, heads * T, N) of (heads, B * T, D) and (B, N, C)."""
        heads = (NUM_HEADS, -1)
        batch = len(images)
        folded = torch.bmm(tokens, self.weight.unflatten(0, heads))
        positions = torch.bmm(tokens, self.positions.unflatten(0, heads))
        return torch.baddbmm(
            _by_prompt(positions, batch),
            _by_prompt(folded, batch),
            images.transpose(1, 2),
        )


class _SharedImage(NamedTuple):
    """What the first block makes of the image, whatever the prompt.

    Attributes
    ----------
    image : Tensor
        (N, C).
    keys, queries : Tensor
        (heads, D, N).
    values : Tensor
        (heads, N, D).
    """

    image: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


class _TokensToImage:
    """Tokens attend to the image."""

    def __init__(self, attention: Attention, positions: Tensor) -> None:
        self.attention = attention
        self.keys = _ImageProjection(attention.k_proj, positions)

    def values(self, image: Tensor) -> Tensor:
        """(heads, N, D) values of an image (N, C)."""
        return _by_head(functional.linear(image, self._weight)[None])

    @property
    def _weight(self) -> Tensor:
        return self.attention.v_proj.weight

    def __call__(self, tokens: Tensor, image: Tensor | _SharedImage) -> Tensor:
        """Attend from (B, T, C) located tokens; the result is (B, T, C)."""
        batch = len(tokens)
        query = _by_head(self.attention.q_proj(tokens))
        if isinstance(image, _SharedImage):
            weights = torch.bmm(query, image.keys).softmax(-1)
            mixed = torch.bmm(weights, image.values)
        else:
            weights = self.keys.meet(query, image).softmax(-1)
            seen = torch.bmm(weights, image).unflatten(1, (NUM_HEADS, -1))
            mixed = torch.bmm(
                seen.transpose(0, 1).flatten(1, 2),
                self._weight.unflatten(0, (NUM_HEADS, -1)).transpose(1, 2),
            )
        joined = mixed.transpose(0, 1).reshape(batch, tokens.shape[1], -1)
        # Weights of an attention sum to one, so the bias comes through it.
        return self.attention.out_proj(joined + self.attention.v_proj.bias)


class _ImageToTokens:
    """The image attends to the tokens, and is updated."""

    def __init__(self, block: TwoWayAttentionBlock, positions: Tensor) -> None:
        self.attention = block.cross_attn_image_to_token
        self.norm = block.norm4
        self.queries = _ImageProjection(self.attention.q_proj, positions)
        out = self.attention.out_proj
        self.out_weight = out.weight.T.unflatten(0, (NUM_HEADS, -1))
        # Each head's weights sum to one: the heads share the bias.
        self.out_bias = out.bias / NUM_HEADS

    def __call__(
        self, located: Tensor, tokens: Tensor, image: Tensor | _SharedImage
    ) -> Tensor:
        """Images (B, N, C) that have attended to (B, T, C) tokens."""
        batch = len(tokens)
        key = _by_head(self.attention.k_proj(located))
        value = _by_head(self.attention.v_proj(tokens))
        outcome = _by_prompt(torch.bmm(value, self.out_weight), batch)
        if isinstance(image, _SharedImage):
            logits = _by_prompt(torch.bmm(key, image.queries), batch)
            images = image.image.expand(batch, -1, -1)
        else:
            logits = self.queries.meet(key, image)
            images = image
        weights = logits.unflatten(1, (NUM_HEADS, -1)).softmax(2).flatten(1, 2)
        return self.norm(
            torch.baddbmm(
                images, weights.transpose(1, 2), outcome + self.out_bias
            )
        )


class _Block:
    """A block of the two-way transformer."""

    def __init__(self, block: TwoWayAttentionBlock, positions: Tensor) -> None:
        self.block = block
        self.to_image = _TokensToImage(
            block.cross_attn_token_to_image, positions
        )
        self.to_tokens = _ImageToTokens(block, positions)

    def share(self, image: Tensor) -> _SharedImage:
        """Compute what all prompts on an image (N, C) have in common."""
        return _SharedImage(
            image,
            self.to_image.keys.project(image),
            self.to_image.values(image),
            self.to_tokens.queries.project(image),
        )

    def __call__(
        self, tokens: Tensor, image: Tensor | _SharedImage, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, T, C) and images (B, N, C)."""
        block = self.block
        tokens = block.attend_to_tokens(tokens, positions)
        attended = self.to_image(tokens + positions, image)
        tokens = block.norm2(tokens + attended)
        tokens = block.norm3(tokens + block.mlp(tokens))
        return tokens, self.to_tokens(tokens + positions, tokens, image)


@dataclass(frozen=True, eq=False)
class Attended:
    """What the transformer makes of B prompts on one image.

    Attributes
    ----------
    tokens : Tensor
        (B, T, C) before they attend to the image for the last time: IoU
        token, mask tokens, prompt tokens.
    positions : Tensor
        (B, T, C) the tokens before the first block.
    images : Tensor
        (B, N, C) image tokens of each prompt.
    """

    tokens: Tensor
    positions: Tensor
    images: Tensor


class FoldedDecoder:
    """What inference needs that follows from the weights alone.

    Parameters
    ----------
    decoder : MaskDecoder
    prompt_encoder : PromptEncoder
    """

    @torch.no_grad()
    def __init__(
        self, decoder: MaskDecoder, prompt_encoder: PromptEncoder
    ) -> None:
        self.decoder = decoder
        self.prompt_encoder = prompt_encoder
        transformer = decoder.transformer
        positions = prompt_encoder.dense_positions()[0].flatten(1).T
        self.blocks: list[_Block] = []
        for layer in transformer.layers:
            assert isinstance(layer, TwoWayAttentionBlock)
            self.blocks.append(_Block(layer, positions))
        self.last_attention = _TokensToImage(
            transformer.final_attn_token_to_image, positions
        )
        self.last_norm = transformer.norm_final_attn
        first, norm, _, second, _ = decoder.output_upscaling
        assert isinstance(norm, LayerNorm2d)
        self.upscaling_norm = norm
        self.upscaling = (_as_linear(first), _as_linear(second))

    def finish(self, attended: Attended, chosen: slice) -> Tensor:
        """Chosen tokens (B, t, C) after their last attention."""
        tokens = attended.tokens[:, chosen]
        seen = self.last_attention(
            tokens + attended.positions[:, chosen], attended.images
        )
        return self.last_norm(tokens + seen)

    def upscale(self, images: Tensor) -> Tensor:
        """(B, N, C) image tokens to (B, N, 4, 4, C / 8), pixels by token."""
        first, second = self.upscaling
        x = functional.linear(images, *first).unflatten(2, (4, -1))
        x = gelu_(self.upscaling_norm.normalise(x))
        return linear_gelu(x, *second).unflatten(3, (4, -1))


def _as_linear(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias with the pixels of a block before the channels."""
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.bias is not None
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return weight.contiguous(), layer.bias.repeat(
        weight.shape[0] // len(layer.bias)
    )


class ImageDecoder:
    """Decodes prompts on one embedded image.

    What prompts have in common is computed when it is made, which costs
    about as much as a prompt. Nothing is computed with gradients.

    Parameters
    ----------
    folded : FoldedDecoder
    features : Tensor
        (1, C, s, s) image embedding.
    """

    @torch.no_grad()
    def __init__(self, folded: FoldedDecoder, features: Tensor) -> None:
        if features.ndim != 4 or len(features) != 1:
            raise ValueError(
                f'features have shape {tuple(features.shape)}; an image '
                'decoder takes those of one image, (1, C, s, s)'
            )
        self._folded = folded
        self._features = features
        _, dense = folded.prompt_encoder()
        image = (features + dense)[0].flatten(1).T.contiguous()
        self._shared = folded.blocks[0].share(image)

    @torch.no_grad()
    def attend(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Attended:
        """Run the transformer for B prompts; see `PromptEncoder.forward`."""
        folded = self._folded
        sparse, dense = folded.prompt_encoder(points, labels, boxes, masks)
        image: Tensor | _SharedImage = self._shared
        if masks is not None:
            images = (self._features + dense).flatten(2).transpose(1, 2)
            image = images.contiguous()
        positions = tokens = folded.decoder.join_tokens(
            sparse.expand(max(len(sparse), len(dense)), -1, -1)
        )
        for block in folded.blocks:
            tokens, image = block(tokens, image, positions)
        assert isinstance(image, Tensor)
        return Attended(tokens, positions, image)

    def decode(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, M, 4s, 4s) and predicted IoU (B, M) of B prompts.

        M is 3 with ``multimask``, for one ambiguous prompt, else 1.
        """
        attended = self.attend(points, labels, boxes, masks)
        chosen = mask_slice(multimask)
        return (
            self.draw(attended, chosen),
            self.predict_iou(attended)[:, chosen],
        )

    @torch.no_grad()
    def predict_iou(self, attended: Attended) -> Tensor:
        """Predicted IoU (B, 4) of the four masks, known before they are."""
        token = self._folded.finish(attended, slice(0, 1))
        return self._folded.decoder.predict_iou(token)

    @torch.no_grad()
    def draw(
        self, attended: Attended, masks: slice, prompts: Tensor | None = None
    ) -> Tensor:
        """Low-res logits (b, M, 4s, 4s) of the chosen mask tokens.

        Parameters
        ----------
        attended : Attended
            Of `attend`.
        masks : slice
            Mask tokens, see `mask_slice`.
        prompts : Tensor, optional
            (b,) indices of the prompts whose masks are wanted; all if None.
        """
        if prompts is not None:
            attended = Attended(
                attended.tokens[prompts],
                attended.positions[prompts],
                attended.images[prompts],
            )
        folded = self._folded
        first = 1 + (masks.start or 0)
        stop = 1 + (NUM_MASK_TOKENS if masks.stop is None else masks.stop)
        tokens = folded.finish(attended, slice(first, stop))
        weights = folded.decoder.mask_weights(tokens, masks)
        upscaled = folded.upscale(attended.images)
        drawn = upscaled.flatten(1, 3) @ weights.transpose(1, 2)
        # token row and column, pixel within 2 x 2 blocks of 2 x 2 blocks
        size = self._features.shape[-1]
        blocks = drawn.unflatten(1, (size, size, 2, 2, 2, 2))
        return (
            blocks.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5, 7).flatten(2, 4)
        )
