"""The decoder of one image equals the readable decoder."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mobilesam.model.folded_attention import weights_of
from napari_mobilesam.model.mask_decoder import mask_slice
from napari_mobilesam.model.sam import EMBEDDINGS_KEPT, build_sam
from napari_mobilesam.model.threads import ThreadTeam

SIZE = 128


def untrained(size=SIZE):
    torch.manual_seed(0)
    model = build_sam('vit_t', input_size=size).eval()
    # Layers as they are built answer nearly the same to every prompt.
    with torch.no_grad():
        for parameter in model.mask_decoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


MODEL = untrained().requires_grad_(False)
FEATURES = torch.randn(1, 256, SIZE // 16, SIZE // 16)


@st.composite
def prompts(draw):
    """Points, boxes, masks, and what can be given together."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    batch = draw(st.integers(1, 5))
    given_ = {}
    if count := draw(st.integers(0, 3)):
        given_['points'] = SIZE * torch.rand(
            batch, count, 2, generator=generator
        )
        given_['labels'] = torch.randint(
            0, 2, (batch, count), generator=generator
        )
    if draw(st.booleans()):
        corners = SIZE * torch.rand(batch, 2, 2, generator=generator)
        given_['boxes'] = corners.sort(dim=1).values.flatten(1)
    if draw(st.booleans()) or not given_:
        given_['masks'] = torch.randn(
            batch, 1, SIZE // 4, SIZE // 4, generator=generator
        )
    return given_


def decode(decoder, given_prompts, multimask):
    """Logits and predicted IoU of all prompts."""
    attended = decoder.attend(**given_prompts)
    masks = mask_slice(multimask)
    return decoder.draw(attended, masks), decoder.predict_iou(attended)[
        :, masks
    ]


