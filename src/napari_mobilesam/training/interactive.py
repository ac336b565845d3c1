"""Interactive training: prompt, predict, correct (Segment Anything, A).

All prompts of a batch of images are decoded together. The image encoder runs
once per step; gradients of all rounds accumulate at the embedding and pass
through the encoder once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.losses import (
    dense_loss,
    head_loss,
    iou_of,
    mask_loss,
    pixel_weights,
)
from napari_mobilesam.training.samples import grid_stride
from napari_mobilesam.training.tensor_batch import SampleBatch, normalise
from napari_mobilesam.types import STRIDE

RANDOM_CHOICE = 0.3  # keeps mask tokens alive that are never the best
CHANNELS = 256  # of an image embedding
BOX_SHARE = 0.4  # of the first prompts; boxes are learned faster
IOU_WEIGHT = 2.0  # weight of the predicted IoU
MASK_ONLY = 0.15  # share of correction rounds without a new click


class DenseHead(nn.Module):
    """Auxiliary maps from the image embedding, used in training only.

    They let every pixel of an image teach the encoder, not just the prompted
    objects; without them, the first masks take hundreds of steps to appear.
    """

    maps = 5

    def __init__(self, input_size: int) -> None:
        super().__init__()
        upscale = STRIDE // grid_stride(input_size)
        self.project = nn.Conv2d(CHANNELS, self.maps * upscale**2, 1)
        self.shuffle = nn.PixelShuffle(upscale)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, s, s) to (B, 5, g, g) on the label grid."""
        return self.shuffle(self.project(features))


@dataclass
class MaskPrediction:
    """Masks predicted for the current prompts.

    Attributes
    ----------
    logits : Tensor
        (P, 4, 4s, 4s): the single mask, then three for ambiguous prompts.
    iou : Tensor
        (P, 4) predicted IoU.
    """

    logits: Tensor
    iou: Tensor


