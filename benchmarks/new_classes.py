"""The section on classes learnt from a few examples, made from the record of `python -m benchmarks few-shot`."""

from __future__ import annotations

import json
from pathlib import Path

from .few_shot import RESULTS
from .markdown import circumstances, table_text

TITLE = "## New classes"
SUFFIX = "_old_accuracy_mean"
SHOWN = {
    "partial_fit": "ours, `partial_fit` on the new rows alone",
    "joint_logistic_regression": "logistic regression on old and new rows",
}
TEXT = """
Nine of the ten digits of scikit-learn are learnt first, then the tenth from {examples} examples of it, without any row of the
others. Beside it stands a model trained anew, which is allowed all rows. Percent on test rows, mean and standard deviation
over {draws} draws of the examples.
"""


def new_classes_section(folder: Path) -> str:
    """
    Text of the section; empty without a record.

    Parameters
    ----------
    folder : Path
        Where the record lies.
    """
    path = folder / RESULTS.name
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    rows = [["ours, before", f"{100 * record['old_accuracy_before']:.2f}", "–"]]
    for name in sorted((key.removesuffix(SUFFIX) for key in record if key.endswith(SUFFIX)), reverse=True):
        cells = [
            f"{100 * record[f'{name}_{figure}_mean']:.2f} ± {100 * record[f'{name}_{figure}_std']:.2f}"
            for figure in ("old_accuracy", "new_recall")
        ]
        rows.append([SHOWN.get(name, name.replace("_", " ")), *cells])
    return "".join(
        [
            f"\n{TITLE}\n",
            TEXT.format(examples=record["examples"], draws=record["draws"]),
            table_text(("Model", "Accuracy on the old classes", "Recall of the new one"), rows),
            circumstances(record, ("scikit-learn", "torch")),
        ]
    )
