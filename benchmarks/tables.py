"""Run models x tables x splits, resuming where it stopped, and print what came out."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from typing import Any

import pandas as pd

from .data import chosen_tables
from .models import MODELS, PLAIN
from .options import add_options, chosen_splits
from .records import TABLES, Record, RecordStore
from .runner import Plan, Variant, run_plan
from .summary import SCORES, means, runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, TABLES, "--data-dir", "--tables", "--splits", "--inner", "--again")
    parser.add_argument("--models", default=",".join(PLAIN), help=f"of {', '.join(MODELS)}; or all (%(default)s)")
    parser.add_argument(
        "--variant",
        action="append",
        nargs="+",
        default=[],
        metavar=("LABEL MODEL", "NAME=VALUE"),
        help="one more model with parameters under a label, or in place of that model; may be given again",
    )
    parser.add_argument("--reference", default="mlp", help="model to compare with (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run models and print what came out."""
    return run_and_print(arguments, parse_variants(arguments.models, arguments.variant), None, arguments.reference)


def run_and_print(
    arguments: argparse.Namespace, variants: Sequence[Variant], default: Sequence[str] | None, reference: str
) -> int:
    """Run variants on tables, the default ones unless others are named, and print them beside one of their labels."""
    plan = Plan(
        variants=variants,
        tables=chosen_tables(arguments.tables, arguments.data_dir, default),
        splits=chosen_splits(arguments.splits),
        data_dir=arguments.data_dir,
        inner="inner" in arguments and arguments.inner,
        again=arguments.again,
        command=arguments.command_line,
    )
    store = RecordStore(arguments.output)
    n_failed = run_plan(plan, store)
    print(summary_text(plan.records(store), reference))
    return int(n_failed > 0)


def parse_variants(models: str, more: Sequence[Sequence[str]]) -> list[Variant]:
    """Make variants from the options; a ValueError names one that lacks its model, or a parameter its value."""
    names = list(MODELS) if models == "all" else [name for name in models.split(",") if name]
    variants = {name: Variant(name, name) for name in names}
    for label, *words in more:
        if not words:
            raise ValueError(f"Got --variant {label}, expected a label, a model, and name=value pairs.")
        variants[label] = Variant(label, words[0], dict(map(_parse_parameter, words[1:])))
    for variant in variants.values():
        RecordStore(TABLES).path(variant.label)
        variant.create()
    return list(variants.values())


def _parse_parameter(pair: str) -> tuple[str, Any]:
    name, equals, value = pair.partition("=")
    if not (name and equals):
        raise ValueError(f"Got parameter {pair!r}, expected name=value.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def summary_text(records: Sequence[Record], reference: str) -> str:
    """Means of each model, and its accuracy less the reference's on each table."""
    found = runs(records)
    if found.empty:
        return "No run is shared by all models."
    shown = pd.DataFrame({measure: means(found[measure]) for measure in (*SCORES, "fit_seconds", "fit_cpu_seconds")})
    text = f"\n{len(found)} runs of each model\n{shown.loc[list(found['accuracy'])].to_string(float_format='%.4f')}"
    if reference not in found["accuracy"]:
        return text
    less = 100 * found["accuracy"].sub(found["accuracy"][reference], axis=0).groupby(level=0).mean()
    table = less.drop(columns=reference).T.round(2).to_string()
    return f"{text}\n\nAccuracy less that of {reference}, in points\n{table}"
