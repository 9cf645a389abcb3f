"""Mean and variance schedules of the path from code (t = 0) to features (t = 1): value and slope (Eq. 6, 7)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scheduled:
    """A schedule's value and its derivative by t, each of t's shape."""

    value: Tensor
    slope: Tensor


class MeanSchedule(Protocol):
    """m(t), with m(0) = 0, m(1) = 1 and m(t) + m(1 - t) = 1."""

    def __call__(self, t: Tensor) -> Scheduled:
        """Value and slope at `t` in [0, 1], any shape."""


class VarianceSchedule(Protocol):
    """σ_t, and what the transport's vector field needs of it."""

    end_rate: float
    """The limit of `(1 - t) σ'_t / σ_t` at t → 1, where the ratio itself may be infinite."""

    def __call__(self, t: Tensor) -> Tensor:
        """σ_t at `t` in [0, 1], any shape."""

    def rate(self, t: Tensor) -> Tensor:
        """σ'_t / σ_t at `t` in (0, 1); 0 where σ_t is 0 throughout."""


@dataclass(frozen=True)
class LogisticMean:
    """
    The paper's mean, a logistic curve of the given steepness k, scaled to pass through (0, 0) and (1, 1) (Eq. 6).

    Evaluated as `½ [1 + tanh(k (t - ½) / 2) / tanh(k / 4)]`, which equals the printed form and is stable for every k;
    k = 0 is its limit, the straight line.
    """

    steepness: float

    def __call__(self, t: Tensor) -> Scheduled:
        k = self.steepness
        if k < 1e-3:  # here the curve is the line to within k²/100, and the quotient of tiny tanhs loses digits
            return LinearMean()(t)
        centred = k * (t - 0.5) / 2
        norm = math.tanh(k / 4)
        decay = torch.exp(-2 * centred.abs())
        sech_squared = 4 * decay / (1 + decay) ** 2  # 1 - tanh² would cancel in the tails
        return Scheduled(0.5 * (1 + torch.tanh(centred) / norm), k / 4 * sech_squared / norm)


@dataclass(frozen=True)
class LinearMean:
    """The straight line `m(t) = t` of flow matching."""

    def __call__(self, t: Tensor) -> Scheduled:
        return Scheduled(t, torch.ones_like(t))


@dataclass(frozen=True)
class CosineMean:
    """`m(t) = sin²(π t / 2)`, the cosine schedule of diffusion models."""

    def __call__(self, t: Tensor) -> Scheduled:
        return Scheduled(torch.sin(math.pi / 2 * t) ** 2, math.pi / 2 * torch.sin(math.pi * t))


@dataclass(frozen=True)
class BridgeVariance:
    """The Brownian bridge `σ_t = σ sqrt(t (1 - t))` (Eq. 7): no noise at either end."""

    sigma: float
    end_rate = -0.5

    def __call__(self, t: Tensor) -> Tensor:
        return self.sigma * (t * (1 - t)).clamp_min(0).sqrt()

    def rate(self, t: Tensor) -> Tensor:
        """`(1 - 2t) / (2 t (1 - t))`; σ cancels."""
        return (1 - 2 * t) / (2 * t * (1 - t))


@dataclass(frozen=True)
class ConstantVariance:
    """`σ_t = σ` at every t; for σ = 0 the path is deterministic."""

    sigma: float
    end_rate = 0.0

    def __call__(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.sigma)

    def rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)


MEAN_SCHEDULES = {"logistic": LogisticMean, "linear": LinearMean, "cosine": CosineMean}
VARIANCE_SCHEDULES: dict[str, Callable[[float], VarianceSchedule]] = {
    "bridge": BridgeVariance,
    "constant": ConstantVariance,
    "zero": lambda sigma: ConstantVariance(0.0),
}
"""Functions of the scale σ > 0."""


def mean_schedule(kind: str, steepness: float) -> MeanSchedule:
    """The mean schedule of that name; `steepness` (k >= 0) matters to `"logistic"` alone."""
    return LogisticMean(steepness) if kind == "logistic" else MEAN_SCHEDULES[kind]()
