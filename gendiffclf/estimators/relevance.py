"""Relevance of features: factors that stretch a kernel along the features on which its estimate of the code depends.

A kernel that treats all features alike needs many rows where few features matter. The mean squared derivative of its estimate
along a feature shows how much depends on that feature (the diagonal of the average gradient outer product, Radhakrishnan et al.
2024). Features are multiplied by its square root, the kernel is fitted anew, and so on for some rounds.

Factors are learned from the classes, so leave-one-out errors would be too optimistic. Factors learned from the rows outside
of a fold are therefore validated on the rows inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from .ridge import KERNELS, distances, kernel_values, weighted_mean
from .selection import (
    BANDWIDTHS,
    CLOSE,
    DESCENT_ROWS,
    PENALTIES,
    Place,
    Selection,
    chosen_by_others,
    descend,
    held_out_error,
)

LEARNING_ROWS = 500
"""Rows that factors are learned from at most: the cost grows with their square."""
ROUNDS = 3
N_FOLDS = 5
N_PROBES = 4
"""Sums of classes with random signs that stand for more classes than these in the derivatives."""
BEYOND_CHANCE = 2.0
"""Standard errors by which factors must be better than none."""
LEAST_FACTOR = 1e-3


@dataclass(frozen=True)
class Relevance:
    """
    Factors of features, and the hyperparameters that go with them.

    Attributes
    ----------
    factors : Tensor of shape (d,)
        Their squares have mean 1.
    kernel : str
    bandwidth : float
        In units of the features multiplied by their factors.
    penalty : float
    held_out : Tensor of shape (s, K)
        Estimates of each fold's rows by a regression on the rows outside, with the factors and hyperparameters that these
        choose.
    """

    factors: Tensor
    kernel: str
    bandwidth: float
    penalty: float
    held_out: Tensor


def find_relevance(
    rows: Tensor,
    targets: Tensor,
    weight: Tensor,
    folds: np.ndarray,
    kernels: Sequence[str],
    selection: Selection,
    groups: np.ndarray | None = None,
) -> Relevance | None:
    """
    Factors and hyperparameters with the least error of held-out folds; None, if no factors are better.

    Parameters
    ----------
    rows : Tensor of shape (s, d)
    targets : Tensor of shape (s, K)
    weight : Tensor of shape (s,)
    folds : ndarray of shape (s,), int
        Numbers with the same remainder modulo `N_FOLDS` are one fold. Without two folds there are no factors.
    kernels : sequence of str
        To choose from.
    selection : Selection
        Best hyperparameters without factors, and those of the Gaussian kernel, which learns the factors.
    groups : ndarray of shape (s,), optional
        Rows of one group are no independent evidence.
    """
    folds, start, rows = folds % N_FOLDS, selection.gaussian, rows - rows.mean(0)
    if len(np.unique(folds[:DESCENT_ROWS])) < 2:  # one group may have them all
        return None

    def on(n_rows: int) -> _FoldScore:
        first = slice(0, n_rows)
        return _FoldScore(
            rows[first], targets[first], weight[first], folds[first], start, None if groups is None else groups[first]
        )

    few = on(DESCENT_ROWS)
    kernel, place = selection.settings.kernel, (*selection.place, 0)
    # One round first: where all features matter, it makes things worse.
    if not few.better(kernel, (*selection.place, 1), kernel, place):
        return None
    sizes = len(BANDWIDTHS), len(PENALTIES), ROUNDS + 1
    best, place_of_best = kernel, descend(partial(few, kernel), (*selection.place, 1), sizes)
    for other in kernels:  # its best place is near that of the first
        if few(other, place_of_best) < CLOSE * few(best, place_of_best) and other != best:
            found = descend(partial(few, other), place_of_best, sizes)
            if few(other, found) < few(best, place_of_best):
                best, place_of_best = other, found
    many, (i, j, n_rounds) = few, place_of_best
    if len(rows) > DESCENT_ROWS:
        many = on(len(rows))
        # More rows may need a narrower kernel
        i = min(i, max(i - 1, 0), key=lambda i: many(best, (i, j, n_rounds)))
    if not n_rounds or not many.better(best, (i, j, n_rounds), kernel, place):
        return None
    factors = torch.ones_like(rows[0])
    for _ in range(n_rounds):
        factors = sharpened(factors, rows, targets, weight, start)
    unit = distances(best, rows[:DESCENT_ROWS] * factors, weight)[1]
    bandwidth = unit ** (1 / KERNELS[best].power) * BANDWIDTHS[i]
    return Relevance(factors, best, float(bandwidth), float(PENALTIES[j]), many.held_out())


def sharpened(factors: Tensor, rows: Tensor, targets: Tensor, weight: Tensor, start: Place) -> Tensor:
    """
    Factors after one more round.

    Parameters
    ----------
    factors : Tensor of shape (d,)
    rows : Tensor of shape (n, d)
        The first `LEARNING_ROWS` are used.
    targets : Tensor of shape (n, K)
    weight : Tensor of shape (n,)
    start : Place
        Bandwidth and penalty of the Gaussian kernel, by their places in the grids.
    """
    scaled, targets, weight = rows[:LEARNING_ROWS] * factors, targets[:LEARNING_ROWS], weight[:LEARNING_ROWS]
    gram = kernel_values("gaussian", *distances("gaussian", scaled, weight), BANDWIDTHS[start[0]])
    coefficients, _ = _fit(gram, targets, weight, torch.ones_like(weight, dtype=torch.bool), start[1])
    if coefficients.shape[1] > N_PROBES:
        signs = torch.randint(0, 2, (coefficients.shape[1], N_PROBES), generator=torch.Generator().manual_seed(0))
        coefficients = coefficients @ (2 * signs - 1).to(coefficients)
    gram, squared = gram.to(scaled), torch.zeros_like(factors)
    for column in coefficients.to(scaled).mT:
        part = gram * column
        slope = torch.addmm(part.sum(1, keepdim=True) * scaled, part, scaled, alpha=-1)  # (n, d), but for a constant
        squared += weight.to(scaled) @ slope.square_()
    found = factors * squared.sqrt_()
    found = (found / found.square().mean().sqrt()).nan_to_num_(1.0).clamp_min_(LEAST_FACTOR)
    return found / found.square().mean().sqrt()


def _fit(gram: Tensor, targets: Tensor, weight: Tensor, learns: Tensor, penalty: int) -> tuple[Tensor, Tensor]:
    """Coefficients and offset of a regression on some of the rows (s,); no coefficients where it has no solution."""
    inner, offset = gram[learns][:, learns], weighted_mean(targets[learns], weight[learns])
    inner.diagonal().add_(PENALTIES[penalty] / weight[learns])
    centred = targets[learns] - offset
    factor, failed = torch.linalg.cholesky_ex(inner)
    return torch.zeros_like(centred) if failed else torch.cholesky_solve(centred, factor), offset


class _FoldScore:
    """Error of the rows of folds by regressions on the rows outside, computed once for each choice."""

    def __init__(
        self,
        rows: Tensor,
        targets: Tensor,
        weight: Tensor,
        folds: np.ndarray,
        start: Place,
        groups: np.ndarray | None,
    ) -> None:
        self._rows, self._targets, self._weight, self._start, self._fold = rows, targets, weight, start, folds
        self._offset = weighted_mean(targets, weight)
        self._centred = targets - self._offset
        self._folds = [torch.as_tensor(folds == fold, device=rows.device) for fold in np.unique(folds)]
        self._groups = np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1]
        self._estimates: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self._factors, self._distances = cache(self._learned), cache(self._measured)

    def __call__(self, kernel: str, place: tuple[int, ...]) -> float:
        """The error of a kernel at a place of the grid of bandwidths, penalties and rounds."""
        return held_out_error(self.estimates(kernel, place), self._centred, self._weight)

    def better(self, kernel: str, place: tuple[int, ...], other: str, other_place: tuple[int, ...]) -> bool:
        """Whether the squared error of a choice is less than that of another by more than chance."""
        gain = self._squared_errors(other, other_place) - self._squared_errors(kernel, place)
        of_groups = np.bincount(self._groups, (gain * self._weight).cpu().numpy())
        return of_groups.sum() > BEYOND_CHANCE * of_groups.std(ddof=1) * len(of_groups) ** 0.5

    def _squared_errors(self, kernel: str, place: tuple[int, ...]) -> Tensor:
        """Of each row, with the factor that is best for all, (s,)."""
        found = self.estimates(kernel, place)
        size = self._weight @ found.square().sum(1)
        factor = self._weight @ (found * self._centred).sum(1) / size.clamp_min(1e-300)
        return (factor.clamp_min(0) * found - self._centred).square().sum(1)

    def held_out(self) -> Tensor:
        """Estimates of each fold's rows by the choice, among those compared, that the other rows make, (s, K)."""
        estimates = list(self._estimates.values())
        return chosen_by_others(estimates, self._centred, self._weight, self._fold) + self._offset

    def estimates(self, kernel: str, place: tuple[int, ...]) -> Tensor:
        """Estimates of all rows by regressions that did not learn from them, without the mean of the targets, (s, K)."""
        if (kernel, place) not in self._estimates:
            found = torch.empty_like(self._targets)
            for fold, own in enumerate(self._folds):
                gram = kernel_values(kernel, *self._distances(kernel, fold, place[2]), BANDWIDTHS[place[0]])
                coefficients, offset = _fit(gram, self._targets, self._weight, ~own, place[1])
                found[own] = gram[own][:, ~own] @ coefficients + offset - self._offset
            self._estimates[kernel, place] = found
        return self._estimates[kernel, place]

    def _measured(self, kernel: str, fold: int, n_rounds: int) -> tuple[Tensor, float]:
        """Distances of all rows with the factors of a fold."""
        if fold and not n_rounds:
            return self._distances(kernel, 0, 0)
        return distances(kernel, self._rows * self._factors(fold, n_rounds), self._weight)

    def _learned(self, fold: int, n_rounds: int) -> Tensor:
        """Factors learned from the rows outside of a fold."""
        if not n_rounds:
            return torch.ones_like(self._rows[0])
        outside = ~self._folds[fold]
        of_before = self._factors(fold, n_rounds - 1)
        return sharpened(of_before, self._rows[outside], self._targets[outside], self._weight[outside], self._start)
