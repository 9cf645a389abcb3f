"""Labels by several people: fitting to votes, and metrics of probabilities against votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import jensenshannon
from scipy.special import xlogy
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, _num_samples, check_array

from .validation import checked_groups, shown

__all__ = ["jensen_shannon_divergence", "vote_cross_entropy"]


class VotesMixin:
    """`fit_votes` of the classifier."""

    if TYPE_CHECKING:
        held_out_index_: np.ndarray
        held_out_proba_: np.ndarray

        def __getattr__(self, name: str) -> Any: ...

    def fit_votes(
        self,
        X: ArrayLike,
        votes: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """
        Fit to votes for several classes per row.

        The estimators are regressions onto codes, so the target of a row is the mean of the codes, weighted by its votes. This
        equals `fit` on a copy of the row for each class with votes, weighted by these, with all copies held out together.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d), or DataFrame
            As for `fit`.
        votes : array-like of shape (n, n_classes), or DataFrame
            Non-negative counts or shares; with counts, rows with more votes weigh more. Rows without votes are left out.
        classes : array-like of shape (n_classes,), optional
            Labels of the columns; by default the column names of a DataFrame, else 0, 1, ... Classes without votes are left out.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights, which multiply the votes.
        groups : array-like of shape (n,), optional
            As for `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If votes are negative, not finite or all zero, or do not match `X` in rows or `classes` in columns; and as `fit`.
        """
        shares, labels = _checked_votes(votes, classes)
        if _num_samples(X) != len(shares):
            raise ValueError(
                f"Got votes of {len(shares)} rows for X of {_num_samples(X)}, expected a row of votes for each row."
            )
        row, column = np.nonzero(shares)
        if groups is None and len(np.unique(row)) < len(row):
            groups = np.arange(len(shares))
        weight = _check_sample_weight(sample_weight, shares, dtype=np.float64, ensure_non_negative=True)
        self.fit(
            _safe_indexing(X, row),
            labels[column],
            sample_weight=shares[row, column] * weight[row],
            groups=None if groups is None else checked_groups(groups, len(shares))[row],
        )
        # The copies of a row were held out together and have the same estimate.
        self.held_out_index_, first = np.unique(row[self.held_out_index_], return_index=True)
        self.held_out_proba_ = self.held_out_proba_[first]
        return self


def _checked_votes(votes: Any, classes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Votes (n, K) as floats, and the labels of their columns (K,)."""
    shares = _finite("votes", votes)
    if (shares < 0).any() or not shares.any():
        raise ValueError(
            f"Got votes of which the least is {shares.min()}, expected votes >= 0, and at least one that is positive."
        )
    names = list(getattr(votes, "columns", range(shares.shape[1])) if classes is None else classes)
    labels = np.array(names)
    one_type = labels.dtype.kind != "U" or all(isinstance(name, str) for name in names)
    if labels.shape != (shares.shape[1],) or len(np.unique(labels.astype(str))) < len(labels) or not one_type:
        raise ValueError(
            f"Got classes={shown(names)} for votes of {shares.shape[1]} columns, expected one label for each column, "
            "all different and of one type."
        )
    return shares, labels


def _finite(name: str, values: Any) -> np.ndarray:
    """Votes or probabilities as floats (n, K)."""
    given = check_array(
        values, dtype=np.float64, input_name=name, ensure_all_finite=False, ensure_2d=False, allow_nd=True
    )
    checked: np.ndarray = np.asarray(given)
    if checked.ndim != 2:
        raise ValueError(
            f"Got {name} of shape {checked.shape}, expected a column for each class; make single labels one-hot."
        )
    if not np.isfinite(checked).all():
        row, column = np.argwhere(~np.isfinite(checked))[0]
        raise ValueError(
            f"Got {name} with {checked[row, column]} in row {row}, column {column}, expected finite numbers >= 0; write 0 for "
            "a class without votes."
        )
    return checked


def _distributions(
    votes: ArrayLike, y_proba: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of votes and probabilities, both (n, K), each row summing to 1, and weights of rows (n,)."""
    shares, proba = _finite("votes", votes), _finite("y_proba", y_proba)
    if shares.shape != proba.shape:
        raise ValueError(
            f"Got votes of shape {shares.shape} and y_proba of shape {proba.shape}, expected a row for each row and a column for "
            "each class."
        )
    names = [list(table.columns) for table in (votes, y_proba) if hasattr(table, "columns")]
    if len(names) == 2 and names[0] != names[1]:
        raise ValueError(
            f"Got votes with the columns {names[0]} and y_proba with {names[1]}, expected the same in one order; take "
            "votes[list(y_proba.columns)]."
        )
    for name, values in (("votes", shares), ("y_proba", proba)):
        if (values < 0).any() or not values.any(axis=1).all():
            raise ValueError(
                f"Got {name} with a negative value or a row of zeros, expected rows >= 0 with a positive sum; leave out "
                "the others."
            )
    weight = _check_sample_weight(sample_weight, shares, dtype=np.float64, ensure_non_negative=True)
    return shares / shares.sum(1, keepdims=True), proba / proba.sum(1, keepdims=True), weight


def cross_entropies(shares: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Cross-entropy of each row, (n, K), (n, K) -> (n,), in nats."""
    with np.errstate(divide="ignore"):
        return -xlogy(shares, proba).sum(1)


def divergences(shares: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of each row, (n, K), (n, K) -> (n,), in nats."""
    return np.nan_to_num(jensenshannon(shares, proba, axis=1)) ** 2


def vote_cross_entropy(votes: ArrayLike, y_proba: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """
    Mean cross-entropy of probabilities against the shares of votes, in nats: the logarithmic loss if all votes of a row agree.

    Parameters
    ----------
    votes : array-like of shape (n, n_classes)
        Counts or shares, >= 0, at least one a row; each row counts once.
    y_proba : array-like of shape (n, n_classes)
        Probabilities, the classes in the same order.
    sample_weight : array-like of shape (n,), optional
        Non-negative.

    Returns
    -------
    float
        At least the mean entropy of the votes; infinite if a class with votes has the probability 0.

    Raises
    ------
    ValueError
        If shapes or names of columns differ, or a value is negative or not finite, or a row is all zeros.

    Examples
    --------
    >>> from gendiffclf import vote_cross_entropy
    >>> round(vote_cross_entropy([[3, 1]], [[0.75, 0.25]]), 3)
    0.562
    """
    shares, proba, weight = _distributions(votes, y_proba, sample_weight)
    return float(np.average(cross_entropies(shares, proba), weights=weight))


def jensen_shannon_divergence(votes: ArrayLike, y_proba: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """
    Mean Jensen-Shannon divergence of probabilities and the shares of votes, in nats.

    Parameters
    ----------
    votes : array-like of shape (n, n_classes)
        Counts or shares, >= 0, at least one a row; each row counts once.
    y_proba : array-like of shape (n, n_classes)
        Probabilities, the classes in the same order.
    sample_weight : array-like of shape (n,), optional
        Non-negative.

    Returns
    -------
    float
        From 0, where both agree, to log 2, where they share no class.

    Raises
    ------
    ValueError
        If shapes or names of columns differ, or a value is negative or not finite, or a row is all zeros.

    Examples
    --------
    >>> from gendiffclf import jensen_shannon_divergence
    >>> round(jensen_shannon_divergence([[4, 0]], [[0.0, 1.0]]), 3)
    0.693
    """
    shares, proba, weight = _distributions(votes, y_proba, sample_weight)
    return float(np.average(divergences(shares, proba), weights=weight))
