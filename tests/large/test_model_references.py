from __future__ import annotations

from itertools import count

import torch

from napari_mobilesam.large.model_references import model_loader
from napari_mobilesam.large.pipeline import segment_large
from napari_mobilesam.model.checkpoints import save_checkpoint
from napari_mobilesam.model.sam import build_sam

from .images import DIAMETER, drawn, field_of_discs, small_model


def test_a_file_that_was_trained_anew_is_loaded_again(tmp_path):
    path = tmp_path / 'mine.safetensors'
    model = build_sam('vit_t', input_size=64)
    save_checkpoint(model, path, model.record)
    old = model_loader(path, 'cpu')()
    assert model_loader(path, 'cpu')() is old
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.add_(1)
    save_checkpoint(model, path, model.record)
    assert model_loader(path, 'cpu')().key != old.key


def test_a_worker_with_another_model_records_nothing():
    numbers = count()

    def load():
        model = small_model()
        model.key = f'model {next(numbers)}'
        return model

    shape = (60, 60)
    image = drawn(shape, *field_of_discs(shape))
    result = segment_large(image, model=load, diameter=DIAMETER, workers=1)
    assert not result.complete
    assert not len(result.table)
    assert 'started with model 0' in result.failed[0].error
