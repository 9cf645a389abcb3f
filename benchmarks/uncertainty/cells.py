"""One split of one table, and the models that are fitted on it, each once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ..data import Table, split_rows
from ..metrics import align_columns
from ..models import create_model

Row = dict[str, Any]
OURS, MLP = "ours", "mlp"
METHODS = ("sigmoid", "isotonic")
BOOSTED = tuple(name for name in ("lightgbm", "catboost") if find_spec(name))
"""Those that are installed."""
CALIBRATED = ("mlp", "extratrees", *BOOSTED)


def _calibrated(name: str, method: str) -> BaseEstimator:
    model = make_pipeline(StandardScaler(), SVC()) if name == "svc" else create_model(name)
    return CalibratedClassifierCV(model, method=method, cv=3)


CREATORS: dict[str, Callable[[], BaseEstimator]] = {
    **{name: lambda name=name: create_model(name) for name in (OURS, "logreg", "hgb", *CALIBRATED)},
    **{
        f"{name} + {method}": lambda name=name, method=method: _calibrated(name, method)
        for name in (*CALIBRATED, "svc")
        for method in METHODS
    },
}
"""Each model of the parts; "mlp + sigmoid" is the MLP in `CalibratedClassifierCV(method="sigmoid", cv=3)`."""


def fit(name: str, X: np.ndarray, y: np.ndarray, **of_fit: Any) -> Any:
    """A model of `CREATORS` fitted on rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers that stop before they converge do so with their own settings
        return CREATORS[name]().fit(X, y, **of_fit)


@dataclass
class Cell:
    """
    One split of a table.

    Attributes
    ----------
    table : Table
    split : int
    """

    table: Table
    split: int
    _fitted: dict[str, BaseEstimator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train, test = split_rows(self.table, self.split)
        self.X_train, self.y_train = self.table.X[train], self.table.y[train]
        self.X_test, self.y_test = self.table.X[test], self.table.y[test]
        self.labels = np.unique(self.table.y)

    def fitted(self, name: str) -> Any:
        """A model of `CREATORS` fitted on the training part, at the first call."""
        if name not in self._fitted:
            self._fitted[name] = fit(name, self.X_train, self.y_train)
        return self._fitted[name]

    def probabilities(self, name: str, X: np.ndarray) -> np.ndarray:
        """Its probabilities (n, n_classes) of rows, columns in the order of `labels`."""
        model = self.fitted(name)
        return align_columns(model.predict_proba(X), model.classes_, self.labels)
