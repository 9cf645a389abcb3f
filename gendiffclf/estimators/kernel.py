"""Target matching in closed form: kernel ridge regression onto the codes, with held-out estimates that cost no refit.

At t = T, Eq. 8 is least squares onto the codes. In the function space of a kernel its minimiser is known:

    x̂0(x) = x̄0 + k(x, C) α,    α = (K + λ W⁻¹)⁻¹ (X0 - x̄0)                        with all rows as centres C
                                α = (K_nmᵀ W K_nm + λ K_mm)⁻¹ K_nmᵀ W (X0 - x̄0)       with m of them (Nyström)

with the rows' weights W. The codes are orthogonal and of one norm, so this is done in their coordinates: targets are one-hot,
(n, K) instead of (n, L), and estimates are the projections onto codes that the read-out wants.

Leaving a row out changes its residual in closed form: it becomes `G r / G_ii` with `G = (K + λ W⁻¹)⁻¹`, or `r / (1 - h_i)` with
the leverage h_i; for a group that is left out, the same with the group's diagonal block (Cawley and Talbot 2003; Pahikkala et
al. 2008). Bandwidth, penalty, kernel, scaling of the features and the weights of layers are chosen by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .kernel_estimator import KernelEstimator
from .relevance import LEARNING_ROWS, find_relevance
from .ridge import KERNELS, KernelSettings, rows_of_groups, solve, weighted_mean
from .selection import SELECTION_ROWS, select

EXACT_ROWS = 4500
"""Up to so many rows all of them are centres; beyond, `NYSTROM_CENTERS` of them."""
NYSTROM_CENTERS = 2000
LEAST_CENTERS = 250
"""Where time is short; also the rows that then choose hyperparameters."""
HELD_OUT_ROWS = 20_000
"""Held-out estimates are of at most so many rows, evenly spread."""
_FLOAT64_ROWS = 20_000
"""Rows up to which Nyström's normal equations are summed in float64."""
_BLOCK_VALUES = 2**23
"""Kernel values in memory at a time."""
_JITTER = {torch.float64: 1e-11, torch.float32: 1e-6}
"""Added to the diagonal of the centres' kernel matrix, which else has no Cholesky factor where centres are close."""


