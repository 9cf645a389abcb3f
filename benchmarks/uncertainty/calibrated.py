"""Probabilities beside those of peers, as they come and after `CalibratedClassifierCV`."""

from __future__ import annotations

from ..metrics import score_probabilities
from .cells import CALIBRATED, METHODS, OURS, Cell, Row

TITLE = "Calibration"
METRICS = ("accuracy", "log_loss", "brier", "ece")


def measure(cell: Cell) -> list[Row]:
    """Scores of the probabilities of each model."""
    peers = [name for model in CALIBRATED for name in (model, *(f"{model} + {method}" for method in METHODS))]
    rows = []
    for name in (OURS, *peers, *(f"svc + {method}" for method in METHODS)):
        scores = score_probabilities(cell.y_test, cell.probabilities(name, cell.X_test), cell.labels)
        rows.append({"name": name, **{metric: scores[metric] for metric in METRICS}})
    return rows
