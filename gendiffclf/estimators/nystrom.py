"""Kernel ridge regression with some of the rows as centres (Nyström), from sums over blocks of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from .kernel_estimator import KernelEstimator
from .ridge import rows_of_groups
from .training_rows import TrainingRows

_FLOAT64_ROWS = 2000, 20_000
"""Rows up to which the normal equations are summed in float64: always, and where float32 would not do."""
_LEAST_PIVOT = 1e-3
"""Float32 does if each centre is so far, squared and in the kernel's space, from the span of those before it."""
_BLOCK_VALUES = 2**23
"""Kernel values in memory at a time."""
_JITTER = {torch.float64: 1e-11, torch.float32: 1e-6}
"""Added to the diagonal of the centres' kernel matrix, which else has no Cholesky factor where centres are close."""


class NystromSums:
    """
    The normal equations of a fit, and its estimates of held-out rows. Fits coefficients and weights of the estimator's centres.

    Features of a row, with which the penalty is λ times the identity, are `φ = L⁻¹ k(C, x)`, with `K_mm = L Lᵀ`.

    The centres of the estimator, which gets its coefficients, are the first m rows. `part` maps a number of rows to those that
    this process sums over, and `reduce` sums a tensor over processes, in place.
    """

    def __init__(
        self,
        estimator: KernelEstimator,
        data: TrainingRows,
        reduce: Callable[[Tensor], Tensor] | None = None,
        part: Callable[[int], slice] = slice,
    ) -> None:
        n, self.n_centers = len(data), len(estimator.centers)
        self._estimator, self._rows, self._targets, self._weight = estimator, data.rows, data.targets, data.weight
        always, most = _FLOAT64_ROWS
        dtype = data.targets.dtype if n <= most else torch.float32
        centers = estimator.centers.to(data.targets)
        gram = estimator.settings.gram(centers, centers)
        gram.diagonal().add_(_JITTER[dtype])
        factor = torch.linalg.cholesky(gram)
        if n > always and float(factor.diagonal().min()) ** 2 > _LEAST_PIVOT:
            dtype = torch.float32
        self._centers, self._factor = centers.to(dtype), factor.to(dtype)
        self._step = max(1, _BLOCK_VALUES // max(self.n_centers, centers[0].numel() * estimator.n_views))

        self._left, self._right = self._sums(np.arange(n)[part(n)])
        if reduce is not None:
            self._left, self._right = reduce(self._left), reduce(self._right)
        self._left.diagonal().add_(estimator.settings.penalty)
        # Much faster on a busy processor than torch.cholesky_inverse.
        inverse = torch.cholesky_solve(torch.eye(self.n_centers).to(self._left), torch.linalg.cholesky(self._left))
        solution = inverse @ self._right  # (m, K)
        estimator.coefficients = torch.linalg.solve_triangular(factor.mT, solution, upper=True)
        estimator.center_weight = torch.full_like(data.weight[: self.n_centers], n / self.n_centers)
        self._inverse, self._solution = inverse.to(dtype), solution.to(dtype)

    def held_out(self, index: np.ndarray, groups: np.ndarray | None) -> Tensor:
        """
        Estimates of rows (s,) without them, or without their groups, (s, K).

        A centre is left out with its row: without a penalty on its row, its coefficient would be free to serve other rows, and
        its estimate worse than that of a new row.
        """
        place = np.full(len(self._targets), -1)
        place[index] = np.arange(len(index))
        found = self._targets.new_empty(len(index), self._targets.shape[1])
        if groups is None:
            for block, phi in self._blocks(index):
                found[place[block]] = self._of_rows(block, phi)
            return found
        parts = [members for members in rows_of_groups(groups) if (place[members] >= 0).any()]
        small = [members for members in parts if len(members) <= self.n_centers]
        estimates = itertools.chain(
            *map(self._of_groups, self._packed(small)),
            (self._of_a_large_group(x, x[place[x] >= 0]) for x in parts if len(x) > self.n_centers),
        )
        for members, estimate in estimates:
            asked = place[members] >= 0
            found[place[members[asked]]] = estimate[asked]
        return found

    def _of_rows(self, block: np.ndarray, phi: Tensor) -> Tensor:
        """Estimates of rows with features (b, m), each without itself, (b, K)."""
        targets, offset, own = self._targets[block], self._estimator.offset, block < self.n_centers
        estimate, pulled = phi @ self._solution, phi @ self._inverse
        normal = torch.nn.functional.normalize(self._directions(block[own]), dim=1)
        moved = normal @ self._inverse
        share = ((pulled[own] * normal).sum(1) / (moved * normal).sum(1))[:, None]
        estimate[own] -= share * (normal @ self._solution)
        pulled[own] -= share * moved
        leverage = (pulled * phi).sum(1) * self._weight[block]
        return targets - (targets - offset - estimate) / (1 - leverage).clamp_min(1e-6)[:, None]

    def _of_groups(self, groups: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers (g,) of the rows of groups, and their estimates without their group, (g, K), by the Woodbury identity."""
        own = [members[members < self.n_centers] for members in groups]
        phi = self._features(np.concatenate(groups))
        directions = self._directions(np.concatenate(own)).split([len(centers) for centers in own])
        normal = torch.cat([torch.linalg.qr(x.mT).Q.mT for x in directions])  # (s, m), orthonormal in each group
        of_rows = zip(*(x.split([*map(len, groups)]) for x in (phi, phi @ self._inverse)), strict=True)
        of_centers = zip(*(x.split([*map(len, own)]) for x in (normal, normal @ self._inverse)), strict=True)
        for members, (phi_g, pulled), (normal_g, moved) in zip(groups, of_rows, of_centers, strict=True):
            targets = self._targets[members]
            share = torch.linalg.solve(moved @ normal_g.mT, moved @ phi_g.mT).mT
            estimate = phi_g @ self._solution - share @ (normal_g @ self._solution)
            # The weights are on the right, as residuals are unweighted.
            hat = ((pulled - share @ moved) @ phi_g.mT).to(targets) * self._weight[members]
            missing = targets - self._estimator.offset - estimate
            yield members, targets - torch.linalg.solve(torch.eye(len(hat)).to(hat) - hat, missing)

    def _of_a_large_group(self, members: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """The same for some rows of a group with more rows than there are centres, by normal equations without it."""
        left, right = self._sums(members)
        inverse = torch.linalg.inv(self._left - left)
        normal = torch.linalg.qr(self._directions(members[members < self.n_centers]).mT).Q.mT.to(inverse)  # (s, m)
        solution, moved = inverse @ (self._right - right), inverse @ normal.mT
        solution = solution - moved @ torch.linalg.solve(normal @ moved, normal @ solution)
        estimates = [phi @ solution.to(phi) for _, phi in self._blocks(asked)]
        return asked, self._estimator.offset + torch.cat(estimates).to(solution)

    def _packed(self, groups: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Groups of rows, as many at a time as a block has room for, and at least one."""
        sizes = np.cumsum([len(members) for members in groups])
        start = 0
        while start < len(groups):
            before = sizes[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(sizes, before + self._step, side="right")))
            yield groups[start:end]
            start = end

    def _features(self, numbers: np.ndarray) -> Tensor:
        """Of rows, (b, m)."""
        seen = self._estimator.view(self._rows[numbers]).to(self._centers)
        return self._solved(self._estimator.settings.gram(seen, self._centers))

    def _directions(self, numbers: np.ndarray) -> Tensor:
        """Rows of L⁻ᵀ, (c, m). That of a centre times the coefficients of the features is the coefficient of the centre."""
        identity = self._factor.new_zeros(len(numbers), self.n_centers)
        identity[np.arange(len(numbers)), numbers] = 1
        return self._solved(identity)

    def _solved(self, values: Tensor) -> Tensor:
        """(L⁻¹ valuesᵀ)ᵀ, (b, m)."""
        return torch.linalg.solve_triangular(self._factor.mT, values, upper=True, left=False)

    def _blocks(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers and features of some rows at a time."""
        for part in gen_batches(len(numbers), self._step):
            yield numbers[part], self._features(numbers[part])

    def _sums(self, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """What rows add to the normal equations: (m, m) and (m, K)."""
        targets, m, offset = self._targets, self.n_centers, self._estimator.offset
        left, right = targets.new_zeros(m, m), targets.new_zeros(m, targets.shape[1])
        for block, phi in self._blocks(numbers):
            weighted = phi * self._weight[block][:, None].to(phi)
            left += weighted.mT @ phi
            right += weighted.mT @ (targets[block] - offset).to(phi)
        return left, right
