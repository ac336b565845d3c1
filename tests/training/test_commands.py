"""The commands, with a tiny model and a budget of a few steps."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
import torch

from napari_mobilesam.cli.exit_codes import (
    ExitCode,
    OutputError,
    UsageError,
)
from napari_mobilesam.cli.program import build_parser
from napari_mobilesam.cli.progress import ProgressLine
from napari_mobilesam.cli.training_options import train_config
from napari_mobilesam.cli.training_runs import check_checkpoint, training_run
from napari_mobilesam.model.checkpoints import load_model, save_checkpoint
from napari_mobilesam.model.sam import Sam, build_sam
from napari_mobilesam.run_lock import OutputInUseError, run_lock
from napari_mobilesam.segmentation.parameters import Thresholds
from napari_mobilesam.training import train_job
from napari_mobilesam.training.labelled_images import TrainingDataError
from napari_mobilesam.training.step_tasks import DecoderTask, InteractiveTask
from napari_mobilesam.training.train_job import TrainJob
from napari_mobilesam.training.training_parameters import TrainConfig
from napari_mobilesam.types import SegmentationError

# Scoring takes longer than the few steps that are tested here.
QUICK = ('--validation-crops', 2, '--threshold-images', 0)


def run(*arguments: object) -> tuple[int, list[str]]:
    """Exit code, and the messages of progress."""
    seen: list[str] = []
    options = build_parser().parse_args([str(each) for each in arguments])
    with mock.patch.object(
        ProgressLine, '__call__', lambda line, *step: seen.append(step[2])
    ):
        return options.run(options), seen


@pytest.fixture
def base(tiny: Sam, tmp_path: Path) -> Path:
    path = tmp_path / 'base.safetensors'
    save_checkpoint(tiny, path, replace(tiny.record, predicted_iou=0.6))
    return path


# thresholds are chosen by segmenting everything, which takes long
@pytest.mark.parametrize(
    'scored', [0, pytest.param(12, marks=pytest.mark.slow)]
)
def test_train_writes_a_model_that_loads(
    disc_folder: Path, base: Path, tmp_path: Path, scored: int
) -> None:
    output = tmp_path / 'new.safetensors'
    code, seen = run(
        'train', disc_folder, '-o', output, '--base', base, '--input-size',
        128, '--steps', 2, '--batch-size', 2, '--validation-crops', 2,
        '--threshold-images', scored,
    )  # fmt: skip
    assert code == 0
    assert seen[-1].startswith('step 2')
    record = load_model(output).record
    assert record.input_size == 128
    assert record.predicted_iou == 0.6  # the base's
    assert record.training['steps'] == 2
    assert record.training['curve'][-1]['step'] == 2
    # The run's state is kept: the same command continues from there.
    code, seen = run(
        'train', disc_folder, '-o', output, '--base', base, '--input-size',
        128, '--steps', 3, '--batch-size', 2, *QUICK,
    )  # fmt: skip
    assert [s.split(',')[0] for s in seen] == ['step 3']


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_trained(
    disc_folder: Path, base: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    train = (
        'train', disc_folder, '-o', tmp_path / 'new.safetensors',
        '--base', base, '--input-size', 128, '--steps', 2, '--batch-size', 2,
        *QUICK,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(
            InteractiveTask,
            'prepare',
            lambda task: signal.raise_signal(signal.SIGINT),
        )
        with pytest.raises(KeyboardInterrupt):
            run(*train)
    assert 'the same command continues' in capsys.readouterr().err
    with run_lock(tmp_path / 'new.run'), pytest.raises(OutputInUseError):
        run(*train)
    code, seen = run(*train)
    assert code == 0
    assert [text.split(',')[0] for text in seen] == ['step 2']


@pytest.mark.slow
def test_a_run_of_other_data_is_not_gone_on_with(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'new.safetensors'
    train = (
        '-o', output, '--base', base, '--input-size', 128, '--steps', 1,
        '--batch-size', 2, *QUICK,
    )  # fmt: skip
    assert run('train', disc_folder, *train)[0] == 0
    before = output.read_bytes()
    other = tmp_path / 'other'
    shutil.copytree(disc_folder, other)
    for path in other.glob('d0_*'):
        path.unlink()
    with pytest.raises(SegmentationError, match=r'parameters \(images\)'):
        run('train', other, *train)
    with pytest.raises(SegmentationError, match='instance head'):
        run('train', disc_folder, *train, '--no-instance-head')
    assert output.read_bytes() == before


def test_a_checkpoint_of_another_run_is_not_replaced(
    disc_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'precious.safetensors'
    output.write_bytes(b'precious')
    folder = tmp_path / 'folder'
    folder.mkdir()
    train = (
        'train', disc_folder, '-o', output, '--run-folder', folder,
        '--steps', 1,
    )  # fmt: skip
    with pytest.raises(OutputError, match='precious'):
        run(*train)
    (folder / 'output.txt').write_text('other.safetensors', 'utf-8')
    with pytest.raises(OutputError, match='precious'):
        run(*train)
    assert output.read_bytes() == b'precious'


@pytest.mark.parametrize(
    'arguments',
    [
        ('train',),
        ('train', '--head-only'),
        ('distill', '--teacher', 'none', '--mode', 'coupled'),
    ],
)
def test_a_checkpoint_of_another_way_is_not_replaced(
    arguments: tuple[str, ...], disc_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'new.safetensors'
    output.write_bytes(b'distilled')

    def parsed(command: str, *more: str) -> argparse.Namespace:
        start = [command, str(disc_folder), '-o', str(output), '--quiet']
        return build_parser().parse_args([*start, *more])

    with training_run(parsed('distill', '--teacher', 'none')):
        pass
    check_checkpoint(
        parsed('distill', '--teacher', 'none', '--mode', 'decoupled')
    )
    with pytest.raises(OutputError, match='new.safetensors exists'):
        check_checkpoint(parsed(*arguments))


@pytest.mark.parametrize(
    'command',
    [
        ('train', '-o', 'new.safetensors', '--base'),
        ('train', '-o', 'new.safetensors', '--head-only', '--base'),
        ('distill', '-o', 'new.safetensors', '--teacher'),
        ('finetune', '--base'),
        ('evaluate', '--model'),
    ],
)
def test_commands_read_the_channel(
    command: tuple[str, ...], base: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    labels = np.zeros((40, 40), np.uint8)
    labels[5:20, 5:20] = 1
    for name, pixels in (('a', np.stack([labels] * 2)), ('a_labels', labels)):
        tifffile.imwrite(
            tmp_path / 'data' / f'{name}.tif',
            pixels,
            imagej=True,
            metadata={'axes': 'CYX'[-pixels.ndim :]},
        )
    with pytest.raises(SegmentationError, match='has no channel 7: it has 2'):
        run(*command, base, 'data', '--channel', 7)


def test_a_refused_run_leaves_no_folder(
    disc_folder: Path, tmp_path: Path
) -> None:
    train = ('train', '--steps', 1, '-o', tmp_path / 'a' / 'new.safetensors')
    with pytest.raises(TrainingDataError, match='not a folder'):
        run(*train, tmp_path / 'none')
    with pytest.raises(SegmentationError, match='none'):
        run(*train, disc_folder, '--base', tmp_path / 'none')
    with pytest.raises(SegmentationError, match='none'):
        run(
            'distill', '--teacher', tmp_path / 'none', disc_folder,
            '-o', tmp_path / 'a' / 'b' / 'new.safetensors',
        )  # fmt: skip
    assert not (tmp_path / 'a').exists()
    # of a folder that was there, nothing is removed
    (tmp_path / 'a').mkdir()
    with pytest.raises(TrainingDataError, match='not a folder'):
        run(*train, tmp_path / 'none')
    assert [*(tmp_path / 'a').iterdir()] == []


@pytest.mark.slow
def test_small_inputs_first(
    disc_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    compiled = []

    def compile_encoder(encoder):
        compiled.append(type(encoder).__name__)
        return encoder

    monkeypatch.setattr('torch.compile', compile_encoder)
    output = tmp_path / 'new.safetensors'
    command = (
        'train', disc_folder, '-o', output, '--input-size', 192,
        '--first-size', 128, '--first-share', 0.5, '--steps', 4,
        '--batch-size', 1, '--compile', *QUICK,
    )  # fmt: skip
    code, seen = run(*command)
    assert code == 0
    steps = [message.split(',')[0] for message in seen]
    assert steps == ['step 1', 'step 2', 'step 1', 'step 2']
    assert compiled == ['TinyViT', 'TinyViT']
    small = tmp_path / 'new.run' / 'small.safetensors'
    assert load_model(small).record.input_size == 128
    record = load_model(output).record
    assert record.ranking in ('predicted_iou', 'agreement')
    assert record.input_size == 192
    assert record.training['base'].endswith('small.safetensors')
    # what was done is not done again
    assert run(*command)[1] == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'first_share': 1.0}, 'between 0 and 1'),
        ({'first_size': 192}, 'not smaller than the input size 192'),
    ],
)
def test_small_inputs_that_cannot_be(
    disc_folder: Path, tmp_path: Path, change, message
) -> None:
    job = TrainJob(
        disc_folder,
        tmp_path / 'run',
        tmp_path / 'new.safetensors',
        input_size=192,
        config=TrainConfig(steps=2),
        first_size=128,
    )
    with pytest.raises(SegmentationError, match=message):
        replace(job, **change).run()


def test_a_run_that_began_on_other_inputs_is_refused_at_once(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    job = TrainJob(
        disc_folder, tmp_path, tmp_path / 'new.safetensors', first_size=64
    )
    (tmp_path / 'run.pt').write_bytes(b'of one phase')
    with pytest.raises(SegmentationError, match='full size, not inputs of 64'):
        job.run()
    base.rename(tmp_path / 'small.safetensors')
    with pytest.raises(SegmentationError, match='of 128 pixels, not inputs'):
        job.run()
    (tmp_path / 'small.safetensors').unlink()
    (tmp_path / 'run.pt').unlink()
    (tmp_path / 'small').mkdir()
    (tmp_path / 'small' / 'run.pt').write_bytes(b'of the first phase')
    with pytest.raises(SegmentationError, match='smaller inputs, not'):
        replace(job, first_size=0).run()


@pytest.mark.slow
def test_cancelled_on_small_inputs_goes_on_there(
    disc_folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'new.safetensors'
    job = TrainJob(
        disc_folder,
        tmp_path / 'run',
        output,
        input_size=192,
        config=TrainConfig(steps=4, batch_size=1, half=False),
        first_size=128,
        first_share=0.5,
        validation_crops=2,
        threshold_images=0,
    )
    job.run(cancelled=lambda: True)
    assert load_model(output).record.input_size == 128
    seen: list[str] = []
    job.run(lambda done, total, message: seen.append(message.split(',')[0]))
    assert seen == ['step 1', 'step 2', 'step 1', 'step 2']
    assert load_model(output).record.input_size == 192


@pytest.mark.slow
def test_a_decoder_of_another_model_and_a_head_are_trained(
    disc_folder: Path, base: Path, tiny: Sam, tmp_path: Path
) -> None:
    other = build_sam(input_size=128)
    with torch.no_grad():
        other.mask_decoder.iou_token.weight.fill_(3.0)
    save_checkpoint(other, tmp_path / 'other.safetensors', other.record)
    output = tmp_path / 'new.safetensors'
    run(
        'train', disc_folder, '-o', output, '--base', base, '--decoder',
        tmp_path / 'other.safetensors', '--input-size', 128, '--steps', 1,
        '--batch-size', 1, '--loaders', 1, '--learning-rate', 1e-6, *QUICK,
    )  # fmt: skip
    model = load_model(output)
    assert model.mask_decoder.iou_token.weight.min() > 2.9
    assert model.instance_head is not None
    assert model.record.training['decoder'].endswith('other.safetensors')
    assert 'F1' in model.record.training['curve'][-1]


@pytest.mark.parametrize('incomplete', [(), ('discs',)])
def test_thresholds_are_chosen_where_every_object_is_labelled(
    incomplete: tuple[str, ...],
    disc_folder: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch,
) -> None:
    names: list[str] = []

    def choose(sam, images, limit):
        names.extend(image.name for image in images)
        return Thresholds(0.5, 0.5)

    monkeypatch.setattr(train_job, 'choose_thresholds', choose)
    (tmp_path / 'sets').mkdir()
    disc_folder.rename(tmp_path / 'sets' / 'discs')
    job = TrainJob(
        tmp_path / 'sets',
        tmp_path / 'run',
        tmp_path / 'new.safetensors',
        base,
        input_size=128,
        config=TrainConfig(steps=1),
        validation_crops=1,
        instance_head=False,
        incomplete=incomplete,
    )
    job.run(cancelled=lambda: True)
    assert names == ([] if incomplete else ['discs/d2'])


@pytest.mark.slow
def test_train_prompts_alone(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'new.safetensors'
    run(
        'train', disc_folder, '-o', output, '--base', base, '--input-size',
        128, '--steps', 1, '--batch-size', 1, '--no-instance-head', *QUICK,
    )  # fmt: skip
    model = load_model(output)
    assert model.instance_head is None
    assert 'F1' not in model.record.training['curve'][-1]


def test_loaders_are_for_one_process(disc_folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match='--loaders 2 and --workers 3'):
        run(
            'train', disc_folder, '-o', tmp_path / 'new.safetensors',
            '--loaders', 2, '--workers', 3,
        )  # fmt: skip


@pytest.mark.parametrize(
    ('given', 'idle'),
    [
        (('--crops', 5), '--crops has no effect without --head-only'),
        (
            ('--head-only', '--input-size', 256, '--compile', '--warped', 0)
            + ('--decoder', 'none', '--workers', 2),
            '--input-size, --warped, --compile, --decoder, --workers have no',
        ),
    ],
)
def test_options_that_would_do_nothing_are_named(
    given: tuple[object, ...], idle: str, disc_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=idle):
        run('train', disc_folder, '-o', tmp_path / 'new.safetensors', *given)


@pytest.mark.slow
def test_two_workers_train_together(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'new.safetensors'
    code, _ = run(
        'train', disc_folder, '-o', output, '--base', base, '--input-size',
        128, '--steps', 2, '--batch-size', 1, '--workers', 2,
        *QUICK,
    )  # fmt: skip
    assert code == 0
    assert load_model(output).record.training['processes'] == 2


@pytest.mark.slow
def test_distill(
    disc_folder: Path, base: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / 'student.safetensors'
    code, _ = run(
        'distill', disc_folder, '-o', output, '--teacher', base, '--crops', 3,
        '--steps', 2, '--batch-size', 2,
    )  # fmt: skip
    assert code == 0
    assert 'agreement with base' in capsys.readouterr().out
    assert load_model(output).record.training['mode'] == 'decoupled'


@pytest.mark.slow
@pytest.mark.usefixtures('rising')
def test_finetune(
    disc_folder: Path, base: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'models'))
    monkeypatch.setattr('napari_mobilesam.training.everything_check.IMAGES', 1)
    code, _ = run(
        'finetune', disc_folder, '--base', base, '--name', 'mine', '--steps',
        2, '--batch-size', 2,
    )  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert 'validation IoU' in printed and 'segment everything' in printed
    assert load_model('mine').record.training['base'] == 'base'


@pytest.mark.usefixtures('rising')
def test_fine_tuning_on_a_split_ended_by_ctrl_c(
    disc_folder: Path, base: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(tmp_path / 'models'))
    monkeypatch.setattr('napari_mobilesam.training.everything_check.IMAGES', 0)
    monkeypatch.setattr(
        DecoderTask, 'prepare', lambda task: signal.raise_signal(signal.SIGINT)
    )
    # what evaluate --split test measures on is left out
    (disc_folder / 'MANIFEST.csv').write_text(
        'dataset,id,split\n,d0,train\n,d1,train\n,d2,test\n'
    )
    code, _ = run(
        'finetune', disc_folder, '--base', base, '--name', 'mine', '--steps',
        9, '--batch-size', 1,
    )  # fmt: skip
    assert code == ExitCode.INTERRUPTED
    training = load_model('mine').record.training
    assert training['steps'] == 1
    assert sum(training['images'].values()) == 2
    printed = capsys.readouterr().out
    assert 'segment everything was not compared' in printed
    assert f'evaluate FOLDER --model {base}, then --model mine' in printed


def test_evaluate(
    disc_folder: Path, base: Path, tmp_path: Path, capsys
) -> None:
    scores = tmp_path / 'scores.json'
    code, _ = run(
        'evaluate', disc_folder, '--model', base, '--limit', 1, '--objects',
        1, '--clicks', 1, '--no-everything', '--json', scores,
    )  # fmt: skip
    assert code == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert 'oracle' in title and 'objects/image' in title
    assert len(rows) == 1  # one data set is all
    with pytest.raises(SystemExit):
        run('evaluate', '--help')
    explained = capsys.readouterr().out
    assert all(
        name in explained
        for name in title.split()
        if name not in ('dataset', 'modality', 'images')
    )
    assert len(json.loads(scores.read_text())['images']) == 1


def test_budget_must_be_positive(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run('finetune', tmp_path, '--minutes', 0)
    assert 'is not a number above 0' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('given', 'budget'),
    [
        ((), (0, 60)),
        (('--steps', '9'), (9, 0)),
        (('--minutes', '3'), (0, 3)),
        # whichever is nearer
        (('--steps', '9', '--minutes', '3'), (9, 3)),
    ],
)
def test_budget_in_steps_and_minutes(
    given: tuple[str, ...], budget: tuple[int, float]
) -> None:
    options = build_parser().parse_args(
        ['train', 'data', '-o', 'new.safetensors', *given]
    )
    config = train_config(options, TrainConfig())
    assert (config.steps, config.minutes) == budget


ODD_NUMBERS = {
    'train': {
        '--steps': ['-1', 'x'],
        '--minutes': ['nan', 'inf', '-3'],
        '--learning-rate': ['nan', '2'],
        '--batch-size': ['0'],
        '--seed': ['-1', '9' * 30],
        '--input-size': ['7', '-64', '1000000'],
        '--procedural': ['-1', '2', 'nan'],
        '--workers': ['0', '-2'],
    },
    'distill': {'--crops': ['0'], '--max-gigabytes': ['nan', '-1']},
    'evaluate': {'--limit': ['0'], '--objects': ['-1'], '--clicks': ['-1']},
}


@pytest.mark.parametrize(
    ('command', 'option', 'value'),
    [
        (command, option, value)
        for command, options in ODD_NUMBERS.items()
        for option, values in options.items()
        for value in values
    ],
)
def test_odd_numbers_are_refused_at_once(
    command: str, option: str, value: str, tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(command, tmp_path, f'{option}={value}', '-o', 'x', '--teacher=x')
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f'argument {option}: ' in error
    assert value in error or '1' in error


@pytest.mark.parametrize('name', ['train', 'distill'])
def test_checkpoints_that_cannot_be_written(
    name: str, tmp_path: Path, disc_folder: Path
) -> None:
    def refused(output: Path, words: str, *more: object) -> None:
        given = [name, disc_folder, '-o', output, '--teacher', 'none', *more]
        given = [a for a in given if name == 'distill' or a != '--teacher']
        if name == 'train':
            given.remove('none')
        with pytest.raises((OutputError, UsageError), match=words):
            run(*given)

    mine = tmp_path / 'mine.safetensors'
    mine.write_text('mine')
    (tmp_path / 'folder.safetensors').mkdir()
    (tmp_path / 'file').write_text('')
    refused(mine, 'exists; --overwrite replaces it')
    refused(tmp_path / 'folder.safetensors', 'is a folder')
    refused(tmp_path / 'a.txt', 'must end in .safetensors')
    refused(tmp_path / 'file' / 'a.safetensors', 'cannot write to')
    new = tmp_path / 'new.safetensors'
    refused(new, 'cannot write to', '--run-folder', tmp_path / 'file')
    assert mine.read_text() == 'mine'


def test_scores_that_cannot_be_written(disc_folder: Path, tmp_path: Path):
    mine = tmp_path / 'mine.json'
    mine.write_text('mine')
    for path, words in (
        (mine, 'exists; --overwrite'),
        (tmp_path, 'is a folder'),
        (tmp_path / 'no' / 'a.json', 'there is no folder'),
    ):
        with pytest.raises(OutputError, match=words):
            run('evaluate', disc_folder, '--json', path, '--model', 'none')
    assert mine.read_text() == 'mine'
    labels = disc_folder / 'labels' / 'a.tif'
    with pytest.raises(UsageError, match='must end in .json'):
        run('evaluate', disc_folder, '--json', labels, '--overwrite')


@pytest.mark.parametrize('split', ['test', ''])
def test_a_split_of_a_folder_without_splits(split: str, disc_folder: Path):
    with pytest.raises(UsageError, match=r'has no MANIFEST\.csv'):
        run('evaluate', disc_folder, f'--split={split}', '--model', 'none')


def test_data_sets_that_are_not_there(disc_folder: Path, tmp_path: Path):
    with pytest.raises(TrainingDataError, match='of cells: it has no data s'):
        run('evaluate', disc_folder, '--dataset', 'cells', '--model', 'none')
    sets = tmp_path / 'sets'
    sets.mkdir()
    disc_folder.rename(sets / 'discs')
    with pytest.raises(TrainingDataError, match='of cells: its data sets are'):
        run('evaluate', sets, '--dataset', 'cells', '--model', 'none')
    for more in ((), ('--head-only',)):
        output = tmp_path / f'{len(more)}.safetensors'
        with pytest.raises(TrainingDataError, match="no data set 'cells'"):
            run('train', sets, '-o', output, '--incomplete', 'cells', *more)


@pytest.mark.slow
def test_train_of_the_head_alone(
    disc_folder: Path, base: Path, tmp_path: Path
) -> None:
    output = tmp_path / 'head.safetensors'
    # a data set has a folder of its own
    (tmp_path / 'sets').mkdir()
    disc_folder.rename(tmp_path / 'sets' / 'discs')
    code, _ = run(
        'train', tmp_path / 'sets', '-o', output, '--base', base,
        '--head-only',
        '--crops', 2, '--incomplete', 'discs', '--steps', 1, '--batch-size',
        1, '--validation-crops', 1,
    )  # fmt: skip
    assert code == 0
    record = load_model(output).record
    assert record.instance_head
    assert record.training['instance_head']['incomplete'] == ['discs']
