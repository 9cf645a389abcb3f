"""Which score detects rows of a class that training lacked."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from .cells import MLP, OURS, Cell, Row, fit
from .errors import auroc, scores

TITLE = "Detecting out-of-distribution input"
MOST_CLASSES = 3
NEIGHBOURS = "5 nearest training rows"


def measure(cell: Cell) -> list[Row]:
    """AUROC of each score, for some classes left out of training in turn; nothing for two classes."""
    rows: list[Row] = []
    if len(cell.labels) < 3:
        return rows
    chosen = np.unique(np.linspace(0, len(cell.labels) - 1, MOST_CLASSES).round().astype(int))
    for label in cell.labels[chosen]:
        known, unknown = cell.y_train != label, cell.y_test == label
        found = {NEIGHBOURS: neighbour_distance(cell.X_train[known], cell.X_test)}
        for name in (OURS, MLP):
            model = fit(name, cell.X_train[known], cell.y_train[known])
            of_model = scores(model, model.predict_proba(cell.X_test), cell.X_test)
            found |= {f"{name}: {score}": value for score, value in of_model.items()}
        rows += [{"case": str(label), "name": name, "auroc": auroc(unknown, score)} for name, score in found.items()]
    return rows


def neighbour_distance(X_train: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Mean distance of standardised rows to the five nearest training rows."""
    scaler = StandardScaler().fit(X_train)
    neighbours = NearestNeighbors(n_neighbors=5).fit(scaler.transform(X_train))
    return neighbours.kneighbors(scaler.transform(X))[0].mean(axis=1)
