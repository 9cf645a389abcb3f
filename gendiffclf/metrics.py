"""How far stated probabilities are from what happens: calibration, which scikit-learn measures for two classes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from .validation import check_integer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["expected_calibration_error"]


@dataclass(frozen=True)
class ReliabilityBins:
    """
    Rows by the probability of their most probable class; bins without rows are left out.

    Attributes
    ----------
    confidence : ndarray of shape (b,)
        Mean probability of the most probable class, in [0, 1].
    accuracy : ndarray of shape (b,)
        Share of rows whose most probable class is the true one, in [0, 1].
    n_rows : ndarray of shape (b,), int
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
    proba: np.ndarray = np.asarray(check_array(y_proba, dtype=np.float64))
    check_consistent_length(truth, proba)
    names = np.unique(truth) if labels is None else np.asarray(labels)
    if proba.shape[1] != len(names):
        raise ValueError(
            f"Got y_proba of {proba.shape[1]} columns for {len(names)} labels, expected one column per label; "
            "pass labels=classifier.classes_."
        )
    if not (np.all(proba >= 0) and np.allclose(proba.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("Got y_proba that is not made of probabilities, expected rows >= 0 that sum to 1.")
    confidence = proba.max(axis=1)
    correct = names[proba.argmax(axis=1)] == truth
    # Bins are (i/n, (i+1)/n]: a probability of 1 is in the last.
    number = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    n_rows = np.bincount(number, minlength=n_bins)
    used = n_rows > 0
    return ReliabilityBins(
        np.bincount(number, confidence, n_bins)[used] / n_rows[used],
        np.bincount(number, correct, n_bins)[used] / n_rows[used],
        n_rows[used],
    )


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
        If columns and labels differ in number, or `y_proba` is not made of probabilities.

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
