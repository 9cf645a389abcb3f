"""A new class from a few examples: digits 0 to 8, then ten examples of 9, with none of the old rows."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier

from .markdown import NOT_MEASURED, circumstances, table_text
from .provenance import provenance, read_record, write_record

NEW = 9
RESULTS = Path("benchmarks/results/few_shot.json")
OURS, JOINT = "ours, `partial_fit` on the new rows alone", "logistic regression on old and new rows"
TEXT = """
Nine of the ten digits of scikit-learn are learnt first, then the tenth from {examples} examples of it, without any row of the
others. Beside it stands a model trained anew on all rows. Percent on test rows, mean and standard deviation over {draws} draws
of split and examples. Ours had {before:.2f} % accuracy on the old classes before, and loses {lost:.2f} points.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--examples", type=int, default=10, help="examples of the new class (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="random choices of them (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the record (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    X, y = load_digits(return_X_y=True)
    runs, before = [], []
    for draw in range(arguments.draws):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=draw, stratify=y)
        old, is_old = y_train != NEW, y_test != NEW
        ours = GenerativeTransportClassifier(random_state=0).fit(X_train[old], y_train[old])
        before.append(ours.score(X_test[is_old], y_test[is_old]))
        chosen = np.random.default_rng(draw).permutation(np.flatnonzero(~old))[: arguments.examples]
        rows = np.concatenate([np.flatnonzero(old), chosen])
        joint = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
        fitted = {
            OURS: ours.partial_fit(X_train[chosen], y_train[chosen]),
            JOINT: joint.fit(X_train[rows], y_train[rows]),
        }
        for name, model in fitted.items():
            right = model.predict(X_test) == y_test
            found = {"old_accuracy": float(right[is_old].mean()), "new_recall": float(right[~is_old].mean())}
            runs.append({"draw": draw, "model": name, **found})
            print(runs[-1], flush=True)
    sizes = {"examples": arguments.examples, "draws": arguments.draws, "old_accuracy_before": float(np.mean(before))}
    record = {**provenance(arguments.command_line), **sizes, "runs": runs}
    write_record(record, arguments.output)
    return 0


def few_shot_section(folder: Path) -> str:
    """The section on the page of benchmarks, from the record in a folder."""
    record = read_record(folder / RESULTS.name)
    if record is None:
        return f"\n## New classes\n{NOT_MEASURED}"
    found = 100 * pd.DataFrame(record["runs"]).groupby("model", sort=False)[["old_accuracy", "new_recall"]].agg(
        ["mean", lambda values: values.std(ddof=0)]
    )
    before = 100 * record["old_accuracy_before"]
    text = TEXT.format(
        examples=record["examples"], draws=record["draws"], before=before, lost=before - found.loc[OURS].iloc[0]
    )
    rows = [
        [name, f"{v[0]:.2f} ± {v[1]:.2f}", f"{v[2]:.2f} ± {v[3]:.2f}"]
        for name, v in zip(found.index, found.values, strict=True)
    ]
    table = table_text(("Model", "Accuracy on the old classes", "Recall of the new one"), rows)
    return f"\n## New classes\n{text}{table}{circumstances(record, ('scikit-learn', 'torch'))}"
