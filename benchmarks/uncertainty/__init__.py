"""Measure what probabilities are worth: telling errors and foreign input, spoilt features, calibration beside peers'."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from ..ablation import smallest_tables
from ..data import load_table
from ..provenance import provenance, write_record
from ..tables import parse_splits
from . import calibrated, errors, foreign, robustness
from .cells import Cell, Row

RESULTS = Path("benchmarks/results/uncertainty.json")
N_TABLES = 8
PARTS: dict[str, ModuleType] = {
    "errors": errors,
    "foreign": foreign,
    "robustness": robustness,
    "calibration": calibrated,
}
"""Each with a `TITLE` and `measure(cell)`, which gives rows with a `name`, measures, and a `case` where there are several."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help=f"names, comma between (default: the {N_TABLES} of fewest rows)")
    parser.add_argument("--splits", default="0,1", help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print progress, and record; parts that were not asked for keep their record."""
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(PARTS)}.")
    parts = arguments.parts or list(PARTS)
    splits = parse_splits(arguments.splits)
    tables = arguments.tables.split(",") if arguments.tables else smallest_tables(arguments.data_dir, N_TABLES)
    for table in tables:
        load_table(table, arguments.data_dir)
    found: dict[str, list[Row]] = {part: [] for part in parts}
    begin = time.perf_counter()
    for table in tables:
        for split in splits:
            cell = Cell(load_table(table, arguments.data_dir), split)
            for part in parts:
                found[part] += [{"table": table, "split": split, **row} for row in PARTS[part].measure(cell)]
                print(f"{table}/{split} {part}: {time.perf_counter() - begin:.0f} s", flush=True)
    record, made = read_record(arguments.output), provenance(arguments.command_line)
    for part, rows in found.items():
        record[part] = {**made, "rows": rows}
    write_record(record, arguments.output)
    return 0


def read_record(path: Path) -> dict[str, Any]:
    """The record of each part that was measured."""
    return json.loads(path.read_text()) if path.exists() else {}
