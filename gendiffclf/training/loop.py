"""Training of the network: batches, optimiser and weight average, until validation rows stop improving."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim.adam import adam
from tqdm.auto import tqdm

from ..device import high_precision
from ..estimators.combination import convex_weights
from ..estimators.network import TransportNetwork, estimate, loss
from ..estimators.training_rows import Rows
from ..transport.learned import LearnedPath
from ..transport.readout import project_on_codes, project_on_simplex
from .budget import Budget
from .cuda import CapturedUpdate, Update, compiled_update, pays
from .distributed import Processes
from .folds import Folds

VALIDATION_BLOCK = 1024
"""Rows per member in one pass of validation."""
LEAST_GAIN = 0.005
"""Improvement that patience asks for, as a share of the score."""
LEAST_PACE = 0.02
"""
Beside another estimator, patience also goes on while the network alone improves by this share, for its part in the mixture may
still grow: if it has hardly begun, or is about to catch up.
"""
HARDLY_BEGUN = 0.8
"""Brier score, as a share of that of the classes' frequencies."""
CATCHING_UP = 2.0, 15.0
"""Its Brier score is less than so many times that of the mixture, and at its pace it equals it within so many patiences."""
_LEAST_SCORE = 1e-12
"""In ratios: where rows are far apart, scores may be 0."""
LEAST_EVERY = 10
"""Updates between two validations, at least: on small tables one costs as much as an update."""
PER_PATIENCE = 5
"""Validations while patience lasts, at most."""


@dataclass(frozen=True)
class TrainingSettings:
    """How training goes, see the parameters of the same names of the classifier."""

    max_steps: int
    batch_size: int
    learning_rate: float
    ema_decay: float
    patience: int | None
    precision: torch.dtype


@dataclass(frozen=True)
class TrainingData:
    """What the network learns from: n scaled rows, their classes y (n,) and weights (n,) of mean 1, and the codes (K, L)."""

    rows: Rows
    y: Tensor
    weight: Tensor
    codes: Tensor

    def take(self, numbers: Tensor) -> Tensor:
        """Rows of numbers (M, B), (M, B, views * layers, d)."""
        return self.rows[numbers.flatten()].unflatten(0, numbers.shape)


@dataclass
class TrainingResult:
    """
    What training leaves besides the weights.

    Attributes
    ----------
    n_steps : int
        Updates until the last validation.
    best_step : int
        The update, counted from 1, whose averaged weights were kept; 0 after an interrupt before the first validation.
    stopped_by : {"max_steps", "patience", "time_limit", "interrupt"} or None
        None without training.
    held_out : Tensor of shape (v, K)
        Coordinates along the codes of the estimates of the validation rows, each by a member that did not learn from it.
    history : dict
        `"step"`, `"loss"`, `"validation_brier"` (None without validation rows) and `"seconds"` at each validation.
    """

    n_steps: int = 0
    best_step: int = 0
    stopped_by: str | None = None
    held_out: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    history: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "validation_brier": [], "seconds": []}
    )


