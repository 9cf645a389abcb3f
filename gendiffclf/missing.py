"""Imputation of missing values in scaled rows, and indicator columns for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from sklearn.utils import gen_batches

N_STEPS = 16
"""Steps of gradient descent from the features' means to the means given the other values of a row."""
SIGNIFICANCE = 0.05, 0.01
"""Probability that any feature gets an indicator although its gaps are at random: for gaps alone, and with another feature."""
_LEAST_GAPS = 10, 5
"""Gaps, and values, of a feature in rows that have another one, and expected gaps inside and outside a class, at least."""
_LARGEST_VALUE = 2.0
"""Of a centred feature in a product, so that it is not all about a few rows."""
_MOST_PRODUCTS = 2**20
"""Gaps times features times classes at most; of more, gaps are tested alone, as products would take too long."""
_SHRINKAGE = 0.1
"""Added to the diagonal of correlations."""
_PRIOR_ROWS = 5
"""Correlations of this many rows are halved."""
_LARGEST_MATRIX = 2**18
"""
Largest number of correlations to store.

Of wider rows, features that are 0 or 1 have none; if the others are too many, gaps get the features' means.
"""
_MEAN_ROWS = 2000
"""Most rows for means and correlations of the scaled features."""
_BLOCK = 64
"""Rows in memory at a time for means and correlations."""

Scale = Callable[[np.ndarray], np.ndarray]
"""Maps rows to scaled rows."""


