"""What is measured of predicted probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, recall_score

from gendiffclf.metrics import reliability_bins

N_BINS = 15
CLIP = 1e-7


def align_columns(proba: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of all labels, (n, n_classes), from those of known classes, all among them; the others have 0."""
    known = np.asarray(classes).ravel().astype(str)
    if not np.isin(known, labels).all():
        raise ValueError(
            f"Got classes {sorted(set(known.tolist()) - set(labels.tolist()))}, expected labels of the table."
        )
    full = np.zeros((len(proba), len(labels)))
    full[:, np.searchsorted(labels, known)] = proba  # (n, n_known) -> (n, n_classes)
    return full


def score_probabilities(y_true: np.ndarray, proba: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """
    Score probabilities (n, n_classes) of sorted labels against the truth (n,).

    Returns
    -------
    dict
        `accuracy`; `uar`, the mean recall of the classes that occur; `log_loss` in nats, of probabilities not below 1e-7;
        `brier`, the squared error summed over classes, in [0, 2]; `ece`, see `gendiffclf.expected_calibration_error`;
        `reliability`, its bins.
    """
    predicted = labels[proba.argmax(axis=1)]
    truth = np.searchsorted(labels, y_true)  # (n,), int
    of_truth = proba[np.arange(len(truth)), truth]
    bins = reliability_bins(y_true, proba, n_bins=N_BINS, labels=labels)
    return {
        "accuracy": float(accuracy_score(y_true, predicted)),
        # Not balanced_accuracy_score: it warns where a class is predicted that the test part lacks.
        "uar": float(recall_score(y_true, predicted, labels=np.unique(y_true), average="macro", zero_division=0)),
        "log_loss": float(-np.log(np.clip(of_truth, CLIP, 1.0)).mean()),
        "brier": float(((proba - np.eye(len(labels))[truth]) ** 2).sum(axis=1).mean()),
        "ece": bins.error,
        "reliability": {
            "n_bins": N_BINS,
            "confidence": bins.confidence.tolist(),
            "accuracy": bins.accuracy.tolist(),
            "n_rows": bins.n_rows.tolist(),
        },
    }
