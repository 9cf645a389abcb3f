"""What is left of accuracy when features are missing or noisy at test time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cells import MLP, OURS, Cell, Row, fit

TITLE = "Missing and noisy features"
SHARES = (0.1, 0.3, 0.5)
NOISES = (0.5, 1.0)
PEERS = ("mlp", "logreg", "hgb")
N_COPIES = 2
"""Copies of each training row with feature dropout, for models that learn from such rows too."""


def measure(cell: Cell) -> list[Row]:
    """Accuracy of each model on the same changed test rows."""
    models = {name: cell.fitted(name) for name in (OURS, *PEERS)}
    models |= {f"{name}, trained with feature dropout": fit_with_dropout(name, cell) for name in (OURS, MLP)}
    return [
        {"case": case, "name": name, "accuracy": float((model.predict(X) == cell.y_test).mean())}
        for case, X in changed(cell.X_train, cell.X_test, seed=cell.split).items()
        for name, model in models.items()
    ]


def fit_with_dropout(name: str, cell: Cell) -> Any:
    """A model of `CREATORS` fitted on the training rows and on copies that lack up to half of their features."""
    X, rng = cell.X_train, np.random.default_rng(cell.split)
    copies = np.tile(X, (N_COPIES, 1))
    missing = rng.random(copies.shape) < rng.uniform(0, max(SHARES), (len(copies), 1))
    copies[missing] = np.broadcast_to(np.median(X, axis=0), copies.shape)[missing]
    # Copies of a row must not validate what has learnt from it.
    groups = np.tile(np.arange(len(X)), N_COPIES + 1)
    of_fit = {"groups": groups} if name == OURS else {}
    return fit(name, np.concatenate([X, copies]), np.tile(cell.y_train, N_COPIES + 1), **of_fit)


def changed(X_train: np.ndarray, X: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """
    Rows as they are, with values replaced by the training median, and with noise in units of the training deviation.

    Nested: what is missing at a share is also missing at a larger one, and noise of two levels differs in its scale alone.
    """
    rng = np.random.default_rng(seed)
    chance, noise = rng.random(X.shape), rng.standard_normal(X.shape)
    median, deviation = np.median(X_train, axis=0), X_train.std(axis=0)
    found = {"unchanged": X}
    for share in SHARES:
        found[f"{share:.0%} missing"] = np.where(chance < share, median, X).astype(X.dtype)
    for scale in NOISES:
        found[f"noise {scale:g} SD"] = (X + scale * deviation * noise).astype(X.dtype)
    return found
