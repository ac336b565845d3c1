"""Fast mask decoder of one embedded image, for inference.

Computes the same function as `mask_decoder`, which should be read first, with
the cheaper attention of `folded_attention`. In addition:

* The IoU head needs only one token. The last attention of the mask tokens and
  the masks are computed only for prompts with sufficient predicted IoU.
* Transposed convolutions whose stride equals their kernel are products.
* The answer to a click is recorded as a whole; see `recorded`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_mobilesam.model.blocks import LayerNorm2d, gelu_, linear_gelu
from napari_mobilesam.model.folded_attention import (
    FoldedBlock,
    Logits,
    SharedImage,
    TokensToImage,
    tiles,
)
from napari_mobilesam.model.mask_decoder import (
    NUM_MASK_TOKENS,
    MaskDecoder,
    TwoWayAttentionBlock,
)
from napari_mobilesam.model.precision import products_in
from napari_mobilesam.model.prompt_encoder import PromptEncoder
from napari_mobilesam.model.recorded import Recorded, Tensors

TOKEN_PIXELS = 16  # low-res logits per image token
# From this many images, recording takes so long (half a second while a viewer
# paints) that it pays only after several calls.
MANY, CALLS_OF_MANY = 4, 8


@dataclass(frozen=True, eq=False)
class Attended:
    """Output of the transformer for B prompts on one image.

    Attributes
    ----------
    tokens : Tensor
        (B, T, C) IoU token, mask tokens and prompt tokens, before their last
        attention to the image.
    positions : Tensor
        (B, T, C) tokens before the first block.
    images : Tensor
        (B, N, C) image tokens of each prompt.
    iou_logits : Logits
        Logits of the last attention of the IoU token.
    """

    tokens: Tensor
    positions: Tensor
    images: Tensor
    iou_logits: Logits


class FoldedDecoder:
    """Decoder with constants for inference, derived from the weights.

    Parameters
    ----------
    decoder : MaskDecoder
        Decoder in its original form.
    prompt_encoder : PromptEncoder
        Encoder of its prompts.
    """

    @torch.no_grad()
    def __init__(
        self, decoder: MaskDecoder, prompt_encoder: PromptEncoder
    ) -> None:
        self.decoder = decoder
        self.prompt_encoder = prompt_encoder
        transformer = decoder.transformer
        positions = prompt_encoder.dense_positions()[0].flatten(1).T
        self.blocks: list[FoldedBlock] = []
        for layer in transformer.layers:
            assert isinstance(layer, TwoWayAttentionBlock)
            self.blocks.append(FoldedBlock(layer, positions))
        self.last_attention = TokensToImage(
            transformer.final_attn_token_to_image, positions
        )
        self.last_norm = transformer.norm_final_attn
        first, norm, _, second, _ = decoder.output_upscaling
        assert isinstance(norm, LayerNorm2d)
        self.upscaling_norm = norm
        self.upscaling = (_as_linear(first), _as_linear(second))

        self._answers: dict[tuple[object, ...], Recorded] = {}

    def answer(
        self,
        features: Tensor,
        prompts: dict[str, Tensor],
        masks: slice,
        half: torch.dtype | None = None,
    ) -> Tensors:
        """Decode the prompts of one object on each of B images.

        Parameters
        ----------
        features : Tensor
            (B, C, s, s) image embeddings.
        prompts : dict of str to Tensor
            Some of the parameters of `PromptEncoder.forward`.
        masks : slice
            Mask tokens, see `mask_slice`.
        half : torch.dtype, optional
            See `ImageDecoder`.

        Returns
        -------
        logits : Tensor
            (B, M, 4s, 4s) low-res logits.
        iou : Tensor
            (B, M) predicted IoU.
        """
        many = len(features) >= MANY
        key = (tuple(prompts), masks.start, masks.stop, half, many)
        if key not in self._answers:
            self._answers[key] = Recorded(
                partial(self._answer, tuple(prompts), masks, half),
                self.decoder,
                self.prompt_encoder,
                lengths_vary=True,
                # some numbers of images occur only once
                calls_before=CALLS_OF_MANY if many else 1,
            )
        return self._answers[key](features, *prompts.values())

    def _answer(
        self,
        kinds: tuple[str, ...],
        masks: slice,
        half: torch.dtype | None,
        features: Tensor,
        *given: Tensor,
    ) -> Tensors:
        prompts = dict(zip(kinds, given, strict=True))
        tokens, dense = self.embed_prompts(prompts)
        tokens = tokens.expand(len(features), -1, -1)
        with products_in(half, features.device):
            attended = self.attend(tokens, features, dense)
            logits = self.draw(attended, masks)
        return logits, self.predict_iou(attended)[:, masks]

    def share(self, features: Tensor) -> SharedImage:
        """Compute the part of decoding (1, C, s, s) that all prompts share."""
        _, dense = self.prompt_encoder()
        image = (features + dense)[0].flatten(1).T.contiguous()
        return self.blocks[0].share(image)

    def embed_prompts(
        self, prompts: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, C) and mask prompts of B prompts.

        ``prompts`` has some of the parameters of `PromptEncoder.forward`.
        """
        sparse, dense = self.prompt_encoder(**prompts)
        sparse = sparse.expand(max(len(sparse), len(dense)), -1, -1)
        return self.decoder.join_tokens(sparse), dense

    def attend(self, tokens: Tensor, *parts: Tensor) -> Attended:
        """Run the transformer on B prompts.

        Parameters
        ----------
        tokens : Tensor
            (B, T, C) tokens of the prompts.
        *parts : Tensor
            A `SharedImage`; or embeddings (1 or B, C, s, s) and mask prompts
            (1 or B, C, s, s).
        """
        image: Tensor | SharedImage
        if len(parts) == len(SharedImage._fields):
            image = SharedImage(*parts)
        else:
            features, masks = parts
            images = (features + masks).flatten(2).transpose(1, 2)
            image = images.contiguous()
        first, second = self.blocks
        positions = tokens
        tokens = first.block.attend_to_tokens(tokens, positions)
        located = tokens + positions
        if isinstance(image, SharedImage):
            attended = first.to_image.answer_shared(located, image)
        else:
            logits = first.to_image.ask(located)
            for prompts, rows in tiles(image):
                logits.see(prompts, rows, image[prompts, rows])
            attended = first.to_image.answer(logits, image)
        tokens = first.update(tokens, attended)
        # Self-attention of the second block does not need the image: compute
        # it first, so that the updated image can be added to its logits.
        after = second.block.attend_to_tokens(tokens, positions)
        logits = second.to_image.ask(after + positions)
        images = first.to_tokens(tokens + positions, tokens, image, logits)
        tokens = second.update(after, second.to_image.answer(logits, images))
        located = tokens + positions
        logits = self.last_attention.ask(located[:, :1])
        images = second.to_tokens(located, tokens, images, logits)
        return Attended(tokens, positions, images, logits)

    def predict_iou(self, attended: Attended) -> Tensor:
        """Return (B, 4) after the last attention of the IoU token."""
        token = attended.tokens[:, :1]
        seen = self.last_attention.answer(attended.iou_logits, attended.images)
        return self.decoder.predict_iou(self.last_norm(token + seen))

    def draw(
        self, attended: Attended, masks: slice, prompts: Tensor | None = None
    ) -> Tensor:
        """Return low-res logits (B, M, 4s, 4s); see `ImageDecoder.draw`."""
        chosen = range(1, 1 + NUM_MASK_TOKENS)[masks]
        span = slice(chosen.start, chosen.stop)
        images, tokens = attended.images, attended.tokens[:, span]
        positions = attended.positions[:, span]
        if prompts is not None and not _is_all(prompts, len(images)):
            images, tokens = images[prompts], tokens[prompts]
            positions = positions[prompts]
        tokens = self._mask_tokens(tokens, positions, images)
        weights = self.decoder.mask_weights(tokens, masks)
        blocks = self._draw_blocks(images, weights)
        size = isqrt(int(images.shape[1]))
        # token row and column, pixel within 2 x 2 blocks of 2 x 2 blocks,
        # mask; in two steps, as a single one would stride over all memory
        grid = blocks.view(len(images), size, size, 2, 2, 2, 2, -1)
        plane = grid.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(1, 6)
        masks_first = plane.transpose(1, 2).contiguous()
        return masks_first.unflatten(2, (4 * size, 4 * size))

    def _mask_tokens(
        self, tokens: Tensor, positions: Tensor, images: Tensor
    ) -> Tensor:
        """Return (B, M, C) mask tokens after their last attention."""
        logits = self.last_attention.ask(tokens + positions)
        for prompts, rows in tiles(images):
            logits.see(prompts, rows, images[prompts, rows])
        return self.last_norm(
            tokens + self.last_attention.answer(logits, images)
        )

    def _draw_blocks(self, images: Tensor, weights: Tensor) -> Tensor:
        """Return logits (B, N, 4 * 4, M), pixels by token, of (B, M, C/8)."""
        shape = (*images.shape[:2], TOKEN_PIXELS, weights.shape[1])
        blocks = images.new_empty(shape)
        for prompts, rows in tiles(images):
            upscaled = self._upscale(images[prompts, rows])
            drawn = upscaled @ weights[prompts].transpose(1, 2)
            blocks[prompts, rows] = drawn.unflatten(1, (-1, TOKEN_PIXELS))
        return blocks

    def _upscale(self, images: Tensor) -> Tensor:
        """Upscale (B, n, C) image tokens to (B, n * 16, C / 8)."""
        first, second = self.upscaling
        x = functional.linear(images, *first).unflatten(2, (4, -1))
        x = gelu_(self.upscaling_norm.normalise(x))
        return linear_gelu(x, *second).unflatten(3, (4, -1)).flatten(1, 3)


