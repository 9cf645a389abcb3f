"""Checks of parameters and of what comes in from the caller; messages say what was received and what was expected."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, isinf
from numbers import Integral, Real
from typing import Any, Concatenate, ParamSpec, TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils._missing import is_pandas_na, is_scalar_nan
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_X_y, column_or_1d, validate_data

from .rows import missing_rows
from .tables import TableEncoder, check_table, declared_categories, is_table, needs_encoding, numbers_of

_DTYPES = [np.float64, np.float32]


def shown(value: Any) -> str:
    """`repr(value)` for a message, with NumPy's numbers like Python's: `0`, not `np.int64(0)`."""
    with np.printoptions(legacy="1.21"):
        return repr(value)


def first_few(items: Sequence[str], n: int = 3, separator: str = ", ") -> str:
    """The first n items for a message, with an ellipsis if there are more."""
    return separator.join(items[:n]) + (f"{separator}…" if len(items) > n else "")


def check_choice(name: str, value: Any, options: Iterable[str]) -> None:
    """Raise unless `value` is one of `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"Got {name}={shown(value)}, expected one of {', '.join(map(repr, options))}.")


def check_names(name: str, value: Any) -> None:
    """Raise if `value` is a string instead of a list of them, whose letters would count as names."""
    if isinstance(value, str):
        raise ValueError(f"Got {name}={value!r}, expected a list of names; pass [{value!r}].")


def _is_one_of(value: Any, words: tuple[str | None, ...]) -> bool:
    return (value is None or isinstance(value, str)) and value in words


def _or(rule: str, words: tuple[str | None, ...]) -> str:
    """A rule and the words that are accepted besides, as "an integer >= 1, 'auto' or None"."""
    *others, last = rule, *map(repr, words)
    return f"{', '.join(others)} or {last}" if others else last


def check_integer(name: str, value: Any, minimum: int, *, also: tuple[str | None, ...] = ()) -> None:
    """Raise unless `value` is an integer of at least `minimum`, or one of `also`."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not (_is_one_of(value, also) or (is_integer and value >= minimum)):
        raise ValueError(f"Got {name}={shown(value)}, expected {_or(f'an integer >= {minimum}', also)}.")


def check_verbose(value: Any) -> None:
    """Raise unless `value` says how much to show: an integer of at least 0, or a boolean."""
    check_integer("verbose", int(value) if isinstance(value, bool) else value, 0)


def check_real(
    name: str,
    value: Any,
    low: float = float("-inf"),
    high: float = float("inf"),
    *,
    low_open: bool = False,
    high_open: bool = False,
    also: tuple[str | None, ...] = (),
) -> None:
    """Raise unless `value` is a finite real number in the interval from `low` to `high`, or one of `also`."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    above = number > low if low_open else number >= low
    below = number < high if high_open else number <= high
    if not (_is_one_of(value, also) or (isfinite(number) and above and below)):
        interval = f"{'(' if low_open or isinf(low) else '['}{low}, {high}{')' if high_open or isinf(high) else ']'}"
        raise ValueError(f"Got {name}={shown(value)}, expected {_or(f'a number in {interval}', also)}.")


def check_flag(name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"Got {name}={shown(value)}, expected True or False.")


def checked_rows(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    feature_shape: tuple[int, ...] | None,
    groups: ArrayLike | None = None,
    categorical_features: Any = "from_dtype",
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """
    Training input of `fit` as arrays.

    The estimator gets `n_features_in_`, `feature_names_in_` and `table_encoder_`; where `feature_shape`, the layers and features
    of an earlier `fit`, is given, X is compared with these instead.

    Returns
    -------
    rows : ndarray of shape (n, layers, d), float32 or float64
        No copy of X, unless its values had to be converted.
    y : ndarray of shape (n,)
        Rows of NaN only have the label of another row.
    weight : ndarray of shape (n,), float64
        A copy; 0 for rows of NaN only, so that they are left out.
    group : ndarray of shape (n,), int
        Number of each row's group; zeros without groups.
    """
    check_table(X)
    given = np.asarray(y)
    if given.ndim == 1:
        check_none_missing("y", given)
        # Nullable numbers and booleans of pandas would be floats for scikit-learn; before 2.2, pandas makes objects of them.
        y = given.astype(getattr(getattr(y, "dtype", None), "numpy_dtype", given.dtype), copy=False)
        if y.dtype == object and {type(label) for label in y} <= {bool, np.bool_}:  # a column of pandas that had a gap
            y = y.astype(bool)
        _check_no_objects(y)
    if feature_shape is None:
        estimator.table_encoder_ = None
        declared = declared_categories(X, categorical_features)
        if declared or needs_encoding(X):
            validate_data(estimator, X, skip_check_array=True)
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            group = None if groups is None else np.unique(checked_groups(groups, len(weight)), return_inverse=True)[1]
            estimator.table_encoder_ = TableEncoder.fit(X, weight, declared, group)
    matrix = _encoded(estimator, X)
    if feature_shape is not None:
        _check_shape(estimator, matrix, feature_shape)
    checks: dict[str, Any] = {"dtype": _DTYPES, "allow_nd": True, "ensure_all_finite": False}
    if estimator.table_encoder_ is None:
        with _objects_explained():
            checked, labels = validate_data(estimator, matrix, y, reset=feature_shape is None, **checks)
    else:
        checked, labels = check_X_y(matrix, y, estimator=estimator, **checks)
    rows = _with_layers(checked)
    missing = missing_rows(rows, "are left out of training", _feature_names(estimator))
    if missing.all():
        raise ValueError(f"Got {len(rows)} rows of NaN only, expected at least one row of numbers.")
    check_classification_targets(labels)
    weight = _check_sample_weight(sample_weight, labels, dtype=np.float64, copy=True, ensure_non_negative=True)
    if not weight[~missing].any():
        raise ValueError("Got a sample_weight of zeros only, expected at least one positive weight.")
    if weight.max() > np.finfo(np.float64).max / len(weight):
        raise ValueError(
            f"Got a sample_weight of up to {weight.max():g}, whose sum may be beyond float64, expected smaller ones; divide them."
        )
    labels = column_or_1d(labels)
    if missing.any():
        labels = np.where(missing, labels[~missing][0], labels)
        weight[missing] = 0
    return rows, labels, weight, _group_numbers(groups, weight > 0)


def checked_groups(groups: ArrayLike, n: int) -> np.ndarray:
    """The groups of n rows as an array."""
    names = np.asarray(groups)
    if names.ndim != 1:
        raise ValueError(
            f"Got groups of shape {names.shape}, expected ({n},): one group per row; ravel them, or name them by one column."
        )
    if len(names) != n:
        raise ValueError(f"Got {len(names)} groups for {n} rows, expected one group per row.")
    check_none_missing("groups", names)
    if 0 < sum(isinstance(name, str) for name in names) < n:
        raise ValueError(
            "Got groups of which some are text, expected all or none; convert them, for example by astype(str)."
        )
    return names


def _group_numbers(groups: ArrayLike | None, used: np.ndarray) -> np.ndarray:
    """Number of each row's group, (n,), among the groups of rows in use (n,); zeros without groups."""
    n = len(used)
    numbers = np.zeros(n, np.int64)
    if groups is None:
        return numbers
    names = checked_groups(groups, n)
    distinct, numbers[used] = np.unique(names[used], return_inverse=True)
    if len(distinct) == 1 and n > 1:
        warnings.warn(
            f"Got groups with {shown(distinct[0])} alone, expected at least 2 groups: nothing can be chosen or calibrated on "
            "rows of another group, so probabilities may be poor; give finer groups, or leave groups out.",
            UserWarning,
            stacklevel=5,
        )
    return numbers


def check_none_missing(name: str, values: np.ndarray) -> None:
    """Raise if one of the values (n,), labels or groups, is None or NaN."""
    if values.dtype.kind == "O":
        missing = np.array([value is None or is_scalar_nan(value) or is_pandas_na(value) for value in values], bool)
    else:
        missing = np.isnan(values) if values.dtype.kind in "fmM" else np.zeros(0, bool)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"Got {name} with {shown(values[rows[0]])} at index {first_few(list(map(str, rows)))} ({len(rows)} of {len(values)} "
            "rows), expected a value for each row; give these rows one, or leave them out."
        )


def _check_no_objects(labels: np.ndarray) -> None:
    """Raise if labels (n,) are objects other than strings; scikit-learn asks for the first words of the message."""
    others = {type(label).__name__ for label in labels if not isinstance(label, str)} if labels.dtype == object else ()
    if others:
        raise ValueError(
            f"Unknown label type: Got y of dtype object with labels of type {', '.join(sorted(others))}, expected strings, or an "
            "array of numbers or booleans; convert it, for example by y.astype(int) or y.astype(str)."
        )


def checked_features(
    estimator: BaseEstimator, X: ArrayLike, feature_shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Input of prediction as an array (n, layers, d), and which rows are of NaN only (n,)."""
    if _needs_no_check(X, estimator, feature_shape):
        rows = X[:, None]  # (n, d) -> (n, 1, d)
    else:
        check_table(X)
        matrix = _encoded(estimator, X)
        _check_shape(estimator, matrix, feature_shape)
        if estimator.table_encoder_ is None:
            with _objects_explained():
                matrix = validate_data(
                    estimator, matrix, dtype=_DTYPES, allow_nd=True, ensure_all_finite=False, reset=False
                )
        rows = _with_layers(matrix)
    consequence = "get the shares of the classes in training as probabilities, and NaN as scores and states"
    return rows, missing_rows(rows, consequence, _feature_names(estimator))


@contextmanager
def _objects_explained() -> Iterator[None]:
    """Say what to do where an array has text, or gaps of pandas."""
    try:
        yield
    except TypeError as error:
        if "'NAType'" not in str(error):
            raise
        raise ValueError(
            "Got X with pandas.NA in an array of objects, expected numbers or NaN; pass the DataFrame itself, or convert it by "
            "to_numpy(dtype=float, na_value=numpy.nan)."
        ) from error
    except ValueError as error:
        message, _, text = str(error).partition("could not convert string to float: ")
        if message or not text:
            raise
        text = text.removeprefix("np.str_(").removesuffix(")")
        raise ValueError(
            f"Got X with the text {text}, expected numbers; make X a DataFrame, of which columns of text become categories."
        ) from error


def _encoded(estimator: BaseEstimator, X: Any) -> Any:
    """X, or what a fitted estimator's encoder of tables makes of it."""
    encoder = estimator.table_encoder_
    if encoder is None:
        if needs_encoding(X):
            validate_data(estimator, X, skip_check_array=True, reset=False)  # the columns' names and number
            numbers_of(X)  # raises by name what NumPy could not convert
        if isinstance(X, np.ndarray) and X.dtype.kind in "mM":  # NaT would become the number -2**63
            raise ValueError(
                f"Got X of dtype {X.dtype}, expected numbers; convert dates and durations to numbers, in a unit that suits them."
            )
        return X
    if is_table(X):
        validate_data(estimator, X, skip_check_array=True, reset=False)  # the columns' names and number
    return encoder.transform(X)


def _feature_names(estimator: BaseEstimator) -> np.ndarray | None:
    """Names of the features of rows, if they have any."""
    encoder = estimator.table_encoder_
    return getattr(estimator, "feature_names_in_", None) if encoder is None else encoder.get_feature_names_out()


def _needs_no_check(X: ArrayLike, estimator: BaseEstimator, feature_shape: tuple[int, ...]) -> TypeGuard[np.ndarray]:
    """Whether X is a plain matrix as wanted: what scikit-learn does to find that takes longer than to compute a row."""
    return (
        type(X) is np.ndarray
        and X.dtype in _DTYPES
        and feature_shape == (1, *X.shape[1:]) == (1, estimator.n_features_in_)
        and len(X) > 0
        and not hasattr(estimator, "feature_names_in_")
        and estimator.table_encoder_ is None
    )


def _with_layers(X: np.ndarray) -> np.ndarray:
    if X.ndim > 3:
        raise ValueError(f"Got X of {X.ndim} dimensions, expected (rows, features) or (rows, layers, features).")
    if 0 in X.shape[1:]:
        raise ValueError(f"Got X of shape {X.shape}, expected at least one layer and one feature.")
    return X if X.ndim == 3 else X[:, None]  # (n, d) -> (n, 1, d)


def _check_shape(estimator: BaseEstimator, X: ArrayLike, feature_shape: tuple[int, ...]) -> None:
    """
    Raise unless rows have the layers and features of `fit`.

    scikit-learn compares the second axis alone and calls it features; only where `fit` and X have no layers is that right. Rows
    that an encoder of tables made fit anyway.
    """
    if estimator.table_encoder_ is not None:
        return
    shape = tuple(X.shape) if hasattr(X, "shape") else np.asarray(X).shape
    n_fitted = estimator.n_features_in_
    if len(shape) < 2 or (len(shape) == 2 and feature_shape == (1, n_fitted)):
        return
    expected = feature_shape if n_fitted == feature_shape[0] else feature_shape[1:]
    if shape[1:] != expected:
        raise ValueError(
            f"Got X of shape {shape}, expected (rows, {', '.join(map(str, expected))}) as in fit; make X like the rows of "
            "fit, or fit another classifier on rows like these."
        )


def class_factors(
    class_weight: dict[Any, Any] | str | None,
    classes: np.ndarray,
    sizes: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """
    The factor that `class_weight` puts on the weight (n,) of each row.

    `classes` and `sizes` (K,) are the labels and the weights of the rows of each class so far, these rows included; `labels` (n,)
    are places in `classes`.
    """
    if class_weight is None:
        return np.ones(len(labels))
    if isinstance(class_weight, dict):
        known = classes.tolist()
        unknown = [label for label in class_weight if label not in known]
        if unknown and not set(known) <= set(class_weight):  # misspelt rather than absent from these rows
            raise ValueError(f"Got class_weight for {shown(unknown)}, expected labels among {known}.")
        by_class = np.array([class_weight.get(label, 1.0) for label in known], dtype=float)
        if not (np.isfinite(by_class).all() and (by_class >= 0).all()):
            raise ValueError(f"Got class_weight={shown(class_weight)}, expected non-negative finite weights.")
        if not (by_class[labels] * weight).any():
            raise ValueError(f"Got class_weight={shown(class_weight)}, expected a row with a positive weight.")
        return by_class[labels]
    if not (isinstance(class_weight, str) and class_weight == "balanced"):
        raise ValueError(
            f"Got class_weight={shown(class_weight)}, expected a dict of weights by label, 'balanced' or None."
        )
    present = sizes > 0
    factor = np.ones(len(sizes))
    factor[present] = sizes.sum() / (present.sum() * sizes[present])
    return factor[labels]


S = TypeVar("S", bound=Any)
P = ParamSpec("P")
R = TypeVar("R")


def all_or_nothing(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """
    Let a method train although its caller may have switched gradients off, and change its object wholly or not at all.

    If the method fails, or is interrupted, the object gets the attributes back that it had. The method must therefore put
    new objects into attributes: what it changes in place stays changed.
    """

    @functools.wraps(method)
    def wrapped(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import torch

        before = dict(vars(self))
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__ = before
            raise

    return wrapped
