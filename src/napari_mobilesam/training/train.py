"""The training loop: budget, checkpoints, exact resume, validation.

Randomness depends only on the seed and the step, so a run that was killed and
resumed ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_mobilesam.files import atomic_path
from napari_mobilesam.training.interactive import StepResult
from napari_mobilesam.training.interrupts import interrupt_at_end
from napari_mobilesam.training.optimisation import (
    Exchange,
    make_optimiser,
    schedule,
    update_average,
)
from napari_mobilesam.training.step_tasks import Score, Task, Turn
from napari_mobilesam.training.training_parameters import TrainConfig
from napari_mobilesam.types import Progress, SegmentationError

# State file in a run's folder.
STATE = 'run.pt'
BAD_STEPS = 20  # consecutive steps without a finite loss
# Minimum time between two validations, in durations of one.
VALIDATION_GAP = 8


class TrainingError(RuntimeError):
    """Training cannot continue; the last checkpoint is intact."""


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return True if matrix products are faster in bfloat16 than float32."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported()
    if device.type != 'cpu':
        return False
    # private, and missing in some versions of torch
    probes = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')
    return any(getattr(torch.cpu, name, bool)() for name in probes)


class TrainingRun:
    """State of one run: model, optimiser, averaged weights, progress.

    Parameters
    ----------
    task : Task
        Computation of a step, and the model, which is trained in place and
        finally holds the best averaged weights.
    config : TrainConfig
        Budget and optimiser.
    folder : Path, optional
        Folder for checkpoints and log; None keeps nothing.
    score : callable, optional
        Validation function from a model to numbers; ``'score'`` decides which
        model is best.
    made_of : mapping of str to str
        Whatever else affects the weights, such as a hash of the images; a
        checkpoint that differs is not resumed.
    """

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        folder: Path | None = None,
        score: Score | None = None,
        made_of: Mapping[str, str] | None = None,
    ) -> None:
        if not (config.steps or config.minutes):
            raise ValueError('give a budget: steps or minutes')
        self.task, self.sam, self.config = task, task.sam, config
        self.folder, self.score = folder, score
        self.made_of = dict(made_of or {})
        modules = [task.sam, task.helper]
        self.optimiser = make_optimiser(
            modules, config.learning_rate, config.weight_decay
        )
        self.exchange = Exchange(modules)
        if config.patience and self.exchange.size > 1:
            raise TrainingError(
                'patience needs the score, which one of several processes '
                'knows: set it to 0, or train in one process'
            )
        self.average = {
            name: value.detach().clone()
            for name, value in self.sam.state_dict().items()
        }
        self.best = dict(self.average)
        self.best_score, self.since_best = float('-inf'), 0
        self.step, self.seconds, self.pending = 0, 0.0, 0.0
        self.validated, self.saved, self.bad = 0.0, 0.0, 0
        # Duration of a validation, for a budget that includes validation: time
        # is reserved for the last one. 0 excludes validation from the budget.
        self.validation_seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.recent: list[StepResult] = []
        half = config.half
        device = self.sam.device
        self.half = has_fast_bfloat16(device) if half is None else half

    def take_step(self) -> StepResult:
        """Take one optimiser step on the next samples."""
        config, exchange = self.config, self.exchange
        begun = time.monotonic()
        fraction = config.fraction(self.step, self.seconds)
        turn = Turn(
            self.step,
            (self.step * exchange.size + exchange.rank) * config.batch_size,
            config.batch_size,
            exchange.rank,
            fraction,
            config.seed,
            self.half,
        )
        self.task.prepare()
        result = self.task.step(turn)
        prepared = time.monotonic()
        self.seconds = exchange.average(
            self.seconds + self.pending + prepared - begun
        )
        self._update(fraction)
        self.step += 1
        # Counted with the next step, so that all processes agree.
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
        self.bad = 0 if torch.isfinite(norm) else self.bad + 1
        if not self.bad:
            self.optimiser.step()
            update_average(self.average, self.sam, self.step, config.average)
        self.optimiser.zero_grad(set_to_none=True)

    def run(
        self,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        on_validation: Callable[[dict[str, float]], None] | None = None,
        on_step: Callable[[float, StepResult], None] | None = None,
    ) -> dict[str, Tensor]:
        """Train until the budget is used up.

        Parameters
        ----------
        progress : callable, optional
            Called as ``progress(per mille, 1000, message)``.
        cancelled : callable, optional
            Returns True to end the run early; the best state so far is kept.
        on_validation : callable, optional
            Called with each point of the validation curve.
        on_step : callable, optional
            Called after each step with the minutes trained and its numbers.

        Returns
        -------
        dict
            State dict of the best averaged weights by validation, or of the
            last ones without validation.

        Raises
        ------
        TrainingError
            If the loss is not finite for many steps, or a checkpoint cannot be
            written; the previous checkpoint is intact.
        KeyboardInterrupt
            After Ctrl-C, when the step is done and the state written.
        """
        on_validation = on_validation or (lambda entry: None)
        if self.step == 0 and self.score is not None:
            on_validation(self.validate())
        while not self._done() and not (cancelled and cancelled()):
            with interrupt_at_end(self.save):
                self.recent.append(self.take_step())
                self._check_finite()
                if on_step is not None:
                    on_step(self.seconds / 60, self.recent[-1])
                if progress is not None:
                    used = self.config.fraction(self.step, self.seconds)
                    progress(int(1000 * used), 1000, self.message())
            if self._validation_due():
                # Ctrl-C ends a validation at once
                self.save()
                on_validation(self.validate())
            if (
                self.seconds - self.saved
                >= self.config.checkpoint_minutes * 60
            ):
                self.save()
        if not self.curve or self.curve[-1]['step'] != self.step:
            on_validation(self.validate())
        self.save()
        self.sam.load_state_dict(self.best)
        self.sam.eval().requires_grad_(False)
        return self.best

    def _done(self) -> bool:
        patience = self.config.patience
        used = self.seconds + self.pending + self.validation_seconds
        if not self.validation_seconds:
            used = self.seconds
        return self.config.fraction(self.step, used) >= 1 or bool(
            patience and self.since_best >= patience
        )

    def _validation_due(self) -> bool:
        if self.config.validation_steps:
            return self.step % self.config.validation_steps == 0
        passed = self.seconds - self.validated
        seldom = VALIDATION_GAP * self.validation_seconds
        return passed >= max(60 * self.config.validation_minutes, seldom)

    def _check_finite(self) -> None:
        if self.bad >= BAD_STEPS:
            raise TrainingError(
                f'the loss was not finite for {self.bad} steps in a row, at '
                f'step {self.step}; lower the learning rate '
                f'({self.config.learning_rate}) and resume from the last '
                'checkpoint'
            )

    def message(self) -> str:
        """Return a short summary of the last steps."""
        last = self.recent[-20:]
        if not last:
            return f'step {self.step}'

        def mean(name: str) -> float:
            values = [getattr(result, name) for result in last]
            finite = [value for value in values if np.isfinite(value)]
            return float(np.mean(finite)) if finite else float('nan')

        text = (
            f'step {self.step}, {self.seconds / 60:.1f} min, loss '
            f'{mean("loss"):.3f}'
        )
        # a head has no prompts, and many steps have no corrections
        known = {
            title: mean(name)
            for name, title in (
                ('point', ', IoU point'),
                ('box', ' box'),
                ('corrected', ' corrected'),
            )
        }
        return text + ''.join(
            f'{title} {value:.3f}'
            for title, value in known.items()
            if np.isfinite(value)
        )

    def validate(self) -> dict[str, float]:
        """Score the averaged weights, and keep them if they are best."""
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
        self._keep_best(scores.get('score', float(self.step)))
        entry = {'step': self.step, 'minutes': self.seconds / 60} | scores
        self.curve.append(entry)
        self._log(entry)
        self.validated = self.seconds
        self.recent = self.recent[-20:]
        return entry

    def _keep_best(self, value: float) -> None:
        self.since_best += 1
        if value > self.best_score:
            self.best_score, self.since_best = value, 0
            self.best = {k: v.clone() for k, v in self.average.items()}

    def _log(self, entry: dict[str, float]) -> None:
        if self.folder is None or self.exchange.rank != 0:
            return
        line = json.dumps(entry | {'training': self.message()})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / 'log.jsonl').open('a') as log:
                log.write(line + '\n')
        except OSError as error:
            raise TrainingError(
                f'the log in {self.folder} could not be written: {error}'
            ) from error

    def _state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            'model': self.sam.state_dict(),
            'helper': self.task.helper.state_dict(),
            'optimiser': self.optimiser.state_dict(),
            'average': self.average,
            'best': self.best,
            'best_score': self.best_score,
            'since_best': self.since_best,
            'validated': self.validated,
            'step': self.step,
            'seconds': self.seconds,
            'curve': self.curve,
            'config': asdict(self.config),
            'made_of': self.made_of,
        }

    def save(self) -> None:
        """Write the state of the run atomically."""
        if self.folder is None or self.exchange.rank != 0:
            return
        self.saved = self.seconds
        path = self.folder / STATE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                torch.save(self._state(), temporary)
        except (OSError, RuntimeError) as error:
            # torch's own writer does not say that the disk is full
            cause = OSError(errno.ENOSPC, 'the disk is full')
            if isinstance(error, OSError):
                cause = error
            reason = cause.strerror or str(cause)
            before = ' The one before is intact.' if path.is_file() else ''
            raise TrainingError(
                f'the checkpoint {path} could not be written ({reason}).'
                f'{before} Free disk space, or use another folder.'
            ) from cause

    def resume(self) -> bool:
        """Resume from the checkpoint in the folder, if there is one.

        Raises
        ------
        SegmentationError
            If the checkpoint was made with other parameters.
        TrainingError
            If it cannot be read.
        """
        path = None if self.folder is None else self.folder / STATE
        if path is None or not path.is_file():
            return False
        # older checkpoints do not state this
        needed = self._state().keys() - {'made_of'}
        state = _read_state(path, self.sam.device, needed)
        budget = {'steps': 0, 'minutes': 0}
        now = asdict(self.config) | budget | self.made_of
        then = state['config'] | budget | state.get('made_of', self.made_of)
        changed = [name for name in now if now[name] != then.get(name)]
        if changed:
            raise SegmentationError(
                f'{path} was made with other parameters '
                f'({", ".join(changed)}); use them, or another folder'
            )
        self.sam.load_state_dict(state['model'])
        self.task.helper.load_state_dict(state['helper'])
        self.optimiser.load_state_dict(state['optimiser'])
        self.average, self.best = state['average'], state['best']
        self.best_score = state['best_score']
        self.since_best = state['since_best']
        self.validated = state['validated']
        self.step, self.seconds = state['step'], state['seconds']
        self.curve, self.saved = state['curve'], self.seconds
        return True


def _read_state(
    path: Path, device: torch.device, needed: Collection[str]
) -> dict[str, Any]:
    """Read the state written by `TrainingRun.save`.

    Raises
    ------
    TrainingError
        If it cannot be read.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if all(name in state for name in needed):
            return dict(state)
        reason = 'it is not a state of a run'
    except Exception as error:  # noqa: BLE001 - torch raises any kind
        reason = str(error).split('\n', 1)[0]
    raise TrainingError(
        f'{path} cannot be read ({reason}); delete it to begin anew, or use '
        'another folder'
    )
