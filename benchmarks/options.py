"""Command-line options that several benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .data import N_SPLITS, SUBSETS, Split, chosen_tables, load_table, split_table

OPTIONS: dict[str, dict[str, Any]] = {
    "--data-dir": {"type": Path, "help": "folder with tabular/*.csv.gz; else only scikit-learn's tables"},
    "--tables": {"help": f"names, or {', '.join(SUBSETS)}, comma between (default: all, or a sample)"},
    "--splits": {"default": "0,1,2", "help": "numbers of splits, comma between (default: %(default)s)"},
    "--max-train": {"type": int, "default": 600, "help": "training rows at most (default: %(default)s)"},
    "--max-test": {"type": int, "default": 1000, "help": "test rows at most (default: %(default)s)"},
    "--inner": {"action": "store_true", "help": "split training parts once more, leave test parts alone"},
    "--again": {"action": "store_true", "help": "run also what is recorded; the later record counts"},
    "--quick": {"action": "store_true", "help": "tiny sizes, to see that all runs; figures mean nothing"},
    "--rounds": {"type": int, "default": 5, "help": "times each is measured (default: %(default)s)"},
    "--n-folds": {"type": int, "default": 5, "help": "folds of whole speakers (default: %(default)s)"},
    "--cache": {"default": True, "help": "folder of the features (default: the user's own)"},
    "--corpus": {"required": True, "metavar": "LAYOUT=FOLDER", "help": "a corpus, such as ravdess=FOLDER"},
}


def add_options(parser: argparse.ArgumentParser, output: Path, *names: str, **defaults: Any) -> None:
    """Declare `--output` and some of `OPTIONS`, with other defaults where given."""
    for name in names:
        parser.add_argument(name, **OPTIONS[name])
    parser.add_argument("--output", type=Path, default=output, help="where records go (default: %(default)s)")
    parser.set_defaults(**defaults)


def add_parts(parser: argparse.ArgumentParser, known: Iterable[str]) -> None:
    """Declare positional names of parts."""
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)} (default: all)")


def chosen(names: str | Iterable[str] | None, known: Iterable[str], what: str) -> list[str]:
    """Names of a list, or of a text with commas between, all of them known; without any, all that are known."""
    known = list(known)
    given = names.split(",") if isinstance(names, str) else list(names or known)
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"Got {what} {', '.join(unknown)}, expected some of {', '.join(known)}.")
    return given


def chosen_splits(text: str) -> list[int]:
    """Numbers of splits in a text."""
    return [int(split) for split in chosen(text, map(str, range(N_SPLITS)), "--splits")]


def splits_of(arguments: argparse.Namespace, default: Sequence[str] | None = None) -> Iterator[Split]:
    """Splits of tables as the options say; without `--splits` the first, without `--tables` the default ones, or all."""
    given = {name: getattr(arguments, name) for name in ("inner", "max_train", "max_test") if name in arguments}
    for name in chosen_tables(arguments.tables, arguments.data_dir, default):
        for number in chosen_splits(getattr(arguments, "splits", "0")):
            yield split_table(load_table(name, arguments.data_dir), number, **given)


def refuse_quick(arguments: argparse.Namespace, output: Path) -> None:
    """Raise a ValueError if `--quick` would overwrite records."""
    if arguments.quick and arguments.output == output:
        raise ValueError("Got --quick without --output, expected another place: quick figures are no records.")
