"""Missing values: tables of which a share of the cells is missing, at random or by value, in test rows only or in all."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from .data import Split
from .markdown import number, table
from .metrics import align_columns, score_probabilities
from .models import create_model, named
from .options import add_options, splits_of
from .records import RESULTS, Record, new_record, read_record, write_record

RECORD = RESULTS / "missing.json"
SHARES = (0.1, 0.3, 0.5)
KINDS, PLACES = ("random", "value"), ("all", "test")
CONDITIONS = (("all", "random", 0.0), *((p, k, s) for p in PLACES for k in KINDS for s in SHARES))
"""Where cells are missing, how they were chosen, and their share; the first is the table as it is."""
IMPUTED = ("svc_rbf", "logreg")
MODELS = ("ours", "hgb", "lightgbm", "catboost", *IMPUTED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, RECORD, "--data-dir", "--tables", "--max-train", "--max-test", "--inner")
    parser.add_argument("--models", default=",".join(MODELS), help="comma between (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, record after each table, and print."""
    sizes = {name: getattr(arguments, name) for name in ("max_train", "max_test", "inner")}
    record = new_record(arguments.command_line, **sizes, runs=[])
    for split in splits_of(arguments):
        for model in arguments.models.split(","):
            runs = [
                {"table": split.table.name, "model": model, **found}
                for found in measure(lambda m=model: _create(m), split)
            ]
            record["runs"] += runs
            print(split.table.name, model, "log-loss", *(f"{found['log_loss']:.3f}" for found in runs), flush=True)
        write_record(record, arguments.output)
    print(mean_losses(record).round(3).to_string())
    return 0


def _create(name: str) -> BaseEstimator:
    model = create_model(name)
    return make_pipeline(SimpleImputer(keep_empty_features=True), model) if name in IMPUTED else model


def with_gaps(X: np.ndarray, reference: np.ndarray, share: float, kind: str, seed: int) -> np.ndarray:
    """
    Rows of which a share of the cells is NaN; each keeps a value at least.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    reference : ndarray of shape (m, d)
        Rows among which the ranks of values are taken.
    share : float
        In [0, .5].
    kind : {"random", "value"}
    seed : int
    """
    chance = np.full(X.shape, share)
    if kind == "value":
        for column, values in enumerate(np.sort(reference, axis=0).T):
            sides = [values.searchsorted(X[:, column], side) for side in ("left", "right")]
            chance[:, column] = share * np.sum(sides, axis=0) / len(values)
    gaps = np.random.default_rng(seed).random(X.shape) < chance
    gaps[gaps.all(axis=1), 0] = False
    return np.where(gaps, np.nan, X).astype(np.float32)


def measure(create: Callable[[], BaseEstimator], split: Split) -> list[dict[str, Any]]:
    """Scores of a model under each of `CONDITIONS`; gaps of training rows have the seed 0, those of test rows 1."""
    (X, y), (X_test, y_test) = split.fitting, split.evaluation
    found, on_whole_rows = [], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, kind, share in CONDITIONS:
            if place == "test":  # all of these have one training part
                model = on_whole_rows = on_whole_rows or create().fit(X, y)
            else:
                model = create().fit(with_gaps(X, X, share, kind, 0), y)
            proba = model.predict_proba(with_gaps(X_test, X, share, kind, 1))
            scores = score_probabilities(y_test, align_columns(proba, model.classes_, split.labels), split.labels)
            about = {"place": place, "kind": kind, "share": share, "n_train": len(y), "n_test": len(y_test)}
            found.append(about | {name: scores[name] for name in ("accuracy", "log_loss", "brier", "ece")})
    return found


def mean_losses(record: Record) -> pd.DataFrame:
    """Log-loss of each model (rows) under each of `CONDITIONS` (columns), mean over tables that all models were run on."""
    frame = pd.DataFrame(record["runs"])
    wide = frame.pivot(index="model", columns=["table", "place", "kind", "share"], values="log_loss")
    wide = wide.dropna(axis=1).T.groupby(level=["place", "kind", "share"]).mean().T
    return wide.loc[list(dict.fromkeys(frame["model"])), list(CONDITIONS)]


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    losses, frame = mean_losses(record), pd.DataFrame(record["runs"])
    peers = losses.drop("ours")

    def beside(condition: tuple[str, str, float]) -> str:
        peer = peers[condition].idxmin()
        other = f"{named(peer)}, the best other: {peers.loc[peer, condition]:.3f}"
        return f"{losses.loc['ours', condition]:.3f} ({other})"

    def cells(place: str) -> str:
        own = [condition for condition in CONDITIONS if condition[0] == place or condition == CONDITIONS[0]]
        head = ["Model", "none", *(f"{kind}, {100 * share:.0f}\u00a0%" for _, kind, share in own[1:])]
        rows = [
            [named(model), *(number(row[c], 3, row[c] == losses[c].min()) for c in own)]
            for model, row in losses.iterrows()
        ]
        return table(head, rows)

    measured = frame.groupby("table", sort=False)["model"].nunique()
    return {
        "record": record,
        "tables": list(measured.index[measured == len(losses)]),
        "shares": SHARES,
        "n_models": len(losses),
        "n_cases": len(CONDITIONS),
        "n_first": int((losses.loc["ours"] < peers.min()).sum()),
        "whole": beside(CONDITIONS[0]),
        "in_all": beside(("all", "random", 0.3)),
        "in_test": beside(("test", "random", 0.3)),
        "cells": cells,
    }
