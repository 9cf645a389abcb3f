"""Multinomial logistic regression, which needs few rows where classes are apart by planes.

Its probabilities are coordinates of an estimate of the code too. Kernel and network are least squares onto the codes (Eq. 8);
this maximises the likelihood of the classes. The penalty is chosen on held-out rows, by the logarithmic loss at the best
temperature: a strong penalty that finds the right directions makes probabilities too flat, which is easily mended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .minimizing import minimized
from .training_rows import TrainingRows, read

PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5)
"""λ in the mean loss plus λ / 2 times the squared coefficients; from each, the next starts, while held-out rows gain."""
LEAST_GAIN = 0.01
"""Share of the held-out loss: smaller gains are chance, and a choice by them would change with rounding."""
N_ITERATIONS = 12
"""Iterations of L-BFGS for each penalty."""
SHARPNESSES = tuple(np.geomspace(0.5, 8, 13))
"""Inverse temperatures."""
_REFIT_VALUES = 2**24
"""Features, or logits, of the rows of a refit at most."""


@dataclass(frozen=True)
class LogisticEstimator:
    """
    A fitted logistic regression on the first scaling of a row, whose layers it sums.

    Attributes
    ----------
    coefficients : Tensor of shape (d, K)
    offset : Tensor of shape (K,)
        Minus infinity for a class that came after the fit.
    layer_weights : Tensor of shape (layers,)
    """

    coefficients: Tensor
    offset: Tensor
    layer_weights: Tensor

    def to(self, like: Tensor | str) -> LogisticEstimator:
        """A copy on a tensor's device and in its precision, or on the device named."""
        return LogisticEstimator(self.coefficients.to(like), self.offset.to(like), self.layer_weights.to(like))

    def estimate(self, rows: Tensor) -> Tensor:
        """Class probabilities, which are coordinates of x̂0 along the codes, (B, views * layers, d) -> (B, K)."""
        return torch.softmax(_summed_layers(rows, self.layer_weights) @ self.coefficients + self.offset, dim=-1)

    def with_classes(self, order: np.ndarray) -> LogisticEstimator:
        """With new classes, which come last before they are put in this order, (K,)."""
        pad, index = (0, len(order) - len(self.offset)), torch.as_tensor(order, device=self.offset.device)
        return LogisticEstimator(
            torch.nn.functional.pad(self.coefficients, pad)[:, index],
            torch.nn.functional.pad(self.offset, pad, value=float("-inf"))[index],
            self.layer_weights,
        )


def _summed_layers(rows: Tensor, layer_weights: Tensor) -> Tensor:
    """(B, views * layers, d) -> (B, d)."""
    layers = rows[:, : len(layer_weights)]
    return layers[:, 0] if len(layer_weights) == 1 else torch.einsum("bld,l->bd", layers, layer_weights)


def fit_logistic(
    data: TrainingRows, numbers: np.ndarray, fold: np.ndarray, layer_weights: tuple[float, ...]
) -> tuple[LogisticEstimator, Tensor]:
    """
    Fit one regression for each fold to the rows outside of it; also probabilities (v, K) of the folds' rows by these.

    The rows to use are named by `numbers` (u,). The first v >= 1 of them are in folds (v,), and all regressions learn from the
    others. The estimator has the mean of their coefficients or, if there are more rows than those to use, goes on from there with
    all of them.
    """
    x = _read(data, numbers, layer_weights)
    folds, own = np.unique(fold, return_inverse=True)
    learns = np.ones((len(numbers), len(folds)), bool)
    learns[np.arange(len(fold)), own] = False
    targets, weight = data.targets[numbers].to(x), data.weight[numbers].to(x)
    chosen = _chosen(x, targets, weight, torch.as_tensor(learns, device=x.device), own)
    mean = chosen.coefficients.mean(1, keepdim=True)
    if len(data) > len(numbers) and chosen.penalty:
        mean = _refit(mean, data, layer_weights, chosen.penalty * float(learns.sum(0).mean()))
    mean = chosen.sharpness * mean[:, 0]
    return LogisticEstimator(mean[:-1], mean[-1], x.new_tensor(layer_weights)), chosen.held_out


