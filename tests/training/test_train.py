"""The training loop: it learns, resumes exactly, and fails cleanly."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mobilesam.cli.exit_codes import ExitCode, exit_code
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.training import train as train_module
from napari_mobilesam.training.interactive import (
    DenseHead,
    interactive_step,
)
from napari_mobilesam.training.interrupts import interrupt_at_end
from napari_mobilesam.training.labelled_images import LabelledImage
from napari_mobilesam.training.optimisation import make_optimiser, schedule
from napari_mobilesam.training.quick_score import (
    quick_score,
    validation_samples,
)
from napari_mobilesam.training.samples import SampleSource, grid_stride
from napari_mobilesam.training.step_tasks import DecoderTask, InteractiveTask
from napari_mobilesam.training.tensor_batch import collate
from napari_mobilesam.training.train import (
    TrainingError,
    TrainingRun,
    has_fast_bfloat16,
)
from napari_mobilesam.training.training_parameters import (
    TrainConfig,
    ZoomRange,
)
from napari_mobilesam.types import SegmentationError

CONFIG = TrainConfig(
    steps=6, batch_size=2, warmup=1, half=False, checkpoint_minutes=1e9
)


def source(images: list[LabelledImage]) -> SampleSource:
    return SampleSource(images, 128, 0, prompts=4, zoom=ZoomRange(best=32))


def state_of(sam: Sam) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in sam.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_overfits_one_batch(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    batch = collate([source(disc_images)[0]], 128)
    head = DenseHead(128)
    optimiser = make_optimiser([tiny, head], 1e-3, 0)
    losses, found = [], []
    for _ in range(27):
        rng = np.random.default_rng(0)
        result = interactive_step(tiny, batch, rng, head=head, head_weight=0.5)
        torch.nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(result.loss)
        found.append((result.point + result.box) / 2)
    assert losses[-1] < 0.3 * losses[0]
    assert found[-1] > max(0.5, found[0] + 0.3)


@pytest.mark.slow
def test_corrections_add_a_click_and_a_mask(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    batch = collate([source(disc_images)[0]], 128)
    result = interactive_step(
        tiny, batch, np.random.default_rng(1), rounds=3, half=True
    )
    assert np.isfinite(result.loss)
    assert 0 <= result.corrected <= 1
    gradient = tiny.prompt_encoder.mask_downscaling[0].weight.grad
    assert gradient is not None and gradient.abs().sum() > 0


def new_run(
    images: list[LabelledImage], folder: Path | None, steps: int
) -> TrainingRun:
    torch.manual_seed(7)
    sam = build_sam('vit_t', 128)
    task = InteractiveTask(sam, source(images), warmup=1)
    return TrainingRun(task, replace(CONFIG, steps=steps), folder)


@pytest.mark.slow
def test_resumed_run_equals_uninterrupted(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    whole = new_run(disc_images, tmp_path / 'whole', 3)
    whole.run()
    broken = new_run(disc_images, tmp_path / 'broken', 3)
    broken.take_step()
    broken.save()
    broken.take_step()  # lost: the process dies before the next checkpoint
    again = new_run(disc_images, tmp_path / 'broken', 3)
    assert again.resume()
    assert again.step == 1
    again.run()
    assert again.step == whole.step == 3
    assert same(state_of(again.sam), state_of(whole.sam))


@pytest.mark.slow
def test_ctrl_c_keeps_the_step_that_has_begun(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    run = new_run(disc_images, tmp_path, 4)
    prepare = run.task.prepare

    def interrupted() -> None:
        prepare()
        signal.raise_signal(signal.SIGINT)

    run.task.prepare = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = new_run(disc_images, tmp_path, 4)
    assert again.resume()
    assert again.step == 1
    assert same(state_of(again.sam), state_of(run.sam))


def test_a_second_ctrl_c_does_not_wait() -> None:
    kept: list[int] = []
    with (
        pytest.raises(KeyboardInterrupt),
        interrupt_at_end(lambda: kept.append(1)),
    ):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        kept.append(0)
    assert not kept


@pytest.mark.slow
@pytest.mark.parametrize('content', [b'', b'no checkpoint'])
def test_resume_says_what_is_damaged(
    content: bytes, disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    (tmp_path / 'run.pt').write_bytes(content)
    with pytest.raises(TrainingError, match='run.pt cannot be read'):
        new_run(disc_images, tmp_path, 2).resume()


@pytest.mark.slow
def test_resume_needs_all_of_a_checkpoint(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    run = new_run(disc_images, tmp_path, 2)
    run.save()
    state = torch.load(tmp_path / 'run.pt', weights_only=True)
    del state['model']
    torch.save(state, tmp_path / 'run.pt')
    with pytest.raises(TrainingError, match='it is not a state of a run'):
        run.resume()


def test_resume_refuses_other_parameters(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    run = new_run(disc_images, tmp_path, 2)
    run.save()
    other = new_run(disc_images, tmp_path, 2)
    other.config = replace(CONFIG, steps=2, learning_rate=5.0)
    with pytest.raises(SegmentationError, match='learning_rate'):
        other.resume()


@pytest.mark.slow
def test_nothing_to_resume(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    assert not new_run(disc_images, tmp_path, 2).resume()
    assert not new_run(disc_images, None, 2).resume()


@pytest.mark.slow
def test_frozen_parameters_do_not_change(
    tiny: Sam, disc_images: list[LabelledImage]
) -> None:
    before = state_of(tiny)
    task = DecoderTask(tiny, source(disc_images), crops=3)
    TrainingRun(task, replace(CONFIG, average=0.1)).run()
    after = state_of(tiny)
    changed = {
        name for name in before if not torch.equal(before[name], after[name])
    }
    assert changed
    assert all(name.startswith('mask_decoder.') for name in changed)
    # The crops were embedded once each.
    assert set(task.bank) <= {0, 1, 2}


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_the_run(
    disc_images: list[LabelledImage], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(train_module, 'BAD_STEPS', 2)
    run = new_run(disc_images, tmp_path, 50)
    run.save()
    saved = (tmp_path / 'run.pt').read_bytes()
    good = state_of(run.sam)
    with torch.no_grad():
        run.sam.mask_decoder.iou_token.weight.fill_(float('nan'))
    with pytest.raises(TrainingError, match='not finite for 2 steps'):
        run.run()
    assert (tmp_path / 'run.pt').read_bytes() == saved
    # What is kept for users has not seen the damage.
    assert all(torch.isfinite(v).all() for v in run.average.values())
    assert same(
        run.average,
        good,
    )


def test_full_disk_leaves_the_checkpoint_before(
    disc_images: list[LabelledImage], tmp_path: Path, monkeypatch
) -> None:
    run = new_run(disc_images, tmp_path, 4)
    run.save()
    saved = (tmp_path / 'run.pt').read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(TrainingError, match='No space left'):
        run.save()
    assert (tmp_path / 'run.pt').read_bytes() == saved
    assert list(tmp_path.iterdir()) == [tmp_path / 'run.pt']


def test_a_first_checkpoint_on_a_full_disk(
    disc_images: list[LabelledImage], tmp_path: Path, monkeypatch
) -> None:
    """torch's own writer does not say that the disk is full."""

    def full(state: object, path: Path) -> None:
        raise RuntimeError('[enforce fail at inline_container.cc:672]')

    monkeypatch.setattr(torch, 'save', full)
    run = new_run(disc_images, tmp_path, 2)
    with pytest.raises(TrainingError, match='the disk is full') as caught:
        run.save()
    assert 'intact' not in str(caught.value)
    assert exit_code(caught.value) == ExitCode.OUTPUT


