"""An exported classifier without torch and scikit-learn: NumPy and onnxruntime are all it needs."""

from __future__ import annotations

import json
import warnings
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np

from ..optional import require
from ..tables import TableColumn, TableEncoder, is_table

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

METADATA_KEY = "gendiffclf"
"""Under it a file has its metadata, as JSON."""
FORMAT_VERSION = 1
"""Raised whenever this module could no longer read a file of the version before."""
_BLOCK = 512
"""Rows in one pass."""


class OnnxPredictor:
    """
    An exported classifier; `load_predictor` makes it from a file.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of the file.
    metadata : dict
        What the file says of labels, shape and columns.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Features; for layered input the number of layers.
    feature_shape_ : tuple of int
        Shape of a row: `(d,)` or `(layers, d)`.
    table_encoder_ : TableEncoder or None
        How columns of a DataFrame become numbers, for classifiers that were fitted to strings or categories.

    Examples
    --------
    >>> predictor = load_predictor("wine.onnx")  # doctest: +SKIP
    >>> predictor.predict_proba(X).shape  # doctest: +SKIP
    (178, 3)
    """

    def __init__(self, session: Any, metadata: dict[str, Any]) -> None:
        self._session = session
        self.classes_ = np.array(metadata["classes"]["values"], dtype=metadata["classes"]["dtype"])
        self.n_features_in_: int = metadata["n_features_in"]
        self.feature_shape_: tuple[int, ...] = tuple(metadata["feature_shape"])
        self.table_encoder_ = None
        if metadata["columns"] is not None:
            columns = [
                TableColumn(**{**column, "categories": tuple(column["categories"])}) for column in metadata["columns"]
            ]
            self.table_encoder_ = TableEncoder(tuple(columns))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """
        The most probable class of each row.

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
            If rows are not like those of `fit`, or hold infinity.
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """
        Class probabilities.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, layers, d), or DataFrame
            As for `GenerativeTransportClassifier.predict_proba`, rounded to float32.

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            Columns in the order of `classes_`. Rows of NaN only get the shares of the classes in training, with a warning.

        Raises
        ------
        ValueError
            If rows are not like those of `fit`, or hold infinity.
        """
        rows = self._checked(X)
        if len(rows) <= _BLOCK:
            return self._session.run(["probabilities"], {"X": rows})[0]
        parts = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
        return np.concatenate([self._session.run(["probabilities"], {"X": part})[0] for part in parts])

    def _checked(self, X: Any) -> np.ndarray:
        if self.table_encoder_ is not None and is_table(X):
            X = self.table_encoder_.transform(X)
        with np.errstate(over="ignore"):
            rows = np.asarray(X, np.float32)
        if rows.shape[1:] != self.feature_shape_ or len(rows) == 0:
            raise ValueError(
                f"Got X of shape {rows.shape}, expected (rows, {', '.join(map(str, self.feature_shape_))}) with at least one row "
                "as in fit; make X like the rows of fit."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(rows.sum()):
                return rows
        infinite = np.isinf(rows)
        if infinite.any():
            raise ValueError(
                f"Got X that contains infinity or a number beyond float32 in row {int(np.argwhere(infinite)[0, 0])}, expected "
                "finite numbers or NaN; clip it, or replace it by NaN where the value is not known."
            )
        missing = np.isnan(rows).reshape(len(rows), -1).all(axis=1)
        if missing.any():
            warnings.warn(
                f"Got {missing.sum()} of {len(rows)} rows of NaN only, the first at index {missing.argmax()}; they get the "
                "shares of the classes in training as probabilities.",
                UserWarning,
                stacklevel=3,
            )
        return rows


def load_predictor(path: str | PathLike[str], n_threads: int | None = None) -> OnnxPredictor:
    """
    Read a file that `GenerativeTransportClassifier.to_onnx` wrote, to predict without torch and scikit-learn.

    Parameters
    ----------
    path : path-like
    n_threads : int >= 1, optional
        Threads of one prediction; by default onnxruntime's choice, one a core.

    Returns
    -------
    OnnxPredictor
        It has `predict`, `predict_proba`, `classes_` and `n_features_in_`.

    Raises
    ------
    ValueError
        If the file is no exported classifier, or of another version of the format.
    FileNotFoundError
        If there is no such file.
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
    with open(path, "rb"):  # onnxruntime's own error names no cause
        pass
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    try:
        session = onnxruntime.InferenceSession(fspath(path), options, providers=["CPUExecutionProvider"])
        metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    except _load_errors() as error:
        raise ValueError(
            f"Got {fspath(path)}, which is not a whole exported classifier, expected a file written by "
            "GenerativeTransportClassifier.to_onnx; export it again."
        ) from error
    if metadata["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"Got {fspath(path)} of format version {metadata['format_version']}, expected {FORMAT_VERSION}; export it with this "
            "release of gendiffclf, or load it with the one that exported it."
        )
    return OnnxPredictor(session, metadata)


def _load_errors() -> tuple[type[Exception], ...]:
    """What files raise that onnxruntime cannot read, or that lack our metadata."""
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
