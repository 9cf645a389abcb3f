"""Normal distributions of the classes, each with its own covariance: regularised discriminant analysis (Friedman 1989).

Kernel, network and logistic regression learn what sets classes apart. Where a class is known by how much its features vary, or
how they vary together, that takes many rows; a covariance takes few, if those of all classes help. Where classes are of other
shapes this is a poor estimate, and left out: it joins the others as a factor if their product is better on held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from .combination import pooled_loss
from .selection import descend
from .training_rows import TrainingRows, blocks, read

PRIOR_ROWS = 3.0, 10.0, 30.0, 100.0, 300.0
"""Rows that the pooled covariance counts for in that of a class."""
DIAGONAL_SHARES = 0.02, 0.2
"""Of the pooled variances, without correlations, in each covariance."""
LEAST_VARIANCE = 1e-4
"""Added to variances of scaled features, which may be constant within a class."""
SHARPNESSES = 1.0, 0.5, 0.25, 0.12
"""Inverse temperatures: features that are not normal tell less than their densities say."""
MOST_VALUES = 2**20
"""Of the covariances at most."""
LEAST_GAIN = 5.0
"""Least fall of the summed log-loss, in nats: more than for trees, as the same rows choose among many distributions."""
_CHOICE_VALUES, _CHOICE_ROWS = 2**27, 1000
"""Values in the densities of a choice at most: with more, only some of the held-out rows choose, but so many at least."""
_CENTER_ROWS = 100
"""Rows whose mean is taken off before sums of products, which else would round off what is far from 0."""
_CHOICES = 20
"""Of distributions, for an estimate of the time that they take."""
_START = 0, 2, 1
"""Of the choice: the first scaling, and places in `PRIOR_ROWS` and `DIAGONAL_SHARES`."""


@dataclass(frozen=True)
class GaussianEstimator:
    """
    Fitted normal distributions, of one scaling of a row of one layer.

    Attributes
    ----------
    view : int
        The scaling.
    mean : Tensor of shape (K, d)
    whitening : Tensor of shape (K, d, d)
        Maps differences to the mean of a class, to values whose squares add to minus twice the density's exponent.
    offset : Tensor of shape (K,)
        Logits at the means; minus infinity for a class that came after the fit.
    """

    view: int
    mean: Tensor
    whitening: Tensor
    offset: Tensor

    def to(self, like: Tensor | str) -> GaussianEstimator:
        """A copy on a tensor's device and in its precision, or on the device named."""
        return GaussianEstimator(self.view, self.mean.to(like), self.whitening.to(like), self.offset.to(like))

    def logits(self, rows: Tensor) -> Tensor:
        """Logarithms of densities times class frequencies, but for a constant, (B, views, d) -> (B, K)."""
        apart = rows[:, self.view] - self.mean[:, None]  # (K, B, d)
        return self.offset - (apart @ self.whitening).square().sum(-1).mT / 2

    def estimate(self, rows: Tensor) -> Tensor:
        """Class probabilities, which are coordinates of x̂0 along the codes, (B, views, d) -> (B, K)."""
        return torch.softmax(self.logits(rows), dim=-1)

    def sharpened(self, factor: float) -> GaussianEstimator:
        """With logits multiplied by a factor."""
        return replace(self, whitening=self.whitening * factor**0.5, offset=self.offset * factor)

    def with_classes(self, order: np.ndarray) -> GaussianEstimator:
        """With new classes, which come last before they are put in this order, (K,)."""
        n_new, index = len(order) - len(self.offset), torch.as_tensor(order, device=self.offset.device)
        pad = torch.nn.functional.pad
        return GaussianEstimator(
            self.view,
            pad(self.mean, (0, 0, 0, n_new))[index],
            pad(self.whitening, (0, 0, 0, 0, 0, n_new))[index],
            pad(self.offset, (0, n_new), value=float("-inf"))[index],
        )


@dataclass(frozen=True)
class _Sums:
    """Over rows, less a centre (V, 1, d), of each class: weights (K,), and of each scaling values (V, K, d) and products."""

    center: Tensor
    weight: Tensor
    values: Tensor
    products: Tensor

    def without(self, other: _Sums) -> _Sums:
        """Of the rows that the other, a part of these, lacks."""
        pairs = ((self.weight, other.weight), (self.values, other.values), (self.products, other.products))
        return _Sums(self.center, *(whole - part for whole, part in pairs))


def suitable(data: TrainingRows, n_views: int) -> bool:
    """Whether covariances are worth their time for these rows (n, views * layers, d): classes have d of them on average."""
    n_classes, (n_parts, d) = data.targets.shape[1], data.rows[:1].shape[1:]
    return n_parts == n_views and len(data) >= n_classes * d and n_classes * d**2 <= MOST_VALUES


