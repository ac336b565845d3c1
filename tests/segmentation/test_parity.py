"""Predictions and automatic masks equal those of the reference.

Limits are those of the golden outputs: logits 2e-3, predicted IoU 1e-5, mask
IoU at least 0.999, the same number of automatic masks.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from reference.image import golden_image

from napari_mobilesam.segmentation.image import as_rgb_plane, resize
from napari_mobilesam.segmentation.mask_generator import generate_masks
from napari_mobilesam.segmentation.predictor import Predictor
from napari_mobilesam.types import Frame

from .helpers import iou, paste

POINT = {'points': [[180, 331]], 'labels': [1]}
BOX = {'box': [110, 250, 380, 520]}
CASES = {
    'point1': POINT,
    'points2': {'points': [[180, 331], [300, 460]], 'labels': [1, 0]},
    'box': BOX,
    'boxpoint': {**BOX, 'points': [[300, 460]], 'labels': [1]},
    'boxneg': {**BOX, 'points': [[300, 460]], 'labels': [0]},
    'maskprompt': POINT,
    'maskonly': {},
}
RUNS = [
    (case, suffix)
    for case in CASES
    for suffix in ('multi', 'single')
    if (case, suffix) != ('maskonly', 'single')
]
# Names of the parameters in the reference.
PARAMETERS = {
    'points_per_side': 'points_per_side',
    'pred_iou_thresh': 'predicted_iou',
    'stability_score_thresh': 'stability',
    'box_nms_thresh': 'box_nms',
    'crop_n_layers': 'crop_layers',
    'crop_n_points_downscale_factor': 'crop_points_downscale',
}


@pytest.fixture(scope='module')
def predictor(golden_model):
    return Predictor(golden_model)


@pytest.fixture(scope='module')
def embedding(predictor):
    return predictor.embed_window(golden_image())


def assert_as_reference(prediction, golden, name, index=...):
    scores = golden[f'{name}_iou'][index]
    assert np.abs(prediction.scores - scores).max() < 1e-5
    logits = golden[f'{name}_low_stride4'][index]
    assert np.abs(prediction.logits[:, ::4, ::4] - logits).max() < 2e-3
    packed = golden[f'{name}_mask_packed'][index]
    expected = np.unpackbits(packed, axis=-1).astype(bool)
    assert prediction.masks.shape == expected.shape
    for mask, plane in zip(prediction.masks, expected, strict=True):
        assert iou(mask, plane) >= 0.999
    for number, plane in enumerate(expected):
        cropped = prediction.mask(number)
        assert iou(paste(cropped, plane.shape), plane) >= 0.999


def test_resized_input_is_byte_for_byte_the_reference(golden):
    rgb = as_rgb_plane(golden_image())
    frame = Frame.of(rgb.shape[:2], (0, 0, *rgb.shape[:2]), 1024)
    resized = resize(rgb, frame.input_shape)
    assert resized.shape == tuple(golden['resized_shape'])
    assert np.array_equal(resized[::32, ::32], golden['resized_stride32'])
    digest = hashlib.sha256(resized.tobytes()).hexdigest()
    assert digest == str(golden['resized_sha256'])


def test_embedding_equals_the_reference(golden, embedding):
    features = embedding.features[0].numpy()
    difference = np.abs(features[:, ::4, ::4] - golden['emb_stride4'])
    assert difference.max() < 1e-4


@pytest.mark.parametrize(('case', 'suffix'), RUNS)
def test_prompts_equal_the_reference(
    golden, predictor, embedding, case, suffix
):
    prompts = dict(CASES[case])
    if case.startswith('mask'):
        prompts['mask_input'] = golden['maskprompt_input']
    prediction = predictor.predict(
        embedding, **prompts, multimask=suffix == 'multi'
    )
    assert_as_reference(prediction, golden, f'{case}_{suffix}')


@pytest.mark.parametrize('suffix', ['multi', 'single'])
def test_boxes_equal_the_reference(golden, predictor, embedding, suffix):
    for index, (x0, y0, x1, y1) in enumerate(golden['boxes5_input']):
        prediction = predictor.predict(
            embedding, box=[y0, x0, y1, x1], multimask=suffix == 'multi'
        )
        assert_as_reference(prediction, golden, f'boxes5_{suffix}', index)


# Hundreds of prompts on the full-size model: minutes on a busy machine.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    'prefix', ['amg0', pytest.param('amg1', marks=pytest.mark.slow)]
)
def test_automatic_masks_equal_the_reference(golden, golden_model, prefix):
    given = json.loads(str(golden[f'{prefix}_params']))
    parameters = {PARAMETERS[name]: value for name, value in given.items()}
    masks = generate_masks(
        golden_image(),
        golden_model,
        whole_image=True,
        adaptive=False,
        **parameters,
    )
    packed = golden[f'{prefix}_mask_packed']
    expected = np.unpackbits(packed, axis=-1).astype(bool)
    assert len(masks) == len(expected)
    scores = [mask.score for mask in masks]
    assert scores == sorted(scores, reverse=True)
    unmatched = list(masks)
    for index, plane in enumerate(expected):
        overlaps = [iou(paste(m, plane.shape), plane) for m in unmatched]
        mask = unmatched.pop(int(np.argmax(overlaps)))
        assert max(overlaps) >= 0.999
        assert_record_as_reference(mask, golden, prefix, index)


def assert_record_as_reference(mask, golden, prefix, index):
    def stored(name):
        return golden[f'{prefix}_{name}'][index]

    assert mask.score == pytest.approx(stored('predicted_iou'), abs=1e-5)
    assert mask.stability == pytest.approx(stored('stability_score'), abs=1e-3)
    assert mask.point[::-1] == pytest.approx(tuple(stored('point')))
    row0, column0, row1, column1 = mask.crop_box
    crop = (column0, row0, column1 - column0, row1 - row0)
    assert crop == tuple(stored('crop_box_xywh'))
    # The reference's boxes end on the last pixel.
    row0, column0, row1, column1 = mask.box
    box = (column0, row0, column1 - 1 - column0, row1 - 1 - row0)
    assert np.abs(np.subtract(box, stored('bbox_xywh'))).max() <= 1
