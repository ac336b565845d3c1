"""The training loop: budget, checkpoints, exact resume, validation.

Everything that chance decides depends on the seed and the step alone, so that
a run that was killed and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_mobilesam.model.sam import Sam
from napari_mobilesam.training.dataset import TrainingDataError
from napari_mobilesam.training.interactive import (
    DenseHead,
    StepResult,
    collate,
    interactive_step,
)
from napari_mobilesam.training.optimisation import (
    Exchange,
    make_optimiser,
    schedule,
    update_average,
)
from napari_mobilesam.training.samples import SampleSource

Progress = Callable[[int, int, str], None]
Score = Callable[[Sam], dict[str, float]]

BAD_STEPS = 20  # steps in a row without a finite loss before giving up


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is intact."""


@dataclass(frozen=True)
class TrainConfig:
    """Parameters of a training run.

    Attributes
    ----------
    steps : int
        Budget in steps; 0 for none.
    minutes : float
        Budget in minutes of training, summed over resumes; 0 for none. The
        learning rate falls to its end along whichever budget is nearer.
    batch_size : int
        Images per step and process.
    learning_rate, weight_decay, warmup, clip
        Of AdamW; warm-up in steps, clip of the gradient's norm.
    average : float
        Decay of the averaged weights, which are what is validated and kept.
    head_weight : float
        Weight of the auxiliary dense maps at the start; a tenth at the end.
    iou_weight : float
        Weight of the predicted IoU.
    corrections : float
        Share of steps with correction rounds, once warmed up.
    half : bool or None
        bfloat16; None where the machine has instructions for it.
    encoder : bool
        Train the image encoder too.
    seed : int
        Seed of all chance.
    checkpoint_minutes, validation_minutes : float
        Intervals.
    """

    steps: int = 0
    minutes: float = 0
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 50
    clip: float = 1.0
    average: float = 0.998
    head_weight: float = 0.5
    iou_weight: float = 2.0
    corrections: float = 0.35
    half: bool | None = None
    encoder: bool = True
    seed: int = 0
    checkpoint_minutes: float = 3
    validation_minutes: float = 8

    def fraction(self, step: int, seconds: float) -> float:
        """Share of the budget that is used up."""
        parts = [
            step / self.steps if self.steps else 0,
            seconds / (60 * self.minutes) if self.minutes else 0,
        ]
        return min(1.0, max(parts))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported()
    if device.type != 'cpu':
        return False
    probe = getattr(torch.cpu, '_is_amx_tile_supported', None)
    return bool(probe is not None and probe())


