"""What comes in from the caller, checked once: rows, labels, weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite
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
    checked, labels = validate_data(
        estimator, X, y, dtype=_DTYPES, allow_nd=True, ensure_all_finite="allow-nan", reset=feature_shape is None
    )
    rows = _with_layers(checked, feature_shape)
    missing = _missing_rows(rows, "are left out of training")
    check_classification_targets(labels)
    weight = _check_sample_weight(sample_weight, labels, dtype=np.float64, copy=True, ensure_non_negative=True)
    if not weight[~missing].any():
        raise ValueError("Got a sample_weight of zeros only, expected at least one positive weight.")
    if missing.any():
        return rows[~missing], column_or_1d(labels)[~missing], weight[~missing]
    return rows, column_or_1d(labels), weight


def checked_features(
    estimator: BaseEstimator, X: ArrayLike, feature_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Input of prediction as an array (n, layers, d), and which rows are of NaN only (n,)."""
    checked = validate_data(estimator, X, dtype=_DTYPES, allow_nd=True, ensure_all_finite="allow-nan", reset=False)
    rows = _with_layers(checked, feature_shape)
    return rows, _missing_rows(rows, "get the shares of the classes in training as probabilities")


def _missing_rows(rows: np.ndarray, consequence: str) -> np.ndarray:
    """
    Which rows are of NaN only (n,), with a warning that says what becomes of them; any other NaN is an error.

    A featuriser leaves such a row for a clip it could not read: one of them must not cost all the others.
    """
    values = rows.reshape(len(rows), -1)
    missing = np.zeros(len(rows), bool)
    if values.shape[1] > 1 and not np.isfinite(values.sum()):
        missing = np.isnan(values).all(axis=1)
    if missing.all():
        raise ValueError(f"Got {len(rows)} rows of NaN only, expected at least one row of numbers.")
    assert_all_finite(values[~missing] if missing.any() else values, input_name="X")
    if missing.any():
        warnings.warn(
            f"Got {missing.sum()} of {len(rows)} rows of NaN only, the first at index {missing.argmax()}; they {consequence}.",
            UserWarning,
            stacklevel=5,
        )
    return missing


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