@pytest.mark.slow
def test_budget_in_minutes_and_cancelling(
    disc_images: list[LabelledImage],
) -> None:
    config = TrainConfig(steps=10, minutes=2)
    assert config.fraction(0, 60) == 0.5
    assert config.fraction(8, 60) == 0.8
    assert config.fraction(99, 0) == 1
    messages: list[str] = []
    run = new_run(disc_images, None, 50)
    run.run(
        lambda done, total, message: messages.append(message),
        cancelled=lambda: run.step >= 2,
    )
    assert run.step == 2
    assert messages[-1].startswith('step 2')
    with pytest.raises(ValueError, match='give a budget'):
        TrainingRun(run.task, TrainConfig())


@pytest.mark.slow
def test_best_weights_by_validation_are_kept_and_logged(
    disc_images: list[LabelledImage], tmp_path: Path
) -> None:
    scores = iter([0.1, 0.9, 0.2, 0.3])
    run = new_run(disc_images, tmp_path, 3)
    run.config = replace(run.config, validation_steps=1)
    kept: list[dict[str, torch.Tensor]] = []

    def score(sam: Sam) -> dict[str, float]:
        kept.append(state_of(sam))
        return {'score': next(scores)}

    run.score = score
    best = run.run()
    assert same(best, kept[1])
    assert not same(kept[1], kept[3])
    lines = (tmp_path / 'log.jsonl').read_text().splitlines()
    assert [json.loads(line)['score'] for line in lines] == [
        0.1,
        0.9,
        0.2,
        0.3,
    ]


