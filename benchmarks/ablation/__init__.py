"""Measure what each part of the method is worth: the default classifier beside variants that differ in one thing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data import load_table, table_names
from ..records import RecordStore
from ..runner import Plan, run_plan
from ..tables import of_plan, parse_splits, summary_text
from .parts import Choice, Part, all_parts

RESULTS = Path("benchmarks/results/ablation")
N_TABLES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help=f"names, comma between (default: the {N_TABLES} of fewest rows)")
    parser.add_argument("--splits", default="0,1", help="(default: %(default)s)")
    parser.add_argument("--only", help=f"parts, comma between, of {', '.join(part.key for part in all_parts())}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="run also what is recorded; the later record counts")


def run(arguments: argparse.Namespace) -> int:
    """Run what is not recorded yet and print means; `render` makes the page."""
    from ..summary import compare

    parts = chosen_parts(arguments.only)
    splits = parse_splits(arguments.splits)
    tables = arguments.tables.split(",") if arguments.tables else smallest_tables(arguments.data_dir, N_TABLES)
    for name in tables:
        load_table(name, arguments.data_dir)
    store, status = RecordStore(arguments.output), 0
    for slow in (False, True):
        variants = distinct([part for part in parts if part.slow is slow])
        if not variants:
            continue
        plan = Plan(variants, tables, splits, arguments.data_dir, again=arguments.again, command=arguments.command_line)
        status |= run_plan(plan, store, lambda line: print(line, flush=True)) > 0
        if comparison := compare(of_plan(store.read(), plan)):
            print(summary_text(comparison, "default"))
    return int(status)


def chosen_parts(only: str | None) -> list[Part]:
    """
    Parts named on the command line, all by default.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    parts = {part.key: part for part in all_parts()}
    keys = list(parts) if only is None else only.split(",")
    if unknown := [key for key in keys if key not in parts]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(parts)}.")
    return [part for key, part in parts.items() if key in keys]


def distinct(parts: Sequence[Part]) -> list[Choice]:
    """Choices of some parts, each label once, those that share a fit one after the other, the one as fitted first."""
    by_label = {choice.label: choice for part in parts for choice in part.choices}
    by_fit: dict[str, list[Choice]] = {}
    for choice in by_label.values():
        by_fit.setdefault(f"{sorted(choice.parameters.items())} {choice.condition_seen}", []).append(choice)
    return [choice for same in by_fit.values() for choice in sorted(same, key=lambda choice: len(choice.after))]


def smallest_tables(data_dir: Path | None, most: int) -> list[str]:
    """Names of the tables of fewest rows: what a run of many fits can afford."""
    names = table_names(data_dir)
    return sorted(names, key=lambda name: (len(load_table(name, data_dir).y), name))[:most]
