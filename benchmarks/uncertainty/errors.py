"""Which score tells wrong predictions from right ones."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from .cells import MLP, OURS, UNIFORM, Cell, Row
from .transports import member_probabilities, noisy_start_probabilities, stochastic_probabilities

TITLE = "Telling errors"
N_DRAWS = 16
N_STEPS = 10
TOP = "top probability"


def measure(cell: Cell) -> list[Row]:
    """AUROC and AURC of each score on the test part."""
    rows: list[Row] = []
    for model in (OURS, UNIFORM, MLP):
        proba = cell.probabilities(model, cell.X_test)
        scores = {TOP: 1 - proba.max(axis=1), "entropy": entropy(proba)}
        if model != MLP:
            classifier = cell.fitted(model)
            scores |= spreads("members", member_probabilities(classifier, cell.X_test))
        if model == UNIFORM:
            for name, draw in (
                ("noise in the steps", stochastic_probabilities),
                ("noisy starts", noisy_start_probabilities),
            ):
                scores |= spreads(name, draw(classifier, cell.X_test, N_DRAWS, N_STEPS))
        wrong = cell.labels[proba.argmax(axis=1)] != cell.y_test
        for name, score in scores.items():
            found = {"auroc": auroc(wrong, score), "aurc": risk_coverage_area(wrong, score)}
            rows.append({"name": f"{model}: {name}", **found, "n_wrong": int(wrong.sum())})
    return rows


def spreads(name: str, proba: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of several probabilities of each row (draws, n, classes): their variance, and what their mean's top leaves."""
    return {
        f"spread over {name}": proba.var(axis=0).sum(axis=-1),
        f"information of {name}": entropy(proba.mean(axis=0)) - entropy(proba).mean(axis=0),
        **({} if name == "members" else {f"mean top probability over {name}": 1 - proba.mean(axis=0).max(axis=-1)}),
    }


def entropy(proba: np.ndarray) -> np.ndarray:
    """Entropy of probabilities (..., classes) in nats."""
    return -(proba * np.log(np.clip(proba, 1e-12, 1))).sum(axis=-1)


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
