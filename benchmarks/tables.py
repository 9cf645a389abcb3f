"""Run models x tables x splits, resuming where it stopped, and print what came out."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .data import N_SPLITS, SUBSETS, chosen_tables
from .models import MODELS, PLAIN, configuration
from .records import RESULTS, Record, RecordStore
from .runner import Plan, Variant, run_plan
from .summary import SCORES, means, ranks, runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, help="folder with tabular/*.csv.gz; else only scikit-learn's tables")
    parser.add_argument(
        "--models", default=",".join(PLAIN), help=f"of {', '.join(MODELS)}; or all (default: %(default)s)"
    )
    parser.add_argument("--tables", help=f"names, or {', '.join(SUBSETS)}, comma between (default: all)")
    parser.add_argument("--splits", default=",".join(map(str, range(N_SPLITS))), help="(default: %(default)s)")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="parameter of the one model")
    parser.add_argument("--label", help="name of the one model in records (default: the model's)")
    parser.add_argument(
        "--variant",
        action="append",
        nargs="+",
        default=[],
        metavar=("LABEL MODEL", "NAME=VALUE"),
        help="one more model with parameters under a label; may be given again, all take turns",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of records (default: %(default)s)")
    parser.add_argument("--inner", action="store_true", help="split training parts once more, leave test parts alone")
    parser.add_argument("--again", action="store_true", help="run also what is recorded; the later record counts")
    parser.add_argument("--reference", default="mlp", help="model to compare with (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run and print."""
    plan = Plan(
        variants=parse_variants(arguments.models, arguments.param, arguments.label, arguments.variant),
        tables=chosen_tables(arguments.tables, arguments.data_dir),
        splits=parse_splits(arguments.splits),
        data_dir=arguments.data_dir,
        inner=arguments.inner,
        again=arguments.again,
        command=arguments.command_line,
    )
    store = RecordStore(arguments.output)
    n_failed = run_plan(plan, store, lambda line: print(line, flush=True))
    print(summary_text(of_plan(store.read(), plan), arguments.reference))
    return 1 if n_failed else 0


def parse_variants(
    models: str, parameters: Sequence[str], label: str | None, more: Sequence[Sequence[str]]
) -> list[Variant]:
    """
    Make variants from the options.

    Raises
    ------
    ValueError
        If parameters or a label are given for several models, or two variants share a label.
    """
    names = list(MODELS) if models == "all" else [name for name in models.split(",") if name]
    if (parameters or label) and len(names) != 1:
        raise ValueError(
            f"Got --param or --label with {len(names)} models, expected --models with one; or use --variant."
        )
    variants = [Variant(label or name, name, _parse_parameters(parameters)) for name in names]
    for words in more:
        if len(words) < 2:
            raise ValueError(f"Got --variant {' '.join(words)}, expected a label, a model, and name=value pairs.")
        variants.append(Variant(words[0], words[1], _parse_parameters(words[2:])))
    labels = [variant.label for variant in variants]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"Got labels {labels}, expected one or more that differ.")
    for variant in variants:
        RecordStore(RESULTS).path(variant.label)
        variant.create()
    return variants


def _parse_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ValueError(f"Got parameter {pair!r}, expected name=value.")
        try:
            parsed[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parsed[name] = value
    return parsed


def parse_splits(text: str) -> list[int]:
    """
    Read numbers of splits.

    Raises
    ------
    ValueError
        If one is none of 0, 1, 2.
    """
    splits = text.split(",")
    known = [str(split) for split in range(N_SPLITS)]
    if not set(splits) <= set(known):
        raise ValueError(f"Got --splits {text}, expected some of {','.join(known)}.")
    return [int(split) for split in splits]


def of_plan(records: Sequence[Record], plan: Plan) -> list[Record]:
    """Records of the runs of a plan, whenever they were made."""
    wanted = {variant.label: configuration(variant.create()) for variant in plan.variants}
    return [
        record
        for record in records
        if (record["inner"], wanted.get(record["label"])) == (plan.inner, record["configuration"])
        and record["table"] in plan.tables
        and record["split"] in plan.splits
    ]


def summary_text(records: Sequence[Record], reference: str) -> str:
    """Means of each model, and its accuracy less the reference's on each table, the worst first."""
    found = runs(records)
    if found.empty:
        return "No run is shared by all models."
    shown = {measure: means(found[measure]) for measure in (*SCORES, "fit_seconds", "fit_cpu_seconds")}
    table = pd.DataFrame({"rank": means(ranks(found["accuracy"])), **shown}).loc[list(found["accuracy"])]
    lines = ["", f"{len(found)} runs of each model", table.to_string(float_format="%.4f")]
    if reference in found["accuracy"]:
        less = 100 * found["accuracy"].sub(found["accuracy"][reference], axis=0).groupby(level=0).mean()
        lines += [
            "",
            f"Accuracy less that of {reference}, in points",
            less.drop(columns=reference).T.round(2).to_string(),
        ]
    return "\n".join(lines)
