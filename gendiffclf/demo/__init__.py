"""`gendiffclf demo`: what the classifier does beside others, on the user's own table or on three of scikit-learn's."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..device import thread_limit
from ..validation import check_integer
from .comparison import CLASSIFIERS, Comparison, compare
from .datasets import EXAMPLES, INFINITE, Dataset, load_example, read_table
from .report import MEASURES, page, text_table, verdict

__all__ = ["run_demo"]

_NEXT_OF_EXAMPLES = """\
What next: compare on a table of your own, gaps and text columns included, with
  {program} demo my.csv --target COLUMN [--groups COLUMN]
Recordings instead of tables: make demo-speech in a clone, or {program} demo-speech with the extra "speech"."""
_NEXT_OF_TABLE = """\
What next: if another classifier leads by more than chance, take that one. To go on with this one:
  import pandas as pd
  from gendiffclf import GenerativeTransportClassifier
  table = pd.read_csv({path!r}).dropna(subset=[{target!r}]){cleaned}
  X, y = table.drop(columns={dropped!r}), table[{target!r}]
  classifier = GenerativeTransportClassifier(random_state=0).fit(X, y{groups})
  classifier.save("model.safetensors")"""


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
        Folder of report.html, made where it is missing.
    path : Path, optional
        CSV file to compare on; without it, tables that come with scikit-learn.
    target, groups : str, optional
        Columns of the file: the class, and what rows belong to. See `read_table`.
    n_folds, max_rows, random_state
        See `read_table` and `compare`.

    Returns
    -------
    list of Comparison

    Raises
    ------
    ValueError
        If a file comes without a target, or a target or groups without a file.
    """
    check_integer("n_folds", n_folds, 2)
    if path is None and (target, groups) != (None, None):
        raise ValueError(
            f"Got target={target!r} and groups={groups!r} without a file, expected a CSV file before them."
        )
    if path is None:
        datasets = [load_example(name) for name in EXAMPLES]
        after = _NEXT_OF_EXAMPLES.format(program=_program())
    elif target is None:
        raise ValueError(f"Got {path} without a target, expected --target with the column of the class.")
    else:
        datasets = [read_table(path, target, groups, n_folds=n_folds, max_rows=max_rows, random_state=random_state)]
        by_groups = "" if groups is None else f", groups=table[{groups!r}]"
        cleaned = '.replace([float("inf"), -float("inf")], None)' if INFINITE in datasets[0].notes else ""
        dropped = list(datasets[0].dropped)
        after = _NEXT_OF_TABLE.format(path=str(path), target=target, cleaned=cleaned, dropped=dropped, groups=by_groups)
    names = ", ".join(f"{data.name} ({len(data.y):,} rows)" for data in datasets)
    _say(f"Comparing {len(CLASSIFIERS)} classifiers with their default settings, in {n_folds} folds, on: {names}.")
    for note in (note for data in datasets for note in data.notes):
        _say(note)
    comparisons, made = _measured(datasets, n_folds, random_state)
    print(f"\n{text_table(comparisons)}\n")
    if path is not None:
        _say(verdict(comparisons))
    _say(MEASURES)
    _say(made)
    output.mkdir(parents=True, exist_ok=True)
    report = output / "report.html"
    report.write_text(page(datasets, comparisons, made), encoding="utf-8")
    print(f"Report with reliability, classes and errors: {report}\n\n{after}")
    return comparisons


def _program() -> str:
    """How the command is called here."""
    if shutil.which("gendiffclf"):
        return "gendiffclf"
    return sys.argv[0] if Path(sys.argv[0]).stem == "gendiffclf" else "python -m gendiffclf"


def _say(text: str) -> None:
    print(textwrap.fill(text, 100))


def _measured(datasets: Sequence[Dataset], n_folds: int, random_state: int) -> tuple[list[Comparison], str]:
    """The comparisons, and a sentence on how they were made."""
    started = time.perf_counter()
    # One thread for all: models this small gain little from more, and lose much where other programs use the cores.
    with thread_limit(1), threadpool_limits(1):
        comparisons = list(compare(datasets, n_folds=n_folds, random_state=random_state))
    return comparisons, (
        f"Each row was predicted by classifiers that had not seen it ({n_folds} folds, random state {random_state}, one thread; "
        f"seconds are of all folds). In all: {time.perf_counter() - started:.0f} s."
    )
