"""Kernels, and ridge regression with them: coefficients, and residuals of held-out rows in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEAST_EXPONENT = -60.0
"""Of a kernel value: smaller ones would be subnormal numbers in float32, with which processors are a hundred times slower."""

MEDIAN_ROWS = 500
"""Rows whose median distance is the unit of bandwidths."""
_CACHED_VALUES = 2**17
"""Kernel values that a CPU works on while they stay in its cache."""
_LEAST_COLUMNS = 128
"""Of an inverse that are computed at a time, unless an eighth of them is more."""

Exponent = Callable[[Tensor, Tensor], Tensor]


def _gaussian(a: Tensor, b: Tensor) -> Tensor:
    """Minus half the squared Euclidean distances, (n, d), (m, d) -> (n, m)."""
    return torch.addmm(b.square().sum(1) / -2, a, b.mT).sub_(a.square().sum(1, keepdim=True) / 2)


def _laplacian(a: Tensor, b: Tensor) -> Tensor:
    """Minus the sums of absolute differences, (n, d), (m, d) -> (n, m)."""
    if a is b and not a.is_mps:  # each pair once, in faster sums; MPS lacks it
        above = a.new_ones(len(a), len(a), dtype=torch.bool).triu_(1)
        found = a.new_zeros(len(a), len(a))
        found[above] = torch.nn.functional.pdist(a, p=1).neg_()
        return found + found.mT
    if not a.is_cpu or a.dtype != torch.float32 or len(a) * len(b) < _CACHED_VALUES:
        return torch.cdist(a, b, p=1).neg_()
    # Feature by feature, some rows at a time: much faster than torch.cdist.
    found, of_b = a.new_zeros(len(a), len(b)), b.mT.contiguous()
    step = max(1, _CACHED_VALUES // len(b))
    for rows, sums in zip(a.split(step), found.split(step), strict=True):
        apart = torch.empty_like(sums)
        for of_rows, of_all in zip(rows.mT[:, :, None], of_b, strict=True):
            sums.sub_(torch.sub(of_rows, of_all, out=apart).abs_())
    return found


@dataclass(frozen=True)
class Kernel:
    """
    A kernel exp(exponent(a / bandwidth, b / bandwidth)).

    Attributes
    ----------
    exponent : callable
        From rows (n, d) and (m, d) to (n, m); 0 for equal rows, but for rounding, and negative for others.
    power : int
        With rows c times as far apart the exponent is c^power times as large.
    of_directions : bool
        Whether rows are divided by their lengths first.
    """

    exponent: Exponent
    power: int
    of_directions: bool = False

    def read(self, rows: Tensor) -> Tensor:
        """What it reads of rows (..., d)."""
        return torch.nn.functional.normalize(rows, dim=-1) if self.of_directions else rows


KERNELS: dict[str, Kernel] = {
    "gaussian": Kernel(_gaussian, 2),
    "cosine": Kernel(_gaussian, 2, of_directions=True),
    "laplacian": Kernel(_laplacian, 1),
}


def distances(kernel: str, rows: Tensor, like: Tensor) -> tuple[Tensor, float]:
    """Negative exponents of rows (n, d), (n, n), and their median over few rows, with which the kernel is exp(-1)."""
    rows = KERNELS[kernel].read(rows)
    rows = rows - rows.mean(0)  # products of rows far from 0 lose their digits
    found = KERNELS[kernel].exponent(rows, rows).neg_().clamp_min_(0).to(like)
    apart = found[:MEDIAN_ROWS, :MEDIAN_ROWS].tril(-1).flatten()  # each pair once
    apart = apart[apart > 1e-6 * apart.max()]
    return found, float(apart.median()) if len(apart) else 1.0


def kernel_values(kernel: str, distance: Tensor, unit: float, bandwidth: float) -> Tensor:
    """The kernel of negative exponents with a bandwidth in units: that at which the negative exponent `unit` is 1."""
    return (distance / -(unit * bandwidth ** KERNELS[kernel].power)).clamp_min_(LEAST_EXPONENT).exp_()


@dataclass(frozen=True)
class KernelSettings:
    """
    Hyperparameters of a fit.

    Attributes
    ----------
    kernel : str
        A key of `KERNELS`.
    view : int
        Which scaling of the rows it reads.
    penalty : float
        λ.
    bandwidth : tuple of float, one a layer
        In units of that layer's scaled features.
    layer_weights : tuple of float, one a layer
        Non-negative, summing to 1.
    """

    kernel: str
    view: int
    penalty: float
    bandwidth: tuple[float, ...]
    layer_weights: tuple[float, ...]

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        """Kernel values of what the kernel reads of rows (n, layers, d) and (m, layers, d), (n, m)."""
        kernel = KERNELS[self.kernel]
        total: Tensor | None = None
        for layer, (weight, width) in enumerate(zip(self.layer_weights, self.bandwidth, strict=True)):
            if weight:
                part = kernel.exponent(a[:, layer] / width, b[:, layer] / width).clamp_(LEAST_EXPONENT, 0).exp_()
                if weight != 1:
                    part.mul_(weight)
                total = part if total is None else total.add_(part)
        assert total is not None
        return total


def solve(gram: Tensor, targets: Tensor, groups: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """
    Coefficients, and the residuals of rows left out alone or in groups (n,), both (n, K), for targets (n, K) without offset.

    `gram` (n, n), K + λ W⁻¹, is overwritten, as a second one may not fit in memory.
    """
    factor = gram.mT  # in the order of columns, in which LAPACK needs no copy
    torch.linalg.cholesky(factor, out=factor)
    coefficients = torch.cholesky_solve(targets, factor)
    return coefficients, left_out(coefficients, factor, groups)


def left_out(coefficients: Tensor, factor: Tensor, groups: np.ndarray | None) -> Tensor:
    """
    Residuals of held-out rows: coefficients (n, K) divided by the diagonal of the inverse, or by that of each group's block.

    The inverse is that of a matrix with the Cholesky factor (n, n).
    """
    if groups is None:
        return coefficients / _inverse_diagonal(factor)[:, None]
    # Blocks of the inverse from rows of L⁻ᵀ: torch.cholesky_inverse is very slow on a busy processor.
    half = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    torch.linalg.solve_triangular(factor.mT, half, upper=True, out=half)
    found = torch.empty_like(coefficients)
    for numbers in rows_of_groups(groups):
        index = torch.as_tensor(numbers, device=coefficients.device)
        found[index] = torch.linalg.solve(half[index] @ half[index].mT, coefficients[index])
    return found


def _inverse_diagonal(factor: Tensor) -> Tensor:
    """
    Diagonal (n,) of the inverse of a matrix with the Cholesky factor (n, n): sums of squares of the columns of L⁻¹.

    Some columns at a time, without the zeros above them, as the whole inverse would take about twice as long.
    """
    n = len(factor)
    step = max(_LEAST_COLUMNS, n // 8)
    identity = torch.eye(n, min(n, step), dtype=factor.dtype, device=factor.device)
    parts = []
    for start in range(0, n, step):
        wanted = identity[: n - start, : n - start]
        columns = torch.linalg.solve_triangular(factor[start:, start:], wanted, upper=False)
        parts.append(columns.square_().sum(0))
    return torch.cat(parts)


def rows_of_groups(groups: np.ndarray) -> list[np.ndarray]:
    """The numbers of the rows of each group (n,), in order."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
