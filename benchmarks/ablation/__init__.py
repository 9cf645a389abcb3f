"""Measure what each part of the method is worth: the default classifier beside variants that differ in one thing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..data import SAMPLE, SUBSETS, chosen_tables
from ..models import configuration
from ..provenance import provenance, write_record
from ..records import RecordStore
from ..runner import Plan, run_plan
from ..tables import of_plan, parse_splits, summary_text
from . import agreement
from .parts import Choice, Part, all_parts

RESULTS = Path("benchmarks/results/ablation")
AGREEMENT = f"{agreement.KEY}.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    keys = ", ".join([*(part.key for part in all_parts()), agreement.KEY])
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument("--tables", help=f"names, or {', '.join(SUBSETS)}, comma between (default: {','.join(SAMPLE)})")
    parser.add_argument("--splits", default="0,1", help="(default: %(default)s)")
    parser.add_argument("--only", help=f"parts, comma between, of {keys}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="run also what is recorded; the later record counts")


def run(arguments: argparse.Namespace) -> int:
    """Run what is not recorded yet and print means; `render` makes the page."""
    from ..summary import compare

    parts, agrees = chosen_parts(arguments.only)
    splits = parse_splits(arguments.splits)
    tables = chosen_tables(arguments.tables, arguments.data_dir, SAMPLE)
    status = 0
    if parts:
        store = RecordStore(arguments.output)
        plan = Plan(
            distinct(parts),
            tables,
            splits,
            arguments.data_dir,
            again=arguments.again,
            command=arguments.command_line,
        )
        status = int(run_plan(plan, store, lambda line: print(line, flush=True)) > 0)
        if comparison := compare(of_plan(store.read(), plan)):
            print(summary_text(comparison, "default"))
    if agrees:
        runs = agreement.measure(tables, splits, arguments.data_dir)
        write_record({**provenance(arguments.command_line), "runs": runs}, arguments.output / AGREEMENT)
    return status


def chosen_parts(only: str | None) -> tuple[list[Part], bool]:
    """
    Parts named on the command line, and whether agreement is among them; all by default.

    Raises
    ------
    ValueError
        If there is no such part.
    """
    parts = {part.key: part for part in all_parts()}
    known = [*parts, agreement.KEY]
    keys = known if only is None else only.split(",")
    if unknown := [key for key in keys if key not in known]:
        raise ValueError(f"Got part {', '.join(unknown)}, expected some of {', '.join(known)}.")
    return [part for key, part in parts.items() if key in keys], agreement.KEY in keys


def distinct(parts: Sequence[Part]) -> list[Choice]:
    """Choices of some parts, each label once, those that share a fit one after the other, the one as fitted first."""
    by_fit: dict[str, dict[str, Choice]] = {}
    for choice in (choice for part in parts for choice in part.choices):
        by_fit.setdefault(str(configuration(choice.create().estimator)), {})[choice.label] = choice
    return [
        choice for same in by_fit.values() for choice in sorted(same.values(), key=lambda choice: len(choice.after))
    ]
