"""Which labels are suspect, by estimates that the row took no part in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import column_or_1d

from .classifier import GenerativeTransportClassifier

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["label_quality"]


@dataclass(frozen=True)
class LabelQuality:
    """
    What held-out estimates say of labels.

    Attributes
    ----------
    score : ndarray of shape (n,)
        Held-out probability of the label that the row has, in [0, 1]; NaN for rows that were not held out.
    proposed : ndarray of shape (n,)
        The most probable label; the row's own where it was not held out.
    ranking : ndarray of shape (m,), int
        Numbers of the m rows that were held out, the most suspect first.
    """

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
    Rank rows by how little their labels agree with what the other rows say.

    A classifier is fitted once. Its kernel has the estimate of each row without it in closed form, and each row validates a
    member of its network that did not learn from it.

    Parameters
    ----------
    X, y, sample_weight, groups : array-like
        As for `GenerativeTransportClassifier.fit`. With groups, a row is judged by other groups only.
    classifier : GenerativeTransportClassifier, optional
        A clone of it is fitted; by default one with default parameters and `random_state=0`.

    Returns
    -------
    LabelQuality

    Raises
    ------
    TypeError
        If the classifier is of another kind.
    ValueError
        If no row was held out; and as `GenerativeTransportClassifier.fit`.

    Notes
    -----
    Of more than 20,000 rows an even selection is held out.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from gendiffclf import GenerativeTransportClassifier, label_quality
    >>> X, y = load_wine(return_X_y=True)
    >>> y[7] = 2
    >>> found = label_quality(X, y, classifier=GenerativeTransportClassifier(estimator="kernel"))
    >>> int(found.ranking[0]), int(found.proposed[7])
    (7, 0)
    """
    classifier = GenerativeTransportClassifier(random_state=0) if classifier is None else classifier
    if not isinstance(classifier, GenerativeTransportClassifier):
        raise TypeError(
            f"Got a classifier of type {type(classifier).__name__}, expected a GenerativeTransportClassifier, which has held-out "
            "estimates; for others hand cross_val_predict's probabilities to cleanlab."
        )
    fitted = clone(classifier).fit(X, y, sample_weight=sample_weight, groups=groups)
    labels = column_or_1d(y)
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
