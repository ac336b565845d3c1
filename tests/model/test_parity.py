"""The model computes what the reference implementation computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference.image import golden_image

from napari_mobilesam.model.sam import build_sam

REFERENCE = Path(__file__).parents[1] / 'reference'
LONG_SIDE = 800  # of the golden image; its input is 1024 wide

EMBEDDING_LIMIT = 1e-4
LOGITS_LIMIT = 2e-3
IOU_LIMIT = 1e-5

POSITIVE, OTHER = [331, 180], [460, 300]
BOX = [250, 110, 520, 380]
# name: points (x, y), labels, box, whether a mask is given
CASES = {
    'point1': ([POSITIVE], [1], None, False),
    'points2': ([POSITIVE, OTHER], [1, 0], None, False),
    'box': (None, None, BOX, False),
    'boxpoint': ([OTHER], [1], BOX, False),
    'boxneg': ([OTHER], [0], BOX, False),
    'maskprompt': ([POSITIVE], [1], None, True),
    'maskonly': (None, None, None, True),
}


@pytest.fixture(scope='module')
def embedding(golden_model, golden):
    image = Image.fromarray(golden_image())
    height, width, _ = golden['resized_shape']
    resized = np.array(image.resize((width, height), Image.BILINEAR))
    rgb = torch.from_numpy(resized).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        network_input = golden_model.preprocess(rgb)
        np.testing.assert_allclose(
            network_input[0, :, ::32, ::32],
            golden['input_stride32'],
            atol=1e-6,
        )
        return golden_model.encode(network_input)


def to_input(xy):
    scaled = np.asarray([xy], dtype=np.float32) * (1024 / LONG_SIDE)
    return torch.from_numpy(scaled)


def assert_close_to_golden(logits, iou, golden, name):
    low = golden[f'{name}_low_stride4']
    logits, iou = logits.numpy(), iou.numpy()
    if low.ndim == 3:
        logits, iou = logits[0], iou[0]
    np.testing.assert_allclose(
        logits[..., ::4, ::4], low, atol=LOGITS_LIMIT, rtol=0
    )
    np.testing.assert_allclose(
        iou, golden[f'{name}_iou'], atol=IOU_LIMIT, rtol=0
    )
    mean, std = golden[f'{name}_low_mean_std']
    np.testing.assert_allclose(
        logits.mean(axis=(-2, -1)), mean, atol=LOGITS_LIMIT
    )
    np.testing.assert_allclose(
        logits.std(axis=(-2, -1)), std, atol=LOGITS_LIMIT
    )


def test_embedding(embedding, golden):
    array = embedding[0].numpy()
    for values, name in (
        (array[:, ::4, ::4], 'emb_stride4'),
        (array.mean(axis=0), 'emb_pixel_mean'),
    ):
        np.testing.assert_allclose(
            values, golden[name], atol=EMBEDDING_LIMIT, rtol=0
        )
    np.testing.assert_allclose(
        array.mean(axis=(1, 2)),
        golden['emb_channel_mean_std'][0],
        atol=EMBEDDING_LIMIT,
    )


def test_positional_encoding(golden_model, golden):
    positions = golden_model.prompt_encoder.dense_positions()
    np.testing.assert_allclose(
        positions[0, :, ::8, ::8], golden['dense_pe_stride8'], atol=1e-5
    )


@pytest.mark.parametrize('output', ['multi', 'single'])
@pytest.mark.parametrize('case', CASES)
def test_prompts(case, output, embedding, golden_model, golden):
    if f'{case}_{output}_iou' not in golden:
        assert (case, output) == ('maskonly', 'single')
        return
    points, labels, box, with_mask = CASES[case]
    with torch.inference_mode():
        sparse, dense = golden_model.embed_prompts(
            None if points is None else to_input(points),
            None if labels is None else torch.tensor([labels]),
            None if box is None else to_input(box),
            torch.from_numpy(golden['maskprompt_input'].astype(np.float32))[
                None
            ]
            if with_mask
            else None,
        )
        logits, iou = golden_model.decode(
            embedding, sparse, dense, multimask=output == 'multi'
        )
    assert_close_to_golden(logits, iou, golden, f'{case}_{output}')


@pytest.mark.parametrize('output', ['multi', 'single'])
def test_batch_of_boxes(output, embedding, golden_model, golden):
    boxes = to_input(golden['boxes5_input'])[0]
    with torch.inference_mode():
        logits, iou = golden_model.decode(
            embedding,
            *golden_model.embed_prompts(boxes=boxes),
            multimask=output == 'multi',
        )
    assert_close_to_golden(logits, iou, golden, f'boxes5_{output}')


def test_decoder_alone(golden_model, golden):
    features = np.random.RandomState(123).standard_normal((1, 256, 64, 64))
    with torch.inference_mode():
        sparse, dense = golden_model.embed_prompts(
            torch.tensor([[[423.68, 230.4]]]), torch.tensor([[1]])
        )
        np.testing.assert_allclose(sparse, golden['syn_sparse'], atol=1e-5)
        tokens, image = golden_model.attend(
            torch.from_numpy(features.astype(np.float32)), sparse, dense
        )
        decoder = golden_model.mask_decoder
        logits = decoder.draw(tokens, image, slice(0, 4))[0]
        iou = decoder.predict_iou(tokens)[0]
    np.testing.assert_allclose(
        logits[:, ::4, ::4], golden['syn_low_stride4'], atol=LOGITS_LIMIT
    )
    np.testing.assert_allclose(iou, golden['syn_iou'], atol=IOU_LIMIT)


@pytest.mark.parametrize(
    ('architecture', 'manifest'),
    [
        ('vit_t', 'state_dict_manifest.json'),
        ('vit_b', 'sam_vit_b_manifest.json'),
    ],
)
def test_state_dict_is_the_official_one(architecture, manifest):
    official = json.loads((REFERENCE / manifest).read_text())
    ours = build_sam(architecture).state_dict()
    assert {key: list(value.shape) for key, value in ours.items()} == {
        key: entry['shape'] for key, entry in official.items()
    }
