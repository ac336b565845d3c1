"""Fine-tuning without a display: counts, errors, results, messages."""

from __future__ import annotations

import math
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from training.helpers import discs

from napari_mobilesam.model.checkpoints import load_model
from napari_mobilesam.model.registry import list_models
from napari_mobilesam.model.sam import build_sam
from napari_mobilesam.model.user_models import (
    check_folder,
    check_name,
    free_name,
)
from napari_mobilesam.session.fine_tuning import FineTuning, labelled_images
from napari_mobilesam.session.fine_tuning_messages import (
    FineTuneRequest,
    FineTuneResult,
    LabelledPlane,
    Survey,
    survey,
)
from napari_mobilesam.session.images.planes import ImagePlane
from napari_mobilesam.training.everything_check import EverythingCheck
from napari_mobilesam.training.held_back import hold_back
from napari_mobilesam.training.labelled_images import labelled_image
from napari_mobilesam.training.train import TrainingError
from napari_mobilesam.training.training_parameters import (
    FineTuneConfig,
    TrainConfig,
)
from napari_mobilesam.types import (
    ModelRecord,
    ObjectDiameter,
    SegmentationError,
)

RECORD = ModelRecord(
    'tiny', input_size=64, object_diameter=ObjectDiameter(8, 16, 50)
)
QUICK = FineTuneConfig(
    crops=2,
    config=TrainConfig(
        steps=3, batch_size=1, warmup=1, half=False, validation_steps=1
    ),
)


def plane(image: Any, labels: Any, **kwargs: Any) -> LabelledPlane:
    source = ImagePlane('key', lambda: image, labels.shape, **kwargs)
    return LabelledPlane(source, labels)


def planes() -> list[LabelledPlane]:
    return [plane(*discs(seed)) for seed in range(2)]


class Scores:
    """Validation with given scores; the last one is repeated."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def __call__(
        self, sam: Any, samples: Any, on_sample: Any
    ) -> tuple[list[str], Any]:
        left = len(self.numbers) > 1
        value = self.numbers.pop(0) if left else self.numbers[0]
        on_sample(1)
        return ['', ''], np.full((2, 5), value)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / 'models'
    monkeypatch.setenv('NAPARI_MOBILESAM_MODELS', str(path))
    return path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fine-tuning with a tiny model and few steps, and its messages."""
    torch.manual_seed(3)
    monkeypatch.setattr(EverythingCheck, '__call__', lambda self, sam: 0.5)
    model = build_sam(record=RECORD).eval()
    tuning = FineTuning(load_model=lambda name: model)
    made = SimpleNamespace(tuning=tuning, model=model, said=[])
    for name in (
        'surveyed',
        'uncountable',
        'status',
        'stepped',
        'validated',
        'finished',
        'failed',
    ):

        def hear(*values: Any, name: str = name) -> None:
            made.said.append((name, *values))

        getattr(tuning, name).connect(hear)

    def heard(name: str) -> list[Any]:
        return [entry[1:] for entry in made.said if entry[0] == name]

    def score(*numbers: float) -> None:
        monkeypatch.setattr(
            'napari_mobilesam.training.held_back.object_scores',
            Scores(*numbers),
        )

    def train(found: Any = planes, name: str = 'mine') -> None:
        tuning.start(FineTuneRequest(found, 'tiny', name, QUICK))
        assert tuning.wait(120)
        assert not tuning.running

    made.heard, made.score, made.train = heard, score, train
    yield made
    tuning.close()


