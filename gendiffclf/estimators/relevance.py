"""Relevance of features: factors that stretch a kernel along the features on which its estimate of the code depends.

A kernel that treats all features alike needs many rows where few features matter. The mean squared derivative of its estimate
along a feature shows how much depends on that feature (the diagonal of the average gradient outer product, Radhakrishnan et al.
2024). Features are multiplied by its square root, the kernel is fitted anew, and so on for some rounds.

Among many features, an estimate hardly depends on those whose effect is no line, and rounds do not find them. So the first
estimate may have factors already, from what features explain alone and in pairs.

Factors are learned from the classes, so leave-one-out errors would be too optimistic. Factors learned from the rows outside
of a fold are therefore validated on the rows inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from .ridge import KERNELS, distances, kernel_values
from .selection import (
    BANDWIDTHS,
    CLOSE,
    DESCENT_ROWS,
    MIDDLE,
    PENALTIES,
    Choice,
    Place,
    Selection,
    chosen_by_others,
    descend,
    held_out_error,
)
from .training_rows import TrainingRows

LEARNING_ROWS = 500
"""Rows that factors are learned from at most: the cost grows with their square."""
ROUNDS = 3
N_FOLDS = 5
N_PROBES = 4
"""Sums of classes with random signs that stand for more classes than these in the derivatives."""
BEYOND_CHANCE = 2.0
"""Standard errors by which factors must be better than none."""
LEAST_FACTOR = 1e-3
MOST_PAIRED = 1000
"""Features at most of which pairs are looked at, at a cost that grows with their square."""
SIZES = len(BANDWIDTHS), len(PENALTIES), ROUNDS + 1, 2
"""Of the grid: bandwidths, penalties, rounds, and factors before the first round: none, or those of `screened`."""


def find_relevance(
    data: TrainingRows, folds: np.ndarray, kernels: Sequence[str], selection: Selection
) -> Choice | None:
    """
    Factors and hyperparameters with the least error of held-out folds; None, if no factors are better.

    The squares of the factors have mean 1. Held-out estimates of each fold's rows are by a regression on the rows outside, with
    the factors and hyperparameters that these choose.

    Rows are of shape (s, d). Folds (s,) with the same remainder modulo `N_FOLDS` are one; without two there are no factors.
    `selection` holds the best hyperparameters without factors, and those of the Gaussian kernel, which learns the factors.
    """
    rows = data.rows[:]
    data = replace(data, rows=rows - rows.mean(0))
    folds, start = folds % N_FOLDS, selection.gaussian
    if len(np.unique(folds[:DESCENT_ROWS])) < 2:  # one group may have them all
        return None

    def on(n_rows: int) -> _FoldScore:
        return _FoldScore(data[:n_rows], folds[:n_rows], start)

    few = on(DESCENT_ROWS)
    kernel, place = selection.settings.kernel, (*selection.place, 0, 0)
    # One round first: where all features matter, it makes things worse.
    # Few features of many need another penalty than all of them.
    first = min((*selection.place, 1, 0), (*selection.place, 1, 1), (*MIDDLE, 1, 1), key=partial(few, kernel))
    if not few.better(kernel, first, kernel, place):
        return None
    best, place_of_best = kernel, descend(partial(few, kernel), first, SIZES)
    for other in kernels:  # its best place is near that of the first
        if few(other, place_of_best) < CLOSE * few(best, place_of_best) and other != best:
            found = descend(partial(few, other), place_of_best, SIZES)
            if few(other, found) < few(best, place_of_best):
                best, place_of_best = other, found
    many, (i, j, n_rounds, screens) = few, place_of_best
    if len(data) > DESCENT_ROWS:
        many = on(len(data))
        # More rows may need a narrower kernel, and rounds find more by themselves.
        i = min(i, max(i - 1, 0), key=lambda i: many(best, (i, j, n_rounds, screens)))
        screens = min(screens, 0, key=lambda screens: many(best, (i, j, n_rounds, screens)))
    if not n_rounds + screens or not many.better(best, (i, j, n_rounds, screens), kernel, place):
        return None
    factors = screened(data) if screens else torch.ones_like(rows[0])
    for _ in range(n_rounds):
        factors = sharpened(factors, data, start)
    unit = distances(best, data.rows[:DESCENT_ROWS] * factors, data.weight)[1]
    bandwidth = unit ** (1 / KERNELS[best].power) * BANDWIDTHS[i]
    settings = replace(selection.settings, kernel=best, penalty=float(PENALTIES[j]), bandwidth=(float(bandwidth),))
    return Choice(settings, factors, many.held_out())


def sharpened(factors: Tensor, data: TrainingRows, start: Place) -> Tensor:
    """
    Factors (d,) after one more round, with the first `LEARNING_ROWS` of rows (n, d).

    The Gaussian kernel has the bandwidth and penalty of `start`.
    """
    data = data[:LEARNING_ROWS]
    scaled = data.rows[:] * factors
    gram = kernel_values("gaussian", *distances("gaussian", scaled, data.weight), BANDWIDTHS[start[0]])
    coefficients = _coefficients(gram, data, start[1])
    gram, squared = gram.to(scaled), torch.zeros_like(factors)
    for column in _probes(coefficients).to(scaled).mT:
        part = gram * column
        slope = torch.addmm(part.sum(1, keepdim=True) * scaled, part, scaled, alpha=-1)  # (n, d), but for a constant
        squared += data.weight.to(scaled) @ slope.square_()
    return _normalized(factors * squared.sqrt_())


def screened(data: TrainingRows) -> Tensor:
    """Factors (d,) from the shares of the targets that a parabola in a feature's ranks and products with others explain."""
    ranks = torch.as_tensor(rankdata(data.rows[:].cpu().numpy(), axis=0)).to(data.targets) / len(data)  # (n, d)
    weight = data.weight / data.weight.sum()
    centred = data.targets - data.offset
    line = _standardized(ranks, weight)
    curve = _standardized(line.square(), weight)
    curve = _standardized(curve - line * (weight @ (line * curve)), weight)
    explained = sum(((weight * centred.mT) @ part).square().sum(0) for part in (line, curve))  # (d,)
    by_chance = weight.square().sum()
    shares = (explained / (weight @ centred.square().sum(1)) - 2 * by_chance).clamp_min_(0)
    if 1 < line.shape[1] <= MOST_PAIRED:
        shares += _explained_by_products(line, _probes(centred), weight, by_chance)
    return _normalized(shares.sqrt_().to(data.rows[:1]))