def _as_linear(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias with the pixels of a block before channels."""
    assert isinstance(layer, nn.ConvTranspose2d)
    assert layer.bias is not None
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return weight.contiguous(), layer.bias.repeat(
        weight.shape[0] // len(layer.bias)
    )


class ImageDecoder:
    """Decoder of prompts on one embedded image, without gradients.

    The part that all prompts share is computed by the constructor, which takes
    about as long as a prompt. Gradients are never computed.

    Parameters
    ----------
    folded : FoldedDecoder
        Decoder with its constants.
    features : Tensor
        (1, C, s, s) image embedding.
    half : torch.dtype, optional
        Dtype of products, except for the predicted IoU; float32 if None.
    """

    @torch.no_grad()
    def __init__(
        self,
        folded: FoldedDecoder,
        features: Tensor,
        half: torch.dtype | None = None,
    ) -> None:
        if features.ndim != 4 or len(features) != 1:
            raise ValueError(
                f'features have shape {tuple(features.shape)}; give those of '
                'one image, (1, C, s, s)'
            )
        self._folded = folded
        self._features = features
        self._half = half
        with self._products():
            self._shared = folded.share(features)

    def _products(self) -> AbstractContextManager[object]:
        return products_in(self._half, self._features.device)

    @torch.no_grad()
    def attend(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Attended:
        """Run the transformer for B prompts; see `PromptEncoder.forward`."""
        given = {
            'points': points,
            'labels': labels,
            'boxes': boxes,
            'masks': masks,
        }
        prompts = {k: x for k, x in given.items() if x is not None}
        tokens, dense = self._folded.embed_prompts(prompts)
        image = self._shared if masks is None else (self._features, dense)
        with self._products():
            return self._folded.attend(tokens, *image)

    @torch.no_grad()
    def predict_iou(self, attended: Attended) -> Tensor:
        """Return the predicted IoU (B, 4) of four masks not yet drawn."""
        return self._folded.predict_iou(attended)

    @torch.no_grad()
    def draw(
        self, attended: Attended, masks: slice, prompts: Tensor | None = None
    ) -> Tensor:
        """Return low-res logits (b, M, 4s, 4s) of the chosen mask tokens.

        Parameters
        ----------
        attended : Attended
            Output of `attend`.
        masks : slice
            Mask tokens, see `mask_slice`.
        prompts : Tensor, optional
            (b,) indices of the prompts to draw; all if None.
        """
        with self._products():
            return self._folded.draw(attended, masks, prompts)


def _is_all(indices: Tensor, count: int) -> bool:
    """Return whether indices are 0 … count - 1, so that no copy is needed."""
    everything = torch.arange(count, device=indices.device)
    return len(indices) == count and torch.equal(indices, everything)
