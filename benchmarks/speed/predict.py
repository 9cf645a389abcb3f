"""Milliseconds of `predict`: a row, many rows, and the first row of a process, beside MLPClassifier's and an older version's."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from gendiffclf import GenerativeTransportClassifier

from .baseline import BASELINE
from .measuring import QUICK, Finding, Measured, Options, class_rows, fresh_process, spread, timed

TITLE = "Predict on a CPU"
OURS, MLP = "ours", "MLPClassifier"
_FIRST = """
import json, pickle, sys, time
import sklearn
begin = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    model, row = pickle.load(file)
loaded = time.perf_counter()
model.predict(row)
first = time.perf_counter()
print(json.dumps({"load": loaded - begin, "first row": first - loaded}))
"""


def measure(options: Options) -> Measured:
    """Fit on synthetic rows, then predict in turn."""
    settings: dict[str, Any] = {
        "n_train": [200] if options.quick else [4500, 5000],
        "n_features": 64,
        "n_classes": 10,
        "n_rows": 300 if options.quick else 10_000,
        "rounds": {"1 row": 1 if options.quick else 20, "many rows": 1 if options.quick else 15},
    }
    many = class_rows(settings["n_rows"], settings["n_features"], settings["n_classes"], seed=1)[0]
    inputs = {"1 row": (many[:1], 20), "many rows": (many, 1)}
    figures: dict[str, Any] = {}
    findings = []
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if (baseline := options.baseline) is not None:
            stack.enter_context(baseline)
        for n_train in settings["n_train"]:
            X, y = class_rows(n_train, settings["n_features"], settings["n_classes"])
            fitted: dict[str, BaseEstimator] = {
                OURS: GenerativeTransportClassifier(device="cpu", random_state=0, **(QUICK if options.quick else {})),
                MLP: MLPClassifier((256, 256), max_iter=2, random_state=0),
            }
            for model in fitted.values():
                model.fit(X, y)
            n_centers = len(fitted[OURS].kernel_.centers)
            if baseline is not None:
                baseline.fit(X, y, device="cpu")
            for kind, (rows, in_a_row) in inputs.items():
                calls = {name: partial(_seconds, model.predict, rows) for name, model in fitted.items()}
                if baseline is not None:
                    calls[BASELINE] = partial(baseline.call, "predict", rows)
                found = in_turn(calls, settings["rounds"][kind], in_a_row)
                name = f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}, {n_centers:,} centres"
                figures[name] = found
                findings += _findings(name, found, len(rows))
    for stage, found in first_calls(fitted, many[:1], 1 if options.quick else 5).items():
        figures[f"fresh process, {stage}"] = found
    return Measured(settings, figures, findings)


def _findings(name: str, found: dict[str, dict[str, float]], n_rows: int) -> list[Finding]:
    medians = {who: spread["median"] for who, spread in found.items()}
    findings = [Finding(name, 1000 * medians[OURS], "ms", 1.0 if n_rows == 1 else None)]
    for who in (who for who in medians if who != OURS):
        goal = 1.0 if who == BASELINE and n_rows > 1 else None
        findings.append(Finding(f"{name}, ours / {who}", medians[OURS] / medians[who], "×", goal))
    return findings


def in_turn(calls: dict[str, Callable[[int], list[float]]], rounds: int, in_a_row: int) -> dict[str, dict[str, float]]:
    """Spread of the seconds of calls that time themselves, so many in a row; a round of each is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-1, rounds):
        for name, call in calls.items():
            found = call(in_a_row)
            seconds[name] += found if number >= 0 else []
    return {name: spread(values) for name, values in seconds.items()}


def _seconds(predict: Callable[[np.ndarray], Any], rows: np.ndarray, n: int) -> list[float]:
    return [timed(partial(predict, rows)) for _ in range(n)]


def first_calls(
    fitted: dict[str, BaseEstimator], row: np.ndarray, processes: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds to unpickle, and to predict the first row, in fresh processes that have imported sklearn."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(processes):
            for number, (name, model) in enumerate(fitted.items()):
                path = Path(folder) / f"{number}.pkl"
                path.write_bytes(pickle.dumps((model, row)))
                for stage, seconds in fresh_process(_FIRST, str(path)).items():
                    found.setdefault(stage, {}).setdefault(name, []).append(seconds)
    return {stage: {name: spread(values) for name, values in of.items()} for stage, of in found.items()}


def section(record: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of details, its header first."""
    figures = record["figures"]
    names = [name for name in (OURS, MLP, BASELINE) if any(name in found for found in figures.values())]
    rows = [["Milliseconds, median", *names]]
    for what, found in figures.items():
        rows.append([what, *(f"{1000 * found[name]['median']:.3f}" if name in found else "–" for name in names)])
    return rows