def _explained_by_products(columns: Tensor, centred: Tensor, weight: Tensor, by_chance: Tensor) -> Tensor:
    """
    Share of the targets that the products of each standardised column (n, d) with the others explain, (d,).

    Pairs count by how much they exceed the most that so many would explain by chance (Donoho and Johnstone 1994).
    """
    targets, columns, weight = centred.to(torch.float32), columns.float(), weight.float()[:, None]
    variance = (weight * columns.square()).mT @ columns.square() - ((weight * columns).mT @ columns).square()
    explained = sum(((weight * target[:, None] * columns).mT @ columns).square() for target in targets.mT)
    shares = explained / (variance.clamp_min(1e-3) * (weight.mT @ targets.square()).sum())
    n_pairs = len(shares) * (len(shares) - 1) / 2
    shares = (shares - 2 * float(np.log(n_pairs)) * by_chance.float()).clamp_min_(0)
    return (shares.sum(1) - shares.diagonal()).to(centred)


def _probes(targets: Tensor) -> Tensor:
    """Targets (n, K), or a few sums of them with random signs if there are more."""
    if targets.shape[1] <= N_PROBES:
        return targets
    signs = torch.randint(0, 2, (targets.shape[1], N_PROBES), generator=torch.Generator().manual_seed(0))
    return targets @ (2 * signs - 1).to(targets)


def _standardized(columns: Tensor, weight: Tensor) -> Tensor:
    """Columns (n, d) of mean 0 and variance 1; of 0 where they are constant."""
    columns = columns - weight @ columns
    return columns / (weight @ columns.square()).sqrt().clamp_min(1e-6)


def _normalized(factors: Tensor) -> Tensor:
    """Factors (d,) whose squares have mean 1; ones if all are 0."""
    factors = (factors / factors.square().mean().sqrt()).nan_to_num_(1.0).clamp_min_(LEAST_FACTOR)
    return factors / factors.square().mean().sqrt()


