"""How often the end of transport on the exact path is the code of the most probable class, by solver and steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.transport.codes import label_codes

from ..data import load_table, split_rows
from ..markdown import NOT_MEASURED, circumstances, table_text
from ..records import Record

KEY = "agreement"
TITLE = "Solver and steps of the exact path"
STEPS = (1, 2, 4, 10, 20, 100)
SOLVERS = ("exact", "euler", "midpoint")
TEXT = """
Share of test rows, in percent, whose nearest code at the end of transport is that of the most probable class. Predictions come
from the probabilities and depend on neither solver nor steps. Mean over {n} splits of {tables}; the lowest in parentheses.
"""


def measure(tables: Sequence[str], splits: Sequence[int], data_dir: Path | None) -> list[dict[str, Any]]:
    """Shares for each table, split, solver and number of steps."""
    found = []
    for name in tables:
        table = load_table(name, data_dir)
        for split in splits:
            train, test = split_rows(table, split)
            classifier = GenerativeTransportClassifier(random_state=0).fit(table.X[train], table.y[train])
            shares = {solver: {n: agreement(classifier, table.X[test], solver, n) for n in STEPS} for solver in SOLVERS}
            found.append({"table": name, "split": split, "shares": shares})
            print(f"{KEY} {name}/{split}: done", flush=True)
    return found


def agreement(classifier: GenerativeTransportClassifier, X: np.ndarray, solver: str, n_steps: int) -> float:
    """Share of rows that end nearest to the code of their most probable class."""
    ends = classifier.transport(X, n_steps=n_steps, solver=solver)  # (n, L)
    codes = label_codes(classifier.codes, len(classifier.classes_), ends.shape[1])  # (K, L), of one length
    return float(((ends @ codes.T).argmax(1) == classifier.predict_proba(X).argmax(1)).mean())


def section(record: Record | None) -> str:
    """Text of the section."""
    if record is None:
        return f"\n## {TITLE}\n{NOT_MEASURED}"
    rows = []
    for solver in SOLVERS:
        values = 100 * np.array([[run["shares"][solver][str(n)] for n in STEPS] for run in record["runs"]])
        rows.append([solver, *(f"{v.mean():.1f} ({v.min():.1f})" for v in values.T)])
    tables = sorted({run["table"] for run in record["runs"]})
    text = TEXT.format(n=len({run["split"] for run in record["runs"]}), tables=", ".join(tables))
    header = ["Steps", *(f"N = {n}" for n in STEPS)]
    return f"\n## {TITLE}\n{text}{table_text(header, rows)}{circumstances(record, ('scikit-learn', 'torch'))}"