def assert_same(ours, readable):
    for one, other in zip(ours, readable, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@given(prompts(), st.booleans())
def test_masks_and_scores_equal_those_of_the_readable_decoder(
    given_prompts, multimask
):
    with torch.no_grad():
        readable = MODEL.decode(
            FEATURES, *MODEL.embed_prompts(**given_prompts), multimask
        )
    decoder = MODEL.image_decoder(FEATURES)
    assert_same(decode(decoder, given_prompts, multimask), readable)


@pytest.mark.slow
@given(prompts(), st.booleans())
def test_answers_on_several_images_equal_those_of_the_readable_decoder(
    given_prompts, multimask
):
    count = len(next(iter(given_prompts.values())))
    features = torch.randn(count, 256, SIZE // 16, SIZE // 16)
    ours = MODEL.answer(features, given_prompts, multimask)
    with torch.no_grad():
        readable = MODEL.decode(
            features,
            *MODEL.embed_prompts(**given_prompts),
            multimask,
            torch.arange(count),
        )
    assert_same(ours, readable)


@pytest.mark.slow
def test_an_answer_is_recorded_whatever_its_number_of_points():
    model = untrained().requires_grad_(False)
    for images, recordings in ((1, 1), (2, 2), (1, 2)):
        features = FEATURES.expand(images, -1, -1, -1)
        for count in (1, 2, 5):
            clicks = {
                'points': SIZE * torch.rand(images, count, 2),
                'labels': torch.ones(images, count),
            }
            readable = model.decode(
                FEATURES, *model.embed_prompts(**clicks), True
            )
            assert_same(model.answer(features, clicks, True), readable)
        found = recorded(model)
        assert len(found) == recordings
        assert all(isinstance(x, torch.jit.ScriptFunction) for x in found)


def recorded(model):
    """Recorded answers of the model."""
    ((_, folded),) = model._folded_decoder._kept
    return [
        known
        for answer in folded._answers.values()
        for known in answer._known.values()
    ]


@pytest.mark.parametrize('masks', [slice(0, 4), slice(1, None), slice(0, 1)])
def test_masks_of_some_prompts_are_those_of_all(masks):
    decoder = MODEL.image_decoder(FEATURES)
    attended = decoder.attend(boxes=torch.rand(5, 4) * SIZE)
    chosen = torch.tensor([4, 1])
    torch.testing.assert_close(
        decoder.draw(attended, masks, chosen),
        decoder.draw(attended, masks)[chosen],
        atol=1e-5,
        rtol=1e-5,
    )


def test_gradients_are_not_kept():
    box = {'boxes': torch.tensor([[1.0, 2, 30, 40]])}
    logits, iou = decode(MODEL.image_decoder(FEATURES), box, True)
    assert not logits.requires_grad
    assert not iou.requires_grad


@pytest.mark.slow
def test_what_an_image_shares_is_computed_once():
    model = untrained(64)
    images = [torch.randn(1, 256, 4, 4) for _ in range(EMBEDDINGS_KEPT + 1)]
    first = model.image_decoder(images[0])
    assert model.image_decoder(images[0]) is first
    assert model.image_decoder(images[1]) is not first
    assert model.image_decoder(images[0]) is first
    for features in images[1:]:
        model.image_decoder(features)
    assert model.image_decoder(images[0]) is not first


def one_step(model):
    model.mask_decoder.requires_grad_()
    optimiser = torch.optim.SGD(model.mask_decoder.parameters(), 0.1)
    features = torch.randn(1, 256, 4, 4)
    boxes = model.embed_prompts(boxes=torch.tensor([[1.0, 2, 30, 40]]))
    logits, iou = model.decode(features, *boxes, multimask=True)
    (logits.square().mean() + iou.square().mean()).backward()
    optimiser.step()


def other_weights(model):
    torch.manual_seed(5)
    model.load_state_dict(build_sam('vit_t', input_size=64).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize('change', [one_step, other_weights])
def test_nothing_is_stale_once_weights_have_changed(change):
    model = untrained(64)
    features = torch.randn(1, 256, 4, 4)
    box = {'boxes': torch.tensor([[1.0, 2, 30, 40]])}
    before, _ = decode(model.image_decoder(features), box, True)
    model.answer(features, box, True)
    key = model.key
    change(model)
    assert model.key != key
    with torch.no_grad():
        readable = model.decode(features, *model.embed_prompts(**box), True)
    ours = decode(model.image_decoder(features), box, True)
    assert_same(ours, readable)
    assert_same(model.answer(features, box, True), readable)
    assert (ours[0] - before).abs().max() > 1e-3


def test_nothing_is_stale_once_the_features_have_changed():
    model = untrained(64)
    features = torch.randn(1, 256, 4, 4)
    decoder = model.image_decoder(features)
    features.mul_(2)
    assert model.image_decoder(features) is not decoder


@pytest.mark.slow
@pytest.mark.parametrize('trained', [True, False])
def test_a_copy_of_the_model_has_weights_of_its_own(trained):
    model = untrained(64).requires_grad_(trained)
    features = torch.randn(1, 256, 4, 4)
    box = {'boxes': torch.tensor([[1.0, 2, 30, 40]])}
    before = decode(model.image_decoder(features), box, True)
    model.answer(features, box, True)
    twin = copy.deepcopy(model)
    one_step(twin)
    after = decode(model.image_decoder(features), box, True)
    assert_same(after, before)
    changed = decode(twin.image_decoder(features), box, True)
    assert (changed[0] - before[0]).abs().max() > 1e-3
    assert_same(model.answer(features, box, True), before)
    assert_same(twin.answer(features, box, True), changed)


def test_features_of_several_images_are_refused():
    with pytest.raises(ValueError, match=r'\(2, 256, 8, 8\)'):
        MODEL.image_decoder(torch.zeros(2, 256, 8, 8))


def test_a_batch_gives_what_its_prompts_give_alone():
    decoder = MODEL.image_decoder(FEATURES)
    boxes = torch.rand(3, 4) * SIZE
    together, _ = decode(decoder, {'boxes': boxes}, False)
    for i in range(3):
        alone, _ = decode(decoder, {'boxes': boxes[i : i + 1]}, False)
        torch.testing.assert_close(
            together[i : i + 1], alone, atol=1e-5, rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, 5])
def test_workers_decode_as_one_thread_does(count):
    boxes = torch.rand(12, 4) * SIZE

    def decode_some(start):
        decoder = MODEL.image_decoder(FEATURES)
        return decode(decoder, {'boxes': boxes[start : start + 3]}, True)

    starts = range(0, 12, 3)
    serial = ThreadTeam(1, nullcontext).map(decode_some, starts)
    for one, other in zip(
        ThreadTeam(count, nullcontext).map(decode_some, starts),
        serial,
        strict=True,
    ):
        assert_same(one, other)


def test_attention_weights_are_never_denormal():
    logits = torch.linspace(-200, 0, 1000)[None]
    weights = weights_of(logits, 1)
    positive = weights[weights > 0]
    assert positive.min() > torch.finfo(torch.float32).tiny
    torch.testing.assert_close(weights, logits.softmax(1), atol=1e-29, rtol=0)
