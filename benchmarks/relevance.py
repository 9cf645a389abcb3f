"""Features that do not matter: synthetic tables in which three features decide the class, among ten to a thousand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from .models import create_model, named
from .options import add_options
from .records import RESULTS, new_record, read_record, write_record

RECORD = RESULTS / "relevance.json"
COMPARED = ("ours", "xrfm", "hgb", "lightgbm", "extratrees", "svc_tuned", "logreg_tuned")
KINDS = {
    "sum of three": lambda X: X[:, 0] + X[:, 1] - X[:, 2],
    "product of two and a third": lambda X: X[:, 0] * X[:, 1] + X[:, 2],
    "squares of two and a third": lambda X: X[:, 0] ** 2 - X[:, 1] ** 2 + X[:, 2],
}
N_TEST, NOISE = 2000, 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--n-features", default="10,100,1000", help="comma between (default: %(default)s)")
    parser.add_argument("--n-train", type=int, default=400, help="rows to learn from (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=3, help="tables of each kind (default: %(default)s)")
    parser.add_argument("--models", default=",".join(COMPARED), help="comma between (default: %(default)s)")
    add_options(parser, RECORD)


def drawn(kind: str, n_rows: int, n_features: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal features (n, d), of which three decide the class (n,) together with noise of half their deviation each."""
    rng = np.random.default_rng((draw, n_features))
    X = rng.standard_normal((n_rows, n_features), np.float32)
    return X, (KINDS[kind](X) + NOISE * rng.standard_normal(n_rows) > 0).astype(int)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    runs = []
    for kind in KINDS:
        for d in map(int, arguments.n_features.split(",")):
            for draw in range(arguments.draws):
                X, y = drawn(kind, arguments.n_train + N_TEST, d, draw)
                train, test = slice(0, arguments.n_train), slice(arguments.n_train, None)
                for name in arguments.models.split(","):
                    p = create_model(name).fit(X[train], y[train]).predict_proba(X[test])
                    found = {
                        "accuracy": float((p.argmax(1) == y[test]).mean()),
                        "log_loss": float(log_loss(y[test], p)),
                    }
                    runs.append({"kind": kind, "n_features": d, "draw": draw, "model": name, **found})
                    print(runs[-1], flush=True)
    sizes = {"n_train": arguments.n_train, "n_test": N_TEST, "draws": arguments.draws}
    write_record(new_record(arguments.command_line, **sizes, runs=runs), arguments.output)
    return 0


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    runs = pd.DataFrame(record["runs"])
    mean = runs.groupby(["model", "kind", "n_features"], sort=False)[["accuracy", "log_loss"]].mean()
    cells = (100 * mean["accuracy"]).map("{:.1f}, ".format) + mean["log_loss"].map("{:.3f}".format)
    order = list(dict.fromkeys(runs["model"]))
    tables = {}
    for kind in runs["kind"].unique():
        wide = cells.xs(kind, level="kind").unstack("n_features").reindex(order)
        tables[kind] = {
            "columns": [f"of {d} features" for d in wide.columns],
            "rows": wide.rename(index=named).reset_index().values.tolist(),
        }
    best = mean["log_loss"].groupby(level=[1, 2]).idxmin().map(lambda key: key[0])
    return {"record": record, "tables": tables, "first": int((best == "ours").sum()), "compared": len(best)}
