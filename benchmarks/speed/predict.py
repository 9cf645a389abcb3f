"""Milliseconds of `predict`: a row, many rows, and the first row of a process, beside MLPClassifier's."""

from __future__ import annotations

import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from gendiffclf import GenerativeTransportClassifier

from ..models import create_model
from .measuring import Finding, Measured, Options, class_rows, fresh_process, interleaved, spread

TITLE = "Predict on a CPU"
OURS, MLP, PIPELINE = "ours", "MLPClassifier", "StandardScaler and MLPClassifier"
_FIRST = """
import json, pickle, sys, time
import sklearn
begin = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    model, row = pickle.load(file)
loaded = time.perf_counter()
model.predict(row)
first = time.perf_counter()
model.predict(row)
second = time.perf_counter()
print(json.dumps({"load": loaded - begin, "first": first - loaded, "second": second - first}))
"""


def models(quick: bool) -> dict[str, BaseEstimator]:
    """Unfitted models; trained for an epoch or two, as the time to predict does not depend on it."""
    tiny: dict[str, Any] = {"n_members": 2, "width": 32, "depth": 1} if quick else {}
    pipeline = create_model("mlp")
    return {
        OURS: GenerativeTransportClassifier(max_epochs=2, device="cpu", random_state=0, **tiny),
        MLP: MLPClassifier((256, 256), max_iter=2, random_state=0),
        PIPELINE: pipeline.set_params(mlpclassifier__max_iter=2),
    }


def measure(options: Options) -> Measured:
    """Fit on one table, then predict in turn."""
    settings = {
        "n_train": 200 if options.quick else 5000,
        "n_features": 64,
        "n_classes": 10,
        "n_rows": 300 if options.quick else 10_000,
        "single_calls": 20 if options.quick else 400,
        "many_calls": 2 if options.quick else 15,
        "processes": 1 if options.quick else 5,
        "torch_threads": torch.get_num_threads(),
    }
    X, y = class_rows(settings["n_train"], settings["n_features"], settings["n_classes"])
    fitted = models(options.quick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for model in fitted.values():
            model.fit(X, y)
    many = class_rows(settings["n_rows"], settings["n_features"], settings["n_classes"], seed=1)[0]
    figures: dict[str, Any] = {}
    for method in ("predict", "predict_proba"):
        for kind, rows, repeats, in_a_row in (
            ("single row", X[:1], settings["single_calls"] // 20, 20),
            ("many rows", many, settings["many_calls"], 1),
        ):
            calls = {name: _call(model, method, rows) for name, model in fitted.items()}
            seconds = interleaved(calls, repeats, in_a_row=in_a_row, warm_up=2)
            figures[f"{kind}, {method}"] = {name: spread(found) for name, found in seconds.items()}
    first = first_calls(fitted, X[:1], settings["processes"])
    for stage in ("load", "first", "second"):
        figures[f"fresh process, {stage}"] = {name: spread([r[stage] for r in runs]) for name, runs in first.items()}
    single, bulk = figures["single row, predict"], figures["many rows, predict"]
    findings = [
        Finding("single row, `predict`", 1000 * single[OURS]["median"], "ms", 2.0),
        Finding("single row, ours / MLPClassifier", single[OURS]["median"] / single[MLP]["median"], "×", 3.0),
        Finding(
            f"{settings['n_rows']:,} rows, ours / MLPClassifier", bulk[OURS]["median"] / bulk[MLP]["median"], "×", 2.0
        ),
        Finding(
            "first row of a process with its load, ours / MLPClassifier",
            _first_seconds(figures, OURS) / _first_seconds(figures, MLP),
        ),
    ]
    return Measured(settings, figures, findings)


def first_calls(fitted: dict[str, BaseEstimator], row: np.ndarray, processes: int) -> dict[str, list[dict[str, float]]]:
    """Seconds to unpickle and to predict the first and the second row, in fresh processes that have imported sklearn."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in fitted}
    with tempfile.TemporaryDirectory() as folder:
        for number, model in enumerate(fitted.values()):
            (Path(folder) / f"{number}.pkl").write_bytes(pickle.dumps((model, row)))
        for _ in range(processes):
            for number, name in enumerate(fitted):
                found[name].append(fresh_process(_FIRST, str(Path(folder) / f"{number}.pkl")))
    return found


def _first_seconds(figures: dict[str, Any], name: str) -> float:
    return sum(figures[f"fresh process, {stage}"][name]["median"] for stage in ("load", "first"))


def _call(model: BaseEstimator, method: str, rows: np.ndarray) -> Any:
    bound = getattr(model, method)
    return lambda: bound(rows)


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    rows = [["Milliseconds, median", OURS, MLP, PIPELINE, "ours / MLPClassifier"]]
    for what, found in record["figures"].items():
        cells = [f"{1000 * found[name]['median']:.3f}" for name in (OURS, MLP, PIPELINE)]
        rows.append([what, *cells, f"{found[OURS]['median'] / found[MLP]['median']:.2f}"])
    return rows
