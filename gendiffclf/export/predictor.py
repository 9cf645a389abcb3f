"""Prediction with exported classifiers, which needs only NumPy and onnxruntime."""

from __future__ import annotations

import json
from numbers import Integral
from os import PathLike, fspath
from os.path import abspath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..optional import require
from ..rows import missing_rows
from ..tables import TableColumn, TableEncoder, check_table, is_table, numbers_of

METADATA_KEY = "gendiffclf"
"""Key of the metadata in a file, which is JSON."""
FORMAT_VERSION = 1
"""Incremented when this module cannot read earlier files any more."""
_BLOCK = 512
"""Rows per call of onnxruntime."""


class OnnxPredictor:
    """
    An exported classifier, as returned by `load_predictor`.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Session of the file.
    metadata : dict
        Metadata of the file: labels, shape and columns.
    source : tuple of (str, int or None)
        Arguments for `load_predictor`. A pickle holds only these: another process reads the file again.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    n_features_in_ : int
        Number of features; for layered input, the number of layers.
    feature_shape_ : tuple of int
        Shape of a row: `(d,)` or `(layers, d)`.
    feature_names_in_ : list of str or None
        Names of the columns, if the classifier was fitted to a DataFrame.
    table_encoder_ : TableEncoder or None
        Encoder for DataFrames, if the classifier was fitted to strings or categories.

    Examples
    --------
    >>> predictor = load_predictor("wine.onnx")  # doctest: +SKIP
    >>> predictor.predict_proba(X).shape  # doctest: +SKIP
    (178, 3)
    """

    def __init__(self, session: Any, metadata: dict[str, Any], source: tuple[str, int | None]) -> None:
        self._session, self._source = session, source
        self.classes_ = np.array(metadata["classes"]["values"], dtype=metadata["classes"]["dtype"])
        self.n_features_in_: int = metadata["n_features_in"]
        self.feature_shape_: tuple[int, ...] = tuple(metadata["feature_shape"])
        self.feature_names_in_: list[str] | None = metadata.get("feature_names")
        self.table_encoder_ = None
        if metadata["columns"] is not None:
            columns = [
                TableColumn(**{**column, "categories": tuple(column["categories"])}) for column in metadata["columns"]
            ]
            self.table_encoder_ = TableEncoder(tuple(columns))

    def __reduce__(self) -> tuple[Any, ...]:
        return load_predictor, self._source

    def predict(self, X: ArrayLike) -> np.ndarray:
        """
        Predict the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d), or DataFrame
            As for `GenerativeTransportClassifier.predict`, rounded to float32.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        ValueError
            If rows have another shape than in `fit`, or hold infinity.
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """
        Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d), or DataFrame
            As for `GenerativeTransportClassifier.predict_proba`, rounded to float32.

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            Columns in the order of `classes_`. Rows with only NaN get the class frequencies in training, with a warning.

        Raises
        ------
        ValueError
            If rows have another shape than in `fit`, or hold infinity.
        """
        rows = self._checked(X)
        if len(rows) <= _BLOCK:
            return self._session.run(["probabilities"], {"X": rows})[0]
        parts = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
        return np.concatenate([self._session.run(["probabilities"], {"X": part})[0] for part in parts])

    def _checked(self, X: Any) -> np.ndarray:
        if type(X) is not np.ndarray:
            X = self._without_names(X)
        shape = f"(rows, {', '.join(map(str, self.feature_shape_))})"
        try:
            with np.errstate(over="ignore"):
                rows = np.asarray(X, np.float32)
        except (TypeError, ValueError) as error:
            table = "" if self.table_encoder_ is None else ", or a DataFrame with the columns of fit"
            raise ValueError(
                f"Got X that is no array ({error}), expected numbers or NaN of shape {shape}{table}."
            ) from error
        if rows.shape[1:] != self.feature_shape_ or len(rows) == 0:
            raise ValueError(
                f"Got X of shape {rows.shape}, expected {shape} with at least one row; pass the features of fit."
            )
        missing_rows(rows, "get the class frequencies in training as probabilities", stacklevel=4)
        return rows

    def _without_names(self, X: Any) -> Any:
        """Columns of a DataFrame, with the names and order of those of `fit`, as numbers; X itself if it is none."""
        check_table(X)
        if not is_table(X):
            return X
        names = [str(name) for name in X.columns]
        if self.feature_names_in_ not in (None, names):
            raise ValueError(
                f"Got X with the columns {names}, expected {self.feature_names_in_} as in fit; take "
                "X[predictor.feature_names_in_]."
            )
        return numbers_of(X) if self.table_encoder_ is None else self.table_encoder_.transform(X)


def load_predictor(path: str | PathLike[str], n_threads: int | None = None) -> OnnxPredictor:
    """
    Load a file written by `GenerativeTransportClassifier.to_onnx`, to predict without torch and scikit-learn.

    Parameters
    ----------
    path : path-like
    n_threads : int >= 1, optional
        Number of threads per prediction; by default onnxruntime's choice, one per core.

    Returns
    -------
    OnnxPredictor
        With `predict`, `predict_proba`, `classes_` and `n_features_in_`.

    Raises
    ------
    ValueError
        If the file is not an exported classifier, or has another version of the format, or `n_threads` is below 1.
    FileNotFoundError
        If the file does not exist.
    ImportError
        If onnxruntime is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier, load_predictor
    >>> X, y = load_wine(return_X_y=True)
    >>> classifier = GenerativeTransportClassifier(random_state=0).fit(X, y)
    >>> classifier.to_onnx("wine.onnx")  # doctest: +SKIP
    >>> predictor = load_predictor("wine.onnx")  # doctest: +SKIP
    >>> predictor.predict(X[:3])  # doctest: +SKIP
    array([0, 0, 0])
    """
    onnxruntime = require("onnxruntime", "onnx")
    with open(path, "rb"):  # for a clear error, which onnxruntime's is not
        pass
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if n_threads is not None:
        if not isinstance(n_threads, Integral) or isinstance(n_threads, bool) or n_threads < 1:
            raise ValueError(f"Got n_threads={n_threads!r}, expected an integer >= 1, or None for one per core.")
        options.intra_op_num_threads = n_threads
    try:
        session = onnxruntime.InferenceSession(fspath(path), options, providers=["CPUExecutionProvider"])
        metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    except _load_errors() as error:
        raise ValueError(
            f"Got {fspath(path)}, which is not a complete exported classifier, expected a file written by "
            "GenerativeTransportClassifier.to_onnx; export it again."
        ) from error
    if metadata["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"Got {fspath(path)} of format version {metadata['format_version']}, expected {FORMAT_VERSION}; export it with this "
            "version of gendiffclf, or load it with the version that exported it."
        )
    return OnnxPredictor(session, metadata, (abspath(path), n_threads))


def _load_errors() -> tuple[type[Exception], ...]:
    """Exceptions raised for files that onnxruntime cannot read, or that lack metadata."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        KeyError,
        state.InvalidProtobuf,
        state.InvalidGraph,
        state.InvalidArgument,
        state.Fail,
        state.NotImplemented,
        state.NoModel,
    )