@pytest.mark.slow
def test_better_model_is_written_and_said(bench: Any, folder: Path) -> None:
    before = {k: v.clone() for k, v in bench.model.state_dict().items()}
    bench.score(0.81, 0.85, 0.89, 0.87)
    bench.train()
    ((result,),) = bench.heard('finished')
    assert result.path == folder / 'mine.safetensors'
    assert (
        result.text == 'Clicks and boxes: IoU 0.81 → 0.89 on 2 objects held '
        'back. Segment everything: F1 0.50 → 0.50 around them. '
        'mine is selected now.'
    )
    assert [score for _, score in bench.heard('validated')][0] == 0.81
    assert max(score for _, score in bench.heard('validated')) == 0.89
    assert all(np.isfinite(loss) for _, loss in bench.heard('stepped'))
    assert bench.heard('stepped')
    record = load_model('mine').record
    assert record.name == 'mine' and record.training['base'] == 'tiny'
    assert 'mine' in [known.name for known in list_models()]
    # what it started from is as it was
    for name, value in bench.model.state_dict().items():
        assert torch.equal(before[name], value), name


@pytest.mark.parametrize(
    ('complete', 'f1', 'said'),
    [
        (True, 0.8, 'F1 0.70 → 0.80 around them. mine is'),
        (True, 0.6, 'F1 0.70 → 0.60 around them, which is worse. Compare'),
        (
            True,
            math.nan,
            'not measured, for lack of time. Compare its results',
        ),
        (False, math.nan, 'was not measured. Compare'),
    ],
)
def test_the_text_says_what_was_not_measured_or_got_worse(
    complete: bool, f1: float, said: str
) -> None:
    request = FineTuneRequest(lambda: (), 'tiny', 'mine')
    result = FineTuneResult(
        request, 0.4, 0.7, 8, complete, Path('mine'), 0.02, 0.7, f1
    )
    assert said in result.text


@pytest.mark.slow
def test_model_that_is_not_better_is_not_kept(
    bench: Any, folder: Path
) -> None:
    bench.score(0.81, 0.80, 0.79)
    bench.train()
    ((result,),) = bench.heard('finished')
    assert result.path is None
    assert result.text.startswith(
        'No improvement; keeping tiny. Clicks and boxes: IoU 0.810 on 2 '
        'objects'
    )
    assert list(folder.iterdir()) == []


def test_change_within_the_noise_is_no_improvement(
    bench: Any, folder: Path
) -> None:
    bench.score(0.81, 0.811)
    bench.train()
    ((result,),) = bench.heard('finished')
    assert result.path is None
    assert '0.810 → 0.811' in result.text
    assert 'within the noise of ±0.028' in result.text
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_validation_is_counted(bench: Any) -> None:
    bench.score(0.81, 0.85)
    bench.train()
    said = [text for (text,) in bench.heard('status')]
    assert any('Measuring on the objects held back: 1 of' in s for s in said)


def test_cancel_is_heard_in_the_first_validation(
    bench: Any, folder: Path
) -> None:
    bench.score(0.5)
    bench.tuning.status.connect(
        lambda text: bench.tuning.cancel() if 'Preparing' in text else None
    )
    bench.train()
    ((result,),) = bench.heard('finished')
    assert result.text == (
        'Stopped before the training began; nothing was changed.'
    )
    assert not bench.heard('validated')
    assert not bench.heard('failed')
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_cancel_keeps_the_best_so_far(bench: Any, folder: Path) -> None:
    bench.score(0.5, 0.6, 0.7)
    bench.tuning.validated.connect(
        lambda minutes, score: bench.tuning.cancel() if score > 0.55 else None
    )
    bench.train()
    ((result,),) = bench.heard('finished')
    assert not result.complete
    assert result.text.startswith('Stopped. Clicks and boxes: IoU 0.50 → 0.60')
    assert (folder / 'mine.safetensors').is_file()
    assert load_model('mine').record.training['steps'] == 1


def test_closing_gives_a_run_up(bench: Any, folder: Path) -> None:
    bench.score(0.5, 0.6)
    bench.tuning.stepped.connect(lambda *_: bench.tuning.close())
    bench.train()
    assert bench.heard('finished') == bench.heard('failed') == []
    assert list(folder.iterdir()) == []
    # and it can be used again
    bench.tuning.survey(planes)
    bench.tuning.wait(20)
    assert bench.heard('surveyed')


