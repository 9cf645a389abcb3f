"""Measure speed and memory beside peers, part by part: import, predict, many rows or classes, growth."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from gendiffclf import GenerativeTransportClassifier

from . import gpu
from .data import class_rows
from .markdown import by_command, number, table
from .memory import added_memory
from .models import create_model, named
from .options import add_options, add_parts, chosen, refuse_quick
from .records import RESULTS, ROOT, load_average, new_record, read_record, write_record
from .runner import quiet, timed

FOLDER = RESULTS / "speed"
QUICK = {"max_steps": 3, "n_members": 2, "width": 32, "depth": 1}
"""Parameters of the classifier where figures mean nothing."""
_IRIS = "from sklearn.datasets import load_iris; X, y = load_iris(return_X_y=True)"
STATEMENTS = {
    "sklearn": "import sklearn",
    "sklearn and gendiffclf": "import sklearn; import gendiffclf",
    "sklearn and our classifier": "import sklearn; from gendiffclf import GenerativeTransportClassifier",
    "sklearn and MLPClassifier": "import sklearn; from sklearn.neural_network import MLPClassifier",
    "sklearn and torch": "import sklearn; import torch",
    "first fit of our classifier": f"{_IRIS}; from gendiffclf import GenerativeTransportClassifier; "
    "GenerativeTransportClassifier().fit(X, y)",
    "first fit of MLPClassifier": f"{_IRIS}; from sklearn.neural_network import MLPClassifier; "
    "MLPClassifier((256, 256)).fit(X, y)",
}
PEERS = ("ours", "logreg", "mlp_early", "lightgbm")
CASES: dict[str, dict[str, Any]] = {
    "100,000 rows, 256 features, 20 classes": {
        "n": 100_000, "d": 256, "K": 20, "on_disk": False, "models": (*PEERS, "mlp"),
    },
    "1,000,000 rows on disk, 64 features, 10 classes": {
        "n": 1_000_000, "d": 64, "K": 10, "on_disk": True, "models": PEERS,
    },
    # LightGBM would fit 30,000 trees to so many classes.
    "30,000 rows, 128 features, 300 classes": {"n": 30_000, "d": 128, "K": 300, "on_disk": False, "models": PEERS[:3]},
}  # fmt: skip
GROWTH = {"n": (1000, 4000, 16_000, 64_000), "d": (16, 64, 256), "K": (2, 10, 50)}
BASE = {"n": 5000, "d": 64, "K": 10}
AXES = {"n": "rows", "d": "features", "K": "classes"}
CHUNK = 100_000
Figures = dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_parts(parser, PARTS)
    add_options(parser, FOLDER, "--quick")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    parts = chosen(arguments.parts, PARTS, "part")
    refuse_quick(arguments, FOLDER)
    for part in parts:
        load, figures = load_average(), PARTS[part](arguments.quick)
        record = new_record(arguments.command_line, load_average=load, figures=figures)
        write_record(record, arguments.output / f"{part}.json")
    return 0


def measure_imports(quick: bool) -> Figures:
    """Seconds of imports and first fits in fresh processes, all in turn; the first round fills the system's cache."""
    code = "import time; b = time.perf_counter(); exec(__import__('sys').argv[1]); print(time.perf_counter() - b)"
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for turn in range(1 if quick else 8):
        for name, statement in STATEMENTS.items():
            found = fresh_process(code, statement)
            seconds[name] += [found] if turn or quick else []
    return {name: {"statement": STATEMENTS[name], "seconds": spread(found)} for name, found in seconds.items()}


def measure_predict(quick: bool) -> Figures:
    """Seconds of `predict` of a row and of many, in turn with MLPClassifier's, by the number of training rows."""
    many = class_rows(300 if quick else 10_000, 64, 10, seed=1)[0]
    figures: Figures = {}
    for n_train in (200,) if quick else (8000, 9000):
        X, y = class_rows(n_train, 64, 10)
        ours = GenerativeTransportClassifier(device="cpu", random_state=0, **(QUICK if quick else {})).fit(X, y)
        with quiet():
            fitted = {"ours": ours, "MLPClassifier": MLPClassifier((256, 256), max_iter=2, random_state=0).fit(X, y)}
        n_centers = len(ours.kernel_.centers)
        for rows, rounds, in_a_row in ((many[:1], 20, 20), (many, 15, 1)):
            calls = {name: partial(model.predict, rows) for name, model in fitted.items()}
            what = f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}, {n_centers:,} centres"
            figures[what] = in_turn(calls, 1 if quick else rounds, in_a_row)
            print(what, {name: f"{1000 * found['median']:.3f} ms" for name, found in figures[what].items()}, flush=True)
    return figures


def measure_scale(quick: bool) -> Figures:
    """Seconds, memory and accuracy of fits with many rows or classes, each in a process of its own."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for case, sizes in CASES.items():
            shape = {**sizes, "n": 600, "d": 8, "K": 3} if quick else sizes
            path = Path(folder) / "rows.npy"
            write_rows(path, shape["n"], shape["d"], shape["K"])
            for model in shape["models"][: 2 if quick else None]:
                arguments = {"model": model, "path": str(path), "on_disk": shape["on_disk"], "quick": quick}
                found = in_fresh_process(fit_rows, **arguments)
                figures.setdefault(case, {})[model] = found
                print(case, model, {name: round(value, 3) for name, value in found.items()}, flush=True)
    return figures


def measure_growth(quick: bool) -> Figures:
    """Seconds and memory of fits with a fixed number of updates against rows, features and classes, with exponents."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        for axis, values in GROWTH.items():
            sizes, points = values[: 2 if quick else None], []
            for size in sizes:
                shape = {**BASE, **({"n": 500} if quick else {}), axis: size}
                write_rows(path, shape["n"], shape["d"], shape["K"])
                found = in_fresh_process(fit_rows, model="ours", path=str(path), on_disk=False, quick=quick, steps=200)
                points.append({"size": size, **found})
                print(axis, size, {name: round(value, 3) for name, value in found.items()}, flush=True)
            grown = {name: [max(point[name], 1e-3) for point in points] for name in ("fit_seconds", "memory_bytes")}
            exponents = {name: float(np.polyfit(np.log(sizes), np.log(own), 1)[0]) for name, own in grown.items()}
            figures[axis] = {"points": points, "exponents": exponents}
    return figures


