"""Suspect labels beside cleanlab, and coverage of prediction sets beside MAPIE."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from gendiffclf import GenerativeTransportClassifier

from .data import Split
from .markdown import number, table
from .models import create_model
from .options import add_options, chosen_splits, splits_of
from .records import RESULTS, Record, new_record, read_record, write_record

RECORD = RESULTS / "labels.json"
FLIPPED = (0.1, 0.2)
LEVELS = (0.8, 0.9, 0.95)
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
"""Of cleanlab."""
PEER = "logreg"
WAYS = {
    "ours": "`label_quality`",
    **{f"cleanlab {method}": f"cleanlab, `{method}`, the same probabilities" for method in METHODS},
    "cleanlab logreg": "cleanlab, `self_confidence`, logistic regression by 5-fold cross-validation",
}
MODELS = {
    "ours": "ours, `SplitConformalClassifier` on held-out estimates",
    "ours without groups": "ours without `groups`",
    PEER: "logistic regression, `CrossConformalClassifier`",
}


class Probabilities(ClassifierMixin, BaseEstimator):
    """Takes probabilities for features, as in docs/labels.md."""

    def __init__(self, classes: Any) -> None:
        self.classes = classes

    def fit(self, X: Any, y: Any) -> Probabilities:
        """Set the classes."""
        self.classes_ = np.asarray(self.classes)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """X."""
        return np.asarray(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class."""
        return self.classes_[np.argmax(X, axis=1)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, RECORD, "--data-dir", "--tables", "--max-train", "--splits")


def run(arguments: argparse.Namespace) -> int:
    """Measure, record after each table, and print."""
    first, *others = chosen_splits(arguments.splits)
    sizes = {"max_train": arguments.max_train, "splits": 1 + len(others)}
    record = new_record(arguments.command_line, **sizes, suspects=[], sets=[])
    for split in splits_of(arguments):
        if split.groups is None and split.number == first:
            found = [one for share in FLIPPED for one in measure_suspects(split, share)]
            record["suspects"] += [{"table": split.table.name, **one} for one in found]
        about = {**split.about, "grouped": split.groups is not None}
        record["sets"] += [about | one for one in measure_sets(split)]
        print(split.about, "measured", flush=True)
        write_record(record, arguments.output)
    print(mean_precisions(record).round(3).to_string())
    return 0


def flip(y: np.ndarray, share: float) -> np.ndarray:
    """Labels of which each is another one with the probability `share`, drawn evenly from the rest; seed 0."""
    rng = np.random.default_rng(0)
    classes, numbers = np.unique(y, return_inverse=True)
    moved = (numbers + rng.integers(1, len(classes), len(y))) % len(classes)
    return classes[np.where(rng.random(len(y)) < share, moved, numbers)]


