"""The path between code and features (Eq. 4, 6, 9).

At time t a row is at `x_t = μ_t + σ_t z` with `μ_t = x0 + m(t) (x1 - x0)` and standard normal z: at its features `x1` for
t = 1, at the code `x0` of its class for t = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from ..validation import check_choice, check_real
from .schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES, MeanSchedule, VarianceSchedule, mean_schedule


@dataclass(frozen=True)
class Path:
    """The Gaussian path of the given mean and variance schedules."""

    mean: MeanSchedule
    variance: VarianceSchedule

    def position(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The mean position μ_t (Eq. 6) between code and features (..., L), at times in [0, 1] broadcastable to (...)."""
        m = self.mean(t).value[..., None]  # (...) -> (..., 1)
        return x0 + m * (x1 - x0)

    def sample(self, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """A state x_t for standard normal `noise` of the shape of `x0` (Eq. 4)."""
        return self.position(x0, x1, t) + self.variance(t)[..., None] * noise

    def field(self, x_t: Tensor, x0_hat: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """
        The vector field u at a time t in (0, 1] (Eq. 9).

        `u = (σ'_t / σ_t) (x_t - μ_t) + μ'_t`. At t = 1 the ratio may be infinite, but transport stands at `x1 = μ_1` there
        and u has the limit `(1 + end_rate) m'(1) (x1 - x̂0)`.
        """
        slope = self.mean(t).slope[..., None]
        drift = slope * (x1 - x0_hat)
        inside = self.variance.rate(t.clamp_max(1 - 1e-6))[..., None] * (x_t - self.position(x0_hat, x1, t))
        at_end = self.variance.end_rate * drift
        return drift + torch.where(t[..., None] >= 1, at_end, inside)


@dataclass(eq=False, repr=False)
class PathParameters(BaseEstimator):
    """Base of the paths that a classifier takes: their schedules by name, as `ExactPath` describes them."""

    mean: str = "logistic"
    steepness: float = 10.0
    variance: str = "bridge"
    sigma: float = 0.5

    def check(self) -> None:
        """
        Check the parameters.

        Raises
        ------
        ValueError
            If a parameter is out of its range.
        """
        check_choice("mean", self.mean, MEAN_SCHEDULES)
        check_real("steepness", self.steepness, 0, 200)
        check_choice("variance", self.variance, VARIANCE_SCHEDULES)
        check_real("sigma", self.sigma, 0, low_open=True)

    def path(self) -> Path:
        """The path of these schedules."""
        return Path(mean_schedule(self.mean, self.steepness), VARIANCE_SCHEDULES[self.variance](self.sigma))
