"""Grounding DINO and CLIPSeg of transformers, small and untrained."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_mobilesam.model import text_detectors
from napari_mobilesam.model.text_detectors import (
    ClipSeg,
    DetectorError,
    GroundingDino,
    load_downloaded,
    normalised,
)

transformers = pytest.importorskip('transformers')
WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '.', 'cell', 'coin']


@pytest.fixture(scope='module')
def image():
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def dino_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dino')
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=9,
        max_text_len=16,
    )
    torch.manual_seed(0)
    model = transformers.GroundingDinoForObjectDetection(config)
    model.save_pretrained(folder)
    vocabulary = folder / 'vocab.txt'
    vocabulary.write_text('\n'.join(WORDS))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(folder)
    vocabulary.write_text('\n'.join(WORDS))
    return folder


@pytest.fixture(scope='module')
def clipseg_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clipseg')
    small = {
        'hidden_size': 16,
        'intermediate_size': 16,
        'num_attention_heads': 2,
        'projection_dim': 16,
    }
    config = transformers.CLIPSegConfig(
        text_config={
            **small,
            'vocab_size': 8,
            'num_hidden_layers': 1,
            'max_position_embeddings': 16,
            'bos_token_id': 0,
            'eos_token_id': 1,
            'pad_token_id': 1,
        },
        vision_config={
            **small,
            'num_hidden_layers': 2,
            'image_size': 64,
            'patch_size': 16,
        },
        projection_dim=16,
        reduce_dim=8,
        extract_layers=[0, 1],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    torch.manual_seed(0)
    transformers.CLIPSegForImageSegmentation(config).save_pretrained(folder)
    words = ['<|startoftext|>', '<|endoftext|>', 'c', 'o', 'i', 'n', 'n</w>']
    (folder / 'vocab.json').write_text(
        json.dumps({word: number for number, word in enumerate(words)})
    )
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    tokenizer = transformers.CLIPTokenizer(
        str(folder / 'vocab.json'), str(folder / 'merges.txt')
    )
    tokenizer.save_pretrained(folder)
    return folder


def test_grounding_dino_draws_boxes(dino_folder, image):
    detector = GroundingDino(dino_folder, least=0.0, sides=(64, 96))
    boxes, scores = detector.boxes(image, 'Cell')
    assert boxes.shape == (9, 4)
    assert boxes.dtype == scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    half = GroundingDino(
        dino_folder, least=float(np.median(scores)), sides=(64, 96)
    )
    assert len(half.boxes(image, 'cell')[0]) == 5


def test_grounding_dino_is_that_of_transformers(dino_folder, image):
    detector = GroundingDino(dino_folder, least=0.0, sides=(64, 96))
    boxes, scores = detector.boxes(image, 'cell')
    model = transformers.GroundingDinoForObjectDetection.from_pretrained(
        dino_folder
    ).eval()
    with torch.no_grad():
        answer = model(
            pixel_values=normalised(image, (64, 96)),
            input_ids=torch.tensor([[2, 5, 4, 3]]),
            attention_mask=torch.ones((1, 4), dtype=torch.long),
            token_type_ids=torch.zeros((1, 4), dtype=torch.long),
        )
    expected = answer.logits[0].sigmoid().amax(-1).numpy()
    assert np.allclose(scores, expected, atol=1e-5)
    x, y, width, height = answer.pred_boxes[0].numpy().T
    assert np.allclose(boxes[:, 0], (y - height / 2) * 60, atol=1e-3)
    assert np.allclose(boxes[:, 3], (x + width / 2) * 90, atol=1e-3)


def test_clipseg_boxes_parts_of_its_map(clipseg_folder, image):
    boxes, scores = ClipSeg(clipseg_folder, least=0.0).boxes(image, 'coin')
    assert boxes.tolist() == [[0, 0, 60, 90]]
    assert 0 < scores[0] < 1
    none, _ = ClipSeg(clipseg_folder, least=1.0).boxes(image, 'coin')
    assert none.shape == (0, 4)
    several, both = ClipSeg(clipseg_folder, least=0.0).boxes(
        image, 'coin. no.'
    )
    assert several.tolist() == 2 * [[0, 0, 60, 90]]
    assert both[0] == scores[0] != both[1]


def test_downloaded_weights_are_loaded(dino_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('NAPARI_MOBILESAM_CACHE', str(tmp_path))
    record = text_detectors.RECORDS['grounding_dino_tiny']
    record.folder.parent.mkdir(parents=True)
    record.folder.symlink_to(dino_folder)
    assert isinstance(load_downloaded(record.name), GroundingDino)
    record.folder.unlink()
    record.folder.mkdir()
    for name in record.files:
        (record.folder / name).write_text('{')
    with pytest.raises(DetectorError, match='cannot be loaded'):
        load_downloaded(record.name)


def test_images_are_normalised_as_in_training(image):
    pixels = normalised(np.full((4, 5, 3), 255, np.uint8), (8, 8))
    assert pixels.shape == (1, 3, 8, 8)
    assert torch.allclose(
        pixels[0, :, 0, 0], torch.tensor([2.2489, 2.4286, 2.64]), atol=1e-3
    )