def measure_suspects(split: Split, share: float) -> list[dict[str, Any]]:
    """Average precision of each way to find flipped labels among training rows."""
    from cleanlab.rank import get_label_quality_scores

    X, y = split.fitting
    noisy = flip(y, share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer rows than folds
        fitted = GenerativeTransportClassifier(random_state=0).fit(X, noisy)
        peer = cross_val_predict(create_model(PEER), X, noisy, method="predict_proba", cv=5)
    index, probabilities = fitted.held_out_index_, fitted.held_out_proba_
    numbers = np.searchsorted(fitted.classes_, noisy)
    scores = {"ours": probabilities[np.arange(len(index)), numbers[index]]}
    for method in METHODS:
        scores[f"cleanlab {method}"] = get_label_quality_scores(numbers[index], probabilities, method=method)
    scores["cleanlab logreg"] = get_label_quality_scores(numbers, peer)[index]
    wrong = (noisy != y)[index]
    precisions = {way: float(average_precision_score(wrong, -score)) for way, score in scores.items()}
    about = {"share": share, "n_rows": len(index)}
    return [{**about, "way": way, "average_precision": value} for way, value in precisions.items()]


def measure_sets(split: Split) -> list[dict[str, Any]]:
    """Coverage and mean size of prediction sets at each of `LEVELS`, of ours and of a peer."""
    from mapie.classification import CrossConformalClassifier, SplitConformalClassifier

    (X, y), (X_test, y_test), groups = split.fitting, split.evaluation, split.groups
    found = []

    def add(model: str, member: np.ndarray, classes: np.ndarray) -> None:
        known = np.isin(y_test, classes)
        place = np.where(known, np.searchsorted(classes, y_test) % len(classes), 0)
        covered = member[np.arange(len(y_test)), place] & known[:, None]  # (n, levels)
        for level, share, size in zip(LEVELS, covered.mean(0), member.sum(1).mean(0), strict=True):
            about = {"model": model, "level": level, "n_test": len(y_test)}
            found.append({**about, "coverage": float(share), "size": float(size)})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, given in {"ours": groups, **({} if groups is None else {"ours without groups": None})}.items():
            fitted = GenerativeTransportClassifier(random_state=0).fit(X, y, groups=given)
            columns = Probabilities(fitted.classes_).fit(None, None)
            sets = SplitConformalClassifier(columns, confidence_level=list(LEVELS), prefit=True)
            sets.conformalize(fitted.held_out_proba_, y[fitted.held_out_index_])
            add(name, sets.predict_set(fitted.predict_proba(X_test))[1], fitted.classes_)
        peer = CrossConformalClassifier(create_model(PEER), confidence_level=list(LEVELS), cv=5, random_state=0)
        peer.fit_conformalize(X, y, groups=groups)
        add(PEER, peer.predict_set(X_test)[1], np.unique(y))
    return found


def mean_precisions(record: Record) -> pd.DataFrame:
    """Average precision of each way (rows) at each of `FLIPPED` (columns), means over tables."""
    means = pd.DataFrame(record["suspects"]).groupby(["way", "share"])["average_precision"].mean()
    return means.unstack().loc[list(WAYS), list(FLIPPED)]


def mean_sets(record: Record, *, grouped: bool) -> pd.DataFrame:
    """Coverage and size of each model at each of `LEVELS`, means over tables of means over splits."""
    frame = pd.DataFrame(record["sets"])
    own = frame[frame["grouped"] == grouped].groupby(["model", "level", "table"])[["coverage", "size"]].mean()
    means = own.groupby(["model", "level"]).mean().unstack()
    return means.loc[[model for model in MODELS if model in means.index]]


def set_ranges(record: Record, *, grouped: bool) -> str:
    """Least and greatest coverage of ours over tables at each of `LEVELS`, percent, as a list in words."""
    frame = pd.DataFrame(record["sets"])
    own = frame[(frame["grouped"] == grouped) & (frame["model"] == "ours")]
    tables = own.pivot_table(index="table", columns="level", values="coverage")
    *first, last = (f"{100 * tables[level].min():.1f} to {100 * tables[level].max():.1f}" for level in LEVELS)
    return f"{', '.join(first)} and {last}"


def context(results: Path) -> dict[str, Any]:
    """Names for the template; empty without a record."""
    if (record := read_record(results / RECORD.name)) is None:
        return {}
    precisions = mean_precisions(record)
    found = [
        [WAYS[way], *(number(value, 3, value == precisions[share].max()) for share, value in row.items())]
        for way, row in precisions.iterrows()
    ]
    head = ["Ranking", *(f"{100 * share:.0f} % flipped" for share in FLIPPED)]
    frame = pd.DataFrame(record["sets"])
    return {
        "record": record,
        "flipped": FLIPPED,
        "levels": LEVELS,
        "precisions": precisions,
        "cleanlab": precisions.loc[[f"cleanlab {method}" for method in METHODS]].max(),
        "suspect_tables": list(dict.fromkeys(run["table"] for run in record["suspects"])),
        "suspects": table(head, found),
        "sets": [
            (grouped, list(dict.fromkeys(own["table"])), mean_sets(record, grouped=grouped))
            for grouped, own in frame.groupby("grouped")
        ],
        "ranges": {grouped: set_ranges(record, grouped=bool(grouped)) for grouped in frame["grouped"].unique()},
        "sets_table": _sets_table,
    }


def _sets_table(sets: pd.DataFrame) -> str:
    rows = [
        [MODELS[name], *(f"{row['coverage', x]:.3f} ({row['size', x]:.2f})" for x in LEVELS)]
        for name, row in sets.iterrows()
    ]
    return table(["Model", *(f"asked {level}" for level in LEVELS)], rows)
