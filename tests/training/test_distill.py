"""Distillation of a tiny teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.distill import distill, make_student
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.samples import SampleSource
from napari_mobilesam.training.teacher import TeacherCache
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.training.training_parameters import (
    DistillConfig,
    DistillMode,
    TrainConfig,
    ZoomRange,
)
from napari_mobilesam.types import SegmentationError

CONFIG = DistillConfig(
    crops=6,
    check_crops=4,
    procedural=0,
    zoom=ZoomRange(best=32),
    config=TrainConfig(
        steps=24,
        batch_size=2,
        warmup=2,
        average=0.5,
        half=False,
        validation_steps=24,
    ),
)


@pytest.fixture
def teacher(tiny: Sam) -> Sam:
    return tiny.eval().requires_grad_(False)


@pytest.mark.slow
def test_decoupled_distillation_learns_the_embedding(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    result = distill(teacher, disc_images, tmp_path, CONFIG)
    first, last = result.curve[0], result.curve[-1]
    assert last['error'] < 0.5 * first['error']
    assert last['agreement'] > first['agreement']
    assert result.student.record.training['teacher'] == 'tiny'
    # Prompt encoder and decoder are the teacher's, unchanged.
    for name, value in result.student.state_dict().items():
        if not name.startswith('image_encoder.'):
            assert torch.equal(value, teacher.state_dict()[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(
    'mode',
    [pytest.param('semi-coupled', marks=pytest.mark.slow), 'coupled'],
)
def test_coupled_modes_train_what_they_say(
    mode: DistillMode,
    teacher: Sam,
    disc_images: list[LabelledImage],
    tmp_path: Path,
) -> None:
    options = replace(
        CONFIG, mode=mode, config=replace(CONFIG.config, steps=2)
    )
    start = make_student(teacher)
    before = {k: v.clone() for k, v in start.state_dict().items()}
    result = distill(teacher, disc_images, tmp_path, options, student=start)
    del result
    decoder = 'mask_decoder.iou_token.weight'
    encoder = 'image_encoder.neck.0.weight'
    last = torch.load(tmp_path / mode / 'run.pt', weights_only=True)['model']
    assert not torch.equal(last[encoder], before[encoder])
    hyper = 'mask_decoder.output_hypernetworks_mlps.1.layers.0.weight'
    changed = any(
        not torch.equal(last[k], before[k]) for k in (decoder, hyper)
    )
    assert changed == (mode == 'coupled')


def cache(
    folder: Path, teacher: Sam, images: list[LabelledImage], **more: object
) -> TeacherCache:
    source = SampleSource(images, 128, 0, zoom=ZoomRange(best=32))
    return TeacherCache(folder, teacher, source, 5, **more)  # type: ignore[arg-type]


def test_embeddings_are_computed_once_and_resumed(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    first = cache(tmp_path, teacher, disc_images)
    calls: list[int] = []
    # Interrupted after two crops: a file of embeddings that are not all there.
    done = first.store.fill(
        lambda number, *_: calls.append(number),
        cancelled=lambda: len(calls) >= 2,
    )
    assert not done
    again = cache(tmp_path, teacher, disc_images)
    assert again.store.fill()
    from napari_mobilesam.training.teacher import embed_sample

    for number in range(5):
        expected = embed_sample(teacher, again.source[number])
        assert torch.allclose(again[number], expected, atol=2e-3, rtol=1e-2)
    third = cache(tmp_path, teacher, disc_images)
    monitor: list[int] = []
    assert third.store.fill(lambda number, *_: monitor.append(number))
    assert monitor == []
    assert third.embeddings.dtype == np.float16


@pytest.mark.slow
def test_embeddings_that_were_deleted_are_computed_again(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    cache(tmp_path, teacher, disc_images).store.fill()
    (tmp_path / 'embeddings.npy').unlink()
    again = cache(tmp_path, teacher, disc_images)
    assert again.store.fill()
    assert again.embeddings.any(axis=(1, 2, 3)).all()


def test_disk_is_bounded(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    each = 256 * 8 * 8 * 2
    with pytest.raises(TrainingError, match='choose 3 crops or fewer'):
        cache(tmp_path, teacher, disc_images, max_bytes=3 * each + 10)
    assert not (tmp_path / 'embeddings.npy').exists()


def test_embeddings_of_another_teacher_are_refused(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    cache(tmp_path, teacher, disc_images)
    other = make_student(teacher, seed=5).eval()
    with pytest.raises(SegmentationError, match='another model'):
        cache(tmp_path, other, disc_images)
    (tmp_path / 'cache.json').write_text('{"teacher')
    with pytest.raises(SegmentationError, match='cache.json is damaged'):
        cache(tmp_path, teacher, disc_images)


def test_embeddings_of_crops_of_other_sizes_are_refused(
    teacher: Sam, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    cache(tmp_path, teacher, disc_images)
    source = SampleSource(disc_images, 128, 0, zoom=ZoomRange(best=48))
    with pytest.raises(SegmentationError, match='other crops'):
        TeacherCache(tmp_path, teacher, source, 5)