class _Batches:
    """Row numbers of each member's batches (M, B): every row once per pass, in random order."""

    def __init__(self, parts: Sequence[np.ndarray], batch_size: int, generator: Generator) -> None:
        size = min(map(len, parts))
        self.n_per_pass = max(1, round(size / batch_size))
        self.size = -(-size // self.n_per_pass)
        self._parts = [torch.as_tensor(part, device=generator.device) for part in parts]
        self._generator = generator
        self._left: list[Tensor] = []

    def __next__(self) -> Tensor:
        if not self._left:
            shuffled = torch.stack([self._shuffled(part) for part in self._parts])
            self._left = list(shuffled.split(self.size, dim=1))[: self.n_per_pass]
        return self._left.pop()

    def _shuffled(self, part: Tensor) -> Tensor:
        n = self.size * self.n_per_pass
        order = torch.randperm(len(part), generator=self._generator, device=self._generator.device)
        return part[order.repeat(-(-n // len(part)))[:n]]


class _Learner:
    """The network with its batches, optimiser and moving average of weights."""

    def __init__(
        self,
        network: TransportNetwork,
        data: TrainingData,
        folds: Folds,
        settings: TrainingSettings,
        seed: int,
        learned: LearnedPath | None,
        processes: Processes,
    ) -> None:
        device = data.weight.device
        self.network = self.average = network
        if settings.ema_decay:
            self.average = copy.deepcopy(network).requires_grad_(False)
        self.batches = _Batches(folds.train, settings.batch_size, torch.Generator(device).manual_seed(seed))
        self._data, self._settings, self._learned, self._processes = data, settings, learned, processes
        self._noise = torch.Generator(device).manual_seed(seed + 1 + processes.rank)
        on_cuda = device.type == "cuda"
        self._averages: list[Tensor] = list(self.average.parameters()) if settings.ema_decay else []
        self._weights: list[Tensor] = list(network.parameters())
        self._means, self._squares = ([torch.zeros_like(x) for x in self._weights] for _ in range(2))
        self._counts = [x.new_zeros((), dtype=torch.float32) for x in self._weights]
        self._captured: CapturedUpdate | None = None
        self._compiled: Update | None = None
        # Not with several processes, or rows on disk: sums and reading need the host in every update.
        if on_cuda and processes.count == 1 and isinstance(data.rows, Tensor):
            self._captured = CapturedUpdate(self._noise)
            if learned is not None and pays(settings, network.shape):
                self._compiled = compiled_update(network, data, learned, settings, self._noise)

    def update(self, step: int) -> Tensor:
        """Make an update, the first of which is number 1; the sum of members' losses before it, which the next overwrites."""
        numbers = next(self.batches)  # (M, B)
        own = numbers[:, self._processes.part(numbers.shape[1])]
        # Early averages follow the weights closely, so that the random start is soon forgotten.
        gain = 1 - min(self._settings.ema_decay, (step - 1) / (8 + step))
        if self._captured is None:
            return self._update(own, gain)
        return self._captured(self._compiled or self._update, own, gain)

    def _update(self, own: Tensor, gain: float | Tensor) -> Tensor:
        """Learn from rows of numbers (M, B)."""
        data, settings = self._data, self._settings
        codes = data.codes[data.y[own]]
        error = loss(self.network, data.take(own), codes, self._learned, self._noise, settings.precision)
        summed = (error * data.weight[own]).sum() / self.batches.size
        gradients = self._processes.summed_gradients(torch.autograd.grad(summed, self._weights))
        with torch.no_grad():
            self._step(gradients)
            if self._averages:
                _approach(self._averages, self._weights, gain)
        return summed.detach()

    def _step(self, gradients: list[Tensor]) -> None:
        """Make a step of Adam, by a function, as the import of torch's compiler by `torch.optim.Adam` takes a second."""
        adam(
            self._weights,
            gradients,
            self._means,
            self._squares,
            [],
            self._counts,
            fused=self._counts[0].device.type in ("cpu", "cuda"),
            capturable=self._counts[0].is_cuda,
            lr=self._settings.learning_rate,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )


def _approach(averages: list[Tensor], weights: list[Tensor], gain: float | Tensor) -> None:
    """Go a share of the way to the weights."""
    if isinstance(gain, float):
        torch._foreach_lerp_(averages, weights, gain)
    else:  # a share that a graph reads anew each time
        apart = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(apart, gain)
        torch._foreach_add_(averages, apart)


class _Best:
    """The best weights so far, and how long they have been the best."""

    def __init__(self, shares: Tensor, patience: int | None) -> None:
        self.kept: tuple[int, Tensor, dict[str, Tensor] | None] = 0, torch.empty(0, len(shares)), None
        """Update, estimates of the validation rows, weights; one object, so that an interrupt leaves all or none of it."""
        self._score, self._improved_at = float("inf"), 0
        self._reference, self._alone_reference = float("inf"), float("inf")  # at the last improvements that count
        self._of_shares, self._patience = 1 - float(shares.square().sum()), patience

    def compare(self, step: int, score: float, alone: float, held_out: Tensor, network: TransportNetwork) -> bool:
        """Keep these weights if they are better; whether patience is at its end."""
        if score < self._score:
            self.kept = step, held_out, {name: x.clone() for name, x in network.state_dict().items()}
            self._score = score
            if score < self._reference * (1 - LEAST_GAIN):
                self._improved_at, self._reference = step, score
        if self._approaches(alone):
            self._improved_at, self._alone_reference = step, alone
        return self._patience is not None and step - self._improved_at >= self._patience

    def _approaches(self, alone: float) -> bool:
        """Whether the network alone has come so much closer that its part in the mixture may grow."""
        alone, reference, score = (max(x, _LEAST_SCORE) for x in (alone, self._alone_reference, self._score))
        pace, behind = 1 - alone / reference, max(1.0, alone / score)
        catches_up = behind < CATCHING_UP[0] and math.log(behind) < CATCHING_UP[1] * pace
        return pace > LEAST_PACE and (catches_up or alone > HARDLY_BEGUN * self._of_shares)


def train(
    network: TransportNetwork,
    data: TrainingData,
    folds: Folds,
    settings: TrainingSettings,
    *,
    seed: int,
    learned: LearnedPath | None = None,
    beside: Tensor | None = None,
    processes: Processes = Processes(),  # noqa: B008
    budget: Budget | None = None,
    verbose: int = 0,
) -> TrainingResult:
    """
    Train until `max_steps`, or until validation has not improved for `patience` updates, and keep the best averaged weights.

    The network is trained in place. Without validation rows the last weights are kept. `beside` (v, K) are probabilities of the
    validation rows by another estimator, which joins this one: training goes on as long as the best mixture of both improves.
    When the budget is used up, training stops after an update, at least one, and a last validation.

    A KeyboardInterrupt ends training as well. Several processes are all interrupted, as they cannot agree on when. A
    FloatingPointError if the loss, or the score of the validation rows, is not finite.
    """
    budget = Budget() if budget is None else budget
    learner = _Learner(network, data, folds, settings, seed, learned, processes)
    shares = torch.bincount(data.y.cpu(), data.weight.cpu(), len(data.codes)) / len(data.y)
    best = _Best(shares, settings.patience)
    result, started, validation_seconds = TrainingResult(stopped_by="max_steps"), budget.spent, 0.0
    every = max(LEAST_EVERY, learner.batches.n_per_pass, (settings.patience or 0) // PER_PATIENCE)
    total = torch.zeros((), device=data.weight.device)
    bar = tqdm(range(1, settings.max_steps + 1), desc="fit", unit="step", disable=not verbose, leave=verbose > 1)
    try:
        for step in bar:
            total += learner.update(step)
            if budget.limit is not None and total.is_cuda:  # where time would pass later
                torch.cuda.synchronize(total.device)
            needed = (budget.spent - started) / step + validation_seconds  # one more update and its validation
            timed_out = budget.limit is not None and processes.first(budget.is_short_of(needed))
            if step % every and step != settings.max_steps and not timed_out:
                continue
            begin = budget.spent
            n_losses = len(network.view) * ((step - 1) % every + 1)
            mean, total = float(processes.summed(total)) / n_losses, torch.zeros_like(total)
            score, alone, held_out = _validate(learner.average, data, folds, learned, beside)
            # Sums may differ in their last digits, and all processes must decide alike.
            score, alone = processes.first((score, alone))
            if not math.isfinite(latest := mean + (score or 0)):
                raise FloatingPointError(
                    f"Got a loss of {latest}: training diverged; use a smaller learning_rate (now "
                    f"{settings.learning_rate}) or precision='float32'."
                )
            impatient = False
            if score is None:
                best.kept = step, held_out, None
            else:
                impatient = best.compare(step, score, alone, held_out, learner.average)
            result.n_steps = step
            for name, value in zip(result.history, (step, mean, score, budget.spent - started), strict=True):
                result.history[name].append(value)
            bar.set_postfix(loss=mean, validation=score)
            validation_seconds = budget.spent - begin
            if impatient or timed_out:
                result.stopped_by = "patience" if impatient else "time_limit"
                break
    except KeyboardInterrupt:
        if processes.count > 1:
            raise
        result.stopped_by = "interrupt"
    finally:
        bar.close()
    result.best_step, result.held_out, state = best.kept
    network.load_state_dict(learner.average.state_dict() if state is None else state)
    processes.copy_first(list(network.state_dict().values()))
    return result


@torch.no_grad()
def _validate(
    network: TransportNetwork,
    data: TrainingData,
    folds: Folds,
    learned: LearnedPath | None,
    beside: Tensor | None,
) -> tuple[float | None, float, Tensor]:
    """Brier scores of the validation rows, with and without `beside`, and their estimates' coordinates (v, K) along the codes."""
    if not len(folds.validation):
        return None, float("inf"), data.codes.new_empty(0, len(data.codes))
    held_out = data.codes.new_empty(len(folds.validation), len(data.codes))
    parts = [torch.as_tensor(np.flatnonzero(folds.member == m)) for m in range(len(network.view))]
    longest = max(map(len, parts))
    places = torch.stack([torch.nn.functional.pad(part, (0, longest - len(part)), value=-1) for part in parts])
    for place in places.split(VALIDATION_BLOCK, dim=1):  # (M, B); -1 where a member has no more rows
        numbers = torch.as_tensor(folds.validation)[place.clamp_min(0)]
        found = project_on_codes(estimate(network, data.take(numbers.to(data.weight.device)), learned), data.codes)
        held_out[place[place >= 0].to(held_out.device)] = found[(place >= 0).to(found.device)]
    numbers = torch.as_tensor(folds.validation, device=data.weight.device)
    found, weight = high_precision(project_on_simplex(held_out)), high_precision(data.weight[numbers])
    targets = torch.nn.functional.one_hot(data.y[numbers], len(data.codes)).to(found)

    def brier(probabilities: Tensor) -> float:
        return float(weight @ (probabilities - targets).square().sum(1) / weight.sum())

    alone = brier(found)
    if beside is None:
        return alone, alone, held_out
    share, _ = convex_weights([beside, found], targets, weight)
    return brier(share * beside + (1 - share) * found), alone, held_out
