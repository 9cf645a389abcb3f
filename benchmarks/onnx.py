"""Exported classifiers: how near they are to `predict_proba`, how large, how fast beside torch, and what int8 costs."""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gendiffclf import GenerativeTransportClassifier, load_predictor

from .data import Split
from .markdown import number, table
from .options import add_options, refuse_quick, splits_of
from .records import RESULTS, Record, load_average, new_record, read_record, write_record
from .speed import QUICK, fresh_process, in_turn, spread

RECORD = RESULTS / "onnx.json"
MANY = 1000
"""Rows of a batch; the test rows over and over where there are fewer."""
GOALS = {"difference": 1e-5, "one_row_ms": 0.2}
_IMPORTS = """
import json, sys, time
begin = time.perf_counter()
import onnxruntime
from gendiffclf import load_predictor
imported = time.perf_counter()
predictor = load_predictor(sys.argv[1], n_threads=1)
loaded = time.perf_counter()
assert not {"torch", "sklearn"} & set(sys.modules)
print(json.dumps({"import": imported - begin, "load": loaded - imported}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, RECORD, "--data-dir", "--tables", "--quick")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record; the exit status is 1 where a file is further from `predict_proba` than it may be."""
    import torch

    refuse_quick(arguments, RECORD)
    load, figures = load_average(), {}
    with tempfile.TemporaryDirectory() as folder:
        for split in splits_of(arguments):
            name = split.table.name
            figures[name] = measure(split, Path(folder), arguments.quick)
            print(name, figures[name]["difference"], figures[name]["seconds"]["onnx, 1 row"], flush=True)
        path = str(Path(folder, "model.onnx"))
        imports = [fresh_process(_IMPORTS, path) for _ in range(2 if arguments.quick else 16)]
    record = new_record(
        arguments.command_line,
        load_average=load,
        n_threads={"onnx": 1, "torch": torch.get_num_threads()},
        # The first process brings files into the system's cache.
        startup_seconds={part: spread([found[part] for found in imports[1:]]) for part in ("import", "load")},
        tables=figures,
    )
    write_record(record, arguments.output)
    return int(figures_of(record)["difference.float64"].max() > GOALS["difference"])


def measure(split: Split, folder: Path, quick: bool) -> dict[str, Any]:
    """Fit, export into the folder, and predict the test rows in turn; `quick` fits and repeats but little."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    classifier = GenerativeTransportClassifier(device="cpu", random_state=0, **(QUICK if quick else {}))
    classifier.fit(*split.fitting, groups=split.groups)
    exported, saved, small = (folder / name for name in ("model.onnx", "model.safetensors", "int8.onnx"))
    classifier.to_onnx(exported)
    classifier.save(saved)
    quantize_dynamic(exported, small, weight_type=QuantType.QInt8)
    predictor, int8 = load_predictor(exported, n_threads=1), load_predictor(small, n_threads=1)
    X, y = split.evaluation
    found, rounded, usual = (model.predict_proba(X) for model in (predictor, int8, classifier))
    exact = classifier.set_params(precision="float64").predict_proba(X)
    classifier.set_params(precision="auto")
    seconds: dict[str, Any] = {}
    gap = X[:1].copy()
    gap[0, 0] = np.nan
    for size, rows in {
        "1 row": X[:1],
        "1 row with a gap": gap,
        f"{MANY} rows": np.resize(X, (MANY, X.shape[1])),
    }.items():
        models = {"onnx": predictor, "torch": classifier}
        calls = {f"{name}, {size}": partial(model.predict_proba, rows) for name, model in models.items()}
        seconds |= in_turn(calls, *((2, 2) if quick else (10, 20) if len(rows) == 1 else (5, 1)))
    return {
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_features": X.shape[1],
        "n_classes": len(classifier.classes_),
        "kernel": classifier.kernel_.settings.kernel,
        "n_centers": len(classifier.kernel_.centers),
        "difference": {
            "float64": _largest(found, exact),
            "float32": _largest(found, usual),
            "float32 and float64": _largest(usual, exact),
        },
        "bytes": {"onnx": exported.stat().st_size, "save": saved.stat().st_size, "int8": small.stat().st_size},
        "int8": {
            "difference": _largest(rounded, found),
            "accuracy": float((int8.classes_[rounded.argmax(1)] == y).mean()),
            "accuracy_before": float((predictor.classes_[found.argmax(1)] == y).mean()),
        },
        "seconds": seconds,
    }


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


def figures_of(record: Record) -> pd.DataFrame:
    """A row for each table; columns with a point between their parts, and milliseconds as "ms, onnx, 1 row"."""
    frame = pd.json_normalize(list(record["tables"].values())).set_axis(list(record["tables"]))
    milliseconds = 1000 * frame.filter(regex=r"^seconds\..*\.median$")
    return frame.join(milliseconds.rename(columns=lambda name: f"ms, {name.split('.')[1]}"))


def pair(first: float, second: float, digits: int) -> str:
    """Two numbers with a slash, on one line."""
    return f"{number(first, digits)}\u00a0/\u00a0{number(second, digits)}"


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    frame = figures_of(record)
    rows = [
        [
            name,
            row["kernel"],
            row["n_centers"],
            row["n_features"],
            f"{row['difference.float64']:.0e}",
            pair(row["bytes.onnx"] / 2**20, row["bytes.save"] / 2**20, 2),
            pair(row["ms, onnx, 1 row"], row["ms, torch, 1 row"], 2),
            pair(row[f"ms, onnx, {MANY} rows"], row[f"ms, torch, {MANY} rows"], 0),
            pair(100 * row["int8.accuracy_before"], 100 * row["int8.accuracy"], 1),
        ]
        for name, row in frame.iterrows()
    ]
    header = (
        "Table",
        "Kernel",
        "Centres",
        "Features",
        "Difference",
        "MiB",
        "1 row, ms",
        f"{MANY:,} rows, ms",
        "Accuracy, %",
    )
    lost = 100 * (frame["int8.accuracy_before"] - frame["int8.accuracy"])
    return {
        "record": record,
        "rows": table(header, rows),
        "n_tables": len(frame),
        "worst": frame.filter(like="difference.").max().map("{:.1e}".format).to_dict(),
        "ms": frame.filter(like="ms, ").median().to_dict(),
        "slowest": frame["ms, onnx, 1 row"].max(),
        "n_within": int((frame["ms, onnx, 1 row"] < GOALS["one_row_ms"]).sum()),
        "goals": GOALS,
        "start": {part: 1000 * found["median"] for part, found in record["startup_seconds"].items()},
        "ratio": (frame["bytes.onnx"] / frame["bytes.save"]).median(),
        "int8": {
            "share": (frame["bytes.int8"] / frame["bytes.onnx"]).median(),
            "lost": lost.mean(),
            "most": lost.max(),
            "changed": frame["int8.difference"].max(),
        },
    }
