"""Missing values: tables of which a share of the cells is missing, at random or by value, in test rows only or in all."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from .data import Table, chosen_tables, load_table, split_rows
from .markdown import circumstances, number, table_text
from .metrics import align_columns, score_probabilities
from .models import create_model
from .provenance import provenance, write_record
from .readme import NAMES

RESULTS = Path("benchmarks/results/missing.json")
PAGE = "missing-values.md"
SHARES = (0.1, 0.3, 0.5)
KINDS, PLACES = ("random", "value"), ("all", "test")
CONDITIONS = (("all", "random", 0.0), *((p, k, s) for p in PLACES for k in KINDS for s in SHARES))
"""Where cells are missing, how they were chosen, and their share; the first is the table as it is."""
IMPUTED = ("svc_rbf", "logreg")
MODELS = ("ours", "hgb", "lightgbm", "catboost", *IMPUTED)
TEXT = """
Mean log-loss over {n_tables} tables ({tables}), on one split of each, with up to {max_train} training and {max_test} test rows.
*At random* a cell is missing with the probability at the head of its column; *by value* the probability grows with the value's
rank, from 0 for a feature's least value to twice that share for its greatest. HistGradientBoosting, LightGBM and CatBoost get NaN
as it is, SVM and logistic regression the mean of the feature (`SimpleImputer`).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help="names, comma between (default: all)")
    parser.add_argument("--models", default=",".join(MODELS), help="comma between (default: %(default)s)")
    parser.add_argument("--max-train", type=int, default=600, help="training rows at most (default: %(default)s)")
    parser.add_argument("--max-test", type=int, default=1000, help="test rows at most (default: %(default)s)")
    parser.add_argument("--inner", action="store_true", help="split training parts once more, leave test parts alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, record after each table, and print."""
    models = {name: _factory(name) for name in arguments.models.split(",")}
    record = {
        **provenance(arguments.command_line),
        "max_train": arguments.max_train,
        "max_test": arguments.max_test,
        "inner": arguments.inner,
        "runs": [],
    }
    for name in chosen_tables(arguments.tables, arguments.data_dir):
        table = load_table(name, arguments.data_dir)
        train, test = some_rows(table, arguments.max_train, arguments.max_test, arguments.inner)
        for label, create in models.items():
            start = time.process_time()
            runs = [{"table": name, "model": label, **found} for found in measure(create, table, train, test)]
            record["runs"] += runs
            losses = " ".join(f"{found['log_loss']:.3f}" for found in runs)
            print(f"{name} {label}: log-loss {losses}, {time.process_time() - start:.0f} s", flush=True)
        write_record(record, arguments.output)
    print(missing_text(record))
    return 0


def _factory(name: str) -> Callable[[], BaseEstimator]:
    if name in IMPUTED:
        return lambda: make_pipeline(SimpleImputer(keep_empty_features=True), create_model(name))
    return lambda: create_model(name)


def some_rows(table: Table, max_train: int, max_test: int, inner: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of training and test rows: those of the first split, or a random choice (seed 0) of so many of them."""
    rng = np.random.default_rng(0)
    train, test = split_rows(table, 0, inner=inner)
    return rng.permutation(train)[:max_train], rng.permutation(test)[:max_test]


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


def measure(
    create: Callable[[], BaseEstimator], table: Table, train: np.ndarray, test: np.ndarray
) -> list[dict[str, Any]]:
    """Scores of a model under each of `CONDITIONS`; gaps of training rows have the seed 0, those of test rows 1."""
    labels, found, fitted = np.unique(table.y), [], None
    for place, kind, share in CONDITIONS:
        rows = with_gaps(table.X[test], table.X[train], share, kind, 1)
        if place == "test":  # all of these have one training part
            model = fitted = fitted or create().fit(table.X[train], table.y[train])
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = create().fit(with_gaps(table.X[train], table.X[train], share, kind, 0), table.y[train])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proba = align_columns(model.predict_proba(rows), model.classes_, labels)
        scores = score_probabilities(table.y[test], proba, labels)
        found.append(
            {"place": place, "kind": kind, "share": share, "n_train": len(train), "n_test": len(test)}
            | {name: scores[name] for name in ("accuracy", "log_loss", "brier", "ece")}
        )
    return found


def mean_losses(record: dict[str, Any]) -> dict[str, list[float]]:
    """Log-loss of each model under each of `CONDITIONS`, the mean over tables that all models were run on."""
    runs = {(r["model"], r["table"], r["place"], r["kind"], r["share"]): r["log_loss"] for r in record["runs"]}
    models = list(dict.fromkeys(key[0] for key in runs))
    tables = tables_of(record)
    return {
        model: [float(np.mean([runs[model, table, *condition] for table in tables])) for condition in CONDITIONS]
        for model in models
    }


def tables_of(record: dict[str, Any]) -> list[str]:
    """Tables that all models were run on."""
    models = {run["model"] for run in record["runs"]}
    tables = dict.fromkeys(run["table"] for run in record["runs"])
    return [table for table in tables if {run["model"] for run in record["runs"] if run["table"] == table} == models]


def missing_text(record: dict[str, Any]) -> str:
    """What the record says, as Markdown."""
    losses, tables = mean_losses(record), tables_of(record)
    text = TEXT.format(
        n_tables=len(tables), tables=", ".join(tables), max_train=record["max_train"], max_test=record["max_test"]
    )
    best = [min(column) for column in zip(*losses.values(), strict=True)]
    titles = {"all": "In training and test rows", "test": "In test rows only"}
    for place, title in titles.items():
        chosen = [i for i, condition in enumerate(CONDITIONS) if condition[0] == place or i == 0]
        head = ["none", *(f"{kind}, {100 * share:.0f} %" for _, kind, share in (CONDITIONS[i] for i in chosen[1:]))]
        rows = [
            [NAMES.get(model, model), *(number(values[i], 3, values[i] == best[i]) for i in chosen)]
            for model, values in losses.items()
        ]
        text += f"\n{title}:\n" + table_text(["Model", *head], rows)
    return text


def lead_text(record: dict[str, Any]) -> str:
    """The answer that the page opens with: in how many cases the loss is the lowest, and two of them in figures."""
    losses = mean_losses(record)
    ours, peers = losses["ours"], {model: values for model, values in losses.items() if model != "ours"}

    def beside(condition: tuple[str, str, float]) -> str:
        place = CONDITIONS.index(condition)
        best = min(peers, key=lambda model: peers[model][place])
        return f"{ours[place]:.3f} ({NAMES.get(best, best)}, the best other: {peers[best][place]:.3f})"

    first = sum(value < min(others) for value, *others in zip(ours, *peers.values(), strict=True))
    *few, most = (f"{100 * share:.0f}" for share in SHARES)
    shares = f"{', '.join(few)} or {most}"
    n_tables = len(tables_of(record))
    return f"""
`fit` and `predict` take NaN, strings and categories as they come. Over {n_tables} tables with {shares} % of the cells missing,
at random or by value, in all rows or in test rows only, the mean log-loss is the lowest of {len(losses)} models in {first} of
{len(ours)} cases. With 30 % missing at random in all rows it is {beside(("all", "random", 0.3))}, in test rows only
{beside(("test", "random", 0.3))}, and where nothing is missing {beside(CONDITIONS[0])}.
"""


def section(record: dict[str, Any]) -> str:
    """What the record says and how it was made."""
    return missing_text(record) + circumstances(record, ("scikit-learn", "lightgbm", "catboost", "torch"))
