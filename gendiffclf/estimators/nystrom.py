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
_LEAST_COLUMNS = 128
"""Of the normal equations that are summed at a time, unless a quarter of them is more."""
_JITTER = {torch.float64: 1e-11, torch.float32: 1e-6}
"""Added to the diagonal of the centres' kernel matrix, which else has no Cholesky factor where centres are close."""


class NystromSums:
    """
    The normal equations of a fit, and its estimates of held-out rows. Fits coefficients and weights of the estimator's centres.

    Features of a row, with which the penalty is λ times the identity, are `φ = L⁻¹ k(C, x)`, with `K_mm = L Lᵀ`. Their normal
    equations are `A Aᵀ s = b`. In whitened features `z = A⁻¹ φ` the solution is `r = A⁻¹ b`: the estimate of a row is `z·r`, and
    its leverage `z·z`.

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
        self._factor = torch.linalg.cholesky(gram)
        if n > always and float(self._factor.diagonal().min()) ** 2 > _LEAST_PIVOT:
            dtype = torch.float32
        self._centers = centers.to(dtype)
        self._step = max(1, _BLOCK_VALUES // max(self.n_centers, centers[0].numel() * estimator.n_views))

        self._left, self._right = self._sums(np.arange(n)[part(n)])
        if reduce is not None:
            self._left, self._right = reduce(self._left), reduce(self._right)
        self._left.diagonal().add_(estimator.settings.penalty)
        whitening, solution = self._solved(self._left, self._right)
        estimator.coefficients = torch.linalg.solve_triangular(whitening.mT, solution, upper=True)
        estimator.center_weight = torch.full_like(data.weight[: self.n_centers], n / self.n_centers)
        self._whitening, self._solution = whitening.to(dtype), solution.to(dtype)

    def held_out(self, index: np.ndarray, groups: np.ndarray | None) -> Tensor:
        """
        Estimates of rows (s,) without them, or without their groups, (s, K).

        A centre is left out with its row: without a penalty on its row, its coefficient would be free to serve other rows, and
        its estimate worse than that of a new row. So whitened features are projected on those without an effect of it.
        """
        place = np.full(len(self._targets), -1)
        place[index] = np.arange(len(index))
        found = self._targets.new_empty(len(index), self._targets.shape[1])
        if groups is None:
            for block, z in self._blocks(index, self._whitening):
                found[place[block]] = self._of_rows(block, z)
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

    def _of_rows(self, block: np.ndarray, z: Tensor) -> Tensor:
        """Estimates of rows with whitened features (b, m), each without itself, (b, K)."""
        targets, offset, own = self._targets[block], self._estimator.offset, block < self.n_centers
        normal = torch.nn.functional.normalize(self._directions(block[own], self._whitening), dim=1)
        z[own] -= (z[own] * normal).sum(1, keepdim=True) * normal
        missing = targets - offset - z @ self._solution
        return targets - missing / (1 - z.square().sum(1) * self._weight[block]).clamp_min(1e-6)[:, None]

    def _of_groups(self, groups: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers (g,) of the rows of groups, and their estimates without their group, (g, K), by the Woodbury identity."""
        own = [members[members < self.n_centers] for members in groups]
        of_rows = self._features(np.concatenate(groups), self._whitening).split([*map(len, groups)])
        of_centers = self._directions(np.concatenate(own), self._whitening).split([*map(len, own)])
        for members, z, directions in zip(groups, of_rows, of_centers, strict=True):
            z, targets = _projected(z, directions), self._targets[members]
            # The weights are on the right, as residuals are unweighted.
            hat = (z @ z.mT).to(targets) * self._weight[members]
            missing = targets - self._estimator.offset - z @ self._solution
            yield members, targets - torch.linalg.solve(torch.eye(len(hat)).to(hat) - hat, missing)

    def _of_a_large_group(self, members: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """The same for some rows of a group with more rows than there are centres, by normal equations without it."""
        left, right = self._sums(members)
        whitening, solution = (x.to(self._centers) for x in self._solved(self._left - left, self._right - right))
        directions = self._directions(members[members < self.n_centers], whitening)
        estimates = [_projected(z, directions) @ solution for _, z in self._blocks(asked, whitening)]
        return asked, self._estimator.offset + torch.cat(estimates).to(right)

    def _solved(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """L A (m, m), and r (m, K), of normal equations whose matrix (m, m) counts below its diagonal."""
        root, failed = torch.linalg.cholesky_ex(left)
        if failed:  # by rounding
            excess = torch.finfo(self._centers.dtype).eps * left.trace()
            root = torch.linalg.cholesky(left + torch.eye(len(left)).to(left) * excess)
        return self._factor @ root, torch.linalg.solve_triangular(root, right, upper=False)

    def _packed(self, groups: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Groups of rows, as many at a time as a block has room for, and at least one."""
        sizes = np.cumsum([len(members) for members in groups])
        start = 0
        while start < len(groups):
            before = sizes[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(sizes, before + self._step, side="right")))
            yield groups[start:end]
            start = end

    def _features(self, numbers: np.ndarray, factor: Tensor) -> Tensor:
        """Of rows: those whitened with `L A`, or φ with L, (b, m)."""
        seen = self._estimator.view(self._rows[numbers]).to(self._centers)
        return _divided(self._estimator.settings.gram(seen, self._centers), factor)

    def _directions(self, numbers: np.ndarray, whitening: Tensor) -> Tensor:
        """Of centres, (c, m). That of a centre times the solution is the coefficient of the centre."""
        identity = whitening.new_zeros(len(numbers), self.n_centers)
        identity[np.arange(len(numbers)), numbers] = 1
        return _divided(identity, whitening)

    def _blocks(self, numbers: np.ndarray, factor: Tensor) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers and features of some rows at a time."""
        for part in gen_batches(len(numbers), self._step):
            yield numbers[part], self._features(numbers[part], factor)

    def _sums(self, numbers: np.ndarray) -> tuple[Tensor, Tensor]:
        """What rows add to the normal equations, (m, m), which counts below its diagonal, and (m, K)."""
        targets, m, offset = self._targets, self.n_centers, self._estimator.offset
        left, right = targets.new_zeros(m, m), targets.new_zeros(m, targets.shape[1])
        step = max(_LEAST_COLUMNS, m // 4)
        for block, phi in self._blocks(numbers, self._factor.to(self._centers)):
            weighted = phi * self._weight[block][:, None].to(phi)
            for start in range(0, m, step):
                left[start:, start : start + step] += weighted[:, start:].mT @ phi[:, start : start + step]
            right += weighted.mT @ (targets[block] - offset).to(phi)
        return left, right


def _divided(values: Tensor, factor: Tensor) -> Tensor:
    """`values factor⁻ᵀ`, (b, m), with a lower triangular factor (m, m)."""
    return torch.linalg.solve_triangular(factor.mT, values, upper=True, left=False)


def _projected(z: Tensor, directions: Tensor) -> Tensor:
    """Rows (b, m) without their parts along some directions (c, m)."""
    normal = torch.linalg.qr(directions.mT).Q
    return z - z @ normal @ normal.mT
