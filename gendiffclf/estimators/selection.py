"""The choice of a kernel regression's hyperparameters by leaving rows, or groups, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from .ridge import KERNELS, KernelSettings, distances, kernel_values, left_out
from .training_rows import TrainingRows

DESCENT_ROWS = 500
"""Rows on which the grid is searched; more of them cost their cube."""
SELECTION_ROWS = 1500
"""Rows on which the best of each kernel and scaling are compared."""
CLOSE = 1.1
"""Times the least score on few rows: kernels and scalings of higher ones are not compared on more."""
BANDWIDTHS = tuple(np.geomspace(0.15, 2.5, 8))
"""In units of the median distance between rows."""
PENALTIES = tuple(np.geomspace(1e-4, 3, 10))
BANDWIDTH_STEP, PENALTY_STEP = float(BANDWIDTHS[1] / BANDWIDTHS[0]), float(PENALTIES[1] / PENALTIES[0])

GRID = len(BANDWIDTHS), len(PENALTIES)
MIDDLE = len(BANDWIDTHS) // 2, len(PENALTIES) // 2
Place = tuple[int, ...]
"""Of a bandwidth and a penalty in their grids."""


@dataclass(frozen=True)
class Selection:
    """
    Chosen hyperparameters.

    Attributes
    ----------
    settings : KernelSettings
    place : Place
    gaussian : Place
        The best of the Gaussian kernel in the same scaling.
    held_out : Tensor of shape (s, K) or None
        With folds, the held-out estimates of each one's rows by what the rows of the others choose. The least of many errors
        is lower than it will be for new rows, and on few rows by so much that the kernel would get too much weight.
    """

    settings: KernelSettings
    place: Place
    gaussian: Place
    held_out: Tensor | None


@dataclass(frozen=True)
class Choice:
    """
    Hyperparameters of a fit.

    Attributes
    ----------
    settings : KernelSettings
    relevance : Tensor of shape (d,), optional
        Factors of the features.
    held_out : Tensor of shape (r, K), optional
        Estimates of the first r rows that had no part in the choice.
    error : float
        Of held-out rows, with the few of Nyström's centres that settings are chosen with; 0 if all rows are centres.
    """

    settings: KernelSettings
    relevance: Tensor | None = None
    held_out: Tensor | None = None
    error: float = 0.0


def select(data: TrainingRows, kernels: Sequence[str], folds: np.ndarray | None = None) -> Selection:
    """
    The hyperparameters with the least squared error of held-out rows, each estimate at the scale that is best for it.

    The read-out finds that scale again. With many classes ridge regression shrinks its estimates a lot, but may rank them well.
    Kernel, scaling, bandwidth and penalty are chosen by a descent over a grid on few rows, the best of each kernel and scaling
    then compared on more. Of several layers the best alone comes first; layers join it, with equal weights and repeatedly,
    while that helps (Caruana et al. 2004).

    Rows are of shape (s, views, layers, d); folds (s,) are for held-out estimates that had no part in the choice.
    """

    def on(n_rows: int) -> _HeldOutScore:
        return _HeldOutScore(data[:n_rows], keeps_estimates=folds is not None and n_rows >= len(data))

    few = on(DESCENT_ROWS)
    n_views, n_layers = data.rows[:1].shape[1:3]
    alone = [tuple(int(layer == other) for other in range(n_layers)) for layer in range(n_layers)]
    counts = min(alone, key=lambda c: few(kernels[0], 0, c, MIDDLE)) if n_layers > 1 else alone[0]
    candidates: list[tuple[str, int, Place]] = []
    place: Place = MIDDLE
    for kernel in kernels:
        for view in range(n_views):  # the best place for one is near that for the others
            place = descend(partial(few, kernel, view, counts), place, GRID)
            candidates.append((kernel, view, place))
    many = on(SELECTION_ROWS) if len(data) > DESCENT_ROWS else few
    scores = [few(c[0], c[1], counts, c[2]) for c in candidates]
    close = [c for c, score in zip(candidates, scores, strict=True) if score <= CLOSE * min(scores)]
    # With one row per class all scores are 1: then the cosine kernel, since directions matter most between embeddings.
    kernel, view, place = min(close, key=lambda c: (many(c[0], c[1], counts, c[2]), c[0] != "cosine"))
    while n_layers > 1 and sum(counts) < 2 * n_layers:
        joined = [tuple(np.add(counts, one).tolist()) for one in alone]
        better = min(joined, key=lambda c: few(kernel, view, c, place))
        if few(kernel, view, better, place) >= few(kernel, view, counts, place):
            break
        counts = better
    if sum(counts) > 1:
        place = descend(partial(few, kernel, view, counts), place, GRID)
    if many is not few:  # more rows may need a smaller penalty, or a narrower kernel
        for step in ((0, 1), (1, 0)):
            near = place[0] - step[0], place[1] - step[1]
            if min(near) >= 0 and many(kernel, view, counts, near) < many(kernel, view, counts, place):
                place = near
    power = KERNELS[kernel].power
    bandwidth = tuple(
        float(few.distances(kernel, view, layer)[1] ** (1 / power) * BANDWIDTHS[place[0]]) if counts[layer] else 1.0
        for layer in range(n_layers)
    )
    weights = tuple(c / sum(counts) for c in counts)
    settings = KernelSettings(kernel, view, float(PENALTIES[place[1]]), bandwidth, weights)
    gaussian = {v: p for k, v, p in candidates if k == "gaussian"}
    return Selection(settings, place, gaussian.get(view, place), None if folds is None else many.held_out(folds))


def descend(
    score: Callable[[tuple[int, ...]], float], place: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[int, ...]:
    """From a place of a grid to one that has no better neighbour, in each direction as long as that helps."""
    steps = [step for axis in np.eye(len(sizes), dtype=int) for step in (-axis, axis)]
    in_vain = 0
    while in_vain < len(steps):
        near = tuple(np.add(place, steps[0]).tolist())
        if all(0 <= x < size for x, size in zip(near, sizes, strict=True)) and score(near) < score(place):
            place, in_vain = near, 0
        else:
            steps.append(steps.pop(0))
            in_vain += 1
    return place


def held_out_error(estimate: Tensor, centred: Tensor, weight: Tensor) -> float:
    """
    Squared error of estimates (s, K), without their offset, multiplied by the best factor.

    As a share of the squared deviation of the targets: one minus the squared correlation with them.
    """
    product = float(weight @ (estimate * centred).sum(1))
    size, squared = (float(weight @ x.square().sum(1)) for x in (estimate, centred))
    return max(1 - max(product, 0.0) ** 2 / max(size * squared, 1e-300), 0.0)  # not below 0 by rounding


def chosen_by_others(estimates: Sequence[Tensor], centred: Tensor, weight: Tensor, folds: np.ndarray) -> Tensor:
    """Of estimates (s, K) by several choices, each fold's rows by the one with the least error of the others, (s, K)."""
    several = torch.stack(list(estimates))  # (choices, s, K)
    product, size = (several * centred).sum(-1) * weight, several.square().sum(-1) * weight
    found = several[0].clone()
    for fold in np.unique(folds):
        own = torch.as_tensor(folds == fold, device=found.device)
        shares = product[:, ~own].sum(1).clamp_min(0).square() / size[:, ~own].sum(1).clamp_min(1e-300)
        found[own] = several[shares.argmax()][own]
    return found


