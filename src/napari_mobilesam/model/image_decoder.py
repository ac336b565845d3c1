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

from collections.abc import Iterator
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

# Image tokens worked on at once on a CPU: with 256 channels, 1 MB that stays
# in a usual second-level cache from one product to the next. Measured: 1.4
# times as fast as whole images for four prompts, no slower for one.
CPU_TILE = 1024


def _tiles(images: Tensor) -> Iterator[tuple[slice, slice]]:
    """Prompts and image tokens of (B, N, C) to work on at once."""
    batch, tokens, _ = images.shape
    if images.device.type != 'cpu':
        yield slice(0, batch), slice(0, tokens)
        return
    for i in range(batch):
        for start in range(0, tokens, CPU_TILE):
            yield slice(i, i + 1), slice(start, start + CPU_TILE)


def _by_head(x: Tensor) -> Tensor:
    """(B, T, C) to (heads, B * T, C / heads)."""
    return x.flatten(0, 1).unflatten(-1, (NUM_HEADS, -1)).transpose(0, 1)


def _by_prompt(x: Tensor, batch: int) -> Tensor:
    """(heads, B * T, C) to (B, heads * T, C)."""
    return x.unflatten(1, (batch, -1)).transpose(0, 1).flatten(1, 2)


class _Logits(NamedTuple):
    """Logits between tokens and images, filled in as images are computed.

    Attributes
    ----------
    values : Tensor
        (B, heads * T, N): what the positions of image tokens give and, once
        these have been seen, all of it.
    folded : Tensor
        (B, heads * T, C): what image tokens are multiplied with.
    """

    values: Tensor
    folded: Tensor

    def see(self, prompts: slice, rows: slice, images: Tensor) -> Tensor:
        """Add some image tokens (b, n, C); (b, heads * T, n) logits."""
        values = self.values[prompts, :, rows]
        return values.baddbmm_(self.folded[prompts], images.transpose(1, 2))


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

    def meet(self, tokens: Tensor, batch: int) -> _Logits:
        """Logits with tokens (heads, B * T, D) before images are seen."""
        heads = (NUM_HEADS, -1)
        positions = torch.bmm(tokens, self.positions.unflatten(0, heads))
        folded = torch.bmm(tokens, self.weight.unflatten(0, heads))
        return _Logits(
            _by_prompt(positions, batch).contiguous(),
            _by_prompt(folded, batch),
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
        self.layer = attention
        self.keys = _ImageProjection(attention.k_proj, positions)

    def values(self, image: Tensor) -> Tensor:
        """(heads, N, D) values of an image (N, C), without the bias."""
        weight = self.layer.v_proj.weight
        return _by_head(functional.linear(image, weight)[None])

    def ask(self, tokens: Tensor) -> _Logits:
        """Logits from (B, T, C) located tokens to images to be seen."""
        query = _by_head(self.layer.q_proj(tokens))
        return self.keys.meet(query, len(tokens))

    def answer(self, logits: _Logits, images: Tensor) -> Tensor:
        """(B, T, C) of images (B, N, C) that the logits have seen."""
        weight = self.layer.v_proj.weight.unflatten(0, (NUM_HEADS, -1))
        seen = torch.bmm(logits.values.softmax(-1), images)
        by_head = seen.unflatten(1, (NUM_HEADS, -1)).transpose(0, 1)
        mixed = torch.bmm(by_head.flatten(1, 2), weight.transpose(1, 2))
        return self._join(mixed, len(images))

    def answer_shared(self, tokens: Tensor, shared: _SharedImage) -> Tensor:
        """(B, T, C) of one image for (B, T, C) located tokens."""
        query = _by_head(self.layer.q_proj(tokens))
        weights = torch.bmm(query, shared.keys).softmax(-1)
        return self._join(torch.bmm(weights, shared.values), len(tokens))

    def _join(self, mixed: Tensor, batch: int) -> Tensor:
        joined = mixed.transpose(0, 1).flatten(1).unflatten(0, (batch, -1))
        # Weights of an attention sum to one, so the bias comes through it.
        return self.layer.out_proj(joined + self.layer.v_proj.bias)


class _ImageToTokens:
    """Images attend to tokens, and are updated."""

    def __init__(self, block: TwoWayAttentionBlock, positions: Tensor) -> None:
        self.layer = block.cross_attn_image_to_token
        self.norm = block.norm4
        self.queries = _ImageProjection(self.layer.q_proj, positions)
        out = self.layer.out_proj
        self.out_weight = out.weight.T.unflatten(0, (NUM_HEADS, -1))
        # Each head's weights sum to one: the heads share the bias.
        self.out_bias = out.bias / NUM_HEADS

    def __call__(
        self,
        located: Tensor,
        tokens: Tensor,
        image: Tensor | _SharedImage,
        next_logits: _Logits,
    ) -> Tensor:
        """Images (B, N, C) that have attended to (B, T, C) tokens.

        Those given are overwritten, if they are not shared. The next logits
        see the result while it is in the cache.
        """
        batch = len(tokens)
        key = _by_head(self.layer.k_proj(located))
        value = _by_head(self.layer.v_proj(tokens))
        outcome = _by_prompt(torch.bmm(value, self.out_weight), batch)
        outcome = outcome + self.out_bias
        if isinstance(image, _SharedImage):
            shared = _by_prompt(torch.bmm(key, image.queries), batch)
            images = image.image.expand(batch, -1, -1)
            result = torch.empty_like(images)
        else:
            logits = self.queries.meet(key, batch)
            images = result = image
        for prompts, rows in _tiles(images):
            part = images[prompts, rows]
            if isinstance(image, _SharedImage):
                seen = shared[prompts, :, rows]
            else:
                seen = logits.see(prompts, rows, part)
            weights = seen.unflatten(1, (NUM_HEADS, -1)).softmax(2)
            weights = weights.flatten(1, 2).transpose(1, 2)
            part = torch.baddbmm(part, weights, outcome[prompts])
            part = self.norm(part)
            result[prompts, rows] = part
            next_logits.see(prompts, rows, part)
        return result


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

    def update(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Tokens (B, T, C) after they have attended to the image."""
        tokens = self.block.norm2(tokens + attended)
        return self.block.norm3(tokens + self.block.mlp(tokens))


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
    iou_logits : _Logits
        Of the last attention, of the IoU token.
    """

    tokens: Tensor
    positions: Tensor
    images: Tensor
    iou_logits: _Logits


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

    def attend(self, tokens: Tensor, image: Tensor | _SharedImage) -> Attended:
        """Run the transformer on (B, T, C) tokens and their images."""
        first, second = self.blocks
        positions = tokens
        tokens = first.block.attend_to_tokens(tokens, positions)
        located = tokens + positions
        if isinstance(image, _SharedImage):
            attended = first.to_image.answer_shared(located, image)
        else:
            logits = first.to_image.ask(located)
            for prompts, rows in _tiles(image):
                logits.see(prompts, rows, image[prompts, rows])
            attended = first.to_image.answer(logits, image)
        tokens = first.update(tokens, attended)
        # The tokens attend to each other before the image is updated: they
        # do not see it then, and the image need not wait to be seen.
        after = second.block.attend_to_tokens(tokens, positions)
        logits = second.to_image.ask(after + positions)
        images = first.to_tokens(tokens + positions, tokens, image, logits)
        tokens = second.update(after, second.to_image.answer(logits, images))
        located = tokens + positions
        logits = self.last_attention.ask(located[:, :1])
        images = second.to_tokens(located, tokens, images, logits)
        return Attended(tokens, positions, images, logits)

    def iou_token(self, attended: Attended) -> Tensor:
        """(B, 1, C) IoU token after its last attention."""
        seen = self.last_attention.answer(attended.iou_logits, attended.images)
        return self.last_norm(attended.tokens[:, :1] + seen)

    def mask_tokens(
        self, tokens: Tensor, positions: Tensor, images: Tensor
    ) -> Tensor:
        """(B, T, C) of chosen mask tokens after their last attention."""
        logits = self.last_attention.ask(tokens + positions)
        for prompts, rows in _tiles(images):
            logits.see(prompts, rows, images[prompts, rows])
        return self.last_norm(
            tokens + self.last_attention.answer(logits, images)
        )

    def upscale(self, images: Tensor) -> Tensor:
        """(B, n, C) image tokens to (B, n * 16, C / 8), pixels by token."""
        first, second = self.upscaling
        x = functional.linear(images, *first).unflatten(2, (4, -1))
        x = gelu_(self.upscaling_norm.normalise(x))
        return linear_gelu(x, *second).unflatten(3, (4, -1)).flatten(1, 3)


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
        tokens = folded.decoder.join_tokens(
            sparse.expand(max(len(sparse), len(dense)), -1, -1)
        )
        return folded.attend(tokens, image)

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
        token = self._folded.iou_token(attended)
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
        folded = self._folded
        chosen = range(1, 1 + NUM_MASK_TOKENS)[masks]
        span = slice(chosen.start, chosen.stop)
        images, tokens = attended.images, attended.tokens[:, span]
        positions = attended.positions[:, span]
        if prompts is not None:
            images, tokens = images[prompts], tokens[prompts]
            positions = positions[prompts]
        tokens = folded.mask_tokens(tokens, positions, images)
        weights = folded.decoder.mask_weights(tokens, masks).transpose(1, 2)
        size = self._features.shape[-1]
        blocks = images.new_empty(len(images), size**2, 16, weights.shape[2])
        for some, rows in _tiles(images):
            upscaled = folded.upscale(images[some, rows])
            drawn = torch.bmm(upscaled, weights[some])
            blocks[some, rows] = drawn.unflatten(1, (-1, 16))
        # token row and column, pixel within 2 x 2 blocks of 2 x 2 blocks,
        # mask; in two steps, since one strides over all memory
        grid = blocks.view(len(images), size, size, 2, 2, 2, 2, -1)
        plane = grid.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(1, 6)
        masks_first = plane.transpose(1, 2).contiguous()
        return masks_first.unflatten(2, (4 * size, 4 * size))