PARTS: dict[str, Callable[[bool], Figures]] = {
    "import": measure_imports,
    "predict": measure_predict,
    "scale": measure_scale,
    "growth": measure_growth,
}


def fit_rows(model: str, path: str, on_disk: bool, quick: bool, steps: int | None = None) -> dict[str, float]:
    """Fit to a file of rows and predict 10,000 of them: seconds, peak memory added in bytes, and accuracy on them."""
    X = np.load(path, mmap_mode="r" if on_disk else None)
    y = np.load(Path(path).with_name("labels.npy"))
    n_test = min(10_000, len(X) // 5)
    settings = {} if model != "ours" else {"device": "cpu"} | (QUICK if quick else {})
    if steps is not None and not quick:
        settings |= {"max_steps": steps, "patience": None}
    create_model(model, settings).fit(*class_rows(60, 4, 3))
    fitted = create_model(model, settings)
    memory, (fit_seconds, *_) = added_memory(lambda: timed(lambda: fitted.fit(X[:-n_test], y[:-n_test])))
    predict_seconds, _, found = timed(lambda: fitted.predict(X[-n_test:]))
    accuracy = float((found == y[-n_test:]).mean())
    figures = {"fit_seconds": fit_seconds, "predict_seconds": predict_seconds, "memory_bytes": memory}
    return {**figures, "accuracy": accuracy}


def write_rows(path: Path, n: int, d: int, n_classes: int) -> None:
    """Write rows of float32 to a NumPy file, and their labels beside it, without holding all of them."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    labels = np.empty(n, np.int64)
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        rows[part], labels[part] = class_rows(part.stop - start, d, n_classes, seed=start)
    rows.flush()
    np.save(path.with_name("labels.npy"), labels)


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int, in_a_row: int) -> dict[str, dict[str, float]]:
    """Spread of the seconds of calls in turn, so many in a row; a first round of each is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            found = [timed(call)[0] for _ in range(in_a_row)]
            seconds[name] += found if turn else []
    return {name: spread(values) for name, values in seconds.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of values."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(values)}


def fresh_process(code: str, *arguments: str) -> Any:
    """What code in a Python process of its own prints last, as JSON; a RuntimeError has the end of what it says if it fails."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Got exit status {done.returncode} from a process of its own: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_fresh_process(function: Callable[..., Any], **arguments: Any) -> Any:
    """The result of a function of a module, called in a process of its own: memory held before does not count there."""
    code = f"import json, sys\nfrom {function.__module__} import {function.__name__} as function\n"
    return fresh_process(code + "print(json.dumps(function(**json.loads(sys.argv[1]))))\n", json.dumps(arguments))


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without any record."""
    read = {part: read_record(results / FOLDER.name / f"{part}.json") for part in PARTS}
    records = {part: record for part, record in read.items() if record}
    views = {"import": _imports, "predict": _predict, "scale": _scale, "growth": _growth}
    found = {part: views[part](record["figures"]) for part, record in records.items()}
    commands = by_command(records.values())
    names = {"commands": commands, "parts": found, "names": list(PARTS), "gpu": gpu.context(results)}
    return names if records else {}


def _imports(figures: Figures) -> str:
    rows = [
        [f"`{'`<br>`'.join(found['statement'].split('; '))}`", f"{1000 * found['seconds']['median']:.0f}"]
        for found in figures.values()
    ]
    return table(("Statements", "Milliseconds"), rows)


def _predict(figures: Figures) -> str:
    medians = {
        what: [1000 * found[who]["median"] for who in ("ours", "MLPClassifier")]
        for what, found in figures.items()
        if "MLPClassifier" in found
    }
    rows = [[what, f"{ours:.3g}", f"{mlp:.3g}", f"{ours / mlp:.1f}"] for what, (ours, mlp) in medians.items()]
    return table(("Predict", "ours, ms", "MLP, ms", "Ratio"), rows)


def _scale(figures: Figures) -> str:
    blocks = []
    formats = {"fit_seconds": (1, 1), "predict_seconds": (2, 1), "memory_bytes": (0, 2**-20), "accuracy": (1, 100)}
    for case, models in figures.items():
        rows = [
            [
                named(model),
                *(number(scale * found[name], digits) for name, (digits, scale) in formats.items()),
            ]
            for model, found in models.items()
        ]
        blocks.append(f"{case}:\n\n{table(('Model', 'Fit, s', 'Predict, s', 'MiB', 'Accuracy, %'), rows)}")
    return "\n".join(blocks)


def _growth(figures: Figures) -> str:
    rows = []
    for axis, found in figures.items():
        first, last = found["points"][0], found["points"][-1]
        row = [f"{AXES[axis]}, {first['size']:,} to {last['size']:,}"]
        for name, digits, scale in (("fit_seconds", 2, 1), ("memory_bytes", 0, 2**-20)):
            spans = " to ".join(number(scale * point[name], digits) for point in (first, last))
            row += [spans, f"{found['exponents'][name]:z.2f}"]
        rows.append(row)
    return table(("Growing", "Fit, s", "Exponent", "MiB", "Exponent"), rows)
