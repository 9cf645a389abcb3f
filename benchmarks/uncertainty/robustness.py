"""What is left of accuracy when features are lost or noisy at test time."""

from __future__ import annotations

import copy
import warnings

import numpy as np
from sklearn.base import BaseEstimator

from .cells import CREATORS, MLP, OURS, UNIFORM, Cell, Row

TITLE = "Lost and noisy features"
SHARES = (0.1, 0.3, 0.5)
NOISES = (0.5, 1.0)
PEERS = ("mlp", "logreg", "hgb")
N_COPIES = 2
"""Copies of each training row that lack features, for models that learn from such rows too."""


def measure(cell: Cell) -> list[Row]:
    """Accuracy of each model on the same spoilt test rows."""
    rows: list[Row] = []
    used_to = {f"{name}, used to losses": fit_with_losses(name, cell) for name in (OURS, UNIFORM, MLP)}
    for case, X in spoilt(cell.X_train, cell.X_test, seed=cell.split).items():
        found = {name: cell.probabilities(name, X) for name in (OURS, UNIFORM, *PEERS)}
        many_steps = copy.copy(cell.fitted(UNIFORM)).set_params(solver="exact", n_steps=10)
        found[f"{UNIFORM} after 10 steps"] = many_steps.predict_proba(X)
        found |= {name: model.predict_proba(X) for name, model in used_to.items()}
        for name, proba in found.items():
            accuracy = float((cell.labels[proba.argmax(axis=1)] == cell.y_test).mean())
            rows.append({"case": case, "name": name, "accuracy": accuracy})
    return rows


def fit_with_losses(name: str, cell: Cell) -> BaseEstimator:
    """A model of `CREATORS` fitted on the training rows and on copies that lack up to half of their features."""
    X, rng = cell.X_train, np.random.default_rng(cell.split)
    copies = np.tile(X, (N_COPIES, 1))
    lost = rng.random(copies.shape) < rng.uniform(0, max(SHARES), (len(copies), 1))
    copies[lost] = np.broadcast_to(np.median(X, axis=0), copies.shape)[lost]
    # Copies of a row must not judge members that have learnt from it.
    whose = np.tile(np.arange(len(X)), N_COPIES + 1)
    together = {} if name == MLP else {"groups": whose}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the MLP stops before it converges
        return CREATORS[name]().fit(np.concatenate([X, copies]), np.tile(cell.y_train, N_COPIES + 1), **together)


def spoilt(X_train: np.ndarray, X: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """
    Rows as they are, with values replaced by the training median, and with noise in units of the training deviation.

    Nested: what is lost at a share is also lost at a larger one, and noise of two levels differs in its scale alone.
    """
    rng = np.random.default_rng(seed)
    chance, noise = rng.random(X.shape), rng.standard_normal(X.shape)
    median, deviation = np.median(X_train, axis=0), X_train.std(axis=0)
    found = {"as they are": X}
    for share in SHARES:
        found[f"{share:.0%} lost"] = np.where(chance < share, median, X).astype(X.dtype)
    for scale in NOISES:
        found[f"noise {scale:g} SD"] = (X + scale * deviation * noise).astype(X.dtype)
    return found