@pytest.mark.slow
def test_objects_are_counted_while_training(bench: Any) -> None:
    bench.score(0.5, 0.6)
    asked = []

    def ask(*_: Any) -> None:
        if not asked:
            asked.append(bench.tuning.survey(planes))

    bench.tuning.stepped.connect(ask)
    bench.train()
    names = [entry[0] for entry in bench.said]
    assert names.index('surveyed') < names.index('finished')


def test_one_run_at_a_time(bench: Any) -> None:
    go = threading.Event()

    def held() -> list[LabelledPlane]:
        go.wait(20)
        return []

    bench.tuning.start(FineTuneRequest(held, 'tiny', 'one'))
    with pytest.raises(SegmentationError, match='is being trained'):
        bench.tuning.start(FineTuneRequest(held, 'tiny', 'two'))
    go.set()
    bench.tuning.wait(20)
    assert 'No object is labelled' in bench.heard('failed')[0][0]


def test_survey_agrees_with_what_is_held_back() -> None:
    for count in (2, 3, 7, 12, 40):
        labels = np.zeros((90, 90), np.int32)
        for number in range(count):
            row, column = divmod(number, 8)
            labels[row * 11 : row * 11 + 8, column * 11 : column * 11 + 8] = (
                number + 1
            )
        pair = labelled_image(labels.astype(np.uint8), labels)
        _, validation = hold_back([pair], QUICK.held_back)
        found = survey([plane(labels, labels)])
        assert found.objects == count
        assert found.held_back == sum(len(v.objects) for v in validation)


def test_smallest_objects_are_counted_as_they_are_trained_on() -> None:
    labels = np.zeros((20, 20), np.int32)
    for number in range(5):
        labels[4 * number : 4 * number + 2, :2] = number + 1
    labels[19, 19] = 6
    pair = labelled_image(labels.astype(np.uint8), labels)
    sides = hold_back([pair], QUICK.held_back)
    used = sum(len(image.objects) for side in sides for image in side)
    found = survey([plane(labels, labels)])
    assert found.objects == used == 5


def test_survey_counts_planes_and_leaves_specks_out() -> None:
    labels = np.zeros((3, 20, 20), np.uint16)
    labels[0, :5, :5], labels[0, 10:15, :5] = 7, 300
    labels[2, :5, :5] = 7
    labels[1, 3, 3] = 9
    found = survey([plane(layer, layer) for layer in labels])
    assert found == Survey(3, 2, 1)
    assert '3 objects on 2 planes, of which 1 will be held' in found.text
    assert '1 smaller than 4 pixels left out' in found.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ('objects', 'text'),
    [(0, 'No object is labelled'), (1, 'label at least two')],
)
def test_too_few_objects(bench: Any, objects: int, text: str) -> None:
    labels = np.zeros((40, 40), np.int32)
    if objects:
        labels[5:15, 5:15] = 1
    bench.tuning.survey(lambda: [plane(labels, labels)])
    bench.tuning.wait(20)
    assert text in bench.heard('surveyed')[0][0].text
    bench.train(lambda: [plane(labels, labels)])
    ((said,),) = bench.heard('failed')
    assert 'label' in said and said[0].isupper() or said[0].isdigit()
    assert 'Unexpected' not in said


def test_planes_that_cannot_be_read(bench: Any) -> None:
    def broken() -> list[LabelledPlane]:
        raise OSError('the disk is gone')

    bench.tuning.survey(broken)
    bench.train(broken)
    assert bench.heard('uncountable') == [('The disk is gone.',)]
    assert bench.heard('failed') == [('The disk is gone.',)]


def test_model_learns_from_what_is_shown() -> None:
    image, labels = np.zeros((20, 20), np.uint16), np.ones((20, 20), np.uint8)
    image[5:10] = 500
    shown = plane(image, labels, contrast_limits=(0.0, 1000.0), gamma=1.0)
    empty = plane(image, labels * 0)
    (pair,) = labelled_images([empty, shown])
    assert pair.image.dtype == np.uint8 and pair.image.shape == (20, 20, 3)
    assert abs(int(pair.image[7, 0, 0]) - 127) <= 1


