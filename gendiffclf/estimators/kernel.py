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

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .relevance import LEARNING_ROWS, find_relevance
from .ridge import KERNELS, LEAST_EXPONENT, KernelSettings, rows_of_groups, solve, weighted_mean
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
CORRECTION_SCALES = tuple(np.geomspace(1, 8, 40))
"""Factors that are compared for a correction by later rows."""
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


@dataclass
class KernelEstimator:
    """
    A fitted kernel regression onto the codes.

    It keeps rows: its centres, in the one scaling that it reads.

    Attributes
    ----------
    settings : KernelSettings
    n_views : int
        Scalings that rows come in.
    centers : Tensor of shape (m, layers, d)
        Scaled rows.
    coefficients : Tensor of shape (m, K)
        α, in the coordinates of the codes.
    offset : Tensor of shape (K,)
        x̄0: the shares of the classes.
    center_weight : Tensor of shape (m,)
        How many rows of mean weight a centre stands for.
    relevance : Tensor of shape (d,), optional
        Factors of the features; of one layer only.
    corrections : Tensor of shape (E, m, K), optional
        Coefficients of what rows that came after the fit add to the estimate of each of the classifier's E estimators.
    """

    settings: KernelSettings
    n_views: int
    centers: Tensor
    coefficients: Tensor
    offset: Tensor
    center_weight: Tensor
    relevance: Tensor | None = None
    corrections: Tensor | None = None

    def to(self, like: Tensor | str) -> KernelEstimator:
        """A copy on a tensor's device and in its precision, or on the device named."""
        tensors: dict[str, Any] = {name: x.to(like) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **tensors)

    def view(self, rows: Tensor) -> Tensor:
        """What the kernel reads of rows, (B, views * layers, d) -> (B, layers, d)."""
        seen = rows.unflatten(1, (self.n_views, -1))[:, self.settings.view]
        return seen if self.relevance is None else seen * self.relevance.to(seen)

    def estimate(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Coordinates of x̂0 along the codes, without the corrections by later rows, and these, if there are any.

        Shape
        -----
        (B, views * layers, d), in the precision of the centres -> (B, K) and (E, B, K)
        """
        gram = self.settings.gram(self.view(rows), self.centers)
        corrections = None if self.corrections is None else gram @ self.corrections
        return (gram @ self.coefficients).add_(self.offset), corrections

    def distance(self, rows: Tensor, excluded: Tensor | None = None, n_neighbors: int = 5) -> Tensor:
        """
        Mean of -log k(x, c) over the nearest centres c of rows (B, views * layers, d), (B,).

        For one layer and the Gaussian kernel that is half the squared distance in bandwidths; centres may be excluded, (B, m).
        """
        gram = self.settings.gram(self.view(rows), self.centers)
        if excluded is not None:
            gram.masked_fill_(excluded, 0)
        nearest = gram.topk(min(n_neighbors, len(self.centers)), dim=1).values
        return -nearest.clamp_min(math.exp(LEAST_EXPONENT)).log().mean(1)

    def with_classes(self, order: np.ndarray) -> KernelEstimator:
        """With new classes, which come last before they are put in this order, (K,)."""

        def extended(x: Tensor) -> Tensor:
            missing = len(order) - x.shape[-1]
            return torch.nn.functional.pad(x, (0, missing))[..., torch.as_tensor(order, device=x.device)]

        corrections = None if self.corrections is None else extended(self.corrections)
        return replace(
            self, coefficients=extended(self.coefficients), offset=extended(self.offset), corrections=corrections
        )

    def corrected(
        self,
        rows: Tensor,
        targets: Tensor,
        estimates: Tensor,
        weight: Tensor,
        read_out: Callable[[Tensor], Tensor],
    ) -> KernelEstimator:
        """
        With rows that came after the fit among the centres.

        A correction of each estimator is fitted in closed form: what its estimates lack at the new rows, and nothing at the
        centres of before. A ridge shrinks what it has seen little of, so the corrections are scaled by the factor for which
        held-out rows have the least squared error (Eq. 8).

        Parameters
        ----------
        rows : Tensor of shape (q, views * layers, d)
            New rows, scaled.
        targets : Tensor of shape (q, K)
            Coordinates of their codes.
        estimates : Tensor of shape (E, q, K)
            What each estimator makes of them.
        weight : Tensor of shape (q,)
            How many rows of mean weight each counts for.
        read_out : callable
            From the coordinates by all estimators (E, n, K) to class probabilities (n, K).
        """
        n_old = len(self.centers)
        centers = torch.cat([self.centers, self.view(rows)])
        weights = torch.cat([self.center_weight, weight])
        gram = self.settings.gram(centers, centers)
        fitted = gram[:n_old, :n_old] @ self.coefficients + self.offset
        known = torch.nn.functional.one_hot(fitted.argmax(1), fitted.shape[1]).to(fitted)
        gram.diagonal().add_(self.settings.penalty / weights)
        # (E, m, K) -> (m, E K): all estimators at once
        wanted = torch.cat([torch.zeros_like(fitted).expand(len(estimates), -1, -1), targets - estimates], dim=1)
        wanted = wanted.transpose(0, 1).flatten(1)
        coefficients, residual = solve(gram, wanted)
        held_out = (wanted - residual).unflatten(1, (len(estimates), -1)).transpose(0, 1)  # (E, m, K)
        before = torch.cat([fitted.expand(len(estimates), -1, -1), estimates], dim=1)
        truth = torch.cat([known, targets])

        def squared_error(scale: float) -> float:
            return float(weights @ (read_out(before + scale * held_out) - truth).square().sum(1))

        corrections = coefficients.unflatten(1, (len(estimates), -1)).transpose(0, 1)
        corrections = corrections.contiguous() * min(CORRECTION_SCALES, key=squared_error)
        if self.corrections is not None:
            corrections[:, :n_old] += self.corrections
        pad = (0, 0, 0, len(rows))
        return replace(
            self,
            centers=centers,
            coefficients=torch.nn.functional.pad(self.coefficients, pad),
            center_weight=weights,
            corrections=corrections,
        )


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
    estimator = KernelEstimator(settings, n_views, targets[:0], targets[:0], weighted_mean(targets, weight), weight[:0])
    estimator.relevance = relevance
    estimator.centers = estimator.view(rows[:m]).clone()
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
