"""Half precision where it is safe: a CPU stands in for the GPU."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.model import precision, sam
from napari_mobilesam.model.precision import autocast_is_there, half_precision
from napari_mobilesam.model.sam import build_sam


@pytest.fixture
def half(monkeypatch):
    """Make this CPU a device that has half precision."""
    monkeypatch.setattr(sam, 'half_precision', lambda device: torch.bfloat16)
    # The fast encoder is for CPUs.
    monkeypatch.setattr(
        sam.Sam, '_encoder', lambda self, device: self.image_encoder
    )


def model_and_image(size=64):
    torch.manual_seed(0)
    model = build_sam('vit_t', input_size=size).eval()
    with torch.no_grad():
        for parameter in model.mask_decoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model, torch.randn(1, 3, size, size)


@pytest.mark.slow
@torch.no_grad()
def test_embedding_is_close_and_of_full_type(half):
    model, x = model_and_image()
    full = model.image_encoder(x)
    embedding = model.encode(x)
    assert embedding.dtype == torch.float32
    assert 0 < (embedding - full).abs().max() < 0.2 * full.abs().max()


@pytest.mark.slow
@torch.no_grad()
def test_answers_are_close_and_scores_of_full_type(half):
    model, x = model_and_image()
    features = model.image_encoder(x)
    box = {'boxes': torch.tensor([[1.0, 2, 30, 40], [9, 9, 60, 50]])}
    logits, iou = model.decode(
        features, *model.embed_prompts(**box), multimask=True
    )
    ours = model.answer(features.expand(2, -1, -1, -1), box, True)
    assert ours[1].dtype == torch.float32
    assert (ours[1] - iou).abs().max() < 0.02 + 0.05 * iou.abs().max()
    difference = (ours[0] - logits).abs().max()
    assert 0 < difference < 0.05 * logits.abs().max()


@pytest.mark.slow
@torch.no_grad()
def test_masks_as_prompts_are_answered_in_half_precision(half):
    model, x = model_and_image()
    features = model.image_encoder(x).expand(2, -1, -1, -1)
    masks = {'masks': torch.randn(2, 1, 16, 16)}
    logits, iou = model.answer(features, masks, multimask=False)
    assert logits.isfinite().all()
    assert iou.isfinite().all()


@torch.no_grad()
def test_overflow_is_computed_again_in_full_precision(half):
    class Overflows(torch.nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            half = torch.is_autocast_enabled('cpu')
            return x + float('inf') if half else x

    model, x = model_and_image()
    model.image_encoder = Overflows().eval()
    assert torch.equal(model.encode(x), x)
    assert model.image_encoder.calls == 2
    assert torch.equal(model.encode(x), x)
    assert model.image_encoder.calls == 3, 'half was tried again'


@pytest.mark.slow
def test_training_is_left_to_its_own_precision(half):
    model, x = model_and_image()
    torch.testing.assert_close(model.encode(x), model.image_encoder(x))


@pytest.mark.parametrize(
    ('device', 'capability', 'expected'),
    [
        ('cpu', None, None),
        ('cuda', (6, 1), None),
        ('cuda', (7, 5), torch.float16),
        ('cuda', (9, 0), torch.float16),
    ],
)
def test_devices(monkeypatch, device, capability, expected):
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda device: capability
    )
    assert half_precision(torch.device(device)) is expected


@pytest.mark.parametrize('there', [True, False])
def test_mps_needs_a_torch_with_autocast_for_it(monkeypatch, there):
    monkeypatch.setattr(precision, 'autocast_is_there', lambda kind: there)
    expected = torch.float16 if there else None
    assert half_precision(torch.device('mps')) is expected


def test_autocast_is_found():
    assert autocast_is_there('cpu')
    assert not autocast_is_there('vulkan')
