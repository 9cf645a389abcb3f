"""How the estimators are combined: weights, temperature and smoothing, fitted on estimates that no row took part in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..transport.readout import apply_temperature, project_on_simplex

SMOOTHINGS = (1e-4, 1e-3, 1e-2)
"""Weights of the uniform distribution that are compared."""
PRIOR_DEVIATION = 0.5
"""Of the normal prior on the logarithm of a temperature: few rows say little about it."""


@dataclass(frozen=True)
class Calibration:
    """The arguments of `apply_temperature`; by default probabilities stay nearly as projected."""

    temperature: float = 1.0
    smoothing: float = 1e-3

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Calibrated probabilities, (..., K) -> (..., K)."""
        return apply_temperature(probabilities, self.temperature, self.smoothing)


@dataclass(frozen=True)
class Combination:
    """
    Weights of the estimators, and calibrations.

    A strongly regularised estimate is shrunk towards the mean code, a weakly regularised one is not: each is brought to its own
    best sharpness before they are weighed, and their mixture, which is less confident than either, once more.

    Attributes
    ----------
    weights : tuple of float
        Of the kernel and of the network, non-negative, summing to 1; of the one that there is, 1.
    sharpness : tuple of Calibration
        Of each estimator.
    calibration : Calibration
        Of the mixture.
    floor : float
        Share of the uniform distribution in the result: that n rows held no error does not make one impossible.
    """

    weights: tuple[float, ...]
    sharpness: tuple[Calibration, ...]
    calibration: Calibration
    floor: float

    def probabilities(self, coordinates: Sequence[Tensor] | Tensor) -> Tensor:
        """
        Class probabilities (..., K) of the estimators' coordinates along the codes, each (..., K).

        In float64, but on MPS, which has none.
        """
        parts = zip(self.weights, self.sharpness, coordinates, strict=True)
        mixed = [weight * sharpen(project_on_simplex(high_precision(x))) for weight, sharpen, x in parts if weight]
        probabilities = self.calibration(torch.stack(mixed).sum(0))
        return probabilities.mul_(1 - self.floor).add_(self.floor / probabilities.shape[-1])


def high_precision(x: Tensor) -> Tensor:
    """A tensor in float64, so that rows sum to 1 to the last digits, or as it is on MPS, which has no float64."""
    return x if x.device.type == "mps" else x.double()


def uncalibrated(n_estimators: int) -> Combination:
    """Equal weights, for want of rows to fit a combination on."""
    return Combination((1 / n_estimators,) * n_estimators, (Calibration(),) * n_estimators, Calibration(), 0.01)


def combine(coordinates: Sequence[Tensor], targets: Tensor, weight: Tensor) -> Combination:
    """
    Fit the combination.

    Weights minimise Eq. 8: all estimators estimate codes, so this is least squares over the simplex. Temperature and smoothing
    minimise the logarithmic loss.

    Parameters
    ----------
    coordinates : sequence of Tensor of shape (n, K)
        What each estimator makes of rows that it did not learn from, along the codes.
    targets : Tensor of shape (n, K)
        One-hot classes, or shares of classes.
    weight : Tensor of shape (n,)
    """
    targets, weight = targets.cpu().double(), weight.cpu().double()
    projected = [project_on_simplex(x.cpu().double()) for x in coordinates]
    sharpness = tuple(calibrate(x, targets, weight) for x in projected)
    sharp = [sharpen(x) for sharpen, x in zip(sharpness, projected, strict=True)]
    floor = 1 / (len(targets) + 2)
    if len(sharp) == 1:
        return Combination((1.0,), (Calibration(1.0, 0.0),), sharpness[0], floor)
    weights = convex_weights(sharp, targets, weight)
    mixed = torch.stack([w * x for w, x in zip(weights, sharp, strict=True)]).sum(0)
    return Combination(weights, sharpness, calibrate(mixed, targets, weight), floor)


def convex_weights(estimates: Sequence[Tensor], targets: Tensor, weight: Tensor) -> tuple[float, float]:
    """The weights of two estimates (n, K) that minimise the squared error of their mixture: one unknown, clipped to [0, 1]."""
    first, second = estimates
    apart = first - second
    length = float(weight @ apart.square().sum(1))
    share = float(weight @ (apart * (targets - second)).sum(1)) / length if length else 0.5
    share = min(max(share, 0.0), 1.0)
    return share, 1 - share


def calibrate(probabilities: Tensor, targets: Tensor, weight: Tensor) -> Calibration:
    """
    The temperature and smoothing of least logarithmic loss, for probabilities and targets (n, K) and weights (n,) of mean 1.

    A prior keeps the temperature near 1 where rows are few.
    """
    found = []
    for smoothing in SMOOTHINGS:
        logits = apply_temperature(probabilities, 1.0, smoothing).log()
        loss, temperature = _temperature(logits, targets, weight)
        found.append((loss, temperature, smoothing))
    _, temperature, smoothing = min(found)
    return Calibration(temperature, smoothing)


def _temperature(logits: Tensor, targets: Tensor, weight: Tensor) -> tuple[float, float]:
    """The least logarithmic loss of logits (n, K) over a temperature, and that temperature, in [.05, 5]."""

    def objective(log_scale: float) -> float:
        loss = -float(weight @ (targets * torch.log_softmax(logits * math.exp(log_scale), dim=-1)).sum(1))
        return loss + (log_scale / PRIOR_DEVIATION) ** 2 / 2

    found = minimize_scalar(objective, bounds=(-1.6, 3.0), method="bounded", options={"xatol": 1e-3})
    return float(found.fun), math.exp(-float(found.x))