class _HeldOutScore:
    """Error of held-out estimates, computed once for each choice."""

    def __init__(self, data: TrainingRows, *, keeps_estimates: bool) -> None:
        self._data, self._keeps_estimates = data, keeps_estimates
        self._centred = data.targets - data.offset
        self._estimates: list[Tensor] = []
        self.distances = cache(self._distances)
        self._cached = cache(self._score)

    def __call__(self, kernel: str, view: int, counts: tuple[int, ...], place: Place) -> float:
        """The score; layers count as often as `counts` says."""
        return self._cached(kernel, view, counts, place)

    def _distances(self, kernel: str, view: int, layer: int) -> tuple[Tensor, float]:
        return distances(kernel, self._data.rows[:, view, layer], self._data.weight)

    def _score(self, kernel: str, view: int, counts: tuple[int, ...], place: Place) -> float:
        total = torch.zeros_like(self._data.weight).diag_embed()
        for layer in np.flatnonzero(counts):
            part = kernel_values(kernel, *self.distances(kernel, view, layer), BANDWIDTHS[place[0]])
            total += part.mul_(counts[layer] / sum(counts))
        total.diagonal().add_(PENALTIES[place[1]] / self._data.weight)
        factor, failed = torch.linalg.cholesky_ex(total)
        if failed:
            return float("inf")
        residual = left_out(torch.cholesky_solve(self._centred, factor), factor, self._data.groups)
        estimate = self._centred - residual
        if self._keeps_estimates:
            self._estimates.append(estimate)
        return held_out_error(estimate, self._centred, self._data.weight)

    def held_out(self, folds: np.ndarray) -> Tensor:
        """Estimates of each fold's rows by the choice, among those compared, that the other rows make, (s, K)."""
        return chosen_by_others(self._estimates, self._centred, self._data.weight, folds) + self._data.offset
