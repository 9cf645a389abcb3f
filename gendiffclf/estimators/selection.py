"""The choice of a kernel regression's hyperparameters by leaving rows, or groups, out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .ridge import KERNELS, LEAST_EXPONENT, KernelSettings, left_out, weighted_mean

DESCENT_ROWS = 500
"""Rows on which the grid is searched; more of them cost their cube."""
SELECTION_ROWS = 1500
"""Rows on which the best of each kernel and scaling are compared."""
CLOSE = 1.1
"""Times the least score on few rows: kernels and scalings of higher ones are not compared on more."""
BANDWIDTHS = tuple(np.geomspace(0.15, 2.5, 8))
"""In units of the median distance between rows."""
PENALTIES = tuple(np.geomspace(1e-4, 3, 10))

Place = tuple[int, int]
"""Of a bandwidth and a penalty in their grids."""


def select(
    rows: Tensor, targets: Tensor, weight: Tensor, kernels: Sequence[str], groups: np.ndarray | None = None
) -> KernelSettings:
    """
    The hyperparameters with the least squared error of held-out rows, each estimate at the scale that is best for it.

    The read-out finds that scale again. With many classes ridge regression shrinks its estimates a lot, but may rank them well.
    Kernel, scaling, bandwidth and penalty are chosen by a descent over a grid on few rows, the best of each kernel and scaling
    then compared on more. Of several layers the best alone comes first; layers join it, with equal weights and repeatedly,
    while that helps (Caruana et al. 2004).

    Parameters
    ----------
    rows : Tensor of shape (s, views, layers, d)
    targets : Tensor of shape (s, K)
    weight : Tensor of shape (s,)
    kernels : sequence of str
    groups : ndarray of shape (s,), optional
    """
    few = _HeldOutScore(rows[:DESCENT_ROWS], targets[:DESCENT_ROWS], weight[:DESCENT_ROWS], groups)
    n_views, n_layers = rows.shape[1:3]
    middle = len(BANDWIDTHS) // 2, len(PENALTIES) // 2
    alone = [tuple(int(layer == other) for other in range(n_layers)) for layer in range(n_layers)]
    counts = min(alone, key=lambda c: few(kernels[0], 0, c, middle)) if n_layers > 1 else alone[0]
    candidates, place = [], middle
    for kernel in kernels:
        for view in range(n_views):  # the best place for one is near that for the others
            place = _descend(few, kernel, view, counts, place)
            candidates.append((kernel, view, place))
    if len(rows) > DESCENT_ROWS:
        many = _HeldOutScore(rows[:SELECTION_ROWS], targets[:SELECTION_ROWS], weight[:SELECTION_ROWS], groups)
    else:
        many = few
    scores = [few(c[0], c[1], counts, c[2]) for c in candidates]
    close = [c for c, score in zip(candidates, scores, strict=True) if score <= CLOSE * min(scores)]
    kernel, view, place = min(close, key=lambda c: many(c[0], c[1], counts, c[2]))
    while n_layers > 1 and sum(counts) < 2 * n_layers:
        joined = [tuple(np.add(counts, one).tolist()) for one in alone]
        better = min(joined, key=lambda c: few(kernel, view, c, place))
        if few(kernel, view, better, place) >= few(kernel, view, counts, place):
            break
        counts = better
    if sum(counts) > 1:
        place = _descend(few, kernel, view, counts, place)
    if many is not few:  # more rows may want a narrower kernel
        narrower = max(place[0] - 1, 0), place[1]
        place = min(place, narrower, key=lambda p: many(kernel, view, counts, p))
    power = KERNELS[kernel].power
    bandwidth = tuple(
        float(few.distances(kernel, view, layer)[1] ** (1 / power) * BANDWIDTHS[place[0]]) if counts[layer] else 1.0
        for layer in range(n_layers)
    )
    weights = tuple(c / sum(counts) for c in counts)
    return KernelSettings(kernel, view, float(PENALTIES[place[1]]), bandwidth, weights)


def _descend(score: _HeldOutScore, kernel: str, view: int, counts: tuple[int, ...], place: Place) -> Place:
    """From a place of the grid to one that has no better neighbour."""
    while True:
        around = [(place[0] + i, place[1] + j) for i, j in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))]
        inside = [p for p in around if 0 <= p[0] < len(BANDWIDTHS) and 0 <= p[1] < len(PENALTIES)]
        best = min(inside, key=lambda p: (score(kernel, view, counts, p), p != place))
        if best == place:
            return place
        place = best


class _HeldOutScore:
    """
    Squared error of held-out estimates, multiplied by the best factor, computed once for each choice.

    As a share of the squared deviation of the targets: one minus the squared correlation with them.
    """

    def __init__(self, rows: Tensor, targets: Tensor, weight: Tensor, groups: np.ndarray | None) -> None:
        self._rows, self._weight = rows, weight
        self._centred = targets - weighted_mean(targets, weight)
        self._groups = None if groups is None else groups[: len(rows)]
        self.distances = cache(self._distances)
        self._cached = cache(self._score)

    def __call__(self, kernel: str, view: int, counts: tuple[int, ...], place: Place) -> float:
        """The score; layers count as often as `counts` says."""
        return self._cached(kernel, view, counts, place)

    def _distances(self, kernel: str, view: int, layer: int) -> tuple[Tensor, float]:
        """Negative exponents in float64, and the bandwidth unit: the kernel is exp(-1) at the median distance of few rows."""
        x = self._rows[:, view, layer]
        distance = KERNELS[kernel].exponent(x, x).neg_().clamp_min_(0).to(self._weight)
        apart = distance[:DESCENT_ROWS, :DESCENT_ROWS].flatten()
        apart = apart[apart > 1e-6 * apart.max()]
        return distance, float(apart.median()) if len(apart) else 1.0

    def _score(self, kernel: str, view: int, counts: tuple[int, ...], place: Place) -> float:
        power, total = KERNELS[kernel].power, torch.zeros_like(self._weight).diag_embed()
        for layer in np.flatnonzero(counts):
            distance, median = self.distances(kernel, view, layer)
            part = (distance / -(median * BANDWIDTHS[place[0]] ** power)).clamp_min_(LEAST_EXPONENT).exp_()
            total += part.mul_(counts[layer] / sum(counts))
        total.diagonal().add_(PENALTIES[place[1]] / self._weight)
        factor, failed = torch.linalg.cholesky_ex(total)
        if failed:
            return float("inf")
        residual = left_out(torch.cholesky_solve(self._centred, factor), factor, self._groups)
        estimate = self._centred - residual
        product = float(self._weight @ (estimate * self._centred).sum(1))
        sizes = (float(self._weight @ x.square().sum(1)) for x in (estimate, self._centred))
        return 1 - max(product, 0.0) ** 2 / max(math.prod(sizes), 1e-300)
