"""The generative model of one classifier: network, lift and codes, with the path they live on.

Knows tensors alone; rows are scaled already, classes are indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Generator, Tensor, nn

from .estimators.network import NetworkShape, TransportNetwork
from .transport.codes import label_codes
from .transport.draws import drawn
from .transport.path import OBJECTIVES, Path
from .transport.schedules import mean_schedule, variance_schedule
from .transport.solvers import SOLVERS, transport
from .transport.times import sample_times

INTERIOR = 1e-3
"""The distance from t = 0 and t = 1 that objectives with a singular target keep."""


@dataclass(frozen=True)
class TransportSettings:
    """How the model is trained and asked, see the parameters of the same names of the classifier."""

    mean_schedule: str
    steepness: float
    variance_schedule: str
    sigma: float
    objective: str
    time_sampling: str
    t_min: float
    t_max: float


class TransportModel(nn.Module):
    """
    A network with the lift into and the codes of its space.

    Parameters
    ----------
    shape : NetworkShape
        The network's.
    settings : TransportSettings
        The path's, the objective's and the times'.
    lift : ndarray of shape (d, L)
        Carries the last layer's features into the code space.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self, shape: NetworkShape, settings: TransportSettings, lift: np.ndarray, generator: Generator | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.network = TransportNetwork(shape, generator)
        self.view: Tensor
        self.register_buffer("view", torch.arange(shape.n_members) % shape.n_views, persistent=False)
        if self.network.embedding.frequencies is not None:
            self.network.embedding.frequencies.data[self.view > 0] = 0
        self.lift: Tensor
        self.register_buffer("lift", torch.as_tensor(lift, dtype=torch.float32))
        self.path = Path(
            mean_schedule(settings.mean_schedule, settings.steepness),
            variance_schedule(settings.variance_schedule, settings.sigma),
        )
        self.objective = OBJECTIVES[settings.objective]()

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """
        Start of transport and condition of scaled rows, each member's in the view that it sees.

        Shape
        -----
        (M or 1, B, views * layers, d) -> x1 (M or 1, B, L), X_c (M or 1, B, layers - 1 or 1, d)
        """
        n_views = self.network.shape.n_views
        if n_views > 1:
            views = rows.unflatten(-2, (n_views, -1)).expand(len(self.view), -1, -1, -1, -1)
            rows = views[torch.arange(len(self.view), device=rows.device), :, self.view]  # (M, B, layers, d)
        return self._start_and_condition(rows)

    def _start_and_condition(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A row of one layer is its own condition; of several, transport starts at the last and the others are the condition."""
        x1 = rows[..., -1, :] @ self.lift
        return x1, rows if rows.shape[-2] == 1 else rows[..., :-1, :]

    def loss(self, rows: Tensor, codes: Tensor, generator: Generator, precision: torch.dtype = torch.float32) -> Tensor:
        """
        Squared error of each row's estimate at a random time of its path (Eq. 8), in units of a coordinate.

        Parameters
        ----------
        rows : Tensor of shape (M, B, layers, d)
            Scaled rows, each member's own in the view that it sees.
        codes : Tensor of shape (M, B, L)
            The codes of their classes, x0.
        generator : torch.Generator
            Draws times, noise and dropout.
        precision : torch.dtype
            Of the network's matrix products; bfloat16 is used for those alone.

        Returns
        -------
        Tensor of shape (M, B)
        """
        x1, condition = self._start_and_condition(rows)
        if self.at_one_time:
            t = x1.new_full((), self.settings.t_max)  # one time: embedded once, no noise
            noise, x_t = x1.new_zeros(()), x1
        else:
            t = drawn(self._times, x1.shape[:2], generator, axis=1).to(x1)
            noise = drawn(partial(_standard_normal, like=x1), x1.shape, generator, axis=1)
            x_t = self.path.sample(codes, x1, t, noise)
        target = self.objective.target(self.path, codes, x1, t, noise)
        with torch.autocast(x1.device.type, dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
            output = self.network(x_t, condition, t, generator)
        return (output.to(target.dtype) - target).pow(2).mean(-1)

    @cached_property
    def at_one_time(self) -> bool:
        """Whether training is always at one time, t_max, and x_t is x1 itself there."""
        settings = self.settings
        ends_at_features = settings.t_max == 1 and float(self.path.variance(torch.ones((), dtype=torch.float64))) == 0
        return settings.time_sampling == "terminal" and not self.objective.needs_interior and ends_at_features

    def _times(self, shape: Sequence[int], generator: Generator) -> Tensor:
        low, high = self.settings.t_min, self.settings.t_max
        if self.objective.needs_interior:
            low, high = max(low, INTERIOR), min(high, 1 - INTERIOR)
        return sample_times(self.settings.time_sampling, shape, low, high, generator)

    def estimate(self, x_t: Tensor, x1: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """x̂0 of every member, (M or 1, B, L) and (M or 1, B, layers, d) at time () -> (M, B, L)."""
        if self.objective.needs_interior:
            t = t.clamp(INTERIOR, 1 - INTERIOR)
        return self.objective.x0_hat(self.path, self.network(x_t, condition, t), x_t, x1, t)

    def transport(self, rows: Tensor, *, solver: str, n_steps: int, noise: Tensor | None = None) -> Tensor:
        """
        Carry rows to the code space.

        Parameters
        ----------
        rows : Tensor of shape (M or 1, B, views * layers, d)
            Scaled rows.
        solver : str
            A key of `SOLVERS`.
        n_steps : int
            Steps, N >= 1.
        noise : Tensor of shape (n_steps, L), optional
            For a stochastic solver.

        Returns
        -------
        Tensor of shape (n_steps + 1, M, B, L)
            Every state of every member, x1 first.
        """
        x1, condition = self.split(rows)
        x1 = x1.expand(self.network.shape.n_members, -1, -1)

        def estimate(x_t: Tensor, t: Tensor) -> Tensor:
            return self.estimate(x_t, x1, condition, t)

        return transport(
            SOLVERS[solver](), self.path, estimate, x1, n_steps=n_steps, t_max=self.settings.t_max, noise=noise
        )

    def codes(self, kind: str, n_classes: int) -> Tensor:
        """The codes of that kind (K, L), where and in what precision the model is."""
        return torch.as_tensor(label_codes(kind, n_classes, self.lift.shape[1])).to(self.lift)


def _standard_normal(shape: Sequence[int], generator: Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
