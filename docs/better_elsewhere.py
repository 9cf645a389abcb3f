"""Name the tables on which another classifier does better, from the records of the benchmark, when the site is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks.models import NAMES  # noqa: E402
from benchmarks.records import RecordStore  # noqa: E402
from benchmarks.summary import current  # noqa: E402

PLACE = "<!-- Tables on which others are better are listed here, from records. -->"
SUBJECT = "ours"
POINTS = 0.5
"""Percentage points of accuracy from which a lead of another is listed."""
HEADER = "| Table | Rows | Best of the others | Its accuracy | Ours |\n| :-- | --: | :-- | --: | --: |\n"


def better(records: list[dict[str, Any]]) -> list[tuple[str, int, str, float, float]]:
    """
    Tables on which the best other classifier leads, the largest lead first.

    Returns
    -------
    list of (table, rows, label, its accuracy, ours)
        Accuracies in percent, means over splits.
    """
    found = []
    runs = pd.DataFrame(records)
    for table, rows in runs.groupby("table"):
        accuracy = 100 * rows.groupby("label")["accuracy"].mean()
        others = accuracy.drop(SUBJECT, errors="ignore")
        if SUBJECT in accuracy and len(others) and others.max() - accuracy[SUBJECT] >= POINTS:
            size = int((rows["n_train"] + rows["n_test"]).max())
            found.append((str(table), size, str(others.idxmax()), float(others.max()), float(accuracy[SUBJECT])))
    return sorted(found, key=lambda row: row[4] - row[3])


def block(records: list[dict[str, Any]]) -> str:
    """The list as Markdown."""
    n_tables = len({record["table"] for record in records if record["label"] == SUBJECT})
    found = better(records)
    lines = "".join(
        f"| {table} | {size:,} | {NAMES.get(label, label)} | {other:.1f} | {ours:.1f} |\n"
        for table, size, label, other, ours in found
    )
    return (
        f"On {len(found)} of {n_tables} tables, another classifier is more accurate by at least {POINTS} percentage points. "
        "Accuracies are in percent, means over splits. Leaders were picked on these test rows, so part of each lead is luck:\n\n"
        f"{HEADER}{lines}"
    )


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the list in its place."""
    if PLACE not in markdown:
        return markdown
    return markdown.replace(PLACE, block(current(RecordStore(ROOT / "benchmarks/results/tables").read())))
