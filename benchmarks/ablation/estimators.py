"""Classifiers of the ablation that differ from another after the fit alone."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.combination import Combination, uncalibrated

from ..models import configuration

_MOST_FITS = 2  # one of the table at hand, one of the rows that warm up
_fits: OrderedDict[tuple[str, bytes, bytes], BaseEstimator] = OrderedDict()


def equal_weights(combination: Combination) -> Combination:
    """Equal weights of the estimators instead of fitted ones."""
    return replace(combination, weights=uncalibrated(len(combination.weights)).weights)


def no_calibration(combination: Combination) -> Combination:
    """Fitted weights; each estimator read by its positive part, and no temperature."""
    return replace(uncalibrated(len(combination.weights)), weights=combination.weights, floor=combination.floor)


COMBINATIONS = {"equal weights": equal_weights, "no calibration": no_calibration}


class AfterFit(ClassifierMixin, BaseEstimator):
    """
    A classifier of which something is changed after the fit.

    Those of one estimator and one set of rows share one fit: `fit` of all but the first takes no time.

    Parameters
    ----------
    estimator : GenerativeTransportClassifier
    after : dict
        Parameters of the fitted path, or `"combination"` with a key of `COMBINATIONS`.
    """

    def __init__(self, estimator: GenerativeTransportClassifier, after: dict[str, Any]) -> None:
        self.estimator = estimator
        self.after = after

    def fit(self, X: np.ndarray, y: np.ndarray) -> AfterFit:
        """Fit, or take the fit of another, and change a copy."""
        self.fitted_ = copy.deepcopy(_shared_fit(self.estimator, X, y))
        changes = dict(self.after)
        if name := changes.pop("combination", None):
            self.fitted_.combination_ = COMBINATIONS[name](self.fitted_.combination_)
        self.fitted_.path_.set_params(**changes).check()
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the fitted classifier."""
        return self.fitted_.predict_proba(X)


def _shared_fit(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray) -> Any:
    key = json.dumps(configuration(estimator), sort_keys=True), X.tobytes(), np.asarray(y, str).tobytes()
    if key not in _fits:
        _fits[key] = clone(estimator).fit(X, y)
        if len(_fits) > _MOST_FITS:
            _fits.popitem(last=False)
    _fits.move_to_end(key)
    return _fits[key]
