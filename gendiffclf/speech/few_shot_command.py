"""The command `few-shot`: a model tested on another corpus, before and after adapting to a few of its clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .layouts import LAYOUTS
from .options import (
    add_accept_option,
    add_layout_options,
    add_pipeline_options,
    build_pipeline,
    check_outputs,
    read_source,
)

if TYPE_CHECKING:
    import pandas as pd

SHOTS = "0,4,8,16"


def add_few_shot_options(parser: argparse.ArgumentParser) -> None:
    shape = "LAYOUT=FOLDER, such as ravdess=FOLDER, a folder with --layout or --pattern, or a table"
    parser.add_argument(
        "--train", action="append", required=True, metavar="CORPUS", help=f"training corpus: {shape}; can be repeated"
    )
    parser.add_argument("--test", required=True, metavar="CORPUS", help="corpus to test on and adapt to")
    add_layout_options(parser)
    for side in ("train", "test"):
        parser.add_argument(
            f"--{side}-where",
            action="append",
            default=[],
            metavar="COLUMN=VALUES",
            help=f"keep only clips of --{side} with one of these values, such as statement=01,02; can be repeated",
        )
    parser.add_argument("--shots", default=SHOTS, help="numbers of clips per class to adapt to (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=10, help="repetitions with other shots and speakers (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="also write measures and runs to this JSON file")
    add_pipeline_options(parser)
    add_accept_option(parser)
    parser.add_argument(
        "--system",
        choices=("gen-ser", "selm"),
        default="gen-ser",
        help="gen-ser or selm (language model) (default: %(default)s)",
    )


def run_few_shot(options: argparse.Namespace) -> None:
    """Train, test, adapt, test again, and print the measures with intervals."""
    from .adaptation import few_shot

    sources = [_layout_and_source(text)[1] for text in (*options.train, options.test)]
    check_outputs(sources, ("--output", options.output))
    try:
        shots = [int(number) for number in options.shots.split(",")]
    except ValueError as error:
        raise ValueError(f"Got --shots {options.shots}, expected numbers such as {SHOTS}.") from error
    tables = [_corpus(source, options, options.train_where) for source in options.train]
    result = few_shot(
        build_pipeline(options),
        tables,
        _corpus(options.test, options, options.test_where),
        shots=shots,
        n_repeats=options.repeats,
        random_state=options.seed,
        accept=options.accept,
        verbose=int(not options.quiet),
    )
    result.about["command"] = options.command_line
    print(result)
    if options.output is not None:
        result.to_json(options.output)


def _corpus(text: str, options: argparse.Namespace, conditions: list[str]) -> pd.DataFrame:
    """Read a corpus and filter its clips; speakers get the source as a prefix, except in the tested corpus."""
    layout, source = _layout_and_source(text)
    # --layout and --pattern are for folders without a layout of their own.
    changes = {} if layout is None and Path(source).is_dir() else {"layout": layout, "pattern": None}
    corpus = read_source(argparse.Namespace(**vars(options) | changes), source)
    for condition in conditions:
        column, _, values = condition.partition("=")
        if column not in corpus or not values:
            raise ValueError(f"Got {condition!r}, expected COLUMN=VALUES with a column among {list(corpus.columns)}.")
        corpus = corpus[corpus[column].astype(str).isin(values.split(","))]
        if not len(corpus):
            raise ValueError(f"Got {condition!r}, which no clip of {text} fulfils, expected values that occur.")
    tested = Path(_layout_and_source(options.test)[1])
    if Path(source).resolve() != tested.resolve() and "speaker" in corpus:
        corpus = corpus.assign(speaker=f"{text}: " + corpus["speaker"].astype(str))
    return corpus


def _layout_and_source(text: str) -> tuple[str | None, str]:
    """Split LAYOUT=FOLDER; a layout of None for other sources."""
    layout, equals, folder = text.partition("=")
    is_layout = layout in LAYOUTS or (equals and not Path(text).exists())  # or a misspelt one
    return (layout, folder) if is_layout else (None, text)
