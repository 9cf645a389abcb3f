"""`gendiffclf demo`: comparison of classifiers on the user's table, or on three datasets of scikit-learn."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..device import thread_limit
from ..validation import check_integer
from .comparison import CLASSIFIERS, Comparison, compare
from .datasets import EXAMPLES, INFINITE, WORDS, Dataset, load_example, read_table
from .report import MEASURES, page, text_table, verdict

__all__ = ["run_demo"]


def run_demo(
    output: Path,
    *,
    path: Path | None = None,
    target: str | None = None,
    groups: str | None = None,
    n_folds: int = 3,
    max_rows: int = 10_000,
    random_state: int = 0,
) -> list[Comparison]:
    """
    Compare, print a table and write a report.

    Parameters
    ----------
    output : Path
        Folder for report.html, created if missing.
    path : Path, optional
        CSV file to compare on; by default datasets of scikit-learn are used.
    target, groups : str, optional
        Columns of the file with class labels and groups, see `read_table`.
    n_folds : int, default=3
        See `compare`.
    max_rows : int, default=10_000
        See `read_table`.
    random_state : int, default=0
        Seed of rows, folds and classifiers.

    Returns
    -------
    list of Comparison

    Raises
    ------
    ValueError
        If a file is given without a target, or a target or groups without a file.
    """
    check_integer("n_folds", n_folds, 2)
    if path is None and (target, groups) != (None, None):
        raise ValueError(
            f"Got target={target!r} and groups={groups!r} without a file, expected a CSV file; pass its path first."
        )
    if path is None:
        datasets = [load_example(name) for name in EXAMPLES]
        after = _after_examples()
    elif target is None:
        raise ValueError(f"Got {path} without a target, expected --target with the column of class labels.")
    else:
        datasets = [read_table(path, target, groups, n_folds=n_folds, max_rows=max_rows, random_state=random_state)]
        after = _after_table(datasets[0], str(path), target, groups)
    names = ", ".join(f"{data.name} ({len(data.y):,} rows)" for data in datasets)
    _print_wrapped(
        f"Comparing {len(CLASSIFIERS)} classifiers with default settings by cross-validation ({n_folds} folds) on: {names}."
    )
    for data in datasets:
        for note in data.notes:
            _print_wrapped(note)
    start = time.perf_counter()
    # One thread for all: such small models gain little from more, and are slow if other programs use the cores.
    with thread_limit(1), threadpool_limits(1):
        comparisons = list(compare(datasets, n_folds=n_folds, random_state=random_state))
    made = (
        f"Each row was predicted by classifiers trained without it ({n_folds} folds, random state {random_state}, one thread; "
        f"seconds are for all folds). Total time: {time.perf_counter() - start:.0f} s."
    )
    print(f"\n{text_table(comparisons)}\n")
    if path is not None:
        _print_wrapped(verdict(comparisons))
    _print_wrapped(MEASURES)
    _print_wrapped(made)
    output.mkdir(parents=True, exist_ok=True)
    report = output / "report.html"
    report.write_text(page(datasets, comparisons, made), encoding="utf-8")
    print(f"Report with reliability, classes and errors: {report}\n\n{after}")
    return comparisons


def _after_examples() -> str:
    return f"""\
What next: compare on your own table, which may have missing values and text columns:
  {_program()} demo my.csv --target COLUMN [--groups COLUMN]
For recordings instead of tables: make demo-speech in a clone, or {_program()} demo-speech with the extra "speech"."""


def _after_table(data: Dataset, path: str, target: str, groups: str | None) -> str:
    """Return code that fits the default classifier to the file as it was read."""
    columns = [target] if groups is None else [target, groups]
    names = f"""
  table[{columns}] = pd.read_csv({path!r}, keep_default_na=False, na_values=[""])[{columns}]"""
    by_groups = "" if groups is None else f", groups=table[{groups!r}]"
    finite = '.replace([float("inf"), -float("inf")], None)'
    return f"""\
What next: if another classifier is better by more than chance, use that one. To continue with this one:
  import pandas as pd
  from gendiffclf import GenerativeTransportClassifier
  table = pd.read_csv({path!r}){names if WORDS in data.notes else ""}
  table = table.dropna(subset={columns!r}){finite if INFINITE in data.notes else ""}
  X, y = table.drop(columns={list(data.dropped)!r}), table[{target!r}]
  classifier = GenerativeTransportClassifier(random_state=0).fit(X, y{by_groups})
  classifier.save("model.safetensors")"""


def _program() -> str:
    """Return the name by which the command can be called."""
    if shutil.which("gendiffclf"):
        return "gendiffclf"
    return sys.argv[0] if Path(sys.argv[0]).stem == "gendiffclf" else "python -m gendiffclf"


def _print_wrapped(text: str) -> None:
    print(textwrap.fill(text, 100))
