"""How the estimators are combined: read-outs, weights and exponents, fitted on held-out estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..device import high_precision
from ..transport.readout import positive_shares
from .minimizing import minimized

READ_OUT_PRIOR = (2.0, 0.12), 0.7
"""Medians of sharpness and softness, and the deviation of the logarithm of each: few rows say little about them."""
LOG_RANGE = -6.0, 5.0
"""Range of the logarithms of sharpness and softness."""
EXPONENT_PRIOR = ((1.0,), (0.7, 0.3), (0.6, 0.2, 0.2), (0.55, 0.15, 0.15, 0.15)), 0.3
"""Means of the exponents of a mixture alone, with one factor, with two and with three, and the deviation of each."""
EXPONENTS = (0.0, 5.0), (0.0, 3.0), (0.0, 3.0), (0.0, 3.0)
"""Ranges of the exponents of the mixture and of its factors."""
LEAST_PROBABILITY = 1e-6
"""Of a factor, before its exponent: less could outweigh all else."""
N_ITERATIONS = 20
"""Iterations of L-BFGS at most."""
_FIT_VALUES = 2**21
"""Probabilities of the rows that a combination is fitted on, at most."""


@dataclass(frozen=True)
class ReadOut:
    """The arguments of `positive_shares`; by default the positive part of coordinates, nearly."""

    sharpness: float = 1.0
    softness: float = 0.01

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Class probabilities of coordinates, (..., K) -> (..., K)."""
        return positive_shares(coordinates, self.sharpness, self.softness)


@dataclass(frozen=True)
class Combination:
    """
    Read-outs of kernel and network, weights of their mixture, and its product with the factors that there are.

    A strongly regularised estimate is shrunk towards the mean code, a weakly regularised one is not: each is read at its own best
    sharpness before they are weighed. Their mixture is less confident than either, so it gets an exponent, the inverse of a
    temperature. Probabilities of a logistic regression, of normal distributions and of trees join it by their own exponents (a
    logarithmic opinion pool).

    Attributes
    ----------
    weights : tuple of float
        Of the kernel and of the network, non-negative, summing to 1; of the one that there is, 1.
    read_outs : tuple of ReadOut
        Of each of these.
    exponents : tuple of float
        Of the mixture and of the factors that there are: logistic regression, normal distributions, trees.
    floor : float
        Share of the uniform distribution in the result: that n rows held no error does not make one impossible.
    """

    weights: tuple[float, ...]
    read_outs: tuple[ReadOut, ...]
    exponents: tuple[float, ...]
    floor: float

    def probabilities(self, coordinates: Sequence[Tensor] | Tensor) -> Tensor:
        """
        Class probabilities (..., K) of the estimators' coordinates along the codes, each (..., K).

        Those of the factors come last; one without an exponent is left out. In float64, but on MPS, which has none.
        """
        parts = zip(self.weights, self.read_outs, coordinates, strict=False)
        mixed = torch.stack([weight * read_out(high_precision(x)) for weight, read_out, x in parts if weight]).sum(0)
        logits = self.exponents[0] * _logarithm(mixed)
        for exponent, factor in zip(self.exponents[1:], coordinates[len(self.weights) :], strict=False):
            logits += exponent * high_precision(factor).clamp_min(LEAST_PROBABILITY).log()
        probabilities = torch.softmax(logits, dim=-1)
        return probabilities.mul_(1 - self.floor).add_(self.floor / probabilities.shape[-1])


