"""Which score tells rows of a class that training lacked."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from .cells import MLP, OURS, UNIFORM, Cell, Row, fit
from .errors import TOP, auroc, entropy, spreads
from .transports import estimate_scores, member_probabilities

TITLE = "Telling foreign input"
MOST_CLASSES = 3
NEIGHBOURS = "5 nearest training rows"


def measure(cell: Cell) -> list[Row]:
    """AUROC of each score, for some classes left out of training in turn; nothing for two classes."""
    rows: list[Row] = []
    if len(cell.labels) < 3:
        return rows
    chosen = np.unique(np.linspace(0, len(cell.labels) - 1, MOST_CLASSES).round().astype(int))
    for label in cell.labels[chosen]:
        known = cell.y_train != label
        X_train, y_train = cell.X_train[known], cell.y_train[known]
        foreign = cell.y_test == label
        for model in (OURS, UNIFORM, MLP):
            fitted = fit(model, X_train, y_train)
            proba = fitted.predict_proba(cell.X_test)
            scores = {TOP: 1 - proba.max(axis=1), "entropy": entropy(proba)}
            if model != MLP:
                scores |= estimate_scores(fitted, cell.X_test)
                scores |= spreads("members", member_probabilities(fitted, cell.X_test))
            rows += [
                {"case": str(label), "name": f"{model}: {name}", "auroc": auroc(foreign, score)}
                for name, score in scores.items()
            ]
        distance = neighbour_distance(X_train, cell.X_test)
        rows.append({"case": str(label), "name": NEIGHBOURS, "auroc": auroc(foreign, distance)})
    return rows


def neighbour_distance(X_train: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Mean distance of standardised rows to the five nearest training rows."""
    scaler = StandardScaler().fit(X_train)
    neighbours = NearestNeighbors(n_neighbors=5).fit(scaler.transform(X_train))
    return neighbours.kneighbors(scaler.transform(X))[0].mean(axis=1)
