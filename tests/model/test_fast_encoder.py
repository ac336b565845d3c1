"""The fast encoder equals the readable one."""

from __future__ import annotations

import pytest
import torch

from napari_mobilesam.model import fast_encoder
from napari_mobilesam.model.fast_encoder import FastTinyViT
from napari_mobilesam.model.sam import build_sam


def untrained(size=64):
    """A model whose every weight and statistic matters."""
    torch.manual_seed(0)
    model = build_sam('vit_t', input_size=size).eval()
    with torch.no_grad():
        for tensor in model.image_encoder.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model


MODEL = untrained()


def assert_same(ours, readable):
    torch.testing.assert_close(ours, readable, atol=2e-5, rtol=1e-4)


# Windows of 7 and 14 that do not, or do, divide the sides of the stages.
@pytest.mark.parametrize('size', [32, 64, 112, 224, 272])
def test_embedding_equals_that_of_the_readable_encoder(size):
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        readable = MODEL.image_encoder(x)
    assert_same(FastTinyViT(MODEL.image_encoder)(x), readable)


@pytest.mark.slow
@pytest.mark.parametrize('strip_bytes', [1, 20_000, 100_000])
def test_strips_join_without_a_seam(monkeypatch, strip_bytes):
    x = torch.randn(1, 3, 96, 96)
    whole = FastTinyViT(MODEL.image_encoder)(x)
    monkeypatch.setattr(fast_encoder, 'STRIP_BYTES', strip_bytes)
    assert_same(FastTinyViT(MODEL.image_encoder)(x), whole)


@pytest.mark.slow
@pytest.mark.parametrize(('largest', 'runs'), [(64, 2), (32, 3)])
def test_layers_of_small_inputs_are_recorded(monkeypatch, largest, runs):
    neck = fast_encoder._Neck.__call__
    calls = []

    def counted(self, x):
        calls.append(len(x))
        return neck(self, x)

    monkeypatch.setattr(fast_encoder, 'RECORDED_SIDE', largest)
    monkeypatch.setattr(fast_encoder._Neck, '__call__', counted)
    encoder = untrained().requires_grad_(False).image_encoder
    fast = FastTinyViT(encoder)
    for _ in range(3):
        x = torch.randn(1, 3, 64, 64)
        assert_same(fast(x), encoder(x))
    assert len(calls) == runs


@pytest.mark.slow
def test_images_of_a_batch_do_not_mix():
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together = MODEL.encode(x)
        for i in range(3):
            assert_same(together[i : i + 1], MODEL.encode(x[i : i + 1]))


def test_image_is_left_as_it_is():
    x = torch.randn(1, 3, 64, 64)
    before = x.clone()
    FastTinyViT(MODEL.image_encoder)(x)
    assert torch.equal(x, before)


@pytest.mark.slow
def test_training_and_gradients_use_the_readable_encoder(monkeypatch):
    monkeypatch.setattr(
        'napari_mobilesam.model.sam.FastTinyViT', lambda encoder: None
    )
    model = untrained()
    x = torch.randn(2, 3, 64, 64)
    assert model.encode(x).requires_grad
    with torch.no_grad():
        model.train().encode(x)


@pytest.mark.slow
def test_nothing_is_stale_once_weights_or_statistics_have_changed():
    model = untrained()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model.eval().encode(x)
    model.train().encode(x).square().mean().backward()
    with torch.no_grad():
        statistics = model.eval().encode(x)
    torch.optim.SGD(model.parameters(), 0.1).step()
    with torch.no_grad():
        weights = model.encode(x)
        assert_same(weights, model.image_encoder(x))
    assert (statistics - before).abs().max() > 1e-4
    assert (weights - statistics).abs().max() > 1e-4