def fit_gaussian(
    data: TrainingRows,
    train: Sequence[np.ndarray],
    validation: np.ndarray,
    fold: np.ndarray,
    others: Tensor,
    evidence: Tensor,
    is_short_of: Callable[[float], bool],
) -> tuple[GaussianEstimator, Tensor] | None:
    """
    Fit distributions to rows (n, views, d), and for each fold others, with probabilities (v, K) of its rows by these, on the CPU.

    None if a product with them is not clearly better than the probabilities `others`, or if time `is_short_of` the seconds that
    they take. The other arguments are as for `fit_trees`.
    """
    every, folds = np.arange(len(data)), np.unique(fold)
    total = _summed(data, every)
    of_folds = {k: total.without(_summed(data, np.setdiff1d(every, train[k]))) for k in folds}
    targets = data.targets[validation].cpu()
    of_row = total.products[0].numel() + 16 * total.values[0].numel()
    stride = -(-len(validation) // max(_CHOICE_VALUES // of_row, _CHOICE_ROWS))
    asked = np.arange(0, len(validation), stride)
    rows = read(data.rows, validation[asked], lambda rows: rows.cpu().double())
    weight = evidence[asked].cpu()

    @cache
    def chosen(place: tuple[int, ...]) -> tuple[float, float]:
        """Log-loss of the rows asked for, and the sharpness for which it is least."""
        logits = torch.empty(len(asked), targets.shape[1]).to(targets)
        for k in folds:
            part = fold[asked] == k
            logits[part] = _estimator(of_folds[k], place).logits(rows[part])
        losses = (
            -weight @ (targets[asked] * torch.log_softmax(s * logits, -1).clamp_min(-99)).sum(1) for s in SHARPNESSES
        )
        return min(zip(map(float, losses), SHARPNESSES, strict=True))

    begin = perf_counter()
    chosen(_START)
    if is_short_of(_CHOICES * (perf_counter() - begin)):
        return None
    place = descend(lambda place: chosen(place)[0], _START, (rows.shape[1], len(PRIOR_ROWS), len(DIAGONAL_SHARES)))
    sharpness = chosen(place)[1]
    held_out = torch.empty_like(targets)
    for k in folds:
        estimator = _estimator(of_folds[k], place).sharpened(sharpness)
        of_fold = np.flatnonzero(fold == k)
        for block, part in blocks(data.rows, validation[of_fold], 4 * estimator.mean.numel()):
            held_out[of_fold[part]] = estimator.estimate(block.cpu().double())
    gain = pooled_loss([others], targets, evidence) - pooled_loss([others, held_out], targets, evidence)
    if not gain > LEAST_GAIN:  # nor where it is no number
        return None
    return _estimator(total, place).sharpened(sharpness).to(data.rows[:1].cpu()), held_out


def _summed(data: TrainingRows, numbers: np.ndarray) -> _Sums:
    """Over rows of numbers (n,)."""
    n_classes, (n_views, d) = data.targets.shape[1], data.rows[:1].shape[1:]
    zeros = partial(torch.zeros, dtype=torch.float64)
    center = data.rows[:_CENTER_ROWS].cpu().double().mean(0)[:, None]
    sums = _Sums(center, zeros(n_classes), zeros(n_views, n_classes, d), zeros(n_views, n_classes, d, d))
    y, weight = data.y.cpu().numpy()[numbers], data.weight.cpu()[numbers]
    for rows, part in blocks(data.rows, numbers):
        for k in np.unique(y[part]):
            own = y[part] == k
            x, w = rows[own].cpu().double().swapaxes(0, 1) - center, weight[part][own]  # (views, b, d), (b,)
            sums.weight[k] += w.sum()
            sums.values[:, k] += w @ x
            sums.products[:, k] += (w[:, None] * x).mT @ x
    return sums


def _estimator(sums: _Sums, place: tuple[int, ...]) -> GaussianEstimator:
    """Distributions of a scaling, a place in `PRIOR_ROWS` and one in `DIAGONAL_SHARES`."""
    view, prior, share = place[0], PRIOR_ROWS[place[1]], DIAGONAL_SHARES[place[2]]
    n = sums.weight.clamp_min(0)[:, None]  # (K, 1)
    mean = sums.values[view] / n.clamp_min(1e-12)
    scatter = sums.products[view] - n[:, None] * mean[:, :, None] * mean[:, None]
    pooled = scatter.sum(0) / (n.sum() - len(n)).clamp_min(1)
    covariance = (scatter + prior * pooled) / ((n - 1).clamp_min(0) + prior)[:, None]
    variances = pooled.diagonal().clamp_min(0) * share + LEAST_VARIANCE
    root, failed = torch.linalg.cholesky_ex((1 - share) * covariance + variances.diag())
    identity = torch.eye(root.shape[-1], dtype=root.dtype)
    whitening = torch.linalg.solve_triangular(root.mT, identity, upper=True)
    offset = (n / n.sum()).log()[:, 0] - root.diagonal(dim1=1, dim2=2).log().sum(1)
    absent = (n[:, 0] < 1e-9) | (failed > 0)
    return GaussianEstimator(
        view,
        mean + sums.center[view],
        whitening.masked_fill(absent[:, None, None], 0),
        offset.masked_fill(absent, float("-inf")),
    )
