"""A new class from a few examples: digits 0 to 8, then ten examples of 9, with none of the old rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier

from .options import add_options
from .records import RESULTS, new_record, read_record, write_record

NEW = 9
RECORD = RESULTS / "few_shot.json"
OURS, JOINT = "ours, `partial_fit` on the new rows alone", "logistic regression on old and new rows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--examples", type=int, default=10, help="examples of the new class (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=5, help="random choices of them (default: %(default)s)")
    add_options(parser, RECORD)


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
    write_record(new_record(arguments.command_line, **sizes, runs=runs), arguments.output)
    return 0


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    groups = 100 * pd.DataFrame(record["runs"]).set_index("model")[["old_accuracy", "new_recall"]]
    mean, deviation = groups.groupby(level=0, sort=False).mean(), groups.groupby(level=0, sort=False).std(ddof=0)
    cells = mean.map("{:.2f} ± ".format) + deviation.map("{:.2f}".format)
    lost = 100 * record["old_accuracy_before"] - mean.loc[OURS, "old_accuracy"]
    return {"record": record, "rows": cells.reset_index().values.tolist(), "lost": lost}
