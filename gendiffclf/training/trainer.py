"""The steps of one epoch: batches that live on the device, optimiser, weight averaging, validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils._pytree import tree_map_only

from ..model import TransportModel
from ..transport.draws import SharedGenerator
from ..transport.readout import project_on_codes, project_on_simplex
from ..transport.solvers import step_noise
from .distributed import Processes
from .gradients import Gradients, applies, estimate, loss_and_gradients
from .rows import Assignment

VALIDATION_BLOCK = 4096
"""Rows per member in one pass of validation."""


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
    rows : Tensor of shape (N, views * layers, d)
        Scaled.
    y : Tensor of shape (N,), int64
        Class numbers.
    weight : Tensor of shape (N,)
        Positive.
    codes : Tensor of shape (K, L)
        Codes of the classes.
    """

    rows: Tensor
    y: Tensor
    weight: Tensor
    codes: Tensor

    def take(self, index: Tensor, model: TransportModel) -> Tensor:
        """Rows of an index (M, B) as each member sees them, (M, B, layers, d)."""
        views = self.rows.unflatten(1, (model.network.shape.n_views, -1))
        return views[index, model.view[:, None]]


def padded(parts: list[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Row numbers of each member as one matrix (M, longest), and which of its places are real."""
    longest = max(map(len, parts))
    index = np.zeros((len(parts), longest), np.int64)
    real = np.zeros((len(parts), longest), bool)
    for member, rows in enumerate(parts):
        index[member, : len(rows)] = rows
        real[member, : len(rows)] = True
    return torch.as_tensor(index, device=device), torch.as_tensor(real, device=device)


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
    """

    def __init__(self, model: TransportModel, settings: TrainingSettings, assignment: Assignment, seed: int) -> None:
        device = model.lift.device
        self.model = model
        self.settings = settings
        self.processes = Processes.launched()
        generator = SharedGenerator if self.processes.count > 1 else Generator
        self.generator: Generator = generator(device).manual_seed(seed)
        self.index, self.real = padded(assignment.train, device)
        self.judged, self.judged_real = padded(assignment.validation, device)
        self.n_batches = max(1, round(self.index.shape[1] / settings.batch_size))
        self.parameters = list(model.network.parameters())
        decayed = [p for p in self.parameters if p.dim() == 3 and p.shape[1] > 1]  # matrices, not biases
        kept = [p for p in self.parameters if not (p.dim() == 3 and p.shape[1] > 1)]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": kept, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            fused=self.parameters[0].device.type in ("cpu", "cuda") or None,
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.n_updates = 0

    def epoch(self, data: TrainingRows, progress_share: float = 0.0) -> tuple[float, Tensor]:
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
        probabilities : Tensor of shape (v, K)
            What the members' averaged weights give to the rows that judge them, members one after another.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        rate = self.settings.learning_rate
        if self.settings.learning_rate_schedule == "cosine":
            rate *= 0.5 * (1 + np.cos(np.pi * progress_share))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = torch.rand(self.index.shape, generator=self.generator, device=self.index.device).argsort(dim=1)
        size = self.index.shape[1] // self.n_batches
        batches = self.index.gather(1, order).split(size, dim=1)[: self.n_batches]
        counts = self.real.gather(1, order).split(size, dim=1)
        if self.settings.max_steps is not None:
            batches = batches[: self.settings.max_steps - self.n_updates]
        mean_weight = data.weight.mean()
        total = torch.zeros((), device=self.index.device)
        for batch, real in zip(batches, counts, strict=False):  # (M, B)
            batch, weight = self._own_part(batch, data.weight[batch] * real / mean_weight)
            losses, found = loss_and_gradients(
                self.model,
                data.take(batch, self.model),
                data.codes[data.y[batch]],
                weight,
                self.generator,
                self.settings.precision,
            )
            self._update(found)
            total += (losses * weight).mean()
        loss = sum(self.processes.gathered(float(total))) / len(batches)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"Got a loss of {loss}: training diverged; use a smaller learning_rate (now "
                f"{self.settings.learning_rate}) or precision='float32'."
            )
        return loss, self._judge(data)

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

    def _update(self, found: Gradients) -> None:
        """One step of the optimiser, and of the running average."""
        gradients = self.processes.summed([found.get(parameter) for parameter in self.parameters])
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.n_updates += 1
        # Early averages follow the weights closely, so that the random start is soon forgotten.
        decay = min(self.settings.averaging, self.n_updates / (9 + self.n_updates))
        get_ema_multi_avg_fn(decay)(self.average, [p.detach() for p in self.parameters], None)

    def load(self, weights: list[Tensor]) -> None:
        """Put weights into the model."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(value)

    @torch.no_grad()
    def _judge(self, data: TrainingRows) -> Tensor:
        """Probabilities (v, K) that each member's averaged weights give to the rows that judge it."""
        if self.judged.shape[1] == 0:
            return data.codes.new_empty(0, len(data.codes))
        noise = step_noise(self.settings.n_steps, self.model.lift.shape[1]).to(self.model.lift)
        current = [p.detach().clone() for p in self.parameters]
        self.load(self.average)
        probabilities = []
        n_judged = self.judged.shape[1]
        for block in self.judged[:, self.processes.part(n_judged)].split(VALIDATION_BLOCK, dim=1):
            probabilities.append(project_on_simplex(project_on_codes(self._estimate(data, block, noise), data.codes)))
        self.load(current)
        return self.processes.joined(torch.cat(probabilities, dim=1), n_judged)[self.judged_real]

    def _estimate(self, data: TrainingRows, index: Tensor, noise: Tensor) -> Tensor:
        """The end (M, B, L) of the transport of rows of an index (M, B)."""
        solver, n_steps = self.settings.solver, self.settings.n_steps
        if applies(self.model) and (solver, n_steps) == ("exact", 1):
            return estimate(self.model, data.take(index, self.model), self.settings.precision)
        return self.model.transport(data.rows[index], solver=solver, n_steps=n_steps, noise=noise)[-1]

    def state(self) -> dict[str, Any]:
        """A copy of what `load_state` needs to go on from here, on the CPU."""
        return {
            "weights": [p.detach().to("cpu", copy=True) for p in self.parameters],
            "average": [w.to("cpu", copy=True) for w in self.average],
            "optimizer": tree_map_only(Tensor, lambda x: x.to("cpu", copy=True), self.optimizer.state_dict()),
            "n_updates": self.n_updates,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of another trainer; nothing for a state without weights."""
        if "weights" in state:
            self.load(state["weights"])
            self.average = [w.to(p) for w, p in zip(state["average"], self.parameters, strict=True)]
            self.optimizer.load_state_dict(state["optimizer"])
            self.n_updates = state["n_updates"]
