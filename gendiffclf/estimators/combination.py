"""How the estimators are combined: read-outs, weights and temperature, fitted on estimates that no row took part in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..transport.readout import positive_shares

READ_OUT_PRIOR = (2.0, 0.12), 0.7
"""Medians of sharpness and softness, and the deviation of the logarithm of each: few rows say little about them."""
LOGARITHMS = -6.0, 5.0
"""Of sharpness and softness: neither is outside of these."""
TEMPERATURE_DEVIATION = 0.5
"""Of the logarithm of the mixture's temperature, with median 1."""


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
    Read-outs of the estimators, and weights and temperature of their mixture.

    A strongly regularised estimate is shrunk towards the mean code, a weakly regularised one is not: each is read at its own best
    sharpness before they are weighed. Their mixture is less confident than either, so it gets a temperature.

    Attributes
    ----------
    weights : tuple of float
        Of the kernel and of the network, non-negative, summing to 1; of the one that there is, 1.
    read_outs : tuple of ReadOut
        Of each estimator.
    temperature : float
        Of the mixture: probabilities are raised to its inverse.
    floor : float
        Share of the uniform distribution in the result: that n rows held no error does not make one impossible.
    """

    weights: tuple[float, ...]
    read_outs: tuple[ReadOut, ...]
    temperature: float
    floor: float

    def probabilities(self, coordinates: Sequence[Tensor] | Tensor) -> Tensor:
        """
        Class probabilities (..., K) of the estimators' coordinates along the codes, each (..., K).

        In float64, but on MPS, which has none.
        """
        parts = zip(self.weights, self.read_outs, coordinates, strict=True)
        mixed = torch.stack([weight * read_out(high_precision(x)) for weight, read_out, x in parts if weight]).sum(0)
        probabilities = torch.softmax(_logarithm(mixed) / self.temperature, dim=-1)
        return probabilities.mul_(1 - self.floor).add_(self.floor / probabilities.shape[-1])


def high_precision(x: Tensor) -> Tensor:
    """A tensor in float64, so that rows sum to 1 to the last digits, or as it is on MPS, which has no float64."""
    return x if x.device.type == "mps" else x.double()


def _logarithm(probabilities: Tensor) -> Tensor:
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def uncalibrated(n_estimators: int) -> Combination:
    """Equal weights, for want of rows to fit a combination on."""
    return Combination((1 / n_estimators,) * n_estimators, (ReadOut(),) * n_estimators, 1.0, 0.01)


def combine(coordinates: Sequence[Tensor], targets: Tensor, weight: Tensor) -> Combination:
    """
    Fit the combination.

    Weights minimise Eq. 8: all estimators estimate codes, so this is least squares over the simplex. Read-outs and temperature
    minimise the logarithmic loss.

    Parameters
    ----------
    coordinates : sequence of Tensor of shape (n, K)
        What each estimator makes of rows that it did not learn from, along the codes.
    targets : Tensor of shape (n, K)
        One-hot classes, or shares of classes.
    weight : Tensor of shape (n,)
        Of mean 1.
    """
    targets, weight = targets.cpu().double(), weight.cpu().double()
    read_outs = tuple(fit_read_out(x, targets, weight) for x in coordinates)
    read = [read_out(x.cpu().double()) for read_out, x in zip(read_outs, coordinates, strict=True)]
    floor = 1 / (len(targets) + 2)
    if len(read) == 1:
        return Combination((1.0,), read_outs, 1.0, floor)
    weights = convex_weights(read, targets, weight)
    mixed = torch.stack([w * x for w, x in zip(weights, read, strict=True)]).sum(0)
    return Combination(weights, read_outs, fit_temperature(mixed, targets, weight), floor)


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
    The read-out of least logarithmic loss, for coordinates and targets (n, K) and weights (n,) of mean 1.

    A prior keeps it at common values where rows are few.
    """
    coordinates, targets, weight = (x.cpu().double() for x in (coordinates, targets, weight))
    medians = torch.tensor(READ_OUT_PRIOR[0], dtype=torch.float64).log()
    free = medians.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=20, tolerance_change=1e-6, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        sharpness, softness = free.clamp(*LOGARITHMS).exp()
        log_loss = -(weight @ (targets * _logarithm(positive_shares(coordinates, sharpness, softness))).sum(1))
        loss = (log_loss + ((free - medians) / READ_OUT_PRIOR[1]).square().sum() / 2) / len(weight)
        optimizer.zero_grad()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
    sharpness, softness = free.detach().clamp(*LOGARITHMS).exp().tolist()
    return ReadOut(sharpness, softness)


def fit_temperature(probabilities: Tensor, targets: Tensor, weight: Tensor) -> float:
    """The temperature of least logarithmic loss in [.05, 5], with a prior, for probabilities and targets (n, K)."""
    logits = _logarithm(probabilities)

    def objective(log_scale: float) -> float:
        loss = -float(weight @ (targets * torch.log_softmax(logits * math.exp(log_scale), dim=-1)).sum(1))
        return loss + (log_scale / TEMPERATURE_DEVIATION) ** 2 / 2

    found = minimize_scalar(objective, bounds=(-1.6, 3.0), method="bounded", options={"xatol": 1e-3})
    return math.exp(-float(found.x))
