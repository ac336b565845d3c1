"""Fine-tuning on a user's labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.model.checkpoints import load_model
from napari_mobilesam.model.registry import list_models
from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training import everything_check, held_back
from napari_mobilesam.training.everything_check import (
    EverythingCheck,
    judged_f1,
)
from napari_mobilesam.training.finetune import (
    _known_maps,
    finetune,
)
from napari_mobilesam.training.held_back import (
    HeldBackScore,
    hold_back,
    noise_of,
)
from napari_mobilesam.training.labelled_images import (
    LabelledImage,
    TrainingDataError,
    labelled_image,
)
from napari_mobilesam.training.quick_score import validation_samples
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.training.training_parameters import (
    FineTuneConfig,
    TrainConfig,
)
from napari_mobilesam.types import SegmentationError
from training.helpers import discs

QUICK = FineTuneConfig(
    crops=3,
    config=TrainConfig(
        steps=3, batch_size=2, warmup=1, half=False, validation_steps=1
    ),
)


def at_once() -> bool:
    """Cancel before the first step."""
    return True


@pytest.fixture(autouse=True)
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segment everything takes longer than a training of three steps."""
    monkeypatch.setattr(everything_check, 'IMAGES', 0)


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / 'models'
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures('rising')
def test_result_is_listed_loads_and_says_how_it_was_made(
    tiny: Sam, disc_images: list[LabelledImage], own_models: Path
) -> None:
    tiny.eval()
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    key = tiny.key
    entries: list[dict[str, float]] = []
    result = finetune(
        tiny,
        disc_images,
        QUICK,
        name='my_cells',
        on_validation=entries.append,
    )
    assert result.path == own_models / 'my_cells.safetensors'
    assert 'my_cells' in [record.name for record in list_models()]
    record = load_model('my_cells').record
    assert record.input_size == 128
    assert record.object_diameter == tiny.record.object_diameter
    training = record.training
    assert training['base'] == 'tiny' and training['base_key'] == key
    assert training['objects'] == 18 and training['steps'] == 3
    # without a check: what any reader of JSON understands
    assert training['everything_f1'] == [None, None]
    assert len(training['data_sha256']) == 64
    # The model it started from is untouched, the new one another.
    assert all(torch.equal(before[k], v) for k, v in tiny.state_dict().items())
    assert [entry['step'] for entry in entries] == [0, 1, 2, 3]
    assert result.base_score == entries[0]['score']
    assert result.score == max(entry['score'] for entry in entries)
    assert result.noise > 0
    change = result.score - result.base_score
    assert result.improved == (change > result.noise)


