"""Target matching in closed form: kernel ridge regression onto the codes, with held-out estimates that cost no refit.

At t = T, Eq. 8 is least squares onto the codes. In the function space of a kernel its minimiser is known:

    x̂0(x) = x̄0 + k(x, C) α,    α = (K + λ W⁻¹)⁻¹ (X0 - x̄0)                        with all rows as centres C
                                α = (K_nmᵀ W K_nm + λ K_mm)⁻¹ K_nmᵀ W (X0 - x̄0)       with m of them (Nyström)

with the rows' weights W. The codes are orthogonal and of one norm, so this is done in their coordinates: targets are one-hot,
(n, K) instead of (n, L), and estimates are the projections onto codes that the read-out needs.

Leaving a row out changes its residual in closed form: it becomes `G r / G_ii` with `G = (K + λ W⁻¹)⁻¹`, or `r / (1 - h_i)` with
the leverage h_i, where a row that is one of few centres is left out as a centre too; for a group that is left out, the same with
the group's diagonal block (Cawley and Talbot 2003; Pahikkala et al. 2008). Bandwidth, penalty, kernel, scaling of the features
and the weights of layers are chosen by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from torch import Tensor

from .kernel_estimator import KernelEstimator
from .nystrom import NystromSums
from .relevance import LEARNING_ROWS, find_relevance
from .ridge import KERNELS, solve
from .selection import (
    BANDWIDTH_STEP,
    PENALTIES,
    PENALTY_STEP,
    SELECTION_ROWS,
    Choice,
    Place,
    descend,
    held_out_error,
    select,
)
from .training_rows import TrainingRows

EXACT_ROWS = 8000
"""Up to so many rows all of them are centres; beyond, `NYSTROM_CENTERS` of them."""
NYSTROM_CENTERS = 2000
DOUBLED_ROWS = 20_000
"""Rows up to which there are twice as many where that pays; of more rows it would take minutes."""
_WORTH_DOUBLING = 0.1, 0.005
"""Gain over `_REFINING` centres from which it pays: as a share of their error, or of what they explain, and at least."""
LEAST_CENTERS = 250
"""Where time is short; also the rows that then choose hyperparameters."""
HELD_OUT_ROWS = 20_000
"""Held-out estimates are of at most so many rows, evenly spread."""
_REFINING = 1000, 5
"""
Centres at most, and rows for each, with which bandwidth and penalty for Nyström's centres are chosen.

