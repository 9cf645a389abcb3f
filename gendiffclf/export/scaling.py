"""`FeatureScaler.transform` in torch, with operators of ONNX and without branches that depend on values."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from scipy.special import ndtr, ndtri
from torch import Tensor, nn

from ..missing import N_STEPS
from ..preprocessing import LARGEST_SCALED, SMOOTH_CLIP, WIDE_CLIP, FeatureScaler, RankTables, n_views

_DEGREE = 12
"""Degree of the polynomial for normal quantiles, which has an error below 1e-8."""
_FINE = 16
"""Quantiles are searched in two steps: among every 16th, then among 16."""


def normal_quantile(level: Tensor) -> Tensor:
    """
    Quantiles of the normal distribution within ±3, with an error below 1e-8; ONNX has no operator for them.

    A polynomial in sqrt(-2 log(level)) is used for levels up to 1/2. Levels are in [0, 1], of any shape.
    """
    least = float(ndtr(-SMOOTH_CLIP))
    low, high = math.sqrt(-2 * math.log(0.5)), math.sqrt(-2 * math.log(least))
    fitted = Chebyshev.interpolate(lambda s: -ndtri(np.exp(-s * s / 2)), _DEGREE, domain=[low, high])
    coefficients = fitted.convert(kind=np.polynomial.Polynomial, domain=[low, high], window=[-1, 1]).coef
    tail = torch.minimum(level, 1 - level).clamp(least, 0.5)
    x = ((-2.0 * tail.log()).sqrt() - (low + high) / 2) / ((high - low) / 2)
    value = torch.full_like(x, float(coefficients[-1]))
    for coefficient in coefficients[-2::-1].tolist():
        value = value * x + coefficient
    return torch.where(level > 0.5, value, -value)


def _buffer(values: np.ndarray) -> nn.Buffer:
    return nn.Buffer(torch.as_tensor(values))


class ScalingModule(nn.Module):
    """
    A fitted scaler as a module, which computes in float64 and returns float32.

    Shape
    -----
    (n, layers, d) -> (n, views * layers, d + g), float32
    """

    def __init__(self, scaler: FeatureScaler) -> None:
        super().__init__()
        layers, d = scaler.center.shape
        views = n_views(scaler.kind)
        self.kind, self.n_views = scaler.kind, views
        unseen = np.isinf(scaler.scale)  # features that had no value in fit
        self.unseen = _buffer(unseen) if unseen.any() else None
        self.center = _buffer(scaler.center)
        self.scale = _buffer(np.where(unseen, 1.0, scaler.scale))
        indicators = np.isin(np.arange(d), scaler.indicators)
        self.indicators = _buffer(indicators) if indicators.any() else None
        missing = scaler.missing
        self.fill = _buffer(missing.fill.astype(np.float64))
        self.correlated = _buffer(missing.correlated)
        self.gradient = _buffer(missing.gradient.astype(np.float64)) if missing.gradient.size else None
        self.momentum = _buffer(missing.momentum[:, None, None])
        self.gaps = _buffer(missing.gaps)
        self.share = _buffer(missing.share)
        self.ranks = None if scaler.quantiles is None else _Ranks(scaler.tables, (layers, d))

    def forward(self, X: Tensor) -> Tensor:
        X = X.double()
        is_missing = X.isnan()
        gap = is_missing if self.unseen is None else is_missing | self.unseen
        x = torch.where(gap, self.center, X)
        views = [] if self.ranks is None else [self.ranks(x)]
        if self.kind != "quantile":
            scaled = (x - self.center) / self.scale
            if (clip := {"robust": SMOOTH_CLIP, "mixed": WIDE_CLIP}.get(self.kind)) is not None:
                scaled = scaled / (1.0 + (scaled / clip).square()).sqrt()
            views.append(scaled.clamp(-LARGEST_SCALED, LARGEST_SCALED))
        if self.indicators is not None:
            views = [torch.where(self.indicators, x - self.center, view) for view in views]
        # (n, layers, d) -> (n, views * layers, d)
        rows, gaps = torch.cat(views, dim=1), torch.cat([gap] * self.n_views, dim=1)
        # Rows without gaps are spared the steps, which would take half of the time of a single row.
        rows = torch.cond(gap.any(), self.completed, lambda rows, _: rows.clone(), (rows, gaps))
        if len(self.gaps):
            indicators = is_missing[:, :, self.gaps].double() - self.share  # (n, layers, g)
            rows = torch.cat([rows, torch.cat([indicators] * self.n_views, dim=1)], dim=2)
        return rows.float()

    def completed(self, rows: Tensor, gap: Tensor) -> Tensor:
        """Impute like `MissingValues.completed`, with the mask of gaps, (n, views * layers, d), as an argument."""
        centred = torch.where(gap, 0.0, rows - self.fill)
        if self.gradient is not None:
            # (n, views * layers, d) -> (views * layers, n, c)
            x = centred[:, :, self.correlated].transpose(0, 1)
            missing, before = gap[:, :, self.correlated].transpose(0, 1).double(), x
            for _ in range(N_STEPS):
                x, before = x - missing * (x @ self.gradient) + self.momentum * (x - before), x
            centred = centred.index_copy(2, self.correlated, x.transpose(0, 1))
        return torch.where(gap, centred + self.fill, rows)


class _Ranks(nn.Module):
    """Maps values without NaN to normal quantiles of the same level, (n, layers, d) -> (n, layers, d)."""

    def __init__(self, tables: RankTables, shape: tuple[int, int]) -> None:
        super().__init__()
        n_features, width = tables.reference.shape
        self.shape = shape
        self.n_fine = min(_FINE, width)
        self.n_coarse = width // self.n_fine
        self.least, self.greatest = _buffer(tables.least), _buffer(tables.greatest)
        self.reference = _buffer(tables.reference.reshape(-1, self.n_fine))
        self.coarse = _buffer(tables.reference[:, :: self.n_fine].copy())
        self.level, self.gap, self.rise = (_buffer(table.ravel()) for table in (tables.level, tables.gap, tables.rise))
        self.first = _buffer(np.arange(n_features) * self.n_coarse)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)  # (n, layers, d) -> (n, f)
        x = torch.minimum(torch.maximum(x, self.least), self.greatest)
        # Find the last quantile that is not above the value.
        block = self.first + ((self.coarse <= x[..., None]).long().sum(-1) - 1)
        fine = nn.functional.embedding(block, self.reference)  # (n, f) -> (n, f, 16)
        inside = (fine <= x[..., None]).long().sum(-1) - 1
        index = block * self.n_fine + inside
        level = (x - self.reference.take(index)) / self.gap.take(index) * self.rise.take(index) + self.level.take(index)
        return normal_quantile(level).unflatten(1, self.shape)