def _coefficients(gram: Tensor, data: TrainingRows, penalty: int) -> Tensor:
    """Of a regression on the rows with these kernel values, (s, K); 0 where it has no solution."""
    centred = data.targets - data.offset
    factor, failed = torch.linalg.cholesky_ex(gram + torch.diag(PENALTIES[penalty] / data.weight))
    return torch.zeros_like(centred) if failed else torch.cholesky_solve(centred, factor)


class _FoldScore:
    """Error of the rows of folds by regressions on the rows outside, computed once for each choice."""

    def __init__(self, data: TrainingRows, folds: np.ndarray, start: Place) -> None:
        self._data, self._folds, self._start = data, folds, start
        self._centred = data.targets - data.offset
        outside = [folds != fold for fold in np.unique(folds)]
        self._numbers = [[torch.as_tensor(np.flatnonzero(x)).to(data.weight.device) for x in (~o, o)] for o in outside]
        """Of the rows inside of each fold, and outside."""
        self._learnt = [data[rows] for rows in outside]
        self._estimates: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self._factors, self._distances = cache(self._learned), cache(self._measured)

    def __call__(self, kernel: str, place: tuple[int, ...]) -> float:
        """The error of a kernel at a place of the grid of `SIZES`."""
        return held_out_error(self.estimates(kernel, place), self._centred, self._data.weight)

    def better(self, kernel: str, place: tuple[int, ...], other: str, other_place: tuple[int, ...]) -> bool:
        """Whether the squared error of a choice is less than that of another by more than chance."""
        gain = self._squared_errors(other, other_place) - self._squared_errors(kernel, place)
        of_groups = (gain * self._data.weight).cpu().numpy()
        if self._data.groups is not None:
            of_groups = np.bincount(np.unique(self._data.groups, return_inverse=True)[1], of_groups)
        return of_groups.sum() > BEYOND_CHANCE * of_groups.std(ddof=1) * len(of_groups) ** 0.5

    def _squared_errors(self, kernel: str, place: tuple[int, ...]) -> Tensor:
        """Of each row, with the factor that is best for all, (s,)."""
        found = self.estimates(kernel, place)
        weight = self._data.weight
        size = weight @ found.square().sum(1)
        factor = weight @ (found * self._centred).sum(1) / size.clamp_min(1e-300)
        return (factor.clamp_min(0) * found - self._centred).square().sum(1)

    def held_out(self) -> Tensor:
        """Estimates of each fold's rows by the choice, among those compared, that the other rows make, (s, K)."""
        estimates = list(self._estimates.values())
        return chosen_by_others(estimates, self._centred, self._data.weight, self._folds) + self._data.offset

    def estimates(self, kernel: str, place: tuple[int, ...]) -> Tensor:
        """Estimates of all rows by regressions that did not learn from them, without the mean of the targets, (s, K)."""
        if (kernel, place) not in self._estimates:
            found, offset = torch.empty_like(self._centred), self._data.offset
            for fold, ((inside, outside), learnt) in enumerate(zip(self._numbers, self._learnt, strict=True)):
                gram = self._gram(kernel, fold, place).index_select(1, outside)
                coefficients = _coefficients(gram.index_select(0, outside), learnt, place[1])
                found[inside] = gram.index_select(0, inside) @ coefficients + learnt.offset - offset
            self._estimates[kernel, place] = found
        return self._estimates[kernel, place]

    def _gram(self, kernel: str, fold: int, place: tuple[int, ...]) -> Tensor:
        return kernel_values(kernel, *self._distances(kernel, fold, *place[2:]), BANDWIDTHS[place[0]])

    def _measured(self, kernel: str, fold: int, n_rounds: int, screens: int) -> tuple[Tensor, float]:
        """Distances of all rows with the factors of a fold."""
        if fold and not n_rounds + screens:
            return self._distances(kernel, 0, 0, 0)
        return distances(kernel, self._data.rows[:] * self._factors(fold, n_rounds, screens), self._data.weight)

    def _learned(self, fold: int, n_rounds: int, screens: int) -> Tensor:
        """Factors learned from the rows outside of a fold."""
        if n_rounds:
            return sharpened(self._factors(fold, n_rounds - 1, screens), self._learnt[fold], self._start)
        return screened(self._learnt[fold]) if screens else torch.ones_like(self._data.rows[0])
