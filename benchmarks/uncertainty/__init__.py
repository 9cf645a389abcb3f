"""Measure what probabilities are worth: errors, out-of-distribution input, missing features, calibration beside peers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import ModuleType

from ..data import SAMPLE, SUBSETS, chosen_tables, load_table
from ..provenance import provenance, write_record
from ..tables import parse_splits
from . import calibrated, errors, out_of_distribution, robustness
from .cells import Cell, Row

RESULTS = Path("benchmarks/results/uncertainty")
PARTS: dict[str, ModuleType] = {
    "errors": errors,
    "out-of-distribution": out_of_distribution,
    "robustness": robustness,
    "calibration": calibrated,
}
"""Each with a `TITLE` and `measure(cell)`, which gives rows with a `name`, measures, and a `case` where there are several."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help=f"names, or {', '.join(SUBSETS)}, comma between (default: {','.join(SAMPLE)})")
    parser.add_argument("--splits", default="0,1", help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print progress, and record each part."""
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(PARTS)}.")
    parts = arguments.parts or list(PARTS)
    splits = parse_splits(arguments.splits)
    tables = chosen_tables(arguments.tables, arguments.data_dir, SAMPLE)
    found: dict[str, list[Row]] = {part: [] for part in parts}
    begin = time.perf_counter()
    for table in tables:
        for split in splits:
            cell = Cell(load_table(table, arguments.data_dir), split)
            for part in parts:
                found[part] += [{"table": table, "split": split, **row} for row in PARTS[part].measure(cell)]
                print(f"{table}/{split} {part}: {time.perf_counter() - begin:.0f} s", flush=True)
    for part, rows in found.items():
        write_record({**provenance(arguments.command_line), "rows": rows}, arguments.output / f"{part}.json")
    return 0
