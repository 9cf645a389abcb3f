"""The path between code and features, and what a network learns along it (Eq. 4, 5, 8).

At time t a row stands at `x_t = μ_t + σ_t z` with `μ_t = x0 + m(t) (x1 - x0)`: at its features `x1` for t = 1, at the code
`x0` of its class for t = 0. An objective says which quantity the network estimates there, and how the estimate `x̂0` of the
code follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .schedules import MeanSchedule, VarianceSchedule

TINY = 1e-4
"""Below this a divisor is taken as this: where an objective does not determine x̂0, the estimate stays finite."""


@dataclass(frozen=True)
class Path:
    """The Gaussian path of the given mean and variance schedules."""

    mean: MeanSchedule
    variance: VarianceSchedule

    def position(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """
        The mean position μ_t (Eq. 6).

        Parameters
        ----------
        x0, x1 : Tensor of shape (..., L)
            Code and features.
        t : Tensor, broadcastable to (...)
            Times in [0, 1].
        """
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


class Objective(Protocol):
    """What the network is trained to return, and the x̂0 that follows from it."""

    needs_interior: bool
    """Whether the target is undefined at t = 0 and t = 1, so that times must keep a distance from both."""

    def target(self, path: Path, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The quantity to regress on, of shape (..., L)."""

    def x0_hat(self, path: Path, output: Tensor, x_t: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The estimate of the code that `output` implies, of shape (..., L)."""


class TargetMatching:
    """The network returns the code itself (Eq. 8), the paper's choice."""

    needs_interior = False

    def target(self, path: Path, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x0."""
        return x0

    def x0_hat(self, path: Path, output: Tensor, x_t: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The output."""
        return output


class VelocityMatching:
    """
    The network returns the velocity `σ'_t z + μ'_t` (flow matching, Lipman et al. 2023).

    `x̂0 = (a (x_t - m x1) + m' x1 - u) / (a (1 - m) + m')` with `a = σ'_t / σ_t`.
    """

    needs_interior = True

    def target(self, path: Path, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The derivative of x_t by t for fixed noise."""
        sigma_slope = path.variance.rate(t) * path.variance(t)
        return sigma_slope[..., None] * noise + path.mean(t).slope[..., None] * (x1 - x0)

    def x0_hat(self, path: Path, output: Tensor, x_t: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The code for which the field at x_t is the output."""
        mean, rate = path.mean(t), path.variance.rate(t)[..., None]
        m, slope = mean.value[..., None], mean.slope[..., None]
        return (rate * (x_t - m * x1) + slope * x1 - output) / (rate * (1 - m) + slope).clamp_min(TINY)


class NoiseMatching:
    """
    The network returns the noise z, that is minus σ_t times the score (denoising diffusion, Ho et al. 2020).

    `x̂0 = (x_t - σ_t ẑ - m x1) / (1 - m)`, which says little near t = 1, where transport starts.
    """

    needs_interior = True

    def target(self, path: Path, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Z."""
        return noise

    def x0_hat(self, path: Path, output: Tensor, x_t: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The code that the noise leaves."""
        m = path.mean(t).value[..., None]
        return (x_t - path.variance(t)[..., None] * output - m * x1) / (1 - m).clamp_min(TINY)


OBJECTIVES: dict[str, type[Objective]] = {
    "target": TargetMatching,
    "velocity": VelocityMatching,
    "noise": NoiseMatching,
}
