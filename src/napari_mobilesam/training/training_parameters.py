"""Parameters of training, distillation, fine-tuning and evaluation.

This module loads neither torch nor SciPy, so that the command line can
describe its options quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_mobilesam.parameter_fields import documented, parameter

DistillMode = Literal['decoupled', 'semi-coupled', 'coupled']
LARGEST_SHARE = 0.7  # of the input, for an object's diameter
MIN_AREA = 4  # data pixels; a smaller object has no shape at any zoom


@dataclass(frozen=True)
class ZoomRange:
    """Diameters, in input pixels, to which objects are zoomed.

    Most crops zoom one object to about ``best`` (log-normal), some to anywhere
    between ``smallest`` and ``largest``, and some show the whole image.
    """

    smallest: float = 20
    best: float = 60
    largest: float = 180
    spread: float = 0.4
    anywhere: float = 0.25
    whole: float = 0.1

    def within(self, input_size: int) -> ZoomRange:
        """Return the range for a smaller input on which objects still fit."""
        largest = min(self.largest, LARGEST_SHARE * input_size)
        return replace(
            self,
            smallest=min(self.smallest, largest),
            best=min(self.best, largest),
            largest=largest,
        )

    def draw(self, rng: np.random.Generator) -> float | None:
        """Draw a diameter, None for the whole image."""
        kind = rng.random()
        if kind < self.whole:
            return None
        if kind < self.whole + self.anywhere:
            return float(
                np.exp(
                    rng.uniform(np.log(self.smallest), np.log(self.largest))
                )
            )
        drawn = self.best * np.exp(rng.normal(0, self.spread))
        return float(np.clip(drawn, self.smallest, self.largest))


@documented
@dataclass(frozen=True)
class TrainConfig:
    """Budget and optimiser of a training run.

    The learning rate decays along whichever budget ends first.
    """

    steps: int = parameter(0, 'Budget in steps; 0 for none.')
    minutes: float = parameter(
        0,
        'Budget in minutes of training, summed over resumes.',
        label='Minutes',
        minimum=0.1,
        maximum=24 * 60,
        step=0.1,
    )
    batch_size: int = parameter(4, 'Images per step and process.')
    learning_rate: float = parameter(1e-3, 'Peak learning rate of AdamW.')
    weight_decay: float = parameter(0.05, 'Weight decay of AdamW.')
    warmup: int = parameter(50, 'Steps of warm-up.')
    clip: float = parameter(1.0, 'Maximum norm of the gradient.')
    average: float = parameter(
        0.998,
        'Decay of the averaged weights, which are validated and kept.',
    )
    half: bool | None = parameter(
        None,
        'Compute in bfloat16.',
        automatic='where the processor has instructions for it.',
    )
    seed: int = parameter(0, 'Seed of all random choices.')
    checkpoint_minutes: float = parameter(3, 'Minutes between checkpoints.')
    validation_steps: int = parameter(
        0, 'Steps between validations; 0 uses validation_minutes.'
    )
    validation_minutes: float = parameter(8, 'Minutes between validations.')
    patience: int = parameter(
        0,
        'Number of validations without a better score after which the run '
        'ends; 0 for never.',
    )

    def fraction(self, step: int, seconds: float) -> float:
        """Return the used share of the budget."""
        parts = [
            step / self.steps if self.steps else 0,
            seconds / (60 * self.minutes) if self.minutes else 0,
        ]
        return min(1.0, max(parts))


@documented
@dataclass(frozen=True)
class DistillConfig:
    """Parameters of a distillation."""

    mode: DistillMode = parameter(
        'decoupled',
        "Training target of the student: the teacher's embeddings "
        "(decoupled), the teacher's masks through the frozen mask decoder "
        '(semi-coupled), or the masks, with the decoder trained as well '
        '(coupled).',
    )
    crops: int = parameter(2000, 'Crops whose teacher embeddings are kept.')
    check_crops: int = parameter(16, 'Additional crops for validation.')
    max_bytes: int | None = parameter(
        None,
        'Maximum size of the embeddings on disk.',
        automatic='no limit.',
    )
    procedural: float = parameter(
        0.3, 'Share of procedural images among the crops.'
    )
    zoom: ZoomRange = parameter(
        default_factory=ZoomRange, description='Object sizes at the input.'
    )
    config: TrainConfig = parameter(
        default_factory=lambda: TrainConfig(minutes=30, batch_size=8),
        description='Budget and optimiser.',
    )


def _default_budget() -> TrainConfig:
    return TrainConfig(
        minutes=4,
        batch_size=4,
        learning_rate=2e-4,
        weight_decay=0.01,
        warmup=10,
        average=0.98,
        validation_minutes=0.25,
        patience=6,
    )


@documented
@dataclass(frozen=True)
class FineTuneConfig:
    """Parameters of fine-tuning."""

    decoder_only: bool = parameter(
        True,
        'Train only the mask decoder, which takes minutes. Training the '
        'image encoder as well takes far longer and needs more labels.',
        label='Train',
        choices=(
            ('Mask decoder (minutes)', True),
            ('Whole model (hours)', False),
        ),
    )
    complete: bool = parameter(
        False,
        'Every object of the images is labelled, so that the rest is '
        'background, on which clicks are trained, too.',
        label='Every object is labelled',
    )
    held_back: float = parameter(
        0.2, 'Share of the objects kept for validation.'
    )
    crops: int = parameter(
        40, 'Crops embedded once for training the mask decoder.'
    )
    config: TrainConfig = parameter(
        default_factory=_default_budget,
        description='Budget and optimiser; the run ends early after '
        'config.patience validations without improvement.',
    )


def held_back_count(objects: int, share: float) -> int:
    """Return how many objects are held back for validation.

    Parameters
    ----------
    objects : int
        Number of objects that are large enough.
    share : float
        Share to hold back; training and validation get at least one.

    Returns
    -------
    int
        0 if there are fewer than two objects.
    """
    return max(0, min(objects - 1, max(1, round(share * objects))))


@documented
@dataclass(frozen=True)
class EvaluationOptions:
    """Parameters of an evaluation."""

    objects: int = parameter(
        40, 'Number of objects prompted per image, drawn with the seed.'
    )
    clicks: int = parameter(
        10, 'Maximum clicks per object when clicks are counted; 0 for none.'
    )
    click_objects: int = parameter(
        8, 'Objects per image whose clicks are counted.'
    )
    everything: bool = parameter(True, 'Evaluate segment everything as well.')
    everything_parameters: dict[str, Any] = parameter(
        default_factory=dict,
        description='Fields of `EverythingParameters` that differ from '
        'their defaults.',
    )
    distances: tuple[float, ...] = parameter(
        (10, 20, 40),
        'Distances in pixels between the positive and the negative click '
        'at which agreement with a teacher is measured.',
    )
    seed: int = parameter(0, 'Seed for the objects and random points.')