@dataclass(frozen=True)
class _Choice:
    """Regressions of folds (d + 1, F, K) before they are sharpened, and probabilities (v, K) of rows they left out."""

    coefficients: Tensor
    held_out: Tensor
    penalty: float | None = None
    sharpness: float = 1.0


def _chosen(x: Tensor, targets: Tensor, weight: Tensor, learns: Tensor, own: np.ndarray) -> _Choice:
    """
    Regressions with the penalty and sharpness of least held-out loss; those that know nothing, if none is finite.

    `learns` says which rows (n, F) each regression learns from, `own` which of them tells each of the first v rows.
    """
    shares = weight[:, None] * learns
    shares /= shares.sum(0)
    place = torch.arange(len(own), device=x.device), torch.as_tensor(own, device=x.device)
    labels, importance = targets[: len(own)], weight[: len(own)]
    coefficients = x.new_zeros(x.shape[1] + 1, learns.shape[1], targets.shape[1])
    best, least = _Choice(coefficients, torch.full_like(labels, 1 / targets.shape[1])), float("inf")
    for penalty in PENALTIES:
        coefficients = _minimised(coefficients, x, targets, shares, penalty)
        logits = _logits(x[: len(own)], coefficients)[place]
        losses = {s: _log_loss(s * logits, labels, importance) for s in SHARPNESSES}
        sharpness = min(losses, key=losses.__getitem__)
        # Or not a number: features without a scaling can be so large.
        if not losses[sharpness] < (1 - LEAST_GAIN) * least:
            break
        least = losses[sharpness]
        best = _Choice(coefficients, torch.softmax(sharpness * logits, dim=-1), penalty, sharpness)
    return best


def _log_loss(logits: Tensor, targets: Tensor, weight: Tensor) -> float:
    """Of rows (n, K), summed."""
    return -float(weight @ (targets * torch.log_softmax(logits, dim=-1)).sum(1))


def _refit(start: Tensor, data: TrainingRows, layer_weights: tuple[float, ...], summed_penalty: float) -> Tensor:
    """Coefficients (d + 1, 1, K) of all rows, or of so many as memory allows; `summed_penalty` is not of a mean."""
    stride = -(-len(data) * max(data.rows[:1].shape[-1], data.targets.shape[1]) // _REFIT_VALUES)
    numbers = np.arange(0, len(data), stride)
    x = _read(data, numbers, layer_weights)
    shares = data.weight[::stride, None].to(x)
    shares /= shares.sum()
    return _minimised(start, x, data.targets[::stride].to(x), shares, summed_penalty / len(numbers))


def _read(data: TrainingRows, numbers: np.ndarray, layer_weights: tuple[float, ...]) -> Tensor:
    """What the regression reads of rows of numbers (n,), (n, d)."""
    weights = data.rows[:1].new_tensor(layer_weights)
    return read(data.rows, numbers, lambda rows: _summed_layers(rows, weights))


def _logits(x: Tensor, coefficients: Tensor) -> Tensor:
    """(n, d), (d + 1, F, K) -> (n, F, K)."""
    flat = coefficients.flatten(1)
    return (x @ flat[:-1] + flat[-1]).unflatten(1, coefficients.shape[1:])


def _minimised(start: Tensor, x: Tensor, targets: Tensor, shares: Tensor, penalty: float) -> Tensor:
    """Coefficients (d + 1, F, K), the last row the offsets, of F regressions that weigh the rows by shares (n, F)."""
    importance = shares[:, :, None] * targets[:, None]

    def loss(free: Tensor) -> Tensor:
        log_p = torch.log_softmax(_logits(x, free), dim=-1)
        return penalty / 2 * free[:-1].square().sum() - (importance * log_p).sum()

    return minimized(start, loss, N_ITERATIONS)
