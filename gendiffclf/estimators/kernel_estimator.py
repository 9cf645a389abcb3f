"""A fitted kernel regression: its estimates, how far rows are from its centres, and corrections by rows that come later."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .ridge import KERNELS, LEAST_EXPONENT, KernelSettings, solve

CORRECTION_SCALES = tuple(np.geomspace(1, 8, 40))
"""Factors that are compared for a correction by later rows."""


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
    origin : Tensor of shape (layers, d)
        Mean of the centres. What the kernel reads is relative to it, as products of rows far from 0 would lose their digits.
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
    origin: Tensor
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
        seen = seen if self.relevance is None else seen * self.relevance.to(seen)
        return KERNELS[self.settings.kernel].read(seen) - self.origin.to(seen)

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

        New rows are scaled, (q, views * layers, d), targets (q, K) the coordinates of their codes, and estimates (E, q, K) what
        each estimator makes of them. Each counts for `weight` (q,) rows of mean weight. `read_out` maps the coordinates by all
        estimators (E, n, K) to class probabilities (n, K).
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
