"""The model at other sizes, in batches, and in training."""

from __future__ import annotations

import pickle

import pytest
import torch

from napari_mobilesam.model.image_encoder_vit import (
    VIT_CONFIGS,
    ImageEncoderViT,
    ViTConfig,
)
from napari_mobilesam.model.sam import build_sam


@pytest.fixture(scope='module')
def small():
    torch.manual_seed(0)
    return build_sam('vit_t', input_size=128).eval().requires_grad_(False)


@pytest.mark.slow
@pytest.mark.parametrize('size', [64, 128, 144])
def test_input_size_is_a_property_of_the_model(size):
    model = build_sam('vit_t', input_size=size).eval()
    with torch.inference_mode():
        features = model.encode(model.preprocess(torch.zeros(1, 3, size, 40)))
        logits, iou = model.decode(
            features,
            *model.embed_prompts(boxes=torch.tensor([[1.0, 2, 30, 40]])),
            multimask=True,
        )
    assert features.shape == (1, 256, size // 16, size // 16)
    assert logits.shape == (1, 3, size // 4, size // 4)
    assert iou.shape == (1, 3)


@pytest.mark.parametrize('size', [0, 16, 100])
def test_impossible_input_size_is_refused(size):
    with pytest.raises(ValueError, match=f'input_size is {size}'):
        build_sam('vit_t', input_size=size)


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match='unknown architecture .vit_x'):
        build_sam('vit_x')


@pytest.mark.parametrize('name', VIT_CONFIGS)
def test_vit_encoders_have_sams_size(name):
    config = VIT_CONFIGS[name]
    with torch.device('meta'):
        encoder = ImageEncoderViT(config)
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    assert millions == pytest.approx(
        {'vit_b': 89.7, 'vit_l': 308.3, 'vit_h': 637.0}[name], abs=0.1
    )


def test_vit_attention_equals_plain_arithmetic():
    torch.manual_seed(1)
    encoder = ImageEncoderViT(ViTConfig(24, 1, 2, (0,)), input_size=48)
    attention = encoder.blocks[0].attn
    torch.nn.init.normal_(attention.rel_pos_h)
    torch.nn.init.normal_(attention.rel_pos_w)
    side, x = 3, torch.randn(1, 9, 24)
    query, key, value = (
        attention.qkv(x).view(9, 3, 2, 12).permute(1, 2, 0, 3).unbind()
    )
    scores = query @ key.transpose(1, 2) / 12**0.5
    for i in range(9):
        for j in range(9):
            row = attention.rel_pos_h[i // side - j // side + side - 1]
            column = attention.rel_pos_w[i % side - j % side + side - 1]
            scores[:, i, j] += query[:, i] @ row + query[:, i] @ column
    expected = (scores.softmax(-1) @ value).transpose(0, 1).reshape(1, 9, 24)
    torch.testing.assert_close(attention(x), attention.proj(expected))


@pytest.mark.slow
@pytest.mark.parametrize('images', [2, 5])
def test_prompts_of_several_images_decode_as_one_by_one(small, images):
    features = torch.randn(images, 256, 8, 8)
    points = torch.rand(5, 2, 2) * 128
    labels = torch.tensor([[1, 0], [1, 1], [1, -1], [0, 1], [1, 1]])
    image_index = torch.tensor([1, 0, 0, 1, 1])
    together = small.decode(
        features,
        *small.embed_prompts(points, labels),
        multimask=True,
        image_index=image_index,
    )
    for i, image in enumerate(image_index):
        alone = small.decode(
            features[image : image + 1],
            *small.embed_prompts(points[i : i + 1], labels[i : i + 1]),
            multimask=True,
        )
        for ours, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(
                ours[i : i + 1], expected, atol=1e-4, rtol=1e-4
            )


def test_mask_prompts_of_several_images_decode_as_one_by_one(small):
    features = torch.randn(2, 256, 8, 8)
    masks = torch.randn(3, 1, 32, 32)
    image_index = torch.tensor([1, 0, 1])
    logits, _ = small.decode(
        features,
        *small.embed_prompts(masks=masks),
        multimask=False,
        image_index=image_index,
    )
    alone, _ = small.decode(
        features[1:], *small.embed_prompts(masks=masks[2:]), multimask=False
    )
    torch.testing.assert_close(logits[2:], alone, atol=1e-4, rtol=1e-4)


def test_inference_equals_training_mode_with_frozen_statistics(small):
    x = torch.randn(2, 3, 128, 128)
    folded = small.encode(x)
    small.train()
    for module in small.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    try:
        torch.testing.assert_close(
            small.encode(x), folded, atol=1e-4, rtol=1e-4
        )
    finally:
        small.eval()


@pytest.mark.slow
def test_every_used_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = build_sam('vit_t', input_size=64)
    features = model.encode(torch.randn(2, 3, 64, 64))
    index = torch.tensor([0, 1])
    loss = features.new_zeros(())
    points, labels = torch.rand(2, 2, 2) * 64, torch.tensor([[1, 0], [1, 0]])
    boxes, masks = torch.rand(2, 4) * 64, torch.randn(2, 1, 16, 16)
    for prompts in (
        {'points': points, 'labels': labels},
        {'boxes': boxes, 'masks': masks},
    ):
        for multimask in (True, False):
            logits, iou = model.decode(
                features, *model.embed_prompts(**prompts), multimask, index
            )
            loss = loss + logits.square().mean() + iou.square().mean()
    loss.backward()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    assert without == {
        'image_encoder.norm_head.weight',
        'image_encoder.norm_head.bias',
        'image_encoder.head.weight',
        'image_encoder.head.bias',
    }


@pytest.mark.slow
def test_key_tells_weights_apart():
    torch.manual_seed(0)
    first = build_sam('vit_t', input_size=64)
    same = build_sam('vit_t', input_size=64)
    same.load_state_dict(first.state_dict())
    other = build_sam('vit_t', input_size=64)
    assert first.key == same.key
    assert first.key != other.key


@pytest.mark.parametrize('architecture', ['vit_t', 'vit_b'])
def test_encoding_can_be_stopped_between_layers(architecture):
    model = build_sam(architecture, input_size=32).eval()
    image = torch.zeros(1, 3, 32, 32)
    calls = []

    def third_time():
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with (
        torch.no_grad(),
        pytest.raises(InterruptedError),
        model.giving_way(third_time),
    ):
        model.encode(image)
    with torch.no_grad():
        model.encode(image)
    assert len(calls) == 3


def used(model):
    """Features and answer to a box; embedded twice, to record the layers."""
    image = torch.linspace(0, 255, 3 * 64 * 64).view(1, 3, 64, 64)
    boxes = torch.tensor([[10.0, 12, 40, 50]])
    with torch.no_grad(), model.threads():
        for _ in range(2):
            features = model.encode(model.preprocess(image))
            answer = model.answer(features, {'boxes': boxes}, True)
    return features, *answer


@pytest.mark.slow
@pytest.mark.parametrize('trained', [True, False])
def test_a_model_that_was_used_is_pickled_as_a_fresh_one(trained):
    torch.manual_seed(0)
    model = build_sam('vit_t', input_size=64).eval().requires_grad_(trained)
    size = len(pickle.dumps(model))
    before = used(model)
    packed = pickle.dumps(model)
    assert len(packed) < 1.01 * size
    again = pickle.loads(packed)
    assert again.key == model.key
    for mine, given in zip(used(again), before, strict=True):
        torch.testing.assert_close(mine, given)
