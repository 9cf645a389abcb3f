"""Measures of classification from sums over clips, so that a bootstrap needs no second pass over the clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import bin_numbers
from .intervals import Sums

if TYPE_CHECKING:
    import pandas as pd

N_BINS = 15
EPS = float(np.finfo(np.float64).eps)


def probabilities(predictions: pd.DataFrame, classes: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Return the columns `p_<label>` of a table of predictions as an array of shape (n, K)."""
    return predictions[[f"p_{label}" for label in classes]].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class Tally(Sums):
    """
    Counts over the clips of m units, from which the measures of K classes are computed.

    `confusion` counts clips by true and predicted label, (m, K, K); `loss` sums negative log-probabilities of the true
    labels, (m,), NaN without probabilities; `bins` holds for each of 15 bins of confidence the sum of confidences, the number
    of clips whose most probable label is correct, and the number of clips, (m, 15, 3).
    """

    confusion: np.ndarray
    loss: np.ndarray
    bins: np.ndarray

    @classmethod
    def of(cls, predictions: pd.DataFrame, classes: np.ndarray, unit: np.ndarray, n_units: int) -> Tally:
        """
        Count predictions by true and predicted label, which are among the sorted `classes`.

        `unit` is the number of each row's unit, from 0 to `n_units - 1`.
        """
        true, chosen = (np.searchsorted(classes, predictions[name].to_numpy()) for name in ("label", "predicted"))
        proba = probabilities(predictions, classes)
        k = len(classes)
        confusion = np.bincount((unit * k + true) * k + chosen, minlength=n_units * k * k).reshape(n_units, k, k)
        loss = -np.log(np.clip(proba[np.arange(len(true)), true], EPS, 1))
        confidence = proba.max(axis=1)
        cell = unit * N_BINS + bin_numbers(np.nan_to_num(confidence), N_BINS)
        values = (confidence, proba.argmax(axis=1) == true, np.ones(len(true)))
        bins = np.stack([np.bincount(cell, value, minlength=n_units * N_BINS) for value in values], axis=-1)
        return cls(confusion, np.bincount(unit, loss, minlength=n_units), bins.reshape(n_units, N_BINS, 3))

    def measures(self) -> dict[str, np.ndarray]:
        """
        Return the measures of each unit, of shape (m,), by name.

        They are NaN for units without clips; log-loss and ECE also without probabilities. UAR and macro-F1 are means over the
        classes that occur in a unit, since a fold of one speaker need not have all.
        """
        n = self.confusion.sum(axis=(1, 2))
        by_class = self.class_measures()
        with np.errstate(invalid="ignore", divide="ignore"):
            right = np.trace(self.confusion, axis1=1, axis2=2)
            occurs = by_class["n_clips"] > 0
            n_occurring = occurs.sum(axis=1)
            distance = np.abs(self.bins[..., 1] - self.bins[..., 0]).sum(axis=1)
            return {
                "wa": right / n,
                "uar": np.where(occurs, by_class["recall"], 0).sum(axis=1) / n_occurring,
                "macro_f1": np.where(occurs, by_class["f1"], 0).sum(axis=1) / n_occurring,
                "log_loss": self.loss / n,
                "ece": distance / n,
            }

    def class_measures(self) -> dict[str, np.ndarray]:
        """Number of clips, recall, precision and F1 by unit and class, of shape (m, K); NaN if undefined."""
        right = np.diagonal(self.confusion, axis1=1, axis2=2)
        true, chosen = self.confusion.sum(axis=2), self.confusion.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = 2 * right / (true + chosen)
            return {"n_clips": true, "recall": right / true, "precision": right / chosen, "f1": f1}


def confusion_text(confusion: np.ndarray, classes: np.ndarray) -> str:
    """A confusion matrix as aligned text, with the recall of each class."""
    import pandas as pd

    names = [str(label) for label in classes]
    counts = zip(np.diagonal(confusion), confusion.sum(axis=1), strict=True)
    recall = [f"{right / n:.2f}" if n else "" for right, n in counts]
    table = pd.DataFrame(confusion, names, names)
    table.insert(len(names), "recall", recall, allow_duplicates=True)
    widths = [max(5, len(name) + 1) for name in names]
    return table.rename_axis(columns="true").to_string(col_space=[*widths, 7])
