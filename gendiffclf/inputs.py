"""What comes in from the caller, checked once: rows, labels, weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d, validate_data

from ._validation import check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_DTYPES = [np.float64, np.float32]


def checked_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    feature_shape: tuple[int, ...] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Training input as arrays.

    Parameters
    ----------
    estimator : estimator
        Gets `n_features_in_` and `feature_names_in_`, or is held to them where `feature_shape` is given.
    X, y, sample_weight : array-like
        As given to `fit`.
    feature_shape : (layers, d), optional
        What rows must look like; None takes them as they are.

    Returns
    -------
    rows : ndarray of shape (n, layers, d), float32 or float64
    y : ndarray of shape (n,)
    weight : ndarray of shape (n,), float64
        A copy.
    """
    checked, labels = validate_data(estimator, X, y, dtype=_DTYPES, allow_nd=True, reset=feature_shape is None)
    rows = _with_layers(checked, feature_shape)
    check_classification_targets(labels)
    weight = _check_sample_weight(sample_weight, rows[:, 0], dtype=np.float64, copy=True, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("Got a sample_weight of zeros only, expected at least one positive weight.")
    return rows, column_or_1d(labels), weight


def checked_features(estimator: BaseEstimator, X: ArrayLike, feature_shape: tuple[int, ...]) -> np.ndarray:
    """Input of prediction as an array (n, layers, d)."""
    return _with_layers(validate_data(estimator, X, dtype=_DTYPES, allow_nd=True, reset=False), feature_shape)


def _with_layers(X: np.ndarray, feature_shape: tuple[int, ...] | None) -> np.ndarray:
    if X.ndim > 3:
        raise ValueError(f"Got X of {X.ndim} dimensions, expected (rows, features) or (rows, layers, features).")
    layered = X if X.ndim == 3 else X[:, None]
    if feature_shape is not None and layered.shape[1:] != feature_shape:
        raise ValueError(f"Got rows of (layers, features) = {layered.shape[1:]}, expected {feature_shape} as in fit.")
    return layered


def class_factors(
    class_weight: dict | str | None, classes: np.ndarray, labels: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """
    The factor that `class_weight` puts on the weight of each row.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
    classes : ndarray of shape (K,)
        Labels.
    labels : ndarray of shape (n,), int
        Place of each row's label in `classes`.
    weight : ndarray of shape (n,)
        Weights before.
    """
    if class_weight is None:
        return np.ones(len(labels))
    if isinstance(class_weight, dict):
        known = classes.tolist()
        unknown = [label for label in class_weight if label not in known]
        if unknown and not set(known) <= set(class_weight):  # misspelt rather than absent from these rows
            raise ValueError(f"Got class_weight for {unknown}, expected labels among {known}.")
        by_class = np.array([class_weight.get(label, 1.0) for label in known], dtype=float)
        if not (np.isfinite(by_class).all() and (by_class >= 0).all()):
            raise ValueError(f"Got class_weight={class_weight!r}, expected non-negative finite weights.")
        if not (by_class[labels] * weight).any():
            raise ValueError(f"Got class_weight={class_weight!r}, expected a row with a positive weight.")
        return by_class[labels]
    check_choice("class_weight", class_weight, ["balanced"])
    size = np.bincount(labels, weight, minlength=len(classes))
    present = size > 0
    factor = np.ones(len(size))
    factor[present] = weight.sum() / (present.sum() * size[present])
    return factor[labels]
