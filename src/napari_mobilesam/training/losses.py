"""Losses of masks, predicted IoU, dense maps and the instance head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_mobilesam.model.instance_head import (
    BOUNDARY,
    CENTRE,
    FOREGROUND,
    MAPS,
)

NEAR = 17  # grid pixels: neighbourhood of an object that matters most
FAR_WEIGHT = 0.03
EDGE_WEIGHT = 1.5
NEIGHBOUR_WEIGHT = 1.5
OFFSET_UNIT = 16.0  # grid pixels
# Weight of the distances in the background, where they are 0.
BACKGROUND_WEIGHT = 0.2


def dilate(x: Tensor, size: int) -> Tensor:
    """Compute the maximum in a square of odd side ``size``; (N, h, w)."""
    half = size // 2
    rows = functional.max_pool2d(x[:, None], (size, 1), 1, (half, 0))
    return functional.max_pool2d(rows, (1, size), 1, (0, half))[:, 0]


def erode(x: Tensor, size: int) -> Tensor:
    """Compute the minimum in a square of odd side ``size``; (N, h, w)."""
    return 1 - dilate(1 - x, size)


def pixel_weights(truth: Tensor, others: Tensor) -> Tensor:
    """Return the weight of each pixel of a mask, summing to 1 per mask.

    Pixels near the object count, distant ones hardly; the border counts
    double, and so do neighbouring objects that a mask could leak into. For
    small objects, an unweighted mean would be lowest for an empty mask.

    Parameters
    ----------
    truth : Tensor
        (N, h, w) float masks of the prompted objects.
    others : Tensor
        (N, h, w) float, 1 in the other objects of the image.
    """
    near = dilate(truth, NEAR)
    edge = dilate(truth, 3) - erode(truth, 3)
    weights = (
        FAR_WEIGHT
        + (1 - FAR_WEIGHT) * near
        + EDGE_WEIGHT * edge
        + NEIGHBOUR_WEIGHT * others * near
    )
    return weights / weights.sum((1, 2), keepdim=True)


def mask_loss(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted cross entropy plus dice loss of each mask, (N,).

    Parameters
    ----------
    logits, truth, weights : Tensor
        (N, h, w) float; weights from `pixel_weights`.
    """
    entropy = functional.binary_cross_entropy_with_logits(
        logits, truth, reduction='none'
    )
    probability = logits.sigmoid()
    overlap = (probability * truth).sum((1, 2))
    total = probability.sum((1, 2)) + truth.sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return (entropy * weights).sum((1, 2)) + dice


def iou_of(logits: Tensor, truth: Tensor, soft: bool = False) -> Tensor:
    """Return the (N, M) IoU of (N, M, h, w) logits with (N, h, w) truth."""
    found = logits.sigmoid() if soft else (logits > 0).to(truth.dtype)
    flat = truth.flatten(1)
    overlap = torch.einsum('nmp,np->nm', found.flatten(2), flat)
    union = found.flatten(2).sum(2) + flat.sum(1, keepdim=True) - overlap
    return overlap / union.clamp(min=1e-6)


def dense_targets(ids: Tensor) -> Tensor:
    """Return (B, 3, h, w) foreground, border and seam maps of (B, h, w) ids.

    A seam is where two objects are within two pixels of each other.
    """
    values = ids.float()
    largest = 1e6
    highest = dilate(values, 3)
    lowest = -dilate(-values, 3)
    border = (highest != lowest) & (ids > 0)
    first = dilate(values, 5)
    missing = torch.where(ids > 0, values, largest)
    second = -dilate(-missing, 5)
    seam = (first > 0) & (second < largest) & (first != second)
    return torch.stack([ids > 0, border, seam], dim=1).float()


def centre_offsets(ids: Tensor) -> Tensor:
    """Return the offset of each pixel to the centroid of its object.

    Parameters
    ----------
    ids : Tensor
        (B, h, w) int instance ids.

    Returns
    -------
    Tensor
        (B, 2, h, w) float rows and columns, in units of `OFFSET_UNIT`; 0 in
        the background.
    """
    batch, height, width = ids.shape
    count = int(ids.max()) + 1
    first = torch.arange(batch, device=ids.device)[:, None, None] * count
    flat = (ids.long() + first).flatten()
    sizes = torch.bincount(flat, minlength=batch * count).clamp(min=1)
    offsets = []
    for axis, length in ((1, height), (2, width)):
        shape = [1, 1, 1]
        shape[axis] = length
        position = torch.arange(length, device=ids.device).view(shape)
        position = position.expand(ids.shape).float()
        sums = torch.bincount(
            flat, weights=position.flatten(), minlength=batch * count
        )
        centre = (sums / sizes)[flat].view(ids.shape).float()
        offsets.append((centre - position) / OFFSET_UNIT)
    return torch.stack(offsets, dim=1) * (ids > 0)[:, None]


def dense_loss(maps: Tensor, ids: Tensor) -> Tensor:
    """Return the loss of the predicted dense maps.

    Parameters
    ----------
    maps : Tensor
        (B, 5, h, w): logits of `dense_targets`, then `centre_offsets`, which
        separate the pixels of neighbouring objects.
    ids : Tensor
        (B, h, w) int.
    """
    target = dense_targets(ids)
    rare = target.new_tensor([1.0, 3.0, 5.0])[:, None, None]
    entropy = functional.binary_cross_entropy_with_logits(
        maps[:, :3], target, pos_weight=rare
    )
    inside = target[:, :1]
    error = (maps[:, 3:] - centre_offsets(ids)).abs() * inside
    return entropy + error.sum() / (2 * inside.sum()).clamp(min=1)


def head_loss(logits: Tensor, maps: Tensor) -> Tensor:
    """Return the loss of the maps of an instance head.

    It is the cross entropy of all maps plus the dice loss of the foreground,
    over known pixels.

    Parameters
    ----------
    logits : Tensor
        (B, 3, h, w) from `InstanceHead.forward`.
    maps : Tensor
        (B, 4, h, w): target maps, and mask of known pixels.
    """
    target, known = maps[:, :MAPS], maps[:, MAPS]
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target, reduction='none'
    )
    foreground = target[:, FOREGROUND]
    weight = known * (BACKGROUND_WEIGHT + (1 - BACKGROUND_WEIGHT) * foreground)
    distances = entropy[:, CENTRE] + entropy[:, BOUNDARY]
    found = logits[:, FOREGROUND].sigmoid() * known
    overlap = (found * foreground).sum((1, 2))
    total = found.sum((1, 2)) + (foreground * known).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    loss: Tensor = (
        (entropy[:, FOREGROUND] * known).sum() / known.sum().clamp(min=1)
        + (distances * weight).sum() / weight.sum().clamp(min=1)
        + dice.mean()
    )
    return loss