class PromptRounds:
    """Prompts of one batch, growing round by round.

    The first ``split`` objects are prompted by a point, the others by a box;
    clicks on the background join the points of the first round.
    """

    def __init__(self, batch: SampleBatch, rng: np.random.Generator) -> None:
        self.batch = batch
        self.rng = rng
        count = len(batch.label)
        self.by_box = torch.from_numpy(rng.random(count) < BOX_SHARE)
        self.by_box = self.by_box.to(batch.label.device)
        self.clicks = batch.points[:, None]
        self.click_labels = torch.ones_like(self.clicks[..., 0])
        self.masks: Tensor | None = None

    def embed(
        self, sam: Sam, with_background: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed prompts: sparse, dense, image index; background last."""
        box, point = self.by_box, ~self.by_box
        # With a box, the first click is omitted: the box replaces it.
        by_point, _ = sam.embed_prompts(
            self.clicks[point], self.click_labels[point]
        )
        corrected = self.clicks.shape[1] > 1
        by_box, _ = sam.embed_prompts(
            self.clicks[box, 1:] if corrected else None,
            self.click_labels[box, 1:] if corrected else None,
            self.batch.boxes[box],
        )
        sparse = by_point.new_empty(len(box), *by_point.shape[1:])
        sparse = sparse.masked_scatter(point[:, None, None], by_point)
        sparse = sparse.masked_scatter(box[:, None, None], by_box)
        index = self.batch.image_index
        if with_background and len(self.batch.background):
            clicks = self.batch.background[:, None]
            beside, _ = sam.embed_prompts(
                clicks, torch.ones_like(clicks[..., 0])
            )
            sparse = torch.cat([sparse, beside])
            index = torch.cat([index, self.batch.background_index])
        _, dense = sam.embed_prompts(masks=self.masks)
        return sparse, dense, index

    def correct(self, answer: MaskPrediction, truth: Tensor) -> None:
        """Add a click in each object's error; keep the logits as prompts."""
        best = answer.iou[: len(truth), 1:].argmax(1) + 1
        rows = torch.arange(len(truth), device=best.device)
        logits = answer.logits.detach()[rows, best]
        self.masks = logits[:, None].float()
        if self.rng.random() < MASK_ONLY:
            return
        found = functional.interpolate(
            self.masks, truth.shape[1:], mode='bilinear'
        )
        stride = self.batch.images.shape[-1] // truth.shape[-1]
        places, kinds = error_clicks(found[:, 0] > 0, truth > 0, self.rng)
        new = (places * stride + (stride - 1) / 2)[:, None]
        self.clicks = torch.cat([self.clicks, new], dim=1)
        self.click_labels = torch.cat(
            [self.click_labels, kinds[:, None]], dim=1
        )


def error_clicks(
    found: Tensor, truth: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a click in the error of each mask (Segment Anything, A).

    Parameters
    ----------
    found, truth : Tensor
        (P, h, w) bool; no object is empty.
    rng : numpy.random.Generator
        Random generator.

    Returns
    -------
    places : Tensor
        (P, 2) float x and y in pixels of the masks.
    labels : Tensor
        (P,) float: 1 where the mask lacks a piece, 0 where it leaks. Without
        any error, a positive click in the object.
    """
    error, inside = (found != truth).flatten(1), truth.flatten(1)
    region = torch.where(error.any(1, keepdim=True), error, inside)
    chance = torch.Generator(truth.device)
    chance.manual_seed(int(rng.integers(2**63)))
    index = torch.multinomial(region.float(), 1, generator=chance)
    width = truth.shape[2]
    places = torch.cat([index % width, index // width], dim=1)
    return places.float(), inside.gather(1, index)[:, 0].float()


def answer_of(
    sam: Sam, features: Tensor, sparse: Tensor, dense: Tensor, index: Tensor
) -> MaskPrediction:
    """Return all four masks of each prompt and their predicted IoU.

    Parameters
    ----------
    sam : Sam
        Model in training.
    features, sparse, dense, index
        As for `MaskDecoder.attend`.

    Returns
    -------
    MaskPrediction
        (B, 4, 4s, 4s) logits and (B, 4) IoU.
    """
    # On a CPU, the backward pass of fused attention is slow for a handful of
    # tokens.
    slow = features.device.type == 'cpu'
    with sdpa_kernel(SDPBackend.MATH) if slow else nullcontext():
        tokens, image = sam.attend(features, sparse, dense, index)
    logits = sam.mask_decoder.draw(tokens, image, slice(None))
    return MaskPrediction(logits, sam.mask_decoder.predict_iou(tokens).float())


def answer_loss(
    answer: MaskPrediction,
    truth: Tensor,
    weights: Tensor,
    single: Tensor,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the losses of masks and predicted IoU, and the reached IoU.

    Parameters
    ----------
    answer : MaskPrediction
        P objects first, then background clicks.
    truth, weights : Tensor
        (P, g, g).
    single : Tensor
        (P,) bool: prompts unambiguous enough to train the single mask on.
    rng : numpy.random.Generator
        Occasionally chooses a mask other than the best.

    Returns
    -------
    masks, iou : Tensor
        Scalar losses.
    reached : Tensor
        (P, 4) IoU of the four masks.
    """
    count = len(truth)
    with torch.no_grad():
        large = functional.interpolate(
            answer.logits[:count].detach().float(),
            truth.shape[1:],
            mode='bilinear',
        )
        reached = iou_of(large, truth)
        best = iou_of(large, truth, soft=True)[:, 1:].argmax(1) + 1
        other = torch.from_numpy(rng.integers(1, 4, count)).to(best.device)
        at_random = torch.from_numpy(rng.random(count) < RANDOM_CHOICE)
        best = torch.where(at_random.to(best.device), other, best)
        target = torch.zeros_like(answer.iou)
        target[:count] = reached
    rows = torch.arange(count, device=best.device)
    chosen = torch.cat(
        [answer.logits[rows, best], answer.logits[rows[single], 0]]
    ).float()
    chosen = functional.interpolate(
        chosen[:, None], truth.shape[1:], mode='bilinear'
    )[:, 0]
    losses = mask_loss(
        chosen,
        torch.cat([truth, truth[single]]),
        torch.cat([weights, weights[single]]),
    )
    masks = losses.sum() / max(count, 1)
    return masks, functional.mse_loss(answer.iou, target), reached


@dataclass(frozen=True)
class StepResult:
    """Numbers of one training step.

    Attributes
    ----------
    loss : float
        Sum over rounds.
    point, box : float
        Mean IoU of the best mask after the first prompt, per kind; NaN if
        there was none.
    corrected : float
        Same after the last round; NaN with a single round.
    """

    loss: float
    point: float = math.nan
    box: float = math.nan
    corrected: float = math.nan


def interactive_step(
    sam: Sam,
    batch: SampleBatch,
    rng: np.random.Generator,
    *,
    rounds: int = 1,
    head: DenseHead | None = None,
    head_weight: float = 0.0,
    half: bool = False,
    features: Tensor | None = None,
    encode: Callable[[Tensor], Tensor] | None = None,
) -> StepResult:
    """Run the rounds of one batch and leave gradients in the parameters.

    Parameters
    ----------
    sam : Sam
        Model; parameters that require gradients are trained.
    batch : SampleBatch
        Images, objects and first prompts, on the model's device.
    rng : numpy.random.Generator
        Random generator for kinds of prompts and correction clicks.
    rounds : int
        Number of rounds; 1 is only the first prompt.
    head, head_weight
        Auxiliary maps and their weight.
    half : bool
        Compute in bfloat16 where autocast considers it safe.
    features : Tensor, optional
        Precomputed embeddings, if the encoder is not trained.
    encode : callable, optional
        Compiled image encoder; by default ``sam.encode``.

    Returns
    -------
    StepResult
        Numbers of the step; if ``loss`` is not finite, the step must not be
        taken.
    """
    autocast = torch.autocast(
        batch.images.device.type, dtype=torch.bfloat16, enabled=half
    )
    encode = sam.encode if encode is None else encode
    with autocast:
        if features is None:
            features = encode(normalise(sam, batch))
    leaf = features.detach().requires_grad_()
    truth, others = batch.truth()
    weights = pixel_weights(truth, others)
    total = 0.0
    if head is not None and head_weight > 0:
        with autocast:
            maps = head(leaf)
        dense = head_weight * dense_loss(maps.float(), batch.ids[:, 0])
        dense.backward()
        total += float(dense.detach())
    if sam.instance_head is not None and len(batch.maps):
        with autocast:
            logits = sam.instance_head(leaf)
        instances = head_loss(logits.float(), batch.maps.float() / 255)
        instances.backward()
        total += float(instances.detach())
    dialogue = PromptRounds(batch, rng)
    history = []
    for turn in range(rounds):
        first = turn == 0
        with autocast:
            answer = answer_of(
                sam, leaf, *dialogue.embed(sam, with_background=first)
            )
        single = dialogue.by_box if first else torch.ones_like(dialogue.by_box)
        masks, iou, reached = answer_loss(answer, truth, weights, single, rng)
        loss = masks + IOU_WEIGHT * iou
        loss.backward()
        total += float(loss.detach())
        history.append(reached[:, 1:].max(1).values)
        if turn + 1 < rounds:
            dialogue.correct(answer, truth)
    if features.requires_grad:
        features.backward(leaf.grad)
    by_box = dialogue.by_box
    return StepResult(
        total,
        float(history[0][~by_box].mean()),
        float(history[0][by_box].mean()),
        float(history[-1].mean()) if rounds > 1 else math.nan,
    )