class Rows(Protocol):
    """Scaled rows (n, views * layers, d), in memory or made from those on disk when they are asked for."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, index: Any) -> Tensor:
        """The rows of a slice or of numbers (b,), (b, views * layers, d)."""


@dataclass(frozen=True)
class KernelFit:
    """
    A fit with what it makes of rows that it did not learn from.

    Attributes
    ----------
    estimator : KernelEstimator
    index : ndarray of shape (s,)
        Numbers of the rows of `held_out`.
    held_out : Tensor of shape (s, K)
        The estimate of each row without it, or without its group.
    """

    estimator: KernelEstimator
    index: np.ndarray
    held_out: Tensor


def most_centers(n_rows: int, n_centers: int | None = None) -> int:
    """Number of centres of so many rows at most; by default all rows up to `EXACT_ROWS`, else `NYSTROM_CENTERS`."""
    default = n_rows if n_rows <= EXACT_ROWS else NYSTROM_CENTERS
    return min(n_rows, default if n_centers is None else n_centers)


def fit_kernel(
    rows: Rows,
    targets: Tensor,
    weight: Tensor,
    *,
    kernels: Sequence[str] = tuple(KERNELS),
    n_views: int = 1,
    n_centers: int | None = None,
    n_selection: int | None = None,
    groups: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    settings: KernelSettings | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
    part: Callable[[int], slice] = slice,
) -> KernelFit:
    """
    Regress onto the codes in closed form, with hyperparameters chosen by leaving rows (or groups) out.

    Parameters
    ----------
    rows : Rows of n rows
        In random order: the first of them select hyperparameters and are Nyström's centres.
    targets : Tensor of shape (n, K), float64
        Coordinates of the rows' codes: one-hot, or shares of classes.
    weight : Tensor of shape (n,), float64
        Positive, of mean 1.
    kernels : sequence of str
        Keys of `KERNELS` to choose from.
    n_views : int
        Scalings that rows come in, to choose from.
    n_centers : int, optional
        Centres at most; see `most_centers` for the default.
    n_selection : int, optional
        Rows at most that select hyperparameters; never more than `SELECTION_ROWS`.
    groups : ndarray of shape (n,), optional
        Rows of one group are left out together.
    folds : ndarray of shape (s,), int, optional
        Of the rows that select hyperparameters: for factors of features, and, where all rows are centres and select, for
        held-out estimates by the choice of the other folds.
    settings : KernelSettings, optional
        Instead of a choice.
    reduce : callable, optional
        Sums a tensor over processes, in place.
    part : callable
        From a number of rows to those that this process sums over.

    Returns
    -------
    KernelFit
    """
    n = len(rows)
    m = most_centers(n, n_centers)
    honest = relevance = None
    if settings is None:
        settings, relevance, honest = _chosen(
            rows, targets, weight, kernels, n_views, groups, folds, n_selection, exact=n == m
        )
    nothing = targets.new_zeros(())
    estimator = KernelEstimator(
        settings, n_views, nothing, nothing, nothing, weighted_mean(targets, weight), nothing, relevance
    )
    seen = estimator.view(rows[:m])
    estimator.origin = seen.mean(0)
    estimator.centers = seen - estimator.origin
    if m == n:
        fitted = _exact(estimator, targets, weight, groups)
    else:
        fitted = _nystrom(estimator, rows, targets, weight, groups, reduce, part)
    if honest is not None:
        first = fitted.index < len(honest)
        fitted.held_out[first] = honest[fitted.index[first]]
    return fitted


def _chosen(
    rows: Rows,
    targets: Tensor,
    weight: Tensor,
    kernels: Sequence[str],
    n_views: int,
    groups: np.ndarray | None,
    folds: np.ndarray | None,
    n_selection: int | None,
    *,
    exact: bool,
) -> tuple[KernelSettings, Tensor | None, Tensor | None]:
    """
    Hyperparameters, factors of features, and estimates of the first rows that had no part in either.

    These are all rows where they are few, else those that taught factors. Leaving single ones out would not tell how good the
    choice of many, or what they taught, will be for new rows.
    """
    chosen = slice(0, min(len(rows), SELECTION_ROWS, n_selection or SELECTION_ROWS))
    few = exact and len(rows) <= SELECTION_ROWS
    seen, groups = rows[chosen].unflatten(1, (n_views, -1)), None if groups is None else groups[chosen]
    targets, weight = targets[chosen], weight[chosen]
    selection = select(seen, targets, weight, kernels, groups, folds if few else None)
    settings, found = selection.settings, None
    # Held-out estimates from folds are of no use where the fit has fewer centers than these.
    if folds is not None and seen.shape[2] == 1 and (few or len(rows) > SELECTION_ROWS):
        found = find_relevance(seen[:, settings.view, 0], targets, weight, folds[chosen], kernels, selection, groups)
    if found is None:
        return settings, None, selection.held_out
    settings = replace(settings, kernel=found.kernel, penalty=found.penalty, bandwidth=(found.bandwidth,))
    return settings, found.factors, found.held_out if few else found.held_out[:LEARNING_ROWS]


def _exact(estimator: KernelEstimator, targets: Tensor, weight: Tensor, groups: np.ndarray | None) -> KernelFit:
    """All rows are centres."""
    centers = estimator.centers.to(targets)
    gram = estimator.settings.gram(centers, centers)
    gram.diagonal().add_(estimator.settings.penalty / weight)
    estimator.coefficients, residual = solve(gram, targets - estimator.offset, groups)
    estimator.center_weight = weight
    return KernelFit(estimator, np.arange(len(targets)), targets - residual)


def _nystrom(
    estimator: KernelEstimator,
    rows: Rows,
    targets: Tensor,
    weight: Tensor,
    groups: np.ndarray | None,
    reduce: Callable[[Tensor], Tensor] | None,
    part: Callable[[int], slice],
) -> KernelFit:
    """
    Some rows are centres; the normal equations are sums over blocks of rows.

    A group is left out by the Woodbury identity, or, if it has more rows than there are centres, by solving the normal
    equations without it.
    """
    settings, n, m, offset = estimator.settings, len(rows), len(estimator.centers), estimator.offset
    dtype = targets.dtype if n <= _FLOAT64_ROWS else torch.float32
    centers = estimator.centers.to(targets)
    gram = settings.gram(centers, centers)
    gram.diagonal().add_(_JITTER[dtype])
    whiten = torch.linalg.solve_triangular(
        torch.linalg.cholesky(gram), torch.eye(m, dtype=gram.dtype, device=gram.device), upper=False
    ).mT  # K_mm⁻¹ = whiten whitenᵀ
    del gram
    centers, to_features = centers.to(dtype), whiten.to(dtype)
    step = max(1, _BLOCK_VALUES // max(m, centers[0].numel() * estimator.n_views))

    def features(numbers: np.ndarray) -> Tensor:
        """Rows in coordinates in which the penalty is λ times the identity, (b, m)."""
        return settings.gram(estimator.view(rows[numbers]).to(dtype), centers) @ to_features

    def blocks(numbers: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers and features of some rows at a time."""
        for start in range(0, len(numbers), step):
            yield numbers[start : start + step], features(numbers[start : start + step])

    def sums(numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """What rows add to the normal equations: (m, m) and (m, K)."""
        left, right = targets.new_zeros(m, m), targets.new_zeros(m, targets.shape[1])
        for block, phi in blocks(numbers):
            weighted = phi * weight[block][:, None].to(dtype)
            left += weighted.mT @ phi
            right += weighted.mT @ (targets[block] - offset).to(dtype)
        return left, right

    left, right = sums(np.arange(n)[part(n)])
    if reduce is not None:
        left, right = reduce(left), reduce(right)
    left.diagonal().add_(settings.penalty)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(left))
    solution = inverse @ right  # (m, K)
    estimator.coefficients = whiten @ solution
    estimator.center_weight = torch.full_like(weight[:m], n / m)

    stride = -(-n // HELD_OUT_ROWS)
    index = np.arange(0, n, stride)
    held_out = targets.new_empty(len(index), targets.shape[1])
    inverse, solution = inverse.to(dtype), solution.to(dtype)
    if groups is None:
        for block, phi in blocks(index):
            residual = targets[block] - offset - phi @ solution
            leverage = ((phi @ inverse) * phi).sum(1) * weight[block]
            held_out[block // stride] = targets[block] - residual / (1 - leverage).clamp_min(1e-6)[:, None]
        return KernelFit(estimator, index, held_out)
    for members in rows_of_groups(groups):
        chosen = members % stride == 0
        if not chosen.any():
            continue
        if len(members) <= m:
            phi = features(members)
            # The weights are on the right, as residuals are unweighted.
            hat = (phi @ inverse @ phi.mT).to(targets) * weight[members]
            residual = torch.linalg.solve(torch.eye(len(hat)).to(hat) - hat, targets[members] - offset - phi @ solution)
            held_out[members[chosen] // stride] = (targets[members] - residual)[chosen]
        else:
            group_left, group_right = sums(members)
            others = torch.linalg.solve(left - group_left, right - group_right).to(dtype)
            for block, phi in blocks(members[chosen]):
                held_out[block // stride] = offset + phi @ others
    return KernelFit(estimator, index, held_out)
