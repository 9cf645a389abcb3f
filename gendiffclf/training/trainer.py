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
from ..transport.readout import project_on_codes, project_on_simplex
from ..transport.solvers import step_noise

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
    rows : Tensor of shape (N, layers, d)
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


class Trainer:
    """
    Optimises a model's weights and keeps their running average.

    Parameters
    ----------
    model : TransportModel
        Changed in place.
    settings : TrainingSettings
    generator : torch.Generator
        Draws batches, times and noise, on the model's device.
    """

    def __init__(self, model: TransportModel, settings: TrainingSettings, generator: Generator) -> None:
        self.model = model
        self.settings = settings
        self.generator = generator
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

    def epoch(self, data: TrainingRows, index: Tensor, real: Tensor, progress_share: float = 0.0) -> float:
        """
        Pass once over each member's rows in random order.

        Parameters
        ----------
        data : TrainingRows
        index, real : Tensor of shape (M, n)
            Row numbers of each member and which of them count.
        progress_share : float
            How far training has come, in [0, 1), for the learning-rate schedule.

        Returns
        -------
        float
            Mean loss per member and row.
        """
        rate = self.settings.learning_rate
        if self.settings.learning_rate_schedule == "cosine":
            rate *= 0.5 * (1 + np.cos(np.pi * progress_share))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        order = torch.rand(index.shape, generator=self.generator, device=index.device).argsort(dim=1)
        shuffled, counts = index.gather(1, order), real.gather(1, order)
        n_batches = self.n_batches(index)
        size = index.shape[1] // n_batches
        mean_weight = data.weight.mean()
        total = torch.zeros((), device=index.device)
        if self.settings.max_steps is not None:
            n_batches = min(n_batches, self.settings.max_steps - self.n_updates)
        for start in range(0, size * n_batches, size):
            batch = shuffled[:, start : start + size]
            weight = data.weight[batch] * counts[:, start : start + size] / mean_weight
            total += self._update(data, batch, weight)
        return float(total) / n_batches

    def n_batches(self, index: Tensor) -> int:
        """Batches in an epoch over the rows numbered in `index` (M, n)."""
        return max(1, round(index.shape[1] / self.settings.batch_size))

    def _update(self, data: TrainingRows, batch: Tensor, weight: Tensor) -> Tensor:
        """One step of the optimiser on a batch of rows (M, B) with weights (M, B); returns the loss."""
        losses = self.model.loss(data.rows[batch], data.codes[data.y[batch]], self.generator, self.settings.precision)
        member_loss = (losses * weight).mean(1)  # (M, B) -> (M,)
        gradients = torch.autograd.grad(member_loss.sum(), self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.n_updates += 1
        # Early averages follow the weights closely, so that the random start is soon forgotten.
        decay = min(self.settings.averaging, self.n_updates / (9 + self.n_updates))
        get_ema_multi_avg_fn(decay)(self.average, [p.detach() for p in self.parameters], None)
        return member_loss.detach().mean()

    def load(self, weights: list[Tensor]) -> None:
        """Put weights into the model."""
        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(value)

    @torch.no_grad()
    def validate(self, data: TrainingRows, index: Tensor) -> Tensor:
        """Probabilities (M, v, K) that each member's averaged weights give to its own rows, numbered in `index` (M, v)."""
        noise = step_noise(self.settings.n_steps, self.model.lift.shape[1]).to(self.model.lift)
        current = [p.detach().clone() for p in self.parameters]
        self.load(self.average)
        if index.shape[1] == 0:
            return data.codes.new_empty(*index.shape, len(data.codes))
        probabilities = []
        for block in index.split(VALIDATION_BLOCK, dim=1):
            states = self.model.transport(
                data.rows[block],
                solver=self.settings.solver,
                n_steps=self.settings.n_steps,
                noise=noise,
            )
            probabilities.append(project_on_simplex(project_on_codes(states[-1], data.codes)))
        self.load(current)
        return torch.cat(probabilities, dim=1)

    def state(self) -> dict[str, Any]:
        """What `load_state` needs to go on from here, on the CPU."""
        return {
            "weights": [p.detach().cpu() for p in self.parameters],
            "average": [w.cpu() for w in self.average],
            "optimizer": tree_map_only(Tensor, lambda x: x.cpu(), self.optimizer.state_dict()),
            "n_updates": self.n_updates,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from the state of another trainer; nothing for a state without weights."""
        if "weights" in state:
            self.load(state["weights"])
            self.average = [w.to(p) for w, p in zip(state["average"], self.parameters, strict=True)]
            self.optimizer.load_state_dict(state["optimizer"])
            self.n_updates = state["n_updates"]
