"""Suspect labels, ranked by held-out probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import column_or_1d

from .classifier import GenerativeTransportClassifier

__all__ = ["label_quality"]


@dataclass(frozen=True)
class LabelQuality:
    """Labels compared with held-out estimates, as `label_quality` returns it."""

    score: np.ndarray
    proposed: np.ndarray
    ranking: np.ndarray


def label_quality(
    X: ArrayLike,
    y: ArrayLike,
    *,
    classifier: Any = None,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> LabelQuality:
    """
    Rank rows by how improbable their labels are, given the other rows.

    One classifier is fitted. Its kernel has leave-one-out estimates in closed form, and each row is estimated by the member of
    its network that did not learn from it.

    Parameters
    ----------
    X, y, sample_weight, groups : array-like
        As for `GenerativeTransportClassifier.fit`. With groups, the estimate of a row comes from other groups only.
    classifier : GenerativeTransportClassifier, optional
        A clone of it is fitted; by default one with default parameters and `random_state=0`.

    Returns
    -------
    LabelQuality
        `score` (n,), the held-out probability of each row's label; `proposed` (n,), the most probable label; `ranking` (m,), the
        indices of the m held-out rows, the most suspect first. Other rows have NaN and their own label.

    Raises
    ------
    TypeError
        If the classifier is of another kind.
    ValueError
        If no row was held out; and as `GenerativeTransportClassifier.fit`.

    Notes
    -----
    Of more than 20,000 rows, every k-th is held out.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier, label_quality
    >>> X, y = load_wine(return_X_y=True)
    >>> y[7] = 2
    >>> quality = label_quality(X, y, classifier=GenerativeTransportClassifier(estimator="kernel"))
    >>> int(quality.ranking[0]), int(quality.proposed[7])
    (7, 0)
    """
    classifier = GenerativeTransportClassifier(random_state=0) if classifier is None else classifier
    if not isinstance(classifier, GenerativeTransportClassifier):
        raise TypeError(
            f"Got a classifier of type {type(classifier).__name__}, expected a GenerativeTransportClassifier, which has held-out "
            "estimates; for others, pass probabilities of cross_val_predict to cleanlab."
        )
    fitted = clone(classifier).fit(X, y, sample_weight=sample_weight, groups=groups)
    labels = column_or_1d(np.asarray(y))
    rows, probabilities = fitted.held_out_index_, fitted.held_out_proba_
    if not len(rows):
        raise ValueError(
            f"Got {len(labels)} rows and a classifier that held none of them out, expected estimates of rows without them; add "
            'rows, or use estimator="kernel".'
        )
    score, proposed = np.full(len(labels), np.nan), labels.copy()
    score[rows] = probabilities[np.arange(len(rows)), np.searchsorted(fitted.classes_, labels[rows])]
    proposed[rows] = fitted.classes_[probabilities.argmax(1)]
    return LabelQuality(score, proposed, rows[np.argsort(score[rows], kind="stable")])
