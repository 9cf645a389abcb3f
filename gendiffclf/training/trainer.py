"""The steps of one epoch: batches that live on the device, optimiser, weight averaging, validation."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from ..model import TransportModel
from ..transport.draws import SharedGenerator
from ..transport.readout import project_on_codes, project_on_simplex
from ..transport.solvers import step_noise
from .calibration import squared_distance
from .capture import LEAST_STEPS, CapturedStep, Step
from .distributed import Processes
from .folds import Assignment
from .gradients import gradients_of
from .many_steps import ManySteps
from .memmap import RowsOnDisk
from .optimizer import AveragedAdam
from .vectors import ParameterVector
from .written_out import WrittenOutGradients

CPU_VALIDATION_BLOCK = 1024
ACCELERATOR_VALIDATION_BLOCK = 4096
"""Rows per member in one pass of validation; on a CPU more of them cost memory."""


@dataclass(frozen=True)
class TrainingSettings:
    """How training goes, see the parameters of the same names of the classifier."""

    max_epochs: int
    max_steps: int | None
    batch_size: int
    learning_rate: float
    learning_rate_schedule: str
    weight_decay: float
    averaging: float
    patience: int | None
    precision: torch.dtype
    solver: str
    n_steps: int


@dataclass(frozen=True)
class TrainingRows:
    """
    Rows on the device.

    Attributes
    ----------
    rows : Tensor of shape (N, views * layers, d), or RowsOnDisk
        Scaled once, or when they are asked for.
    y : Tensor of shape (N,), int64
        Class numbers.
    weight : Tensor of shape (N,)
        Positive.
    codes : Tensor of shape (K, L)
        Codes of the classes.
    """

    rows: Tensor | RowsOnDisk
    y: Tensor
    weight: Tensor
    codes: Tensor

    def take(self, numbers: Tensor, model: TransportModel) -> Tensor:
        """Rows of numbers (M, B) as each member sees them, (M, B, layers, d)."""
        if isinstance(self.rows, RowsOnDisk):
            return self.rows.take(numbers, model.view.tolist())
        n_views = model.network.shape.n_views
        views = self.rows.view(len(self.rows) * n_views, -1)
        taken = torch.nn.functional.embedding(numbers * n_views + model.view[:, None], views)  # (M, B, layers d)
        return taken.unflatten(-1, (-1, self.rows.shape[-1]))

    def take_all_views(self, numbers: Tensor) -> Tensor:
        """Rows of numbers (M, B), (M, B, views * layers, d)."""
        return self.rows[numbers] if isinstance(self.rows, Tensor) else self.rows.take(numbers, [None] * len(numbers))


@dataclass(frozen=True)
class Judgement:
    """
    What the members' averaged weights make of the rows that judge them, members one after another.

    Attributes
    ----------
    distance : Tensor of shape (v,)
        Squared distance of each row's probabilities to its one-hot label.
    probabilities : Tensor of shape (s, K)
        Of an even selection of the rows.
    """

    distance: Tensor
    probabilities: Tensor


def padded(parts: list[np.ndarray], device: torch.device) -> Tensor:
    """Row numbers of each member as one matrix (M, longest), int32; -1 where a member has none."""
    index = np.full((len(parts), max(map(len, parts))), -1, np.int32)
    for places, rows in zip(index, parts, strict=True):
        places[: len(rows)] = rows
    return torch.as_tensor(index, device=device)


def validation_blocks(n_rows: int, device: torch.device) -> list[slice]:
    """Rows to judge in one pass each; on a CPU none is short, as matrix products of one or two rows round in another way."""
    size, least = ACCELERATOR_VALIDATION_BLOCK, 1
    if device.type == "cpu":
        size, least = CPU_VALIDATION_BLOCK, CPU_VALIDATION_BLOCK // 2
    starts = [0, *range(size, n_rows - least + 1, size)]
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, n_rows])]


def captures(data: TrainingRows, processes: Processes) -> bool:
    """Whether steps with these rows can be captured: on a CUDA device, in whose memory they all are, by one process."""
    return isinstance(data.rows, Tensor) and data.rows.device.type == "cuda" and processes.count == 1


class Trainer:
    """
    Optimises the weights of a model's members in one pass and keeps their running average.

    In a process group it does so together with the trainers of the same members in the other processes.

    Parameters
    ----------
    model : TransportModel
        Changed in place.
    settings : TrainingSettings
    assignment : Assignment
        Rows that each of the model's members learns from, and those that judge it.
    seed : int
        Of batches, times and noise.
    judged_before, stride : int
        Of the rows that judge one of all members, counted from the first of the first member, how many come before this
        trainer's; and of every how many-th the probabilities are kept.
    """

    def __init__(
        self,
        model: TransportModel,
        settings: TrainingSettings,
        assignment: Assignment,
        seed: int,
        judged_before: int = 0,
        stride: int = 1,
    ) -> None:
        device = model.lift.device
        self.model = model
        self.settings = settings
        self.processes = Processes.launched()
        generator = SharedGenerator if self.processes.count > 1 else Generator
        self.generator: Generator = generator(device).manual_seed(seed)
        self.index = padded(assignment.train, device)
        self.judged = padded(assignment.validation, device)
        self.blocks = validation_blocks(self.judged.shape[1], device)
        self.judged_real = self.judged >= 0
        real = self.judged_real.cpu().numpy()
        number = judged_before - 1 + np.cumsum(real, dtype=np.int32).reshape(real.shape)
        chosen = real & (number % stride == 0)
        # Rows come block by block, and are wanted member by member.
        came = np.concatenate([number[:, block][chosen[:, block]] for block in self.blocks])
        self.kept = [torch.as_tensor(chosen[:, block], device=device) for block in self.blocks]
        self.kept_order = torch.as_tensor(came.argsort(), device=device)
        self.n_batches = max(1, round(self.index.shape[1] / settings.batch_size))
        self.weights = ParameterVector(model.network)
        self.gradients = gradients_of(model, self.weights, settings.precision)
        self.optimizer = AveragedAdam(self.weights, settings.learning_rate, settings.weight_decay, settings.averaging)
        self.many: ManySteps | None = None
        if isinstance(self.gradients, WrittenOutGradients) and self.processes.count == 1:
            self.many = ManySteps(self.gradients, self.optimizer)
        self.total, self.mean_weight = model.lift.new_zeros(()), model.lift.new_ones(())
        self._steps: tuple[TrainingRows, Step] | None = None

    def epoch(self, data: TrainingRows, progress_share: float = 0.0) -> tuple[float, Judgement]:
        """
        Pass once over each member's rows in random order.

        Parameters
        ----------
        data : TrainingRows
        progress_share : float
            How far training has come, in [0, 1), for the learning-rate schedule.

        Returns
        -------
        loss : float
            Mean per member and row.
        judgement : Judgement

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        rate = self.settings.learning_rate
        if self.settings.learning_rate_schedule == "cosine":
            rate *= 0.5 * (1 + np.cos(np.pi * progress_share))
        self.optimizer.set_rate(rate)
        size, n_steps = self.index.shape[1] // self.n_batches, self.n_batches
        if self.settings.max_steps is not None:
            n_steps = min(n_steps, self.settings.max_steps - self.optimizer.n_steps)
        numbers = self._shuffled()[:, : n_steps * size]
        self.mean_weight.copy_(data.weight.mean())
        self.total.zero_()
        if self.many is None:
            step = self._step_on(data)
            for batch in numbers.split(size, dim=1):  # (M, B)
                self.optimizer.begin_step()
                step(batch)
        else:
            n_at_once = self.many.at_once(size) if isinstance(data.rows, Tensor) else 1
            for batches in numbers.split(size * n_at_once, dim=1):
                self._take_steps(self.many, data, batches, size)
        loss = sum(self.processes.gathered(float(self.total))) / n_steps
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"Got a loss of {loss}: training diverged; use a smaller learning_rate (now "
                f"{self.settings.learning_rate}) or precision='float32'."
            )
        return loss, self._judge(data)

    def _step_on(self, data: TrainingRows) -> Step:
        """What takes a step with some of these rows."""
        if self._steps is None or self._steps[0] is not data:
            step: Step = partial(self._step, data)
            n_steps = min(self.settings.max_epochs * self.n_batches, self.settings.max_steps or sys.maxsize)
            if n_steps >= LEAST_STEPS and captures(data, self.processes):
                step = CapturedStep(step, self.generator)
            self._steps = data, step
        return self._steps[1]

    def trace(self) -> None:
        """Let the steps of further epochs run as TorchScript where that pays; to be called from the caller's thread."""
        if isinstance(self.gradients, WrittenOutGradients):
            self.gradients.trace()
        if self.many is not None:
            self.many.trace()

    def _step(self, data: TrainingRows, numbers: Tensor) -> None:
        """One step with a batch of row numbers (M, B)."""
        batch, weight = self._own_part(*self._weighted(data, numbers))
        codes = torch.nn.functional.embedding(data.y[batch], data.codes)
        self.total += self.gradients.loss(data.take(batch, self.model), codes, weight, self.generator)
        self.processes.summed([self.weights.gradient])
        self.optimizer.step()

    def _take_steps(self, many: ManySteps, data: TrainingRows, numbers: Tensor, size: int) -> None:
        """Steps with batches of that size, one after another in the row numbers (M, n_steps * size)."""
        batch, weight = self._weighted(data, numbers)
        rows = data.take(batch, self.model)
        n_steps = numbers.shape[1] // size
        many.take(n_steps, self.total, rows, data.y[batch], data.codes, weight, self.generator)

    def _weighted(self, data: TrainingRows, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Row numbers as indices, and what the rows count for; those that fill up count nothing."""
        index = numbers.clamp_min(0).long()
        return index, data.weight[index] * (numbers >= 0) / self.mean_weight

    def _own_part(self, batch: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """
        The process' own rows of a batch, and their weights: both (M, B) -> (M, part).

        The weights are such that the mean over the part, summed over processes, is the mean over the batch.
        """
        if not isinstance(self.generator, SharedGenerator):
            return batch, weight
        n_rows = batch.shape[1]
        rows = self.processes.part(n_rows)
        share = (rows.stop - rows.start) / n_rows
        if share == 0:  # fewer rows than processes: one that counts for nothing
            rows = slice(0, 1)
        self.generator.n_rows, self.generator.first_row = n_rows, rows.start
        return batch[:, rows], weight[:, rows] * share

    def _shuffled(self) -> Tensor:
        """Each member's row numbers in random order, (M, longest), int32."""
        keys = torch.rand(self.index.shape, generator=self.generator, device=self.index.device, dtype=torch.float32)
        shuffled = keys.view(torch.int32)  # a member's numbers take the memory of its keys, which are needed no more
        ordered, order = torch.empty_like(keys[0]), torch.empty_like(keys[0], dtype=torch.int64)
        for member, key in enumerate(keys):
            torch.sort(key, out=(ordered, order))
            shuffled[member] = self.index[member][order]
        return shuffled

    def finish(self, weights: Tensor | None = None) -> None:
        """Leave these weights in the model, by default the averaged ones."""
        self.weights.load(self.optimizer.average if weights is None else weights)
        self.weights.release()
        self._steps = None

    @torch.no_grad()
    def _judge(self, data: TrainingRows) -> Judgement:
        """What each member's averaged weights make of the rows that judge it."""
        if self.judged.shape[1] == 0:
            return Judgement(data.codes.new_empty(0), data.codes.new_empty(0, len(data.codes)))
        noise = step_noise(self.settings.n_steps, self.model.lift.shape[1]).to(self.model.lift)
        current = self.weights.copy()
        self.weights.load(self.optimizer.average)
        distance, probabilities = data.codes.new_empty(self.judged.shape), []
        for part, kept in zip(self.blocks, self.kept, strict=True):
            block = self.judged[:, part].clamp_min(0).long()
            own = self.processes.part(block.shape[1])
            states = self._estimate(data, block[:, own], noise)
            found = project_on_simplex(project_on_codes(states, data.codes))
            found = self.processes.joined(found, block.shape[1])  # (M, B, K)
            distance[:, part] = squared_distance(found, data.y[block])
            probabilities.append(found[kept])
        self.weights.load(current)
        return Judgement(distance[self.judged_real], torch.cat(probabilities)[self.kept_order])

    def _estimate(self, data: TrainingRows, numbers: Tensor, noise: Tensor) -> Tensor:
        """The end (M, B, L) of the transport of rows of numbers (M, B)."""
        solver, n_steps = self.settings.solver, self.settings.n_steps
        if isinstance(self.gradients, WrittenOutGradients) and (solver, n_steps) == ("exact", 1):
            return self.gradients.estimate(data.take(numbers, self.model))
        return self.model.transport(data.take_all_views(numbers), solver=solver, n_steps=n_steps, noise=noise)[-1]
