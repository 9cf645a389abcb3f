"""Measures that scikit-learn lacks: calibration for more than two classes, and concordance of ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer
from sklearn.utils.validation import _check_sample_weight, check_array, check_consistent_length, column_or_1d

from .validation import check_choice, check_integer

__all__ = ["concordance_correlation", "concordance_scorer", "expected_calibration_error"]


@dataclass(frozen=True)
class ReliabilityBins:
    """
    Rows in b bins by the probability of their most probable class, each (b,); bins without rows are left out.

    `confidence` is the mean of that probability, and `accuracy` the share of rows for which the class is the true one.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    n_rows: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error of these bins."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.n_rows))


def reliability_bins(
    y_true: ArrayLike, y_proba: ArrayLike, *, n_bins: int = 15, labels: ArrayLike | None = None
) -> ReliabilityBins:
    """Sort rows into bins of equal width, see `expected_calibration_error`."""
    check_integer("n_bins", n_bins, 1)
    truth = column_or_1d(y_true)
    proba: np.ndarray = np.asarray(check_array(y_proba, dtype=np.float64, ensure_2d=False, allow_nd=True))
    check_consistent_length(truth, proba)
    names = np.unique(truth) if labels is None else np.asarray(labels)
    if proba.shape[1:] != (len(names),):
        raise ValueError(
            f"Got y_proba of shape {proba.shape} for {len(names)} labels, expected one column per label; "
            "pass labels=classifier.classes_."
        )
    if set(names.tolist()).isdisjoint(truth.tolist()):
        raise ValueError(
            f"Got labels such as {truth.tolist()[0]!r} in y_true and {names.tolist()[0]!r} in labels, expected some in both; "
            "are they of one type?"
        )
    if not (np.all(proba >= 0) and np.allclose(proba.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("Got y_proba that is not made of probabilities, expected rows >= 0 that sum to 1.")
    confidence = proba.max(axis=1)
    correct = names[proba.argmax(axis=1)] == truth
    number = bin_numbers(confidence, n_bins)
    n_rows = np.bincount(number, minlength=n_bins)
    used = n_rows > 0
    return ReliabilityBins(
        np.bincount(number, confidence, n_bins)[used] / n_rows[used],
        np.bincount(number, correct, n_bins)[used] / n_rows[used],
        n_rows[used],
    )


def bin_numbers(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    """Number of each confidence's bin, from 0. Bins are (i/n, (i+1)/n]: a confidence of 1 is in the last."""
    return np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)


def expected_calibration_error(
    y_true: ArrayLike, y_proba: ArrayLike, *, n_bins: int = 15, labels: ArrayLike | None = None
) -> float:
    """
    Mean distance between confidence and accuracy over bins of confidence.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels.
    y_proba : array-like of shape (n, n_classes)
        Probabilities, as from `predict_proba`.
    n_bins : int >= 1, default=15
        Bins of equal width over [0, 1].
    labels : array-like of shape (n_classes,), optional
        Label of each column; by default the sorted labels of `y_true`.

    Returns
    -------
    float
        In [0, 1]; 0 where probabilities of the most probable class agree with accuracy in every bin.

    Raises
    ------
    ValueError
        If columns and labels differ in number, no label of `y_true` is among `labels`, or `y_proba` is not made of
        probabilities.

    Notes
    -----
    Confidence is the probability of the most probable class; bins are weighted by their number of rows (Guo et al.
    2017, Eq. 3).

    Examples
    --------
    >>> from gendiffclf import expected_calibration_error
    >>> expected_calibration_error([0, 1, 1, 1], [[0.75, 0.25], [0.25, 0.75], [0.25, 0.75], [0.75, 0.25]])
    0.0
    """
    return reliability_bins(y_true, y_proba, n_bins=n_bins, labels=labels).error


def concordance_correlation(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str = "uniform_average",
) -> float | np.ndarray:
    """
    Concordance correlation coefficient: how well ratings agree in order, scale and level.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,) or (n, k)
        Ratings, and what was predicted, in the same units and order.
    sample_weight : array-like of shape (n,), optional
        Weights of rows.
    multioutput : {"uniform_average", "raw_values"}, default="uniform_average"
        The mean over the k dimensions, or each.

    Returns
    -------
    ccc : float, or ndarray of shape (k,) with "raw_values"
        In [-1, 1]; 1 for equal ratings, 0 for a constant prediction.

    Raises
    ------
    ValueError
        If shapes differ, or there are fewer than 2 rows.

    Notes
    -----
    2 s_xy / (s_x² + s_y² + (x̄ - ȳ)²) with population moments (Lin 1989). Where truth and prediction are one and the same constant
    it is 1. `gendiffclf.metrics.concordance_scorer` is a scorer of the mean, for `cross_validate` and `GridSearchCV`.

    Examples
    --------
    >>> from gendiffclf.metrics import concordance_correlation
    >>> concordance_correlation([1, 2, 3], [1, 2, 3]), concordance_correlation([1, 2, 3], [2, 3, 4])
    (1.0, 0.571...)
    """
    check_choice("multioutput", multioutput, ("uniform_average", "raw_values"))
    truth, guess = (_rating_table(name, y) for name, y in (("y_true", y_true), ("y_pred", y_pred)))
    if truth.shape != guess.shape:
        raise ValueError(f"Got y_true of shape {truth.shape} and y_pred of shape {guess.shape}, expected one shape.")
    weight = _check_sample_weight(sample_weight, truth, dtype=np.float64, ensure_non_negative=True)
    mean_t, mean_g = (np.average(y, axis=0, weights=weight) for y in (truth, guess))
    covariance = np.average((truth - mean_t) * (guess - mean_g), axis=0, weights=weight)
    spread = np.average((truth - mean_t) ** 2 + (guess - mean_g) ** 2, axis=0, weights=weight)
    distance = spread + (mean_t - mean_g) ** 2
    ccc = np.divide(2 * covariance, distance, out=np.ones_like(distance), where=distance > 0)
    return ccc if multioutput == "raw_values" else float(ccc.mean())


def _rating_table(name: str, y: ArrayLike) -> np.ndarray:
    """Ratings as (n, k) in float64."""
    table = check_array(y, dtype=np.float64, ensure_2d=False, ensure_min_samples=2, input_name=name)
    return table[:, None] if table.ndim == 1 else table


concordance_scorer = make_scorer(concordance_correlation)
"""Scorer of the mean `concordance_correlation`, for `cross_validate` and `GridSearchCV`."""