@dataclass(frozen=True)
class MissingValues:
    """
    Imputation of missing values (NaN) in scaled rows.

    A missing value is replaced by its mean given the other values of the row, for features with a joint normal distribution. A
    feature whose gaps depend on the class in training, alone or together with another feature, also gets an indicator column,
    after all features.

    Attributes
    ----------
    fill : ndarray of shape (views * layers, d), float32
        Means of the scaled features.
    correlated : ndarray of shape (c,), int
        Features of which the means of missing values depend on the other values; none of rows that are too wide.
    gradient : ndarray of shape (views * layers, c, c), float32
        Maps these features of centred rows to steps of their missing values, see `completed`.
    momentum : ndarray of shape (views * layers,), float64
        Share of the last step that is repeated.
    gaps : ndarray of shape (g,), int
        Features with an indicator.
    share : ndarray of shape (layers, g), float64
        Share of the training weight in which they are missing, the centre of the indicator.
    """

    fill: np.ndarray
    correlated: np.ndarray
    gradient: np.ndarray
    momentum: np.ndarray
    gaps: np.ndarray
    share: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, int], n_views: int) -> MissingValues:
        """For rows (layers, d) without gaps in training."""
        layers, d = shape
        n = n_views * layers
        return cls(
            np.zeros((n, d), np.float32),
            np.empty(0, np.int64),
            np.empty((n, 0, 0), np.float32),
            np.zeros(n),
            np.empty(0, np.int64),
            np.empty((layers, 0)),
        )

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        index: np.ndarray,
        sample_weight: np.ndarray,
        scale: Scale,
        gaps: np.ndarray,
        labels: np.ndarray | None = None,
        indicators: np.ndarray | None = None,
    ) -> MissingValues:
        """
        Fit to the rows of X (N, layers, d) that `index` (n,) names, with weights (n,).

        `scale` maps rows to scaled rows (n, views * layers, d) and keeps NaN. `gaps` (g,) are features that are missing in some
        rows but not in all, and `labels` (n,) the classes, which decide which of these get an indicator; without them all do.
        `indicators` (b,) are features that are 0 or 1.
        """
        missing = np.isnan(X[:, :, gaps][index])  # (n, layers, g)
        stride = -(-len(index) // _MEAN_ROWS)
        rows, weight = index[::stride], sample_weight[::stride]
        if labels is not None and len(gaps):
            alone, together = np.array(SIGNIFICANCE) / missing[0].size
            informative = (_p_values(missing, labels, sample_weight) < alone).any(0)
            if len(gaps) * X.shape[2] * len(np.unique(labels)) <= _MOST_PRODUCTS:
                scaled = np.concatenate([x[:, : X.shape[1]] for x, _ in _blocks(X, rows, weight, scale)])
                of_products = _p_values_of_products(missing[::stride], scaled, labels[::stride], weight)
                informative |= (of_products < together).any(0)
            gaps, missing = gaps[informative], missing[:, :, informative]
        share = np.average(missing, axis=0, weights=sample_weight)
        fill = _means(X, rows, weight, scale)
        n, d = fill.shape
        correlated = np.arange(d)
        if n * d * d > _LARGEST_MATRIX:
            correlated = np.setdiff1d(correlated, [] if indicators is None else indicators)
        if n * len(correlated) ** 2 > _LARGEST_MATRIX or not len(correlated):
            return replace(cls.none((n, d), 1), fill=fill, gaps=gaps, share=share)
        steps = [_descent(covariance) for covariance in _covariances(X, rows, weight, scale, fill, correlated)]
        gradient = np.array([step for step, _ in steps], np.float32)
        return cls(fill, correlated, gradient, np.array([momentum for _, momentum in steps]), gaps, share)

    def put_in(self, X: np.ndarray, scaled: np.ndarray, out: np.ndarray) -> None:
        """Write scaled rows (n, views * layers, d) of X (n, layers, d), imputed, and indicators to (n, views * layers, d + g)."""
        d = X.shape[2]
        np.copyto(out[:, :, :d], scaled)
        incomplete = np.isnan(scaled).any(axis=(1, 2))
        if incomplete.any():
            out[incomplete, :, :d] = self.completed(scaled[incomplete])
        if len(self.gaps):
            column = np.isnan(X[:, :, self.gaps]) - self.share  # (n, layers, g)
            out[:, :, d:] = np.tile(column, (1, scaled.shape[1] // X.shape[1], 1))

    def completed(self, scaled: np.ndarray) -> np.ndarray:
        """
        Impute scaled rows, (n, views * layers, d).

        Notes
        -----
        With P the inverse of the features' covariance and x a centred row, the mean of its missing values given the others
        minimises xᵀ P x over them. This is gradient descent with momentum (Polyak 1964) from the features' means. The number of
        steps is fixed, so that every row with gaps takes the same time.
        """
        completed = np.where(np.isnan(scaled), self.fill, scaled)
        if len(self.correlated):
            part, fill = scaled[:, :, self.correlated], self.fill[:, self.correlated]
            missing = np.isnan(part)
            x = np.where(missing, 0, part - fill).swapaxes(0, 1)  # (n, views * layers, c) -> (views * layers, n, c)
            gap, momentum, before = missing.swapaxes(0, 1), self.momentum[:, None, None], x
            for _ in range(N_STEPS):
                x, before = x - gap * (x @ self.gradient) + momentum * (x - before), x
            completed[:, :, self.correlated] = np.where(missing, x.swapaxes(0, 1) + fill, part)
        return completed


def _blocks(
    X: np.ndarray, rows: np.ndarray, weight: np.ndarray, scale: Scale
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of scaled rows (b, views * layers, d) with their weights (b, 1, 1)."""
    for part in gen_batches(len(rows), _BLOCK):
        yield scale(X[rows[part]]), weight[part, None, None]


def _means(X: np.ndarray, rows: np.ndarray, weight: np.ndarray, scale: Scale) -> np.ndarray:
    """Means of the observed values of scaled features, (views * layers, d), float32; 0 if there are none."""
    total, summed = np.zeros(1), np.zeros(1)
    for scaled, each in _blocks(X, rows, weight, scale):
        present = ~np.isnan(scaled)
        total = total + (each * present).sum(0)
        summed = summed + (each * np.where(present, scaled, 0)).sum(0)
    return (summed / np.where(total > 0, total, 1)).astype(np.float32)


def _covariances(
    X: np.ndarray, rows: np.ndarray, weight: np.ndarray, scale: Scale, fill: np.ndarray, features: np.ndarray
) -> np.ndarray:
    """Covariances of scaled features (c,) over the rows that have both, shrunk if these are few, (views * layers, c, c)."""
    n, c = len(fill), len(features)
    n_pairs, products = np.full((n, c, c), float(_PRIOR_ROWS)), np.zeros((n, c, c))
    for scaled, each in _blocks(X, rows, _effective(weight), scale):
        centred = scaled[:, :, features] - fill[:, features].astype(np.float64)
        centred = centred.swapaxes(0, 1)  # (b, views * layers, c) -> (views * layers, b, c)
        present, each = ~np.isnan(centred), each.swapaxes(0, 1)
        x = np.where(present, centred, 0)
        n_pairs += (present * each).mT @ present
        products += (x * each).mT @ x
    return products / n_pairs


def _descent(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Gradient (d, d) and momentum for `MissingValues.completed`."""
    deviation = np.sqrt(covariance.diagonal())
    deviation = np.where(deviation > 0, deviation, 1)
    # Correlations of rows with gaps may have negative eigenvalues, which no distribution has; these become 0.
    values, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    precision = (vectors / (np.maximum(values, 0) + _SHRINKAGE)) @ vectors.T
    unit = np.sqrt(precision.diagonal())
    precision /= np.outer(unit, unit)
    unit /= deviation
    # Optimal step and momentum for eigenvalues in this range, which also holds those of every principal submatrix.
    least, greatest = np.sqrt(np.linalg.eigvalsh(precision)[[0, -1]])
    step = 4 / (least + greatest) ** 2
    return step * precision * unit[:, None] / unit, float(((greatest - least) / (greatest + least)) ** 2)


def _effective(weight: np.ndarray) -> np.ndarray:
    """Weights scaled to sum to the effective number of rows (Kish 1965)."""
    weight = weight / weight.max()  # squares of very small or large ones would be 0 or infinite
    return weight * weight.sum() / (weight**2).sum()


def _p_values(missing: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """
    P-values of Pearson's chi-squared test that gaps do not depend on the class, for each layer and feature.

    (n, layers, g), (n,), (n,) -> (layers, g)
    """
    from scipy.stats import chi2

    weight = _effective(weight)
    classes, index = np.unique(labels, return_inverse=True)
    of_class = np.eye(len(classes))[index] * weight[:, None]  # (n, K)
    observed = np.einsum("nk,nlg->klg", of_class, missing)
    expected = of_class.sum(0)[:, None, None] * (observed.sum(0) / weight.sum())
    size = of_class.sum(0)[:, None, None]
    variance = np.maximum(expected * (1 - expected / size), np.finfo(float).tiny)
    return chi2.sf(((observed - expected) ** 2 / variance).sum(0), max(len(classes) - 1, 1))


def _p_values_of_products(missing: np.ndarray, x: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """
    P-values that gaps do not depend on the class together with any feature, for each layer and feature with gaps.

    Where gaps are at random, their covariance with the product of a feature and a class has mean 0, in the rows that have the
    feature. The least p-value of all features and classes is multiplied by their number.

    Gaps (n, layers, g), scaled rows (n, layers, d), (n,), (n,) -> (layers, g)
    """
    from scipy.stats import chi2

    weight = _effective(weight)[:, None, None]
    classes = np.unique(labels)
    present = ~np.isnan(x)
    n_present = (weight * present).sum(0)  # (layers, d)

    def centred(values: np.ndarray) -> np.ndarray:
        values = np.where(present, values, 0)
        return np.where(present, values - (weight * values).sum(0) / np.maximum(n_present, 1), 0)

    def summed(values: np.ndarray) -> np.ndarray:
        """Over rows with gaps, (n, layers, d) -> (layers, g, d)."""
        return missing.transpose(1, 2, 0) @ values.swapaxes(0, 1)

    x = centred(np.clip(centred(x), -_LARGEST_VALUE, _LARGEST_VALUE))
    n_gaps = summed(weight * present)
    share = n_gaps / np.maximum(n_present, 1)[:, None]
    tells = np.minimum(n_gaps, n_present[:, None] - n_gaps) >= _LEAST_GAPS[0]
    greatest = np.zeros(missing.shape[1:])
    for one in classes[: max(len(classes) - 1, 1)]:
        is_one = (labels == one)[:, None, None]
        product = weight * centred(x * (is_one - (weight * is_one).sum() / weight.sum()))
        variance = share * (1 - share) * (product**2).sum(0)[:, None]
        expected = share * (weight * present * is_one).sum(0)[:, None]
        both = np.minimum(expected, n_gaps - expected) >= _LEAST_GAPS[1]
        found = summed(product) ** 2 / np.maximum(variance, np.finfo(float).tiny)
        greatest = np.maximum(greatest, np.where(tells & both, found, 0).max(-1))
    return chi2.sf(greatest, 1) * x.shape[2] * max(len(classes) - 1, 1)
