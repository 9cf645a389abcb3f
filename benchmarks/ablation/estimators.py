"""Classifiers of the ablation that are more than a set of parameters."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import OrderedDict
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from gendiffclf import GenerativeTransportClassifier

from ..models import configuration

_MOST_FITS = 2  # one of the table at hand, one of the rows that warm up
_fits: OrderedDict[str, BaseEstimator] = OrderedDict()


class WithoutCondition(GenerativeTransportClassifier):
    """
    The classifier with a condition that says nothing, so that x_t is all that its network sees of a row.

    A row of two layers has its last one as the start of transport and the first as the condition. Here the first is zero
    everywhere, in training and in prediction, and constant after scaling. The network keeps its shape.
    """

    def fit(self, X: np.ndarray, y: np.ndarray, **of_fit: Any) -> WithoutCondition:
        """Train on rows (n, d)."""
        return super().fit(_below_zeros(X), y, **of_fit)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of rows (n, d)."""
        return super().predict_proba(_below_zeros(X))


def _below_zeros(X: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(X), X], axis=1)  # (n, d) -> (n, 2, d)


class AfterFit(ClassifierMixin, BaseEstimator):
    """
    A classifier whose solver and number of steps are set once it is fitted.

    Those of one estimator and one set of rows share one fit, which makes `fit` of all but the first a matter of no time.

    Parameters
    ----------
    estimator : GenerativeTransportClassifier
    after : dict
        Parameters to set after `fit`.
    """

    def __init__(self, estimator: BaseEstimator, after: dict[str, Any]) -> None:
        self.estimator = estimator
        self.after = after

    def fit(self, X: np.ndarray, y: np.ndarray) -> AfterFit:
        """Fit, or take the fit of another, and set the parameters."""
        self.fitted_ = copy.deepcopy(_shared_fit(self.estimator, X, y)).set_params(**self.after)
        self.classes_ = self.fitted_.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of the fitted classifier."""
        return self.fitted_.predict_proba(X)


def _shared_fit(estimator: BaseEstimator, X: np.ndarray, y: np.ndarray) -> BaseEstimator:
    settings = json.dumps([type(estimator).__qualname__, configuration(estimator)], sort_keys=True)
    content = hashlib.sha256(settings.encode())
    for part in (np.ascontiguousarray(X), np.asarray(y, str)):
        content.update(part.tobytes())
    key = content.hexdigest()
    if key not in _fits:
        _fits[key] = clone(estimator).fit(X, y)
        if len(_fits) > _MOST_FITS:
            _fits.popitem(last=False)
    _fits.move_to_end(key)
    return _fits[key]
