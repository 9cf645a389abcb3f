"""Cross-validation of the default classifier and four classifiers of scikit-learn."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tqdm.auto import tqdm

from ..classifier import GenerativeTransportClassifier
from ..metrics import expected_calibration_error
from .datasets import Dataset

OURS = "generative transport"


def _prepared(classifier: Any, numbers: Any = None) -> Any:
    """Return a pipeline of one-hot encoding, imputation and scaling, followed by a classifier."""
    if numbers is None:
        numbers = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
    kinds = ["number", "bool"]
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=100, sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include=kinds)), (categories, make_column_selector(dtype_exclude=kinds))
    )
    return make_pipeline(columns, classifier)


CLASSIFIERS: dict[str, Callable[[int], Any]] = {
    OURS: lambda seed: GenerativeTransportClassifier(random_state=seed),
    "logistic regression": lambda seed: _prepared(LogisticRegression(max_iter=1000)),
    "extra trees": lambda seed: _prepared(ExtraTreesClassifier(random_state=seed)),
    "gradient boosting": lambda seed: _prepared(HistGradientBoostingClassifier(random_state=seed), "passthrough"),
    "MLP": lambda seed: _prepared(MLPClassifier(random_state=seed)),
}
"""Functions from a random state to a classifier that accepts any table."""


@dataclass(frozen=True)
class Comparison:
    """
    Predictions of one classifier on one table, which go by these names.

    `y`, (n,), are the true labels, `proba`, (n, n_classes), out-of-fold probabilities, and `seconds` the time of all folds.
    """

    dataset: str
    classifier: str
    y: np.ndarray
    proba: np.ndarray
    seconds: float

    @property
    def predicted(self) -> np.ndarray:
        """Most probable class of each row, of shape (n,)."""
        return np.unique(self.y)[self.proba.argmax(axis=1)]

    @property
    def accuracy(self) -> float:
        """Share of rows whose most probable class is correct."""
        return float((self.predicted == self.y).mean())

    @property
    def log_loss(self) -> float:
        """Mean negative log-probability of the true class."""
        return float(log_loss(self.y, self.proba))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over 15 bins."""
        return expected_calibration_error(self.y, self.proba)


def compare(datasets: Sequence[Dataset], *, n_folds: int, random_state: int = 0) -> Iterator[Comparison]:
    """
    Cross-validate every one of `CLASSIFIERS` on every table, with a progress bar.

    All have the same `n_folds` >= 2 stratified folds, which keep groups together.
    """
    with tqdm(total=len(datasets) * len(CLASSIFIERS), unit="classifier", leave=False) as bar:
        for data in datasets:
            kind = StratifiedKFold if data.groups is None else StratifiedGroupKFold
            folds = list(kind(n_folds, shuffle=True, random_state=random_state).split(data.X, data.y, data.groups))
            for name, create in CLASSIFIERS.items():
                bar.set_description(f"{data.name}: {name}")
                extra = {"groups": data.groups} if name == OURS and data.groups is not None else None
                start = time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # usual for the MLP after 200 epochs
                    warnings.filterwarnings("ignore", "Number of classes in training fold", RuntimeWarning)
                    proba = cross_val_predict(
                        create(random_state), data.X, data.y, cv=folds, method="predict_proba", params=extra
                    )
                bar.update()
                yield Comparison(data.name, name, data.y, proba, time.perf_counter() - start)
