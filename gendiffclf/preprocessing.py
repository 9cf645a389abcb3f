"""From raw features to what the method needs: standardised rows, the start of transport x1, and the condition X_c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from .device import in_threads
from .missing import MissingValues

SCALINGS = ("mixed", "quantile", "robust", "standard", "none")
SMOOTH_CLIP = 3.0
"""Robustly scaled values v become v / sqrt(1 + (v / 3)²): the identity near 0, never beyond ±3."""
WIDE_CLIP = 6.0
"""The same for the standardised view of `"mixed"`."""
N_QUANTILES = 256
_MOST_ROWS = 20_000
"""Statistics of more rows are those of an even selection of at most so many, read in one pass."""
_FIT_VALUES = 2**20
_TRANSFORM_VALUES = 2**15
_COLUMNS = 64
"""In `transform`, values and features at a time: with their tables they stay in the processor's cache."""
LEAST_DISTINCT = 10
"""Values of an unscaled feature that float32 must tell apart, if there are twice as many."""
LARGEST_SCALED = 1e15
"""Squares of numbers up to this do not overflow in float32."""
_LARGEST = 8e307
"""Differences of numbers up to this do not overflow."""


def n_views(kind: str) -> int:
    """Views of a row, side by side, that a scaling makes."""
    return 2 if kind == "mixed" else 1


