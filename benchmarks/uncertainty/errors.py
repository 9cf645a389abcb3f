"""Which score detects wrong predictions."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from .cells import MLP, OURS, Cell, Row

TITLE = "Detecting errors"
N_DRAWS = 16
TOP, NOVELTY = "top probability", "novelty (`-score_samples`)"


def measure(cell: Cell) -> list[Row]:
    """AUROC and AURC of each score on the test part."""
    rows: list[Row] = []
    for name in (OURS, MLP):
        model, proba = cell.fitted(name), cell.probabilities(name, cell.X_test)
        found = scores(model, proba, cell.X_test)
        if name == OURS:
            drawn = model.sample(cell.X_test, N_DRAWS, random_state=0)  # (n, draws)
            share = (drawn[:, :, None] == cell.labels).mean(axis=1).max(axis=1)
            found[f"disagreement of {N_DRAWS} samples"] = 1 - share
        wrong = cell.labels[proba.argmax(axis=1)] != cell.y_test
        rows += [
            {
                "name": f"{name}: {score}",
                "auroc": auroc(wrong, value),
                "aurc": risk_coverage_area(wrong, value),
                "n_wrong": int(wrong.sum()),
            }
            for score, value in found.items()
        ]
    return rows


def scores(model: object, proba: np.ndarray, X: np.ndarray) -> dict[str, np.ndarray]:
    """Scores (n,) of doubt in rows of these probabilities: the higher, the less the model knows."""
    entropy = -(proba * np.log(np.clip(proba, 1e-12, 1))).sum(axis=-1)
    novelty = {NOVELTY: -model.score_samples(X)} if hasattr(model, "score_samples") else {}
    return {TOP: 1 - proba.max(axis=1), "entropy": entropy, **novelty}


def auroc(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Chance that a positive row has a higher score than a negative one; None without one of either."""
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, score))


def risk_coverage_area(wrong: np.ndarray, score: np.ndarray) -> float:
    """
    Area under the error rate of the k rows of lowest score, over k = 1 ... n (AURC, Geifman and El-Yaniv 2017).

    Rows of equal score count with their mean error, so that their order does not matter.
    """
    _, group = np.unique(score, return_inverse=True)  # groups are numbered by rising score
    mean_error = np.bincount(group, wrong) / np.bincount(group)
    errors = np.sort(group)
    return float((mean_error[errors].cumsum() / np.arange(1, len(wrong) + 1)).mean())