Fewer than `LEAST_CENTERS` have the rows of so many, as a choice on a few rows would be by chance.
"""
_STEPS = 4
"""Steps of their grids at most that both may go from the choice of all rows as centres."""


@dataclass(frozen=True)
class KernelFit:
    """
    A fit with what it makes of rows that it did not learn from.

    `held_out` (s, K) is the estimate of each of the rows `index` (s,) without it, or without its group, and `error` that of these
    estimates, see `held_out_error`.
    """

    estimator: KernelEstimator
    choice: Choice
    index: np.ndarray
    held_out: Tensor
    error: float

    @property
    def wants_more_centers(self) -> bool:
        """Whether twice as many may be expected to have much less error."""
        share, least = _WORTH_DOUBLING
        error = self.choice.error
        return error - self.error > max(share * min(error, 1 - error), least)


def most_centers(n_rows: int, n_centers: int | None = None) -> int:
    """Number of centres of so many rows at most; by default all rows up to `EXACT_ROWS`, else `NYSTROM_CENTERS`."""
    default = n_rows if n_rows <= EXACT_ROWS else NYSTROM_CENTERS
    return min(n_rows, default if n_centers is None else n_centers)


def fit_kernel(
    data: TrainingRows,
    *,
    kernels: Sequence[str] = tuple(KERNELS),
    n_views: int = 1,
    n_centers: int | None = None,
    n_selection: int | None = None,
    folds: np.ndarray | None = None,
    choice: Choice | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
    part: Callable[[int], slice] = slice,
) -> KernelFit:
    """
    Regress onto the codes in closed form, with hyperparameters chosen by leaving rows (or groups) out.

    Parameters
    ----------
    data : TrainingRows
        The first of them select hyperparameters and are Nyström's centres.
    kernels : sequence of str
        Keys of `KERNELS` to choose from.
    n_views : int
        Scalings that rows come in, to choose from.
    n_centers : int, optional
        Centres at most; see `most_centers` for the default.
    n_selection : int, optional
        Rows at most that select hyperparameters; never more than `SELECTION_ROWS`.
    folds : ndarray of shape (s,), int, optional
        Of the rows that select hyperparameters: for factors of features, and, where all rows are centres and select, for
        held-out estimates by the choice of the other folds.
    choice : Choice, optional
        Of an earlier fit to these rows.
    reduce, part : callable
        As of `NystromSums`.
    """
    n = len(data)
    m = most_centers(n, n_centers)
    if choice is None:
        choice = _chosen(data, kernels, n_views, folds, n_selection, exact=n == m)
        if m < n:
            choice = _refined(choice, data, n_views, m)
    offset = data.offset
    estimator = _estimator(choice, data.rows[:m], n_views, offset)
    if m == n:
        index, held_out = np.arange(n), _exact(estimator, data)
    else:
        index = np.arange(0, n, -(-n // HELD_OUT_ROWS))
        held_out = NystromSums(estimator, data, reduce, part).held_out(index, data.groups)
    error = held_out_error(held_out - offset, data.targets[index] - offset, data.weight[index])
    if choice.held_out is not None:
        first = index < len(choice.held_out)
        held_out[first] = choice.held_out[index[first]]
    return KernelFit(estimator, choice, index, held_out, error)


def _chosen(
    data: TrainingRows,
    kernels: Sequence[str],
    n_views: int,
    folds: np.ndarray | None,
    n_selection: int | None,
    *,
    exact: bool,
) -> Choice:
    """
    Hyperparameters, factors of features, and estimates of the first rows that had no part in either.

    These are all rows where they are few, else those that taught factors. Leaving single ones out would not tell how good the
    choice of many, or what they taught, will be for new rows.
    """
    few = exact and len(data) <= SELECTION_ROWS
    first = data[: min(SELECTION_ROWS, n_selection or SELECTION_ROWS)]
    seen = first.rows[:].unflatten(1, (n_views, -1))  # (s, views * layers, d) -> (s, views, layers, d)
    selection = select(replace(first, rows=seen), kernels, folds if few else None)
    found = None
    # Held-out estimates from folds are of no use where the fit has fewer centers than these.
    if folds is not None and seen.shape[2] == 1 and (few or len(data) > SELECTION_ROWS):
        first = replace(first, rows=seen[:, selection.settings.view, 0])
        found = find_relevance(first, folds[: len(first)], kernels, selection)
    if found is None:
        return Choice(selection.settings, None, selection.held_out)
    return found if few or found.held_out is None else replace(found, held_out=found.held_out[:LEARNING_ROWS])


def _refined(choice: Choice, data: TrainingRows, n_views: int, m: int) -> Choice:
    """
    A choice for m centres: they lie further apart than all rows, with which the bandwidth was chosen, and need a wider kernel.

    Another bandwidth and penalty are found by a descent over their grids, with few centres and rows.
    """
    m = min(m, _REFINING[0])
    n = min(len(data), _REFINING[1] * max(m, LEAST_CENTERS))
    centers, offset, groups = data.rows[:m], data.offset, None if data.groups is None else data.groups[:n]

    def changed(place: Place) -> Choice:
        settings, wider, penalty = choice.settings, BANDWIDTH_STEP ** place[0], PENALTY_STEP ** (place[1] - _STEPS)
        bandwidth = tuple(x * wider for x in settings.bandwidth)
        penalty = max(settings.penalty * penalty, PENALTIES[0])
        return replace(choice, settings=replace(settings, bandwidth=bandwidth, penalty=penalty))

    @cache
    def score(place: Place) -> float:
        estimator = _estimator(changed(place), centers, n_views, offset)
        held_out = NystromSums(estimator, data, part=lambda _: slice(n)).held_out(np.arange(n), groups)
        return held_out_error(held_out - offset, data.targets[:n] - offset, data.weight[:n])

    place = descend(score, (0, _STEPS), (_STEPS + 1, 2 * _STEPS + 1))
    return replace(changed(place), error=score(place))


def _estimator(choice: Choice, centers: Tensor, n_views: int, offset: Tensor) -> KernelEstimator:
    """An estimator with these scaled rows as centres, without coefficients."""
    nothing = offset.new_zeros(())
    estimator = KernelEstimator(choice.settings, n_views, nothing, nothing, nothing, offset, nothing, choice.relevance)
    seen = estimator.view(centers)
    estimator.origin = seen.mean(0)
    estimator.centers = seen - estimator.origin
    return estimator


def _exact(estimator: KernelEstimator, data: TrainingRows) -> Tensor:
    """Fit with all rows as centres; the estimate of each row without it, or without its group, (n, K)."""
    centers = estimator.centers.to(data.targets)
    gram = estimator.settings.gram(centers, centers)
    gram.diagonal().add_(estimator.settings.penalty / data.weight)
    estimator.coefficients, residual = solve(gram, data.targets - estimator.offset, data.groups)
    estimator.center_weight = data.weight
    return data.targets - residual
