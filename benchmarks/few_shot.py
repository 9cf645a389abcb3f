"""A new class from a few examples: digits 0 to 8, then ten examples of 9, with nothing kept of the old rows."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gendiffclf import GenerativeTransportClassifier

from .provenance import provenance, write_record

NEW = 9
RESULTS = Path("benchmarks/results/few_shot.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--examples", type=int, default=10, help="examples of the new class (default: 10)")
    parser.add_argument("--draws", type=int, default=10, help="random choices of them (default: 10)")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"file of the record (default: {RESULTS})")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and record."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    old, is_old = y_train != NEW, y_test != NEW
    before = GenerativeTransportClassifier(random_state=0).fit(X_train[old], y_train[old])
    accuracy_before = before.score(X_test[is_old], y_test[is_old])
    ours: list[tuple[float, float]] = []
    joint: list[tuple[float, float]] = []
    for draw in range(arguments.draws):
        chosen = np.random.default_rng(draw).permutation(np.flatnonzero(~old))[: arguments.examples]
        after = copy.deepcopy(before).partial_fit(X_train[chosen], y_train[chosen])
        # The reference is allowed what ours is not: all the old rows, in training anew.
        rows = np.concatenate([np.flatnonzero(old), chosen])
        reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced"))
        reference.fit(X_train[rows], y_train[rows])
        for found, model in ((ours, after), (joint, reference)):
            predicted = model.predict(X_test)
            found.append(((predicted[is_old] == y_test[is_old]).mean(), (predicted[~is_old] == NEW).mean()))
    record = {
        **provenance(arguments.command_line),
        "examples": arguments.examples,
        "draws": arguments.draws,
        "old_accuracy_before": accuracy_before,
        **{
            f"{name}_{figure}_{statistic}": float(function(found, axis=0)[column])
            for name, found in (("partial_fit", ours), ("joint_logistic_regression", joint))
            for column, figure in enumerate(("old_accuracy", "new_recall"))
            for statistic, function in (("mean", np.mean), ("std", np.std))
        },
    }
    write_record(record, arguments.output)
    for name, value in record.items():
        if isinstance(value, float):
            print(f"{name:45} {value:.4f}")
    return 0
