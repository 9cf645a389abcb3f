"""Run models x tables x splits, resuming where it stopped, and print what came out."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data import N_SPLITS, SUBSETS, chosen_tables
from .models import MODELS, PLAIN
from .records import RESULTS, Record, RecordStore
from .runner import Plan, Variant, run_plan
from .stored import SUFFIX, add_stored, read_stored
from .summary import Comparison, compare

_SECONDS = ("fit_seconds", "fit_cpu_seconds")


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
    parser.add_argument(
        "--interleave",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="all models in turn on each split, so that seconds are side by side (default: yes)",
    )
    parser.add_argument("--again", action="store_true", help="run also what is recorded; the later record counts")
    parser.add_argument("--reference", default="mlp", help="model to compare with (default: %(default)s)")
    parser.add_argument("--peers", type=Path, help="JSON of results measured elsewhere, for models that are not run")


def run(arguments: argparse.Namespace) -> int:
    """Run and print."""
    variants = parse_variants(arguments.models, arguments.param, arguments.label, arguments.variant)
    splits = parse_splits(arguments.splits)
    tables = chosen_tables(arguments.tables, arguments.data_dir)
    store = RecordStore(arguments.output)
    plan = Plan(
        variants=variants,
        tables=tables,
        splits=splits,
        data_dir=arguments.data_dir,
        inner=arguments.inner,
        interleave=arguments.interleave,
        again=arguments.again,
        command=arguments.command_line,
    )
    n_failed = run_plan(plan, store, lambda line: print(line, flush=True))
    records = of_plan(store.read(), plan)
    if arguments.peers is not None and not plan.inner:
        records = add_stored(records, read_stored(arguments.peers))
    comparison = compare(records)
    print(summary_text(comparison, arguments.reference) if comparison else "No run is shared by all models.")
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
    try:
        splits = [int(part) for part in text.split(",")]
    except ValueError:
        splits = []
    if not splits or not set(splits) <= set(range(N_SPLITS)):
        raise ValueError(f"Got --splits {text}, expected some of {','.join(map(str, range(N_SPLITS)))}.")
    return splits


def of_plan(records: Sequence[Record], plan: Plan) -> list[Record]:
    """Records of the runs of a plan, whenever they were made."""
    from .models import configuration

    wanted = {variant.label: configuration(variant.create()) for variant in plan.variants}
    return [
        record
        for record in records
        if record["inner"] == plan.inner
        and record["table"] in plan.tables
        and record["split"] in plan.splits
        and wanted.get(record["label"]) == record["configuration"]
    ]


def summary_text(comparison: Comparison, reference: str) -> str:
    """Means of each model, and its accuracy less the reference's on each table, the worst first."""
    found = [label for label in comparison.labels if label.removesuffix(SUFFIX) == reference]
    means = {
        metric: comparison.mean(metric) for metric in ("accuracy", "uar", "log_loss", "brier", "ece", "fit_seconds")
    }
    ranks = comparison.ranks().groupby(level=0).mean().mean()
    width = max(len(label) for label in comparison.labels)
    n_tables = len({table for table, _ in comparison.cells})
    lines = [
        "",
        f"{len(comparison.cells)} runs of each model on {n_tables} tables",
        f"{'':{width}}  accuracy    UAR  log-loss  Brier    ECE  rank  fit s" + ("   time    cpu" if found else ""),
    ]
    ratios = [comparison.fit_time_ratio(found[0], metric) for metric in _SECONDS] if found else []
    for label in comparison.labels:
        lines.append(
            f"{label:{width}}  {100 * means['accuracy'][label]:8.2f} {100 * means['uar'][label]:6.2f}  "
            f"{means['log_loss'][label]:8.4f} {means['brier'][label]:6.4f} {means['ece'][label]:6.4f} "
            f"{ranks[label]:5.2f} {means['fit_seconds'][label]:6.2f}"
            + "".join(f" {ratio[label]:5.2f}x" for ratio in ratios)
        )
    if not found:
        lines.append(
            f"{reference!r} is not among these models: give --reference to compare seconds and accuracy with one."
        )
        return "\n".join(lines)
    lines += ["", f"Accuracy less that of {found[0]}, in points"]
    differences = 100 * comparison.difference("accuracy", found[0]).groupby(level=0).mean()
    for label in comparison.labels:
        if label != found[0]:
            worst_first = differences[label].sort_values(kind="stable")
            lines.append(
                f"{label:{width}}  " + ", ".join(f"{table} {value:+.2f}" for table, value in worst_first.items())
            )
    return "\n".join(lines)