class TrainingRun:
    """One run: model, optimiser, averaged weights and where it stands.

    Parameters
    ----------
    sam : Sam
        Trained in place; afterwards it holds the averaged weights.
    source : SampleSource
        Reproducible samples.
    config : TrainConfig
        Parameters.
    folder : Path, optional
        Where checkpoints and the log are kept; None keeps nothing.
    score : callable, optional
        Validation: model to numbers; ``'score'`` decides which is best.
    """

    def __init__(
        self,
        sam: Sam,
        source: SampleSource,
        config: TrainConfig,
        folder: Path | None = None,
        score: Score | None = None,
    ) -> None:
        if not (config.steps or config.minutes):
            raise ValueError('give a budget: steps or minutes')
        torch.manual_seed(config.seed)
        self.sam, self.source, self.config = sam, source, config
        self.folder, self.score = folder, score
        sam.requires_grad_(True)
        if not config.encoder:
            sam.image_encoder.requires_grad_(False)
        self.head = DenseHead().to(sam.device)
        modules = [sam, self.head] if config.encoder else [sam]
        self.optimiser = make_optimiser(
            modules, config.learning_rate, config.weight_decay
        )
        self.exchange = Exchange(modules)
        self.average = {
            name: value.detach().clone()
            for name, value in sam.state_dict().items()
        }
        self.best = dict(self.average)
        self.best_score = float('-inf')
        self.step, self.seconds, self.pending = 0, 0.0, 0.0
        self.curve: list[dict[str, float]] = []
        self.recent: list[StepResult] = []
        half = config.half
        self.half = has_fast_bfloat16(sam.device) if half is None else half

    # -- one step -----------------------------------------------------------

    def _rounds(self, rng: np.random.Generator) -> int:
        warm = self.step >= 2 * self.config.warmup
        if warm and rng.random() < self.config.corrections:
            return int(rng.integers(2, 4))
        return 1

    def take_step(self) -> StepResult:
        """Take one optimiser step on the next samples."""
        config, exchange = self.config, self.exchange
        begun = time.monotonic()
        self.sam.train()
        if not config.encoder:
            self.sam.image_encoder.eval()
        count = config.batch_size
        first = (self.step * exchange.size + exchange.rank) * count
        samples = [self.source[first + i] for i in range(count)]
        batch = collate(samples, self.sam.input_size).to(self.sam.device)
        # The same number of rounds everywhere, or processes would wait.
        rounds = self._rounds(np.random.default_rng((config.seed, self.step)))
        rng = np.random.default_rng((config.seed, self.step, exchange.rank))
        fraction = config.fraction(self.step, self.seconds)
        result = interactive_step(
            self.sam,
            batch,
            rng,
            rounds=rounds,
            head=self.head if config.encoder else None,
            head_weight=config.head_weight * (1 - 0.9 * fraction),
            iou_weight=config.iou_weight,
            half=self.half,
        )
        prepared = time.monotonic()
        self.seconds = exchange.average(
            self.seconds + self.pending + prepared - begun
        )
        self._update(fraction)
        self.step += 1
        # Counted with the next step, so that all processes agree on it.
        self.pending = time.monotonic() - prepared
        return result

    def _update(self, fraction: float) -> None:
        config = self.config
        factor = schedule(self.step, fraction, config.warmup)
        for group in self.optimiser.param_groups:
            group['lr'] = config.learning_rate * factor
        parameters = [
            parameter
            for group in self.optimiser.param_groups
            for parameter in group['params']
        ]
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
            update_average(self.average, self.sam, self.step, config.average)
        self.optimiser.zero_grad(set_to_none=True)

    # -- the loop -----------------------------------------------------------

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> dict[str, Tensor]:
        """Train until the budget is used up.

        Parameters
        ----------
        progress : callable, optional
            Called as ``progress(per mille, 1000, message)``.
        cancelled : callable, optional
            Ends the run early; what is best so far is kept.

        Returns
        -------
        dict
            State dict of the best averaged weights by validation, or of the
            last ones where there is no validation.

        Raises
        ------
        TrainingError
            If the loss is not finite for many steps, or a checkpoint cannot
            be written; the checkpoint before is intact.
        """
        saved = validated = self.seconds
        bad = 0
        while self.config.fraction(self.step, self.seconds) < 1:
            if cancelled is not None and cancelled():
                break
            result = self.take_step()
            bad = 0 if np.isfinite(result.loss) else bad + 1
            if bad >= BAD_STEPS:
                raise TrainingError(
                    f'the loss was not finite for {bad} steps in a row, at '
                    f'step {self.step}; lower the learning rate '
                    f'({self.config.learning_rate}) and resume from the last '
                    'checkpoint'
                )
            self.recent.append(result)
            if progress is not None:
                progress(
                    int(1000 * self.config.fraction(self.step, self.seconds)),
                    1000,
                    self.message(),
                )
            if self.seconds - validated >= 60 * self.config.validation_minutes:
                self.validate()
                validated = self.seconds
            if self.seconds - saved >= 60 * self.config.checkpoint_minutes:
                self.save()
                saved = self.seconds
        self.validate()
        self.save()
        self.sam.load_state_dict(self.best)
        self.sam.eval().requires_grad_(False)
        return self.best

    def message(self) -> str:
        """Short summary of the last steps."""
        last = self.recent[-20:]
        if not last:
            return f'step {self.step}'

        def mean(name: str) -> float:
            values = [getattr(result, name) for result in last]
            finite = [value for value in values if np.isfinite(value)]
            return float(np.mean(finite)) if finite else float('nan')

        return (
            f'step {self.step}, {self.seconds / 60:.1f} min, loss '
            f'{mean("loss"):.3f}, IoU point {mean("point"):.3f} box '
            f'{mean("box"):.3f} corrected {mean("corrected"):.3f}'
        )

    def validate(self) -> None:
        """Score the averaged weights and keep them if they are best."""
        scores: dict[str, float] = {}
        if self.score is not None and self.exchange.rank == 0:
            trained = {
                name: value.detach().clone()
                for name, value in self.sam.state_dict().items()
            }
            self.sam.load_state_dict(self.average)
            self.sam.eval()
            with torch.no_grad():
                scores = self.score(self.sam)
            self.sam.load_state_dict(trained)
        value = scores.get('score', float(self.step))
        if value >= self.best_score:
            self.best_score = value
            self.best = {k: v.clone() for k, v in self.average.items()}
        entry = {'step': self.step, 'minutes': self.seconds / 60} | scores
        self.curve.append(entry)
        if self.folder is not None and self.exchange.rank == 0:
            with (self.folder / 'log.jsonl').open('a') as log:
                line = entry | {'training': self.message()}
                log.write(json.dumps(line) + '\n')
        self.recent = self.recent[-20:]

    # -- checkpoints --------------------------------------------------------

    def save(self) -> None:
        """Write the state of the run; the file before stays until it is."""
        if self.folder is None or self.exchange.rank != 0:
            return
        state = {
            'model': self.sam.state_dict(),
            'head': self.head.state_dict(),
            'optimiser': self.optimiser.state_dict(),
            'average': self.average,
            'best': self.best,
            'best_score': self.best_score,
            'step': self.step,
            'seconds': self.seconds,
            'curve': self.curve,
            'config': asdict(self.config),
        }
        path = self.folder / 'run.pt'
        partial = path.with_suffix('.partial')
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial)
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise TrainingError(
                f'the checkpoint {path} could not be written: {error}; the '
                'one before is intact. Free disk space and resume.'
            ) from error

    def resume(self) -> bool:
        """Go on where the checkpoint in the folder stands, if there is one.

        Raises
        ------
        TrainingError
            If the checkpoint was made with other parameters.
        """
        path = None if self.folder is None else self.folder / 'run.pt'
        if path is None or not path.is_file():
            return False
        state: dict[str, Any] = torch.load(
            path, map_location=self.sam.device, weights_only=True
        )
        budget = {'steps': 0, 'minutes': 0}
        now = asdict(self.config) | budget
        then = state['config'] | budget
        changed = [name for name in now if now[name] != then.get(name)]
        if changed:
            raise TrainingError(
                f'{path} was made with other parameters '
                f'({", ".join(changed)}); use them, or another folder'
            )
        self.sam.load_state_dict(state['model'])
        self.head.load_state_dict(state['head'])
        self.optimiser.load_state_dict(state['optimiser'])
        self.average, self.best = state['average'], state['best']
        self.best_score = state['best_score']
        self.step, self.seconds = state['step'], state['seconds']
        self.curve = state['curve']
        return True