def test_saturated_pixels_do_not_darken_training_images() -> None:
    image = np.arange(10_000, dtype=np.uint16).reshape(100, 100) // 20
    image[0, :10] = 65535
    labels = np.ones(image.shape, np.uint8)
    shown = plane(
        image, labels, contrast_limits=(0.0, 65535.0), automatic=True
    )
    (pair,) = labelled_images([shown])
    assert np.ptp(pair.image[1:]) > 250


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('', 'has no name'),
        ('a/b', 'not a valid model name'),
        ('..', 'not a valid model name'),
        ('x' * 201, 'has 201 characters'),
        ('mobile_sam', 'already'),
        ('Mobile_SAM_cells', 'already'),
        ('taken', 'already'),
    ],
)
def test_names_that_are_refused(
    bench: Any, folder: Path, name: str, text: str
) -> None:
    folder.mkdir()
    (folder / 'taken.safetensors').write_bytes(b'not even a checkpoint')
    with pytest.raises(SegmentationError, match=text):
        bench.tuning.start(FineTuneRequest(planes, 'tiny', name))
    assert not bench.tuning.running
    assert (folder / 'taken.safetensors').read_bytes().startswith(b'not')


def test_free_names(folder: Path) -> None:
    folder.mkdir()
    assert free_name('mobile_sam') == 'mobile_sam_tuned1'
    (folder / 'Mobile_sam_tuned1.safetensors').touch()
    assert free_name('mobile_sam_tuned1') == 'mobile_sam_tuned2'
    assert free_name('/home/me/other.pt') == 'other_tuned1'
    assert free_name('nuclei 2.5 um_tuned3') == 'nuclei 2.5 um_tuned1'
    for base in ('other.pt', 'vit_t (1).pt', '-a,b', 'Zellkerne für uns.pth'):
        check_name(free_name(base))
    for name in ('cells.pt', 'cells.SafeTensors'):
        with pytest.raises(SegmentationError, match='without a suffix'):
            check_name(name)


def test_folder_that_cannot_be_written(bench: Any, folder: Path) -> None:
    folder.write_text('a file where the folder should be')
    with pytest.raises(SegmentationError, match='cannot be written'):
        check_folder()
    with pytest.raises(SegmentationError, match='Nothing was trained'):
        bench.tuning.start(FineTuneRequest(planes, 'tiny', 'mine'))
    assert not bench.tuning.running


def test_full_disk_is_noticed_before_training(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: SimpleNamespace(free=10)
    )
    bench.train()
    assert 'free disk space' in bench.heard('failed')[0][0]
    assert not bench.heard('validated')


@pytest.mark.slow
def test_disk_that_fills_up_while_training(
    bench: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.score(0.5, 0.6)

    def full(*_: Any) -> None:
        raise TrainingError('the model could not be written: no space left')

    with monkeypatch.context() as patch:
        patch.setattr('napari_mobilesam.training.train_job.write_result', full)
        bench.train()
    assert bench.heard('failed') == [
        ('The model could not be written: no space left.',)
    ]
    # the minutes are not lost
    assert bench.tuning.unsaved
    bench.tuning.save('later')
    bench.tuning.wait(20)
    assert not bench.tuning.unsaved
    assert bench.heard('finished')[0][0].path == folder / 'later.safetensors'
    assert load_model('later').record.name == 'later'
    with pytest.raises(SegmentationError, match='no unsaved model'):
        bench.tuning.save('again')


@pytest.mark.slow
def test_loss_that_is_not_finite(bench: Any) -> None:
    with torch.no_grad():
        next(bench.model.mask_decoder.parameters()).fill_(float('nan'))
    bench.score(0.5)
    bench.train()
    # three steps are too few to give up; nothing is better than the base
    assert bench.heard('finished')[0][0].path is None
