"""Exported classifiers: how near they are to `predict_proba`, how large, how fast beside torch, and what int8 costs."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gendiffclf import GenerativeTransportClassifier, load_predictor

from .data import Table, chosen_tables, load_table, split_rows
from .environment import load_average
from .markdown import circumstances, table_text
from .provenance import provenance, write_record
from .records import Record
from .speed import QUICK, fresh_process, in_turn, spread

RESULTS = Path("benchmarks/results/onnx.json")
PAGE = "deployment.md"
SPLIT = 0
MANY = 1000
"""Rows of a batch; the test rows over and over where there are fewer."""
GOALS = {"difference": 1e-5, "import_ms": 150.0, "one_row_ms": 0.2}
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
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz, more tables")
    parser.add_argument("--tables", help="names of tables or kinds, comma between (default: all)")
    parser.add_argument("--quick", action="store_true", help="few updates and repeats, to see that all runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record; the exit status is 1 where a file is further from `predict_proba` than it may be."""
    import torch

    if arguments.quick and arguments.output == RESULTS:
        raise ValueError("Got --quick without --output, expected another file: quick figures are no record.")
    names = chosen_tables(arguments.tables, arguments.data_dir)
    load, figures = load_average(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            figures[name] = measure(load_table(name, arguments.data_dir), Path(folder), arguments.quick)
            print(name, figures[name]["difference"], figures[name]["seconds"]["onnx, 1 row"], flush=True)
        imports = [
            fresh_process(_IMPORTS, str(Path(folder, "model.onnx"))) for _ in range(2 if arguments.quick else 16)
        ]
    record = {
        **provenance(arguments.command_line),
        "load_average": load,
        "n_threads": {"onnx": 1, "torch": torch.get_num_threads()},
        # The first process brings files into the system's cache.
        "startup_seconds": {part: spread([found[part] for found in imports[1:]]) for part in ("import", "load")},
        "tables": figures,
    }
    write_record(record, arguments.output)
    print(summary_text(record))
    return int(worst(record, "float64") > GOALS["difference"])


def measure(table: Table, folder: Path, quick: bool) -> dict[str, Any]:
    """
    Fit on a split of a table, export, and predict the rows left out in turn.

    Parameters
    ----------
    table : Table
    folder : Path
        Where files go.
    quick : bool
        Whether to fit and repeat but little.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    train, test = split_rows(table, SPLIT)
    classifier = GenerativeTransportClassifier(device="cpu", random_state=0, **(QUICK if quick else {}))
    classifier.fit(table.X[train], table.y[train], groups=None if table.groups is None else table.groups[train])
    exported, saved, small = (folder / name for name in ("model.onnx", "model.safetensors", "int8.onnx"))
    classifier.to_onnx(exported)
    classifier.save(saved)
    quantize_dynamic(exported, small, weight_type=QuantType.QInt8)
    predictor, int8 = load_predictor(exported, n_threads=1), load_predictor(small, n_threads=1)
    X, y = table.X[test], table.y[test]
    found, rounded, usual = predictor.predict_proba(X), int8.predict_proba(X), classifier.predict_proba(X)
    exact = classifier.set_params(precision="float64").predict_proba(X)
    classifier.set_params(precision="auto")
    many = np.resize(X, (MANY, X.shape[1]))
    rows = {"1 row": X[:1], f"{MANY} rows": many}
    models = {"onnx": predictor.predict_proba, "torch": classifier.predict_proba}
    seconds: dict[str, Any] = {}
    for size, part in rows.items():
        calls = {
            f"{name}, {size}": lambda predict=predict, part=part: predict(part) for name, predict in models.items()
        }
        repeats, in_a_row = (2, 2) if quick else (10, 20) if len(part) == 1 else (5, 1)
        seconds |= in_turn(calls, repeats, in_a_row)
    return {
        "n_train": len(train),
        "n_test": len(test),
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


def worst(record: Record, reference: str) -> float:
    """Largest difference over tables."""
    return max(found["difference"][reference] for found in record["tables"].values())


def summary_text(record: Record) -> str:
    """What the page opens with, as Markdown."""
    tables = record["tables"].values()
    seconds = {
        name: 1000 * np.median([found["seconds"][name]["median"] for found in tables])
        for name in (f"{model}, {size}" for model in ("onnx", "torch") for size in ("1 row", f"{MANY} rows"))
    }
    slowest = 1000 * max(found["seconds"]["onnx, 1 row"]["median"] for found in tables)
    within = sum(1000 * found["seconds"]["onnx, 1 row"]["median"] < GOALS["one_row_ms"] for found in tables)
    startup = {part: 1000 * figure["median"] for part, figure in record["startup_seconds"].items()}
    ratio = np.median([found["bytes"]["onnx"] / found["bytes"]["save"] for found in tables])
    return (
        f"- Largest difference to `predict_proba` over {len(tables)} tables: {worst(record, 'float64'):.1e} with "
        f'`precision="float64"`, which up to 32 rows are always computed in; {worst(record, "float32"):.1e} otherwise, where '
        f"`predict_proba` itself is {worst(record, 'float32 and float64'):.1e} from float64.\n"
        f"- One row, median over tables: {seconds['onnx, 1 row']:.2f} ms, with torch {seconds['torch, 1 row']:.2f} ms; below "
        f"{GOALS['one_row_ms']} ms on {within} of {len(tables)} tables, {slowest:.2f} ms at most.\n"
        f"- {MANY:,} rows: {seconds[f'onnx, {MANY} rows']:.0f} ms, with torch {seconds[f'torch, {MANY} rows']:.0f} ms.\n"
        f"- Start: `from gendiffclf import load_predictor` with NumPy and onnxruntime {startup['import']:.0f} ms, reading a "
        f"file {startup['load']:.0f} ms.\n"
        f"- The file has {ratio:.2f} times the size of that by `save` (median).\n"
        f"- {_int8_text(record)}\n"
    )


def _int8_text(record: Record) -> str:
    tables = record["tables"].values()
    lost = [100 * (found["int8"]["accuracy_before"] - found["int8"]["accuracy"]) for found in tables]
    share = np.median([found["bytes"]["int8"] / found["bytes"]["onnx"] for found in tables])
    largest = max(found["int8"]["difference"] for found in tables)
    return (
        f"int8 (`onnxruntime.quantization.quantize_dynamic`): {share:.2f} of the size, {np.mean(lost):.2f} points of accuracy "
        f"lost on average and {max(lost):.2f} at most, probabilities changed by up to {largest:.2f}."
    )


def section(record: Record) -> str:
    """Summary, table, and how it was measured."""
    rows = []
    for name, found in record["tables"].items():
        milliseconds = {key: 1000 * value["median"] for key, value in found["seconds"].items()}
        rows.append(
            [
                name,
                found["kernel"],
                str(found["n_centers"]),
                str(found["n_features"]),
                f"{found['difference']['float64']:.0e}",
                f"{found['bytes']['onnx'] / 2**20:.2f} / {found['bytes']['save'] / 2**20:.2f}",
                *(f"{milliseconds[f'onnx, {size}']:.{digits}f} / {milliseconds[f'torch, {size}']:.{digits}f}"
                  for size, digits in (("1 row", 2), (f"{MANY} rows", 0))),
                f"{100 * found['int8']['accuracy_before']:.1f} / {100 * found['int8']['accuracy']:.1f}",
            ]
        )  # fmt: skip
    header = (
        "Table", "Kernel", "Centres", "Features", "Difference", "File: ONNX / save, MiB", "1 row: ONNX / torch, ms",
        f"{MANY:,} rows: ONNX / torch, ms", "Accuracy: float / int8, %",
    )  # fmt: skip
    return (
        f"\n{summary_text(record)}{table_text(header, rows)}\nFitted on the training part of the first split, measured on its "
        f"test rows, one thread each; times are medians.\n{circumstances(record, ('torch', 'onnxruntime', 'onnx', 'onnxscript'))}"
    )