def _logarithm(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def uncalibrated(n_estimators: int) -> Combination:
    """Equal weights of kernel and network, where there are no rows to fit a combination on."""
    return Combination((1 / n_estimators,) * n_estimators, (ReadOut(),) * n_estimators, (1.0,), 0.01)


def combine(
    coordinates: Sequence[Tensor],
    targets: Tensor,
    weight: Tensor,
    factors: Sequence[Tensor] = (),
    read_outs: Sequence[ReadOut] = (),
) -> Combination:
    """
    Fit the combination.

    Weights minimise Eq. 8: kernel and network estimate codes, so this is least squares over the simplex. Read-outs and exponents
    minimise the logarithmic loss.

    `coordinates`, each (n, K), are what kernel, network or both make of rows that they did not learn from, along the codes, and
    `factors`, each (n, K), probabilities by estimators that did not either. `targets` (n, K) are one-hot
    classes. The weight (n,) has the mean 1, or less if rows depend on each other: its sum is the number of rows in the priors
    and the floor. `read_outs` are those of the first of the coordinates, if they are fitted already.
    """
    stride = -(-targets.numel() // _FIT_VALUES)  # it has few parameters
    coordinates = [x[::stride] for x in coordinates]
    targets, weight = targets[::stride].cpu().double(), weight[::stride].cpu().double()
    read_outs = (*read_outs, *(fit_read_out(x, targets, weight) for x in coordinates[len(read_outs) :]))
    read = [read_out(x.cpu().double()) for read_out, x in zip(read_outs, coordinates, strict=True)]
    floor = 1 / (float(weight.sum()) + 2)
    weights = (1.0,) if len(read) == 1 else convex_weights(read, targets, weight)
    mixed = torch.stack([w * x for w, x in zip(weights, read, strict=True)]).sum(0)
    exponents: tuple[float, ...] = (1.0,)
    if factors or len(read) > 1:
        positive = [x[::stride].cpu().double().clamp_min(LEAST_PROBABILITY) for x in factors]
        exponents = fit_exponents([mixed, *positive], targets, weight)
    return Combination(weights, read_outs, exponents, floor)


def convex_weights(estimates: Sequence[Tensor], targets: Tensor, weight: Tensor) -> tuple[float, float]:
    """The weights of two estimates (n, K) that minimise the squared error of their mixture: one unknown, clipped to [0, 1]."""
    first, second = estimates
    apart = first - second
    length = float(weight @ apart.square().sum(1))
    share = float(weight @ (apart * (targets - second)).sum(1)) / length if length else 0.5
    share = min(max(share, 0.0), 1.0)
    return share, 1 - share


def fit_read_out(coordinates: Tensor, targets: Tensor, weight: Tensor) -> ReadOut:
    """
    The read-out of least logarithmic loss, for coordinates and targets (n, K) and weights (n,) as of `combine`.

    A prior keeps it at common values where rows are few.
    """
    coordinates, targets, weight = (x.cpu().double() for x in (coordinates, targets, weight))
    medians = torch.tensor(READ_OUT_PRIOR[0], dtype=torch.float64).log()

    def loss(logarithms: Tensor) -> Tensor:
        sharpness, softness = logarithms.exp()
        log_loss = -(weight @ (targets * _logarithm(positive_shares(coordinates, sharpness, softness))).sum(1))
        return (log_loss + ((logarithms - medians) / READ_OUT_PRIOR[1]).square().sum() / 2) / len(weight)

    return ReadOut(*minimized(medians, loss, N_ITERATIONS, [LOG_RANGE] * 2).exp().tolist())


def pooled_loss(probabilities: Sequence[Tensor], targets: Tensor, weight: Tensor) -> float:
    """Summed logarithmic loss of a product of probabilities (n, K) with the exponents of `fit_exponents`."""
    probabilities = [p.cpu().double().clamp_min(LEAST_PROBABILITY) for p in probabilities]
    targets, weight = targets.cpu().double(), weight.cpu().double()
    exponents = torch.tensor(fit_exponents(probabilities, targets, weight), dtype=torch.float64)
    return -float(weight @ (targets * _log_product(exponents, torch.stack(probabilities).log())).sum(1))


def fit_exponents(probabilities: Sequence[Tensor], targets: Tensor, weight: Tensor) -> tuple[float, ...]:
    """
    Exponents of a product of one to four probabilities (n, K), for the least logarithmic loss, with a prior.

    The loss is convex in them.
    """
    logarithms = torch.stack([_logarithm(p) for p in probabilities])  # (E, n, K)
    means = torch.tensor(EXPONENT_PRIOR[0][len(logarithms) - 1], dtype=torch.float64)

    def loss(exponents: Tensor) -> Tensor:
        log_p = _log_product(exponents, logarithms)
        prior = ((exponents - means) / EXPONENT_PRIOR[1]).square().sum() / 2
        return (prior - weight @ (targets * log_p).sum(1)) / len(weight)

    return tuple(minimized(means, loss, N_ITERATIONS, EXPONENTS[: len(means)]).tolist())


def _log_product(exponents: Tensor, logarithms: Tensor) -> Tensor:
    """Logarithms (n, K) of a product of probabilities, whose logarithms are of shape (E, n, K)."""
    return torch.log_softmax((exponents[:, None, None] * logarithms).sum(0), dim=-1)
