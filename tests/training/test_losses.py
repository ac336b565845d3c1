"""Losses, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.training.losses import (
    OFFSET_UNIT,
    centre_offsets,
    dense_loss,
    dense_targets,
    iou_of,
    mask_loss,
    pixel_weights,
)


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.zeros(2, 32, 32)
    truth[0, 4:12, 4:12] = 1
    truth[1, 12:20, 4:12] = 1
    return truth, truth.flip(0)


def test_weights_sum_to_one_and_stress_borders_and_neighbours() -> None:
    truth, others = masks()
    weights = pixel_weights(truth, others)
    assert weights.sum((1, 2)).tolist() == pytest.approx([1, 1])
    first = weights[0]
    inside, border, far = first[8, 8], first[4, 8], first[30, 30]
    neighbour, free = first[15, 8], first[8, 15]
    assert border > inside > far
    assert neighbour > free > far


def test_right_masks_cost_least_and_empty_ones_more() -> None:
    truth, others = masks()
    weights = pixel_weights(truth, others)
    right = mask_loss(20 * (2 * truth - 1), truth, weights)
    empty = mask_loss(torch.full_like(truth, -20), truth, weights)
    both = mask_loss(20 * (2 * (truth + others) - 1), truth, weights)
    assert right.max() < 1e-3
    assert (empty > 0.9).all() and (both > 0.5).all()


def test_iou_of_logits() -> None:
    truth, others = masks()
    logits = 10 * (2 * torch.stack([truth, others, truth + others], 1) - 1)
    expected = [[1, 0, 0.5], [1, 0, 0.5]]
    assert iou_of(logits, truth).tolist() == expected
    soft = iou_of(logits, truth, soft=True)
    assert torch.allclose(soft, torch.tensor(expected), atol=0.02)


def test_dense_targets_know_borders_and_seams() -> None:
    ids = torch.zeros(1, 16, 16, dtype=torch.int32)
    ids[0, 2:8, 2:8], ids[0, 8:12, 2:8], ids[0, 2:8, 12:15] = 1, 2, 3
    foreground, border, seam = dense_targets(ids)[0]
    assert foreground.sum() == 36 + 24 + 18
    assert border[4, 4] == 0 and border[2, 4] == 1 and border[7, 4] == 1
    assert seam[7, 4] == 1 and seam[8, 4] == 1 and seam[2, 4] == 0
    # Objects five pixels apart share no seam.
    assert seam[4, 7:12].sum() == 0


def test_dense_loss_falls_with_better_maps() -> None:
    ids = torch.zeros(1, 16, 16, dtype=torch.int32)
    ids[0, 2:8, 2:8] = 1
    maps = 10 * (2 * dense_targets(ids) - 1)
    right = torch.cat([maps, centre_offsets(ids)], dim=1)
    assert dense_loss(right, ids) < 1e-3
    assert dense_loss(torch.zeros_like(right), ids) > 0.5
    no_offsets = torch.cat([maps, 0 * centre_offsets(ids)], dim=1)
    assert dense_loss(no_offsets, ids) > 0.05


def test_centre_offsets_lead_to_the_centroid() -> None:
    ids = torch.zeros(2, 32, 32, dtype=torch.int32)
    ids[0, 2:9, 4:11], ids[1, 20:23, 5:12] = 1, 3
    offsets = OFFSET_UNIT * centre_offsets(ids)
    assert offsets[0, :, 2, 4].tolist() == [3, 3]
    assert offsets[0, :, 5, 7].tolist() == [0, 0]
    assert offsets[1, :, 22, 11].tolist() == [-1, -3]
    assert offsets[0, :, 20, 20].tolist() == [0, 0]