@pytest.mark.slow
def test_decoder_is_all_that_changes(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    config = replace(QUICK.config, average=0.1, validation_steps=3)
    options = replace(QUICK, config=config)
    result = finetune(tiny.eval(), disc_images, options, save=False)
    for name, value in result.model.state_dict().items():
        if not name.startswith('mask_decoder.'):
            assert torch.equal(value, tiny.state_dict()[name]), name
    assert result.path is None


@pytest.mark.slow
@pytest.mark.usefixtures('rising')
def test_all_trains_the_encoder_too(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    options = replace(QUICK, decoder_only=False)
    result = finetune(tiny.eval(), disc_images, options, save=False)
    weight = 'image_encoder.patch_embed.seq.0.c.weight'
    assert not torch.equal(
        result.model.state_dict()[weight], tiny.state_dict()[weight]
    )
    assert result.model.key != tiny.key


@pytest.mark.parametrize('decoder_only', [True, False])
def test_the_instance_head_learns_too(
    decoder_only: bool,
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the last weights are the best ones
    scores = iter((0.1, 0.2))
    monkeypatch.setattr(
        HeldBackScore, '__call__', lambda self, sam: {'score': next(scores)}
    )
    head = tiny.eval().add_instance_head()
    before = {k: v.clone() for k, v in head.state_dict().items()}
    config = replace(QUICK.config, average=0.1, steps=2, validation_steps=2)
    options = replace(
        QUICK, config=config, decoder_only=decoder_only, complete=True
    )
    model = finetune(tiny, disc_images, options, save=False).model
    assert model.instance_head is not None and model.record.instance_head
    after = model.instance_head.state_dict()
    assert not all(torch.equal(before[name], after[name]) for name in before)
    same = head.state_dict()
    assert all(torch.equal(before[name], same[name]) for name in before)


def test_objects_held_back_teach_nothing(
    disc_images: list[LabelledImage],
) -> None:
    training, validation = hold_back(disc_images, 0.5)
    maps = _known_maps(
        disc_images, training, FineTuneConfig(complete=True)
    ).of(training[0])
    (held,) = [v for v in validation if v.image is training[0].image]
    assert not maps[3][held.labels[0] > 0].any()
    assert (maps[3][held.labels[0] == 0] == 255).all()
    assert np.array_equal(maps[0] > 0, training[0].labels[0] > 0)


def test_two_label_images_of_one_image_are_told_apart() -> None:
    pixels, labels = discs(count=8)
    pair = [
        labelled_image(pixels, labels * (labels % 2 == rest), name=name)
        for rest, name in enumerate(('even', 'odd'))
    ]
    training, validation = hold_back(pair, 0.5)
    known = _known_maps(pair, training, FineTuneConfig(complete=True))
    for image in training:
        for held in validation:
            if held.name == image.name:
                assert not known.of(image)[3][held.labels[0] > 0].any()


def test_found_objects_are_judged_by_what_they_lie_on() -> None:
    labels = np.zeros((10, 40), int)
    labels[2:8, 2:8], labels[2:8, 12:18], labels[2:8, 22:28] = 1, 2, 3
    held = np.where(labels == 2, 2, 0)
    found = labels.copy()
    assert judged_f1(found, labels, held, complete=False) == 1
    # on the background: wrong if all is labelled, else not judged
    found[2:8, 32:38] = 4
    assert judged_f1(found, labels, held, complete=False) == 1
    assert judged_f1(found, labels, held, complete=True) == pytest.approx(
        2 / 3
    )
    # what lies on objects that were trained on says nothing
    found[found == 3] = 0
    assert judged_f1(found, labels, held, complete=False) == 1
    found[found == 2] = 0
    assert judged_f1(found, labels, held, complete=False) == 0


@pytest.mark.slow
def test_a_check_that_takes_too_long_is_left_out(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(everything_check, 'IMAGES', 1)
    _, validation = hold_back(disc_images, 0.5)
    check = EverythingCheck(disc_images, validation, False, seconds=0)
    assert np.isnan(check(tiny.eval())) and check.seconds == 0
    assert np.isnan(check(tiny))
    check = EverythingCheck(disc_images, validation, False)
    assert 0 <= check(tiny) <= 1 and check.seconds > 0


@pytest.mark.slow
def test_segment_everything_is_checked_before_and_after(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(everything_check, 'IMAGES', 1)
    result = finetune(tiny.eval(), disc_images, QUICK, save=False)
    assert 0 <= result.base_f1 <= 1 and 0 <= result.f1 <= 1
    assert result.model.record.training['everything_f1'] == [
        result.base_f1,
        result.f1,
    ]


@pytest.mark.slow
@pytest.mark.usefixtures('rising')
def test_names_are_never_taken_twice(
    tiny: Sam, disc_images: list[LabelledImage], own_models: Path
) -> None:
    own_models.mkdir()
    (own_models / 'tiny_tuned1.safetensors').write_bytes(b'')
    result = finetune(tiny.eval(), disc_images, QUICK)
    assert result.path is not None
    assert result.path.stem == 'tiny_tuned2'
    for name in ('tiny_tuned2', 'mobile_sam_cells'):
        with pytest.raises(SegmentationError, match='another name'):
            finetune(tiny, disc_images, QUICK, name=name)
    with pytest.raises(SegmentationError, match='not a valid model name'):
        finetune(tiny, disc_images, QUICK, name='a/b')


def test_held_back_objects_are_not_trained_on(
    disc_images: list[LabelledImage],
) -> None:
    training, validation = hold_back(disc_images, 0.3)
    assert sum(len(image.objects) for image in training) == 13
    assert sum(len(image.objects) for image in validation) == 5
    for name in {image.name for image in disc_images}:
        one = [i.labels > 0 for i in training if i.name == name]
        two = [i.labels > 0 for i in validation if i.name == name]
        if one and two:
            assert not (one[0] & two[0]).any()


@pytest.mark.parametrize('sizes', [[5], [5, 1], [1, 1, 1]])
def test_too_few_or_too_small_objects_are_refused(sizes: list[int]) -> None:
    labels = np.zeros((40, 40), dtype=int)
    for label, size in enumerate(sizes, start=1):
        labels[10 * label : 10 * label + size, 3 : 3 + size] = label
    image = labelled_image(np.ones((40, 40)), labels)
    with pytest.raises(TrainingDataError, match='label two or more'):
        hold_back([image], 0.2)


@pytest.mark.slow
@pytest.mark.usefixtures('rising')
def test_cancelling_keeps_the_best_so_far(
    tiny: Sam, disc_images: list[LabelledImage], own_models: Path
) -> None:
    answers = iter((False, True))
    result = finetune(
        tiny.eval(), disc_images, QUICK, cancelled=lambda: next(answers)
    )
    assert result.improved and result.curve[-1]['step'] == 1
    assert result.path is not None and result.path.exists()
    result.path.unlink()
    # nothing but the model it started from
    result = finetune(tiny, disc_images, QUICK, cancelled=at_once)
    assert result.path is None and result.score == result.base_score
    assert not list(own_models.iterdir())


def test_a_folder_that_cannot_be_written_is_told_before_training(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / 'file').write_text('no folder', 'utf-8')
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'file'))
    with pytest.raises(SegmentationError, match='Nothing was trained'):
        finetune(tiny.eval(), disc_images, QUICK)


@pytest.mark.usefixtures('rising')
def test_unwritable_result_is_reported(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_mobilesam.training import train_job as jobs

    def full(*arguments: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(jobs, 'save_checkpoint', full)
    options = replace(QUICK, config=replace(QUICK.config, steps=1))
    with pytest.raises(TrainingError, match='free disk space'):
        finetune(tiny.eval(), disc_images, options)


def test_validation_uses_the_crops_there_is_time_for(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    samples = validation_samples(
        disc_images, tiny.input_size, None, count=5, prompts=1
    )
    heard: list[tuple[int, int]] = []
    score = HeldBackScore(
        samples, seconds=0, on_crop=lambda *done: heard.append(done)
    )
    first = score(tiny.eval())
    assert heard == [(1, 5), (2, 5)]
    assert score(tiny) == first
    assert heard[2:] == [(1, 2), (2, 2)]
    everything = HeldBackScore(samples)
    everything(tiny)
    assert everything.noise > 0


def test_noise_is_that_of_the_change_of_each_object() -> None:
    before = np.linspace(0.2, 0.9, 25)
    # objects differ by much, but each changes by the same
    assert noise_of(before, before + 0.05) == pytest.approx(
        1.96 * held_back.TYPICAL_SPREAD / 5
    )
    up_and_down = before + np.tile([0.1, -0.1], 13)[:25]
    assert noise_of(before, up_and_down) == pytest.approx(0.04, rel=0.05)


@pytest.mark.slow
def test_budget_includes_validation(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is left for a step if validation takes half of the time."""
    now = [0.0]
    monkeypatch.setattr(held_back.time, 'monotonic', lambda: now[0])

    def slow(*given: object) -> tuple[list[str], np.ndarray]:
        now[0] += 31
        return [''], np.full((1, 5), 0.5)

    monkeypatch.setattr(held_back, 'object_scores', slow)
    config = replace(QUICK.config, steps=0, minutes=1)
    result = finetune(
        tiny.eval(), disc_images, replace(QUICK, config=config), save=False
    )
    assert result.curve[-1]['step'] == 0
    assert not result.improved


@pytest.mark.slow
@pytest.mark.parametrize('diameter', [None, 32])
def test_each_object_held_back_counts_once(
    tiny: Sam, disc_images: list[LabelledImage], diameter: float | None
) -> None:
    samples = validation_samples(
        disc_images, tiny.input_size, diameter, count=12
    )
    counts = [len(sample.targets) for sample in samples]
    # three images of six objects
    assert sum(counts) <= 18
    if diameter is None:
        assert counts == [6, 6, 6]


def test_objects_held_back_may_be_too_small(
    tiny: Sam,
    disc_images: list[LabelledImage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        'napari_mobilesam.training.finetune.validation_samples',
        lambda *given, **options: [],
    )
    with pytest.raises(TrainingDataError, match='too small to be measured'):
        finetune(tiny, disc_images, save=False)
