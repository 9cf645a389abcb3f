"""The path in closed form: class probabilities at t = 1 determine the best estimate of the code at every time.

There are finitely many classes, and the state of each at time t is Gaussian with known mean and variance (Eq. 4). So Bayes' rule
gives the class probabilities at a state, `q_c ∝ p_c exp(-||x_t - μ_t(x0(c), x1)||² / (2 σ_t²))`, and `x̂0 = Σ_c q_c x0(c)` is the
minimiser of the loss (Eq. 8) there. Nothing along the path has to be learnt.

In all functions `p` (..., K) are class probabilities at t = 1, rows summing to 1; `x1` (..., L) are features, where the path
starts; and `codes` (K, L) are orthogonal codes of equal norm. They compute in float64, or float32 on MPS, which has no float64.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..device import high_precision
from .path import Path, PathParameters
from .solvers import SOLVERS, time_grid, transport

NEGLIGIBLE_VARIANCE = 1e-24
"""A variance σ_t² below this counts as zero: the likelihood would overflow."""

BLOCK_VALUES = 2**20
"""States are sampled in blocks of about this many values, so that memory does not grow with the number of draws."""


class ExactPath(PathParameters):
    """
    The path of the exact posterior.

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

    Notes
    -----
    Predictions do not depend on these parameters: they are read from the class probabilities at t = 1. The path shapes
    trajectories alone.

    Examples
    --------
    >>> from gendiffclf.transport.exact import ExactPath
    >>> ExactPath(steepness=5.0).path()
    Path(mean=LogisticMean(steepness=5.0), variance=BridgeVariance(sigma=0.5))
    """


def posterior(path: Path, p: Tensor, x_t: Tensor, x1: Tensor, codes: Tensor, t: Tensor) -> Tensor:
    """
    Class probabilities (..., K) given states x_t (..., L) of the path at times t in [0, 1], broadcastable to (...).

    A class of probability 0 keeps it.

    Notes
    -----
    As codes have equal norm, `log q_c = log p_c + (1 - m) / σ_t² <x_t - m x1, x0(c)> + const`. Where σ_t = 0, q is p if m = 1, as
    the state says nothing about the class; otherwise the nearest code has probability 1, and p breaks ties.
    """
    p, x_t, x1, codes, t = map(high_precision, (p, x_t, x1, codes, t))
    t = t[..., None]  # (...) -> (..., 1)
    m, variance = path.mean(t).value, path.variance(t) ** 2
    scores = (x_t - m * x1) @ codes.mT  # (..., L) -> (..., K)
    best = scores.masked_fill(p == 0, -torch.inf).amax(-1, keepdim=True)
    eps = torch.finfo(p.dtype).eps

    noiseless = variance < NEGLIGIBLE_VARIANCE
    evidence = (1 - m) / variance.masked_fill(noiseless, 1.0)
    # Scores are shifted before they are scaled: the likelihood may be too sharp for the difference of two products.
    bayes = torch.softmax(p.log() + evidence * (scores - best), dim=-1)

    tolerance = eps**0.5 * (1 - m) * codes.square().sum(-1).amax()
    nearest = torch.where(scores >= best - tolerance, p, -1.0).argmax(-1)
    at_code = torch.nn.functional.one_hot(nearest, p.shape[-1]).to(p)
    return torch.where(noiseless, torch.where(1 - m < 4 * eps, p, at_code), bayes)


def walk(path: Path, p: Tensor, x1: Tensor, codes: Tensor, *, n_steps: int, solver: str = "exact") -> Tensor:
    """
    Carry features to codes along the exact path by one of `SOLVERS`; all states (n_steps + 1, ..., L), `x1` first.

    Notes
    -----
    With exact steps the nearest code at the end is that of the most probable class, for every N. Euler and midpoint steps leave
    the path, where the likelihood is very sharp, and may need hundreds of steps to agree.
    """
    p, x1, codes = map(high_precision, (p, x1, codes))

    def estimate(x_t: Tensor, t: Tensor) -> Tensor:
        return posterior(path, p, x_t, x1, codes, t) @ codes

    return transport(SOLVERS[solver](), path, estimate, x1, n_steps=n_steps)


def sample(
    path: Path, p: Tensor, x1: Tensor, codes: Tensor, *, n_draws: int, n_steps: int, generator: Generator
) -> Tensor:
    """
    Sample classes by stochastic transport: indices in [0, K), int64 of shape (B, n_draws), for p (B, K) and x1 (B, L).

    Each step samples a class from the posterior at its state and moves to a fresh state of that class. The class of the last step
    is the result: class c comes with probability `p_c`, for any number of steps.
    """
    p, x1, codes = map(high_precision, (p[:, None], x1[:, None], codes))  # (B, K), (B, L) -> (B, 1, K), (B, 1, L)
    block = max(1, BLOCK_VALUES // max(1, len(p) * max(codes.shape)))
    sizes = [min(block, n_draws - start) for start in range(0, n_draws, block)]
    blocks = [_sample_block(path, p, x1.expand(-1, size, -1), codes, n_steps, generator) for size in sizes]
    return torch.cat(blocks, dim=1)


def _sample_block(path: Path, p: Tensor, x1: Tensor, codes: Tensor, n_steps: int, generator: Generator) -> Tensor:
    """Class indices (B, n) for probabilities (B, 1, K) and features (B, n, L)."""
    times = time_grid(n_steps, 1.0, x1)
    classes = _sample_class(p.expand(*x1.shape[:-1], -1), generator)
    for t in times[1:-1]:
        noise = torch.randn(x1.shape, generator=generator, device=generator.device, dtype=x1.dtype).to(x1.device)
        x = path.sample(codes[classes], x1, t, noise)
        classes = _sample_class(posterior(path, p, x, x1, codes, t), generator)
    return classes


def _sample_class(q: Tensor, generator: Generator) -> Tensor:
    """One class index of each distribution (..., K) -> (...), never one of probability 0."""
    cumulative = q.cumsum(-1)
    u = torch.rand(q.shape[:-1], generator=generator, device=generator.device, dtype=q.dtype).to(q.device)
    return torch.searchsorted(cumulative, u[..., None] * cumulative[..., -1:], right=True).squeeze(-1)
