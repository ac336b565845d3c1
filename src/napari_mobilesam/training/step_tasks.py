"""Tasks of a training run: the computation of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.interactive import (
    DenseHead,
    StepResult,
    interactive_step,
)
from napari_mobilesam.training.sample_batches import SampleBatches
from napari_mobilesam.training.samples import (
    Sample,
    SampleSource,
    simulate_prompts,
)
from napari_mobilesam.training.tensor_batch import collate, normalise

# Share of steps with correction rounds.
CORRECTIONS = 0.2
Part = Literal['all', 'encoder', 'decoder']


class Turn(NamedTuple):
    """Number, samples and seed of a step.

    Attributes
    ----------
    step : int
        Number of previous steps.
    first, images : int
        First sample and number of samples of this step and process.
    rank : int
        Process.
    fraction : float
        Used share of the budget.
    seed : int
        Seed of the run.
    half : bool
        Compute in bfloat16.
    """

    step: int
    first: int
    images: int
    rank: int
    fraction: float
    seed: int
    half: bool

    def shared_chance(self) -> np.random.Generator:
        """Return a random generator that is the same in all processes."""
        return np.random.default_rng((self.seed, self.step))

    def chance(self) -> np.random.Generator:
        """Return a random generator of this process."""
        return np.random.default_rng((self.seed, self.step, self.rank))


class Task(Protocol):
    """Computation that leaves the gradients of one step in the parameters."""

    sam: Sam
    helper: nn.Module

    def prepare(self) -> None:
        """Set training and inference mode of the parts."""

    def step(self, turn: Turn) -> StepResult:
        """Compute the gradients of one step."""


def choose_trained(sam: Sam, part: Part) -> None:
    """Let only one part of a model require gradients."""
    sam.requires_grad_(part == 'all')
    if part == 'encoder':
        sam.image_encoder.requires_grad_(True)
    elif part == 'decoder':
        sam.mask_decoder.requires_grad_(True)
        if sam.instance_head is not None:
            sam.instance_head.requires_grad_(True)


class InteractiveTask:
    """Interactive training of the whole model (Segment Anything, A).

    Parameters
    ----------
    sam : Sam
        Model.
    source : SampleSource
        Crops and prompts.
    corrections : float
        Share of steps with correction rounds, after warm-up.
    warmup : int
        Number of steps with first prompts only.
    head_weight : float
        Initial weight of the auxiliary dense maps; falls to a tenth.
    loaders : int
        Number of processes that prepare samples during training; 0 to prepare
        them between steps.
    compiled : bool
        Compile the image encoder.
    """

    def __init__(
        self,
        sam: Sam,
        source: SampleSource,
        *,
        corrections: float = CORRECTIONS,
        warmup: int = 100,
        head_weight: float = 0.5,
        loaders: int = 0,
        compiled: bool = False,
    ) -> None:
        self.sam = sam
        self.batches = SampleBatches(source, sam.input_size, loaders)
        self.encode = (
            torch.compile(sam.image_encoder) if compiled else sam.encode
        )
        self.corrections, self.warmup = corrections, warmup
        self.head_weight = head_weight
        self.helper: nn.Module = DenseHead(sam.input_size).to(sam.device)
        choose_trained(sam, 'all')

    def prepare(self) -> None:
        """Set everything to training mode."""
        self.sam.train()

    def step(self, turn: Turn) -> StepResult:
        """Compute the gradients of one step; see `interactive_step`."""
        batch = self.batches.get(turn.first, turn.images)
        assert isinstance(self.helper, DenseHead)
        return interactive_step(
            self.sam,
            batch.to(self.sam.device),
            turn.chance(),
            rounds=draw_rounds(turn, self.corrections, self.warmup),
            head=self.helper,
            head_weight=self.head_weight * (1 - 0.9 * turn.fraction),
            half=turn.half,
            encode=self.encode,
        )


def draw_rounds(
    turn: Turn, corrections: float = CORRECTIONS, warmup: int = 0
) -> int:
    """Return the number of rounds, equal in all processes so none waits."""
    rng = turn.shared_chance()
    if turn.step >= warmup and rng.random() < corrections:
        return int(rng.integers(2, 4))
    return 1


@dataclass(eq=False)
class DecoderTask:
    """Training of only the decoders, on a set of embedded crops.

    The instance head, if there is one, learns from samples with maps.

    The encoder does not change, so its output for a crop is computed once;
    prompts are drawn anew each time. A step thus costs no more than the
    decoder.

    Attributes
    ----------
    sam : Sam
        Model, of which only the mask decoder and the instance head are
        trained.
    source : SampleSource
        Crops and prompts.
    crops : int
        Number of embedded crops.
    """

    sam: Sam
    source: SampleSource
    crops: int = 48
    helper: nn.Module = field(default_factory=nn.Identity)
    bank: dict[int, tuple[Sample, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choose_trained(self.sam, 'decoder')

    def prepare(self) -> None:
        """Freeze the statistics of the encoder."""
        self.sam.eval()
        self.sam.mask_decoder.train()
        if self.sam.instance_head is not None:
            self.sam.instance_head.train()

    def embedded(self, number: int) -> tuple[Sample, Tensor]:
        """Return a crop and its embedding, computed the first time."""
        if number not in self.bank:
            sample = self.source[number]
            batch = collate([sample], self.sam.input_size)
            with torch.no_grad():
                features = self.sam.encode(
                    normalise(self.sam, batch.to(self.sam.device))
                )
            self.bank[number] = sample, features
        return self.bank[number]

    def step(self, turn: Turn) -> StepResult:
        """Take one step on embedded crops, with new prompts."""
        rng = turn.chance()
        chosen = [
            self.embedded(int(number))
            for number in rng.integers(0, self.crops, turn.images)
        ]
        samples = [
            simulate_prompts(
                sample.image,
                sample.labels,
                self.source.prompts,
                self.source.background,
                rng,
                sample.group,
                sample.maps,
            )
            for sample, _ in chosen
        ]
        batch = collate(samples, self.sam.input_size).to(self.sam.device)
        return interactive_step(
            self.sam,
            batch,
            rng,
            rounds=draw_rounds(turn),
            half=turn.half,
            features=torch.cat([features for _, features in chosen]),
        )


Score = Callable[[Sam], dict[str, float]]
