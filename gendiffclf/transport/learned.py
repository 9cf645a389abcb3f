"""The learned path: what a network is trained to return along the path, and how its answers carry features to a code.

An objective says which quantity the network estimates at a state, and how the estimate `x̂0` of the code follows from it (Eq. 5,
8). This is the paper's method; `exact` needs no training along the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from sklearn.base import clone
from torch import Generator, Tensor

from ..validation import check_choice, check_integer, check_real
from .path import Path, PathParameters
from .solvers import SOLVERS, Estimator, transport
from .times import TIME_SAMPLERS, sample_times

TINY = 1e-4
"""Smallest divisor: where an objective does not determine x̂0, the estimate stays finite."""

INTERIOR = 1e-3
"""Distance from t = 0 and t = 1 that objectives with a singular target keep."""


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
        return x0

    def x0_hat(self, path: Path, output: Tensor, x_t: Tensor, x1: Tensor, t: Tensor) -> Tensor:
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


@dataclass(eq=False, repr=False)
class LearnedPath(PathParameters):
    """
    A path along which a network is trained, as in the paper.

    Parameters
    ----------
    mean : {"logistic", "linear", "cosine"}, default="logistic"
        Mean schedule m(t).
    steepness : float, default=10.0
        Steepness k of the logistic mean, in [0, 200].
    variance : {"bridge", "constant", "zero"}, default="bridge"
        Variance schedule σ_t.
    sigma : float, default=0.5
        Scale σ of the variance, positive.
    objective : {"target", "velocity", "noise"}, default="target"
        What the network returns: the code, the velocity of the state, or its noise.
    time_sampling : {"uniform", "biased", "terminal", "mixed", "logit_normal"}, default="uniform"
        Distribution of training times: uniform, the paper's; `"biased"`, denser near t_max; `"terminal"`, t_max alone, which
        allows one step only; `"mixed"`, t_max for half of the rows, uniform for the others; `"logit_normal"`, denser in the
        middle.
    t_min : float, default=0.001
        Earliest training time, in [0, t_max).
    t_max : float, default=1.0
        Latest training time T, where transport starts, in (0, 1].
    solver : {"exact", "euler", "midpoint", "stochastic"}, default="exact"
        How a step is made. `"euler"` is the paper's.
    n_steps : int, default=10
        Steps of transport, N >= 1.
    time_width : int, default=32
        Width of the network's time embedding.

    Notes
    -----
    The paper gives neither k, σ, T nor the earliest time.

    Examples
    --------
    >>> from gendiffclf.transport.learned import LearnedPath
    >>> LearnedPath(solver="euler", n_steps=1).check()
    Traceback (most recent call last):
    ...
    ValueError: Got solver='euler' with n_steps=1, expected n_steps >= 2, as one step covers only part of the way; use
    n_steps=10, or solver='exact'.
    """

    objective: str = "target"
    time_sampling: str = "uniform"
    t_min: float = 0.001
    t_max: float = 1.0
    solver: str = "exact"
    n_steps: int = 10
    time_width: int = 32

    def check(self) -> None:
        """
        Check the parameters, each and together.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the parameters cannot work together.
        """
        super().check()
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("time_sampling", self.time_sampling, TIME_SAMPLERS)
        check_real("t_max", self.t_max, 0, 1, low_open=True)
        check_real("t_min", self.t_min, 0, self.t_max, high_open=True)
        check_choice("solver", self.solver, SOLVERS)
        check_integer("n_steps", self.n_steps, 1)
        check_integer("time_width", self.time_width, 1)
        if self.objective == "noise" and self.variance == "zero":
            raise ValueError(
                "Got objective='noise' with variance='zero', expected a path with noise to learn; use variance='bridge', or "
                "objective='target'."
            )
        if self.time_sampling == "terminal" and self.objective != "target":
            raise ValueError(
                f"Got time_sampling='terminal' with objective={self.objective!r}, which does not determine the code at t_max; "
                "use time_sampling='uniform', or objective='target'."
            )
        if self.time_sampling == "terminal" and self.n_steps > 1:
            raise ValueError(
                f"Got time_sampling='terminal' with n_steps={self.n_steps}, expected n_steps=1, as no other time than t_max is "
                "trained; use n_steps=1, or time_sampling='mixed'."
            )
        if self.solver in ("euler", "midpoint") and self.n_steps == 1:
            raise ValueError(
                f"Got solver={self.solver!r} with n_steps=1, expected n_steps >= 2, as one step covers only part of the way; "
                "use n_steps=10, or solver='exact'."
            )
        low, high = _time_range(self)
        if low >= high:
            raise ValueError(
                f"Got objective={self.objective!r} with t_min={self.t_min} and t_max={self.t_max}, expected times inside "
                f"({INTERIOR}, {1 - INTERIOR}); use t_min=0.001 and t_max=1.0, or objective='target'."
            )


def draw(learned: LearnedPath, x0: Tensor, x1: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """
    Sample a training time t (...), state (..., L) and regression target (..., L) of each row, in this order: state, time, target.

    `x0` and `x1` (..., L) are codes and features; times are in [t_min, t_max].
    """
    t, noise = sample_times_and_noise(learned, x1, generator)
    x_t, target = states_and_targets(learned.path(), OBJECTIVES[learned.objective](), x0, x1, t, noise)
    return x_t, t, target


def sample_times_and_noise(learned: LearnedPath, like: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Training times (...) and noise (..., L) of as many rows as a tensor (..., L) has, on its device and in its precision."""
    t = sample_times(learned.time_sampling, like.shape[:-1], *_time_range(learned), generator)
    noise = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return t.to(like), noise.to(like.device)


def states_and_targets(
    path: Path, objective: Objective, x0: Tensor, x1: Tensor, t: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """States at times t (...) between x0 and x1 (..., L), and their regression targets (..., L)."""
    return path.sample(x0, x1, t, noise), objective.target(path, x0, x1, t, noise)


def carry(
    learned: LearnedPath, network: Estimator, x1: Tensor, n_steps: int | None = None, solver: str | None = None
) -> Tensor:
    """
    Carry features x1 (..., L) to codes with a trained network; all states (n_steps + 1, ..., L), `x1` first.

    The network maps states (..., L) and a time () to the quantity that the objective names, of shape (..., L). `n_steps` and
    `solver` replace those of `learned`; a ValueError if one does not suit the training.
    """
    changes = {name: value for name, value in [("n_steps", n_steps), ("solver", solver)] if value is not None}
    if changes:
        learned = clone(learned).set_params(**changes)
        learned.check()
    path, objective = learned.path(), OBJECTIVES[learned.objective]()

    def estimate(x_t: Tensor, t: Tensor) -> Tensor:
        if objective.needs_interior:
            t = t.clamp(INTERIOR, 1 - INTERIOR)
        return objective.x0_hat(path, network(x_t, t), x_t, x1, t)

    return transport(SOLVERS[learned.solver](), path, estimate, x1, n_steps=learned.n_steps, t_max=learned.t_max)


def _time_range(learned: LearnedPath) -> tuple[float, float]:
    """Earliest and latest training time."""
    if OBJECTIVES[learned.objective].needs_interior:
        return max(learned.t_min, INTERIOR), min(learned.t_max, 1 - INTERIOR)
    return learned.t_min, learned.t_max