@pytest.mark.slow
def test_patience_ends_the_run(disc_images: list[LabelledImage]) -> None:
    run = new_run(disc_images, None, 50)
    run.config = replace(run.config, validation_steps=1, patience=2)
    run.score = lambda sam: {'score': -float(run.step)}
    run.run()
    assert run.step == 2


def test_schedule_rises_and_falls() -> None:
    assert schedule(0, 0, 10) == pytest.approx(0.1)
    assert schedule(50, 0.5, 10) == pytest.approx(0.5)
    assert schedule(50, 1, 10) == pytest.approx(0.01)


def test_quick_score_of_a_perfect_answer(
    disc_images: list[LabelledImage], tiny: Sam, monkeypatch
) -> None:
    """Prompts tell the object, and the best mask is preferred."""
    samples = validation_samples(disc_images, 128, 32, 3)
    assert 1 <= len(samples) <= 3
    shown, stride = iter(samples), grid_stride(128)

    def at_point(labels: np.ndarray, x: float, y: float) -> int:
        return int(labels[int(y // stride), int(x // stride)])

    def in_box(labels: np.ndarray, *box: float) -> int:
        for label in np.unique(labels[labels > 0]):
            y, x = np.nonzero(labels == label)
            tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            if np.allclose(tight * stride - 0.5, box):
                return int(label)
        return -1

    def decode(labels: np.ndarray, prompts, tell, multimask: bool):
        logits = torch.full((len(prompts), 3, *labels.shape), -1.0)
        for row, prompt in enumerate(prompts.reshape(len(prompts), -1)):
            found = labels == tell(labels, *prompt.tolist())
            logits[row, 1][torch.from_numpy(found)] = 1
        return logits, torch.tensor([[0.0, 1, 0]]).expand(len(prompts), 3)

    monkeypatch.setattr(tiny, 'encode', lambda image: next(shown).labels[0])
    monkeypatch.setattr(
        tiny,
        'embed_prompts',
        lambda points=None, labels=None, boxes=None: (
            (points, at_point) if boxes is None else (boxes, in_box)
        ),
    )
    monkeypatch.setattr(tiny, 'decode', decode)
    scores = quick_score(tiny, samples)
    names = ('point', 'box', 'oracle', 'score')
    assert [scores[name] for name in names] == [1, 1, 1, 1]
    assert scores['calibration'] == 0


@pytest.mark.slow
def test_quick_score_is_of_the_same_crops_each_time(
    disc_images: list[LabelledImage], tiny: Sam
) -> None:
    tiny.eval()
    first, again = (
        quick_score(tiny, validation_samples(disc_images, 128, 32, 3))
        for _ in range(2)
    )
    assert first == again and first['agreement'] >= 0


@pytest.mark.parametrize('instructions', ['_is_amx_tile', '_is_avx512_bf16'])
def test_bfloat16_where_the_cpu_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, instructions: str
) -> None:
    for name in ('_is_amx_tile', '_is_avx512_bf16'):
        found = name == instructions
        monkeypatch.setattr(
            torch.cpu, f'{name}_supported', lambda found=found: found
        )
    assert has_fast_bfloat16(torch.device('cpu'))
    monkeypatch.setattr(torch.cpu, f'{instructions}_supported', lambda: False)
    assert not has_fast_bfloat16(torch.device('cpu'))