@dataclass(frozen=True)
class FeatureScaler:
    """
    Puts every feature on the scale of the code's coordinates, whose root mean square is .707.

    Attributes
    ----------
    kind : str
        One of `SCALINGS`: `"robust"` (median and interquartile range, then a smooth clip), `"standard"` (mean and standard
        deviation), `"quantile"` (to a normal distribution, the least and the greatest at ±3; a value counts by the square root
        of the rows that have it, so that the others of a feature that is mostly 0 lie apart), `"none"`, or `"mixed"`, which
        makes two views: `"quantile"`, and `"standard"` with a smooth clip at ±6.
    center, scale : ndarray of shape (layers, d), float64
    quantiles : ndarray of shape (N_QUANTILES, layers, d), float64, or None
        Reference points of `"quantile"` and `"mixed"`.
    indicators : ndarray of shape (b,), int
        Features that are 0 or 1 as columns of a table were encoded so: they are centred in every scaling, and no more.
    missing : MissingValues
        What missing values become. Center, scale and quantiles are those of the values that there are; the scale is infinite
        where there is none.
    """

    kind: str
    center: np.ndarray
    scale: np.ndarray
    quantiles: np.ndarray | None
    indicators: np.ndarray
    missing: MissingValues

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        sample_weight: np.ndarray,
        kind: str,
        index: np.ndarray | None = None,
        indicators: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> FeatureScaler:
        """
        Learn from rows X (N, layers, d), which may be on disk; of many rows, from an even selection of `_MOST_ROWS`.

        `index` (n,) are the rows to learn from, in random order, by default all, and `sample_weight` (n,) their positive weights:
        a row of weight 2 counts like two rows. `kind` is one of `SCALINGS`, `indicators` (b,) are the features that are 0 or 1,
        and `labels` (n,) the classes, which decide whose gaps get a column; without them all do.
        """
        rows = np.arange(len(X)) if index is None else index
        stride = -(-len(rows) // _MOST_ROWS)
        rows, sample_weight = rows[::stride], sample_weight[::stride]
        labels = None if labels is None else labels[::stride]
        if stride > 1:  # in the order in which they are on disk
            order = rows.argsort()
            X, sample_weight, rows = X[rows[order]], sample_weight[order], np.arange(len(rows))
            labels = None if labels is None else labels[order]
        flat = X.reshape(len(X), -1)  # (N, layers, d) -> (N, layers * d)
        n_features = flat.shape[1]
        center: np.ndarray = np.zeros(n_features)
        scale: np.ndarray = np.ones(n_features)
        quantiles = np.zeros((N_QUANTILES, n_features)) if kind in ("quantile", "mixed") else None
        n_present: np.ndarray = np.zeros(n_features, np.int64)
        step = max(1, _FIT_VALUES // len(rows))
        for part in _slices(n_features, step):
            values = flat[:, part][rows].astype(np.float64)
            for columns, present in _by_presence(values):
                place, found = np.arange(n_features)[part][columns], values[present, columns]
                n_present[place] = len(found)
                if not len(found):
                    continue
                if kind == "none":
                    _check_unscaled(found)
                middle, spread, points = _statistics(found, sample_weight[present], kind)
                center[place], scale[place] = middle, spread
                if quantiles is not None:
                    quantiles[:, place] = points
        # A deviation of some rounding errors is no scale.
        least = np.maximum(8 * np.finfo(np.float64).eps * np.abs(center), np.finfo(np.float32).tiny)
        scale = np.where(n_present == 0, np.inf, np.where(scale > least, scale, 1.0))
        shape = X.shape[1:]
        if quantiles is not None:
            quantiles = quantiles.reshape(-1, *shape)
        center, scale = center.reshape(shape), scale.reshape(shape)
        indicators = np.empty(0, np.int64) if indicators is None else indicators
        for feature in indicators:
            values = X[:, :, feature][rows]
            center[:, feature] = np.nansum(values * sample_weight[:, None], axis=0) / sample_weight.sum()
        without = cls(kind, center, scale, quantiles, indicators, MissingValues.none(shape, n_views(kind)))
        n_present = n_present.reshape(shape)
        gaps = np.flatnonzero(((n_present > 0) & (n_present < len(rows))).any(0))
        return replace(
            without, missing=MissingValues.fit(X, rows, sample_weight, without._scaled, gaps, labels, indicators)
        )

    @property
    def n_features_out(self) -> int:
        """Features of scaled rows: those that came, and a column for each whose gaps go with the class."""
        return self.center.shape[1] + len(self.missing.gaps)

    def transform(self, X: np.ndarray, index: np.ndarray | None = None) -> np.ndarray:
        """
        Scale rows, or those of an index in its order; no other copy of all rows is made.

        (N, layers, d) -> (n, views * layers, d + g), float32, with a column for each of the g features whose gaps went with the
        class in fit
        """
        n = len(X) if index is None else len(index)
        scaled = np.empty((n, n_views(self.kind) * X.shape[1], self.n_features_out), np.float32)
        step = max(1, _TRANSFORM_VALUES // min(scaled[0].size, _COLUMNS))
        if self.quantiles is not None:
            _ = self.tables  # made once, not by every thread

        def scale(rows: slice) -> None:
            part = X[rows if index is None else index[rows]]
            self.missing.put_in(part, self._scaled(part), scaled[rows])

        in_threads(scale, _slices(n, step))
        return scaled

    def _scaled(self, X: np.ndarray) -> np.ndarray:
        """Scaled rows (n, layers, d) -> (n, views * layers, d); missing values stay NaN."""
        by_rank, by_scale = self.quantiles is not None, self.kind != "quantile"
        flat, center, scale = X.reshape(len(X), -1), self.center.ravel(), self.scale.ravel()
        n_values = len(center)
        scaled: np.ndarray = np.empty((len(X), n_views(self.kind) * n_values), np.float32)
        step = max(_COLUMNS, _TRANSFORM_VALUES // len(X))
        for part in _slices(n_values, step):
            values = flat[:, part].astype(np.float64)
            values[:, np.isinf(scale[part])] = np.nan
            if by_rank:
                scaled[:, part] = self._to_normal(values.copy() if by_scale else values, part)
            if by_scale:
                np.clip(values, -_LARGEST, _LARGEST, out=values)
                values -= center[part]
                with np.errstate(over="ignore"):
                    values /= scale[part]
                np.clip(values, -_LARGEST, _LARGEST, out=values)
                if (clip := {"robust": SMOOTH_CLIP, "mixed": WIDE_CLIP}.get(self.kind)) is not None:
                    values /= np.hypot(1, values / clip)  # no square that overflows
                scaled[:, -n_values:][:, part] = np.clip(values, -LARGEST_SCALED, LARGEST_SCALED)
        scaled = scaled.reshape(len(X), -1, X.shape[2])
        if len(self.indicators):
            centred = X[:, :, self.indicators] - self.center[:, self.indicators]
            scaled[:, :, self.indicators] = np.tile(centred, (1, n_views(self.kind), 1))
        return scaled

    def _to_normal(self, x: np.ndarray, part: slice) -> np.ndarray:
        """
        Values of some features (n, c) as those of a normal distribution that have the same level.

        A value that fills several quantiles gets the middle of their levels; the least and the greatest are at ±3. In between
        levels are interpolated, so that rounding changes little.
        """
        from scipy.special import ndtri

        tables = self.tables
        reference = tables.reference[part].ravel()
        width = tables.reference.shape[1]
        np.clip(x, tables.least[part], tables.greatest[part], out=x)
        # A binary search for all at once: the last quantile that is not above the value, as a place in the tables.
        place = np.broadcast_to(np.arange(0, x.shape[1] * width, width), x.shape).copy()
        step = width // 2
        while step:
            place += (reference[step:].take(place) <= x) * step
            step //= 2
        level = (x - reference.take(place)) / tables.gap[part].ravel().take(place)
        level *= tables.rise[part].ravel().take(place)
        level += tables.level[part].ravel().take(place)
        return np.clip(ndtri(level, out=level), -SMOOTH_CLIP, SMOOTH_CLIP, out=level)

    @cached_property
    def tables(self) -> RankTables:
        assert self.quantiles is not None
        return RankTables.of(self.quantiles.reshape(len(self.quantiles), -1))

    def __getstate__(self) -> dict[str, Any]:
        """Without tables, which follow from the rest."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _check_unscaled(values: np.ndarray) -> None:
    """Raise a ValueError if float32 has no room for columns (n, c), or hardly tells their values apart."""
    if (largest := np.abs(values).max()) > LARGEST_SCALED:
        raise ValueError(
            f'Got X with values up to {largest:.3g} in size and scaling="none", expected at most {LARGEST_SCALED:g}; choose '
            "another scaling, or divide them."
        )
    for column in values.T:
        if len(np.unique(column[:1000].astype(np.float32))) >= LEAST_DISTINCT:  # soon known of most
            continue
        n_distinct, n_left = (len(np.unique(column.astype(dtype))) for dtype in (np.float64, np.float32))
        is_rounding = np.ptp(column) < 1e-12 * np.abs(column).max()
        if n_left < LEAST_DISTINCT <= n_distinct / 2 and not is_rounding:
            raise ValueError(
                f'Got X with a feature of {n_distinct} values around {column.mean():.3g} and scaling="none", expected values '
                f"that are not rounded to {n_left} in float32; choose another scaling, or subtract their mean."
            )


def _by_presence(values: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Columns of values (n, c) and the rows that they have values in: all complete columns together, others one by one."""
    missing = np.isnan(values)
    with_gap = missing.any(axis=0)
    if not with_gap.all():
        yield np.flatnonzero(~with_gap) if with_gap.any() else slice(None), slice(None)
    for column in np.flatnonzero(with_gap):
        yield slice(column, column + 1), ~missing[:, column]


def _statistics(values: np.ndarray, weight: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Center (c,), scale (c,) and, where the scaling has them, quantiles (N_QUANTILES, c) of columns (n, c) without NaN."""
    center, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if kind in ("standard", "mixed"):
        center, scale = _mean_and_deviation(values, weight)
    if kind in ("quantile", "mixed"):
        return center, scale, np.stack([_spread_out(column, weight) for column in values.T], axis=1)
    if kind == "robust":
        low, center, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0, weights=weight, method="inverted_cdf")
        spread = np.ptp(values, axis=0) / 2  # for features that are constant on more than half of the rows
        # The interquartile range of a standard normal is 1.349.
        scale = np.where(high > low, (high - low) / 1.349, spread)
    return center, scale, None


def _mean_and_deviation(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of columns (n, c); in units of a power of 2, so that neither sums nor squares overflow."""
    unit = np.ldexp(1.0, np.frexp(np.clip(np.abs(values).max(axis=0), None, _LARGEST))[1])
    values = np.clip(values, -_LARGEST, _LARGEST) / unit
    # The mean of many equal values is not that value, and their deviation from it would be a scale.
    constant = values.max(axis=0) == values.min(axis=0)
    mean = np.where(constant, values[0], np.average(values, axis=0, weights=weight))
    return mean * unit, np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight)) * unit


def _spread_out(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """
    Quantiles (N_QUANTILES,) of values (n,), of which each distinct one counts by the root of its weight.

    So a value that most rows have leaves room for the others.
    """
    distinct, place = np.unique(values, return_inverse=True)
    cumulative = np.sqrt(np.bincount(place, weight)).cumsum()
    levels = np.linspace(0, cumulative[-1], N_QUANTILES) * (1 - 1e-12)  # no sum is below its level by rounding
    return distinct[np.searchsorted(cumulative, levels)]


@dataclass(frozen=True)
class RankTables:
    """
    Quantiles of features in the form that a binary search needs.

    Attributes
    ----------
    reference : ndarray of shape (features, w)
        Quantiles but the last, then infinities up to a power of 2.
    level : ndarray of shape (features, w)
        In [0, 1]: the middle of the levels of all quantiles that are equal to it, or the end among them.
    gap, rise : ndarray of shape (features, w)
        To the next quantile and to its level; 1 and 0 for none.
    least, greatest : ndarray of shape (features,)
        The first and the last quantile.
    """

    reference: np.ndarray
    level: np.ndarray
    gap: np.ndarray
    rise: np.ndarray
    least: np.ndarray
    greatest: np.ndarray

    @classmethod
    def of(cls, quantiles: np.ndarray) -> RankTables:
        """Tables of quantiles (levels, features), each column in order."""
        ordered = np.clip(quantiles.T, -_LARGEST, _LARGEST)  # (features, levels)
        n_levels = ordered.shape[1]
        gap, number = np.diff(ordered), np.arange(n_levels)
        # The first and the last of those that are equal to each quantile
        first, last = np.zeros(ordered.shape, int), np.full(ordered.shape, n_levels - 1)
        first[:, 1:] = np.maximum.accumulate((gap > 0) * number[1:], axis=1)
        last[:, :-1] = np.minimum.accumulate(np.where(gap > 0, number[:-1], n_levels - 1)[:, ::-1], axis=1)[:, ::-1]
        least, greatest = first == 0, last == n_levels - 1
        middle = (first + last) / (2 * n_levels - 2)  # also of a constant
        level = np.select([least & ~greatest, greatest & ~least], [0.0, 1.0], middle)

        def padded(table: np.ndarray, value: float) -> np.ndarray:
            width = 1 << (n_levels - 2).bit_length()
            return np.pad(table, ((0, 0), (0, width - n_levels + 1)), constant_values=value)

        return cls(
            padded(ordered[:, :-1], np.inf),
            padded(level[:, :-1], 1),
            padded(np.where(gap > 0, gap, 1), 1),
            padded(np.diff(level), 0),
            ordered[:, 0],
            ordered[:, -1],
        )


def lift_matrix(n_features: int, width: int, seed: int) -> np.ndarray:
    """
    The fixed linear map that carries a feature vector into the code space, (n_features, width), float64.

    Rows (or, for more features than dimensions, columns) of a random orthogonal matrix, which the seed chooses, scaled so that
    lengths are kept on average; the identity where features and dimensions are equally many.
    """
    import torch

    if n_features == width:
        return np.eye(width)
    larger, smaller = max(n_features, width), min(n_features, width)
    normal = np.random.default_rng(seed).standard_normal((larger, smaller))
    orthogonal = torch.linalg.qr(torch.from_numpy(normal)).Q.numpy()  # threads of NumPy would wait for those of torch
    if n_features <= width:
        return np.ascontiguousarray(orthogonal.T)
    return orthogonal * np.sqrt(n_features / width)


def _slices(n: int, step: int) -> list[slice]:
    """Slices of n items, without the checks of scikit-learn's `gen_batches`, which slow down the prediction of one row."""
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
