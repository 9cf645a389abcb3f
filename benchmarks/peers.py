"""Peers that need more than their class: labels as numbers, or settings chosen on inner folds that keep groups whole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

N_FOLDS = 5
Folds = list[tuple[np.ndarray, np.ndarray]]


def inner_folds(y: np.ndarray, groups: np.ndarray | None = None) -> Folds:
    """Row numbers of five stratified folds, fewer where a class has fewer rows or there are fewer groups, which stay whole."""
    most = min(N_FOLDS, np.unique(y, return_counts=True)[1].min())
    if groups is None:
        return list(StratifiedKFold(max(2, most), shuffle=True, random_state=0).split(y, y))
    n_folds = max(2, min(most, len(np.unique(groups))))
    return list(StratifiedGroupKFold(n_folds, shuffle=True, random_state=0).split(y, y, groups))


class LabelEncoded(ClassifierMixin, BaseEstimator):
    """Give an estimator that takes only numbers as labels the numbers of the labels."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: np.ndarray) -> LabelEncoded:
        """Fit on the numbers of the labels."""
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.estimator.fit(X, numbers)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities in the order of `classes_`."""
        return self.estimator.predict_proba(X)


class _OnFolds(ClassifierMixin, BaseEstimator):
    """A classifier on standardised features; `_fit` gets the inner folds."""

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Any:
        """Choose the settings on inner folds, then fit on all rows."""
        self.scaler_ = StandardScaler().fit(X)
        self.fitted_ = self._fit(self.scaler_.transform(X), y, inner_folds(y, groups), groups is not None)
        self.classes_ = self.fitted_.classes_
        return self

    def _fit(self, X: np.ndarray, y: np.ndarray, folds: Folds, grouped: bool) -> Any:
        raise NotImplementedError

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities in the order of `classes_`."""
        return self.fitted_.predict_proba(self.scaler_.transform(X))


class TunedLogistic(_OnFolds):
    """Logistic regression whose C has the least log-loss on inner folds."""

    def __init__(self, C: Sequence[float] = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)) -> None:
        self.C = C

    def _fit(self, X: np.ndarray, y: np.ndarray, folds: Folds, grouped: bool) -> Any:
        return LogisticRegressionCV(
            Cs=list(self.C),
            l1_ratios=(0.0,),
            cv=folds,
            scoring="neg_log_loss",
            max_iter=1000,
            use_legacy_attributes=False,
        ).fit(X, y)


class CalibratedSVC(_OnFolds):
    """
    RBF support vector machine with probabilities; among several settings the most accurate on inner folds.

    Parameters
    ----------
    C : sequence of float
    gamma : sequence of float
        In units of one over the number of features.
    pairwise : bool, default=True
        Whether probabilities are those of libsvm, from pairs of classes, which lose least accuracy. Rows with groups get a
        sigmoid for each class instead, fitted on inner folds that keep groups whole, which libsvm cannot.
    """

    def __init__(self, C: Sequence[float] = (1.0,), gamma: Sequence[float] = (1.0,), pairwise: bool = True) -> None:
        self.C = C
        self.gamma = gamma
        self.pairwise = pairwise

    def _fit(self, X: np.ndarray, y: np.ndarray, folds: Folds, grouped: bool) -> Any:
        grid = {"C": list(self.C), "gamma": [gamma / X.shape[1] for gamma in self.gamma]}
        if len(self.C) * len(self.gamma) > 1:
            best = GridSearchCV(SVC(), grid, cv=folds, refit=False).fit(X, y).best_params_
        else:
            best = {name: values[0] for name, values in grid.items()}
        if grouped or not self.pairwise:
            return CalibratedClassifierCV(SVC(**best), cv=folds, ensemble=False).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # scikit-learn 1.9 deprecates them
            return SVC(**best, probability=True, random_state=0).fit(X, y)
