"""From features to codes: N steps from t = T to t = 0, each with an estimate x̂0 of the code (Eq. 9 to 11).

A solver makes one step; `transport` strings N of them together over a uniform grid.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from .path import Path

Estimator = Callable[[Tensor, Tensor], Tensor]
"""From a state x_t (..., L) and a time t () to the estimate x̂0 (..., L)."""


class Solver(Protocol):
    """One step of transport."""

    def step(
        self, path: Path, estimate: Estimator, x: Tensor, x1: Tensor, t: Tensor, s: Tensor, noise: Tensor
    ) -> Tensor:
        """Move the state `x` (..., L) at time `t` to time `s < t`; `noise` is standard normal of shape (L,)."""


class ExactSolver:
    """
    The flow for an estimate that stays what it is at t, in closed form.

    `x_s = μ_s(x̂0, x1) + (σ_s / σ_t) (x_t - μ_t(x̂0, x1))`, the second term dropped where σ_t = 0. One step gives the estimate
    itself; for a constant estimate any number of steps ends at the same point.
    """

    def step(
        self, path: Path, estimate: Estimator, x: Tensor, x1: Tensor, t: Tensor, s: Tensor, noise: Tensor
    ) -> Tensor:
        x0_hat = estimate(x, t)
        sigma_t, sigma_s = path.variance(t), path.variance(s)
        ratio = torch.where(sigma_t > 0, sigma_s / torch.where(sigma_t > 0, sigma_t, 1.0), 0.0)
        flowed = path.position(x0_hat, x1, s) + ratio * (x - path.position(x0_hat, x1, t))
        return torch.where(s > 0, flowed, x0_hat)  # also on paths that are still noisy at t = 0


class EulerSolver:
    """Euler's method on the vector field, the paper's (Eq. 11): first order, and far from the code after one step."""

    def step(
        self, path: Path, estimate: Estimator, x: Tensor, x1: Tensor, t: Tensor, s: Tensor, noise: Tensor
    ) -> Tensor:
        return x + (s - t) * path.field(x, estimate(x, t), x1, t)


class MidpointSolver:
    """The midpoint method on the vector field: second order, and never evaluated at t = 0, where the field is singular."""

    def step(
        self, path: Path, estimate: Estimator, x: Tensor, x1: Tensor, t: Tensor, s: Tensor, noise: Tensor
    ) -> Tensor:
        """Half a step of Euler's, then a whole one with the field found there."""
        half = (t + s) / 2
        x_half = x + (half - t) * path.field(x, estimate(x, t), x1, t)
        return x + (s - t) * path.field(x_half, estimate(x_half, half), x1, half)


class StochasticSolver:
    """
    Fresh noise at each step: `x_s = μ_s(x̂0, x1) + σ_s z`.

    Every state has the noise level of the path at its time, as in training; deterministic steps from x1 have less. The noise of a
    step is the same for all rows, so a row's result does not depend on its neighbours.
    """

    def step(
        self, path: Path, estimate: Estimator, x: Tensor, x1: Tensor, t: Tensor, s: Tensor, noise: Tensor
    ) -> Tensor:
        x0_hat = estimate(x, t)
        return torch.where(s > 0, path.sample(x0_hat, x1, s, noise), x0_hat)


SOLVERS: dict[str, type[Solver]] = {
    "exact": ExactSolver,
    "euler": EulerSolver,
    "midpoint": MidpointSolver,
    "stochastic": StochasticSolver,
}


@lru_cache(maxsize=8)
def step_noise(n_steps: int, width: int) -> Tensor:
    """Noise of each step (n_steps, width), always the same, on the CPU."""
    with torch.inference_mode(False):
        return torch.randn(n_steps, width, generator=torch.Generator().manual_seed(0))


def time_grid(n_steps: int, t_max: float, like: Tensor) -> Tensor:
    """Times from `t_max` to 0 (n_steps + 1,), in the dtype and on the device of `like`."""
    # Computed in float64 on the CPU, as MPS has none.
    return torch.linspace(t_max, 0, n_steps + 1, dtype=torch.float64, device="cpu").to(like.dtype).to(like.device)


def transport(
    solver: Solver, path: Path, estimate: Estimator, x1: Tensor, *, n_steps: int, t_max: float = 1.0
) -> Tensor:
    """
    Carry features x1 (..., L) to codes in `n_steps` >= 1 steps, from time `t_max` on.

    Returns every state on the way, (n_steps + 1, ..., L): the first is `x1`, the last the estimate at t = 0.
    """
    grid, noise = time_grid(n_steps, t_max, x1), step_noise(n_steps, x1.shape[-1]).to(x1)
    states = [x1]
    for i in range(n_steps):
        states.append(solver.step(path, estimate, states[-1], x1, grid[i], grid[i + 1], noise[i]))
    return torch.stack(states)
